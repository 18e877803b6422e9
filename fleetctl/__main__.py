"""The `fleetctl` command, in tiers: what needs no more than words costs no more than words."""

import gc
import sys

from fleetctl.cli import streams

BROKEN_PIPE = 141
"""As a shell reports a process that SIGPIPE ended."""
HELP = ("help", "--help", "-h")
UNCOLLECTED = 50_000
"""Objects between two looks for garbage, 700 otherwise: what an import makes stays, and looking for garbage in it costs
a twentieth of a short command's time. A loop's garbage is found as surely, some hundred kilobytes later."""
FAILURE = 1
"""As of every error that has no code of its own."""
INTERRUPTED = 130
"""As a shell reports a process that Ctrl-C ended."""


def main() -> None:
    """Run the command line and exit with its code."""
    gc.set_threshold(UNCOLLECTED)
    streams.claim()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output went away: nothing more to say, and no traceback at interpreter exit.
        streams.abandon()
        code = BROKEN_PIPE
    except streams.StreamFailure as failure:
        sys.stderr.write(f"error: {failure}\n")
        streams.abandon()
        code = FAILURE
    except KeyboardInterrupt:  # before there was a command to say what became of it
        sys.stderr.write("\ninterrupted\n")
        code = INTERRUPTED
    # As it ends, the interpreter looks four times for garbage in all that was made: a seventh of a short command.
    # What is frozen is passed over; what must be closed was closed by who opened it.
    gc.freeze()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-V"]):
        from fleetctl import __version__

        sys.stdout.write(f"fleetctl {__version__}\n")
        return 0
    if arguments[:1] == ["__complete"]:
        from fleetctl.cli.completing import answer

        sys.stdout.write(answer(arguments[1:]))
        return 0
    if arguments[:1] == ["help"]:
        from fleetctl.cli.topics import TOPICS

        if text := TOPICS.get(" ".join(arguments[1:])):
            sys.stdout.write(text)
            return 0
        # `help up` is `up --help`, and `help` alone the help of all.
        arguments = [*(word for word in arguments[1:] if word not in HELP), "--help"]
    if not arguments or arguments in (["--help"], ["-h"]):
        from fleetctl.cli.commands import root_help, terminal_columns

        sys.stdout.write(root_help(terminal_columns()))
        return 0
    from fleetctl.cli.dispatch import run

    return run(arguments)


if __name__ == "__main__":
    main()
