"""Authorizations that fail: the endpoint, the application's function, or the authorization itself.

It concerns one channel; the others live, and nothing is sent that the server would have to refuse.
"""

from __future__ import annotations

import gzip
import json
import logging
from typing import Any

import pytest

from faults.conversation import SUCCEEDED, confirm, messages
from proto.scripted import Script, connected, forgetful, message, options
from proto.test_limits import MEGABYTE, flood
from proto.websocket_peer import answer, frame
from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelState,
    CloseTransport,
    OpenTransport,
    OwnKey,
    SubscriptionFailed,
    UnsupportedFeature,
)
from pusher_proto.signing import sign_channel

URL = "http://auth.test/auth"
ROOM = "private-room"
SECRET_BODY = json.dumps({"auth": ["key:c0ffee"], "token": "c0ffee"})


def asking(endpoint: AuthEndpoint | None = None, channel: str = ROOM, **more: Any) -> Script:
    """Return a script on "other" whose request for a channel has gone to the endpoint, on transport 2."""
    script = confirm(
        connected(auth=endpoint or AuthEndpoint(URL), **more).subscribe("other"), "other"
    )
    return forgetful(script.subscribe(channel).open())


def http(status: int, body: str | bytes = b"", *headers: tuple[str, str]) -> bytes:
    body = body if isinstance(body, bytes) else body.encode()
    return answer(f"{status} X", [("Content-Length", str(len(body))), *headers], body)


def from_server(script: Script, text: bytes) -> None:
    """Let a message come on the WebSocket; the endpoint has the transports after the first."""
    script.do(script.session.receive_data, 1, frame(text))


def failure(script: Script, channel: str = ROOM) -> SubscriptionFailed:
    """Return the failure of the channel, the only new event; no subscribe was sent, and "other" is not affected."""
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert failed.channel == channel
    assert isinstance(failed.error, AuthorizationError)
    assert script.session.channel(channel).state is ChannelState.FAILED
    assert [act for act in script.acts() if isinstance(act, dict)] == []
    from_server(script, message("ev", "1", "other"))
    assert messages(script) == [("other", 1)]
    return failed


def error_of(script: Script) -> AuthorizationError:
    """Return why the channel failed: it is not tried again on this connection."""
    failed = failure(script)
    assert failed.retry_in is None
    script.wait(100)
    assert not [act for act in script.acts() if isinstance(act, OpenTransport)]
    assert isinstance(failed.error, AuthorizationError)
    return failed.error


def subscribes(script: Script) -> list[str]:
    """Return the signatures of the subscribes since the last look."""
    return [
        act["data"]["auth"]
        for act in script.acts()
        if isinstance(act, dict) and act["event"] == "pusher:subscribe"
    ]


def test_U1_the_endpoint_fails() -> None:
    """After 5xx, 408 and 429 it is asked `auth_attempts` times; then the channel has failed, and is tried again
    after a growing delay.
    """
    script = asking()
    for attempt in (1, 2, 3):
        assert script.take() == []
        script.receive(http(500, "oops")).wait(attempt if attempt < 3 else 0)
    failed = failure(script)
    assert isinstance(failed.error, AuthorizationError)
    assert failed.error.status == 500
    assert failed.retry_in is not None
    script.wait(failed.retry_in)
    forgetful(script).receive(http(200, '{"auth":"key:good"}'))
    assert subscribes(script) == ["key:good"]


@pytest.mark.parametrize("heard", [b"", answer("200 OK", [("Content-Length", "99")], b"{")])
def test_U14_the_connection_to_the_endpoint_breaks(heard: bytes) -> None:
    """The request is made again on another connection, as after a failure of the endpoint."""
    script = asking().receive(heard).eof(ConnectionResetError("reset"))
    assert script.take() == []
    script.wait(1).open().receive(http(200, '{"auth":"key:good"}'))
    assert subscribes(script) == ["key:good"]


def test_U14_a_kept_connection_to_the_endpoint_has_gone() -> None:
    """The request is made again at once on a new connection: the endpoint may have closed the idle one just then."""
    script = asking().receive(http(200, '{"auth":"key:one"}'))
    script.do(script.session.subscribe, "private-two")
    assert script.transport == 2
    script.eof().open().receive(http(200, '{"auth":"key:two"}'))
    assert script.transport == 3
    assert subscribes(script) == ["key:one", "key:two"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 419, 422])
def test_U2_the_endpoint_refuses(status: int) -> None:
    """After any other 4xx the channel has failed at once, with the status, until the next connection."""
    error = error_of(asking().receive(http(status, "no")))
    assert (error.status, error.body) == (status, "no")


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("<html><h1>Log in</h1>" + "x" * 1000, "answered with a page, not with JSON"),
        ("", "cannot be read"),
        ("no JSON", "cannot be read"),
        ("[]", "answered with list"),
        ("null", "answered with NoneType"),
        ('"key:c0ffee"', "answered with str"),
    ],
)
def test_U3_the_endpoint_answers_no_JSON_object(body: str, wrong: str) -> None:
    """The error shows the start of the answer; nothing is sent to the server."""
    error = error_of(asking().receive(http(200, body)))
    assert wrong in str(error)
    assert len(error.body) <= 128
    assert "c0ffee" not in f"{error}{error.body}"


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        answer("101 Switching Protocols", [("Upgrade", "h2c"), ("Connection", "Upgrade")]),
        b"HTTP/1.1 099 X\r\n\r\n",
        answer("200 OK", [("Content-Length", "2"), ("Content-Length", "3")]),
        answer("200 OK", [("Content-Length", "-2")]),
        answer("200 OK", [("Transfer-Encoding", "gzip, chunked")]),
        answer("200 OK", [("Transfer-Encoding", "chunked")], b"f" * 30 + b"\r\n"),
        answer("200 OK", [("X", "a\0b")]),
    ],
)
def test_U3_the_endpoint_answers_no_HTTP(rubbish: bytes) -> None:
    """The connection is dropped, and the request is made again on another one, as after a failure of the network."""
    script = asking().receive(rubbish)
    assert script.acts() == [CloseTransport(2, abort=True)]
    script.wait(1).open().receive(http(200, '{"auth":"key:good"}'))
    assert subscribes(script) == ["key:good"]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("{}", "has no `auth`"),
        ('{"auth":""}', "has no `auth`"),
        ('{"auth":null,"channel_data":"{}"}', "has no `auth`"),
        (SECRET_BODY, "`auth` in the answer of the auth endpoint is not a string"),
        ('{"auth":"key:c0ffee","channel_data":{}}', "`channel_data` in the answer"),
        ('{"auth":"key:c0ffee","shared_secret":5}', "`shared_secret` in the answer"),
    ],
)
def test_U4_the_endpoint_answers_no_authorization(body: str, wrong: str) -> None:
    """The error names the field and quotes nothing from the answer; nothing is sent to the server."""
    error = error_of(asking().receive(http(200, body)))
    assert wrong in str(error)
    assert "c0ffee" not in f"{error}{error.body}"


def test_U5_the_endpoint_never_answers() -> None:
    """Other channels are subscribed at once; this one fails after `auth_timeout` and is tried again after a delay."""
    script = asking()
    script.wait(9.99).subscribe("third")
    from_server(script, message(SUCCEEDED, "{}", "third"))
    assert script.session.channel("third").state is ChannelState.SUBSCRIBED
    forgetful(script).wait(0.02)
    failed = failure(script)
    assert str(failed.error) == "the auth endpoint did not answer within 10 s"
    assert failed.retry_in is not None
    script.wait(failed.retry_in).open().receive(http(200, '{"auth":"key:good"}'))
    assert subscribes(script) == ["key:good"]


def test_U6_an_authorization_arrives_after_the_connection_was_replaced() -> None:
    """It is dropped: a new one is requested, and only the new one is sent, once."""
    script = forgetful(connected(auth=None).subscribe(ROOM))
    script.eof().retry().greet({"socket_id": "2.2", "activity_timeout": 120})
    (old,) = (effect.request for effect in script.asked)
    script.do(script.session.authorized, old, AuthResponse("key:old"))
    assert [effect.details.socket_id for effect in script.asked] == ["1.1", "2.2"]
    new = script.asked[1].request
    assert subscribes(script) == []
    script.do(script.session.authorized, new, AuthResponse("key:new"))
    script.do(script.session.authorized, old, AuthResponse("key:old"))
    assert subscribes(script) == ["key:new"]


@pytest.mark.parametrize("end", ["unsubscribe", "disconnect", "close"])
def test_U6b_an_authorization_arrives_after_unsubscribe(end: str) -> None:
    """After unsubscribe, disconnect and close it is dropped: nothing is subscribed."""
    script = connected(auth=None).subscribe(ROOM)
    given = [ROOM] if end == "unsubscribe" else []
    script.do(getattr(script.session, end), *given)
    script.do(script.session.authorized, script.asked[0].request, AuthResponse("key:late"))
    assert subscribes(script) == []
    script.do(script.session.authorization_failed, script.asked[0].request, OSError("late"))
    assert script.take(SubscriptionFailed) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://elsewhere.test/x?token=c0ffee", "/login", ""])
def test_U7_the_endpoint_redirects(status: int, location: str) -> None:
    """The redirect is not followed: no header and no field of the request is sent elsewhere. The error says so and
    names the target, without its query.
    """
    script = asking(AuthEndpoint(URL, headers={"Authorization": "Bearer c0ffee"}))
    script.receive(http(status, b"", ("Location", location)))
    error = error_of(script)
    assert error.status == status
    assert "redirects are not followed" in str(error)
    assert "c0ffee" not in f"{error!r}{error.body}"
    assert script.transport == 2


@pytest.mark.parametrize(
    "start", [answer("200 OK", []), answer("200 OK", [("Content-Length", "200000000")])]
)
def test_U8_the_endpoint_answers_with_200_megabytes(start: bytes) -> None:
    """It is refused past `max_auth_body` (64 KiB), and the rest is not kept."""
    script = asking(auth_attempts=1)
    script.answers = False  # the driver has not closed yet, and still reads
    peak = flood(script, start, b"x", 200 * MEGABYTE, transport=2)
    assert peak.value < 5 * MEGABYTE
    assert CloseTransport(2, abort=True) in script.acts()
    assert str(failure(script).error) == "the auth endpoint: the answer is larger than 65536 bytes"


def test_U8_the_endpoint_answers_compressed() -> None:
    """The client did not ask for compression, so the bytes are used unchanged, and are not JSON: a decompression
    bomb has no effect.
    """
    bomb = gzip.compress(bytes(10 * MEGABYTE))
    script = asking().receive(http(200, bomb, ("Content-Encoding", "gzip")))
    assert "cannot be read" in str(error_of(script))


def test_U8_the_answer_of_the_endpoint_drips() -> None:
    """`auth_timeout` limits the time of the whole answer."""
    script = asking().receive(answer("200 OK", [("Content-Length", "1000")]))
    for _ in range(9):
        script.wait(1).receive(b" ")
        assert script.take() == []
    script.wait(1)
    assert str(failure(script).error) == "the auth endpoint did not answer within 10 s"


@pytest.mark.parametrize(
    ("outcome", "reported", "again"),
    [
        (RuntimeError("boom"), "the authorizer raised: RuntimeError: boom", False),
        (OSError("no route"), "the authorizer raised: OSError: no route", True),
        (None, "an authorizer returns an AuthResponse, not NoneType", False),
        ("key:c0ffee", "an authorizer returns an AuthResponse, not str", False),
        ({"auth": "key:c0ffee"}, "an authorizer returns an AuthResponse, not dict", False),
        (AuthResponse(""), "the authorization has no `auth`", False),
        (AuthResponse(5), "the authorization has a `auth` of type int", False),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_U9_the_authorizer_is_wrong(outcome: Any, reported: str, again: bool) -> None:
    """The exception or the wrong value is in the error of the channel; after a network error the authorizer is
    called again.
    """
    script = confirm(connected(auth=None).subscribe("other"), "other")
    forgetful(script.subscribe(ROOM))
    (asked,) = script.asked
    failed_ = isinstance(outcome, Exception)
    give = script.session.authorization_failed if failed_ else script.session.authorized
    failed = failure(script.do(give, asked.request, outcome))
    assert str(failed.error).startswith(reported)
    assert "c0ffee" not in str(failed.error)
    assert (failed.retry_in is not None) is again


def test_U9_the_authorizer_never_returns() -> None:
    """The channel fails after `auth_timeout` and is tried again; an answer an hour later is dropped."""
    script = confirm(connected(auth=None).subscribe("other"), "other")
    forgetful(script.subscribe(ROOM)).wait(10)
    failed = failure(script)
    assert str(failed.error) == "the authorizer did not answer within 10 s"
    assert failed.retry_in is not None
    script.send("pusher:ping").wait(100)
    late = script.asked[0].request
    forgetful(script).do(script.session.authorized, late, AuthResponse("key:late"))
    assert subscribes(script) == []


@pytest.mark.parametrize("named", [True, False])
def test_U10_an_authorization_is_for_another_channel(named: bool) -> None:
    """The server refuses it: the refusal is reported, and the channel is not tried again on this connection."""
    script = forgetful(connected(auth=None).subscribe(ROOM))
    script.do(script.session.authorized, script.asked[0].request, AuthResponse("key:for-another"))
    assert subscribes(script) == ["key:for-another"]
    data = {"code": 4009, "message": "Invalid signature"}
    script.send("pusher:error", data, **({"channel": ROOM} if named else {}))
    if not named:
        script.send("pusher:pong")
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert failed.channel == ROOM
    assert failed.retry_in is None
    script.wait(110)
    assert len(script.asked) == 1
    assert subscribes(script) == []


def test_U11_an_authorization_is_for_another_app(caplog: pytest.LogCaptureFixture) -> None:
    """A warning is logged, without the signature, and the authorization is sent as it is."""
    script = forgetful(connected(auth=AuthResponse("another:c0ffee")))
    with caplog.at_level(logging.DEBUG):
        script.subscribe(ROOM)
    assert "has another app key than this client" in caplog.text
    assert "c0ffee" not in caplog.text
    assert subscribes(script) == ["another:c0ffee"]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://auth.test/", "//auth.test/", "/auth", "http:///x", "http://"],
)
def test_U12_the_URL_of_the_endpoint_leads_nowhere(url: str) -> None:
    """Anything but an absolute http or https URL with a host is refused when the options are made."""
    with pytest.raises((UnsupportedFeature, ValueError)):
        AuthEndpoint(url)


def test_U12_the_URL_of_the_endpoint_has_a_password() -> None:
    """It is sent in a header of the request and never shown. Any host is allowed."""
    endpoint = AuthEndpoint("http://me:c0ffee@169.254.169.254/auth")
    script = connected(auth=endpoint).subscribe(ROOM).open()
    assert script.acts()[0] == OpenTransport(2, "169.254.169.254", 80, False)
    request = script.streams[2].sent
    assert b"\r\nAuthorization: Basic bWU6YzBmZmVl\r\n" in request
    assert b"c0ffee" not in request
    assert "c0ffee" not in f"{endpoint!r}{options(auth=endpoint)!r}"


@pytest.mark.parametrize(
    ("socket_id", "channel"),
    [
        ("1.1:private-x", ROOM),
        ("1.1\n", ROOM),
        ("\u0661.\u0661", ROOM),
        ("", ROOM),
        ("1.1", "private-a\r\nb"),
        ("1.1", "private-" + "x" * 201),
        ("1.1", "private-a:b"),
        ("1.1", ""),
    ],
)
def test_U13_the_application_signs_malformed_names(socket_id: str, channel: str) -> None:
    """A socket id that no server issues, and a channel name that is not allowed, are refused before signing: a
    signature for one thing can never serve for another."""
    with pytest.raises(ValueError):
        sign_channel("key", "secret", socket_id, channel)
    with pytest.raises(ValueError):
        OwnKey("key", "secret").authorization(AuthRequest(socket_id, channel))
