"""`fleetctl gateway` (Control): Queue and route requests to engines of your own, or join a fleet.

Example: fleetctl gateway --check
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.output import Column, Format, Output, document, emit, line, say
from fleetctl.errors import UsageError
from fleetctl.model.routes import Route
from fleetctl.spec.openness import open_metrics
from fleetctl.views.figures import several

if TYPE_CHECKING:
    from fleetctl.gateway.settings import Settings
    from fleetctl.spec.gateway_file import GatewayConfig

app = typer.Typer(add_completion=False)

EXAMPLE = "fleetctl gateway --replica http://127.0.0.1:8000=64 --auth none"
SERVICE = "default"
"""What the one service is called when nobody names it."""
NAMES_SHOWN = 8
"""Models named in one line at the start; more are at /v1/models."""

ROUTES: tuple[Column[Route], ...] = (
    Column(header="SERVICE", cell=lambda row: row.service),
    Column(header="REPLICAS", cell=lambda row: str(len(row.upstreams)), right=True),
    Column(header="SLOTS", cell=lambda row: str(_slots(row)), right=True),
    Column(header="WAIT", cell=lambda row: f"{row.queue_timeout_s:g}s", right=True),
    Column(header="QUEUE MAX", cell=lambda row: str(row.queue_limit), right=True),
    Column(header="MODELS", cell=lambda row: ", ".join(row.models) or "asked at the start", drop=1),
)


@app.command()
def gateway(
    replica: Annotated[
        list[str] | None,
        typer.Option(metavar="[SERVICE@]URL=SLOTS", help="An engine, and the requests it serves at once; repeatable"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="All of it from a file: docs/gateway.md")
    ] = None,
    auth: Annotated[str | None, typer.Option(metavar="none", help="Let everybody in; keys stand in the file")] = None,
    service: Annotated[str | None, typer.Option(metavar="NAME", help="The name of what the replicas serve")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="[SERVICE@]NAME", help="A value of `model` for it; default: what the replicas list"),
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where requests come in; default 127.0.0.1:8080")
    ] = None,
    queue_timeout: Annotated[
        str | None, typer.Option(metavar="30s", help="The longest wait for a slot; what would wait longer is refused")
    ] = None,
    queue_limit: Annotated[int | None, typer.Option(metavar="N", help="Requests that may wait; default 10000")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Processes that carry requests; default 1")] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM certificate: serve HTTPS")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its key, if it is in another file")] = None,
    access_log: Annotated[str | None, typer.Option(metavar="FILE|-", help="A line of JSON for each request")] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where /metrics and /healthz are served, and nothing else")
    ] = None,
    join: Annotated[
        str | None, typer.Option(metavar="NAME", help="Join a fleet as one more gateway of this name instead")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", envvar="FLEETCTL_STORE", help="With --join: the fleet's store; default: this home's"
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Look at options, file and certificate, and end")] = False,
    hash_key: Annotated[
        bool, typer.Option("--hash-key", help="Read an API key from stdin, print the sha256 for the file, and end")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """One address and one queue before engines that run already. Ctrl-C drains and ends it; twice: at once.

    SIGHUP reads file and certificate again; a file that is wrong leaves everything as it was.
    """
    if hash_key:
        _hash_key(output)
        return

    if join is not None:
        alone = {"replica": replica, "config": config, "auth": auth, "service": service, "model": model}
        for name, given in alone.items():
            if given is not None:
                raise UsageError(
                    f"--join and --{name} cannot be given together", hint="a fleet's controller says what is served"
                )
        from fleetctl.cli.gateway_join import run_joined

        run_joined(join, store=store, listen=listen, metrics=metrics, access_log=access_log)
        return

    def read() -> "GatewayConfig":
        if config is not None:
            beside = {
                "replica": replica,
                "service": service,
                "model": model,
                "auth": auth,
                "queue-timeout": queue_timeout,
                "queue-limit": queue_limit,
            }
            made = _from_file(config, [name for name, given in beside.items() if given is not None])
        else:
            made = _from_line(replica or [], service, model or [], auth, queue_timeout, queue_limit)
        return _over(made, listen, workers, tls_cert, tls_key, access_log, metrics)

    made = read()
    if check:
        emit(_checked(made).services, ROUTES, output, name=lambda row: f"service/{row.service}")
        return
    from fleetctl.cli.gateway_process import run_gateway

    run_gateway(made, read, lambda address, settings: _told(address, settings, output))


def _from_file(path: Path, beside: list[str]) -> "GatewayConfig":
    from fleetctl.spec.gateway_file import load_gateway_file

    if beside:
        raise UsageError(f"--{beside[0]} and --config cannot be given together", hint=f"write it into {path}")
    return load_gateway_file(path, os.environ)


def _from_line(
    replicas: list[str],
    service: str | None,
    models: list[str],
    auth: str | None,
    queue_timeout: str | None,
    queue_limit: int | None,
) -> "GatewayConfig":
    from fleetctl.spec.gateway_line import line_config

    if not replicas:
        raise UsageError("which engines? None is named", hint=f"{EXAMPLE}, or --config FILE")
    return line_config(
        replicas=replicas,
        service=service or SERVICE,
        invented=service is None,
        models=models,
        auth=auth,
        queue_timeout=queue_timeout,
        queue_limit=queue_limit,
    )


def _over(
    made: "GatewayConfig",
    listen: str | None,
    workers: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    access_log: str | None,
    metrics: str | None,
) -> "GatewayConfig":
    """What is written with the command goes before what the file says."""
    from fleetctl.spec.gateway_documents import WORKERS_MAX
    from fleetctl.spec.gateway_line import with_address

    if listen is not None:
        made = with_address(made, "--listen", "listen", listen)
    if metrics is not None:
        made = with_address(made, "--metrics", "metrics_listen", metrics)
    if workers is not None:
        if not 1 <= workers <= WORKERS_MAX:
            raise UsageError(f"--workers {workers} is not from 1 to {WORKERS_MAX}", hint="write --workers 2")
        made = replace(made, workers=workers)
    if tls_cert is not None:
        made = replace(made, tls_certificate=tls_cert.absolute(), tls_key=tls_key and tls_key.absolute())
    elif tls_key is not None:
        raise UsageError("--tls-key is given without --tls-cert", hint=f"add --tls-cert FILE to --tls-key {tls_key}")
    if access_log is not None:
        from fleetctl.spec.gateway_file import STDOUT

        made = replace(made, access_log=STDOUT if access_log == str(STDOUT) else Path(access_log).absolute())
    return made


def _checked(made: "GatewayConfig") -> "GatewayConfig":
    """With its certificate looked at. Raises `UsageError`; warnings go to stderr."""
    warnings = [*made.warnings, *filter(None, [open_metrics(made.metrics_listen)])]
    if made.tls_certificate is not None:
        from fleetctl.gateway.tls import certificate_warnings, server_context

        server_context(made.tls_certificate, made.tls_key)
        warnings += certificate_warnings(made.tls_certificate, made.tls_key)
    for warning in warnings:
        say(f"warning: {warning}")
    return made


def _told(address: str, settings: "Settings", output: Format) -> None:
    """The address for programs and shells, what is behind it for people."""
    from fleetctl.cli.gateway_process import STDOUT_FILE

    url = f"{'https' if settings.tls_certificate is not None else 'http'}://{address}/v1"
    routes = settings.routes.routes if settings.routes is not None else ()
    for route in routes:
        say(_serving(route))
    say(_entering(settings))
    say("Ctrl-C or SIGTERM drains and ends it; SIGHUP reads its files again")
    stdout_is_log = settings.access_log == STDOUT_FILE
    match output:
        case Format.JSON:
            line({"url": url, "pid": os.getpid(), "services": [route.service for route in routes]})
        case Format.YAML:
            document({"url": url, "pid": os.getpid(), "services": [route.service for route in routes]}, output)
        case Format.TABLE | Format.NAME if stdout_is_log:
            say(url)  # beside a log of JSON lines, which programs read
        case Format.TABLE | Format.NAME:
            sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


def _serving(route: Route) -> str:
    names = [*route.models, *route.adapters]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    said = f"; model {', '.join(names[:NAMES_SHOWN])}{more}" if names else ""
    count = len(route.upstreams)
    replicas = "1 replica" if count == 1 else f"{count} replicas"
    return f"service {route.service}: {replicas}, {several(_slots(route), 'slot')}{said}"


def _entering(settings: "Settings") -> str:
    identity = settings.identity
    if identity is None or not identity.required:
        return "auth: none, everybody who reaches the address may ask"
    return f"auth: {several(len(identity.keys), 'key')} of {several(len(identity.tenants), 'tenant')}"


def _slots(route: Route) -> int:
    return sum(upstream.slots for upstream in route.upstreams)


def _hash_key(output: Format) -> None:
    from fleetctl.spec.gateway_keys import hash_of, weakness

    if sys.stdin.isatty():
        say("the key, then Enter:")
    secret = sys.stdin.readline().rstrip("\r\n")
    if weak := weakness(secret):
        raise UsageError(f"the key {weak}", hint="openssl rand -hex 32 > KEY, then: fleetctl gateway --hash-key < KEY")
    if output in (Format.JSON, Format.YAML):
        document({"sha256": hash_of(secret)}, output)
    else:
        sys.stdout.write(f"{hash_of(secret)}\n")
