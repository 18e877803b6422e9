"""Certificates of the gateway: what is refused, what is warned of, what a renewal does. Made by a real CA library."""

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from certificates import certificate, locked_key

from fleetctl.errors import UsageError
from fleetctl.gateway.tls import certificate_end, certificate_warnings, renew, server_context

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def test_the_context_speaks_http_over_tls_1_2_and_later(tmp_path: Path) -> None:
    context = server_context(*certificate(tmp_path))

    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_NONE


def test_one_file_may_hold_both(tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(private.read_bytes() + public.read_bytes())

    assert server_context(both).get_ca_certs() == []


@pytest.mark.parametrize(
    ("spoil", "said", "hint"),
    [
        (lambda public, private: public.unlink(), "the TLS certificate .* does not exist", "PEM file"),
        (lambda public, private: private.unlink(), "the TLS key .* does not exist", "PEM file"),
        (lambda public, private: public.write_bytes(b"\x30\x82"), "holds no certificate", "BEGIN CERTIFICATE"),
        (lambda public, private: private.write_text("hello"), "holds no private key", "PRIVATE KEY"),
        (
            lambda public, private: public.write_text(
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
            ),
            "cannot be used",
            "openssl x509 -in",
        ),
        (
            lambda public, private: private.write_bytes(certificate(public.parent, "other")[1].read_bytes()),
            "does not belong to the certificate",
            "was asked for",
        ),
        (lambda public, private: locked_key(private), "locked with a passphrase", "openssl pkey -in"),
    ],
    ids=["no certificate", "no key", "DER", "no PEM key", "garbage", "another's key", "passphrase"],
)  # fmt: skip
def test_files_that_do_not_do_are_refused_with_a_mend(tmp_path: Path, spoil: object, said: str, hint: str) -> None:
    public, private = certificate(tmp_path)
    spoil(public, private)  # type: ignore[operator]

    with pytest.raises(UsageError, match=said) as caught:
        server_context(public, private)

    assert hint in caught.value.hint


def test_a_key_that_is_missing_from_the_one_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no private key") as caught:
        server_context(certificate(tmp_path)[0])

    assert "--tls-key" in caught.value.hint


def test_a_renewal_that_does_not_fit_leaves_the_context_as_it_was(tmp_path: Path) -> None:
    public, private = certificate(tmp_path, "first")
    context = server_context(public, private)
    stranger, _ = certificate(tmp_path, "second")

    with pytest.raises(UsageError, match="does not belong"):
        renew(context, stranger, private)

    assert shown_by(context) == ssl.PEM_cert_to_DER_cert(public.read_text())


def test_a_renewal_is_what_new_connections_see(tmp_path: Path) -> None:
    context = server_context(*certificate(tmp_path, "first"))
    public, private = certificate(tmp_path, "second")

    renew(context, public, private)

    assert shown_by(context) == ssl.PEM_cert_to_DER_cert(public.read_text())


@pytest.mark.parametrize(
    ("days", "said"),
    [(-3.0, "expired 3 days ago"), (2.0, "expires in 2 days"), (13.9, "expires in 14 days"), (30.0, "")],
)
def test_an_end_that_is_near_is_warned_of(tmp_path: Path, days: float, said: str) -> None:
    public, private = certificate(tmp_path, ends=NOW + datetime.timedelta(days=days))

    warnings = certificate_warnings(public, private, now=NOW)

    assert certificate_end(public) == NOW + datetime.timedelta(days=days)
    assert (said in warnings[0]) if said else warnings == ()


def test_the_first_of_a_chain_to_end_counts(tmp_path: Path) -> None:
    soon = NOW + datetime.timedelta(days=1)
    public, private = certificate(tmp_path)
    above, _ = certificate(tmp_path, "above", ends=soon)
    public.write_bytes(public.read_bytes() + above.read_bytes())

    assert certificate_end(public) == soon
    assert len(certificate_warnings(public, private, now=NOW)) == 1


def test_an_end_beyond_2050_is_written_otherwise_and_read_too(tmp_path: Path) -> None:
    late = datetime.datetime(2061, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)

    assert certificate_end(certificate(tmp_path, ends=late)[0]) == late


def test_a_key_that_everybody_may_read_is_warned_of(tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    private.chmod(stat.S_IRUSR | stat.S_IROTH)

    assert certificate_warnings(public, private) == (
        f"everybody on this machine may read the key {private}: chmod 600 {private}",
    )


def shown_by(context: ssl.SSLContext) -> bytes | None:
    """The certificate that a client sees, in a handshake in memory."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server)
    other = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert one.version() == "TLSv1.3"
    return one.getpeercert(binary_form=True)
