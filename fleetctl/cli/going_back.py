"""Going back to an earlier revision of a Service, for `rollout undo` and `rollback`."""

import time
from typing import Annotated

import typer

from fleetctl.cli.changing import keep, told_dry
from fleetctl.cli.following import agree, earlier, follow
from fleetctl.cli.output import Format, say
from fleetctl.cli.planning import write_differences
from fleetctl.cli.session import Session
from fleetctl.errors import Conflict
from fleetctl.model.names import ServiceName
from fleetctl.views.differences import differences
from fleetctl.views.figures import ago

ToRevision = Annotated[str | None, typer.Option("--to", help="This revision, or its first letters")]


def go_back(
    now: Session,
    name: ServiceName,
    to: str | None,
    *,
    wait_s: float | None,
    yes: bool,
    dry_run: bool,
    output: Format,
) -> None:
    """Declare an earlier revision again, whole; with `wait_s` until it serves alone. Raises `Conflict`, `NotFound`."""
    view = now.view()
    intent = next(intent for intent in view.intents if intent.service.name == name)
    if not intent.up:
        raise Conflict(f"{name} is down", hint=f"fleetctl up {name}")
    before = earlier(intent, view.rollouts.get(name), to)
    if dry_run:
        write_differences(differences(f"service/{name}", intent.service, before.service), output)
        told_dry()
        return
    again = f"rollout undo {name} --to {before.name}"
    agree(now, before.service, yes=yes, again=f"fleetctl {again}")
    keep(now, again, [name])
    now.store.put_service(before.service, revision=before.name, at=time.time(), paused=False)
    say(f"{name}: {intent.revision} → {before.name}, declared {ago(view.at - before.declared_at)} ago")
    say("its file is as it was: the next `fleetctl up` declares what stands there")
    if wait_s is not None:
        follow(now, name, before.name, timeout_s=wait_s, resume=f"fleetctl rollout status {name} --watch")
