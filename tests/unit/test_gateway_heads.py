"""Heads that come again are known by their bytes, and then read exactly as if they were judged anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.gateway.http1_answers import AnswerHead, parse_answer
from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.gateway.http1_heads import RequestHead, parse_request

FIELDS = (
    "method", "target", "http10", "chunked", "keep_alive", "expects_continue", "upgrade", "host", "authorization",
    "api_key", "credentials", "service", "priority", "timeout", "traceparent", "request_id", "before", "after",
    "content_length", "judged", "ending",
)  # fmt: skip
OTHERS = (
    "Host: a", "Accept: */*", "X-Odd:\tv ", "Connection: keep-alive", "Authorization: Bearer x", "api-key: y",
    "X-Request-Id: r", "x-fleetctl-service: chat", "Expect: 100-continue", "X-A:1", "Content-Type: application/json",
)  # fmt: skip


def head(others: list[str], place: int, space: str, digits: str) -> bytes:
    lines = list(others)
    lines.insert(min(place, len(lines)), f"Content-Length:{space}{digits}{space}")
    return ("POST /v1/x HTTP/1.1\r\n" + "".join(f"{one}\r\n" for one in lines) + "\r\n").encode()


def fields(one: RequestHead) -> dict[str, object]:
    return {name: getattr(one, name) for name in FIELDS}


@given(
    others=st.lists(st.sampled_from(OTHERS[1:]), unique=True).map(lambda some: ["Host: a", *some]),
    place=st.integers(0, 12),
    space=st.sampled_from(["", " ", "\t", "  "]),
    first=st.integers(0, 10**9),
    second=st.from_regex(r"[0-9]{1,15}", fullmatch=True),
    rest=st.binary(max_size=40),
)
def test_other_digits_are_read_as_if_judged_anew(
    others: list[str], place: int, space: str, first: int, second: str, rest: bytes
) -> None:
    known = parse_request(head(others, place, space, str(first)))
    raw = head(others, place, space, second)

    end = known.again(raw + rest)

    anew = parse_request(raw)
    assert end == len(raw)
    assert fields(known) == fields(anew)


@pytest.mark.parametrize(
    "value",
    ["", "x", "+5", "-5", "5 5", "5,5", "0x5", "5_0", "\u00b2", "5\r\nContent-Length: 6", "5\r\nX: y", "1" * 16, " 5"],
)
def test_what_is_not_just_other_digits_is_judged_anew(value: str) -> None:
    known = parse_request(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\n")
    raw = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\nX: y\r\n\r\n" % value.encode()

    assert known.again(raw + b"abc") == 0


@given(cut=st.integers(0, 80))
def test_a_head_that_is_not_whole_yet_is_not_known(cut: int) -> None:
    raw = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\n"
    known = parse_request(raw)

    assert known.again(raw[:cut]) == (0 if cut < len(raw) else len(raw))


def test_a_head_without_a_length_comes_again_only_as_it_is() -> None:
    raw = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    known = parse_request(raw)

    assert known.again(raw + b"GET") == len(raw)
    assert known.again(raw[:-2] + b"Content-Length: 5\r\n\r\n") == 0


def test_an_answer_comes_again_with_another_length() -> None:
    raw = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: %d\r\nServer: x\r\n\r\n"
    known = parse_answer(raw % 5)

    end = known.again(raw % 12345 + b"body")

    assert (end, known.length) == (len(raw % 12345), 12345)
    assert isinstance(known, AnswerHead)
    assert known.before + b"12345" + known.after == (raw % 12345)[:-2]


@pytest.mark.parametrize(
    ("lines", "expected", "secrets"),
    [
        ("Authorization: Bearer s\r\nX: y\r\n", b"Host: a\r\nX: y\r\n", b"Authorization: Bearer s\r\n"),
        ("x-api-key: s\r\nAPI-Key:s\r\n", b"Host: a\r\n", b"x-api-key: s\r\nAPI-Key:s\r\n"),
        ("X-Fleetctl-Timeout: 1s\r\ntraceparent: t\r\nx-request-id: r\r\n", b"Host: a\r\n", b""),
    ],
)
def test_secrets_and_what_is_ours_are_set_apart(lines: str, expected: bytes, secrets: bytes) -> None:
    asked = parse_request(f"GET /v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())

    assert (asked.before, asked.after, asked.credentials) == (expected, b"", secrets)


@pytest.mark.parametrize(
    "lines",
    [
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "x-api-key: a\r\napi-key: b\r\n",
        "x-fleetctl-timeout: 1s\r\nx-fleetctl-timeout: 2s\r\n",
        "x-fleetctl-service: a\r\nX-Fleetctl-Service: b\r\n",
    ],
)
def test_two_that_differ_are_refused(lines: str) -> None:
    with pytest.raises(BadFraming):
        parse_request(f"GET /v1/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
