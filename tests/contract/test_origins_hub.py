"""The hub as an origin: the real huggingface_hub against a small hub of ours (`hub_server.py`)."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hub_server import COMMIT, GOOD, NEWER, Hub, hub_server

from fleetctl.agent.origins import Origin, OriginFile, open_origin
from fleetctl.errors import AgentFailure

pytest.importorskip("huggingface_hub", reason="pip install 'fleetctl[node]'")

NAME = "meta-llama/Llama-3.1-8B-Instruct"
WEIGHTS = random.Random(1).randbytes(5000)
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": WEIGHTS[::-1],
    "pytorch_model.bin": b"x" * 9000,
    "original/consolidated.00.pth": b"x" * 9000,
    "README.md": b"# Llama",
    ".gitattributes": b"*.safetensors filter=lfs",
    "tokenizer.json": b"{}",
}
LARGE = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "pytorch_model.bin")


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Hub]:
    async with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        server.add(NAME, dict(FILES), large=LARGE)
        yield server


def opened(uri: str = f"hf://{NAME}", token: str | None = None) -> Origin:
    origin = open_origin(uri, token=token)
    assert origin is not None
    return origin


async def refusal(uri: str, token: str | None = None) -> AgentFailure:
    origin = opened(uri, token)
    with pytest.raises(AgentFailure) as caught:
        await origin.contents()
    await origin.close()
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


async def file(origin: Origin, path: str) -> OriginFile:
    return next(one for one in (await origin.contents()).files if one.path == path)


async def test_what_engines_read_is_listed_at_its_commit(hub: Hub) -> None:
    origin = opened(f"hf://{NAME}@main")

    contents = await origin.contents()
    await origin.close()

    assert contents.revision == COMMIT
    assert [one.path for one in contents.files] == ["config.json", *LARGE[:2], "tokenizer.json"]
    weights = contents.files[1]
    assert (weights.size, weights.sha256) == (5000, hashlib.sha256(WEIGHTS).hexdigest())
    assert contents.files[0].sha256 is None


async def test_the_commit_is_resolved_once(hub: Hub) -> None:
    origin = opened()
    await origin.contents()

    hub.repositories[NAME].commit = NEWER
    again = await origin.contents()
    await origin.close()

    assert again.revision == COMMIT
    assert hub.asked == {"list": 1}, "and nothing else is asked or told"


async def test_an_abbreviated_commit_is_told_in_full(hub: Hub) -> None:
    origin = opened(f"hf://{NAME}@{COMMIT[:7]}")

    assert (await origin.contents()).revision == COMMIT
    await origin.close()


async def test_ranges_are_read_in_parallel_from_one_place(hub: Hub) -> None:
    hub.slow_s = 0.05
    origin = opened(token=GOOD)
    weights = await file(origin, LARGE[0])

    parts = await asyncio.gather(*(origin.read(weights, start, 500) for start in range(0, 5000, 500)))
    await origin.close()

    assert b"".join(parts) == WEIGHTS
    assert hub.most_at_once > 1
    assert hub.asked[f"HEAD {LARGE[0]}"] == 1
    assert hub.tokens_at_store == 0, "the token is the hub's business alone"


async def test_a_small_file_comes_from_the_hub_itself(hub: Hub) -> None:
    hub.repositories[NAME].gated = True
    origin = opened(token=GOOD)

    assert await origin.read(await file(origin, "config.json"), 2, 10) == FILES["config.json"][2:12]
    assert await origin.read(await file(origin, "config.json"), 0, 0) == b""
    await origin.close()


async def test_a_signature_that_is_over_is_asked_for_again(hub: Hub) -> None:
    origin = opened()
    weights = await file(origin, LARGE[0])
    await origin.read(weights, 0, 10)

    hub.forget_signatures()

    assert await origin.read(weights, 10, 10) == WEIGHTS[10:20]
    assert hub.asked[f"HEAD {LARGE[0]}"] == 2
    await origin.close()


@pytest.mark.parametrize("statuses", [[503], [500, 502], [429]])
async def test_a_store_that_stumbles_is_asked_again(hub: Hub, statuses: list[int]) -> None:
    origin = opened()
    weights = await file(origin, LARGE[0])
    hub.store_answers = list(statuses)

    assert await origin.read(weights, 100, 50) == WEIGHTS[100:150]
    await origin.close()


async def test_an_answer_that_breaks_off_is_asked_for_again(hub: Hub) -> None:
    origin = opened()
    weights = await file(origin, LARGE[0])
    hub.breaks = 1

    assert await origin.read(weights, 0, 1000) == WEIGHTS[:1000]
    await origin.close()


async def test_a_mirror_that_ignores_ranges_is_told(hub: Hub) -> None:
    hub.deaf = True
    hub.repositories[NAME].files[LARGE[0]] = WEIGHTS
    origin = opened()
    weights = await file(origin, LARGE[0])

    assert await origin.read(weights, 7, 9) == WEIGHTS[7:16], "a small file is cut out of the whole"
    await origin.close()


async def test_a_file_that_is_not_as_listed_is_refused(hub: Hub) -> None:
    origin = opened()
    weights = await file(origin, LARGE[0])
    hub.repositories[NAME].files[LARGE[0]] = WEIGHTS + b"more"

    with pytest.raises(AgentFailure, match="was listed with 5000"):
        await origin.read(weights, 0, 10)
    await origin.close()


async def test_a_gated_model_needs_a_token_and_takes_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories[NAME].gated = True

    refused = await refusal(f"hf://{NAME}")
    assert "is gated" in refused.message
    assert "HF_TOKEN" in refused.hint
    assert f"/{NAME}" in refused.hint

    monkeypatch.setenv("HF_TOKEN", GOOD)  # the library's own chain
    origin = opened()
    assert len((await origin.contents()).files) == 4
    await origin.close()


@pytest.mark.parametrize(
    ("uri", "token", "message", "hint"),
    [
        ("hf://nobody/nothing", None, "has no model nobody/nothing", "correct model:"),
        ("hf://nobody/nothing", GOOD, "has no model nobody/nothing that this token", "correct model:"),
        (f"hf://{NAME}@deadbeef", None, "has no revision deadbeef", "after @"),
        (f"hf://{NAME}", "hf_wrong", "refuses this token", "HF_TOKEN"),
        (f"hf://{NAME}/nowhere", None, "has no nowhere at commit", "correct model:"),
        ("hf://gg/uf:Q9", None, "has no file with Q9", "correct model:"),
    ],
)
async def test_refusals_are_one_sentence(hub: Hub, uri: str, token: str | None, message: str, hint: str) -> None:
    hub.add("gg/uf", {"a-Q4_K_M.gguf": b"x"})

    refused = await refusal(uri, token)

    assert message in refused.message
    assert hint in refused.hint
    assert "hf_wrong" not in f"{refused.message} {refused.hint}"


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (429, {"Retry-After": "55"}, "too many requests of somebody without a token (HTTP 429); it asks to wait 55 s"),
        (429, {}, "too many requests"),
        (403, {}, "refuses somebody without a token"),
        (500, {}, "answered HTTP 500"),
    ],
)
async def test_a_hub_that_will_not(hub: Hub, status: int, headers: dict[str, str], message: str) -> None:
    hub.refuse = (status, headers)

    assert message in (await refusal(f"hf://{NAME}")).message


async def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    refused = await refusal(f"hf://{NAME}")

    assert "http://127.0.0.1:9 cannot be reached" in refused.message


async def test_one_quantisation_or_folder_of_many(hub: Hub) -> None:
    hub.add("gg/uf", {"a-Q4_K_M.gguf": b"x", "a-Q8_0.gguf": b"xx", "config.json": b"{}", "f16/a.gguf": b"xxx"})

    async def paths(uri: str) -> list[str]:
        origin = opened(uri)
        found = [one.path for one in (await origin.contents()).files]
        await origin.close()
        return found

    assert await paths("hf://gg/uf:q4_k_m") == ["a-Q4_K_M.gguf", "config.json"]
    assert await paths("hf://gg/uf/f16@main") == ["a.gguf"]
    assert await paths("hf://gg/uf/f16/a.gguf") == ["a.gguf"]
    assert await paths("hf://gg/uf/a-Q8_0.gguf") == ["a-Q8_0.gguf"]
    origin = opened("hf://gg/uf/f16")
    assert await origin.read(await file(origin, "a.gguf"), 0, 3) == b"xxx"
    await origin.close()
