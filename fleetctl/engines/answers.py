"""What an engine must answer before requests are sent to it."""

from fleetctl.engines.engine import Engine
from fleetctl.model.nodes import Call
from fleetctl.model.services import Service

_SECRET = "--api-key"
_SECRET_ENV = "API_KEY"
_CONFIG = "--config"


def model_listed(engine: Engine, service: Service) -> Call | None:
    """Answered as expected once the engine lists the model that it serves; None: nobody can say what that looks like.

    Without a key it is not asked of an engine that wants one. Where the Service itself says what the model is called,
    any name will do.
    """
    words = (*service.command, *service.args)
    if not engine.names_model or _given(words, _SECRET) or any(name.endswith(_SECRET_ENV) for name, _ in service.env):
        return None
    own = engine.name_argument is None or service.command or _given(words, engine.name_argument) or _CONFIG in words
    return Call(path=engine.models_path, method="GET", expect='"id":"' if own else f'"id":"{service.name}"')


def _given(words: tuple[str, ...], option: str) -> bool:
    return any(word == option or word.startswith(f"{option}=") for word in words)
