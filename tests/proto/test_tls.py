"""TLS without I/O, against the server side of the standard library."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.scenarios import Authority
from pusher_proto import ConnectionUnsafe
from pusher_proto.driving import Tls, cached_context, default_context, tls

HOST = "127.0.0.1"
texts = st.lists(st.binary(min_size=1, max_size=40000), max_size=4)
cuts = st.lists(st.integers(0, 100000), max_size=6)


@cache
def authority() -> Authority:
    return Authority(HOST)


class Server:
    """The other side."""

    def __init__(self) -> None:
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = authority().server.wrap_bio(self._received, self._to_send, server_side=True)
        self.established = False

    def answer(self, data: bytes) -> bytes:
        """Process the client's bytes, and return the answer."""
        self._received.write(data)
        with suppress(ssl.SSLWantReadError):
            if not self.established:
                self.tls.do_handshake()
                self.established = True
        return self.to_send()

    def to_send(self) -> bytes:
        return self._to_send.read()

    def plain(self) -> bytes:
        """Return what can be read now."""
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            return self.tls.read()
        return b""

    def says(self, *messages: bytes) -> bytes:
        for message in messages:
            while message:
                message = message[self.tls.write(message) :]
        return self.to_send()

    def closes(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.to_send()


def met() -> tuple[Tls, Server]:
    """Return both sides after their handshake."""
    client, server = Tls(authority().client, HOST), Server()
    while not client.established:
        assert client.decrypt(server.answer(client.to_send())) == b""
    assert client.decrypt(server.answer(client.to_send())) == b""
    return client, server


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def test_one_message_there_and_one_back() -> None:
    client, server = met()
    client.encrypt(b"hello")
    assert server.answer(client.to_send()) == b""
    assert server.tls.read() == b"hello"
    assert client.decrypt(server.says(b"good ", b"day")) == b"good day"
    assert client.end is None


@given(texts=texts, cuts=cuts)
def test_any_pieces_say_the_same_and_then_the_end(texts: list[bytes], cuts: list[int]) -> None:
    client, server = met()
    sent = server.says(*texts) + server.closes()
    got = b"".join([client.decrypt(piece) for piece in pieces(sent, cuts)])
    assert got == b"".join(texts)
    assert client.end == ""


@given(cuts=cuts, ended_after=st.integers(0, 6))
def test_a_stream_may_be_cut_off_without_a_goodbye_but_not_during_the_handshake(
    cuts: list[int], ended_after: int
) -> None:
    client, server = Tls(authority().client, HOST), Server()
    for piece in pieces(server.answer(client.to_send()), cuts)[:ended_after]:
        assert client.decrypt(piece) == b""
    established = client.established
    client.cut_off()
    assert (client.end == "") is established
    assert established or isinstance(client.end, ssl.SSLError)


@given(garbage=st.binary(min_size=6, max_size=100))
def test_bytes_that_are_not_tls_are_an_error_after_the_data_before(garbage: bytes) -> None:
    client, server = met()
    assert client.decrypt(server.says(b"yes") + b"\x00" + garbage) == b"yes"
    error = client.end
    assert isinstance(error, ssl.SSLError)
    assert client.decrypt(server.says(b"no")) == b""
    assert client.end is error


def test_a_server_with_a_certificate_that_is_not_good_is_reported() -> None:
    client, server = Tls(ssl.create_default_context(), HOST), Server()
    client.decrypt(server.answer(client.to_send()))
    assert isinstance(client.end, ConnectionUnsafe)
    assert str(client.end).startswith(f"the certificate of {HOST} is invalid: ")
    why = client.end
    client.cut_off()
    assert client.end is why
    try:
        server.answer(client.to_send())
    except ssl.SSLError as error:
        assert error.reason == "TLSV1_ALERT_UNKNOWN_CA"  # noqa: PT017 - it is the server's
    else:
        raise AssertionError("the server heard nothing")


def test_W14_what_fails_before_the_first_byte_is_reported_at_once() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA")
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # above the most
    client = Tls(context, HOST)
    assert isinstance(client.end, ssl.SSLError)


def test_W19_the_dot_of_an_absolute_name_is_not_part_of_the_certificates_name() -> None:
    authority = Authority("localhost")
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    names: list[str | None] = []
    authority.server.sni_callback = lambda _, name, __: names.append(name)
    server = authority.server.wrap_bio(received, to_send, server_side=True)
    client = Tls(authority.client, "localhost.")
    for _ in range(3):
        received.write(client.to_send())
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
        client.decrypt(to_send.read())
    assert (client.established, names) == (True, ["localhost"])


def test_W14_a_name_that_no_certificate_has_is_an_error_of_the_connection() -> None:
    assert isinstance(Tls(authority().client, ".test").end, ValueError)


def test_both_sides_say_goodbye() -> None:
    client, server = met()
    client.part()
    server.answer(client.to_send())
    assert server.tls.read() == b""
    assert client.decrypt(server.closes()) == b""
    assert client.end == ""


def test_data_and_goodbye_after_ours_end_it() -> None:
    client, server = met()
    client.part()
    assert client.decrypt(server.says(b"late") + server.closes()) == b"late"
    assert client.end == ""


@pytest.fixture
def no_context() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tls, "_cached", None)
        yield


@pytest.mark.usefixtures("no_context")
def test_the_default_context_is_looked_up_in_a_worker_thread_where_files_may_not_be_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, paths = default_context(), ssl.get_default_verify_paths
    here = threading.get_ident()

    def paths_in_a_worker() -> ssl.DefaultVerifyPaths:
        if threading.get_ident() == here:
            raise RuntimeError("os.stat blocks")  # as blockbuster does
        return paths()

    monkeypatch.setattr(ssl, "get_default_verify_paths", paths_in_a_worker)
    assert cached_context() is None
    with ThreadPoolExecutor(1) as workers:
        assert workers.submit(default_context).result() is context


@pytest.mark.usefixtures("no_context")
def test_there_is_one_default_context_for_the_process() -> None:
    assert cached_context() is None
    context = default_context()
    assert cached_context() is default_context() is context


@pytest.mark.usefixtures("no_context")
def test_another_certificate_store_makes_another_context(monkeypatch: pytest.MonkeyPatch) -> None:
    context = default_context()
    monkeypatch.setenv("SSL_CERT_DIR", "/")
    assert cached_context() is None
    assert default_context() is not context


@pytest.mark.usefixtures("no_context")
def test_a_context_without_any_authority_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", "/there is none")
    monkeypatch.setenv("SSL_CERT_FILE", "/there is none")
    assert not default_context().cert_store_stats()["x509_ca"]
    assert cached_context() is None


class Injected(ssl.SSLContext):
    """A context as truststore injects it: the operating system verifies, so that it cannot count authorities."""

    def cert_store_stats(self) -> dict[str, int]:
        raise NotImplementedError


@pytest.mark.usefixtures("no_context")
def test_a_class_of_contexts_that_replaces_pythons_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, injected = default_context(), Injected(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(ssl, "create_default_context", lambda: injected)
    monkeypatch.setattr(ssl, "SSLContext", Injected)
    assert cached_context() is None
    context = default_context()
    assert context is injected
    assert cached_context() is default_context() is context is not before


def test_a_refused_certificate_is_reported_by_a_context_that_cannot_count_authorities() -> None:
    context = Injected(ssl.PROTOCOL_TLS_CLIENT)
    client, server = Tls(context, HOST), Server()
    while client.end is None:
        client.decrypt(server.answer(client.to_send()))
    assert isinstance(client.end, ConnectionUnsafe)
    assert client.end.authorities is None
