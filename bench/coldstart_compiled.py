"""A real vLLM that compiles, started twice: for the second start its engine cache is put back from the node's store.

vLLM's CPU build with a tiny model made on the spot (`tests/bed`; Debian's python3.11, g++), as a process of a real node
agent. The first start compiles; then its working folder is gone, and the second finds what was saved under its key.
Without what it needs it says so and measures nothing. `python bench/coldstart_compiled.py`.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / "tests" / name) for name in ("", "contract"))
import agent_machines
from agent_machines import Machine, of, wanted
from bed import vllm
from figures import report

from fleetctl.engines import engine
from fleetctl.model.names import ReplicaId, ServiceName
from fleetctl.model.nodes import Artifact, ArtifactState, CacheFolder, Call, EngineCache, NodeStatus, ReplicaSpec
from fleetctl.model.replicas import ReplicaPhase
from fleetctl.node.local import UnixNodeLink

READY_S = 300.0
KEY = Artifact(kind="cache", name="e" * 64)
INIT = re.compile(r"init engine \(.*\) took ([0-9.]+) s")
"""vLLM's own word for profiling, compiling and warming up: what is left is importing Python and loading."""


def spec(name: str, environment: Path, model: Path) -> ReplicaSpec:
    compiled = [cache for cache in engine("vllm").caches if cache.holds == "compiled"]
    return ReplicaSpec(
        id=ReplicaId(name),
        service=ServiceName("chat"),
        revision="r1",
        engine="vllm",
        model="rehearsal://tiny",
        concurrency=4,
        command=(
            *(str(environment / "bin" / "vllm"), "serve", str(model), "--host", "127.0.0.1", "--port", "{port}"),
            *("--served-model-name", "chat", "--max-model-len", "512", "--max-num-seqs", "4", "--dtype", "bfloat16"),
        ),
        env=tuple(vllm.ENVIRONMENT.items()),
        gpus=(0,),
        cache=EngineCache(artifact=KEY, folders=tuple(CacheFolder(path=one.path, env=one.env) for one in compiled)),
        lists=Call(path="/v1/models", method="GET", expect='"id":"chat"'),
        warm_up=(Call(path="/v1/completions", body='{"model": "chat", "prompt": "Once", "max_tokens": 4}'),),
    )


def saved(status: NodeStatus) -> bool:
    return any(one.artifact == KEY and one.state is ArtifactState.PRESENT for one in status.artifacts)


async def started(node: Machine, order: ReplicaSpec) -> tuple[float, float]:
    """Seconds of the engine's stage, and of what vLLM calls its initialisation."""
    await node.apply(wanted(order))
    replica = of(await node.until(lambda status: any(one.phase in ENDS for one in status.replicas)), order.id)
    if replica.failure is not None:
        raise RuntimeError(replica.failure)
    stage = next(stage for stage in replica.stages if stage.name == "engine")
    log = (await node.link.logs(node.address, order.id, 1_000_000)).decode()
    found = INIT.findall(log)
    return (stage.ended_at or 0.0) - stage.started_at, float(found[-1])


ENDS = (ReplicaPhase.READY, ReplicaPhase.FAILED)


async def measured(environment: Path, folder: Path) -> None:
    machine = folder / "i-1"
    machine.mkdir()
    link = UnixNodeLink()
    node = Machine(folder=machine, link=link)
    await node.up()
    try:
        model = folder / "tiny"
        words = [str(environment / "bin" / "python"), str(Path(vllm.__file__).with_name("tiny_model.py")), str(model)]
        await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True)
        cold_s, cold_init_s = await started(node, spec("chat-1", environment, model))
        status = await node.until(saved)
        size = next(one.bytes_total for one in status.artifacts if one.artifact == KEY)
        await node.apply(wanted())
        working = machine / "working"
        await node.until(lambda status: not status.replicas and not any(working.glob("?" * 64)))
        warm_s, warm_init_s = await started(node, spec("chat-2", environment, model))
    finally:
        await link.close()
        await node.run("--halt")
        if node.agent is not None:
            await asyncio.to_thread(node.agent.wait, 20)
    print(f"engine {cold_s:.1f} s, then {warm_s:.1f} s; a cache of {size} bytes", file=sys.stderr)
    report("vllm_init_with_cache", warm_init_s / cold_init_s, f"x {cold_init_s:g} s without", at_most=0.5)
    report("vllm_engine_with_cache", warm_s / cold_s, f"x {cold_s:.0f} s without", at_most=1.0)


def main() -> None:
    lacking = vllm.lacking() or ("" if shutil.which("g++") else "vLLM compiles with g++: apt-get install g++")
    if lacking:
        print(f"not measured: {lacking}", file=sys.stderr)
        return
    agent_machines.BOUND_S = READY_S
    with tempfile.TemporaryDirectory(prefix="fleetctl-compiled-") as folder:
        asyncio.run(measured(vllm.environment(), Path(folder)))


if __name__ == "__main__":
    main()
