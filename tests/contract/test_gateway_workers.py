"""A gateway of several processes: one port, one queue, and nobody's death is everybody's."""

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from certificates import certificate
from gateway_by_file import written
from gateway_world import (
    WITHIN_S,
    Answer,
    Asked,
    AsProcess,
    Client,
    Engine,
    ask,
    client,
    engine,
    eventually,
    held,
    routed,
    routes,
    until,
    until_stats,
)
from ports import free_port

from fleetctl.errors import FleetError
from fleetctl.gateway.link import UnixGatewayLink
from fleetctl.gateway.settings import Settings
from fleetctl.gateway.workers.watching import LOOK_EVERY_S, SILENT_LOOKS_MAX
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.routes import Identity, KeyEntry, TenantEntry, Upstream

CHAT = ServiceName("chat")
EVERYBODY = Identity(required=False)
BY_FILE = Path(__file__).parent / "gateway_by_file.py"


@dataclass
class Processes(AsProcess):
    """A gateway of several processes, and what is left of it."""

    link: UnixGatewayLink
    address: str
    first: psutil.Process
    log: Path

    async def workers(self) -> tuple[int, ...]:
        return (await self.link.health()).workers

    async def scheduler(self) -> int:
        workers = await self.workers()
        (pid,) = (child.pid for child in self.first.children() if child.pid not in workers)
        return pid

    def worker_of(self, asking: Client, workers: tuple[int, ...]) -> int:
        """Which worker a client is connected to."""
        port = asking.writer.get_extra_info("sockname")[1]
        (pid,) = (
            worker
            for worker in workers
            if any(one.raddr and one.raddr.port == port for one in psutil.Process(worker).net_connections("tcp"))
        )
        return pid


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-gateway-") as made:
        yield Path(made)


def popen(argv: list[str], stdout: int | None = None, stderr: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, stdout=stdout, stderr=stderr, text=True)


async def ended(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """When it and its output have come to an end."""
    return await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )  # fmt: skip


@asynccontextmanager
async def processes(folder: Path, count: int, *engines: Engine, slots: int = 8) -> AsyncIterator[Processes]:
    """With one Service, `chat`. All of it is gone afterwards."""
    path, log = folder / "g.sock", folder / "log"
    argv = ["--listen", "127.0.0.1:0", "--admin-socket", str(path), "--workers", str(count), "--log", str(log)]
    with popen([sys.executable, "-m", "fleetctl.gateway", *argv]) as running:
        first = psutil.Process(running.pid)
        link = UnixGatewayLink(path)
        family: list[psutil.Process] = [first]
        try:
            health = await eventually(link.health)
            assert health.pid == running.pid
            made = Processes(link, health.listen, first, log)
            await made.route(routes(routed("chat", *engines, slots=slots)))
            await all_present(made, count)
            yield made
            if first.is_running() and first.status() != psutil.STATUS_ZOMBIE:
                family += first.children(recursive=True)
                running.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(running.wait, WITHIN_S) == 0
                assert not path.exists()
            assert not [one for one in family[1:] if one.is_running()]
            assert "Traceback" not in log.read_text(), log.read_text()
        finally:
            await link.close()
            for one in [*family, *(first.children(recursive=True) if first.is_running() else [])]:
                if one.is_running():
                    one.kill()


async def all_present(gateway: Processes, count: int, *, without: int = 0) -> tuple[int, ...]:
    """Until so many workers are there, and none of them is `without`."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            workers = (await eventually(gateway.link.health)).workers
            if len(workers) == count and without not in workers:
                return workers
            await asyncio.sleep(0.02)


async def until_measured(told: Callable[[], Awaitable[str]], sample: str) -> None:
    """Each worker tells what it counted four times a second."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if f"\nfleetctl_gateway_{sample}\n" in await told():
                return
            await asyncio.sleep(0.05)


async def found_silent(gateway: Processes) -> None:
    """It takes ten looks, and on a machine that is busy more than ten seconds."""
    async with asyncio.timeout(4 * SILENT_LOOKS_MAX * LOOK_EVERY_S):
        while "does nothing at all" not in gateway.log.read_text():  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.1)


async def gone(pids: list[psutil.Process]) -> None:
    await until(lambda: not [one for one in pids if one.is_running() and one.status() != psutil.STATUS_ZOMBIE])


class Counting:
    """Serves briefly, and counts to the moment before it writes: until then its slot cannot be anybody else's."""

    def __init__(self, seconds: float = 0.004) -> None:
        self.seconds = seconds
        self.running = 0
        self.most = 0

    async def __call__(self, _: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(asked.body), asked.body))


async def streamed(engine: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
    """An event at once, the other when it may."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"9\r\ndata: a\n\n\r\n")
    await engine.go.wait()
    writer.write(b"9\r\ndata: b\n\n\r\n0\r\n\r\n")


WHOLE = b"data: a\n\ndata: b\n\n"


async def test_four_workers_share_one_port_and_one_count_of_slots(folder: Path) -> None:
    counts = Counting(), Counting()
    async with (
        engine(counts[0]) as one,
        engine(counts[1]) as other,
        processes(folder, 4, one, other, slots=3) as gateway,
    ):
        workers = await gateway.workers()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(gateway)) for _ in range(64)]

            async def rounds(asking: Client, number: int) -> list[Answer]:
                answers = []
                for turn in range(5):
                    asking.post(b"%d-%d" % (number, turn))
                    answers.append(await asking.answer())
                return answers

            answered = await asyncio.gather(*(rounds(asking, number) for number, asking in enumerate(clients)))
            spread = Counter(gateway.worker_of(asking, workers) for asking in clients)

        assert [[answer.body for answer in each] for each in answered] == [
            [b"%d-%d" % (number, turn) for turn in range(5)] for number in range(64)
        ]
        assert [one.most for one in counts] == [3, 3]
        assert set(spread) == set(workers)
        stats = await until_stats(gateway, "chat", lambda found: found.completed == 320)
        assert (stats.queued, stats.arrived, stats.failed) == (0, 320, 0)
        await until_measured(gateway.metrics, 'ttft_seconds_count{service="chat"} 320')


async def test_a_worker_is_killed_and_only_its_own_clients_notice(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 3, real, slots=12) as gateway:
        workers = await gateway.workers()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(gateway)) for _ in range(24)]
            for asking in clients:
                asking.post()
            await until_stats(gateway, "chat", lambda found: found.queued == 12)
            at = [gateway.worker_of(asking, workers) for asking in clients]
            victim = Counter(at).most_common(1)[0][0]

            os.kill(victim, signal.SIGKILL)

            now = await all_present(gateway, 3, without=victim)
            assert set(workers) - {victim} < set(now)
            lost = at.count(victim)
            # What ran in it was left at the engine, and what waited is served in its place.
            await until_stats(gateway, "chat", lambda found: found.queued == max(0, 12 - lost))
            await until(lambda: real.running == min(12, 24 - lost))
            stats = (await gateway.stats())[CHAT]
            assert dict(stats.in_flight) == {ReplicaId("r0"): min(12, 24 - lost)}
            real.go.set()
            for asking, pid in zip(clients, at, strict=True):
                if pid == victim:
                    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                        await asking.reader.readuntil(b"b\n\n")
                else:
                    answer = await asking.answer()
                    assert (answer.body, answer.whole) == (WHOLE, True)
            stats = await until_stats(gateway, "chat", lambda found: not found.in_flight or not found.in_flight[0][1])
            assert (stats.queued, stats.completed) == (0, 24 - lost)


async def test_who_connects_while_a_worker_is_dead_is_served_by_its_successor(folder: Path) -> None:
    async with engine(Counting(0)) as real, processes(folder, 2, real) as gateway:
        for victim in await gateway.workers():
            os.kill(victim, signal.SIGKILL)

        answers = await asyncio.gather(*(ask(gateway, b"%d" % number) for number in range(40)))

        assert [answer.body for answer in answers] == [b"%d" % number for number in range(40)]


async def test_a_worker_that_keeps_dying_is_started_again_at_a_bounded_rate(folder: Path) -> None:
    async with engine(Counting(0)) as real, processes(folder, 2, real) as gateway:
        for _ in range(3):
            victim = max(await all_present(gateway, 2))
            os.kill(victim, signal.SIGKILL)
            await all_present(gateway, 2, without=victim)

        assert (await ask(gateway, b"x")).body == b"x"
        pauses = re.findall(
            r"worker \d \(pid \d+\) ended with -9; it is started again in ([\d.]+) s", gateway.log.read_text()
        )
        assert pauses == ["0.1", "0.2", "0.4"]


async def test_the_scheduler_is_killed_and_running_streams_end(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 2, real, slots=2) as gateway, AsyncExitStack() as stack:
        running = [await stack.enter_async_context(client(gateway)) for _ in range(2)]
        for asking in running:
            asking.post()
        await until(lambda: real.running == 2)
        waiting = await stack.enter_async_context(client(gateway))
        waiting.post()
        await until_stats(gateway, "chat", lambda found: found.queued == 1)
        workers = await gateway.workers()

        os.kill(await gateway.scheduler(), signal.SIGKILL)

        refused = await waiting.answer()
        assert (refused.status, refused.code) == (503, "scheduler_lost")
        assert b"Retry-After: 1\r\n" in refused.head
        assert set(await all_present(gateway, 2)) == set(workers)
        # The next one knows the routes, and that both slots are taken.
        late = await stack.enter_async_context(client(gateway))
        late.post()
        stats = await until_stats(gateway, "chat", lambda found: found.queued == 1)
        assert dict(stats.in_flight) == {ReplicaId("r0"): 2}
        assert real.most_running == 2
        real.go.set()
        for asking in (*running, late):
            answer = await asking.answer()
            assert (answer.body, answer.whole) == (WHOLE, True)
        assert real.most_running == 2
        await until_stats(gateway, "chat", lambda found: dict(found.in_flight).get(ReplicaId("r0"), 0) == 0)


async def test_under_load_a_killed_scheduler_costs_refusals_and_never_silence(folder: Path) -> None:
    counts = Counting(0.002)
    async with engine(counts) as real, processes(folder, 2, real, slots=4) as gateway:
        outcomes: Counter[int] = Counter()
        ends = asyncio.Event()

        async def asks() -> None:
            async with client(gateway) as asking:
                while not ends.is_set():
                    asking.post()
                    answer = await asking.answer()
                    outcomes[answer.status] += 1
                    if answer.status == 503:
                        assert answer.code == "scheduler_lost"
                        await asyncio.sleep(0.05)

        asking = [asyncio.ensure_future(asks()) for _ in range(12)]
        await until(lambda: outcomes[200] >= 50)
        os.kill(await gateway.scheduler(), signal.SIGKILL)
        await until(lambda: outcomes[503] >= 1)
        before = outcomes[200]
        await until(lambda: outcomes[200] >= before + 200)
        ends.set()
        await asyncio.gather(*asking)

        assert set(outcomes) == {200, 503}
        assert counts.most == 4


async def test_told_to_stop_it_lets_streams_end_and_refuses_what_waits(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 3, real, slots=1) as gateway, AsyncExitStack() as stack:
        family = gateway.first.children()
        running, waiting, resting = [await stack.enter_async_context(client(gateway)) for _ in range(3)]
        running.post()
        await until(lambda: real.running == 1)
        waiting.post()
        await until_stats(gateway, "chat", lambda found: found.queued == 1)

        await gateway.link.shutdown()

        refused = await waiting.answer()
        assert (refused.status, refused.code) == (503, "shutting_down")
        assert b"60 s" in refused.body
        assert await resting.ended() == b""
        late = [await ask(gateway) for _ in range(8)]  # at each worker's door, as long as something runs
        assert {(one.status, one.code) for one in late} == {(503, "shutting_down")}
        assert all(b"\r\nConnection: close\r\n" in one.head for one in late)
        assert (await gateway.link.health()).stopping
        real.go.set()
        answer = await running.answer()
        assert (answer.body, answer.whole) == (WHOLE, True)
        await gone([gateway.first, *family])


async def test_told_to_stop_twice_it_ends_at_once(folder: Path) -> None:
    async with engine(held) as real, processes(folder, 2, real) as gateway, client(gateway) as asking:
        family = gateway.first.children()
        asking.post()
        await until(lambda: real.running == 1)

        gateway.first.send_signal(signal.SIGINT)
        await until(lambda: "stopping" in gateway.log.read_text())
        gateway.first.send_signal(signal.SIGINT)

        await gone([gateway.first, *family])
        await until(lambda: real.left == 1)


async def test_the_first_process_is_killed_and_none_is_left_when_streams_have_ended(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 2, real) as gateway, client(gateway) as asking:
        family = gateway.first.children()
        asking.post()
        await until(lambda: real.running == 1)

        gateway.first.kill()

        listen = gateway.address
        async with asyncio.timeout(WITHIN_S):  # the port is free for another gateway while the stream runs on
            while True:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind(("127.0.0.1", int(listen.rpartition(":")[2])))
                        break
                    except OSError:
                        await asyncio.sleep(0.02)
        real.go.set()
        assert (await asking.answer()).body == WHOLE
        await gone(family)


async def test_a_worker_that_is_told_to_end_lets_its_streams_end_and_has_a_successor(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 2, real) as gateway, client(gateway) as asking:
        asking.post()
        await until(lambda: real.running == 1)
        leaves = gateway.worker_of(asking, await gateway.workers())

        os.kill(leaves, signal.SIGTERM)

        await until(lambda: "no more requests are taken" in gateway.log.read_text())
        real.go.set()
        assert (await asking.answer()).body == WHOLE
        await all_present(gateway, 2, without=leaves)


async def test_a_worker_that_is_stopped_is_killed_and_its_slots_are_free(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 2, real, slots=1) as gateway, AsyncExitStack() as stack:
        workers = await gateway.workers()
        asking = await stack.enter_async_context(client(gateway))
        asking.post()
        await until(lambda: real.running == 1)
        waiting, stopped = asking, gateway.worker_of(asking, workers)
        while gateway.worker_of(waiting, workers) == stopped:
            waiting = await stack.enter_async_context(client(gateway))
            waiting.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await waiting.answer()).status == 200
        waiting.post()
        await until_stats(gateway, "chat", lambda found: found.queued == 1)

        os.kill(stopped, signal.SIGSTOP)

        await found_silent(gateway)
        assert WHOLE not in await asking.ended()  # its client is not kept waiting for ever
        await until(lambda: len(real.asked) == 2)  # the one slot is another's now
        real.go.set()
        answered = await waiting.answer()
        await all_present(gateway, 2, without=stopped)
        stats = await until_stats(gateway, "chat", lambda found: found.completed == 1)

        assert (answered.body, answered.whole) == (WHOLE, True)
        assert (dict(stats.in_flight), stats.queued) == ({"r0": 0}, 0)


async def test_a_scheduler_that_is_stopped_is_killed_and_what_runs_keeps_its_slot(folder: Path) -> None:
    async with engine(streamed) as real, processes(folder, 2, real, slots=1) as gateway, client(gateway) as asking:
        asking.post()
        await until(lambda: real.running == 1)
        stopped = await gateway.scheduler()

        os.kill(stopped, signal.SIGSTOP)
        async with client(gateway) as waiting:
            waiting.post()
            await found_silent(gateway)
            refused = await waiting.answer()
        await until(lambda: not psutil.pid_exists(stopped))
        await eventually(gateway.link.health)
        stats = await until_stats(gateway, "chat", lambda found: dict(found.in_flight) == {"r0": 1})
        real.go.set()
        answered = await asking.answer()

        assert (refused.status, refused.code) == (503, "scheduler_lost")
        assert stats.queued == 0
        assert (answered.body, answered.whole) == (WHOLE, True)
        assert (await ask(gateway)).status == 200
        assert real.most_running == 1


async def test_a_request_without_a_replica_is_told_to_the_controller_at_once(folder: Path) -> None:
    async with processes(folder, 2) as gateway, client(gateway) as asking:
        asking.post()

        starved = await gateway.link.starved(0)

        assert starved.services == (CHAT,)
        async with engine(Counting(0)) as real:
            await gateway.route(routes(routed("chat", real)))
            assert (await asking.answer()).status == 200


async def test_a_detached_gateway_of_several_lets_its_starter_go(folder: Path) -> None:
    path = folder / "g.sock"
    argv = ["--listen", "127.0.0.1:0", "--admin-socket", str(path), "--log", str(folder / "log"), "--workers", "2"]

    # To the end of its output, which nothing that it leaves behind may hold open.
    started = await ended([sys.executable, "-m", "fleetctl.gateway", *argv, "--detach"])

    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    link = UnixGatewayLink(path)
    try:
        health = await link.health()
        first = psutil.Process(health.pid)
        family = first.children()
        assert len(family) == 3
        await link.shutdown()
        await gone([first, *family])
    finally:
        await link.close()


async def test_a_port_in_use_is_a_conflict_also_for_several(folder: Path) -> None:
    async with processes(folder, 2) as gateway:
        argv = ["--listen", gateway.address, "--admin-socket", str(folder / "h.sock"), "--workers", "2"]

        second = await ended([sys.executable, "-m", "fleetctl.gateway", *argv])

        assert second.returncode == 7
        assert f"cannot listen on {gateway.address}" in second.stderr


# settings in a file


@asynccontextmanager
async def by_file(file: Path, settings: Settings) -> AsyncIterator[tuple[AsProcess, subprocess.Popen[str]]]:
    file.write_bytes(written(settings))
    with popen([sys.executable, str(BY_FILE), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            address = (await asyncio.to_thread(running.stdout.readline)).strip()
            assert address, running.stderr.read() if running.stderr else ""
            yield AsProcess(UnixGatewayLink(file), address), running
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, WITHIN_S) == 0
        finally:
            running.kill()


@pytest.mark.parametrize("workers", [1, 3])
async def test_settings_are_read_again_without_losing_a_request(folder: Path, workers: int) -> None:
    file, access = folder / "settings.json", folder / "access.log"
    async with engine(Counting()) as old, engine(Counting()) as new:
        before = Settings(
            listen="127.0.0.1:0",
            workers=workers,
            access_log=access,
            identity=EVERYBODY,
            routes=routes(routed("chat", old, slots=4), fence=1),
        )
        async with by_file(file, before) as (gateway, running):
            answers: list[Answer] = []
            ends = asyncio.Event()

            async def asks() -> None:
                async with client(gateway) as asking:
                    while not ends.is_set():
                        asking.post()
                        answers.append(await asking.answer())

            asking = [asyncio.ensure_future(asks()) for _ in range(8)]
            await until(lambda: len(answers) > 50)
            access.rename(folder / "access.log.aside")
            moved = Upstream(replica=ReplicaId("r9"), address=new.address, slots=4)
            route = replace(routed("chat", old), upstreams=(moved,))
            file.write_bytes(written(replace(before, routes=routes(route, fence=2))))
            running.send_signal(signal.SIGHUP)
            await until(lambda: len(new.asked) > 50)
            seen = len(old.asked)
            file.write_bytes(b"{broken")
            running.send_signal(signal.SIGHUP)
            await until(lambda: len(new.asked) > 200)
            ends.set()
            await asyncio.gather(*asking)
            running.send_signal(signal.SIGTERM)
            assert running.stderr is not None
            said = await asyncio.to_thread(running.stderr.read)

        assert {answer.status for answer in answers} == {200}
        assert len(old.asked) == seen
        assert len(old.asked) + len(new.asked) == len(answers)
        lines = access.read_text().count("\n") + (folder / "access.log.aside").read_text().count("\n")
        assert lines == len(answers)
        assert "the settings stay as they were" in said


@pytest.mark.parametrize("workers", [1, 3])
async def test_metrics_are_served_on_a_port_of_their_own(folder: Path, workers: int) -> None:
    port = free_port()
    async with engine(Counting(0)) as real:
        settings = Settings(
            listen="127.0.0.1:0", metrics_listen=f"127.0.0.1:{port}", workers=workers, identity=EVERYBODY,
            routes=routes(routed("chat", real)),
        )  # fmt: skip
        async with by_file(folder / "settings.json", settings) as (gateway, _):
            assert (await ask(gateway)).status == 200
            scraped = AsProcess(gateway.link, f"127.0.0.1:{port}")

            async def get(path: str) -> Answer:
                async with client(scraped) as asking:
                    asking.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    return await asking.answer()

            async def metrics() -> str:
                return (await get("/metrics")).body.decode()

            await until_measured(metrics, 'requests_total{service="chat",outcome="answered"} 1')
            assert (await get("/healthz")).status == 200
            assert (await get("/routes")).status == 404
            assert (await ask(scraped, path="/shutdown")).status == 404


@pytest.mark.parametrize("workers", [1, 3])
async def test_more_connections_than_files_are_refused_at_the_start_with_the_number(folder: Path, workers: int) -> None:
    file = folder / "settings.json"
    file.write_bytes(written(Settings(listen="127.0.0.1:0", workers=workers, connections_max=3000 * workers)))
    command = f"ulimit -n 1000; exec {sys.executable} {BY_FILE} {file}"

    refused = await ended(["bash", "-c", command])

    assert refused.returncode == 2
    assert "the limit is 1000" in refused.stderr
    assert "ulimit -n 6128" in refused.stderr


async def test_a_worker_starts_again_also_when_certificate_and_log_cannot_be_read_any_more(folder: Path) -> None:
    public, private = certificate(folder)
    context = ssl.create_default_context(cafile=str(public))
    context.check_hostname = False
    logs = folder / "logs"
    logs.mkdir()
    async with engine(Counting(0)) as real:
        settings = Settings(
            listen="127.0.0.1:0", workers=2, identity=EVERYBODY, routes=routes(routed("chat", real)),
            tls_certificate=public, tls_key=private, access_log=logs / "access.log",
        )  # fmt: skip
        async with by_file(folder / "settings.json", settings) as (gateway, running):
            first = psutil.Process(running.pid)
            before = {child.pid for child in first.children()}
            scheduler = min(first.children(), key=lambda child: child.create_time()).pid
            for one in (public, private, logs / "access.log"):
                one.unlink()
            logs.rmdir()
            for victim in before - {scheduler}:
                os.kill(victim, signal.SIGKILL)

            async def asked() -> int:
                host, _, port = gateway.address.partition(":")
                reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
                asking = Client(reader, writer)
                asking.post()
                status = (await asking.answer()).status
                writer.close()
                return status

            assert await asyncio.gather(*(asked() for _ in range(16))) == [200] * 16
            assert len({child.pid for child in first.children()} - before) == 2


async def test_keys_that_are_none_are_refused_and_end_no_worker(folder: Path) -> None:
    async with engine(Counting(0)) as real, processes(folder, 2, real) as gateway:
        workers = await gateway.workers()
        bad = KeyEntry(id="k", sha256="no digest", tenant="t")

        with pytest.raises(FleetError, match="this is no identity"):
            await gateway.link.identify(Identity(tenants=(TenantEntry(name="t"),), keys=(bad,)))

        assert (await ask(gateway)).status == 200
        assert await gateway.workers() == workers


async def test_clients_beyond_a_workers_share_are_refused(folder: Path) -> None:
    async with engine(held) as real:
        settings = Settings(
            listen="127.0.0.1:0", workers=2, connections_max=8, identity=EVERYBODY,
            routes=routes(routed("chat", real, slots=100)),
        )  # fmt: skip
        async with by_file(folder / "settings.json", settings) as (gateway, _), AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(gateway)) for _ in range(40)]
            for asking in clients:
                asking.post()
            await until(lambda: real.running == 8)
            real.go.set()
            answers = await asyncio.gather(*(asking.answer() for asking in clients), return_exceptions=True)

        statuses = Counter(answer.status for answer in answers if isinstance(answer, Answer))
        assert statuses[200] == 8
        assert real.most_running == 8
