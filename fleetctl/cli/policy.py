"""`fleetctl policy` (Control): Rules that turn load into a count: ls, show, test.

Example: fleetctl policy test knative --load 0,10,50,10 --boot 20s
Example: fleetctl policy ls
Example: fleetctl policy show knative
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, document, emit, say
from fleetctl.cli.session import duration_s, session
from fleetctl.errors import NotFound, SpecError, UsageError
from fleetctl.model.names import ServiceName
from fleetctl.model.records import dataclass
from fleetctl.model.services import Gpu, Scaling, Service
from fleetctl.sim.steps import Noting, Step, changes, over_load
from fleetctl.spec.preset_files import preset_names, presets_folder
from fleetctl.spec.preset_values import PresetValue, preset_values
from fleetctl.spec.presets import Preset, preset

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Rules that turn load into a count.")

OWN_FOLDER = Path("policies")
"""Where presets of one's own are looked for, beside those that services name."""
SOME_SERVICE = Service(
    name=ServiceName("some"),
    engine="rehearsal",
    model="rehearsal-8b",
    gpu=(Gpu(name="L40S"),),
    concurrency=16,
    scaling=Scaling(min=0, max=20),
)
"""What a policy is tried on where no file is given."""
LOADS_MAX = 1000
COMMENTS_FROM = 34
"""Column at which comments stand; behind a longer value they follow at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """One preset, for people and programs."""

    name: str
    rule: str
    origin: str
    """fleetctl, or the file."""
    used_by: tuple[str, ...]
    why: str


POLICIES: tuple[Column[PolicyRow], ...] = (
    Column(header="NAME", cell=lambda row: row.name),
    Column(header="RULE", cell=lambda row: row.rule, drop=1),
    Column(header="FROM", cell=lambda row: row.origin, drop=3),
    Column(header="USED BY", cell=lambda row: ", ".join(row.used_by) or "-", drop=2),
    Column(header="WHY", cell=lambda row: row.why),
)
STEPS: tuple[Column[Step], ...] = (
    Column(header="AT", cell=lambda row: f"{row.at:.0f}s", right=True),
    Column(header="LOAD", cell=lambda row: "?" if row.load is None else f"{row.load:g}", right=True),
    Column(header="READY", cell=lambda row: str(row.ready), right=True),
    Column(header="STARTING", cell=lambda row: str(row.starting), right=True),
    Column(header="DESIRED", cell=lambda row: str(row.desired), right=True),
    Column(header="WHY", cell=lambda row: row.reason),
)


@app.command()
def ls(output: Output = Format.TABLE) -> None:
    """List presets: those that come with fleetctl, and your own in ./policies or named by a service."""
    used = _used()
    rows = [_row(preset(name), "fleetctl", used.get(name, ())) for name in preset_names()]
    for file in _own(used):
        try:
            rows.append(_row(preset(str(file)), str(file), used.get(str(file), ())))
        except (NotFound, SpecError) as error:
            say(f"warning: {error}")
    emit(rows, POLICIES, output, name=lambda row: f"policy/{row.name}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A preset, or the path of its YAML file")], output: Output = Format.TABLE
) -> None:
    """Print a preset as YAML: each value with the line it comes from and what it means."""
    name = name.removeprefix("policy/")
    found = preset(name)
    values = preset_values(found)
    if output is Format.NAME:
        sys.stdout.write(f"policy/{name}\n")
    elif output is Format.TABLE:
        sys.stdout.write(told(found, values))
    else:
        document({"name": name, "why": found.why, "file": str(found.file), "values": values}, output)


@app.command("test")
def try_out(
    name: Annotated[str, typer.Argument(help="A preset, or the path of its YAML file")],
    *,
    load: Annotated[str | None, typer.Option("--load", help="Requests at once, in turn: 0,10,50,10")] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Or a CSV (may be .gz): arrival_s,input_tokens,output_tokens")
    ] = None,
    service: Annotated[
        Path | None, typer.Option("--service", "-s", help="The file of a service; else one of 16 at once, 0 to 20")
    ] = None,
    knob: Annotated[list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="As scaling.target=0.6")] = None,
    boot: Annotated[str, typer.Option("--boot", help="From an order to a ready replica")] = "270s",
    each: Annotated[str, typer.Option("--each", help="How long each load lasts")] = "60s",
    period: Annotated[str, typer.Option("--period", help="Between two decisions")] = "2s",
    every: Annotated[bool, typer.Option("--all", help="Every decision, not only where something changes")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Show what a policy would decide over a given load, and why: the same brain as the fleet's own.

    --load is taken as it stands, whatever there is to serve it. --trace plays requests in virtual time, where a queue
    grows when replicas are missing; to compare policies there is `fleetctl simulate`.
    """
    if (load is None) == (trace is None):
        raise UsageError("give a load or a trace", hint=f"fleetctl policy test {name} --load 0,10,50,10")
    subject = _subject(service, name, knob or ())
    boot_s = duration_s(boot)
    if load is not None:
        each_s, period_s = duration_s(each), duration_s(period)
        if not 0 < period_s <= each_s:
            raise UsageError("--period must be more than 0s and at most --each", hint="--period 2s --each 60s")
        steps = over_load(
            subject, _loads(load), each_s=each_s, boot_s=boot_s, period_s=period_s, begin=subject.scaling.min
        )
    else:
        assert trace is not None
        steps = _played(subject, trace, boot_s)
    rows = steps if every else changes(steps, of_load=load is not None)
    emit(rows, STEPS, output, name=lambda row: f"{row.at:g}={row.desired}")
    if output is Format.TABLE and steps:
        most = max(step.desired for step in steps)
        say(f"{len(steps)} decisions, {len(rows)} shown; {most} at most, {steps[-1].desired} at the end")


def told(found: Preset, values: Sequence[PresetValue]) -> str:
    """The preset as YAML, with a comment behind each value."""
    lines: list[tuple[str, str]] = []
    above: tuple[str, ...] = ()
    for value in values:
        *parents, field = value.field.split(".")
        for depth, parent in enumerate(parents):
            if above[: depth + 1] != tuple(parents[: depth + 1]):
                lines.append((f"{'  ' * depth}{parent}:", ""))
        above = tuple(parents)
        indent = "  " * len(parents)
        text = f"# {indent}{field}: not set" if value.value is None else f"{indent}{field}: {_flow(value.value)}"
        lines.append((text, f"  # {value.origin}: {value.meaning}"))
    wide = min(COMMENTS_FROM, max(len(text) for text, _ in lines))
    return f"# {found.name}: {found.why}\n" + "".join(
        f"{text:<{wide}}{comment}\n" if comment else f"{text}\n" for text, comment in lines
    )


def _flow(value: object) -> str:
    """A value as one line of YAML."""
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _used() -> dict[str, tuple[str, ...]]:
    """Names of Services by the preset they name; none where there is no fleet yet."""
    found: dict[str, tuple[str, ...]] = {}
    try:
        with session() as now:
            for intent in now.store.intents()[0]:
                name = intent.service.scaling.preset
                found[name] = (*found.get(name, ()), intent.service.name)
    except NotFound:
        return {}
    return found


def _own(used: dict[str, tuple[str, ...]]) -> list[Path]:
    named = {Path(name) for name in used if name not in preset_names() and Path(name).is_file()}
    here = OWN_FOLDER.is_dir() and not OWN_FOLDER.samefile(presets_folder())
    return sorted(named | (set(OWN_FOLDER.glob("*.yaml")) if here else set()))


def _row(found: Preset, origin: str, used_by: tuple[str, ...]) -> PolicyRow:
    return PolicyRow(name=found.name, rule=found.scaling.policy, origin=origin, used_by=used_by, why=found.why)


def _subject(file: Path | None, name: str, knobs: Sequence[str]) -> Service:
    """The Service that the policy is tried on."""
    from fleetctl.spec.knobs import with_knobs, with_preset
    from fleetctl.spec.load import load

    base = SOME_SERVICE
    if file is not None:
        services = load([file]).services
        if len(services) != 1:
            raise UsageError(f"{file} declares {len(services)} services", hint="give the file of one")
        base = services[0]
    given = {}
    for word in knobs:
        knob, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not KNOB=VALUE", hint="--set scaling.target=0.6")
        given[knob] = value
    return with_knobs(with_preset(base, name), given)


def _loads(text: str) -> list[float]:
    try:
        loads = [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{text!r} is no list of loads", hint="write them as 0,10,50,10") from None
    if not all(0 <= load < 1e9 for load in loads) or len(loads) > LOADS_MAX:
        raise UsageError(f"loads are from 0 to a billion, and at most {LOADS_MAX}", hint="write them as 0,10,50,10")
    return loads


def _played(service: Service, file: Path, boot_s: float) -> list[Step]:
    from fleetctl.sim.contest import contestant
    from fleetctl.sim.policy_scaler import PolicyScaler
    from fleetctl.sim.service_world import play
    from fleetctl.sim.traces import read_trace

    one = contestant(service, read_trace(file), cold_s=boot_s, standby_s=None, price=0.0)
    noting = Noting(PolicyScaler(one.service))
    play(one.world, one.trace, noting, seed=1)
    return noting.steps
