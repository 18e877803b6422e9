"""`python -m fleetctl.node.tunnels`: the ways to machines, in the background."""

import argparse
import asyncio
import logging
import logging.handlers
import os
import sys
from collections.abc import Callable
from pathlib import Path

_LOG_LIMIT_BYTES = 4 * 1024 * 1024
"""Nothing is logged per request; at this size one older file is kept beside the log."""
_READY = b"ready"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fleetctl.node.tunnels", description="The ways to machines.")
    parser.add_argument("--home", required=True, type=Path, help="the fleet's folder")
    parser.add_argument("--log", required=True, type=Path, help="log to this file")
    options = parser.parse_args()
    home, log = options.home.absolute(), options.log.absolute()
    hears, tells = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tells)
        if os.read(hears, len(_READY)) == _READY:
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1
    os.close(hears)
    os.setsid()
    os.chdir(os.sep)

    def ready() -> None:
        # Whoever started us reads our stderr to its end: it ends here.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        os.write(tells, _READY)
        os.close(tells)

    return _run(home, log, ready)


def _run(home: Path, log: Path, ready: Callable[[], None]) -> int:
    from fleetctl.node.tunnels.serve import serve  # after the fork: two processes share nothing of it
    from fleetctl.paths import Home

    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(log, maxBytes=_LOG_LIMIT_BYTES, backupCount=1)
    logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it tells of every channel
    asyncio.run(serve(Home(home), ready=ready))
    return 0


if __name__ == "__main__":
    sys.exit(main())
