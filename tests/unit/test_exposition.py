"""What is read of an exposition, and that whatever cannot be read is unknown with a reason, never zero."""

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fleetctl.engines import engine
from fleetctl.engines.engine import Load, Metric
from fleetctl.model.signals import Reading
from fleetctl.scrape.exposition import INDENT_MAX, SERIES_MAX, STALE_AFTER_S, read_load

NOW = 1_700_000_000.0
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
VLLM = engine("vllm").loads
SGLANG = engine("sglang").loads
TRITON = engine("triton").loads
NO_QUEUE = (Load(running=Metric(name="busy")),)
RUN, WAIT = b"vllm:num_requests_running 2\n", b"vllm:num_requests_waiting 3\n"
CAPTURED = (Path(__file__).parent.parent / "fixtures" / "vllm_metrics.txt").read_bytes()


def vllm(running: str = "2.0", waiting: str = "3.0") -> bytes:
    return f"{RUNNING} {running}\n{WAITING} {waiting}\n".encode()


READ = [
    ("as captured from vLLM 0.32.0", CAPTURED, VLLM, (2.0, 14.0)),
    ("without labels", vllm(), VLLM, (2.0, 3.0)),
    ("waiting first", WAIT + RUN, VLLM, (2.0, 3.0)),
    (
        "several series of one name are added up",
        b'vllm:num_requests_running{engine="0"} 2\nvllm:num_requests_running{engine="1"} 5\n'
        b'vllm:num_requests_waiting{engine="0"} 1\nvllm:num_requests_waiting{engine="1"} 0\n',
        VLLM,
        (7.0, 1.0),
    ),
    (
        "a longer name is another metric, even before ours",
        b'vllm:num_requests_waiting_by_reason{reason="capacity"} 14\n' + vllm("1", "0"),
        VLLM,
        (1.0, 0.0),
    ),
    ("a name that ends in ours is another metric", b"ray_" + RUN + b"x:" + WAIT + RUN + WAIT, VLLM, (2.0, 3.0)),
    ("comments are no samples", b"# HELP " + RUN + b"#" + WAIT + b" # " + RUN + RUN + WAIT, VLLM, (2.0, 3.0)),
    (
        "our name in a label value is no sample",
        b'other{help="x\\nvllm:num_requests_running 9"} 1\n' + vllm(),
        VLLM,
        (2.0, 3.0),
    ),
    (
        "braces, quotes, commas and spaces inside label values",
        b'vllm:num_requests_running{model="a} 9",b="say \\"hi, {x=\\\\",c=""} 2\n' + WAIT,
        VLLM,
        (2.0, 3.0),
    ),
    (
        "blanks wherever they may stand",
        b'\t vllm:num_requests_running \t{ a = "b" , } \t 4  \n' + WAIT,
        VLLM,
        (4.0, 3.0),
    ),
    ("a value right after the braces", b'vllm:num_requests_running{a="b"}4\n' + WAIT, VLLM, (4.0, 3.0)),
    ("Windows line ends", vllm().replace(b"\n", b"\r\n"), VLLM, (2.0, 3.0)),
    ("scientific notation", vllm("1.2e+01", "+.5E1"), VLLM, (12.0, 5.0)),
    ("a true zero is zero", vllm("0", "0.0"), VLLM, (0.0, 0.0)),
    ("a fresh timestamp", vllm(f"2 {int(NOW - 5) * 1000}", "3"), VLLM, (2.0, 3.0)),
    ("bytes that are no text, elsewhere", b'other{a="\xff\xfe"} 1\n' + vllm(), VLLM, (2.0, 3.0)),
    ("an engine without a queue", b"busy 3\nidle 4\n", NO_QUEUE, (3.0, 0.0)),
    (
        "SGLang with priorities: the total, and not its parts again",
        b'sglang:num_running_reqs{priority=""} 5\nsglang:num_running_reqs{priority="1"} 5\n'
        b'sglang:num_queue_reqs{priority=""} 7\nsglang:num_queue_reqs{priority="1"} 7\n',
        SGLANG,
        (5.0, 7.0),
    ),
    (
        "SGLang with data and pipeline ranks: every data rank, one stage",
        b"".join(
            f'sglang:num_{what}_reqs{{dp_rank="{dp}",pp_rank="{pp}"}} {count}\n'.encode()
            for what, count in (("running", 4), ("queue", 2))
            for dp in (0, 1)
            for pp in (0, 1)
        ),
        SGLANG,
        (8.0, 4.0),
    ),
    (
        "Triton with TensorRT-LLM: the types that are asked for",
        b"".join(
            f'nv_trt_llm_request_metrics{{model="m",request_type="{kind}",version="1"}} {count}\n'.encode()
            for kind, count in (("waiting", 3), ("context", 1), ("scheduled", 4), ("max", 512), ("active", 7))
        ),
        TRITON,
        (4.0, 3.0),
    ),
    (
        "Triton with vLLM: the first pair that is there",
        b"nv_inference_pending_request_count 0\n" + vllm(),
        TRITON,
        (2.0, 3.0),
    ),
]
"""(why, body, loads, what is read)."""

UNKNOWN = [
    ("no bytes", b"", VLLM, "empty"),
    ("no exposition at all", b"<html><body>404</body></html>\n", VLLM, "missing"),
    ("none of our names", b"up 1\n", VLLM, "missing"),
    (
        "only the longer name",
        b'vllm:num_requests_running_total 1\nvllm:num_requests_waiting_by_reason{a="b"} 14\n',
        VLLM,
        "missing",
    ),
    ("running without waiting", f"{RUNNING} 2\n".encode(), VLLM, "partial"),
    ("waiting without running", f"{WAITING} 2\n".encode(), VLLM, "missing"),
    ("cut off within a value", vllm("2", "14")[:-2], VLLM, "partial"),
    ("cut off right before the last newline", vllm()[:-1], VLLM, "partial"),
    ("not a number", vllm("NaN"), VLLM, "malformed"),
    ("infinite", vllm("+Inf"), VLLM, "malformed"),
    ("infinite by size", vllm("1e999"), VLLM, "malformed"),
    ("negative", vllm("2", "-1"), VLLM, "malformed"),
    ("Python's own spelling of numbers", vllm("1_0"), VLLM, "malformed"),
    ("hexadecimal", vllm("0x10"), VLLM, "malformed"),
    ("no value", f"{RUNNING}\n{WAITING} 3\n".encode(), VLLM, "malformed"),
    ("no value after labels", vllm().replace(b" 2.0", b'{a="b"}'), VLLM, "malformed"),
    ("two values", vllm("2 3 4"), VLLM, "malformed"),
    ("text after the value", vllm("2 # {} 1"), VLLM, "malformed"),
    ("labels that never end", vllm().replace(b" 2.0", b'{a="b" 2.0'), VLLM, "malformed"),
    ("a label value that never ends", vllm().replace(b" 2.0", b'{a="b} 2.0'), VLLM, "malformed"),
    ("labels without a comma", vllm().replace(b" 2.0", b'{a="b"c="d"} 2.0'), VLLM, "malformed"),
    ("a label without a value", vllm().replace(b" 2.0", b"{a} 2.0"), VLLM, "malformed"),
    ("one good series and a bad one", b'vllm:num_requests_running{engine="1"} x\n' + vllm(), VLLM, "malformed"),
    ("the same series twice", vllm() + vllm(), VLLM, "malformed"),
    ("the same series twice, once with braces", b"vllm:num_requests_running{} 2\n" + vllm(), VLLM, "malformed"),
    ("a name that our name begins, with a foreign byte", vllm().replace(b" 2.0", b".total 2.0"), VLLM, "malformed"),
    ("an old timestamp", vllm(f"2 {int(NOW - STALE_AFTER_S - 1) * 1000}"), VLLM, "stale"),
    ("a timestamp from the future", vllm(f"2 {int(NOW + STALE_AFTER_S + 2) * 1000}"), VLLM, "stale"),
    ("a timestamp of a thousand digits", vllm("2 " + "9" * 1000), VLLM, "stale"),
    ("more series than any engine has", b"x vllm:num_requests_running\n" * (SERIES_MAX + 1), VLLM, "malformed"),
    ("blanks without end", b" " * (INDENT_MAX + 2) + vllm(), VLLM, "malformed"),
    ("plain Triton has no gauge of running requests", b"nv_inference_pending_request_count 0\n", TRITON, "missing"),
    (
        "TensorRT-LLM too old to say who waits",
        b'nv_trt_llm_request_metrics{request_type="scheduled"} 4\n',
        TRITON,
        "partial",
    ),
    ("nothing but parts of a total", b'sglang:num_running_reqs{priority="1"} 5\n', SGLANG, "missing"),
    ("no names to look for", vllm(), (), "missing"),
]
"""(why, body, loads, what the reason begins with)."""


@pytest.mark.parametrize(("why", "body", "loads", "wanted"), READ, ids=[row[0] for row in READ])
def test_reads(why: str, body: bytes, loads: tuple[Load, ...], wanted: tuple[float, float]) -> None:
    read = read_load(body, loads, now=NOW)

    assert isinstance(read, Reading), why
    assert (read.running, read.waiting) == wanted, why


@pytest.mark.parametrize(("why", "body", "loads", "wanted"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_is_unknown(why: str, body: bytes, loads: tuple[Load, ...], wanted: str) -> None:
    reason = read_load(body, loads, now=NOW)

    assert isinstance(reason, str), why
    assert reason.startswith(wanted), why
    assert len(reason) < 300


@given(cut=st.integers(0, len(CAPTURED) - 1))
@example(cut=CAPTURED.index(b"vllm:num_requests_waiting{") + 45)
def test_a_part_of_a_body_gives_the_truth_or_nothing(cut: int) -> None:
    load = read_load(CAPTURED[:cut], VLLM, now=NOW)

    assert isinstance(load, str) or (load.running, load.waiting) == (2.0, 14.0)


@given(st.binary(max_size=200), st.binary(max_size=60), st.binary(max_size=60))
def test_no_body_raises(before: bytes, after_running: bytes, after_waiting: bytes) -> None:
    body = before + b"\n" + RUNNING.encode() + after_running + b"\n" + WAITING.encode() + after_waiting + b"\n"

    load = read_load(body, VLLM, now=NOW)

    assert isinstance(load, str) or all(math.isfinite(value) and value >= 0 for value in (load.running, load.waiting))


NAMES = st.sampled_from([RUNNING, WAITING, f"{WAITING}_by_reason", "vllm:num", f"x_{RUNNING}", "other"])
COUNTS = st.one_of(st.integers(0, 10**9), st.floats(0, 1e12))


@given(
    st.dictionaries(
        NAMES,
        st.tuples(
            st.lists(st.sampled_from(["engine", "model_name", "le", "_x"]), unique=True, max_size=3),
            st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), COUNTS), max_size=4),
            st.text(max_size=20),
        ),
    )
)
def test_reads_what_prometheus_client_writes_as_its_own_parser_does(
    gauges: dict[str, tuple[list[str], list[tuple[str, str, str, float]], str]],
) -> None:
    registry = CollectorRegistry()
    for name, (labels, rows, help_text) in gauges.items():
        gauge = Gauge(name, help_text, labels, registry=registry)
        for *values, count in rows:
            (gauge.labels(*values[: len(labels)]) if labels else gauge).set(count)
    body = generate_latest(registry)
    judged: dict[str, float] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            judged[sample.name] = judged.get(sample.name, 0.0) + sample.value

    load = read_load(body, VLLM, now=NOW)

    if RUNNING in judged and WAITING in judged:
        assert isinstance(load, Reading)
        assert (load.running, load.waiting) == (judged[RUNNING], judged[WAITING])
    else:
        assert isinstance(load, str)


def test_counters_beside_the_load_are_read_too() -> None:
    read = read_load(CAPTURED, VLLM, now=NOW)

    assert isinstance(read, Reading)
    assert (read.input_tokens, read.output_tokens, read.completed) == (685.0, 12715.0, 25.0)


def test_a_counter_that_cannot_be_read_is_unknown_and_spoils_nothing_else() -> None:
    read = read_load(vllm() + b"vllm:prompt_tokens_total NaN\nvllm:generation_tokens_total 7\n", VLLM, now=NOW)

    assert isinstance(read, Reading)
    assert (read.input_tokens, read.output_tokens, read.completed) == (None, 7.0, None)
    assert (read.running, read.waiting) == (2.0, 3.0)
