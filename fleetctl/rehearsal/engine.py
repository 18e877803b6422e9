"""The engine in real time: one task that sleeps to the end of each step of the Batch and hands out its tokens."""

import asyncio
import time
from collections.abc import Collection, Coroutine
from enum import StrEnum
from typing import Literal, Never

from fleetctl.errors import Conflict
from fleetctl.rehearsal.batching import Batch, Delivery, Pace, SequenceId
from fleetctl.rehearsal.exposition import Load, Tally

CATCH_UP_S = 0.1
"""A step that ends late by less than this is made up for by the next ones, so that coarse timers do not slow the
engine; when it is later than this the machine was starved, and a burst of tokens would be no truer than a gap."""

WAITING_LIMIT = 4096
"""Requests that may wait. Far above what a gateway that knows our concurrency sends, and 4096 idle connections are
still cheap; the next one is refused with 503."""

KV_TOKENS_PER_SEAT = 8192
"""KV memory of the engine we stand for, per place in the batch: 16 of them are what an 8B model leaves on 48 GB."""

Finish = Literal["length", "abort"]

PARTS = frozenset(("weights", "kv_cache"))
"""What leaves the GPU in a sleep, by the names of vLLM's tags."""
_ORDER = "wake tags=weights, collective_rpc reload_weights, wake tags=kv_cache, in this order"


class EnginePhase(StrEnum):
    LOADING = "loading"
    READY = "ready"
    ASLEEP = "asleep"
    WAKING = "waking"


class Answer:
    """The tokens of one request as they come, for one reader."""

    def __init__(self, sequence: SequenceId, *, prompt_tokens: int, wake_at: int, chunk: int, now: float) -> None:
        self.sequence = sequence
        self.prompt_tokens = prompt_tokens
        self.submitted_at = now
        self.produced = 0
        self.finish: Finish | None = None
        self._taken = 0
        self._wake_at = wake_at
        self._chunk = chunk
        self._news = asyncio.Event()

    async def take(self) -> range:
        """Wait for the next chunk. Returns the numbers, from 0, of its tokens; none when the answer was cut short."""
        await self._news.wait()
        self._news.clear()
        fresh = range(self._taken, self.produced)
        self._taken = self.produced
        self._wake_at = self.produced + self._chunk
        return fresh

    def add(self, delivery: Delivery) -> None:
        self.produced = delivery.number
        if delivery.last:
            self.finish = "length"
        if delivery.last or self.produced >= self._wake_at:
            self._news.set()

    def cut(self) -> None:
        self.finish = "abort"
        self._news.set()


class Engine:
    """A model that loads, answers, sleeps and wakes. Answers come while `run` runs, which costs nothing when idle."""

    def __init__(self, pace: Pace, *, wake_s: float) -> None:
        self.phase = EnginePhase.LOADING
        self.tally = Tally()
        self._pace = pace
        self._wake_s = wake_s
        self._batch = Batch(pace)
        self._answers: dict[SequenceId, Answer] = {}
        self._submitted = 0
        self._work = asyncio.Event()
        self._waking: asyncio.Task[None] | None = None
        self._off_gpu: set[str] = set()
        """What has left the GPU's memory…"""
        self._dropped = False
        """…and whether the weights are nowhere, not even in the host's."""

    @property
    def load(self) -> Load:
        seats = self._pace.concurrency * KV_TOKENS_PER_SEAT
        return Load(
            running=self._batch.running,
            waiting=self._batch.waiting,
            kv_usage=min(1.0, self._batch.held_tokens / seats),
        )

    def loaded(self) -> None:
        self.phase = EnginePhase.READY

    def submit(self, *, prompt_tokens: int, output_tokens: int, tokens_per_chunk: int | None) -> Answer:
        """Queue a request. Its first token comes alone and the rest `tokens_per_chunk` at a time; None: all at once."""
        self._submitted += 1
        answer = Answer(
            SequenceId(self._submitted),
            prompt_tokens=prompt_tokens,
            wake_at=1 if tokens_per_chunk else output_tokens,
            chunk=tokens_per_chunk or output_tokens,
            now=time.monotonic(),
        )
        self._answers[answer.sequence] = answer
        self._batch.submit(answer.sequence, prompt_tokens=prompt_tokens, output_tokens=output_tokens)
        self._work.set()
        return answer

    def abort(self, answer: Answer) -> None:
        """Give up a request, at once. One that has ended already is left as it is."""
        if self._batch.abort(answer.sequence):
            del self._answers[answer.sequence]
            self.tally.finished["abort"] += 1
            answer.cut()

    def abort_all(self) -> None:
        for answer in list(self._answers.values()):
            self.abort(answer)

    async def run(self) -> Never:
        """Step after step, for ever."""
        ended_at = time.monotonic()
        while True:
            step = self._batch.begin(max(ended_at, time.monotonic() - CATCH_UP_S))
            if step is None:
                self._work.clear()
                await self._work.wait()
                ended_at = time.monotonic()
                continue
            await asyncio.sleep(max(0.0, step.ends_at - time.monotonic()))
            ended_at = step.ends_at
            for delivery in self._batch.finish(step):
                self._deliver(delivery, time.monotonic())

    def _deliver(self, delivery: Delivery, now: float) -> None:
        answer = self._answers[delivery.sequence]
        self.tally.generation_tokens += 1
        if delivery.number == 1:
            self.tally.prompt_tokens += answer.prompt_tokens
            self.tally.ttft_s.observe(now - answer.submitted_at)
        if delivery.last:
            del self._answers[delivery.sequence]
            self.tally.finished["length"] += 1
            self.tally.e2e_s.observe(now - answer.submitted_at)
        answer.add(delivery)

    async def sleep(self, level: int) -> None:
        """Take the weights off the GPU, and at level 2 drop them. Running and waiting requests are aborted, as vLLM's
        default mode does. One that is asleep, or half awake, stays as it is."""
        await self._alone()
        if self.phase is not EnginePhase.READY:
            return
        self.phase = EnginePhase.ASLEEP
        self._off_gpu, self._dropped = set(PARTS), level == 2
        self.abort_all()

    async def wake(self, parts: Collection[str] = PARTS) -> None:
        """Put parts back, which takes its time with the weights. A caller that gives up does not stop the waking; a
        second one joins it. A part that is back already stays so.

        Raises `Conflict` where that would serve with weights that were dropped.
        """
        await self._alone()
        coming = self._off_gpu.intersection(parts)
        if self._dropped and "kv_cache" in coming:
            raise Conflict("the weights were dropped and are not loaded again", hint=_ORDER)
        await self._do(self._put_back(coming))

    async def _put_back(self, coming: set[str]) -> None:
        if coming:
            self.phase = EnginePhase.WAKING
        if "weights" in coming and not self._dropped:
            await asyncio.sleep(self._wake_s)
        self._off_gpu -= coming
        if self.phase is EnginePhase.WAKING and not self._off_gpu:
            self.phase = EnginePhase.READY

    async def reload_weights(self) -> None:
        """Load dropped weights again, into the memory that was taken for them. Raises `Conflict` where none was."""
        await self._alone()
        if "weights" in self._off_gpu:
            raise Conflict("there is no memory on the GPU to load the weights into", hint=_ORDER)
        if self._dropped:
            await self._do(self._load())

    async def _load(self) -> None:
        await asyncio.sleep(self._wake_s)
        self._dropped = False

    def reset_prefix_cache(self) -> None:
        """Raises `Conflict` while there is no KV cache that could be reset."""
        if "kv_cache" in self._off_gpu:
            raise Conflict("there is no KV cache on the GPU", hint=_ORDER)

    async def _alone(self) -> None:
        while self._waking is not None:
            await asyncio.shield(self._waking)

    async def _do(self, work: Coroutine[None, None, None]) -> None:
        """One change at a time, to its end, whoever waits for it."""
        self._waking = asyncio.create_task(work)
        self._waking.add_done_callback(self._done)
        await asyncio.shield(self._waking)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._waking = None
