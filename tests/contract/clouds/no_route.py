"""Cloud tests talk to this machine and to nobody else, whatever their emulators and SDKs would like to do."""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
)
_FILES = (".aws/credentials", ".config/gcloud/application_default_credentials.json", ".azure/msal_token_cache.json")

_FAKES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
    "NO_GCE_CHECK": "true",
    "GCE_METADATA_HOST": "127.0.0.1:9",
}


class LeftTheMachine(BaseException):
    """A test reached for an address that is not this machine's; no `except Exception` may swallow that."""


def refuse_real_credentials() -> None:
    """Fail the test where a real account could be reached: these tests make and destroy machines."""
    found = [name for name in _CREDENTIALS if os.environ.get(name) not in (None, "", _FAKES.get(name))]
    found += [file for file in _FILES if (Path.home() / file).exists()]
    if found:
        pytest.fail(f"real credentials are in reach: {', '.join(found)}; unset them to run the cloud tests")


@contextmanager
def loopback_only() -> Iterator[None]:
    """No socket of this process connects to anything but loopback, and every SDK finds fake credentials only."""
    refuse_real_credentials()
    kept = {name: os.environ.get(name) for name in _FAKES}
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def guarded_connect(own: socket.socket, address: object) -> None:
        _judge(own, address)
        connect(own, address)  # type: ignore[arg-type]

    def guarded_connect_ex(own: socket.socket, address: object) -> int:
        _judge(own, address)
        return connect_ex(own, address)  # type: ignore[arg-type]

    os.environ.update(_FAKES)
    socket.socket.connect = guarded_connect  # type: ignore[method-assign,assignment]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _judge(own: socket.socket, address: object) -> None:
    if own.family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0] if isinstance(address, tuple) else ""
    if host == "localhost":
        return
    try:
        inside = ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False  # a name: whatever it stands for, it is not this machine's
    if not inside:
        raise LeftTheMachine(f"a test tried to connect to {address}")
