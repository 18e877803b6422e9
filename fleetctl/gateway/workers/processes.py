"""What a process of the gateway does once it is started."""

import asyncio

from fleetctl.gateway.loops import run_loop
from fleetctl.gateway.workers.carrying import Worker
from fleetctl.gateway.workers.posts import SCHEDULER, Post
from fleetctl.gateway.workers.scheduling import Scheduler


def become(post: Post) -> int:
    """The scheduler or a worker; returns its exit code."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        return await (Scheduler(post, loop) if post.number == SCHEDULER else Worker(post, loop)).run()

    return run_loop(run)
