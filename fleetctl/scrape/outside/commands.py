"""Commands that print a number."""

import asyncio
import os
import re
import signal
from collections.abc import Sequence

from fleetctl.scrape.outside.numbers import number
from fleetctl.scrape.outside.unread import Unread

OUTPUT_BYTES_MAX = 4096
"""A number and a line end; whoever prints more is not the right command."""
SAID_CHARS_MAX = 120
"""Of what a failing command wrote to stderr, for people."""
_CREDENTIALS = re.compile(r"//[^\s/@]*@")
REAP_S = 2.0
"""A killed process is gone within milliseconds, but for one that hangs in the kernel."""


async def printed(command: Sequence[str]) -> float:
    """The number that the command prints. Raises `Unread`; cancelled, it leaves no process behind."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # so that what it starts can be ended with it
        )
    except (OSError, ValueError) as error:
        raise Unread(f"{command[0]} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        output, said, code = await asyncio.gather(
            _taken(process.stdout, whole=True), _taken(process.stderr, whole=False), process.wait()
        )
    except BaseException:
        await _end(process)
        raise
    finally:
        # Pipes with something left in them stay open otherwise, and asyncio has no public way to close them.
        process._transport.close()  # type: ignore[attr-defined]
    if code != 0:
        words = said.decode(errors="replace").strip().splitlines()
        # What a command complains of may be an address with a password in it.
        told = f": {_CREDENTIALS.sub('//…@', words[-1])[:SAID_CHARS_MAX]}" if words else ""
        raise Unread(f"{command[0]} ended with {code}{told}")
    return number(output.decode(errors="replace").strip(), f"what {command[0]} prints")


async def _taken(stream: asyncio.StreamReader, *, whole: bool) -> bytes:
    """The first of what it writes, all of it read, so that a full pipe does not hold it up. `whole`: more is wrong."""
    kept = b""
    while piece := await stream.read(OUTPUT_BYTES_MAX):
        kept += piece[: OUTPUT_BYTES_MAX + 1 - len(kept)]
        if whole and len(kept) > OUTPUT_BYTES_MAX:
            raise Unread(f"it prints more than {OUTPUT_BYTES_MAX} bytes")
    return kept[-OUTPUT_BYTES_MAX:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and all that it started: some of it is left, so that the number is still its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing is left of it
    except PermissionError:
        process.kill()
    try:
        async with asyncio.timeout(REAP_S):
            await process.wait()
    except TimeoutError:
        pass
