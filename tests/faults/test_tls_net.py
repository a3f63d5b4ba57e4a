"""Certificates that are not good, and one that is."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from functools import cache

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from drivers.runners import Driver, until
from drivers.scenarios import Authority
from pusher_anyio.testing import RunningServer, serve
from pusher_proto import ConnectionFailed, ConnectionState

from .rows import QUICK, on_every_driver

ADDRESS = "127.0.0.1"
Contexts = tuple[ssl.SSLContext, ssl.SSLContext | None]
"""The server's, and the client's where it is not the default one."""


@cache
def for_another_name() -> Contexts:
    authority = Authority("elsewhere.example")
    return authority.server, authority.client


@cache
def expired() -> Contexts:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority.issue_cert(ADDRESS, not_after=past).configure_cert(server)
    return server, trusting(authority.cert_pem.bytes())


@cache
def by_an_unknown_authority() -> Contexts:
    return Authority().server, None


@cache
def signed_by_itself() -> Contexts:
    return made_by_hand(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
    )


@cache
def with_the_address_in_its_common_name_only() -> Contexts:
    return made_by_hand(None, trusted=True)


def made_by_hand(names: x509.SubjectAlternativeName | None, *, trusted: bool = False) -> Contexts:
    """Return contexts with a certificate that signs itself, whose common name is the address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, ADDRESS)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(private + pem).tempfile() as file:
        server.load_cert_chain(file)
    return server, trusting(pem) if trusted else None


def trusting(pem: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=pem.decode())
    return context


@pytest.mark.parametrize(
    ("contexts", "reason"),
    [
        (for_another_name, "is not valid for"),
        (expired, "has expired"),
        (by_an_unknown_authority, "unable to get local issuer"),
        (signed_by_itself, "self.signed"),
        (with_the_address_in_its_common_name_only, "is not valid for|mismatch"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@on_every_driver
async def test_N14_the_certificate_is_not_good(
    driver: Driver, server: RunningServer, contexts: Callable[[], Contexts], reason: str
) -> None:
    """Nothing is sent, the error says what is wrong, and there is no further attempt."""
    serving, trusted = contexts()
    async with serve(ssl_context=serving) as unsafe:
        async with driver(unsafe.options(**QUICK), ssl_context=trusted) as client:
            with pytest.raises(ConnectionFailed, match=reason):
                await client.wait_connected(10)
            assert client.state is ConnectionState.FAILED
        assert (client.stats.attempts, client.stats.bytes_sent) == (1, 0)
        assert unsafe.server.stats.requests == 0


@on_every_driver
async def test_N15_the_certificate_is_good(driver: Driver, server: RunningServer) -> None:
    """The client connects, and so it does to the auth endpoint."""
    authority = Authority()
    async with serve(ssl_context=authority.server) as safe:
        options = safe.options(auth_endpoint=True, **QUICK)
        async with driver(options, ssl_context=authority.client) as client:
            room = client.subscribe("private-room")
            await room.wait_subscribed(10)
            assert safe.subscriptions("private-room") == {client.socket_id}
            text = "x" * 300_000  # many records of TLS
            safe.publish("private-room", "large", text)
            assert (await client.wait_for("large", timeout=10)).data == text
        await until(lambda: not safe.connections)
