"""`python -m fleetctl.gateway.leashed PID …`: the data plane, ended with the process that steers it.

A gateway that joined a fleet may use its slots only while somebody says that it lives: were its steering process
killed, the data plane would go on with slots that the controller gives to others.
"""

import ctypes
import os
import signal
import sys

import psutil

from fleetctl.gateway.__main__ import main

MODULE = "fleetctl.gateway.leashed"
_PR_SET_PDEATHSIG = 1
"""Of Linux' prctl(2)."""


def hold(pid: int) -> bool:
    """From now on this process drains and ends when the process that started it does. False: that has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == pid


def runs_for(pid: int) -> bool:
    """Whether a data plane still runs that the process of that id has started: it may outlive it, to drain."""
    words = [MODULE, str(pid)]
    for process in psutil.process_iter(["cmdline", "status"]):
        given = process.info["cmdline"] or []
        if given[2:4] == words and process.info["status"] != psutil.STATUS_ZOMBIE:
            return True
    return False


if __name__ == "__main__":
    if not hold(int(sys.argv.pop(1))):
        sys.exit(1)
    sys.exit(main())
