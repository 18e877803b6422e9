"""What Google's errors mean, as a table; and a server that goes away, over real sockets.

The codes are Google's, from its documentation; that they mean this is ours.
"""

import socket
import threading
from pathlib import Path

import pytest
from cloud_contract import FLEET, ONE
from gcp_server import Strike
from gcp_world import SHORT, served, setup, spec

from fleetctl.errors import (
    AuthFailure,
    Gone,
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
)
from fleetctl.providers.gcp.compute import GcpProvider
from fleetctl.providers.gcp.failures import AlreadyThere, of_codes, of_reply
from fleetctl.providers.gcp.settings import read_settings


@pytest.mark.parametrize(
    ("codes", "wanted", "code"),
    [
        (["ZONE_RESOURCE_POOL_EXHAUSTED"], NoCapacity, "ZONE_RESOURCE_POOL_EXHAUSTED"),
        (["QUOTA_EXCEEDED"], QuotaExceeded, "QUOTA_EXCEEDED"),
        (["RESOURCE_OPERATION_RATE_EXCEEDED"], Throttled, "RESOURCE_OPERATION_RATE_EXCEEDED"),
        (["PERMISSIONS_ERROR"], AuthFailure, "PERMISSIONS_ERROR"),
        (["RESOURCE_NOT_FOUND"], InvalidRequest, "RESOURCE_NOT_FOUND"),
        (["SOMETHING_NEW"], ProviderError, "SOMETHING_NEW"),
        (["SOMETHING_NEW", "ZONE_RESOURCE_POOL_EXHAUSTED"], NoCapacity, "ZONE_RESOURCE_POOL_EXHAUSTED"),
        ([], ProviderError, ""),
    ],
)
def test_error_of_an_operation(codes: list[str], wanted: type[ProviderError], code: str) -> None:
    error = of_codes("launch", [(one, f"{one} happened") for one in codes])

    assert (type(error), error.provider_code) == (wanted, code)
    assert error.hint


@pytest.mark.parametrize(
    ("status", "reasons", "reading", "changing"),
    [
        (400, ["invalid"], InvalidRequest, InvalidRequest),
        (400, ["somethingNew"], ProviderError, ProviderError),
        (400, ["resourceNotReady"], ProviderError, ProviderError),
        (400, [], InvalidRequest, InvalidRequest),
        (401, ["required"], AuthFailure, AuthFailure),
        (403, ["forbidden"], AuthFailure, AuthFailure),
        (403, ["quotaExceeded"], QuotaExceeded, QuotaExceeded),
        (403, ["rateLimitExceeded"], Throttled, Throttled),
        (403, ["rateLimitExceeded", "RATE_LIMIT_EXCEEDED"], Throttled, Throttled),
        (403, ["somethingNew", "SERVICE_DISABLED"], AuthFailure, AuthFailure),
        (403, ["somethingNew"], ProviderError, ProviderError),
        (404, ["notFound"], Gone, Gone),
        (409, ["alreadyExists"], AlreadyThere, AlreadyThere),
        (412, ["conditionNotMet"], InvalidRequest, InvalidRequest),
        (429, ["somethingNew"], Throttled, Throttled),
        (500, ["internalError"], ProviderError, OutcomeUnknown),
        (503, [], ProviderError, OutcomeUnknown),
        (503, ["forbidden"], ProviderError, OutcomeUnknown),
        (503, ["rateLimitExceeded"], Throttled, Throttled),
    ],
)
def test_reply_that_is_an_error(
    status: int, reasons: list[str], reading: type[ProviderError], changing: type[ProviderError]
) -> None:
    read = of_reply("list", status=status, reasons=reasons, message="no", changing=False)
    change = of_reply("launch", status=status, reasons=reasons, message="no", changing=True)

    assert (type(read), type(change)) == (reading, changing)
    assert read.provider_code == change.provider_code != ""


async def test_message_is_googles_and_not_the_sdks(tmp_path: Path) -> None:
    with served() as (server, endpoint):
        provider = GcpProvider(read_settings(setup(endpoint, tmp_path)), limits=SHORT)
        methods = ("compute.instances.aggregatedList",)
        server.strikes.append(Strike(methods=methods, status=403, reason="forbidden"))

        with pytest.raises(AuthFailure) as refused:
            await provider.list(FLEET)

        assert str(refused.value) == "gcp: instances.aggregatedList: struck: forbidden"
        assert refused.value.__cause__ is not None, "the SDK's own error is kept for those who look"
        await provider.close()


async def test_cloud_that_cannot_be_reached_leaves_nothing_unknown(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        provider = GcpProvider(read_settings(setup(endpoint, tmp_path)), limits=SHORT)

        for call in (provider.list(FLEET), provider.launch(spec()), provider.terminate(ONE)):
            with pytest.raises(ProviderError, match="no answer") as refused:
                await call
            assert type(refused.value) is ProviderError
            assert refused.value.retryable
        await provider.close()


async def test_answer_that_is_no_json_leaves_a_change_unknown(tmp_path: Path) -> None:
    body = b"<html>try again</html>"
    text = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_answer_all, args=(listening, text), daemon=True)
        thread.start()
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        provider = GcpProvider(read_settings(setup(endpoint, tmp_path)), limits=SHORT)

        with pytest.raises(ProviderError, match="no answer"):
            await provider.list(FLEET)
        with pytest.raises(OutcomeUnknown, match="the answer was lost"):
            await provider._asking.change("x", lambda: provider._api.delete_instance("us-central1-a", "gpu-1"))
        await provider.close()
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=5)


def _answer_all(listening: socket.socket, text: bytes) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.recv(65_536)
            connection.sendall(text)
