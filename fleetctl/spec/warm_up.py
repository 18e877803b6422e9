"""Requests that a Replica answers before it counts as ready: how they are written, and what is sent."""

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from fleetctl.engines import engine, model_source
from fleetctl.model.nodes import Call
from fleetctl.spec.document import Document
from fleetctl.spec.fields import LIST_MAX, Also, Path, problem, text_schema

BODY_CHARS_MAX = 65_536
"""Of one request, as JSON: a long prompt fits, and the fleet's store keeps it with every revision."""
TOKENS = 16
"""Asked for by a plain prompt: the first token compiles, a few more show that decoding goes on."""


class WarmUpDoc(Document):
    """One request. A body without a model asks for the service's own."""

    path: Path = Field(description="Path on the engine, such as /v1/chat/completions.")
    body: dict[str, Any] | None = Field(
        default=None, description="What is posted, as JSON; not written: the path is fetched with GET."
    )

    @field_validator("body")
    @classmethod
    def _small(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            length = len(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            raise problem("cannot be sent as JSON", "write plain texts, numbers, lists and mappings") from None
        if length > BODY_CHARS_MAX:
            raise problem(f"is {length} characters long as JSON", f"write at most {BODY_CHARS_MAX}")
        return value


def _prompt(value: object) -> object:
    """A plain text is a prompt to complete."""
    if isinstance(value, str):
        return {"path": "/v1/completions", "body": {"prompt": value, "max_tokens": TOKENS}}
    return value


WarmUps = Annotated[
    list[Annotated[WarmUpDoc, BeforeValidator(_prompt), Also(text_schema())]], Field(max_length=LIST_MAX)
]


def calls(docs: list[WarmUpDoc], *, service: str, engine_name: str, model: str) -> tuple[Call, ...]:
    """What the Node sends, in order."""
    asked = service if engine(engine_name).name_argument is not None else model_source(model).name
    return tuple(_call(doc, asked) for doc in docs)


def _call(doc: WarmUpDoc, model: str) -> Call:
    if doc.body is None:
        return Call(path=doc.path, method="GET")
    body = {"model": model, **doc.body} if doc.path.startswith("/v1/") else doc.body
    return Call(path=doc.path, body=json.dumps(body))
