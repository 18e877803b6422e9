"""What the gateway answers by itself: OpenAI-shaped errors, the list of models, health."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from fleetctl.gateway.http1_chunks import BadFraming
from fleetctl.model.names import ServiceName

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not served, as an OpenAI client understands it."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    extra: str = ""
    """More header lines, each ended by CRLF."""


def encode_refusal(refusal: Refusal, *, close: bool, head_only: bool = False, request_id: bytes = b"") -> bytes:
    body = _error_body(refusal.code, refusal.message, refusal.status)
    extra = refusal.extra
    if refusal.retry_after_s is not None:
        extra += f"Retry-After: {refusal.retry_after_s}\r\n"
    if request_id:
        extra += f"x-request-id: {request_id.decode()}\r\n"
    return _encode(refusal.status, body, extra=extra, close=close, head_only=head_only)


def encode_json(document: object, *, close: bool, head_only: bool = False) -> bytes:
    return _encode(200, json.dumps(document).encode(), extra="", close=close, head_only=head_only)


def bad_request(error: BadFraming) -> Refusal:
    return Refusal(status=400, code="bad_request", message=f"The request cannot be accepted: {error}.")


def model_list(names: Iterable[tuple[str, ServiceName]]) -> dict[str, object]:
    """`GET /v1/models`: every name that selects a Service."""
    return {"object": "list", "data": [model_entry(name, service) for name, service in names]}


def model_entry(name: str, service: ServiceName) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": f"fleetctl/{service}"}


def error_event(message: str) -> bytes:
    """A server-sent event, as a whole chunk, that OpenAI clients raise as an error in the middle of a stream."""
    body = _error_body("upstream_lost", message, 502)
    event = b"\n\nevent: error\ndata: " + body + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _error_body(code: str, message: str, status: int) -> bytes:
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    if status == 429:
        kind = "rate_limit_error"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def _encode(status: int, body: bytes, *, extra: str, close: bool, head_only: bool) -> bytes:
    closing = "Connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{extra}{closing}\r\n"
    )
    return head.encode() if head_only else head.encode() + body
