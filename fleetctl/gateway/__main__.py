"""`python -m fleetctl.gateway`: the data plane as a process of its own."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from fleetctl.errors import FleetError
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.shared_log import SharedLog

_READY = b"ready"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fleetctl.gateway", description="Queue and route requests.")
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="the public address")
    parser.add_argument(
        "--admin-socket", required=True, type=Path, metavar="PATH", help="Unix socket of the controller"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that carry requests")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM; read again at SIGHUP")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM; left out: in the certificate's file")
    parser.add_argument("--access-log", type=Path, metavar="FILE", help="a line of JSON per request")
    parser.add_argument("--access-log-sample", type=float, default=1.0, metavar="SHARE", help="of the answered ones")
    parser.add_argument("--metrics-listen", default="", metavar="HOST:PORT", help="/metrics and /healthz alone")
    parser.add_argument("--log", type=Path, metavar="FILE", help="log to this file instead of stderr")
    parser.add_argument("--detach", action="store_true", help="go to the background when ready")
    options = parser.parse_args()
    admin_socket, log = options.admin_socket.absolute(), options.log.absolute() if options.log else None
    settings = Settings(
        listen=options.listen,
        admin_socket=admin_socket,
        workers=max(1, options.workers),
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        access_log=options.access_log,
        access_log_sample=options.access_log_sample,
        metrics_listen=options.metrics_listen,
    )
    if not options.detach:
        return _run(settings, log, lambda _: None)
    return _detach(lambda ready: _run(settings, log, ready, detached=True))


def _run(settings: Settings, log: Path | None, ready: Callable[[str], None], *, detached: bool = False) -> int:
    from fleetctl.gateway.serving import serve  # after the fork: nothing of it may be shared between two processes

    logging.basicConfig(
        handlers=[SharedLog(log) if log else logging.StreamHandler()],
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        serve(settings, ready=ready, reload=lambda: settings, detached=detached)
    except FleetError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201  the process's own last word
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _detach(run: Callable[[Callable[[str], None]], int]) -> int:
    """Run in a session of its own; return here when it is ready, or with its exit code when it does not get there."""
    hears, tells = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tells)
        said = os.read(hears, len(_READY))
        if said == _READY:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1
    os.close(hears)
    os.setsid()
    os.chdir(os.sep)

    def ready(_: str) -> None:
        # Whoever started us reads our stderr to its end: it ends here.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        os.write(tells, _READY)
        os.close(tells)

    return run(ready)


if __name__ == "__main__":
    sys.exit(main())
