"""What the gateway's measurements print: a table for people on stderr, one JSON line per measure on stdout."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fleetctl.gateway import native
from gateway.candidates import UNIT, Candidate, peers
from gateway.ours import Fleetctl
from gateway.samples import Samples, Work, broken, middle, ranked, ratio


def asked(description: str) -> argparse.Namespace:
    """The arguments that all of them take: quick, only, seed, beside."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter samples of fewer candidates")
    parser.add_argument("--only", default="", metavar="NAMES", help="candidates, separated by commas")
    parser.add_argument("--seed", type=int, default=6, help="of the rotation and of arrivals")
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout of fleetctl as a candidate")
    return parser.parse_args()


def chosen(given: argparse.Namespace, *, always: tuple[str, ...] = ()) -> tuple[Candidate, ...]:
    """The candidates that were asked for, and those that a measure cannot do without."""
    ours: list[Candidate] = [Fleetctl(), Fleetctl(uvloop=False)]
    if isinstance(built := native.found(), native.Build):
        ours.insert(1, Fleetctl(native=True))
    else:
        print(f"without the native build: {built or 'there is none'}; make one: make native", file=sys.stderr)
    if given.beside is not None:
        ours.insert(1, Fleetctl(tree=given.beside))
    every = [*ours, *peers()]
    if given.only:
        names = [*given.only.split(","), *always]
        if unknown := set(names) - {one.name for one in every}:
            sys.exit(
                f"no candidate is called {', '.join(sorted(unknown))}; there are: "
                + ", ".join(one.name for one in every)
            )
        return tuple(one for one in every if one.name in names)
    return tuple(one for one in every if one.quick or not given.quick)


def table(found: Samples, candidates: Sequence[str], work: Work, what: str) -> None:
    """The medians of one kind of work, best first; those with errors below, with their first error."""
    print(f"\n{what}", file=sys.stderr)
    print(
        f"{'':24}{'per core':>10}{'to ' + UNIT:>12}{'per s':>9}{'cores':>7}{'p50 ms':>9}{'p99 ms':>9}"
        f"{'up in s':>9}{'load':>7}{'upstream':>9}",
        file=sys.stderr,
    )

    def place(name: str) -> tuple[bool, float]:
        samples = found[name, work.name]
        return not ranked(samples), -middle(samples, "per_core")

    for name in [name for name in candidates if not found[name, work.name]]:
        print(f"{name:24} not asked: it failed at fewer", file=sys.stderr)

    for name in sorted((name for name in candidates if found[name, work.name]), key=place):
        samples = found[name, work.name]
        to_unit = ratio(found, name, UNIT, work)
        bad = broken(samples)
        rate = sum(one.done for one in samples) / sum(one.seconds for one in samples)
        late = sum(not sample.kept_up for sample in samples)
        note = f"  not ranked: {bad.errors} errors, the first: {bad.first_error[:60]}" if bad else ""
        note = note or (f"  {late} of {len(samples)} samples left out: it did not keep up" if late else "")
        figures = (
            f"{middle(samples, 'per_core'):10.0f}{f'{to_unit:.0%}' if to_unit else '-':>12}{rate:9.0f}",
            f"{middle(samples, 'cores'):7.2f}{middle(samples, 'p50_us') / 1e3:9.2f}",
            f"{middle(samples, 'p99_us') / 1e3:9.2f}{middle(samples, 'warm_s'):9.2f}",
            f"{middle(samples, 'load_cores'):7.2f}{middle(samples, 'upstream_cores'):9.2f}{note}",
        )
        print(f"{name:24}{''.join(figures)}", file=sys.stderr)
