"""Short samples of every candidate in random rotation, and their medians."""

import json
import random
import select
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.processes import Tree
from gateway.world import ANSWER_BYTES, Running, World

WARM_S = 20.0
"""Within this the connections stand, or it is an error: the slowest peer that can carry 2,000 streams needs 10 s."""
SLACK_S = 15.0
"""Beyond what a sample should take, for what is still under way at its end."""
STREAM_CHUNKS_PER_S = 50.0
KEPT_UP = 0.05
"""A sample of streams that got this much less or more than was sent in its time is none: whoever lags behind reads and
writes many chunks at once, which is cheap, and would be praised for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One kind of sample. `mode` and `count` are the load generator's."""

    mode: str
    count: int
    seconds: float
    warm_s: float = WARM_S

    @property
    def name(self) -> str:
        return f"{self.mode}_{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    done: int
    """Requests answered, or chunks of streams."""
    seconds: float
    cpu_s: float
    """Of the candidate's processes; 0 for the direct way."""
    load_cores: float
    upstream_cores: float
    p50_us: float
    p99_us: float
    warm_s: float
    errors: int
    first_error: str
    kept_up: bool = True
    """With the streams, whose chunks come whether or not they are read."""

    @property
    def per_core(self) -> float:
        """Done for each CPU-second of the candidate."""
        return self.done / self.cpu_s if self.cpu_s else 0.0

    @property
    def cores(self) -> float:
        return self.cpu_s / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the generator says when a sample is over."""

    done: int
    errors: int
    first_error: str
    reconnects: int
    seconds: float
    there: int
    """Connections, or streams, that stand."""
    warm_s: float
    """How long it took until all stood."""
    p50_us: float
    p90_us: float
    p99_us: float
    worst_us: float


class Load:
    """The generator, warmed up and waiting for the word."""

    def __init__(self, process: Tree, warm_s: float) -> None:
        self.process = process
        self.answered("ready", warm_s + SLACK_S)

    def measured(self, seconds: float) -> Result:
        pipe = self.process.process.stdin
        assert pipe is not None
        pipe.write(b"go\n")
        pipe.flush()
        return Result(**json.loads(self.answered("{", seconds + SLACK_S)))

    def answered(self, begins: str, within_s: float) -> str:
        pipe = self.process.process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], within_s)
        line = pipe.readline().decode() if ready else ""
        if not line.startswith(begins):
            raise RuntimeError(f"the load generator said {line!r} and not {begins!r}: {self.process.last_words()}")
        return line


@contextmanager
def loading(world: World, one: Running, work: Work, seed: int) -> Iterator[Load]:
    arguments: tuple[str | int | float, ...] = (
        work.mode,
        one.setting.port,
        work.count,
        work.seconds,
        work.warm_s,
        world.key,
        ANSWER_BYTES,
        seed,
    )
    command = (world.tools.load, *(str(argument) for argument in arguments))
    process = Tree(command, cores=world.places.others, log=world.folder / "load.log", talks=True)
    try:
        yield Load(process, work.warm_s)
    finally:
        process.end()


def sampled(world: World, one: Running, work: Work, seed: int) -> Sample:
    trees = [tree for tree in (one.tree, world.upstream) if tree is not None]
    with loading(world, one, work, seed) as load:
        measured = [*trees, load.process]
        before = [tree.cpu_s() for tree in measured]
        result = load.measured(work.seconds)
        spent = [tree.cpu_s() - was for tree, was in zip(measured, before, strict=True)]
    return Sample(
        done=result.done,
        seconds=result.seconds,
        cpu_s=spent[0] if one.tree is not None else 0.0,
        load_cores=spent[-1] / result.seconds,
        upstream_cores=spent[-2] / result.seconds,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        warm_s=result.warm_s,
        errors=result.errors,
        first_error=result.first_error,
        kept_up=work.mode != "sse"
        or abs(result.done / (result.seconds * work.count * STREAM_CHUNKS_PER_S) - 1) < KEPT_UP,
    )


Samples = dict[tuple[str, str], list[Sample]]
"""By the candidate's name and the work's."""


def rotated(world: World, works: Sequence[Work], *, rounds: int, seed: int) -> Samples:
    """Each candidate at each work, once a round, in an order that is drawn anew.

    One that fails a work is not asked for it again, nor for more of the same: it is reported with its errors, and not
    ranked.
    """
    dice = random.Random(seed)
    found: Samples = {(one.name, work.name): [] for one in world.running for work in works}
    for number in range(rounds):
        order = [(one, work) for one in world.running for work in works]
        dice.shuffle(order)
        for one, work in order:
            less = [other for other in works if other.mode == work.mode and other.count <= work.count]
            if not any(broken(found[one.name, other.name]) for other in less):
                found[one.name, work.name].append(sampled(world, one, work, seed + number))
        print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def broken(samples: Sequence[Sample]) -> Sample | None:
    """The one with errors, if there is one."""
    return next((sample for sample in samples if sample.errors), None)


def ranked(samples: Sequence[Sample]) -> bool:
    """It was asked, every answer was right, and it kept up at least once."""
    return any(sample.kept_up for sample in samples) and broken(samples) is None


def middle(samples: Sequence[Sample], name: str) -> float:
    """The median of one of their figures, over those that kept up if there are any."""
    counted = [sample for sample in samples if sample.kept_up] or samples
    return statistics.median(float(getattr(sample, name)) for sample in counted)


def ratio(found: Samples, candidate: str, unit: str, work: Work, name: str = "per_core") -> float | None:
    """Median of the rounds' own ratios: what slows the machine down for a while slows both."""
    ours, theirs = found.get((candidate, work.name), []), found.get((unit, work.name), [])
    if not ranked(ours) or not ranked(theirs):
        return None
    pairs = [
        getattr(a, name) / getattr(b, name)
        for a, b in zip(ours, theirs, strict=False)
        if a.kept_up and b.kept_up and getattr(b, name)
    ]
    return statistics.median(pairs) if pairs else None
