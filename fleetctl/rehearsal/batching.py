"""Continuous batching as plain arithmetic: who is in the batch, how long the next step takes, who gets a token.

No clock and no asyncio: time comes in as an argument, so a whole day of traffic can be played in a unit test.
The rules are those of vLLM's V1 scheduler with chunked prefill: every running sequence takes part in every step;
prompts are read in order of arrival, at most `prefill_chunk_tokens` of them per step, and a waiting sequence is let
in only while the batch has room and the step has prompt tokens left to give; the step that reads the last of a
prompt also yields its first token. There is no preemption: a sequence let in stays until it is done or aborted.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NewType

SequenceId = NewType("SequenceId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the engine goes and how much it takes at once. The defaults resemble an 8B model on an L40S."""

    prefill_s_per_token: float = 1.4e-4
    token_s: float = 0.02
    """One decode step of one sequence."""
    growth: float = 0.015
    """By what share of `token_s` each further sequence in the batch lengthens a step."""
    concurrency: int = 16
    """Sequences in the batch at once."""
    prefill_chunk_tokens: int = 2048
    """Prompt tokens read per step; a longer prompt is read in several, so that others' tokens are late, not stuck."""

    def step_s(self, *, batch: int, prefill_tokens: int) -> float:
        """Seconds that a step of `batch` (at least one) sequences takes when it also reads `prefill_tokens`."""
        return self.token_s * (1 + self.growth * (batch - 1)) + self.prefill_s_per_token * prefill_tokens

    def faster(self, speed: float) -> "Pace":
        """The same engine with every duration divided by `speed`."""
        return replace(self, prefill_s_per_token=self.prefill_s_per_token / speed, token_s=self.token_s / speed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One pass over the batch, planned: it ends at `ends_at`, on the clock whose time `begin` was given."""

    ends_at: float
    batch: int
    shares: Mapping[SequenceId, int]
    """Prompt tokens read, by sequence; the sequences that read none are absent."""

    @property
    def prefill_tokens(self) -> int:
        return sum(self.shares.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One token for one sequence. `number` counts from 1."""

    sequence: SequenceId
    number: int
    last: bool


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far one sequence has come. The only thing here that changes in place."""

    prompt_tokens: int
    output_tokens: int
    prefilled: int = 0
    produced: int = 0


class Batch:
    """The sequences of one engine: those that run, and those that wait in order of arrival.

    A round is `begin`, wait until the Step's end, `finish`. Between the two, `submit` and `abort` are welcome: a new
    sequence is looked at by the next `begin`; an aborted one is gone at once and gets no token from the step under way.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: OrderedDict[SequenceId, _Progress] = OrderedDict()
        self._running: OrderedDict[SequenceId, _Progress] = OrderedDict()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def held_tokens(self) -> int:
        """Prompt and output tokens whose keys and values a real engine would hold now."""
        return sum(each.prefilled + each.produced for each in self._running.values())

    def submit(self, sequence: SequenceId, *, prompt_tokens: int, output_tokens: int) -> None:
        """Put a sequence last in the queue. Both counts are at least 1; an id is used once."""
        self._waiting[sequence] = _Progress(prompt_tokens=prompt_tokens, output_tokens=output_tokens)

    def abort(self, sequence: SequenceId) -> bool:
        """Drop a sequence wherever it stands. False: there is none, or it was done."""
        waited = self._waiting.pop(sequence, None)
        ran = self._running.pop(sequence, None)
        return waited is not None or ran is not None

    def begin(self, now: float) -> Step | None:
        """Let in whom there is room for and plan the next step. None: there is nothing to do."""
        budget = self._pace.prefill_chunk_tokens
        shares: dict[SequenceId, int] = {}
        for sequence, each in self._running.items():
            share = min(budget, each.prompt_tokens - each.prefilled)
            if share:
                shares[sequence] = share
                budget -= share
        while self._waiting and budget and len(self._running) < self._pace.concurrency:
            sequence, each = self._waiting.popitem(last=False)
            self._running[sequence] = each
            shares[sequence] = min(budget, each.prompt_tokens)
            budget -= shares[sequence]
        if not self._running:
            return None
        step_s = self._pace.step_s(batch=len(self._running), prefill_tokens=sum(shares.values()))
        return Step(ends_at=now + step_s, batch=len(self._running), shares=shares)

    def finish(self, step: Step) -> tuple[Delivery, ...]:
        """What the step that `begin` planned brought: a token for everyone in it whose prompt is read, oldest first."""
        deliveries: list[Delivery] = []
        for sequence, each in list(self._running.items()):
            each.prefilled += step.shares.get(sequence, 0)
            if each.prefilled < each.prompt_tokens:
                continue
            each.produced += 1
            last = each.produced == each.output_tokens
            if last:
                del self._running[sequence]
            deliveries.append(Delivery(sequence=sequence, number=each.produced, last=last))
        return tuple(deliveries)
