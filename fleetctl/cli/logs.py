"""`fleetctl logs` (Look): What the engine of a replica wrote.

Example: fleetctl logs chat --tail 50 --follow
"""

import asyncio
import sys
import time
from datetime import UTC
from typing import Annotated

import typer

from fleetctl.cli.log_lines import records
from fleetctl.cli.moments import moment
from fleetctl.cli.output import Format, Output, document, say
from fleetctl.cli.session import Session, session
from fleetctl.cli.streams import pause
from fleetctl.cli.subjects import subject_of
from fleetctl.errors import NotFound, UsageError
from fleetctl.model.names import ReplicaId
from fleetctl.model.records import dataclass
from fleetctl.model.replicas import Replica, Stage
from fleetctl.paths import Home
from fleetctl.views.figures import bytes_text
from fleetctl.views.log_times import since as lines_since

app = typer.Typer(add_completion=False)

FOLLOW_S = 0.5
MOST = 1_000_000
"""Bytes of a log that are looked through for lines and for what was written since: what an agent gives at once."""
USUAL = 200
"""Lines from the end where nothing is said: more than a screen, and the start of an engine fits."""
TAIL_MAX = 100_000
"""Lines: more than MOST bytes hold."""


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A replica, or a service (its newest replica)")],
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail",
            min=0,
            max=TAIL_MAX,
            help=f"So many lines from the end; not given: {USUAL}, or all with --since",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, as it is written")] = False,
    since: Annotated[str | None, typer.Option("--since", help="Only what was written since, as in 10m")] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Instead: a stage of its start, as in weights, image, engine")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Print the end of a replica's engine log, or what a stage of its start did."""
    begun = None if since is None else moment(since)
    with session() as now:
        word = name.removeprefix("replica/").removeprefix("service/")
        if stage is not None:
            if follow or begun is not None or tail is not None:
                raise UsageError(
                    "--stage is not followed and has neither --since nor --tail",
                    hint=f"fleetctl logs {name} --stage {stage}",
                )
            _stage(now, word, stage, output)
            return
        replica, address = _find(now, word)
        say(f"replica/{replica.id} on {replica.instance}")
        cut = _Cut(
            begun=begun,
            lines=tail if tail is not None else USUAL if begun is None else None,
            container=_container(now, replica),
        )
        asyncio.run(_print(now.home, address, replica.id, cut, follow=follow, output=output))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """Which lines are wanted of those that are there."""

    begun: float | None
    """Unix seconds from which on; None: whenever they were written."""
    lines: int | None
    """At most so many, the last."""
    container: bool
    """Its clock shows UTC; a plain process writes in this computer's zone."""

    def made(self, text: bytes) -> str:
        kept = text.decode(errors="replace")
        if self.begun is not None:
            zone = UTC if self.container else None
            kept, known = lines_since(kept, self.begun, now=time.time(), zone=zone)
            if not known and kept:
                say("warning: its lines do not say when they were written, so all of them are shown")
        lines = kept.splitlines(keepends=True)
        return kept if self.lines is None else "".join(lines[max(0, len(lines) - self.lines) :])


def _container(now: Session, replica: Replica) -> bool:
    return any(one.service.name == replica.service and one.service.image is not None for one in now.store.intents()[0])


def _stage(now: Session, word: str, stage: str, output: Format) -> None:
    """What is known of one stage of a start, of a Replica that runs or of the newest start that is over."""
    held = [one for one in now.view().replicas if word in (one.id, one.service) and one.stages]
    if held:
        subject, stages = held[-1].id, held[-1].stages
    else:
        past = [one for one in now.store.starts() if word in (one.replica, one.service)]
        if not past:
            raise NotFound(f"no start of {word!r} is known", hint="fleetctl ps -r, fleetctl get starts")
        subject, stages = past[-1].replica, past[-1].stages
    found = [one for one in stages if one.name == stage]
    if not found:
        names = ", ".join(dict.fromkeys(one.name for one in stages)) or "none yet"
        raise NotFound(f"the start of replica/{subject} had no stage {stage!r}", hint=f"it had: {names}")
    say(f"replica/{subject}")
    if output is Format.NAME:
        sys.stdout.write(f"replica/{subject}\n")
    elif output is not Format.TABLE:
        document({"replica": subject, "stages": found}, output)
    else:
        sys.stdout.writelines(f"{_line(one)}\n" for one in found)


def _line(stage: Stage) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(stage.started_at))
    took = "goes on" if stage.ended_at is None else f"{stage.ended_at - stage.started_at:.1f} s"
    parts = [f"{at} {stage.name}", took]
    for count, where in (
        (stage.bytes_total, ""),
        (stage.origin_bytes, " from its origin"),
        (stage.peer_bytes, " from peers"),
    ):
        if count:
            parts.append(bytes_text(count) + where)
    return "  ".join([*parts, *([stage.detail] if stage.detail else [])])


async def _print(home: Home, address: str, replica: ReplicaId, cut: _Cut, *, follow: bool, output: Format) -> None:
    from fleetctl.node.links import NodeLinks

    link = NodeLinks(home)
    try:
        text = await link.logs(address, replica, MOST)
        kept = cut.made(text)
        if output is Format.NAME:
            sys.stdout.write(f"replica/{replica}\n")
            return
        if output in (Format.JSON, Format.YAML) and not follow:
            document({"replica": replica, "log": kept}, output)
            return
        write = records(replica=replica) if output is not Format.TABLE else sys.stdout.write
        write(kept)
        while follow:
            sys.stdout.flush()
            await asyncio.sleep(FOLLOW_S)
            pause(0)
            newer = await link.logs(address, replica, MOST)
            if newer.endswith(text):
                continue
            at = newer.rfind(text[-4096:])
            fresh = newer[at + len(text[-4096:]) :] if at >= 0 else newer
            write(fresh.decode(errors="replace"))
            text = newer
    finally:
        await link.close()


def _find(now: Session, name: str) -> tuple[Replica, str]:
    view = now.view()
    found = [replica for replica in view.replicas if name in (replica.id, replica.service) and replica.instance]
    if not found:
        subject = subject_of(name, view)
        raise NotFound(f"no replica of {subject} has a machine", hint="fleetctl ps -r")
    replica = found[-1]
    for instance in view.instances:
        if instance.id == replica.instance and instance.address is not None:
            return replica, instance.address
    raise NotFound(f"the machine of {replica.id} has no address yet", hint="fleetctl ps -i")
