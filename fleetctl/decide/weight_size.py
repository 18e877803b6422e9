"""How large a model's weights are and how long they take to come, before anybody has looked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fleetctl.engines import model_source

LINE_GBPS = 5.0
"""Of the machines with one GPU that clouds rent out most: AWS g6.xlarge and its like hold 2.5 to 10 (AWS, instance
network bandwidth)."""
LINE_SHARE = 0.64
"""Of the line that a hub or a bucket in the region fills onto a disk: 0.4 GB/s of 5 Gbps. Published loads from object
stores lie between 0.3 GB/s (one stream) and 3.1 GB/s (32 streams on a faster line; Run:ai benchmarks)."""
BYTES_PER_PARAMETER = 2.0
"""bfloat16 and float16, in which nearly every model is published."""
IMAGE_ON_DISK_BYTES = 25_000_000_000
"""A serving image unpacked; vLLM's and SGLang's are 20 to 30 GB."""
SYSTEM_ON_DISK_BYTES = 20_000_000_000
"""The machine image's own: the system, the GPU driver, CUDA."""

_COUNT = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")
_FORMS: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(rf"(?<![a-z0-9])(?:{words})(?![a-z0-9])"), size)
    for words, size in (
        # First of all what says so itself: GPTQ and AWQ come in 8 bits, too.
        (r"int8|8-?bits?|w8a8|w8a16|fp8(?:[-_](?:dynamic|block|e4m3))?|float8", 1.0),
        (r"int4|4-?bits?|w4a16|w4a8|fp4|nf4|mxfp4|nvfp4|awq|gptq", 0.5),
        (r"fp32|f32|float32", 4.0),
    )
)
_GGUF = re.compile(r"(?<![a-z0-9])i?q([2-8])(?:_[a-z0-9]+)*(?![a-z0-9])")
"""llama.cpp's names of quantisations begin with the bits of a weight; scales add up to a fifth."""
_UNITS = {"b": 1e9, "m": 1e6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What of a model must come, and how long that takes."""

    size: int
    """Bytes."""
    seconds: float
    gbps: float
    """At this line rate."""
    exact: bool
    """Told by its files, not guessed by its name."""

    def __str__(self) -> str:
        about = "" if self.exact else "≈ "
        return f"weights {about}{_gigabytes(self.size)}, ≈ {_duration(self.seconds)} at {self.gbps:g} Gbps"


def expected(model: str, *, size: int | None = None, gbps: float = LINE_GBPS) -> Expected | None:
    """By the size of its files where that is known, else by its name; None: neither tells."""
    found = size if size is not None else guessed_bytes(model)
    if found is None:
        return None
    return Expected(size=found, seconds=fetch_s(found, gbps=gbps), gbps=gbps, exact=size is not None)


def fetch_s(size: float, *, gbps: float = LINE_GBPS) -> float:
    """Seconds that so many bytes take from their origin onto a disk."""
    return size * 8 / (gbps * 1e9 * LINE_SHARE)


def guessed_bytes(model: str) -> int | None:
    """Bytes of the weights, as the model's name tells: 16 GB for `Llama-3.1-8B`, half of it where it says FP8."""
    for part in _parts(model):
        found = _COUNT.findall(part)
        if found:
            count = max(
                float(number) * (int(times) if times else 1) * _UNITS[unit.lower()] for times, number, unit in found
            )
            return round(count * _bytes_per_parameter(model))
    return None


def disk_bytes(model: str, *, image: bool) -> int | None:
    """What a machine's disk must hold of it, with the system and the engine's image; None: its size is not known."""
    weights = guessed_bytes(model)
    if weights is None:
        return None
    return weights + SYSTEM_ON_DISK_BYTES + (IMAGE_ON_DISK_BYTES if image else 0)


def _parts(model: str) -> Iterator[str]:
    """The parts of its address, the last first: that is where names are."""
    source = model_source(model)
    text = source.name.partition("?")[0] + (f"/{source.path}" if source.path else "")
    yield from reversed([part for part in text.split("/") if part])


def _bytes_per_parameter(model: str) -> float:
    source = model_source(model)
    text = f"{source.name}/{source.path}/{source.tag}".lower()
    quantised = _GGUF.search(text)
    if quantised is not None:
        return int(quantised[1]) / 8
    return next((size for pattern, size in _FORMS if pattern.search(text)), BYTES_PER_PARAMETER)


def _gigabytes(size: int) -> str:
    gigabytes = size / 1e9
    return f"{gigabytes:.0f} GB" if gigabytes >= 10 else f"{gigabytes:.2g} GB"


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
