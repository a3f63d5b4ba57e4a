"""TLS for bytes that somebody else moves, against the standard library's own server side."""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cache
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pusher_anyio._tls import Tls
from pusher_proto import ConnectionUnsafe

from .scenarios import Authority

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
        self._established = False

    def answer(self, data: bytes) -> bytes:
        """Take what the client sent, and return what it is answered."""
        self._received.write(data)
        with suppress(ssl.SSLWantReadError):
            if not self._established:
                self.tls.do_handshake()
                self._established = True
        return self.to_send()

    def to_send(self) -> bytes:
        return self._to_send.read()

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
def test_a_stream_may_be_cut_off_without_a_goodbye_but_not_amid_the_handshake(
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
def test_what_is_not_tls_is_an_error_after_what_was_said(garbage: bytes) -> None:
    client, server = met()
    assert client.decrypt(server.says(b"yes") + b"\x00" + garbage) == b"yes"
    error = client.end
    assert isinstance(error, ssl.SSLError)
    assert client.decrypt(server.says(b"no")) == b""
    assert client.end is error


def test_a_server_with_a_certificate_that_is_not_good_is_told() -> None:
    client, server = Tls(ssl.create_default_context(), HOST), Server()
    client.decrypt(server.answer(client.to_send()))
    assert isinstance(client.end, ConnectionUnsafe)
    assert str(client.end).startswith(f"the certificate of {HOST} is not good: ")
    why = client.end
    client.cut_off()
    assert client.end is why
    try:
        server.answer(client.to_send())
    except ssl.SSLError as error:
        assert error.reason == "TLSV1_ALERT_UNKNOWN_CA"  # noqa: PT017 - it is the server's
    else:
        raise AssertionError("the server heard nothing")
