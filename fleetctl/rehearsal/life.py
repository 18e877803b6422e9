"""The life of the process: take the port, load, answer, and end when told to or when a lever says so."""

import asyncio
import contextlib
import errno
import os
import signal

from aiohttp import web

from fleetctl.errors import Conflict, UsageError
from fleetctl.rehearsal.api import Api
from fleetctl.rehearsal.compiling import compiled
from fleetctl.rehearsal.engine import Engine
from fleetctl.rehearsal.options import Options

EXIT_LOAD_FAILED = 3
EXIT_CRASHED = 1

FLUSH_S = 2.0
"""What the end of the grace leaves for telling clients that their answers were cut short; one that does not read by
then is hung up on."""

BACKLOG = 1024
"""Connections that may wait to be accepted: a burst of so many clients is met, and Linux's own limit is 4096."""


def say(descriptor: int, line: str) -> None:
    """Write a line for people, past all buffers. A reader that is gone (our parent may be) is no reason to fail."""
    with contextlib.suppress(OSError):
        os.write(descriptor, f"{line}\n".encode())


async def live(options: Options) -> int:
    """Serve until SIGTERM or SIGINT, then finish what was accepted. Returns the exit status.

    Raises `Conflict` when the port is in use, `UsageError` when the address cannot be listened on at all.
    """
    loop = asyncio.get_running_loop()
    verdict: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _settle, verdict, 0)
    # A closed terminal or a dead parent ends nothing: replicas outlive the node agent that started them.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    loading: asyncio.Task[None] | None = None
    engine = Engine(options.pace, wake_s=options.wake_s)
    app = Api(engine, options).application()
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=options.grace_s + FLUSH_S)
    await runner.setup()
    try:
        await _listen(runner, options)
        driver = asyncio.create_task(engine.run())
        if not options.failures.never_ready:
            loading = asyncio.create_task(_load(engine, options, verdict))
        await asyncio.wait((driver, verdict), return_when=asyncio.FIRST_COMPLETED)
        if driver.done():
            driver.result()
    finally:
        # Cleanup stops listening and waits for requests under way, whose tokens the driver still brings.
        loop.call_later(options.grace_s, engine.abort_all)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.grace_s + FLUSH_S):
                await runner.cleanup()
    driver.cancel()
    if loading is not None:
        loading.cancel()
    return verdict.result()


async def _listen(runner: web.AppRunner, options: Options) -> None:
    where = f"{options.host}:{options.port}"
    try:
        await web.TCPSite(runner, options.host, options.port, backlog=BACKLOG).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {options.port} of {options.host} is in use", hint="choose another with --port, or --port 0"
            ) from error
        raise UsageError(
            f"cannot listen on {where}: {error.strerror}", hint="choose another --host or --port"
        ) from error
    host, port, *_ = runner.addresses[0]
    say(1, f"rehearsal engine of {options.model} listens on http://{f'[{host}]' if ':' in host else host}:{port}")


async def _load(engine: Engine, options: Options, verdict: asyncio.Future[int]) -> None:
    if options.compile_s:
        try:
            found = await compiled(options.model, seconds=options.compile_s, size=options.compile_bytes)
        except OSError as error:
            say(2, f"rehearsal: what is compiled cannot be kept: {error}")
            _settle(verdict, EXIT_LOAD_FAILED)
            return
        say(1, f"rehearsal: {'found what was compiled before' if found else 'compiled'}")
    await asyncio.sleep(options.load_s)
    _loaded(engine, options, verdict)


def _loaded(engine: Engine, options: Options, verdict: asyncio.Future[int]) -> None:
    if options.failures.fail_load:
        say(2, f"rehearsal: the model {options.model} could not be loaded, because --fail-load asks for that")
        _settle(verdict, EXIT_LOAD_FAILED)
        return
    engine.loaded()
    if options.failures.crash_after_s is not None:
        asyncio.get_running_loop().call_later(options.failures.crash_after_s, _crash)


def _crash() -> None:
    say(2, "rehearsal: the engine crashed, because --crash-after-s asks for that")
    os._exit(EXIT_CRASHED)


def _settle(verdict: asyncio.Future[int], status: int) -> None:
    if not verdict.done():
        verdict.set_result(status)
