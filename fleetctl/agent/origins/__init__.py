"""Where Artifacts come from at first: the model hub, object stores, web servers, registries, folders of a machine."""

from fleetctl.agent.origins.origin import Contents, Origin, OriginFile

__all__ = ["Contents", "Origin", "OriginFile", "open_origin"]


def open_origin(uri: str, *, token: str | None = None, limit_s: float | None = None) -> Origin | None:
    """The origin that a `model:` names; None: the engine's own name for it or a path on the node, so nothing to fetch.

    Nothing is asked of the origin yet. Raises `AgentFailure` where the address cannot be one, or the node lacks the
    library that reads it. `token` is the hub's; None: what huggingface_hub finds by itself, if anything.
    `limit_s` bounds the hub's answer to what it has; None: as long as is right for a node.
    """
    scheme, found, _ = uri.partition("://")
    if not found:
        return None
    # Late, each of them: a node that fetches from one kind of origin needs the library of that kind alone.
    match scheme:
        case "hf":
            from fleetctl.agent.origins.hub import HubOrigin

            return HubOrigin.opened(uri, token, limit_s)
        case "s3" | "gs" | "az":
            from fleetctl.agent.origins.objects import ObjectsOrigin

            return ObjectsOrigin.opened(uri)
        case "https" | "http":
            from fleetctl.agent.origins.web import WebOrigin

            return WebOrigin.opened(uri)
    return None
