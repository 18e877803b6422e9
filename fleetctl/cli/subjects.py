"""What people call a thing of the fleet, and what it is: `chat` is service/chat, and a typo is told."""

from collections.abc import Callable, Iterable, Sequence

from fleetctl.errors import NotFound, UsageError
from fleetctl.views.fleet import FleetView

KINDS = ("service", "pool", "instance", "replica")
"""In the order in which a bare name is looked for: where a service's own pool is called as it is, the service is
meant."""


def subject_of(word: str, view: FleetView, *, past: Callable[[], Iterable[str]] = tuple) -> str:
    """The subject that `word` means, with its kind or without. `past` gives those there were, if the view has it not.

    Raises `UsageError` for a kind that there is not and `NotFound` for anything else that is nothing here, with what
    may have been meant.
    """
    known = _present(view)
    found = _named(word, known)
    if found is None:
        known = [*known, *past()]
        found = _named(word, known)
    if found is not None:
        return found
    kind, slash, name = word.partition("/")
    if slash and kind not in KINDS:
        raise UsageError(f"{kind!r} is not a kind of thing", hint=f"one of {', '.join(f'{one}/…' for one in KINDS)}")
    raise NotFound(f"there is no {kind} {name!r}" if slash else f"nothing is called {word!r}", hint=_hint(word, known))


def _named(word: str, known: Sequence[str]) -> str | None:
    meant = [word] if "/" in word else [word, *(f"{kind}/{word}" for kind in KINDS)]
    return next((one for one in meant if one in known), None)


def _present(view: FleetView) -> Sequence[str]:
    pools = [pool.name for pool in view.pools] + [intent.service.pool_name for intent in view.intents]
    return [
        *(f"service/{intent.service.name}" for intent in view.intents),
        *(f"pool/{name}" for name in pools),
        *(f"instance/{instance.id}" for instance in view.instances),
        *(f"replica/{replica.id}" for replica in view.replicas),
    ]


def _hint(word: str, known: Sequence[str]) -> str:
    from fleetctl.spec.suggestions import nearest

    if "/" in word:
        near = nearest(word, known)
    else:
        names = {one.partition("/")[2]: one for one in reversed(known)}
        better = nearest(word, names)
        near = names[better] if better else None
    return f"did you mean {near}?" if near else "see: fleetctl ps -a, ps -r, ps -i"
