"""`python -m fleetctl.gateway`: the data plane as a process of its own."""

import argparse
import asyncio
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from fleetctl.errors import FleetError

_LOG_LIMIT_BYTES = 10 * 1024 * 1024
"""Nothing is logged per request; at this size one older file is kept beside the log."""
_READY = b"ready"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fleetctl.gateway", description="Queue and route requests.")
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="the public address")
    parser.add_argument(
        "--admin-socket", required=True, type=Path, metavar="PATH", help="Unix socket of the controller"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="log to this file instead of stderr")
    parser.add_argument("--detach", action="store_true", help="go to the background when ready")
    options = parser.parse_args()
    admin_socket, log = options.admin_socket.absolute(), options.log.absolute() if options.log else None
    if not options.detach:
        return _run(options.listen, admin_socket, log, lambda _: None)
    return _detach(lambda ready: _run(options.listen, admin_socket, log, ready))


def _run(listen: str, admin_socket: Path, log: Path | None, ready: Callable[[str], None]) -> int:
    from fleetctl.gateway.serving import serve  # after the fork: nothing of it may be shared between two processes

    handler = (
        logging.handlers.RotatingFileHandler(log, maxBytes=_LOG_LIMIT_BYTES, backupCount=1)
        if log
        else logging.StreamHandler()
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        _loop_of_choice(serve(listen, admin_socket, ready=ready))
    except FleetError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201  the process's own last word
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def _loop_of_choice(work: Coroutine[None, None, None]) -> None:
    """uvloop where it is installed: it carries about twice the requests per core."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    try:
        import uvloop
    except ImportError:
        pass
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


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
