"""The SkyPilot Provider: one machine, one cluster of one node, under a name that its id decides.

The name is the creation token: SkyPilot keeps one cluster of a name, locks it while it is made, and mends it when it is
asked for again. A launch is a request to SkyPilot's API server that goes on by itself, whatever becomes of us; so
whoever asks for a machine, lists or ends one looks first at the launches that are under way, then at the clusters: in
this order nothing can slip from the one into the other unseen.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from fleetctl.errors import Gone, InvalidRequest, OutcomeUnknown, ProviderError
from fleetctl.model.checks import Check
from fleetctl.model.instances import InstanceSeen, LaunchSpec, Leftover, Listing, Offer
from fleetctl.model.names import InstanceId
from fleetctl.model.services import Pool
from fleetctl.providers import Setup
from fleetctl.providers.sky import checks
from fleetctl.providers.sky.clusters import (
    AUTOSTOPPING,
    INIT,
    STOPPED,
    UP,
    Cluster,
    Launching,
    resources,
    seen,
    seen_launching,
    setup_script,
)
from fleetctl.providers.sky.environment import environment_python
from fleetctl.providers.sky.labels import cluster_name, meta_of
from fleetctl.providers.sky.offers import Offers
from fleetctl.providers.sky.process import Bridge, Limits
from fleetctl.providers.sky.settings import SKY, read_settings

_ENDED_MAX = 10_000
"""Ids remembered as terminated by this process: some 1 MB, and far more than SkyPilot launches in a day."""

_ENDING_TURNS = 3
"""Looks at what is left of a terminated machine. The second finds nothing, unless somebody launches it meanwhile."""

_CONSOLE_LINES = 400
"""Of SkyPilot's log of the making; a failed attempt takes some 50."""


class SkyProvider:
    """`boundary` is called before every call of the bridge; tests end the process there. With `dryrun` SkyPilot goes
    through a launch as far as it can without making anything."""

    name = SKY
    consistency_s = 180.0
    """SkyPilot compares its memory with the clouds every minute, and a cloud's own listing lags besides."""

    def __init__(
        self,
        setup: Setup,
        *,
        limits: Limits | None = None,
        dryrun: bool = False,
        boundary: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._dryrun = dryrun
        self._settings = read_settings(setup.options)
        self._fleet = setup.fleet
        self._ssh_key = setup.ssh_key
        environment = {"SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
        if self._settings.server:
            environment["SKYPILOT_API_SERVER_ENDPOINT"] = self._settings.server
        self._bridge = Bridge(
            self._settings.python or environment_python(setup.home),
            log=setup.home.logs / "sky.log",
            environment=environment,
            limits=limits or Limits(),
            boundary=boundary,
        )
        self._offers = Offers(self._bridge, self._settings)
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._ended: dict[InstanceId, None] = {}

    async def offers(self, pool: Pool) -> Sequence[Offer]:
        return await self._offers.find(pool)

    async def launch(self, spec: LaunchSpec) -> None:
        if spec.fleet != self._fleet:
            raise InvalidRequest(f"{spec.id} is of fleet {spec.fleet}; this provider serves {self._fleet}")
        asked = resources(spec, self._settings, at=time.time())
        cluster = cluster_name(self._fleet, spec.id)
        async with self._alone(spec.id):
            request = await self._asked_for(spec.id, cluster)
            if request is None:
                there = await self._one(spec.id, cluster)
                if there is not None and there.status != INIT:
                    return
                # One in INIT that nobody makes was broken off: asked for again, SkyPilot goes on with it.
                if spec.id in self._ended:
                    raise Gone(f"{spec.id} was terminated; its id makes no second machine", hint="fleetctl up")
                request = str(
                    await self._bridge.change(
                        "launch",
                        f"launch {spec.id}",
                        cluster=cluster,
                        resources=asked,
                        setup=setup_script(spec, spec.ssh_key or self._ssh_key),
                        dryrun=self._dryrun,
                    )
                )
        try:
            await self._bridge.change("wait", f"launch {spec.id}", request=request)
        except OutcomeUnknown:
            raise
        except ProviderError as error:
            if not await self._settled(spec.id, cluster, error):
                raise

    async def list(self, fleet: str) -> Listing:
        at = time.time()
        waiting = await self._bridge.read("launches", list[Launching], "list the launches under way", cluster=None)
        clusters = await self._bridge.read("status", list[Cluster], "list the clusters", clusters=None, fresh=False)
        found: dict[InstanceId, InstanceSeen] = {}
        for launching in waiting:
            meta = meta_of(launching.labels)
            if meta is not None and meta.fleet == fleet:
                found[meta.id] = seen_launching(meta)
        for cluster in clusters:
            meta = cluster.meta
            if meta is not None and meta.fleet == fleet:
                found[meta.id] = seen(cluster, meta, self._settings)
        return Listing(provider=SKY, at=at, instances=tuple(found.values()))

    async def start(self, instance: InstanceId) -> None:
        cluster = cluster_name(self._fleet, instance)
        async with self._alone(instance):
            if await self._asked_for(instance, cluster) is not None:
                return
            # Compared with the cloud at once: asked to start what is gone, SkyPilot would make a new one.
            there = await self._one(instance, cluster, fresh=True)
            if there is None:
                raise Gone(f"{instance} is gone from SkyPilot", hint="fleetctl ps -i")
            if there.status != UP:
                await self._bridge.change("start", f"start {instance}", cluster=cluster)

    async def stop(self, instance: InstanceId) -> None:
        cluster = cluster_name(self._fleet, instance)
        async with self._alone(instance):
            there = await self._one(instance, cluster)
            if there is None:
                raise Gone(f"{instance} is gone from SkyPilot", hint="fleetctl ps -i")
            if there.status not in (STOPPED, AUTOSTOPPING):
                await self._bridge.change("stop", f"stop {instance}", cluster=cluster)

    async def terminate(self, instance: InstanceId) -> None:
        cluster = cluster_name(self._fleet, instance)
        alone = self._alone(instance)
        if alone.locked():
            self._end(instance)  # a launch that is about to ask gives up
        async with alone:
            for _ in range(_ENDING_TURNS):
                waiting = await self._launches(cluster)
                there = await self._one(instance, cluster)
                if not waiting and there is None:
                    return
                self._end(instance)
                if waiting:
                    requests = [one.request for one in waiting]
                    await self._bridge.change("cancel", f"cancel the launch of {instance}", requests=requests)
                    there = await self._one(instance, cluster)
                if there is not None:
                    try:
                        await self._bridge.change("down", f"terminate {instance}", cluster=cluster)
                    except Gone:
                        continue
        raise OutcomeUnknown(f"sky: {instance} is there again whenever it is terminated", hint="fleetctl ps -i")

    async def console(self, instance: InstanceId) -> str:
        cluster = cluster_name(self._fleet, instance)
        if await self._one(instance, cluster) is None:
            raise Gone(f"{instance} is gone from SkyPilot", hint="fleetctl ps -i")
        try:
            return await self._bridge.read(
                "console", str, f"how {instance} was made", cluster=cluster, lines=_CONSOLE_LINES
            )
        except ProviderError as error:
            if error.provider_code in ("CommandError", "ClusterDoesNotExist"):
                return ""  # SkyPilot has written nothing of it yet
            raise

    async def leftovers(self, fleet: str) -> Sequence[Leftover]:
        """None: `down` takes disks and addresses with the machine. What SkyPilot shares between all clusters of a
        user (a key pair, a security group, a role) is its own, costs nothing, and carries no fleet's label."""
        return ()

    async def remove(self, leftover: Leftover) -> None:
        raise InvalidRequest(f"{leftover.kind} {leftover.id}: a fleet owns nothing but machines at SkyPilot")

    async def checks(self, pools: Sequence[Pool]) -> Sequence[Check]:
        return await checks.run(self._bridge, self._settings, self._offers, pools)

    async def close(self) -> None:
        await self._bridge.close()

    def _end(self, instance: InstanceId) -> None:
        """Remember that the id was terminated: a launch of it that comes late makes no second machine."""
        self._ended[instance] = None
        if len(self._ended) > _ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _alone(self, instance: InstanceId) -> asyncio.Lock:
        """One change of an Instance at a time, in this process; between processes SkyPilot's own lock decides."""
        found = self._changing.get(instance)
        if found is None:
            found = self._changing[instance] = asyncio.Lock()
        return found

    async def _launches(self, cluster: str) -> Sequence[Launching]:
        return await self._bridge.read(
            "launches", list[Launching], f"look for a launch of {cluster} under way", cluster=cluster
        )

    async def _asked_for(self, instance: InstanceId, cluster: str) -> str | None:
        """The request of a launch under way."""
        waiting = await self._launches(cluster)
        return waiting[0].request if waiting else None

    async def _one(self, instance: InstanceId, cluster: str, *, fresh: bool = False) -> Cluster | None:
        """The Instance, if it is there. Raises `InvalidRequest` for a cluster of that name that is not ours."""
        found = await self._bridge.read("status", list[Cluster], f"look at {instance}", clusters=[cluster], fresh=fresh)
        for one in found:
            meta = one.meta
            if one.name != cluster:
                continue
            if meta is None or (meta.fleet, meta.id) != (self._fleet, instance):
                raise InvalidRequest(
                    f"cluster {cluster} has not the labels of {instance} of fleet {self._fleet}",
                    hint="fleetctl touches nothing that it did not label; see: sky status",
                )
            return one
        return None

    async def _settled(self, instance: InstanceId, cluster: str, refused: ProviderError) -> bool:
        """Whether there is a machine although its launch was refused: a rival's. What a half-made one left is ended,
        so that a refusal means that nothing is there; where that cannot be had, `OutcomeUnknown` is raised."""
        unknown = f"{refused.message}; what it left is not known"
        try:
            async with self._alone(instance):
                waiting = await self._launches(cluster)
                there = await self._one(instance, cluster)
                if waiting:
                    raise OutcomeUnknown(unknown, provider_code=refused.provider_code)
                if there is not None and there.status == INIT:
                    await self._bridge.change("down", f"end what is left of {instance}", cluster=cluster)
                    there = None
        except Gone:
            return False
        except ProviderError as error:
            raise OutcomeUnknown(unknown, provider_code=refused.provider_code) from error
        return there is not None
