"""How large weights are and how long they take, before anybody has looked."""

import pytest

from fleetctl.decide.cold_start import WEIGHTS_GUESS_GB, gigabytes
from fleetctl.decide.weight_size import disk_bytes, expected, fetch_s, guessed_bytes
from fleetctl.model.names import ServiceName
from fleetctl.model.services import Gpu, Service

GB = 10**9

SIZES = [
    ("hf://meta-llama/Llama-3.1-8B-Instruct@5206a32", 16),
    ("hf://meta-llama/Llama-3.1-70b", 140),
    ("hf://mistralai/Mixtral-8x7B-Instruct-v0.1", 112),
    ("hf://mistralai/Mixtral-8x22B-v0.1", 352),
    ("hf://Qwen/Qwen2.5-0.5B-Instruct", 1),
    ("hf://Qwen/Qwen3-30B-A3B", 60),
    ("hf://Qwen/Qwen2.5-7B-Instruct-1M", 14),
    ("hf://facebook/opt-125m", 0.25),
    ("hf://neuralmagic/Llama-3.1-70B-Instruct-FP8", 70),
    ("hf://RedHatAI/Llama-3.1-8B-FP8-dynamic", 8),
    ("hf://RedHatAI/Qwen2-7B-quantized.w8a8", 7),
    ("hf://TheBloke/Llama-2-70B-AWQ", 35),
    ("hf://TheBloke/Llama-2-13B-GPTQ", 6.5),
    ("hf://Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", 7),
    ("hf://unsloth/Llama-3.1-8B-bnb-4bit", 4),
    ("hf://ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", 2),
    ("hf://ggml-org/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q8_0.gguf", 4),
    ("hf://org/Llama-8B-fp32", 32),
    ("s3://models/llama-70b/", 140),
    ("s3://models/llama-70b/v3", 140),
    ("https://host.example/Llama-8B-Q4_0.gguf?sig=70B", 4),
    ("/models/llama-8b", 16),
    ("hf://moonshotai/Kimi-K2-Instruct", None),
    ("hf://deepseek-ai/DeepSeek-V3", None),
    ("hf://org/model2b-x8bit", None),
    ("phi-4-mini-128k", None),
]


@pytest.mark.parametrize(("model", "gigabytes"), SIZES, ids=[row[0] for row in SIZES])
def test_the_name_tells_the_size(model: str, gigabytes: float | None) -> None:
    assert guessed_bytes(model) == (None if gigabytes is None else round(gigabytes * GB))


def test_the_files_tell_better() -> None:
    guess = expected("hf://org/name-8B")
    told = expected("hf://org/name-8B", size=17_500_000_000)

    assert guess is not None
    assert told is not None
    assert (guess.size, guess.exact) == (16 * GB, False)
    assert (told.size, told.exact) == (17_500_000_000, True)
    assert expected("hf://org/name") is None
    assert expected("hf://org/name", size=5) is not None


@pytest.mark.parametrize(
    ("model", "size", "gbps", "line"),
    [
        ("hf://org/name-8B", None, 5.0, "weights ≈ 16 GB, ≈ 40 s at 5 Gbps"),
        ("hf://org/name-8B", 16_200_000_000, 5.0, "weights 16 GB, ≈ 40 s at 5 Gbps"),
        ("hf://org/name-70B", None, 25.0, "weights ≈ 140 GB, ≈ 70 s at 25 Gbps"),
        ("hf://org/name-70B", None, 5.0, "weights ≈ 140 GB, ≈ 6 min at 5 Gbps"),
        ("hf://org/name-0.5B", None, 5.0, "weights ≈ 1 GB, ≈ 2 s at 5 Gbps"),
        ("hf://org/opt-125m", None, 5.0, "weights ≈ 0.25 GB, ≈ 1 s at 5 Gbps"),
    ],
)
def test_in_one_line(model: str, size: int | None, gbps: float, line: str) -> None:
    assert str(expected(model, size=size, gbps=gbps)) == line


def test_twice_the_line_is_half_the_time() -> None:
    assert fetch_s(16 * GB, gbps=10) == pytest.approx(fetch_s(16 * GB, gbps=5) / 2)


def test_a_disk_holds_the_system_and_the_image_too() -> None:
    bare = disk_bytes("hf://org/name-70B", image=False)
    packed = disk_bytes("hf://org/name-70B", image=True)

    assert bare is not None
    assert packed is not None
    assert 140 * GB < bare < packed
    assert disk_bytes("hf://org/name", image=True) is None


def test_cold_starts_are_estimated_by_the_same_size() -> None:
    def service(model: str) -> Service:
        return Service(name=ServiceName("chat"), engine="vllm", model=model, gpu=(Gpu(name="L4"),), concurrency=4)

    assert gigabytes(service("hf://org/name-70B-FP8")) == 70
    assert gigabytes(service("hf://org/name")) == WEIGHTS_GUESS_GB
