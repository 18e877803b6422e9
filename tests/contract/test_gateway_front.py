"""What clients see of a gateway alone: its certificate, renewed under them, and proxies that stand before it."""

import asyncio
import datetime
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from certificates import certificate
from gateway_world import WITHIN_S, Asked, Client, Engine, ask, client, echo, engine, until
from lone_gateway import ROOT, listing, ran, running, stepped
from ports import free_port

from fleetctl.spec.gateway_file import load_gateway_file

EVENTS = 10
"""Of a stream whose every event is waited for before the next one is sent."""
STEADY = 20
"""Connections in a row that see the same: two processes that saw different things would show it."""
PROMPT_S = 0.1
"""An event that nothing holds up takes a millisecond; a proxy that gathers them sends every 200 ms."""


class Ticks:
    """An engine whose every event is sent when the test says so."""

    def __init__(self) -> None:
        self.next = asyncio.Semaphore(0)

    async def serve(self, _: Engine, asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(EVENTS):
            await self.next.acquire()
            writer.write(b"9\r\ndata: %d\n\n\r\n" % number)
            await writer.drain()
        writer.write(b"0\r\n\r\n")


def trusting(public: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=public)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@asynccontextmanager
async def secure(port: int, public: Path) -> AsyncIterator[tuple[Client, ssl.SSLObject]]:
    """A client that believes this certificate and no other."""
    reader, writer = await asyncio.open_connection("localhost", port, ssl=trusting(public), server_hostname="localhost")
    try:
        yield Client(reader, writer), writer.get_extra_info("ssl_object")
    finally:
        writer.transport.abort()


# TLS


async def test_https_is_served_to_real_clients(tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    async with (
        engine(listing("a", serve=echo)) as one,
        running(
            "--auth", "none", "--replica", f"http://{one.address}=4",
            "--tls-cert", str(public), "--tls-key", str(private),
        ) as gateway,
    ):  # fmt: skip
        async with secure(gateway.port, public) as (asking, session):
            asking.post(b"hello")
            answer = await asking.answer()
            spoken = (session.version(), session.selected_alpn_protocol())
        code, out, err = await ran(
            "curl", "-sS", "--cacert", str(public), f"https://localhost:{gateway.port}/v1/x", "-d", "by curl"
        )
        plain = await ran("curl", "-sS", f"http://localhost:{gateway.port}/v1/x")
        stranger = await ran("curl", "-sS", f"https://localhost:{gateway.port}/v1/x")

        assert gateway.url == f"https://127.0.0.1:{gateway.port}/v1"

    assert (answer.status, answer.body) == (200, b"POST /v1/x HTTP/1.1|hello")
    assert spoken == ("TLSv1.3", "http/1.1")
    assert (code, out, err) == (0, "POST /v1/x HTTP/1.1|by curl", "")
    assert plain[0] != 0
    assert stranger[0] == 60, "curl does not know who signed it"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_renewed_certificate_is_seen_by_new_connections_and_old_streams_go_on(
    tmp_path: Path, workers: str
) -> None:
    public, private = certificate(tmp_path)
    before = tmp_path / "before.pem"
    shutil.copy(public, before)
    async with (
        engine(listing("a", serve=stepped)) as one,
        running(
            "--auth", "none", "--replica", f"http://{one.address}=4",
            "--workers", workers, "--tls-cert", str(public), "--tls-key", str(private),
        ) as gateway,
        secure(gateway.port, before) as (streaming, _),
    ):  # fmt: skip
        streaming.post()
        await streaming.head()
        private.unlink()
        certificate(tmp_path)

        gateway.process.send_signal(signal.SIGHUP)

        await until_refused(gateway.port, before)
        async with secure(gateway.port, public) as (_, session):
            shown = session.getpeercert(binary_form=True)
        one.go.set()
        rest = await streaming.reader.readuntil(b"0\r\n\r\n")

    assert shown == ssl.PEM_cert_to_DER_cert(public.read_text())
    assert b"data: 2" in rest


async def until_refused(port: int, public: Path) -> None:
    """Until the certificate is no longer what is shown; of several processes each takes the new one by itself."""
    refused = 0
    async with asyncio.timeout(WITHIN_S):
        while refused < STEADY:
            try:
                async with secure(port, public):
                    refused = 0
            except ssl.SSLCertVerificationError:
                refused += 1


async def test_a_renewal_that_does_not_fit_leaves_the_old_certificate(tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    before = tmp_path / "before.pem"
    shutil.copy(public, before)
    async with (
        engine(listing("a", serve=echo)) as one,
        running(
            "--auth", "none", "--replica", f"http://{one.address}=4",
            "--tls-cert", str(public), "--tls-key", str(private),
        ) as gateway,
    ):  # fmt: skip
        shutil.copy(certificate(tmp_path, "other")[0], public)

        await gateway.reload("stay as they were")

        said = await gateway.said("does not belong to the certificate")
        async with secure(gateway.port, before) as (asking, _):
            asking.post(b"hello")
            assert (await asking.answer()).status == 200

    assert str(private) in said


async def test_a_certificate_that_ends_soon_is_warned_of_at_the_start(tmp_path: Path) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)
    public, private = certificate(tmp_path, ends=soon)
    words = ["--auth", "none", "--replica", "http://127.0.0.1:1=4"]
    async with running(*words, "--tls-cert", str(public), "--tls-key", str(private)) as gateway:
        await gateway.said(f"warning: the certificate {public} expires in 3 days ({soon:%Y-%m-%d})")


# behind another proxy, by the snippets of docs/gateway.md


def snippet(language: str) -> str:
    """The first block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "docs/gateway.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"docs/gateway.md has no block of {language}"
    return found[1]


@asynccontextmanager
async def proxy(name: str, folder: Path, gateway_port: int) -> AsyncIterator[int]:
    """The proxy, as the docs set it up, but for the ports; its port."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    port = free_port()
    text = snippet(name).replace(":8443", f":{port}").replace(":8080", f":{gateway_port}")
    file = folder / f"{name}.conf"
    if name == "nginx":
        kept = "\n".join(
            f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        text = f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1; events {{}}\n" \
               f"http {{ access_log off; {kept}\n{text} }}\n"  # fmt: skip
        words = [program, "-c", str(file), "-p", str(folder), "-e", "stderr"]
    else:
        words = [program, "-db", "-f", str(file)]
    file.write_text(text)
    process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.DEVNULL)
    try:
        await until(lambda: process.returncode is not None or listens(port))
        assert process.returncode is None, f"{name} does not start with:\n{text}"
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(WITHIN_S):
            await process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class At:
    """Something at a port, to be asked."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
async def test_events_come_through_a_proxy_one_by_one(tmp_path: Path, name: str) -> None:
    ticks = Ticks()
    waits = []
    async with (
        engine(listing("a", serve=ticks.serve)) as one,
        running("--auth", "none", "--replica", f"http://{one.address}=4") as gateway,
        proxy(name, tmp_path, gateway.port) as port,
        client(At(port)) as streaming,
        asyncio.timeout(WITHIN_S),
    ):
        streaming.post(b'{"stream": true}')
        ticks.next.release()
        await streaming.head()
        await streaming.reader.readuntil(b"data: 0\n\n")
        for number in range(1, EVENTS):
            began = time.monotonic()
            ticks.next.release()
            await streaming.reader.readuntil(b"data: %d\n\n" % number)
            waits.append(time.monotonic() - began)
        await streaming.reader.readuntil(b"0\r\n\r\n")

    assert statistics.median(waits) < PROMPT_S, waits


@pytest.mark.parametrize("name", ["haproxy", "nginx"])
async def test_bodies_come_through_a_proxy_whole(tmp_path: Path, name: str) -> None:
    body = b"x" * 3_000_000
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--replica", f"http://{one.address}=4") as gateway,
        proxy(name, tmp_path, gateway.port) as port,
    ):
        answers = [await ask(At(port), body) for _ in range(3)]

    assert [(one.status, len(one.body) >= len(body)) for one in answers] == [(200, True)] * 3


# what the docs say


def test_the_file_of_the_docs_is_one(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(snippet("yaml"))

    made = load_gateway_file(file, {})

    assert [route.service for route in made.services] == ["chat", "code"]
    assert made.warnings == ()
    assert {key.tenant for key in made.identity.keys} == {"search", "batch"}


async def test_every_metric_that_the_docs_name_is_there() -> None:
    text = (ROOT / "docs/gateway.md").read_text(encoding="utf-8")
    section = text.partition("## Metrics")[2].partition("\n## ")[0]
    names = [name for name in re.findall(r"`([a-z_]+[a-z])(?:\{[a-z]+\})?`", section) if name != "other"]
    port = free_port()
    async with (
        engine(listing("a", serve=echo)) as one,
        running("--auth", "none", "--replica", f"http://{one.address}=4", "--metrics", f"127.0.0.1:{port}") as gateway,
    ):
        await ask(gateway)
        _, exposition, _ = await ran("curl", "-sS", f"http://127.0.0.1:{port}/metrics")

    assert len(names) >= 20
    assert [name for name in names if f"# TYPE fleetctl_gateway_{name} " not in exposition] == []


async def test_the_five_lines_of_the_readme_do_what_they_say(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A gateway alone: five lines")[2]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None, "the README has no console block there"
    text = block[1].replace("\\\n", "").replace("fleetctl gateway", "fleetctl gateway --listen 127.0.0.1:8080")
    ports = {known: free_port() for known in (8001, 8002, 8080)}  # others may run tests, or engines, at the same time
    for known, port in ports.items():
        text = text.replace(f"127.0.0.1:{known}", f"127.0.0.1:{port}").replace(f"--port {known}", f"--port {port}")
    typed = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    started = []
    said = []
    try:
        for number, line in enumerate(typed):
            if line.endswith("&"):
                words = ("bash", "-c", f"exec {line.removesuffix('&')}")
                with (tmp_path / f"{number}.out").open("wb") as out:
                    process = await asyncio.create_subprocess_exec(
                        *words, stdout=out, stderr=asyncio.subprocess.DEVNULL,
                        cwd=ROOT, env={**os.environ, "PATH": paths},
                    )  # fmt: skip
                started.append(process)
                await until(partial(listens, list(ports.values())[number]))
            else:
                said.append((await ran("bash", "-c", line))[1])
    finally:
        for process in started:
            process.terminate()
        async with asyncio.timeout(WITHIN_S):
            ended = [await process.wait() for process in started]

    assert len(typed) == 5
    assert ended == [0, 0, 0]
    assert (tmp_path / "2.out").read_text() == f"http://127.0.0.1:{ports[8080]}/v1\n"
    assert '"id":"tiny"' in said[0].replace(" ", "")
    assert said[1].count("data: ") >= 3
    assert "data: [DONE]" in said[1]
