"""The command line of the rehearsal engine."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fleetctl.rehearsal.batching import Pace

_ABOUT = """\
A rehearsal engine: a real HTTP server that stands for a GPU inference engine in demos and tests. It runs no model.
It speaks vLLM's API (/v1/completions, /v1/chat/completions, /v1/models, /metrics, /health, /sleep, /wake_up) and
takes the time that continuous batching would take. It says what it is: in its words, in `system_fingerprint`, in the
Server header and at /version.
"""

_NOTES = """\
A prompt has ceil(characters / 4) tokens, or as many as the request states: {"rehearsal": {"input_tokens": 3000}}.
An answer has max_tokens (max_completion_tokens) tokens, 16 when not given.
Exit status: 0 after SIGTERM or SIGINT, 2 for wrong arguments, 3 when the model could not be loaded, 7 when the port
is in use.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """The levers that make the engine misbehave, for tests."""

    fail_load: bool
    never_ready: bool
    garbage_metrics: bool
    crash_after_s: float | None
    """Seconds after it became ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    host: str
    port: int
    model: str
    names: tuple[str, ...]
    """What clients may call the model; the first one labels the metrics."""
    pace: Pace
    """With `--speed` in it, as in `load_s` and `wake_s`."""
    load_s: float
    compile_s: float
    """Before it loads, unless it finds what it compiled before: `compiling.py`."""
    compile_bytes: int
    wake_s: float
    grace_s: float
    tokens_per_chunk: int
    max_model_len: int
    failures: Failures


def read_options(words: Sequence[str] | None) -> Options:
    """The options that `words` (None: the process's arguments) state. Exits with 2 where they are wrong."""
    given = _parser().parse_args(words)
    pace = Pace(
        prefill_s_per_token=given.prefill_s_per_token,
        token_s=given.token_s,
        growth=given.growth,
        concurrency=given.concurrency,
        prefill_chunk_tokens=given.prefill_chunk_tokens,
    )
    return Options(
        host=given.host,
        port=given.port,
        model=given.model,
        names=tuple(given.served_model_name or (given.model,)),
        pace=pace.faster(given.speed),
        load_s=given.load_s / given.speed,
        compile_s=given.compile_s / given.speed,
        compile_bytes=given.compile_bytes,
        wake_s=given.wake_s / given.speed,
        grace_s=given.grace_s,
        tokens_per_chunk=given.tokens_per_chunk,
        max_model_len=given.max_model_len,
        failures=Failures(
            fail_load=given.fail_load,
            never_ready=given.never_ready,
            garbage_metrics=given.garbage_metrics,
            crash_after_s=given.crash_after_s,
        ),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fleetctl.rehearsal",
        description=_ABOUT,
        epilog=_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    pace = Pace()
    seconds = _number(float, least=0.0)
    count = _number(int, least=1)

    add = parser.add_argument
    add("--model", required=True, metavar="NAME", help="the model to stand for")
    add("--served-model-name", nargs="+", metavar="NAME", help="what clients may call it (default: --model)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="(default: %(default)s)")
    add("--port", type=_number(int, least=0, most=65535), default=8000, metavar="P", help=_PORT)
    add("--max-model-len", type=count, default=131072, metavar="N", help=_LENGTH)
    add("--grace-s", type=seconds, default=30.0, metavar="S", help=_GRACE)

    timing = parser.add_argument_group("timing")
    add = timing.add_argument
    add("--load-s", type=seconds, default=0.0, metavar="S", help="time to load the model (default: 0)")
    add("--compile-s", type=seconds, default=0.0, metavar="S", help=_COMPILE)
    add("--wake-s", type=seconds, default=0.3, metavar="S", help="time to wake from sleep (default: %(default)s)")
    add("--prefill-s-per-token", type=seconds, default=pace.prefill_s_per_token, metavar="S", help=_PREFILL)
    add("--token-s", type=seconds, default=pace.token_s, metavar="S", help=_TOKEN)
    add("--growth", type=seconds, default=pace.growth, metavar="SHARE", help=_GROWTH)
    add("--concurrency", "--max-num-seqs", type=count, default=pace.concurrency, metavar="N", help=_CONCURRENCY)
    add("--prefill-chunk-tokens", type=count, default=pace.prefill_chunk_tokens, metavar="N", help=_CHUNK)
    add("--tokens-per-chunk", "--stream-interval", type=count, default=1, metavar="N", help=_INTERVAL)
    add("--speed", type=_number(float, least=1e-3, most=1e6), default=1.0, metavar="X", help=_SPEED)

    parser.add_argument("--compile-bytes", type=count, default=65536, metavar="N", help=_COMPILE_BYTES)

    failures = parser.add_argument_group("failures, for tests")
    add = failures.add_argument
    add("--fail-load", action="store_true", help="after --load-s, say that the model cannot be loaded and exit with 3")
    add("--never-ready", action="store_true", help="load for ever")
    add("--garbage-metrics", action="store_true", help="serve bytes at /metrics that are no exposition")
    add("--crash-after-s", type=seconds, metavar="S", help="be gone with status 1, mid-answer, S s after being ready")
    return parser


_PORT = "0 takes a free one; either way the address is printed on stdout (default: %(default)s)"
_LENGTH = "most tokens of prompt and answer together (default: %(default)s)"
_GRACE = "time that running requests get after SIGTERM; --speed leaves it as it is (default: 30)"
_COMPILE = "time to compile first, unless $REHEARSAL_CACHE_DIR holds what was compiled before (default: 0)"
_COMPILE_BYTES = "size of what is compiled (default: %(default)s)"
_PREFILL = "time per prompt token (default: %(default)s)"
_TOKEN = "time of a decode step of one sequence (default: %(default)s)"
_GROWTH = "share of it that each further sequence adds to a step (default: %(default)s)"
_CONCURRENCY = "sequences in the batch at once; the rest wait (default: %(default)s)"
_CHUNK = "prompt tokens read per step (default: %(default)s)"
_INTERVAL = "tokens per streamed event, the first excepted (default: %(default)s)"
_SPEED = "divide all times of this group by X (default: 1)"


def _number(kind: type[int] | type[float], *, least: float, most: float = float("inf")) -> Callable[[str], int | float]:
    def number(word: str) -> int | float:
        value = kind(word)
        if not least <= value <= most or value == float("inf"):
            bounds = f"at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"{word} is not a finite number {bounds}")
        return value

    number.__name__ = "number" if kind is float else "whole number"
    return number
