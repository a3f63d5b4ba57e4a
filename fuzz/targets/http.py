"""The answers of an auth endpoint.

For any bytes that answer a request: the only exception is HttpFailed; the answer, or the failure with its
text, is the same however the bytes were split; head and body are within their limits; the answer becomes an
authorization with an `auth`, or an AuthorizationError; the text of the error quotes nothing of the JSON object of a 2xx
answer; and a connection that counts as reusable carries the next request.
"""

from __future__ import annotations

from fuzz.source import Source, splits
from pusher_proto import AuthEndpoint, AuthorizationError, AuthResponse
from pusher_proto._auth.endpoint_format import read_answer
from pusher_proto._wire.http import HttpConnection, HttpFailed, HttpRequest, HttpResponse

__all__ = ["fuzz_one"]

HEAD, BODY = 300, 200
REQUEST = HttpRequest("/auth", "auth.test", (), b"socket_id=1.1")
ENDPOINT = AuthEndpoint("http://auth.test/auth")
CHANNELS = ("private-a", "presence-a", "private-encrypted-a", None)


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte that chooses the channel, or the sign-in, then the received bytes."""
    source = Source(data)
    channel = source.one_of(CHANNELS)
    stream = source.rest()
    whole = _answer([stream])
    for pieces in splits(stream):
        assert _answer(pieces) == whole, "splitting changed the answer"
    authorization = read_answer(
        ENDPOINT, channel, HttpFailed(whole) if isinstance(whole, str) else whole
    )
    if isinstance(authorization, AuthorizationError):
        if isinstance(whole, HttpResponse) and 200 <= whole.status < 300 and b"<" not in whole.body:
            # The error shows text before and after the object: PHP's notices, a stray "0".
            begin, end = whole.body.find(b"{"), whole.body.rfind(b"}")
            if b"hunter2" not in whole.body[:begin] + whole.body[end + 1 :]:
                assert "hunter2" not in f"{authorization} {authorization.body}"
        assert len(str(authorization)) < 1000
    else:
        assert isinstance(authorization, AuthResponse)
        assert authorization.auth
        assert authorization.auth.partition(":")[2] in (
            "",
            "***",
        ) or authorization.auth not in repr(authorization)


def _answer(pieces: list[bytes]) -> HttpResponse | str:
    connection = HttpConnection(max_head=HEAD, max_body=BODY)
    connection.send(REQUEST)
    try:
        for piece in pieces:
            # Empty data would mean the end of the stream.
            if not piece:
                continue
            answer = connection.receive_data(piece)
            assert len(connection._body) <= BODY
            if answer is not None:
                assert len(answer.body) <= BODY
                if connection.reusable:
                    assert connection.send(REQUEST).endswith(REQUEST.body)
                return answer
        answer = connection.receive_data(b"")
        return answer if answer is not None else "the end was not seen"
    except HttpFailed as failed:
        assert len(str(failed)) < 200
        return str(failed)
