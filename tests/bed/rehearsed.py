"""An image of the rehearsal engine: what the bed runs in containers where no vLLM is to be had, or none is needed."""

import io
import json
import sys
import zipfile
from functools import cache

from wheels import folder_of_wheels

from bed.layers import debian, of_files
from bed.origin import Origin
from bed.packages import Unavailable
from bed.registry import Layer, Registry
from fleetctl.node.payload import wheel

_INSIDE = "opt/rehearsal"
_WEIGHTS_BYTES = 4 * 1024**2


@cache
def layers() -> tuple[Layer, ...]:
    """Debian's Python, and this fleetctl's rehearsal with the packages that run here. Raises `Unavailable`."""
    if sys.version_info[:2] != (3, 11):
        raise Unavailable("an image with Debian's Python 3.11 holds only packages of Python 3.11, which runs not here")
    files: dict[str, bytes] = {}
    for packed in (*(path.read_bytes() for path in sorted(folder_of_wheels().glob("*.whl"))), wheel().data):
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            files |= {
                f"{_INSIDE}/{entry.filename}": archive.read(entry)
                for entry in archive.infolist()
                if not entry.is_dir() and ".data/" not in entry.filename
            }
    return debian("python3.11", "libc-bin"), of_files(files)


def model(origin: Origin) -> str:
    """Some weights at the origin, for an engine that has no use for them: the address that `model:` takes."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [_WEIGHTS_BYTES], "data_offsets": [0, _WEIGHTS_BYTES]}}).encode()
    weights = len(head).to_bytes(8, "little") + head + bytes(range(256)) * (_WEIGHTS_BYTES // 256)
    return origin.publish("rehearsed", {"config.json": b"{}", "model.safetensors": weights})


def image(registry: Registry, release: str = "1") -> str:
    """The image in the registry, by digest. Releases differ in one small layer, and so in their digests."""
    config: dict[str, object] = {
        "Entrypoint": ["/usr/bin/python3.11", "-m", "fleetctl.rehearsal"],
        "Env": [f"PYTHONPATH=/{_INSIDE}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    }
    return registry.push("rehearsal", release, (*layers(), of_files({"etc/release": release.encode()})), config)
