"""Container images: by digest, through the machine's Docker; from other Nodes where several need one together."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fleetctl.agent.chunks.store import Store
from fleetctl.agent.chunks.wire import name_of
from fleetctl.agent.images.kept import Kept, KeptImages
from fleetctl.agent.images.origin import RegistryOrigin
from fleetctl.agent.images.refusals import Refusal
from fleetctl.agent.images.registry import LoopbackRegistry, described
from fleetctl.agent.runtimes.choice import Runtimes
from fleetctl.agent.runtimes.images import Image
from fleetctl.agent.sources.fetch import Fetch
from fleetctl.agent.sources.source import Got
from fleetctl.errors import AgentFailure
from fleetctl.model.images import image_name
from fleetctl.model.names import InstanceId
from fleetctl.model.nodes import Artifact, ArtifactStatus, Feed
from fleetctl.model.services import LocalMachine

log = logging.getLogger(__name__)

PAUSES_S = (5.0, 15.0, 45.0)
"""Before the next attempt at a pull that a registry refused for being one too many; a minute in all, then the fetch
fails and is tried again with the others (`RETRY_S`)."""

LINGER_S = 5.0
"""A pull that nobody waits for goes on for so long: an image that is now wanted by its digest was on its way by tag."""

PIN_WAIT_S = 30.0
"""Where several Nodes want an image by tag, one of them tells what it means and the fleet tells the others: a matter of
two ticks. After this long each goes its own way."""

_MARK = "fleetctl-"
"""Begins the tags by which images that came in chunks are kept: a name by digest cannot be given here."""


@dataclass(slots=True, eq=False)
class _Pull:
    """One pull by Docker itself, whoever waits for it."""

    fetches: set[Fetch] = field(default_factory=set)
    task: "asyncio.Task[None] | None" = None

    def progress(self, done: int, total: int) -> None:
        for fetch in self.fetches:
            more = done - (fetch.bytes_done or 0)
            fetch.progress(done, total)
            fetch.moved(origin=max(more, 0))


class ImageSource:
    """`pauses_s`: between attempts at a registry that is asked too often."""

    def __init__(
        self,
        instance: InstanceId,
        runtimes: Runtimes,
        rehearsed: LocalMachine,
        store: Store,
        kept: KeptImages,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:
        self._instance = instance
        self._runtimes = runtimes
        self._images = runtimes.images
        self._rehearsed = rehearsed
        self._store = store
        self._registry = LoopbackRegistry(store)
        self._kept = kept
        self._pauses_s = pauses_s
        self._pulls: dict[str, _Pull] = {}
        """By repository: what it has at two names mostly is the same."""
        self._wanted: frozenset[str] = frozenset()
        self._fed: frozenset[Artifact] = frozenset()
        self._chunking: set[Artifact] = set()
        self._dropping: dict[Artifact, asyncio.Task[None]] = {}

    # the Source

    async def get(self, fetch: Fetch) -> Got:
        name = fetch.artifact.name
        if self._rehearsed.image_s > 0 or not await self._runtimes.pulls_images():
            await asyncio.sleep(self._rehearsed.image_s)
            return Got(detail="rehearsed")
        image = await self._found(name)
        if image is not None:
            if self._kept.ours(image.id):
                self._remember(name, image, ())  # by another name; as long as this one is wanted it stays
            return Got(path=image.name, size=image.size, digest=self._digest(name, image), detail="was here")
        in_chunks = await self._told(fetch)
        image = await self._chunked(fetch) if in_chunks else await self._pulled(fetch)
        await self._trim()
        size = fetch.bytes_done if fetch.bytes_done is not None else image.size
        return Got(path=image.name, size=size, digest=self._digest(name, image), pulled=True)

    async def here(self, artifact: Artifact, got: Got) -> bool:
        return got.detail == "rehearsed" or await self._found(artifact.name) is not None

    async def remove(self, artifact: Artifact, got: Got) -> bool:
        """It stays until the disk is needed."""
        self._kept.touch((artifact.name,))
        self._wanted -= {artifact.name}
        await self._store.drop(artifact)
        if got.detail != "rehearsed":
            await self._trim()
        return True

    # the Node's side

    def keep(self, artifacts: Iterable[Artifact], feeds: Iterable[Feed]) -> None:
        """What is wanted or in use, and who is to be given what. Returns at once."""
        images = {artifact for artifact in artifacts if artifact.kind == "image"}
        self._wanted = frozenset(artifact.name for artifact in images)
        self._fed = frozenset(feed.artifact for feed in feeds)
        for artifact in images - self._fed - self._chunking - set(self._dropping):
            if self._store.find(name_of(artifact)) is not None:
                self._dropping[artifact] = asyncio.create_task(self._dropped(artifact))

    def told(self, status: ArtifactStatus) -> ArtifactStatus:
        """The status, with whether other Nodes can fetch the image from here."""
        artifact = status.artifact
        if artifact.kind != "image" or artifact in self._dropping or self._store.find(name_of(artifact)) is None:
            return status
        return replace(status, shared=True)

    async def close(self) -> None:
        tasks = [pull.task for pull in self._pulls.values() if pull.task is not None]
        for task in (*tasks, *self._dropping.values()):
            task.cancel()
        await asyncio.gather(*tasks, *self._dropping.values(), return_exceptions=True)
        await self._registry.close()

    # by Docker itself

    async def _pulled(self, fetch: Fetch) -> Image:
        """One pull at a time from a repository; who comes later waits, and mostly finds that all is here."""
        name = fetch.artifact.name
        repository = image_name(name).repository
        while (under_way := self._pulls.get(repository)) is not None:
            with contextlib.suppress(AgentFailure):  # of another name's: this one has its own
                await self._waited(under_way, fetch)
            image = await self._found(name)
            if image is not None:
                return image
        pull = self._pulls[repository] = _Pull()
        pull.task = asyncio.create_task(self._tried(name, pull))
        pull.task.add_done_callback(lambda task: self._ended(repository, task))
        await self._waited(pull, fetch)
        image = await self._found(name)
        if image is None:
            raise AgentFailure(
                f"image {name} was removed from {self._instance} while it was pulled", hint="it is pulled again"
            )
        return image

    def _ended(self, repository: str, task: "asyncio.Task[None]") -> None:
        self._pulls.pop(repository, None)
        if not task.cancelled():
            task.exception()  # told to whoever waited; perhaps nobody did

    async def _waited(self, pull: _Pull, fetch: Fetch) -> None:
        assert pull.task is not None
        pull.fetches.add(fetch)
        try:
            await asyncio.wait({pull.task})  # whose end is not ours: others may wait for it too
            pull.task.result()
        finally:
            pull.fetches.discard(fetch)
            if not pull.fetches:
                asyncio.get_running_loop().call_later(LINGER_S, _give_up, pull)

    async def _tried(self, name: str, pull: _Pull) -> None:
        """Pull, as often as it is worth it. Raises `Refusal`."""
        cleared = False
        pauses = iter(self._pauses_s)
        while True:
            try:
                await self._images.pull(name, pull.progress)
            except Refusal as refused:
                if refused.kind == "full" and not cleared:
                    cleared = True
                    if await self._cleared():
                        continue
                pause = next(pauses, None) if refused.kind == "busy" else None
                if pause is None:
                    raise
                log.warning("%s", refused.message)
                await asyncio.sleep(pause)
            else:
                break
        await self._brought(name, await self._images.inspect(name), (name,))

    # in chunks

    async def _told(self, fetch: Fetch) -> bool:
        """Whether it comes in chunks. By tag it never does: whoever is to read it at its registry says what the tag
        means, and all wait until they are asked for it by its digest."""
        by_digest = bool(image_name(fetch.artifact.name).digest)
        deadline = time.monotonic() + PIN_WAIT_S
        while (feed := fetch.feed) is not None and self._store.key is not None and self._images.local:
            if not self._has_registry_reader():
                return False
            if by_digest:
                return True
            if not feed.parents and not fetch.digest:
                origin = RegistryOrigin(fetch.artifact.name, self._instance, await self._images.facts())
                try:
                    fetch.digest = await origin.digest()
                finally:
                    await origin.close()
            fetch.refed.clear()
            if fetch.feed != feed:
                continue
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await fetch.refed.wait()
            except TimeoutError:
                log.warning("nobody says what %s means; it is pulled by its tag", fetch.artifact.name)
                return False
        return False

    def _has_registry_reader(self) -> bool:
        try:
            import dxf  # noqa: F401
        except ImportError:
            log.warning("images are not passed on from here: python-dxf is not installed (pip install fleetctl[node])")
            return False
        return True

    async def _chunked(self, fetch: Fetch) -> Image:
        """The image by way of the chunk store, while Docker already unpacks what is here of it."""
        artifact, taken = fetch.artifact, image_name(fetch.artifact.name)
        fetch.digest = taken.digest
        facts = await self._images.facts()
        dropping = self._dropping.get(artifact)
        if dropping is not None:
            await asyncio.wait({dropping})
        origin = RegistryOrigin(artifact.name, self._instance, facts)
        self._chunking.add(artifact)
        place = await self._registry.offer(f"{name_of(artifact)}/{taken.path}", name_of(artifact))
        coming = asyncio.ensure_future(self._store.get(fetch, origin))
        pulling = asyncio.ensure_future(self._from_loopback(fetch, f"{place}@{taken.digest}"))
        try:
            # Docker's complaint is only of what it is sent; why it was not sent more is the better explanation.
            await asyncio.wait({coming, pulling}, return_when=asyncio.FIRST_EXCEPTION)
            if pulling.done() and not coming.done() and pulling.exception() is not None:
                await asyncio.wait({coming}, timeout=_EXPLAINED_S)
            if coming.done():
                coming.result()
            await pulling
            await coming
        finally:
            for task in (coming, pulling):
                task.cancel()
            await asyncio.gather(coming, pulling, return_exceptions=True)
            self._registry.withdraw(f"{name_of(artifact)}/{taken.path}")
            self._chunking.discard(artifact)
            await origin.close()
        image = await self._images.inspect(f"{place}@{taken.digest}")
        if image is None:
            raise AgentFailure(f"image {artifact.name} was removed from {self._instance} while it came")
        mark = f"{taken.repository}:{_MARK}{taken.digest.partition(':')[2][:16]}"
        await self._images.tag(image.id, mark)
        await self._images.remove(f"{place}@{taken.digest}")  # a name of no use after this process
        return await self._brought(artifact.name, await self._images.inspect(mark), (mark,))

    async def _from_loopback(self, fetch: Fetch, place: str) -> None:
        await described(self._store, name_of(fetch.artifact))
        await self._images.pull(place, lambda done, total: None, said_of=fetch.artifact.name)

    async def _dropped(self, artifact: Artifact) -> None:
        try:
            await self._store.drop(artifact)
        finally:
            self._dropping.pop(artifact, None)

    # what is here

    async def _found(self, name: str) -> Image | None:
        """The image as Docker has it, under its own name or under one that we gave it."""
        kept = self._kept.get(name)
        for one in (name, *(kept.references if kept is not None else ())):
            image = await self._images.inspect(one)
            if image is not None and (one == name or (kept is not None and image.id == kept.id)):
                return image
        return None

    def _digest(self, name: str, image: Image) -> str:
        kept = self._kept.get(name)
        return image_name(name).digest or image.digest_of(name) or (kept.digest if kept is not None else "")

    async def _brought(self, name: str, image: Image | None, references: tuple[str, ...]) -> Image:
        """Remember that the image is ours."""
        if image is None:
            raise AgentFailure(f"image {name} was removed from {self._instance} as soon as it was here")
        self._remember(name, image, references)
        return image

    def _remember(self, name: str, image: Image, references: tuple[str, ...]) -> None:
        kept = self._kept.get(name)
        if kept is not None and kept.id == image.id:
            references = tuple(dict.fromkeys((*kept.references, *references)))
        digest = self._digest(name, image)
        self._kept.put(
            Kept(name=name, id=image.id, size=image.size, used_at=time.time(), references=references, digest=digest)
        )

    # what goes

    async def _trim(self) -> None:
        """Let go of what is over the limit. A Docker that does not answer keeps what it has."""
        try:
            await self._adopt()
            facts = await self._images.facts()
            used = await self._images.used()
            for kept in self._kept.to_let_go(self._wanted, used, facts.root):
                await self._let_go(kept)
        except AgentFailure as failure:
            log.warning("images are left where they are: %s", failure.message)

    async def _cleared(self) -> bool:
        """Let go of all that nothing wants; whether anything went."""
        await self._adopt()
        leaving = self._kept.unwanted(self._wanted, await self._images.used())
        return any([await self._let_go(kept) for kept in leaving])

    async def _let_go(self, kept: Kept) -> bool:
        gone = [await self._images.remove(reference) for reference in kept.references]
        if not all(gone):
            return False  # a container was made of it meanwhile
        log.info("image %s is let go: nothing wants it, and the disk is needed", kept.name)
        self._kept.forget(kept.name)
        return True

    async def _adopt(self) -> None:
        """What the first boot's script pulled is ours, too."""
        for name in self._kept.begun_at_boot():
            image = await self._images.inspect(name)
            if image is not None:
                await self._brought(name, image, (name,))


_EXPLAINED_S = 2.0
"""For the fetch to say what went wrong, once Docker has given up."""


def _give_up(pull: _Pull) -> None:
    if not pull.fetches and pull.task is not None:
        pull.task.cancel()
