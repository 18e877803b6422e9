"""End everything that runs on a machine and keep its disk: the agent first, so that nothing new is started."""

import asyncio
import os
import signal
import time
from dataclasses import replace

from fleetctl.agent import lock, processes
from fleetctl.agent.folder import Folder, read, write
from fleetctl.agent.replica_run import STOP_GRACE_S
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.errors import AgentFailure
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import NodeDesired

_AGENT_GRACE_S = 3.0
"""From SIGTERM to SIGKILL for the agent: it only closes its socket."""

_AGENT_LIMIT_S = 45.0
"""For the agent's lock to come free; longer than another `halt` of the same machine, which holds it meanwhile."""

_POLL_S = 0.02


def halt(instance: InstanceId, folder: Folder) -> None:
    """End agent and engines; artifacts stay. May be repeated, also after being killed. Raises `AgentFailure`."""
    held = _end_agent(folder)
    try:
        asyncio.run(_end_engines(instance, folder))
        desired = read(folder.desired, NodeDesired)
        if desired is not None:
            # The artifacts stay wanted. The Replicas do not: who starts the machine again says what it shall run, and
            # whom it shall follow.
            write(folder.desired, replace(desired, generation="", replicas=(), feeds=()))
        for replica in folder.recorded_replicas():
            folder.replica(replica).unlink(missing_ok=True)
        folder.boot.unlink(missing_ok=True)
        folder.notice.unlink(missing_ok=True)  # it was of the life that ends here
    finally:
        os.close(held)


def _end_agent(folder: Folder) -> int:
    """End the agent of the machine, if there is one, and hold its lock so that there will be none."""
    began = time.monotonic()
    asked = False
    while (held := lock.take(folder.lock)) is None:
        waited_s = time.monotonic() - began
        agent = processes.find(lock.signed(folder.lock))
        if agent is not None and not asked:
            processes.send([agent], signal.SIGTERM)
            asked = True
        if agent is not None and waited_s > _AGENT_GRACE_S:
            processes.send([agent], signal.SIGKILL)
        if waited_s > _AGENT_LIMIT_S:
            raise AgentFailure(
                f"the node agent of {folder.root.name} does not end",
                hint=f"see who holds {folder.lock}: fuser {folder.lock}",
            )
        time.sleep(_POLL_S)
    return held


async def _end_engines(instance: InstanceId, folder: Folder) -> None:
    runtimes = Runtimes("auto", instance, folder, real_gpus=False)
    try:
        async with asyncio.TaskGroup() as group:
            for replica in folder.recorded_engines():
                runtime = runtimes.of_record(replica)
                if runtime is not None:
                    group.create_task(runtime.stop(replica, grace_s=STOP_GRACE_S))
    except* AgentFailure as failures:
        first = failures.exceptions[0]
        raise first from None
    finally:
        await runtimes.close()
