"""What the weights of Services are and how long they take to come, as far as it can be told beforehand."""

import asyncio
from collections.abc import Iterable, Sequence

from fleetctl.agent.origins import open_origin
from fleetctl.decide.weight_size import expected
from fleetctl.engines import engine, model_source, weights
from fleetctl.engines.model_sources import pinned_at
from fleetctl.errors import AgentFailure, UsageError
from fleetctl.model.services import Service

ASK_S = 4.0
"""For the hub's list of files. Nobody waits longer for a figure; without an answer the name has to tell."""


def weights_told(services: Sequence[Service]) -> list[str]:
    """A line for each Service whose weights a node fetches, and one for each that is not pinned.

    Asks the hub, all models at once; what it does not tell is guessed by the model's name.
    """
    fetched = [service for service in services if _fetched(service)]
    if not fetched:
        return []
    answers = asyncio.run(_asked(sorted({service.model for service in fetched if model_source(service.model).hub})))
    lines = []
    for service in fetched:
        commit, size = answers.get(service.model, ("", None))
        told = expected(service.model, size=size)
        lines.append(f"{service.name}: {told or 'weights of a size that nobody tells'}")
        if commit and not model_source(service.model).pinned:
            lines.append(f"{service.name} is not pinned; write model: {pinned_at(service.model, commit)}")
    return lines


async def _asked(models: Iterable[str]) -> dict[str, tuple[str, int | None]]:
    """Commit and bytes by model, of those that the hub tells."""
    names = tuple(models)
    found = await asyncio.gather(*(_listed(model) for model in names))
    return {model: answer for model, answer in zip(names, found, strict=True) if answer is not None}


async def _listed(model: str) -> tuple[str, int | None] | None:
    try:
        origin = open_origin(model, limit_s=ASK_S)
        if origin is None:
            return None
        contents = await origin.contents()
        await origin.close()
    except AgentFailure:  # the node says it where it matters; here it is a figure
        return None
    return contents.revision, sum(file.size for file in contents.files)


def _fetched(service: Service) -> bool:
    try:
        return model_source(service.model).fetched and weights(engine(service.engine), service) == service.model
    except UsageError:
        return False
