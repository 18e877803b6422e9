"""One real vLLM, built for CPUs: its environment, a tiny model made on the spot, and images that hold it."""

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from bed.layers import debian, of_files, of_folder
from bed.origin import Origin
from bed.packages import Unavailable, installed
from bed.places import cache
from bed.registry import Layer, Registry

VERSION = "0.32.0"
REQUIREMENTS = Path(__file__).with_name("vllm.txt")
PYTHON = "/usr/bin/python3.11"
"""The only one that torch's CPU wheel of this version is made for; Debian's own, since the image holds it too."""

VLLM_FREE_GB = 20.0
"""Environment and layer 2 GB each, the registry's copy, and three machines that unpack theirs."""
VLLM_MEMORY_GB = 9.0
"""Three replicas of 2.3 GB, some of it shared, and what else runs."""

_INSIDE = "opt/vllm"
_MAKE_S = 300.0
_PACKAGES = ("python3.11", "libnuma1", "libstdc++6", "libgomp1", "util-linux", "coreutils", "dash", "libc-bin")
"""libnuma1 and lscpu (util-linux) are vLLM's; torch brings everything else."""

_LEFT_OUT = ("torch/test/", "torch/include/", "torch/bin/test_", "/tests/")

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Three engines on few cores: each with one thread, and none bound to a core that the others are bound to as well.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
ARGUMENTS = "--max-model-len 1024 --enforce-eager --dtype bfloat16"
"""For `args:` of a service; the engine's batch limit and the names come from its `concurrency` and name."""


def environment() -> Path:
    """The environment, made once and cached. Raises `Unavailable`."""
    if not Path(PYTHON).exists():
        raise Unavailable(f"vLLM's CPU build needs {PYTHON}: apt-get install python3.11")
    key = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = cache() / f"vllm-{VERSION}-{key}"
    with _alone("vllm.lock"):
        if not (folder / ".ready").exists():
            installed(PYTHON, folder, REQUIREMENTS)
            packages = folder / "lib" / "python3.11" / "site-packages"
            # `vllm serve` asks for its own version under the name that the rebuild does not carry.
            note = packages / f"vllm-{VERSION}+cpu.dist-info"
            note.mkdir(exist_ok=True)
            (note / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
            # Else every container compiles what it imports again: half a minute of each start. Some packages hold
            # files for other Pythons, so that the exit code tells nothing.
            words = [str(folder / "bin" / "python"), "-m", "compileall", "-q", "-j", "0", str(packages)]
            subprocess.run(words, capture_output=True, timeout=_MAKE_S, check=False)
            (folder / ".ready").touch()
    return folder


def lacking() -> str:
    """Why vLLM cannot be run here, made as far as it can be; empty: it can."""
    free_gb = shutil.disk_usage(cache()).free / 1e9
    if free_gb < VLLM_FREE_GB:
        return f"vLLM on the bed needs {VLLM_FREE_GB:g} GB in {cache()}, and there are {free_gb:.1f}"
    memory_gb = psutil.virtual_memory().available / 1e9
    if memory_gb < VLLM_MEMORY_GB:
        return f"vLLM on the bed needs {VLLM_MEMORY_GB:g} GB of free memory, and there are {memory_gb:.1f}"
    try:
        environment()
    except (Unavailable, subprocess.TimeoutExpired) as reason:
        return f"vLLM's CPU build cannot be had: {reason}"
    return ""


def model(origin: Origin, name: str = "tiny") -> str:
    """The tiny model at the origin: the address that a service's `model:` takes. The same bytes every time."""
    folder = origin.files / name
    with _alone("model.lock"):
        if not (folder / "model.safetensors").exists():
            words = [str(environment() / "bin" / "python"), str(Path(__file__).with_name("tiny_model.py")), str(folder)]
            subprocess.run(words, capture_output=True, timeout=_MAKE_S, check=True)
        return origin.listed(name)


def layers() -> tuple[Layer, ...]:
    """A root file system and the environment upon it, 1.9 GB that are not compressed."""
    place = environment()
    with _alone("layers.lock"):
        return (
            debian(*_PACKAGES),
            of_folder(place, _INSIDE, key=place.name, keep=lambda name: not any(part in name for part in _LEFT_OUT)),
        )


def image(registry: Registry, release: str = "1") -> str:
    """An image of vLLM in the registry, by digest. Releases differ in one small layer, and so in their digests."""
    config: dict[str, object] = {
        "Entrypoint": [f"/{_INSIDE}/bin/python", f"/{_INSIDE}/bin/vllm", "serve"],
        "Env": [
            f"PATH=/{_INSIDE}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            *(f"{name}={value}" for name, value in ENVIRONMENT.items()),
        ],
    }
    return registry.push("vllm", release, (*layers(), of_files({"etc/release": release.encode()})), config)


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """One maker at a time, of all processes here."""
    with (cache() / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
