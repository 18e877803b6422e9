"""How an engine loads its weights: what is added to its command line, and where it reads them.

| loading  | for                                                    | adds                                            |
|----------|--------------------------------------------------------|-------------------------------------------------|
| auto     | files on the Node's own disk, which it reads ahead     | nothing: the engine's own way, a mapped file    |
| prefetch | the same, by an engine that can do it itself           | vLLM `--safetensors-load-strategy prefetch`     |
| eager    | `file://` on NFS or Lustre, slow at many small reads   | vLLM `--safetensors-load-strategy eager`        |
| fast     | NVMe, and fastsafetensors in the image                 | vLLM `--load-format fastsafetensors`            |
| stream   | object stores with more weights than the disk holds    | `--load-format runai_streamer`, the address     |
| sharded  | files saved by rank, of engines on four GPUs and more  | `--load-format sharded_state`                   |

A file that still grows cannot be mapped, so that an engine either waits for the disk or streams past it. Measured by
Run:ai on one A10G, 15 GB: 48 s by mapping from a disk of 1 GB/s, 14 s streamed from it, 5 s from S3 with 32 streams.
"""

from fleetctl.engines.engine import Engine
from fleetctl.engines.model_sources import model_source
from fleetctl.model.records import dataclass
from fleetctl.model.services import Service

OPTIONS = ("--load-format", "--safetensors-load-strategy", "--model-loader-extra-config")
"""Where a Service's own words hold one of these, it has decided by itself."""

OBJECTS = ("s3", "gs", "az")
STREAMS = "32"
"""Ranges read at once: from S3 as many as 32 made a load faster (Run:ai benchmarks); its own default there is 8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    arguments: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    streams: bool = False
    """The engine reads from the object store itself: the Node fetches nothing."""


def load_plan(engine: Engine, service: Service) -> LoadPlan:
    """What the Service's `loading` comes to, if anything: its own words win, and its own `command` is left alone."""
    arguments = dict(engine.loaders).get(service.loading)
    if arguments is None or loading_fault(engine, service) is not None:
        return LoadPlan()
    if service.loading != "stream":
        return LoadPlan(arguments=arguments)
    return LoadPlan(arguments=arguments, env=(("RUNAI_STREAMER_CONCURRENCY", STREAMS),), streams=True)


def loading_fault(engine: Engine, service: Service) -> tuple[str, str] | None:
    """Why `loading` cannot be what is written, and what to write instead; None: it can."""
    if service.loading == "auto":
        return None
    known = [name for name, _ in engine.loaders]
    if service.loading not in known:
        others = f"write one of: auto, {', '.join(known)}" if known else "remove loading"
        return f"{engine.name} is not known to load in the way {service.loading!r}", others
    if service.command:
        return "command is the whole command line, and nothing is added to it", "write the option into command"
    own = next((word for word in service.args if word.partition("=")[0] in OPTIONS), None)
    if own is not None:
        return f"args say {own.partition('=')[0]} already, which wins", "keep one of the two"
    if service.loading == "stream" and model_source(service.model).scheme not in OBJECTS:
        return "only object stores are streamed from", "write model: s3://, gs:// or az://, or remove loading"
    return None
