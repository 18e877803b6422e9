"""What every document of a user's files is."""

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Strict: a field that is not named here is refused, and no value is turned into another kind."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
