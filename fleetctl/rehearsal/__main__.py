"""`python -m fleetctl.rehearsal`: start a rehearsal engine."""

import asyncio
import sys

from fleetctl.errors import FleetError
from fleetctl.rehearsal.life import live, say
from fleetctl.rehearsal.options import read_options


def main() -> int:
    """Run until told to end. Returns the exit status."""
    options = read_options(None)
    try:
        return asyncio.run(live(options))
    except FleetError as error:
        say(2, f"rehearsal: {error.message}; {error.hint}")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
