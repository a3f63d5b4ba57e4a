"""Subscriptions that are made again on the same connection, and what a client does at a server of several nodes."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.scripted import Script, connected, forgetful
from pusher_proto import (
    CacheMiss,
    ChannelEvent,
    ChannelState,
    CloseTransport,
    ConnectionEstablished,
    ConnectionState,
    Member,
    MemberAdded,
    MemberRemoved,
    NotSubscribed,
    OpenTransport,
    Options,
    OwnKey,
    ServerError,
    Subscribed,
    UnsupportedFeature,
)
from pusher_proto._connection.ledger import Ledger, RequestKind
from pusher_proto._protocol.failures import Cause, delay_after, step_after

ROOM = "presence-room"
PING = {"event": "pusher:ping", "data": {}}
ADDED, REMOVED = "pusher_internal:member_added", "pusher_internal:member_removed"


def options(**more: Any) -> Options:
    auth = OwnKey("key", "secret", member={"user_id": "me"}, master_key=bytes(32))
    return Options.for_sockudo("ws.test", key="key", tls=False, auth=auth, **more)


def success(script: Script, *channels: str, ids: list[str] | None = None) -> Script:
    for channel in channels:
        presence = {"presence": {"ids": ids or ["me"], "hash": {}, "count": 1}}
        data = presence if channel.startswith("presence-") else {}
        script.send("pusher_internal:subscription_succeeded", json.dumps(data), channel)
    return script


def on(*channels: str, **more: Any) -> Script:
    script = connected(options(**more)).subscribe(*channels)
    return forgetful(success(script, *channels))


def sent(script: Script) -> list[tuple[str, str | None]]:
    """Return event and channel of each message that the client sent."""
    return [(act["event"][7:], (act.get("data") or {}).get("channel")) for act in script.frames()]


# Old messages and new ones.


def test_C2_a_second_subscribe_on_a_connection_has_a_ping_before_it_and_ignores_what_is_older() -> (
    None
):
    script = on(ROOM)
    script.do(script.session.unsubscribe, ROOM).subscribe(ROOM)
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    script.send(ADDED, {"user_id": "old"}, ROOM)
    script.send("pusher:pong").send(ADDED, {"user_id": "new"}, ROOM)
    success(script, ROOM)
    assert list(script.session.channel(ROOM).members) == ["me", "new"]


def test_C2_another_pong_does_not_open_the_list() -> None:
    script = on(ROOM)
    script.do(script.session.ping).do(script.session.unsubscribe, ROOM).subscribe(ROOM)
    script.send("pusher:pong").send(ADDED, {"user_id": "old"}, ROOM)
    script.send("pusher:pong").send(ADDED, {"user_id": "new"}, ROOM)
    success(script, ROOM)
    assert list(script.session.channel(ROOM).members) == ["me", "new"]


def test_C2_leaving_and_joining_in_quick_succession_keeps_what_belongs_to_the_last_subscribe() -> (
    None
):
    script = on(ROOM)
    for _ in range(2):
        script.do(script.session.unsubscribe, ROOM).subscribe(ROOM)
        success(script, ROOM)
    forgetful(script)
    script.do(script.session.unsubscribe, ROOM)
    script.send("pusher:pong").send("pusher:pong").subscribe(ROOM)
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    script.send(ADDED, {"user_id": "old"}, ROOM).send("pusher:pong")
    success(script, ROOM)
    assert list(script.session.channel(ROOM).members) == ["me"]


def test_C2_a_subscribe_that_was_refused_is_repeated_behind_the_same_ping() -> None:
    script = on(ROOM)
    script.do(script.session.unsubscribe, ROOM).subscribe(ROOM)
    forgetful(script).send("pusher:subscription_error", {"error": "no"}, ROOM)
    script.subscribe(ROOM)
    assert sent(script) == [("subscribe", ROOM)]
    script.send("pusher:pong").send(ADDED, {"user_id": "new"}, ROOM)
    success(script, ROOM)
    assert list(script.session.channel(ROOM).members) == ["me", "new"]


def test_C2_a_channel_that_was_refused_and_left_is_forgotten_by_the_pong() -> None:
    script = on(ROOM)
    script.do(script.session.unsubscribe, ROOM).subscribe(ROOM)
    script.send("pusher:subscription_error", {"error": "no"}, ROOM)
    script.do(script.session.unsubscribe, ROOM).send("pusher:pong")
    forgetful(script).subscribe(ROOM)
    assert sent(script) == [("subscribe", ROOM)]


def test_C2_a_new_connection_forgets_what_was_left_on_the_one_before() -> None:
    script = on(ROOM)
    script.do(script.session.unsubscribe, ROOM)
    script.eof("reset").retry()
    forgetful(script.greet()).subscribe(ROOM)
    assert sent(script) == [("subscribe", ROOM)]


def test_C2_no_more_channels_are_remembered_than_there_may_be() -> None:
    script = on("presence-a", max_channels=1)
    script.do(script.session.unsubscribe, "presence-a")
    for channel in ("presence-b", "presence-a"):
        success(script.subscribe(channel), channel)
        script.do(script.session.unsubscribe, channel)
    assert sent(script) == [
        ("unsubscribe", "presence-a"),
        ("subscribe", "presence-b"),
        ("unsubscribe", "presence-b"),
        ("ping", None),
        ("subscribe", "presence-a"),
        ("unsubscribe", "presence-a"),
    ]


def test_a_pong_that_was_not_requested_is_not_counted() -> None:
    ledger = Ledger(in_order=True)
    ledger.answered(RequestKind.PING)
    ledger.sent(RequestKind.PING)
    assert (ledger.pings, ledger.pongs) == (1, 0)
    ledger.answered(RequestKind.PING)
    assert (ledger.pings, ledger.pongs) == (1, 1)


# Renewed.


def test_C3_the_own_removal_is_answered_by_leaving_and_joining_once_a_connection() -> None:
    script = on(ROOM)
    script.send(REMOVED, {"user_id": "me"}, ROOM).wait(0.5)
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    assert script.take() == []
    success(script.send("pusher:pong"), ROOM, ids=["me", "eve"])
    assert script.take() == [Subscribed(ROOM, 0.5), MemberAdded(ROOM, Member("eve"))]
    script.send(REMOVED, {"user_id": "me"}, ROOM)
    forgetful(script.wait(60))
    script.send(REMOVED, {"user_id": "me"}, ROOM)
    assert (sent(script), script.take()) == ([], [])
    assert script.session.channel(ROOM).me == Member("me")


def test_C3_a_client_that_is_missing_on_its_own_list_joins_again() -> None:
    script = connected(options()).subscribe(ROOM)
    forgetful(success(script, ROOM, ids=["eve"]))
    script.send(REMOVED, {"user_id": "me"}, ROOM)
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]


def test_C1_an_error_that_a_channel_is_not_subscribed_wakes_it_and_is_a_gap() -> None:
    script = on("private-room")
    script.wait(5)
    script.do(script.session.trigger, "private-room", "client-x", {})
    forgetful(script)
    text = "Client event error: Socket 1.1 is not subscribed to channel private-room"
    script.error(4301, text)
    assert sent(script) == [("unsubscribe", "private-room"), ("subscribe", "private-room")]
    assert script.take() == [ServerError(4301, text, "private-room")]
    success(script.wait(1), "private-room")
    assert script.take() == [Subscribed("private-room", 6.0)]
    # A server that repeats the refusal is not asked again at once.
    script.do(script.session.trigger, "private-room", "client-x", {})
    forgetful(script).error(4301, text)
    assert sent(script) == []
    script.wait(30).error(4301, text)
    assert ("subscribe", "private-room") in sent(script)


@pytest.mark.parametrize("text", ["Rate limit exceeded", "The app has no client events"])
def test_C1_another_4301_leaves_the_subscription_as_it_is(text: str) -> None:
    script = on("private-room")
    script.do(script.session.trigger, "private-room", "client-x", {})
    forgetful(script).send("pusher:error", {"code": 4301, "message": text}, "private-room")
    assert ("subscribe", "private-room") not in sent(script)
    assert script.session.channel("private-room").state is ChannelState.SUBSCRIBED


def test_C4_members_are_refreshed_by_leaving_and_joining() -> None:
    script = on(ROOM)
    script.send(ADDED, {"user_id": "ghost"}, ROOM)
    forgetful(script)
    script.do(script.session.refresh_members, ROOM)
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    success(script.send("pusher:pong").wait(0.2), ROOM, ids=["me", "new"])
    subscribed, *differences = script.take()
    assert isinstance(subscribed, Subscribed)
    assert subscribed.offline_for == pytest.approx(0.2)
    assert differences == [
        MemberRemoved(ROOM, Member("ghost")),
        MemberAdded(ROOM, Member("new")),
    ]


@pytest.mark.parametrize("how", ["refresh", "goodbye"])
def test_C4_a_channel_unsubscribed_on_a_dead_connection_was_missing_since_the_last_byte(
    how: str,
) -> None:
    """The gap begins where the silence began, not where the client unsubscribed."""
    script = on(ROOM, several_nodes=True, retry_base=0.1)
    script.send("pusher:pong").wait(20)
    if how == "refresh":
        script.do(script.session.refresh_members, ROOM)
    else:
        script.do(script.session.reconnect)
    forgetful(script.wait(0.5)).eof("reset").retry().greet()
    success(forgetful(script), ROOM)
    (subscribed,) = [event for event in script.take() if isinstance(event, Subscribed)]
    assert subscribed.offline_for is not None
    assert subscribed.offline_for > 20.5


def test_C4_only_subscribed_presence_channels_have_members_to_refresh() -> None:
    script = on("private-room")
    with pytest.raises(UnsupportedFeature, match="'private-room' has no members"):
        script.do(script.session.refresh_members, "private-room")
    with pytest.raises(NotSubscribed, match="'presence-other' is not subscribed"):
        script.do(script.session.refresh_members, "presence-other")
    script.subscribe("presence-other")
    with pytest.raises(NotSubscribed, match="call wait_subscribed"):
        script.do(script.session.refresh_members, "presence-other")
    script.end()
    script.do(script.session.refresh_members, "presence-other")


def test_C4_messages_that_contradict_a_list_are_counted_for_the_session() -> None:
    script = on(ROOM)
    script.send(ADDED, {"user_id": "a"}, ROOM)
    assert script.session.stats.roster_drifts == 0
    script.send(ADDED, {"user_id": "a"}, ROOM).send(REMOVED, {"user_id": "b"}, ROOM)
    script.do(script.session.unsubscribe, ROOM)
    assert script.session.stats.roster_drifts == 2


# Several nodes.


def back(script: Script, after: float = 0.0) -> Script:
    """Lose the connection and get another, which is greeted `after` seconds after its attempt began."""
    script.eof("reset").retry().wait(after)
    return forgetful(script.greet())


@pytest.mark.parametrize("after", [0.0, 11.0])
@pytest.mark.parametrize("channel", ["room", "private-room", "private-encrypted-room"])
def test_C1_on_several_nodes_a_subscribe_is_repeated(channel: str, after: float) -> None:
    """After a long absence too: the network that is back ends the old connection at the server in the same moment."""
    script = on(channel, several_nodes=True, retry_base=0.1)
    back(script, after)
    success(script, channel).wait(0.9)
    assert sent(script) == []
    script.wait(0.2)
    assert sent(script) == [("subscribe", channel)]
    success(script, channel).wait(10)
    assert [type(event) for event in script.take() if isinstance(event, Subscribed)] == [Subscribed]
    assert script.session.channel(channel).state is ChannelState.SUBSCRIBED
    assert sent(script) == []


def test_C1_on_several_nodes_the_first_subscribe_is_repeated_too() -> None:
    """Another client may have been the last one on the channel."""
    script = on("room", ROOM, several_nodes=True)
    assert sent(script.wait(1.1)) == [("subscribe", "room"), ("subscribe", ROOM)]


@pytest.mark.parametrize("channel", ["room", ROOM])
def test_C1_otherwise_a_subscribe_is_sent_once(channel: str) -> None:
    script = back(on(channel, retry_base=0.1))
    success(script, channel).wait(10)
    assert sent(script) == []


def test_C1_a_second_answer_on_a_presence_channel_says_that_the_first_had_no_effect() -> None:
    script = forgetful(on(ROOM, several_nodes=True).wait(1.1))
    success(script, ROOM, ids=["me", "a"])
    assert sent(script) == [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    success(script.send("pusher:pong").wait(0.2), ROOM, ids=["me", "a"])
    subscribed, difference = script.take()
    assert isinstance(subscribed, Subscribed)
    assert subscribed.offline_for == pytest.approx(1.3)
    assert difference == MemberAdded(ROOM, Member("a"))
    # A server that answers each time is not asked for ever.
    success(forgetful(script.wait(1.1)), ROOM)
    assert sent(script.wait(60)) == []


def test_C1_no_answer_to_the_second_subscribe_of_a_presence_channel_is_fine() -> None:
    script = forgetful(on(ROOM, several_nodes=True).wait(1.1))
    script.do(script.session.ping).send("pusher:pong").wait(40)
    assert script.session.channel(ROOM).state is ChannelState.SUBSCRIBED
    assert script.take() == []


def test_C3_on_several_nodes_the_own_member_joins_again_each_time_that_it_is_removed() -> None:
    script = on(ROOM, several_nodes=True)
    again = [("unsubscribe", ROOM), ("ping", None), ("subscribe", ROOM)]
    assert sent(script.send(REMOVED, {"user_id": "me"}, ROOM)) == again
    success(forgetful(script.send("pusher:pong")), ROOM)
    script.wait(5).send(REMOVED, {"user_id": "me"}, ROOM)
    forgetful(script.wait(24))
    assert sent(script.wait(2)) == again
    success(forgetful(script.send("pusher:pong")), ROOM)
    script.wait(5).send(REMOVED, {"user_id": "me"}, ROOM).eof("reset").retry()
    success(script.greet(), ROOM)
    assert ("unsubscribe", ROOM) not in sent(forgetful(script.wait(1.5)).wait(60))


@pytest.mark.parametrize("more", [{}, {"several_nodes": True}])
def test_C3_a_removal_of_the_own_member_before_the_success_reached_the_others(
    more: dict[str, Any],
) -> None:
    """On several nodes; a single node sends it to no other connection of the member."""
    script = connected(options(**more)).subscribe(ROOM)
    success(forgetful(script.send(REMOVED, {"user_id": "me"}, ROOM)), ROOM)
    assert [event for event in script.take() if isinstance(event, Subscribed)] == [Subscribed(ROOM)]
    assert (("unsubscribe", ROOM) in sent(script)) is bool(more)


@pytest.mark.parametrize("how", ["left", "lost"])
def test_C1_a_subscribe_is_not_repeated_for_a_channel_that_is_gone(how: str) -> None:
    script = back(on("room", several_nodes=True, retry_base=0.1))
    success(script, "room")
    if how == "left":
        script.do(script.session.unsubscribe, "room")
    else:
        script.eof("reset")
    forgetful(script).wait(0.4)
    script.wait(5)
    assert ("subscribe", "room") not in sent(script)


def test_C1_the_second_answer_on_a_cache_channel_brings_its_last_event_again() -> None:
    script = back(on("cache-room", several_nodes=True, retry_base=0.1))
    success(script, "cache-room").send("price", "1", "cache-room")
    forgetful(script.wait(1.1))
    success(script, "cache-room").send("price", "1", "cache-room").send("price", "2", "cache-room")
    assert [event.cached for event in script.take() if isinstance(event, ChannelEvent)] == [
        True,
        False,
    ]


def test_C1_on_several_nodes_reconnect_leaves_the_channels_first() -> None:
    script = on("room", ROOM, several_nodes=True)
    script.subscribe("private-unanswered")
    forgetful(script)
    script.do(script.session.reconnect).do(script.session.reconnect)
    assert sent(script) == [
        ("unsubscribe", "room"),
        ("unsubscribe", ROOM),
        ("unsubscribe", "private-unanswered"),
        ("ping", None),
    ]
    script.wait(0.3)
    assert script.session.state is ConnectionState.CONNECTED
    script.send("pusher:pong").wait(0)
    assert any(isinstance(act, OpenTransport) for act in script.acts())
    script.wait(0.2).greet().wait(0)
    success(script, "room")
    offline = [event.offline_for for event in script.take() if isinstance(event, Subscribed)]
    assert offline == [pytest.approx(0.5)]


def test_C1_a_server_that_does_not_answer_holds_up_a_reconnect_for_a_second() -> None:
    script = on("room", several_nodes=True)
    script.do(script.session.reconnect)
    states = [script.wait(seconds).session.state for seconds in (0.9, 0.2)]
    assert states == [ConnectionState.CONNECTED, ConnectionState.CONNECTING]


def test_C1_what_was_read_with_the_pong_still_counts() -> None:
    script = on("private-room", several_nodes=True)
    script.do(script.session.reconnect)
    text = "Client event error: Socket 1.1 is not subscribed to channel private-room"
    script.error(4301, text)
    assert ("subscribe", "private-room") not in sent(script)
    script.send("pusher:pong").send("price", "1", "private-room")
    assert [e.name for e in script.take() if isinstance(e, ChannelEvent)] == ["price"]


@pytest.mark.parametrize("more", [{}, {"several_nodes": True}])
def test_reconnect_without_channels_or_nodes_is_at_once(more: dict[str, Any]) -> None:
    script = connected(options(**more)) if more else on("room")
    script.do(script.session.reconnect)
    acts = script.acts()
    assert any(isinstance(act, OpenTransport) for act in acts)
    assert ("unsubscribe", "room") not in acts
    script.end()
    forgetful(script).do(script.session.reconnect)
    assert not any(isinstance(act, OpenTransport) for act in script.acts())


def test_disconnect_during_a_goodbye_stays_disconnected() -> None:
    script = on("room", several_nodes=True)
    script.do(script.session.reconnect).disconnect()
    forgetful(script).wait(5)
    assert not any(isinstance(act, OpenTransport) for act in script.acts())
    assert script.session.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize("cause", [Cause.RESTARTING, Cause.SILENCE, Cause.ENDED, Cause.NO_NETWORK])
def test_C1_on_several_nodes_no_attempt_follows_a_connection_at_once(cause: Cause) -> None:
    settings, rng = options(several_nodes=True), random.Random(1)
    step = step_after(cause, good=True, failures=1, options=settings)
    delays = [delay_after(cause, step, 1, settings, rng) for _ in range(50)]
    assert min(delays) >= 0.5
    assert max(delays) > 0.6  # spread, so that the clients of a node do not come back together


def test_C1_the_options_say_what_several_nodes_need() -> None:
    assert options(several_nodes=True).retry_floor == 0.5
    assert options(several_nodes=True, retry_floor=2.0).retry_floor == 2.0
    assert options().retry_floor == 0.0


# The last event of encrypted cache channels.

SECRET = "private-encrypted-cache-room"


def cached(script: Script) -> list[bool]:
    """Return of each message that came, opened or not, whether it counts as the last event of a cache channel."""
    channel = script.session._subscriptions.channels[SECRET]
    return [channel.is_cached("price"), channel.is_cached("price")]


def test_F3_on_reverb_an_encrypted_cache_channel_begins_with_a_live_event() -> None:
    auth = OwnKey("key", "secret", master_key=bytes(32))
    reverb = Options.for_reverb("ws.test", key="key", tls=False, auth=auth)
    assert cached(success(connected(reverb).subscribe(SECRET), SECRET)) == [False, False]
    assert cached(on(SECRET)) == [True, False]


def test_F3_after_a_pong_the_next_event_of_an_encrypted_cache_channel_is_live() -> None:
    assert cached(on(SECRET).send("pusher:pong")) == [False, False]
    script = on(SECRET).do(connected(options()).session.ping)
    script.do(script.session.unsubscribe, SECRET).send("pusher:pong")
    assert CacheMiss not in [type(event) for event in script.take()]


def test_a_connection_that_ended_before_its_replacement_is_not_closed_again() -> None:
    script = on(SECRET, ROOM, several_nodes=True)
    script.do(script.session.reconnect).eof("reset").retry()
    script.greet()
    assert [type(event) for event in script.take() if isinstance(event, ConnectionEstablished)]
    assert not any(isinstance(act, CloseTransport) for act in script.acts())


# Refusals that the user can fix.


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Channel error: Missing user_id in channel_data", "accepts user_id as a string only"),
        ("Invalid message format: Missing channel_data for presence channel", "sign channel_data"),
        ("Over capacity", ""),
    ],
)
def test_K11_a_refusal_says_what_to_do(text: str, hint: str) -> None:
    script = connected(options()).subscribe(ROOM)
    script.error(4300, text).send("pusher:pong")
    said = str(script.session.channel(ROOM).last_error)
    assert text in said
    assert hint in said
    assert said.endswith(")") is bool(hint)


# A model of a server that handles one message at a time, while others come and go.


class InOrder:
    """A presence channel of a server that answers in order, one step whenever the test says so."""

    def __init__(self) -> None:
        self.script = connected(options())
        self.there: set[str] = set()
        self.subscribed = False
        self._waiting: list[Any] = []
        self._list: list[str] | None = None

    def step(self) -> bool:
        """Write the success of the last subscribe, or handle the next message; return whether there was one."""
        self._waiting += self.script.frames()
        if self._list is not None:
            ids, self._list = self._list, None
            success(self.script, ROOM, ids=ids)
            return True
        if not self._waiting:
            return False
        match self._waiting.pop(0)["event"]:
            case "pusher:subscribe":
                self.subscribed = True
                self.there.add("me")
                self._list = sorted(self.there)
            case "pusher:unsubscribe":
                self.subscribed = False
                self.there.discard("me")
            case _:
                self.script.send("pusher:pong")
        return True

    def change(self, user: str) -> None:
        """Let another user join, or leave."""
        joins = user not in self.there
        self.there ^= {user}
        if self.subscribed:
            self.script.send(ADDED if joins else REMOVED, {"user_id": user}, ROOM)


@given(
    st.lists(
        st.sampled_from(
            ["step", "step", "step", "a", "b", "c", "subscribe", "unsubscribe", "fresh"]
        ),
        max_size=60,
    )
)
def test_C2_the_list_is_the_server_s_however_often_the_channel_is_unsubscribed_and_subscribed(
    moments: list[str],
) -> None:
    server = InOrder()
    script = server.script.subscribe(ROOM)
    for moment in moments:
        match moment:
            case "step":
                server.step()
            case "subscribe":
                script.subscribe(ROOM)
            case "unsubscribe":
                script.do(script.session.unsubscribe, ROOM)
            case "fresh":
                with contextlib.suppress(NotSubscribed):
                    script.do(script.session.refresh_members, ROOM)
            case user:
                server.change(user)
    while server.step():
        pass
    channel = script.session.channel(ROOM)
    assert (channel.state is ChannelState.SUBSCRIBED) is server.subscribed
    assert set(channel.members) == (server.there if server.subscribed else set())
    assert script.session.stats.roster_drifts == 0
