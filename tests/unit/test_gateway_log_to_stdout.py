"""An access log that is a link, as `/dev/stdout` is one: written, and never put aside."""

from pathlib import Path

from fleetctl.gateway.access_log import AccessLog, Line


def line() -> Line:
    return Line(
        time=0.0, request_id="r", trace_id="t", tenant="", key="", method="POST", path="/v1/x", service="chat",
        replica="a:1", status=200, outcome="answered", code="", queued_s=0.0, ttft_s=0.0, total_s=0.0,
        input_tokens=0, output_tokens=0, cached_tokens=0, bytes_in=0, retried=False,
    )  # fmt: skip


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "out", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    log = AccessLog(link, rotate_bytes=10)

    for _ in range(2):
        log.note(line())
        log.flush()
    log.close()

    assert len(target.read_text().splitlines()) == 2
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "out"]
    assert log.dropped == 0


def test_a_file_of_its_own_is_put_aside(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "log", rotate_bytes=10)

    log.note(line())
    log.flush()
    log.close()

    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "log.1"]
