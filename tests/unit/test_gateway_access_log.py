"""The access log: whole lines, off the hot path, rotated by size, reopened on request."""

import json
import os
from pathlib import Path

import pytest

from fleetctl.gateway.access_log import AccessLog, Line
from fleetctl.gateway.limits import ACCESS_LOG_BUFFER_BYTES, ACCESS_LOGS_KEPT


def line(number: int = 0) -> Line:
    return Line(
        time=1.5, request_id=f"r{number}", trace_id="t", tenant="acme", key="k1", method="POST", path="/v1/x",
        service="chat", replica="r0", status=200, outcome="answered", code="", queued_s=0.0, ttft_s=0.1, total_s=0.2,
        input_tokens=3, output_tokens=4, cached_tokens=0, bytes_in=10, retried=False,
    )  # fmt: skip


def written(path: Path) -> list[str]:
    return [json.loads(text)["request_id"] for text in path.read_text().splitlines()]


def test_lines_are_written_when_flushed_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)

    log.note(line(1))
    log.note(line(2))
    before = path.read_text()
    log.flush()
    log.close()

    assert before == ""
    assert written(path) == ["r1", "r2"]
    assert json.loads(path.read_text().splitlines()[0])["output_tokens"] == 4


def test_a_file_is_private_to_its_user_and_group_and_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    for number in (1, 2):
        log = AccessLog(path)
        log.note(line(number))
        log.close()

    assert written(path) == ["r1", "r2"]
    assert path.stat().st_mode & 0o007 == 0


def test_the_sample_is_chosen_by_the_trace(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log", sample=0.25)
    traces = [b"%032x" % (number << 22) for number in range(1024)]  # all values of the last digits, evenly

    wanted = [trace for trace in traces if log.wants(trace)]
    log.close()

    assert len(wanted) == 256


@pytest.mark.parametrize(("sample", "wanted"), [(0.0, False), (1.0, True)])
def test_all_or_nothing(tmp_path: Path, sample: float, wanted: bool) -> None:
    log = AccessLog(tmp_path / "log", sample=sample)

    assert (log.wants(b"0" * 32), log.wants(b"f" * 32)) == (wanted, wanted)
    log.close()


def test_a_large_file_is_put_aside_and_the_oldest_deleted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(path, rotate_bytes=1)
    for number in range(ACCESS_LOGS_KEPT + 3):
        log.note(line(number))
        log.flush()
    log.close()

    assert path.read_text() == ""
    newest = ACCESS_LOGS_KEPT + 2
    assert [written(tmp_path / f"log.{aside}") for aside in range(1, ACCESS_LOGS_KEPT + 1)] == [
        [f"r{newest - aside}"] for aside in range(ACCESS_LOGS_KEPT)
    ]
    assert len(list(tmp_path.iterdir())) == ACCESS_LOGS_KEPT + 1


def test_two_processes_share_a_file_through_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, two = AccessLog(path, rotate_bytes=1), AccessLog(path, rotate_bytes=2**20)
    two.note(line(1))
    two.flush()
    one.note(line(2))
    one.flush()  # rotates

    two.note(line(3))
    two.flush()
    one.close()
    two.close()

    assert written(tmp_path / "log.1") == ["r1", "r2"]
    assert written(path) == ["r3"]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = AccessLog(path)
    log.note(line(1))
    log.flush()
    path.rename(tmp_path / "old")

    log.reopen()
    log.note(line(2))
    log.close()

    assert (written(tmp_path / "old"), written(path)) == (["r1"], ["r2"])


def test_what_the_disk_does_not_take_is_counted_and_nothing_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    log = AccessLog(full)

    for _ in range(2):
        log.note(line())
        log.flush()
    log.close()

    assert log.dropped == 2
    assert len([one for one in caplog.records if "cannot be written" in one.message]) == 1


def test_what_is_gathered_is_bounded(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log")
    most = ACCESS_LOG_BUFFER_BYTES // 512

    for _ in range(most + 10):
        log.note(line())
    log.close()

    assert log.dropped == 10
    assert len((tmp_path / "log").read_text().splitlines()) == most


def test_no_file_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names are not needed
    log = AccessLog(tmp_path / "log", rotate_bytes=1)
    for _ in range(3):
        log.note(line())
        log.flush()
    log.reopen()
    log.close()

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
