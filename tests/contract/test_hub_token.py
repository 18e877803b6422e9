"""A gated model's token on its way to a node: a real agent process, over the way that controllers take."""

import hashlib
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from agent_machines import Machine, wanted
from hub_server import COMMIT, GOOD, Hub, hub_server

from fleetctl.model.nodes import Artifact, ArtifactState
from fleetctl.node.hub_token import with_hub_token
from fleetctl.node.links import NodeLinks
from fleetctl.node.local import UnixNodeLink
from fleetctl.paths import Home

pytest.importorskip("huggingface_hub", reason="pip install 'fleetctl[node]'")

NAME = "org/gated"
GATED = Artifact(kind="weights", name=f"hf://{NAME}@{COMMIT}")
WEIGHTS = b"weights" * 1000


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with hub_server() as server:
        server.add(NAME, {"pytorch_model.bin": WEIGHTS}, large=("pytorch_model.bin",), gated=True)
        yield server


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    folder = tmp_path / "node"
    folder.mkdir()
    machine = Machine(folder=folder, link=UnixNodeLink())
    yield machine
    await machine.link.close()
    if machine.agent is not None and machine.agent.poll() is None:
        machine.agent.terminate()
        machine.agent.wait(20)


async def test_a_gated_model_comes_with_the_controllers_token_and_nothing_keeps_it_open(
    hub: Hub, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    await machine.up(HF_ENDPOINT=hub.endpoint, HF_HOME=str(tmp_path / "empty"))
    links = NodeLinks(Home(tmp_path / "home"))

    await links.apply(machine.address, wanted(artifacts=(GATED,)))
    status = await machine.until(lambda one: any(a.state is ArtifactState.FAILED for a in one.artifacts))

    assert "is gated on the hub" in (status.artifacts[0].failure or "")
    assert "HF_TOKEN" in (status.artifacts[0].failure or "")

    monkeypatch.setenv("HF_TOKEN", GOOD)
    await links.apply(machine.address, wanted(artifacts=()))
    await machine.until(lambda one: not one.artifacts)
    await links.apply(machine.address, wanted(artifacts=(GATED,), fence=2))
    status = await machine.until(lambda one: any(a.state is ArtifactState.PRESENT for a in one.artifacts))
    await links.close()

    assert status.artifacts[0].bytes_total in (None, len(WEIGHTS))
    published = [path for path in (machine.folder / "store").rglob("pytorch_model.bin") if path.is_file()]
    assert [hashlib.sha256(path.read_bytes()).digest() for path in published] == [hashlib.sha256(WEIGHTS).digest()]
    assert machine.agent is not None
    assert GOOD not in " ".join(psutil.Process(machine.agent.pid).cmdline())
    assert GOOD not in repr(status)
    assert hub.asked["other"] == 0, "the hub is asked for the model, and told nothing else"
    holders = [path for path in machine.folder.rglob("*") if path.is_file() and GOOD.encode() in path.read_bytes()]
    assert holders == [machine.folder / "desired.json"]
    assert stat.S_IMODE(holders[0].stat().st_mode) == 0o600


def test_only_who_fetches_from_the_hub_is_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", GOOD)
    desired = wanted(artifacts=(GATED,))
    other = wanted(artifacts=(Artifact(kind="weights", name="s3://bucket/a"), Artifact(kind="image", name="hf://x")))

    assert with_hub_token(desired).hub_token == GOOD
    assert with_hub_token(desired) == replace(desired, hub_token=GOOD)
    assert with_hub_token(other) is other
    assert GOOD not in repr(with_hub_token(desired))
    monkeypatch.delenv("HF_TOKEN")
    assert with_hub_token(desired) is desired
