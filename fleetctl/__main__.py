"""The `fleetctl` command, in tiers: what needs no more than words costs no more than words."""

import os
import sys

BROKEN_PIPE = 141
"""As a shell reports a process that SIGPIPE ended."""


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away: nothing more to say, and no traceback at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = BROKEN_PIPE
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        from fleetctl import __version__

        sys.stdout.write(f"fleetctl {__version__}\n")
        return 0
    if not arguments or arguments in (["--help"], ["-h"], ["help"]):
        from fleetctl.cli.commands import root_help

        sys.stdout.write(root_help())
        return 0
    from fleetctl.cli.dispatch import run

    return run(arguments)


if __name__ == "__main__":
    main()
