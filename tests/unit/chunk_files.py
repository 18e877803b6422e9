"""Files for tests of Artifacts in chunks."""

import json
import random
from collections.abc import Mapping


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def safetensors(tensors: Mapping[str, bytes]) -> bytes:
    """A file of that format with one flat tensor for each name."""
    header: dict[str, object] = {}
    at = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(tensors.values())
