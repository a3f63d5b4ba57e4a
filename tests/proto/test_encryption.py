"""Encrypted channels: opened in order, with at most one new key in a while, and nothing in plain text."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from nacl.secret import SecretBox

from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    CacheMiss,
    ChannelEvent,
    ChannelState,
    DecryptionFailed,
    Event,
    MemberAdded,
    ServerError,
    Subscribed,
    SubscriptionCount,
    SubscriptionFailed,
    Unsubscribed,
)
from pusher_proto._channels.channel import Channel
from pusher_proto._channels.early import EarlyMessages
from pusher_proto._channels.encryption import Decryption
from pusher_proto._wire.secretbox import read_key
from pusher_proto.options import Options
from simulation import Device, World

ROOM = "private-encrypted-room"
OLD, NEW = bytes(32), bytes(range(1, 33))


def key_of(key: bytes) -> str:
    return base64.b64encode(key).decode()


def box(text: str, key: bytes = OLD) -> dict[str, str]:
    sealed = SecretBox(key).encrypt(text.encode(), b"n" * 24)
    return {
        "nonce": base64.b64encode(sealed.nonce).decode(),
        "ciphertext": base64.b64encode(sealed.ciphertext).decode(),
    }


# The machine alone.


class Alone:
    """The machine with a channel whose key is OLD; `asked` has the times at which a new key was requested."""

    def __init__(self, **options: Any) -> None:
        self.events: list[Event] = []
        self.asked: list[float] = []
        self.answer: Callable[[], AuthResponse | AuthorizationError | None] = lambda: None
        settings = Options.from_host("pusher.test", key="key", **options)
        self.decryption = Decryption(settings, EarlyMessages(65536, self.events.append), self._ask)
        self.channel = Channel(ROOM, 10)
        self.channel.key = read_key(key_of(OLD))

    def _ask(self, channel: Channel, now: float) -> None:
        assert channel is self.channel
        self.asked.append(now)
        answer = self.answer()
        if answer is not None:
            self.decryption.refreshed(channel, answer, 0.0)

    def receive(self, name: str, data: Any, now: float = 0.0) -> None:
        self.decryption.receive(self.channel, ChannelEvent(ROOM, name, data), now)

    def refreshed(self, key: bytes) -> None:
        self.decryption.refreshed(
            self.channel, AuthResponse("key:x", shared_secret=key_of(key)), 0.0
        )

    def reported(self) -> list[tuple[str, str]]:
        """Return and clear the name of each event and its data, or why there is none."""
        reported = [
            (event.name, event.raw_data if isinstance(event, ChannelEvent) else str(event.error))
            for event in self.events
            if isinstance(event, ChannelEvent | DecryptionFailed)
        ]
        self.events.clear()
        return reported


WRONG = "the channel's key does not decrypt the data"


def test_an_event_is_opened_and_handed_on() -> None:
    alone = Alone()
    alone.receive("price", box('{"n":1}'))
    alone.receive("price", json.dumps(box("2")))
    assert alone.events == [
        ChannelEvent(ROOM, "price", '{"n":1}'),
        ChannelEvent(ROOM, "price", "2"),
    ]
    assert alone.events[0].data == {"n": 1}  # type: ignore[attr-defined]  # of the class that the test brings about


def test_an_event_that_does_not_open_waits_for_a_new_key_and_the_later_ones_with_it() -> None:
    alone = Alone()
    alone.receive("a", box("1", NEW), now=5.0)
    alone.receive("b", box("2", OLD), now=5.1)
    alone.receive("c", box("3", NEW), now=5.2)
    assert (alone.reported(), alone.asked) == ([], [5.0])
    alone.refreshed(NEW)
    assert alone.reported() == [("a", "1"), ("b", WRONG), ("c", "3")]
    alone.receive("d", box("4", NEW))
    assert (alone.reported(), alone.asked) == ([("d", "4")], [5.0])


def test_an_event_that_the_new_key_does_not_open_either_is_given_up() -> None:
    alone = Alone()
    alone.receive("a", box("1", b"\1" * 32))
    alone.refreshed(NEW)
    assert alone.reported() == [("a", WRONG)]


def test_there_is_at_most_one_new_key_in_a_while() -> None:
    alone = Alone(key_refresh=10.0)
    alone.answer = lambda: AuthResponse("key:x", shared_secret=key_of(OLD))
    for tenth in range(250):
        alone.receive("poison", box("x", NEW), now=tenth / 10)
    assert alone.asked == [0.0, 10.0, 20.0]
    assert alone.reported() == [("poison", WRONG)] * 250


def test_a_thousand_events_that_do_not_open_ask_for_one_key() -> None:
    alone = Alone(encrypted_backlog_limit=1000)
    for _ in range(1000):
        alone.receive("poison", box("x", NEW))
    assert (alone.reported(), alone.asked) == ([], [0.0])
    alone.refreshed(OLD)
    assert (alone.reported(), alone.asked) == ([("poison", WRONG)] * 1000, [0.0])


def test_a_malformed_event_asks_for_no_key_and_fails_alone() -> None:
    alone = Alone()
    for data in ({"hello": "world"}, "plain text", None, {"nonce": "x", "ciphertext": "y"}):
        alone.receive("bad", data)
    alone.receive("good", box("1"))
    assert [name for name, _ in alone.reported()] == ["bad", "bad", "bad", "bad", "good"]
    assert alone.asked == []


def test_a_malformed_event_keeps_its_place_among_waiting_events() -> None:
    alone = Alone()
    alone.receive("a", box("1", NEW))
    alone.receive("bad", {"hello": "world"})
    alone.receive("c", box("3", NEW))
    assert alone.reported() == []
    alone.refreshed(NEW)
    assert [name for name, _ in alone.reported()] == ["a", "bad", "c"]


def test_no_more_than_a_bounded_number_waits() -> None:
    alone = Alone(encrypted_backlog_limit=2)
    for name in "abcd":
        alone.receive(name, box(name, NEW))
    assert alone.reported() == [
        ("c", "more than 2 messages wait for a new key (Options.encrypted_backlog_limit)"),
        ("d", "more than 2 messages wait for a new key (Options.encrypted_backlog_limit)"),
    ]
    alone.refreshed(NEW)
    assert alone.reported() == [("a", "a"), ("b", "b")]


def test_after_a_refused_key_the_old_one_is_used_and_the_reason_reported() -> None:
    alone = Alone()
    alone.receive("a", box("1", NEW))
    alone.receive("b", box("2", OLD))
    refused = AuthorizationError("no", channel=ROOM)
    alone.decryption.refreshed(alone.channel, refused, 0.0)
    failed, opened = alone.events
    assert isinstance(failed, DecryptionFailed)
    assert failed.error.__cause__ is refused
    assert opened == ChannelEvent(ROOM, "b", "2")


def test_waiting_events_are_forgotten_with_the_key() -> None:
    alone = Alone()
    alone.receive("a", box("1", NEW))
    alone.decryption.forget(alone.channel)
    assert alone.channel.key is None
    alone.refreshed(NEW)
    assert alone.events == []


def test_without_a_key_one_is_requested_and_the_event_waits() -> None:
    alone = Alone()
    alone.channel.key = None
    alone.receive("a", box("1", NEW))
    alone.refreshed(NEW)
    assert (alone.reported(), alone.asked) == ([("a", "1")], [0.0])


def test_without_a_key_and_without_an_authorization_nothing_is_delivered() -> None:
    alone = Alone()
    alone.channel.key = None
    alone.answer = lambda: AuthorizationError("no", channel=ROOM)
    alone.receive("a", box("1", NEW), now=1.0)
    alone.receive("b", box("2", NEW), now=2.0)
    why = "there is no key for the channel"
    assert (alone.reported(), alone.asked) == ([("a", why), ("b", why)], [1.0])


def test_text_is_made_by_the_hook() -> None:
    alone = Alone(decrypted_text=lambda data: data.decode().upper())
    alone.receive("a", box("loud"))
    assert alone.reported() == [("a", "LOUD")]


def test_bytes_that_are_not_text_are_reported_and_ask_for_no_key() -> None:
    alone = Alone()
    sealed = SecretBox(OLD).encrypt(b"\xff", b"n" * 24)
    data = {"nonce": key_of(sealed.nonce), "ciphertext": key_of(sealed.ciphertext)}
    alone.receive("a", data)
    assert alone.reported() == [
        ("a", "the decrypted bytes cannot be decoded as text: UnicodeDecodeError")
    ]
    assert alone.asked == []


# In a session.


class RequestKind:
    """An application that authorizes with the current secrets, and counts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: list[AuthRequest] = []
        self.refuses: BaseException | None = None
        self.silent = False

    def __call__(self, request: AuthRequest) -> AuthResponse | BaseException | None:
        self.requests.append(request)
        return None if self.silent else self.refuses or self.world.authorization(request)


def subscribed(world: World, *channels: str, **options: Any) -> tuple[Device, RequestKind]:
    asked = RequestKind(world)
    device = world.connected(world.options(auth=None, **options), authorizer=asked)
    device.subscribe(*(channels or (ROOM,)))
    world.run(1)
    device.take()
    asked.requests.clear()
    world.heard()
    return device, asked


def rotate(world: World) -> None:
    world.act(world.server.rotate_key, NEW)


def publish(world: World, name: str, data: Any) -> None:
    """Publish, and let no time pass."""
    world.server.publish(ROOM, name, data, now=world.now)
    world.flush()


def test_messages_are_delivered_decrypted() -> None:
    world = World()
    device, _ = subscribed(world)
    world.publish(ROOM, "price", {"wörld": 1})
    assert device.take() == [ChannelEvent(ROOM, "price", '{"wörld":1}')]


def test_the_shared_secret_is_not_sent_to_the_server() -> None:
    world = World()
    device = world.connected()
    device.subscribe(ROOM)
    world.run(1)
    (subscribe,) = [m for m in world.server.received if m.event == "pusher:subscribe"]
    assert isinstance(subscribe.data, dict)
    assert sorted(subscribe.data) == ["auth", "channel"]


def test_a_rotated_key_is_requested_once_and_nothing_is_lost_or_out_of_order() -> None:
    world = World()
    device, asked = subscribed(world)
    publish(world, "price", 1)
    rotate(world)
    for n in range(2, 20):
        publish(world, "price", n)
    world.run(5)
    publish(world, "price", 20)
    world.run(1)
    assert device.take() == [ChannelEvent(ROOM, "price", str(n)) for n in range(1, 21)]
    assert [request.channel for request in asked.requests] == [ROOM]
    assert world.heard() == []  # a new key needs no new subscription


@pytest.mark.parametrize("ends", ["lost", "reconnected"])
def test_the_gap_begins_with_the_message_that_waits_for_a_key(ends: str) -> None:
    world = World()
    device, asked = subscribed(world)
    asked.silent = True
    rotate(world)
    publish(world, "price", 1)
    world.run(5)
    device.do(device.session.ping)
    world.run(1)
    asked.silent = False
    if ends == "lost":
        world.act(world.server.drop, 4200)
    else:
        device.do(device.session.reconnect)
    world.run(5)
    [event] = [event for event in device.take() if isinstance(event, Subscribed)]
    assert event.offline_for is not None
    assert event.offline_for > 6


def test_other_channels_continue_while_one_waits_for_its_key() -> None:
    world = World()
    device, asked = subscribed(world, ROOM, "room", "private-encrypted-other")
    other = base64.b64decode(
        str(world.authorization(AuthRequest("1.1", "private-encrypted-other")).shared_secret)
    )
    rotate(world)
    asked.silent = True
    publish(world, "sealed", 1)
    world.publish("room", "open", "x")
    world.say("other", box("y", other), "private-encrypted-other")
    assert device.take() == [
        ChannelEvent("room", "open", "x"),
        ChannelEvent("private-encrypted-other", "other", "y"),
    ]


def test_an_authorizer_that_never_gives_the_new_key_holds_events_for_auth_timeout() -> None:
    world = World()
    device, asked = subscribed(world, auth_timeout=10.0)
    rotate(world)
    asked.silent = True
    publish(world, "price", 1)
    world.run(9.9)
    assert device.take() == []
    world.run(0.2)
    (failed,) = device.take()
    assert isinstance(failed, DecryptionFailed)
    assert isinstance(failed.error.__cause__, AuthorizationError)
    assert device.session.channel(ROOM).state is ChannelState.SUBSCRIBED


def test_a_refused_refresh_fails_the_event_and_keeps_the_subscription() -> None:
    world = World()
    device, asked = subscribed(world)
    rotate(world)
    asked.refuses = PermissionError("not any more")
    publish(world, "price", 1)
    world.run(1)
    (failed,) = device.take()
    assert isinstance(failed, DecryptionFailed)
    assert (failed.channel, failed.name, str(failed.error)) == (ROOM, "price", WRONG)
    assert len(asked.requests) == 1


def test_poison_from_outside_costs_one_refresh_in_ten_seconds_and_delivers_nothing() -> None:
    world = World()
    device, asked = subscribed(world)
    began = world.now
    times: list[float] = []
    for _ in range(300):
        before = len(asked.requests)
        world.say("poison", box("x", b"\7" * 32), ROOM)
        world.run(0.08)
        times += [world.now - began] * (len(asked.requests) - before)
    assert [round(at) for at in times] == [0, 10, 20]
    assert [type(event) for event in device.take()] == [DecryptionFailed] * 300
    world.publish(ROOM, "good", 1)
    assert device.take() == [ChannelEvent(ROOM, "good", "1")]


def test_a_reconnect_does_not_allow_another_refresh_at_once() -> None:
    world = World()
    device, asked = subscribed(world)
    world.say("poison", box("x", b"\7" * 32), ROOM)
    world.run(1)
    world.act(world.server.drop, 4200)
    world.run(1)
    device.take()
    assert len(asked.requests) == 2  # the refresh, and the authorization for the new connection
    world.say("poison", box("x", b"\7" * 32), ROOM)
    world.run(1)
    assert [type(event) for event in device.take()] == [DecryptionFailed]
    assert len(asked.requests) == 2


def test_with_an_own_key_a_refresh_gives_the_same_key() -> None:
    world = World()
    device = world.connected()
    device.subscribe(ROOM)
    world.run(1)
    device.take()
    rotate(world)
    world.publish(ROOM, "a", 1)
    world.publish(ROOM, "b", 2)
    assert [(type(e), getattr(e, "name", "")) for e in device.take()] == [
        (DecryptionFailed, "a"),
        (DecryptionFailed, "b"),
    ]


@pytest.mark.parametrize(
    "data",
    [
        {"text": "injected"},
        "injected",
        '{"text":"injected"}',
        {"nonce": "x" * 32},
        {"nonce": 1, "ciphertext": 2},
        None,
        ["injected"],
    ],
)
def test_nothing_in_plain_text_is_ever_delivered(data: Any) -> None:
    world = World()
    device, asked = subscribed(world)
    world.say("message", data, ROOM)
    world.say("client-message", data, ROOM, user_id="eve")
    assert [(type(e), getattr(e, "name", "")) for e in device.take()] == [
        (DecryptionFailed, "message"),
        (DecryptionFailed, "client-message"),
    ]
    assert asked.requests == []
    world.publish(ROOM, "good", 1)
    assert device.take() == [ChannelEvent(ROOM, "good", "1")]


def test_control_events_are_plain_text() -> None:
    world = World()
    device, asked = subscribed(world)
    world.say("pusher_internal:subscription_count", '{"subscription_count":3}', ROOM)
    world.say("pusher:cache_miss", None, ROOM)
    world.say("pusher:error", {"code": 4302, "message": "hm"}, ROOM)
    world.say("pusher_internal:anything", {"nonce": 1}, ROOM)
    world.say("pusher:anything", "plain", ROOM)
    assert device.take() == [
        SubscriptionCount(ROOM, 3),
        CacheMiss(ROOM),
        ServerError(4302, "hm", ROOM),
    ]
    assert asked.requests == []


@pytest.mark.parametrize("cached", ["private-encrypted-cache-x"])
def test_the_cached_event_of_an_encrypted_channel_is_opened_and_marked(cached: str) -> None:
    world = World()
    world.publish(cached, "price", 1)
    device = world.connected()
    device.subscribe(cached)
    world.run(1)
    world.publish(cached, "price", 2)
    assert device.take() == [
        Subscribed(cached),
        ChannelEvent(cached, "price", "1", cached=True),
        SubscriptionCount(cached, 1),
        ChannelEvent(cached, "price", "2"),
    ]


def test_a_cached_event_from_before_a_rotation_fails_and_the_next_is_not_taken_for_it() -> None:
    world = World()
    name = "private-encrypted-cache-x"
    world.publish(name, "price", 1)
    rotate(world)
    asked = RequestKind(world)
    device = world.connected(world.options(auth=None), authorizer=asked)
    device.subscribe(name)
    world.run(1)
    world.publish(name, "price", 2)
    assert [event for event in device.take() if not isinstance(event, DecryptionFailed)] == [
        Subscribed(name),
        SubscriptionCount(name, 1),
        ChannelEvent(name, "price", "2"),
    ]


def test_a_cached_event_that_waited_for_its_key_is_still_marked() -> None:
    world = World()
    name = "private-encrypted-cache-x"
    asked = RequestKind(world)
    device = world.connected(world.options(auth=None), authorizer=asked)
    world.act(world.server.delay, 0.5, "subscribe")
    device.subscribe(name)
    world.run(0.2)  # the authorization with the old key is on its way
    rotate(world)
    world.publish(name, "price", 1)
    world.run(1)
    world.publish(name, "price", 2)
    assert [event for event in device.take() if isinstance(event, ChannelEvent)] == [
        ChannelEvent(name, "price", "1", cached=True),
        ChannelEvent(name, "price", "2"),
    ]


# The key is forgotten.


def key_in(device: Device, name: str = ROOM) -> object:
    channel = device.session._subscriptions.channels.get(name)
    return channel.key if channel is not None else None


def test_the_key_is_forgotten_when_the_channel_is_unsubscribed() -> None:
    world = World()
    device, _ = subscribed(world)
    assert repr(key_in(device)) == "Key(***)"
    channel = device.session._subscriptions.channels[ROOM]
    device.unsubscribe(ROOM)
    assert channel.key is None


def test_the_key_is_forgotten_while_leaving() -> None:
    world = World()
    device = world.connected()
    world.act(world.server.delay, 5.0, "subscribe")
    device.subscribe(ROOM)
    device.unsubscribe(ROOM)
    assert device.session.channel(ROOM).state is ChannelState.UNSUBSCRIBING
    assert key_in(device) is None


@pytest.mark.parametrize("end", ["disconnect", "reset"])
def test_the_key_is_forgotten_with_the_connection(end: str) -> None:
    world = World()
    device, _ = subscribed(world)
    if end == "reset":
        world.reset(device)
    else:
        device.do(device.session.disconnect)
    assert key_in(device) is None


def test_a_channel_left_and_wanted_again_while_its_subscribe_is_unanswered_gets_a_new_key() -> None:
    world = World()
    asked = RequestKind(world)
    device = world.connected(world.options(auth=None), authorizer=asked)
    world.act(world.server.delay, 1.0, "subscribe")
    device.subscribe(ROOM)
    world.run(0.5)
    device.unsubscribe(ROOM)
    device.subscribe(ROOM)
    world.run(2)
    for n in range(3):
        publish(world, "price", n)
    world.run(1)
    assert device.take() == [
        Unsubscribed(ROOM),
        Subscribed(ROOM),
        SubscriptionCount(ROOM, 1),
        *(ChannelEvent(ROOM, "price", str(n)) for n in range(3)),
    ]
    assert len(asked.requests) == 2
    assert [heard for heard in world.heard() if heard[0] == "pusher:subscribe"] == [
        ("pusher:subscribe", ROOM)
    ]


def test_a_pending_refresh_is_dropped_when_the_channel_is_unsubscribed() -> None:
    world = World()
    device, asked = subscribed(world)
    rotate(world)
    asked.silent = True
    publish(world, "price", 1)
    world.run(1)
    device.unsubscribe(ROOM)
    number, request = device.asked[-1]
    device.do(device.session.authorized, number, world.authorization(request))
    assert device.take() == [Unsubscribed(ROOM)]
    asked.silent = False
    device.subscribe(ROOM)
    world.run(1)
    world.publish(ROOM, "price", 2)
    assert device.take() == [
        Subscribed(ROOM),
        SubscriptionCount(ROOM, 1),
        ChannelEvent(ROOM, "price", "2"),
    ]


def test_a_pending_refresh_is_dropped_with_the_connection_and_messages_flow_afterwards() -> None:
    world = World()
    device, asked = subscribed(world)
    rotate(world)
    asked.silent = True
    publish(world, "price", 1)
    world.run(1)
    (number, stale) = device.asked[-1]
    asked.silent = False
    world.act(world.server.drop, 4200)
    world.run(2)
    assert device.asked[-1][0] != number  # the cancelled call has returned: it is made again
    device.do(device.session.authorized, number, world.authorization(stale))
    world.run(2)
    device.take()
    world.publish(ROOM, "price", 2)
    assert device.take() == [ChannelEvent(ROOM, "price", "2")]


def test_a_pending_refresh_is_dropped_when_the_server_refuses_the_channel() -> None:
    world = World()
    asked = RequestKind(world)
    device = world.connected(world.options(auth=None), authorizer=asked)
    world.server.mute(now=world.now)
    device.subscribe(ROOM)
    world.run(1)
    asked.silent = True
    world.say("early", box("x", NEW), ROOM)
    world.say("pusher:subscription_error", {"error": "no", "status": 403}, ROOM)
    assert [type(event) for event in device.take()] == [SubscriptionFailed]
    number, request = device.asked[-1]
    device.do(device.session.authorized, number, world.authorization(request))
    world.act(world.server.unmute)
    asked.silent = False
    device.subscribe(ROOM)
    world.run(1)
    world.publish(ROOM, "price", 1)
    assert device.take() == [
        Subscribed(ROOM),
        SubscriptionCount(ROOM, 1),
        ChannelEvent(ROOM, "price", "1"),
    ]


def test_a_pending_refresh_is_dropped_when_an_unanswered_channel_is_requested_again() -> None:
    world = World()
    asked = RequestKind(world)
    options = world.options(auth=None, subscribe_timeout=1.0)
    device = world.connected(options, authorizer=asked)
    world.server.mute(now=world.now)
    device.subscribe(ROOM)
    world.run(2)
    asked.silent = True
    world.say("early", box("x", NEW), ROOM)
    number, _ = device.asked[-1]
    world.act(world.server.unmute)
    asked.silent = False
    device.subscribe(ROOM)
    device.do(device.session.authorized, number, AuthResponse("demo:not-for-this"))
    world.run(1)
    world.publish(ROOM, "price", 1)
    assert [type(event) for event in device.take()] == [
        SubscriptionFailed,
        Subscribed,
        SubscriptionCount,
        ChannelEvent,
    ]


@pytest.mark.parametrize(
    "secret", [None, "", key_of(bytes(31)), key_of(bytes(33)), "_-" * 22, key_of(NEW) + "\n"]
)
def test_an_authorization_without_a_good_key_is_invalid(secret: str | None) -> None:
    world = World()
    device = world.connected()
    device.subscribe(ROOM, auth=AuthResponse("key:x", shared_secret=secret))
    world.run(1)
    (failed,) = device.take()
    assert isinstance(failed, SubscriptionFailed)
    assert str(failed.error) == "the authorization has no shared_secret of 32 bytes in base64"
    assert world.heard() == []


def test_no_key_is_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        world = World()
        subscribed(world)
        secret = str(world.authorization(AuthRequest("1.1", ROOM)).shared_secret)
        rotate(world)
        publish(world, "price", 1)
        world.run(1)
    assert secret not in caplog.text
    assert str(world.authorization(AuthRequest("1.1", ROOM)).shared_secret) not in caplog.text


def test_members_of_an_encrypted_channel_do_not_exist() -> None:
    world = World()
    device, _ = subscribed(world)
    world.say("pusher_internal:member_added", {"user_id": "eve"}, ROOM)
    assert [event for event in device.take() if isinstance(event, MemberAdded)] == []
