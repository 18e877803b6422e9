"""`fleetctl decide` (Control): The brain as a filter: observations in, decisions out, as JSON lines.

Example: fleetctl decide -s fleet/chat.yaml < observations.jsonl
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Annotated

import typer

from fleetctl.cli.output import Format, Output
from fleetctl.decide.lines import Line, Recollection, ServiceLine, Signals, Starting, answer
from fleetctl.errors import FleetError, SpecError, UsageError
from fleetctl.model.services import Service

app = typer.Typer(add_completion=False)

LINE_LIMIT_BYTES = 16 << 20
"""A line of ten thousand services has some two megabytes."""


@app.command()
def decide(
    service: Annotated[list[Path], typer.Option("--service", "-s", help="A file or folder that declares the services")],
    policy: Annotated[str | None, typer.Option("--policy", help="Use this preset instead of the files' own")] = None,
    state: Annotated[Path | None, typer.Option("--state", help="Go on where it stopped; kept after every line")] = None,
    output: Output = Format.JSON,
) -> int:
    """Read one JSON line per tick from stdin, write one to stdout, at once; the same brain as the fleet's own.

    A line of input, of a service that is called chat as in the files of `fleetctl init`, and what is answered:

    \b
    {"t": 120, "services": [{"name": "chat", "ready": 3, "signals": {"concurrency": 41}}]}
    {"t":120.0,"decisions":[{"name":"chat","desired":3,"standby":1,"reason":"…","binding":"…"}]}

    Beside "ready" a service may have "starting": [{"age_s": 40.0}], "draining": 0 and "standby": 2. Concurrency
    (queued + running) and queue are means since the line before; null or absent means unknown. "signals" may have
    counts since that line, too: "arrivals": 12, "completed", "input_tokens", "output_tokens". Policies and signals
    beside these read more of them: "ttft_s" or "end_to_end_s" (the percentile that latency_slo keeps, in seconds),
    "oldest_wait_s", "gpu_utilization" (0 to 1), "fullest" (most requests that one engine ran while others waited in
    it), and "outside": {"orders": 120}, a number for each name that the file's `signals` have. A line that cannot be
    used is answered with {"error": …}, changes nothing, and makes the exit code 2.
    """
    if output is not Format.JSON:
        raise UsageError("decide speaks JSON lines only", hint="say -o json (FLEETCTL_OUTPUT may say otherwise)")
    services = _services(service, policy)
    known = _recall(state)
    failed = False
    for number, text in enumerate(_lines(sys.stdin.buffer), start=1):
        try:
            line = _parse(text, number, services)
            made, known = answer(line, services, known)
        except UsageError as error:
            failed = True
            _write({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
            continue
        if state is not None:
            _keep(state, known)
        _write(made)
    return UsageError.exit_code if failed else 0


def _services(paths: list[Path], policy: str | None) -> tuple[Service, ...]:
    from fleetctl.spec.knobs import with_knobs, with_preset
    from fleetctl.spec.load import load

    services = load(paths).services
    if not services:
        raise SpecError(f"{paths[0]}: no service is declared", hint="kind: service; an example: fleetctl init")
    if policy is None:
        return services
    return tuple(with_knobs(with_preset(one, policy), {}) for one in services)


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    while text := source.readline(LINE_LIMIT_BYTES):
        if text.strip():
            yield text


def _parse(text: bytes, number: int, services: tuple[Service, ...]) -> Line:
    import msgspec

    try:
        raw = msgspec.json.decode(text)
        _known_fields(raw, number, services)
        line = msgspec.convert(raw, Line)
    except msgspec.MsgspecError as error:
        raise UsageError(f"line {number}: {error}", hint="the format is in: fleetctl decide --help") from None
    declared = {service.name for service in services}
    for seen in line.services:
        if seen.name not in declared:
            raise UsageError(
                f"line {number}: service {seen.name!r} is not declared", hint=f"declared: {', '.join(sorted(declared))}"
            )
        negative = [name for name in ("ready", "draining", "standby") if getattr(seen, name) < 0]
        if negative:
            raise UsageError(f"line {number}: {seen.name}: {negative[0]} is negative", hint="counts are 0 or more")
    if len({seen.name for seen in line.services}) < len(line.services):
        raise UsageError(f"line {number}: a service is named twice", hint="one entry per service")
    return line


def _known_signals(signals: object, name: object, number: int, services: tuple[Service, ...]) -> None:
    """Names of signals from outside are the file's."""
    outside = signals.get("outside") if isinstance(signals, dict) else None
    declared = next((one.signals for one in services if one.name == name), ())
    names = [signal.name for signal in declared if signal.policy is None]
    strange = [key for key in outside if key not in names] if isinstance(outside, dict) else []
    if strange:
        import difflib

        near = difflib.get_close_matches(str(strange[0]), names, n=1)
        known = f"declared: {', '.join(names)}" if names else "the file has no such signals"
        raise UsageError(
            f"line {number}: outside: {strange[0]}: unknown signal",
            hint=f"did you mean {near[0]}?" if near else known,
        )


def _known_fields(raw: object, number: int, declared: tuple[Service, ...]) -> None:
    """Names of fields are checked: a signal that is misspelt must not pass for one that is unknown."""

    def check(value: object, kind: type, where: str) -> None:
        if isinstance(value, dict):
            names = {field.name for field in fields(kind)}
            strange = [name for name in value if name not in names]
            if strange:
                import difflib

                near = difflib.get_close_matches(str(strange[0]), names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(sorted(names))}"
                raise UsageError(f"line {number}: {where}{strange[0]}: unknown field", hint=hint)

    check(raw, Line, "")
    services = raw.get("services") if isinstance(raw, dict) else None
    for seen in services if isinstance(services, list) else ():
        check(seen, ServiceLine, "services: ")
        if isinstance(seen, dict):
            signals = seen.get("signals")
            check(signals, Signals, "signals: ")
            _known_signals(signals, seen.get("name"), number, declared)
            starting = seen.get("starting")
            for one in starting if isinstance(starting, list) else ():
                check(one, Starting, "starting: ")


def _recall(state: Path | None) -> Recollection:
    import msgspec

    if state is None or not state.exists():
        return Recollection()
    try:
        return msgspec.json.decode(state.read_bytes(), type=Recollection)
    except (OSError, msgspec.MsgspecError) as error:
        raise FleetError(f"{state}: cannot be read: {error}", hint="remove it to begin anew") from error


def _keep(state: Path, known: Recollection) -> None:
    import msgspec

    draft = state.with_name(state.name + ".tmp")
    try:
        draft.write_bytes(msgspec.json.encode(known))
        draft.replace(state)
    except OSError as error:
        raise FleetError(f"{state}: cannot be written: {error}", hint="give --state a place with room") from error


def _write(body: object) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
    sys.stdout.buffer.flush()
