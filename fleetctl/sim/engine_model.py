"""One replica's engine in virtual time: continuous batching, played from one change to the next, not step by step.

The model is `fleetctl.rehearsal.batching`'s: every running sequence takes part in every step; a step of `n` sequences
lasts `token_s · (1 + growth · (n − 1))`, and `prefill_s_per_token` more for each prompt token that it reads; it reads
prompts in order of arrival, at most `prefill_chunk_tokens` of them, and lets in whom that leaves tokens for; the step
that reads the last of a prompt yields its first token; nobody is preempted. What is added is only speed. Steps that
are alike form a *stretch*, of which nothing is computed but its end:

* nobody reads: all steps up to the next sequence's last token. A newcomer cuts the stretch at the end of the step
  under way;
* the first prompt in line is longer than a chunk: the steps that it fills alone, which no newcomer can change;
* otherwise one step, in which one prompt or several are read to their end.

So the times are those of the step-by-step model to within the rounding of floats, and a request costs some four
events however many tokens it has. Memory for keys and values is not modelled: whoever is sent here runs. It is the
caller who sends at most `Pace.concurrency` sequences at once.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from math import ceil, inf

from fleetctl.rehearsal.batching import Pace

_NOBODY: Sequence[int] = ()
_EPSILON = 1e-9
"""Of a step: a newcomer at the very boundary of two steps is not made to wait for a third by rounding."""


class EngineModel:
    """The sequences of one engine. At `next_at` something changes, and the caller calls `finish` and then `begin`.

    A round is `begin(now)`, any number of `submit`, `finish()` at `next_at`. Between `finish` and `begin` newcomers are
    welcome too, and take part in the very next step.
    """

    __slots__ = (
        "_alone_s",
        "_chunk",
        "_ends",
        "_generated",
        "_grown_s",
        "_kind",
        "_prefill_s",
        "_prompts",
        "_started_at",
        "_step_s",
        "_steps",
        "_stretch",
        "_taken",
        "in_flight",
        "next_at",
    )

    def __init__(self, pace: Pace) -> None:
        self._alone_s = pace.token_s * (1 - pace.growth)
        self._grown_s = pace.token_s * pace.growth
        self._prefill_s = pace.prefill_s_per_token
        self._chunk = pace.prefill_chunk_tokens
        self._ends: list[tuple[int, int]] = []
        """A heap of those whose prompt is read: the step that yields the last token, and who."""
        self._prompts: deque[list[int]] = deque()
        """Those whose prompt is not: who, prompt tokens left, output tokens; in order of arrival."""
        self._steps = 0
        """Ended since the beginning, the stretch under way not counted."""
        self._generated = 0
        self._kind = _IDLE
        self._started_at = 0.0
        self._step_s = 0.0
        self._stretch = 0
        """Steps of the stretch under way."""
        self._taken = 0
        """Prompts that the step under way reads to the end or in part."""
        self.in_flight = 0
        self.next_at = inf

    def submit(self, now: float, sequence: int, prompt_tokens: int, output_tokens: int) -> bool:
        """One more sequence; counts below one are taken as one. True: `next_at` is sooner than it was."""
        self.in_flight += 1
        self._prompts.append([sequence, prompt_tokens or 1, output_tokens or 1])
        if self._kind != _DECODE or self._stretch == 1:
            return False
        steps = ceil((now - self._started_at) / self._step_s - _EPSILON) or 1
        if steps >= self._stretch:
            return False
        self._stretch = steps
        self.next_at = self._started_at + steps * self._step_s
        return True

    def begin(self, now: float) -> None:
        """Plan the next stretch. With nobody here `next_at` is infinite until this is called again for someone."""
        ends = self._ends
        running = len(ends)
        prompts = self._prompts
        self._started_at = now
        if not prompts:
            if not running:
                self._kind = _IDLE
                self.next_at = inf
                return
            self._kind = _DECODE
            self._stretch = steps = ends[0][0] - self._steps
            self._step_s = step_s = self._alone_s + self._grown_s * running
            self.next_at = now + steps * step_s
            return
        chunk = self._chunk
        left = prompts[0][1]
        if left > chunk:
            steps = (left - 1) // chunk
            if running and ends[0][0] - self._steps < steps:
                steps = ends[0][0] - self._steps
            self._kind = _READ_ALONE
            self._stretch = steps
            self._step_s = step_s = self._alone_s + self._grown_s * (running + 1) + self._prefill_s * chunk
            self.next_at = now + steps * step_s
            return
        tokens = taken = 0
        for prompt in prompts:
            taken += 1
            tokens += prompt[1]
            if tokens >= chunk:
                tokens = chunk
                break
        self._kind = _READ
        self._taken = taken
        self._stretch = 1
        self._step_s = step_s = self._alone_s + self._grown_s * (running + taken) + self._prefill_s * tokens
        self.next_at = now + step_s

    def finish(self) -> tuple[Sequence[int], Sequence[int]]:
        """End the stretch at `next_at`: who got the first token there, and who the last."""
        steps = self._stretch
        ends = self._ends
        self._generated += steps * len(ends)
        self._steps = now = self._steps + steps
        began: Sequence[int] = _NOBODY
        if self._kind == _READ:
            prompts = self._prompts
            first = []
            left = self._chunk
            for _ in range(self._taken):
                prompt = prompts[0]
                left -= prompt[1]
                if left < 0:
                    prompt[1] = -left
                    break
                prompts.popleft()
                first.append(prompt[0])
                heappush(ends, (now + prompt[2] - 1, prompt[0]))
            self._generated += len(first)
            began = first
        elif self._kind == _READ_ALONE:
            self._prompts[0][1] -= steps * self._chunk
        self._kind = _IDLE
        if not ends or ends[0][0] != now:
            return began, _NOBODY
        done = []
        while ends and ends[0][0] == now:
            done.append(heappop(ends)[1])
        self.in_flight -= len(done)
        return began, done

    def generated(self, now: float) -> int:
        """Output tokens since the beginning."""
        if self._kind == _IDLE or now <= self._started_at:
            return self._generated
        steps = min(self._stretch, int((now - self._started_at) / self._step_s + _EPSILON))
        return self._generated + steps * len(self._ends)

    def abort(self) -> list[int]:
        """Everyone here, in no order, thrown out."""
        thrown = [sequence for _, sequence in self._ends] + [prompt[0] for prompt in self._prompts]
        self._ends.clear()
        self._prompts.clear()
        self._kind = _IDLE
        self.in_flight = 0
        self.next_at = inf
        return thrown


_IDLE, _DECODE, _READ_ALONE, _READ = range(4)
