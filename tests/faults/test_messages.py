"""Messages and frames that are invalid, or arrive at the wrong time. The next event is delivered after each."""

from __future__ import annotations

import json
import random
from itertools import product
from typing import Any

import pytest

from faults.conversation import (
    CHANNELS,
    PATIENT_DELAY,
    SUCCEEDED,
    assert_kept,
    assert_returns,
    confirm,
    listening,
    lost,
    messages,
    pings,
    violations,
)
from proto.scripted import Script, forgetful, message, upgraded
from proto.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Pieces,
    close,
    frame,
    in_any_pieces,
)
from pusher_proto import (
    AuthResponse,
    CacheMiss,
    ChannelEvent,
    ChannelState,
    Event,
    MemberAdded,
    MemberRemoved,
    OwnKey,
    ProtocolViolation,
    SignedIn,
    SignInFailed,
    SubscriptionCount,
    SubscriptionFailed,
    WatchlistOnline,
)

ROOM = "room"
PRESENCE = "presence-room"


def assert_no_message(text: bytes, reason: str = "") -> None:
    """This text is reported as no message, briefly, and the connection is kept."""
    script = listening().text(text)
    (wrong,) = script.take()
    assert isinstance(wrong, ProtocolViolation)
    assert wrong.reason.startswith(f"not a message: {reason}")
    assert len(wrong.excerpt) <= 128
    assert len(wrong.reason) <= 200
    assert_kept(script)


@pytest.mark.parametrize("text", [b"", b"rubbish", b"{", b'{"event":}', b"<html>" * 1000])
def test_M1_text_that_is_not_JSON_arrives(text: bytes) -> None:
    """It is reported by a `ProtocolViolation` that shows at most 128 characters of it, and the connection is kept."""
    assert_no_message(text)


@pytest.mark.parametrize("text", [b"[]", b'"s"', b"null", b"42", b"true", b"{}", b'{"event":1}'])
def test_M2_JSON_that_is_not_a_message(text: bytes) -> None:
    """It is reported by a `ProtocolViolation`, and the connection is kept."""
    assert_no_message(text)


def test_M4_JSON_arrives_nested_a_hundred_thousand_levels_deep() -> None:
    """More than 512 levels are refused, the same on every interpreter; the connection is kept. In a string of data
    they are not JSON, and the data stays text."""
    nested = "[" * 100_000 + "]" * 100_000
    text = b'{"event":"ev","channel":"room","data":%s}' % nested.encode()
    assert_no_message(text, "nested more than 512 levels deep")
    script = listening().send("ev", nested, ROOM)
    assert messages(script) == [(ROOM, nested)]
    assert_kept(script)


def test_M6_a_number_of_five_thousand_digits_arrives() -> None:
    """It is refused as a message and inside one; in a string of data it stays text."""
    digits = "9" * 5000
    assert_no_message(digits.encode())
    assert_no_message(b'{"event":"ev","channel":"room","data":%s}' % digits.encode())
    script = listening().send("ev", digits, ROOM)
    assert messages(script) == [(ROOM, digits)]
    assert_kept(script)


@pytest.mark.parametrize(
    "text",
    [
        b'{"event":"ev","channel":"room","data":NaN}',
        b'{"event":"ev","channel":"room","data":Infinity}',
        b'{"event":"ev","channel":"room","data":1e999}',
        b'{"event":"\\ud800","channel":"room"}',
        b'\xef\xbb\xbf{"event":"ev","channel":"room"}',
        b'{"event":"ev","channel":"room","data":"\0"}',
    ],
    ids=["NaN", "infinity", "too large", "lone surrogate", "byte order mark", "NUL"],
)
def test_M7_JSON_arrives_that_the_standard_forbids(text: bytes) -> None:
    """NaN, infinities, lone surrogates, a byte order mark and a bare NUL make it no message; in a string of data they
    make it text."""
    assert_no_message(text)
    script = listening().send("ev", '{"a":NaN}', ROOM).send("ev", '"\\ud800"', ROOM)
    assert messages(script) == [(ROOM, '{"a":NaN}'), (ROOM, '"\\ud800"')]


def test_M7_a_key_is_repeated() -> None:
    """The last one counts. An escaped NUL is a character like any other."""
    script = listening()
    script.text(
        b'{"event":"no","event":"ev","channel":"room","data":"{\\"a\\":1,\\"a\\":\\"\\\\u0000\\"}"}'
    )
    (event,) = script.take()
    assert event == ChannelEvent(ROOM, "ev", '{"a":1,"a":"\\u0000"}')
    assert isinstance(event, ChannelEvent)
    assert event.data == {"a": "\0"}
    assert_kept(script)


NO_DATA: list[Any] = [None, "", "x", "null", "{}", "[]", 5, [], {}, True, {"user_id": {}}]


@pytest.mark.parametrize("data", NO_DATA)
@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("pusher_internal:member_added", "a member_added without a user_id"),
        ("pusher_internal:member_removed", "a member_removed without a user_id"),
        ("pusher_internal:subscription_count", "a subscription_count without a count"),
    ],
)
def test_M8_an_internal_event_lacks_a_field(event: str, said: str, data: Any) -> None:
    """The event is reported and nothing else changes."""
    script = in_presence("me", "b")
    before = script.session.channel(PRESENCE)
    script.send(event, data, PRESENCE)
    assert violations(script) == [said]
    assert script.session.channel(PRESENCE) == before
    assert_kept(script, PRESENCE)


def test_M10_a_binary_message_arrives() -> None:
    """The protocol has no binary messages: it is reported and dropped, and the connection is kept."""
    script = listening().receive(frame(b"\x00\xff", BINARY))
    assert violations(script) == ["a binary message of 2 bytes: the protocol has none"]
    assert_kept(script)


def assert_closed(bytes_: bytes, code: int, pieces: Pieces) -> None:
    """These bytes make the client close with `code` and come back, however they are split."""
    script = listening()
    for piece in pieces(bytes_):
        script.receive(piece)
    closes = [act for act in script.acts() if isinstance(act, tuple)]
    assert [act[:2] for act in closes] == [("close", code)]
    assert lost(script, PATIENT_DELAY).code == code
    assert_returns(script)


@in_any_pieces
@pytest.mark.parametrize(
    "wrong",
    [
        frame(b"\xff"),
        frame(message("ev", "x", ROOM)[:-1] + b"\xc3"),
        frame(b'{"\xc3', fin=False) + frame(b"(", CONTINUATION, fin=False),
        frame(b"\xed\xa0\x80"),
        frame(b"\xff", length=100_000),
    ],
)
def test_M11_text_is_not_valid_UTF8(wrong: bytes, pieces: Pieces) -> None:
    """The connection is closed with 1007 as soon as the text is certainly invalid; the next attempt follows after a
    second or two.
    """
    assert_closed(wrong, 1007, pieces)


@in_any_pieces
@pytest.mark.parametrize(
    "wrong",
    [
        *(frame(b"", opcode) for opcode in (0x3, 0x7, 0xB, 0xF)),
        *(frame(b"{}", rsv=rsv) for rsv in (1, 2, 4)),
    ],
)
def test_M12_a_frame_arrives_with_reserved_bits_or_opcodes(wrong: bytes, pieces: Pieces) -> None:
    """The connection is closed with 1002; the next attempt follows after a second or two."""
    assert_closed(wrong, 1002, pieces)


@in_any_pieces
def test_M13_a_masked_frame_arrives(pieces: Pieces) -> None:
    """The connection is closed with 1002; the next attempt follows after a second or two."""
    assert_closed(frame(b"{}", masked=True), 1002, pieces)


@in_any_pieces
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(b"x" * 126, PING), 1002),
        (frame(b"x", PING, fin=False), 1002),
        (frame(b"x", CLOSE), 1002),
        *((close(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 5000)),
        (close(1000, b"\xff"), 1007),
        (frame(b"x", CONTINUATION), 1002),
        (frame(b"x", fin=False) + frame(b"y", TEXT), 1002),
        (frame(b"x", width=2), 1002),
    ],
)
def test_M14_a_malformed_control_frame_arrives(wrong: bytes, code: int, pieces: Pieces) -> None:
    """The connection is closed with 1002, or with 1007 for invalid text; the next attempt follows after a second or
    two.
    """
    assert_closed(wrong, code, pieces)


@pytest.mark.parametrize("said", ["missing", "0", "-5", '"1"', "1e999", "null", "true", "[]", "{}"])
def test_M15_the_activity_timeout_is_invalid(said: str, caplog: pytest.LogCaptureFixture) -> None:
    """The default is used, a warning is logged once, and no ping is sent early."""
    field = f',"activity_timeout":{said}' if said != "missing" else ""
    script = upgraded()
    script.send("pusher:connection_established", '{"socket_id":"1.1"' + field + "}")
    assert len([r for r in caplog.records if "activity_timeout is invalid" in r.message]) == 1
    forgetful(script).wait(119)
    assert pings(script) == 0
    script.wait(2)
    assert pings(script) == 1


def test_M17_data_arrives_as_text_or_as_a_value() -> None:
    """Text that holds JSON is decoded, other text stays text, and any other value is delivered as it is."""
    script = listening()
    for data in ("plain", '{"a":1}', {"a": 1}, [1], 5, None):
        script.send("ev", data, ROOM)
    assert [data for _, data in messages(script)] == ["plain", {"a": 1}, {"a": 1}, [1], 5, None]


@pytest.mark.parametrize("channel", ["never-wanted", "left", ROOM])
def test_M18_a_subscription_is_confirmed_without_a_request(channel: str) -> None:
    """The confirmation is ignored, whether the channel was never subscribed, was unsubscribed, or is subscribed
    already.
    """
    script = listening("left", *CHANNELS)
    script.do(script.session.unsubscribe, "left")
    forgetful(script)
    confirm(script, channel)
    assert script.take() == []
    assert script.acts() == []
    assert script.session.channels() == CHANNELS
    assert_kept(script)


def in_presence(*ids: str) -> Script:
    """Return a script that is on the presence channel as the first of these."""
    script = Script().connect().greet()
    script.subscribe(PRESENCE, auth=AuthResponse("key:x", json.dumps({"user_id": ids[0]})))
    roster = {"ids": ids, "hash": dict.fromkeys(ids), "count": len(ids)}
    script.send(SUCCEEDED, json.dumps({"presence": roster}), PRESENCE)
    return forgetful(script)


def change(script: Script, kind: str, user_id: str) -> None:
    data = json.dumps({"user_id": user_id, "user_info": {"of": user_id}})
    script.send(f"pusher_internal:member_{kind}", data, PRESENCE)


def test_M19_members_join_and_leave_twice_or_unknown() -> None:
    """The roster equals the server's after every step; only actual changes are emitted."""
    pick = random.Random(1)
    script, there = in_presence("me"), {"me"}
    for _ in range(2000):
        user_id = str(pick.randrange(20))
        added = pick.random() < 0.5
        changes = (user_id not in there) if added else (user_id in there)
        change(script, "added" if added else "removed", user_id)
        (there.add if added else there.discard)(user_id)
        kind: type[Event] = MemberAdded if added else MemberRemoved
        assert [type(event) for event in script.take()] == [kind] * changes
        assert set(script.session.channel(PRESENCE).members) == there


@pytest.mark.parametrize("hash_", [None, [], {}, "x"])
def test_M19_a_roster_arrives_without_infos_or_me(hash_: Any) -> None:
    """The ids are the members, without infos; a user who is not among them is not a member, `me` included."""
    script = in_presence("me")
    script.eof().retry().greet()
    presence = {"ids": ["a", "b"], "hash": hash_, "count": 2}
    script.send(SUCCEEDED, json.dumps({"presence": presence}), PRESENCE)
    channel = script.session.channel(PRESENCE)
    assert channel.state is ChannelState.SUBSCRIBED
    assert list(channel.members) == ["a", "b"]
    assert channel.me is None


def test_M19_a_roster_of_ten_thousand_arrives() -> None:
    """All of them are members."""
    script = in_presence(*map(str, range(10_000)))
    channel = script.session.channel(PRESENCE)
    assert len(channel.members) == channel.server_count == 10_000


@pytest.mark.parametrize(
    "event", ["pusher:subscription_error", "pusher_internal:subscription_error"]
)
def test_M19_a_channel_is_refused(event: str) -> None:
    """The channel fails, with the server's status, and other channels are not affected."""
    script = listening().subscribe("private-other")
    script.take()
    script.send(event, {"type": "AuthError", "error": "no", "status": 401}, "private-other")
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert (failed.channel, failed.error.code) == ("private-other", 401)
    assert failed.retry_in is None
    assert_kept(script)


def test_M19_a_count_or_a_cache_miss_arrives() -> None:
    """Each is an event of its channel; for other channels they are ignored."""
    script = listening(ROOM, "cache-room")
    for channel in (ROOM, "unknown"):
        script.send("pusher_internal:subscription_count", '{"subscription_count":7}', channel)
    for channel in ("cache-room", "unknown"):
        script.send("pusher:cache_miss", None, channel)
    assert script.take() == [SubscriptionCount(ROOM, 7), CacheMiss("cache-room")]
    assert script.session.channel(ROOM).subscription_count == 7
    assert_kept(script, ROOM, "cache-room")


def test_M20_an_event_arrives_for_an_unsubscribed_channel() -> None:
    """It is dropped, also before the server has received the unsubscribe."""
    script = listening()
    script.do(script.session.unsubscribe, ROOM).take()
    script.send("ev", "1", ROOM)
    assert script.take() == []
    assert_kept(script, "private-room")


class Server:
    """The state of one channel at a server, which carries out one message at a time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.subscribed = False

    def step(self, script: Script) -> None:
        """Do the next thing that was asked, if there is one."""
        self.receive(script)
        if self.asked:
            asked = self.asked.pop(0)
            if asked == "pusher:subscribe":
                assert not self.subscribed, "subscribed twice"
                self.subscribed = True
                confirm(script, ROOM)
            else:
                self.subscribed = False
        self.receive(script)

    def receive(self, script: Script) -> None:
        self.asked += [act["event"] for act in script.acts() if isinstance(act, dict)]


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_M21_subscribe_and_unsubscribe_in_every_order(length: int) -> None:
    """The last call wins, whatever the server had answered by then; the channel is never subscribed twice."""
    for steps in product("sua", repeat=length):
        script, server = listening("other"), Server()
        for step in steps:
            match step:
                case "s":
                    script.subscribe(ROOM)
                case "u":
                    script.do(script.session.unsubscribe, ROOM)
                case _:
                    server.step(script)
        server.receive(script)
        while server.asked:
            server.step(script)
        calls = [step for step in steps if step != "a"]
        wanted = bool(calls) and calls[-1] == "s"
        assert server.subscribed is wanted, steps
        state = script.session.channel(ROOM).state
        left = ChannelState.UNSUBSCRIBED if "s" in calls else ChannelState.IDLE
        assert state is (ChannelState.SUBSCRIBED if wanted else left), steps


def signing_in() -> Script:
    user = OwnKey("key", "a-secret-of-the-app", user={"id": "u"})
    script = listening(auth=user)
    return forgetful(script.do(script.session.signin))


@pytest.mark.parametrize("data", [None, "", "{}", {"user_data": "?"}, {"user_data": "{}"}, [], 5])
def test_M22_a_sign_in_is_confirmed_without_a_user(data: Any) -> None:
    """It is reported and counts as a failure; the sign-in is tried again on the next connection, not before."""
    script = signing_in().send("pusher:signin_success", data)
    wrong, failed = script.take()
    assert isinstance(wrong, ProtocolViolation)
    assert isinstance(failed, SignInFailed)
    script.wait(60)
    assert [act["event"] for act in script.acts()] == []
    script.eof().retry()
    forgetful(script).greet()
    assert "pusher:signin" in [act["event"] for act in script.acts() if isinstance(act, dict)]


def test_M22_a_sign_in_is_confirmed_too_late() -> None:
    """The sign-in has failed by then, after `signin_timeout`, and the confirmation still counts."""
    script = signing_in().wait(10)
    assert [type(event) for event in script.take()] == [SignInFailed]
    script.send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    assert script.take(SignedIn) == [SignedIn("u", {"id": "u"})]
    assert script.session.user.id == "u"
    assert_kept(script)


@pytest.mark.parametrize("channel", [None, ROOM, "unknown"])
@pytest.mark.parametrize("event", ["pusher:new_thing", "pusher_internal:new_thing", "new_thing"])
def test_M23_an_unknown_event_of_the_protocol_arrives(event: str, channel: str | None) -> None:
    """It is ignored, and so is an event without a recipient."""
    script = listening().send(event, '{"a":1}', channel)
    own = event == "new_thing" and channel == ROOM
    assert script.take() == ([ChannelEvent(ROOM, event, '{"a":1}')] if own else [])
    assert script.acts() == []
    assert_kept(script)


@pytest.mark.parametrize("channel", [ROOM, "unknown"])
@pytest.mark.parametrize(
    "event",
    ["pusher:ping", "pusher:pong", "pusher:connection_established", "pusher:signin_success"],
)
def test_M23_an_event_of_the_connection_arrives_on_a_channel(event: str, channel: str) -> None:
    """It is ignored, as any publisher of the channel could send it."""
    script = listening().send(
        event, '{"socket_id":"6.6","user_data":"{\\"id\\":\\"u\\"}"}', channel
    )
    assert script.take() == []
    assert script.acts() == []
    assert script.session.socket_id == "1.1"
    assert_kept(script)


def test_M24_a_watchlist_is_invalid() -> None:
    """The valid part counts, and the rest is reported once, whatever its size."""
    script = signing_in().send("pusher:signin_success", {"user_data": '{"id":"u"}'})
    script.take()
    events = [{"name": "online", "user_ids": ["a"]}, *[{}] * 20_000]
    script.send("pusher_internal:watchlist_events", {"events": events})
    online, wrong = script.take()
    assert online == WatchlistOnline(("a",))
    assert isinstance(wrong, ProtocolViolation)
    assert wrong.reason == "a watchlist event without users"
    assert_kept(forgetful(script))
