"""Which files of a model no engine reads: what is not fetched, and so not waited for or paid for."""

from collections.abc import Iterable
from pathlib import PurePosixPath

TEXTS = (".md", ".pdf")
"""For people: cards, licences' long forms, papers. A LICENSE without an ending is small and stays."""
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".mp4")
"""For people, too: what cards show. Engines' own pictures are in their packages."""
OTHER_FRAMEWORKS = (".msgpack", ".h5", ".onnx", ".onnx_data", ".tflite", ".ot", ".mlmodel")
"""The same weights for Flax, TensorFlow, ONNX, Rust and Core ML, where safetensors stand beside them."""
OLDER_FORMS = (".bin", ".pt", ".pth", ".ckpt")
"""The same weights pickled, where safetensors stand beside them: engines prefer those, and unpickling runs code."""
ORIGINAL = "original"
"""The folder in which Meta keeps its own form of the weights, as large as the rest (meta-llama/Llama-3.1-8B)."""
HIDDEN = ".git"
"""`.gitattributes`, `.gitignore`, `.github/`: of the repository, not of the model."""


def kept(paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths that an engine may read. A path that is not plain and relative is left out, too."""
    plain = {path: PurePosixPath(path) for path in paths if _plain(path)}
    safe_folders = {place.parent for place in plain.values() if place.suffix.lower() == ".safetensors"}
    root_is_safe = PurePosixPath() in safe_folders
    return frozenset(
        path for path, place in plain.items() if not _skipped(place, beside_safe=place.parent in safe_folders)
        and not (root_is_safe and place.parts[0] == ORIGINAL)
    )  # fmt: skip


def _skipped(place: PurePosixPath, *, beside_safe: bool) -> bool:
    ending = place.suffix.lower()
    if any(part.startswith(HIDDEN) for part in place.parts) or ending in (*TEXTS, *PICTURES):
        return True
    return beside_safe and ending in (*OTHER_FRAMEWORKS, *OLDER_FORMS)


def _plain(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and "\0" not in path and "\\" not in path and not any(part in ("", ".", "..") for part in parts)
