"""The gateway's own certificate: read, judged, and renewed under running connections."""

import base64
import re
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fleetctl.errors import FleetError, UsageError

EXPIRY_WARNING_DAYS: Final = 14.0
"""Certificates of Let's Encrypt are renewed 30 days before their end: with this few left, the renewal has failed."""
HANDSHAKE_TIMEOUT_S: Final = 10.0
"""A handshake is two round trips; a client that takes longer only holds a connection."""
_DAY_S: Final = 86400.0
_CERTIFICATES: Final = re.compile(
    rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END", re.ASCII
)
_SEQUENCE, _CONTEXT_0, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
"""Tags of DER."""


def server_context(certificate: Path, key: Path | None = None) -> ssl.SSLContext:
    """What the listening socket is wrapped in: TLS 1.2 and 1.3, HTTP/1.1. `key` None: it is in the certificate's file.

    Raises `UsageError` for files that are missing, unreadable, no PEM, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate, key)
    return context


def renew(context: ssl.SSLContext, certificate: Path, key: Path | None = None) -> None:
    """New connections see what is in the files now; those that are open go on with what they began with.

    Raises `UsageError` as `server_context` does, and leaves the context as it was.
    """
    server_context(certificate, key)  # a pair that does not fit would leave the context in use with half of it
    _load(context, certificate, key)


def certificate_warnings(certificate: Path, key: Path | None = None, *, now: datetime | None = None) -> tuple[str, ...]:
    """What is wrong with files that work today: the end is near or past, or others may read the key."""
    found: list[str] = []
    ends = certificate_end(certificate)
    if ends is not None:
        days = (ends - (now or datetime.now(UTC))).total_seconds() / _DAY_S
        if days < 0:
            found.append(
                f"the certificate {certificate} expired {-days:.0f} days ago ({ends:%Y-%m-%d}): clients refuse it"
            )
        elif days < EXPIRY_WARNING_DAYS:
            found.append(
                f"the certificate {certificate} expires in {days:.0f} days ({ends:%Y-%m-%d}):"
                " renew it, then send SIGHUP"
            )
    private = key or certificate
    if private.stat().st_mode & stat.S_IROTH:
        found.append(f"everybody on this machine may read the key {private}: chmod 600 {private}")
    return tuple(found)


def certificate_end(certificate: Path) -> datetime | None:
    """When the first certificate of the file's chain to expire does so; None: it cannot be told."""
    ends = [end for der in _ders(certificate.read_bytes()) if (end := _not_after(der)) is not None]
    return min(ends, default=None)


class _Locked(Exception):
    """The key wants a passphrase, and nobody is there to type it at a reload."""


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    if b"CERTIFICATE-----" not in _read(certificate, "certificate"):
        raise UsageError(
            f"the TLS certificate {certificate} holds no certificate",
            hint="it must be PEM, with -----BEGIN CERTIFICATE----- in it: the server's own first, then those above it",
        )
    if b"PRIVATE KEY-----" not in _read(key or certificate, "key"):
        raise UsageError(
            f"the TLS key {key or certificate} holds no private key",
            hint="it must be PEM, with -----BEGIN PRIVATE KEY----- in it"
            + ("" if key is not None else "; a key in a file of its own is named with --tls-key (`tls: {key: …}`)"),
        )
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _Locked:
        raise UsageError(
            f"the TLS key {key or certificate} is locked with a passphrase",
            hint=f"write one without: openssl pkey -in {key or certificate} -out server.key && chmod 600 server.key",
        ) from None
    except ssl.SSLError as error:
        raise _refused(error, certificate, key or certificate) from error


def _refused(error: ssl.SSLError, certificate: Path, key: Path) -> FleetError:
    if error.reason == "KEY_VALUES_MISMATCH" or "mismatch" in str(error).lower():
        return UsageError(
            f"the TLS key {key} does not belong to the certificate {certificate}",
            hint="name the key that the certificate was asked for with",
        )
    why = (error.reason or str(error)).replace("_", " ").lower()
    return UsageError(
        f"the TLS certificate {certificate} with the key {key} cannot be used: {why}",
        hint=f"look at it: openssl x509 -in {certificate} -noout -text",
    )


def _no_passphrase() -> str:
    raise _Locked


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"the TLS {what} {path} does not exist", hint="write the path of a PEM file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"the TLS {what} {path} cannot be read: {reason}", hint=f"check it: ls -l {path}") from error


# the end of a certificate, from its DER: the ssl module tells it only of peers that it has checked


def _ders(pem: bytes) -> Iterator[bytes]:
    for found in _CERTIFICATES.finditer(pem):
        yield base64.b64decode(found[1])


def _not_after(der: bytes) -> datetime | None:
    """RFC 5280, 4.1: Certificate { tbsCertificate { [0] version, serial, signature, issuer, validity { …, notAfter."""
    try:
        body = _inside(der, _SEQUENCE, 0)
        at = _inside(der, _SEQUENCE, body)
        if der[at] == _CONTEXT_0:
            at = _after(der, at)
        for _ in range(3):  # serial, signature, issuer
            at = _after(der, at)
        at = _after(der, _inside(der, _SEQUENCE, at))  # notBefore
        start, end = _content(der, at)
        text = der[start:end].decode("ascii")
        if der[at] == _UTC_TIME:  # two digits of the year: 50 and more are of the century before (RFC 5280, 4.1.2.5.1)
            text = ("19" if text[:2] >= "50" else "20") + text
        elif der[at] != _GENERALIZED_TIME:
            return None
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


def _content(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at `at` begins and ends."""
    length, start = der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(der[start : start + size]), start + size
    if start + length > len(der):
        raise ValueError("cut short")
    return start, start + length


def _inside(der: bytes, tag: int, at: int) -> int:
    if der[at] != tag:
        raise ValueError("another element was expected")
    return _content(der, at)[0]


def _after(der: bytes, at: int) -> int:
    return _content(der, at)[1]
