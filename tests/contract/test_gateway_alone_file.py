"""The file of a gateway alone, read by the real process: who may enter, and reading it again under requests."""

import asyncio
import hashlib
import signal
from pathlib import Path

import pytest
from gateway_world import WITHIN_S, ask, client, echo, engine, held, until
from lone_gateway import KEY, Running, bearer, listing, named, running, stepped, written


async def test_who_has_no_key_does_not_enter(tmp_path: Path) -> None:
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--config", str(written(tmp_path / "g.yaml", one))) as gateway,
    ):
        without, wrong = await ask(gateway), await ask(gateway, extra=bearer("fk-guessed-guessed-guessed"))
        right = await ask(gateway, extra=bearer(KEY))

        await gateway.said("auth: 1 key of 1 tenant")
        assert not any(KEY in one for one in (*gateway.err, *gateway.out))

    assert (without.status, wrong.status, right.status) == (401, 401, 200)


@pytest.mark.parametrize("workers", [1, 2])
async def test_limits_and_services_of_the_file_bind(tmp_path: Path, workers: int) -> None:
    digests = [hashlib.sha256(f"{KEY}-{at}".encode()).hexdigest() for at in range(2)]
    async with engine(listing("a", serve=held)) as chat, engine(listing("b", serve=echo)) as code:
        (tmp_path / "g.yaml").write_text(
            f"kind: gateway\nworkers: {workers}\nservices:\n"
            f"- {{name: chat, replicas: [{{url: 'http://{chat.address}', slots: 8}}]}}\n"
            f"- {{name: code, replicas: [{{url: 'http://{code.address}', slots: 8}}]}}\n"
            "tenants:\n- {name: small, limits: {in_flight: 1}}\n- {name: coders, services: [code]}\n"
            f"keys:\n- {{name: s, tenant: small, sha256: {digests[0]}}}\n"
            f"- {{name: c, tenant: coders, sha256: {digests[1]}}}\n"
        )
        async with running("--config", str(tmp_path / "g.yaml")) as gateway, client(gateway) as first:
            first.post(b'{"model": "a"}', extra=bearer(f"{KEY}-0"))
            await until(lambda: chat.running == 1)

            second = await ask(gateway, b'{"model": "a"}', extra=bearer(f"{KEY}-0"))
            forbidden = await ask(gateway, b'{"model": "a"}', extra=bearer(f"{KEY}-1"))
            allowed = await ask(gateway, b'{"model": "b"}', extra=bearer(f"{KEY}-1"))

            chat.go.set()
            assert (await first.answer()).status == 200

    assert (second.status, forbidden.status, allowed.status) == (429, 403, 200)
    assert b"authorization" not in code.asked[-1].head.lower()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_reload_takes_replicas_and_keys_and_loses_no_request(tmp_path: Path, workers: int) -> None:
    file, more = tmp_path / "g.yaml", f"workers: {workers}\n"
    async with (
        engine(listing("a", serve=held)) as old,
        engine(listing("a", serve=named)) as new,
        running("--config", str(written(file, old, more=more))) as gateway,
    ):
        async with client(gateway) as runs, client(gateway) as waits:
            runs.post(b"runs", extra=bearer(KEY))
            await until(lambda: old.running == 1)
            waits.post(b"waits", extra=bearer(KEY))
            written(file, old, new, keys=(f"{KEY}-2",), more=more)

            gateway.process.send_signal(signal.SIGHUP)

            relieved = await waits.answer()
            old.go.set()
            finished = await runs.answer()
        await status_becomes(401, gateway, KEY)
        await status_becomes(200, gateway, f"{KEY}-2")

    assert (relieved.status, relieved.body) == (200, str(new.port).encode())
    assert (finished.status, finished.body) == (200, b"runs")


@pytest.mark.parametrize("workers", [1, 2])
async def test_reloads_under_traffic_lose_nothing(tmp_path: Path, workers: int) -> None:
    file, more = tmp_path / "g.yaml", f"workers: {workers}\n"
    over = asyncio.Event()
    async with (
        engine(listing("a", serve=named)) as one,
        engine(listing("a", serve=named)) as two,
        running("--config", str(written(file, one, slots=2, more=more))) as gateway,
    ):

        async def asking() -> list[int]:
            found = []
            async with client(gateway) as kept:
                while not over.is_set():
                    kept.post(extra=bearer(KEY))
                    found.append((await kept.answer()).status)
            return found

        clients = [asyncio.ensure_future(asking()) for _ in range(8)]
        for replicas in ((two,), (one, two), (one,), (two,)):
            written(file, *replicas, slots=2, more=more)
            before = len(replicas[-1].asked)
            gateway.process.send_signal(signal.SIGHUP)
            await until(lambda replica=replicas[-1], before=before: len(replica.asked) > before + 20)
        over.set()
        statuses = [status for found in await asyncio.gather(*clients) for status in found]

    assert len(statuses) > 80
    assert set(statuses) == {200}


async def status_becomes(status: int, gateway: Running, key: str) -> None:
    """Each process takes a new key at its own moment."""
    async with asyncio.timeout(WITHIN_S):
        while (await ask(gateway, extra=bearer(key))).status != status:  # noqa: ASYNC110  another process
            await asyncio.sleep(0.02)


async def test_a_file_that_is_wrong_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with engine(listing("a", serve=echo)) as one:
        file = written(tmp_path / "g.yaml", one)
        async with running("--config", str(file)) as gateway:
            file.write_text(file.read_text() + "lisen: 1:2\n")

            await gateway.reload("stay as they were")

            said = await gateway.said("lisen")
            assert f"{file}:8: gateway: lisen: unknown field; did you mean 'listen'?" in said
            assert (await ask(gateway, extra=bearer(KEY))).status == 200


async def test_a_reload_that_is_asked_for_before_it_listens_is_done_when_it_does(tmp_path: Path) -> None:
    async with engine(held) as slow:

        async def hang_up(gateway: Running) -> None:
            await until(lambda: bool(slow.asked))
            gateway.process.send_signal(signal.SIGHUP)
            slow.go.set()

        async with running("--config", str(written(tmp_path / "g.yaml", slow)), meanwhile=hang_up) as gateway:
            await gateway.said("read again")


async def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    async with engine(listing("a", serve=echo)) as one:
        file = written(tmp_path / "g.yaml", one)
        async with running("--config", str(file)) as gateway:
            written(file, one, more="workers: 3\n")

            await gateway.reload()

            await gateway.said("warning: workers stays as it is until the gateway is started anew")
            assert (await ask(gateway, extra=bearer(KEY))).status == 200


async def test_a_replica_without_slots_gets_no_new_request(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    async with (
        engine(listing("a", serve=stepped)) as old,
        engine(listing("a", serve=named)) as new,
        running("--config", str(written(file, old))) as gateway,
        client(gateway) as streaming,
    ):
        streaming.post(extra=bearer(KEY))
        await streaming.head()
        drained = f"  - {{url: 'http://{old.address}', slots: 0}}\n  - {{url: 'http://{new.address}', slots: 1}}\n"
        written(file, old)
        file.write_text(file.read_text().replace(f"  - {{url: 'http://{old.address}', slots: 1}}\n", drained))

        await gateway.reload()

        others = [(await ask(gateway, extra=bearer(KEY))).body for _ in range(3)]
        old.go.set()
        rest = await streaming.reader.readuntil(b"0\r\n\r\n")

    assert others == [str(new.port).encode()] * 3
    assert b"data: 2" in rest
