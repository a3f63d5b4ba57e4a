"""The parts that both clients share: commands, queries, waits, and that nothing is left behind."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from io import StringIO
from typing import Any
from weakref import ref

import pytest

from proto.fake_client import (
    FakeBinding,
    FakeChannel,
    FakeClient,
    FakeGuard,
    Stuck,
    connected,
    datas,
    subscribed,
)
from pusher_proto import (
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ChannelState,
    ClientClosed,
    ConnectionFailed,
    ConnectionState,
    Event,
    InvalidName,
    LocalProtocolError,
    NotSubscribed,
    PusherError,
    PusherTimeout,
    Session,
    SignInError,
    StateChanged,
    Stats,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
    UnsupportedFeature,
)
from pusher_proto.client import Choice, Setup
from pusher_proto.recording import RecordingSession
from simulation import World

C = ConnectionState


def publish(world: World, *values: Any, channel: str = "room", event: str = "price") -> None:
    for value in values:
        world.publish(channel, event, value)


def fail(world: World) -> None:
    """Let the server refuse the app permanently."""
    world.act(world.server.drop, 4009, "no such app: disconnected by the app")
    world.run(1)


def close_soon(client: FakeClient) -> None:
    """Close the client without waiting for it."""
    client.device.do(client.session.close)


# Commands


def test_each_change_of_the_state_is_reported_once_with_its_reason_after_it_was_made() -> None:
    world = World()
    client = FakeClient(world, world.options(unavailable_after=3.0), connect=False)
    assert client.state is C.INITIALIZED
    recorder = Recorder(client)
    with client._guard:
        client._delivery.add(recorder)
    client.connect()
    client.connect()
    client.wait_connected()
    client.disconnect()
    client.disconnect()
    world.run(1)
    assert (client.state, client.socket_id) == (C.DISCONNECTED, None)
    client.reconnect()
    client.wait_connected()
    world.act(world.server.refuse, status=503)
    world.act(world.server.drop, 4200, "come back")
    world.run(10)
    world.act(world.server.allow)
    client.wait_connected()
    fail(world)
    client.close()
    assert recorder.reported == [
        (C.INITIALIZED, C.CONNECTING, "connecting"),
        (C.CONNECTING, C.CONNECTED, ""),
        (C.CONNECTED, C.DISCONNECTED, "disconnect() was called"),
        (C.DISCONNECTED, C.CONNECTING, "connecting"),
        (C.CONNECTING, C.CONNECTED, ""),
        (C.CONNECTED, C.CONNECTING, "come back"),
        (C.CONNECTING, C.UNAVAILABLE, "no connection for 3 s"),
        (C.UNAVAILABLE, C.CONNECTED, ""),
        (C.CONNECTED, C.FAILED, "no such app: disconnected by the app"),
        (C.FAILED, C.DISCONNECTED, "close() was called"),
    ]
    assert recorder.states == [current for _, current, _ in recorder.reported]


class Recorder(FakeBinding):
    """Notes changes, and the state of the client in the moment in which each is handed over."""

    def __init__(self, client: FakeClient) -> None:
        super().__init__(client._host, Choice(StateChanged, None), print)
        self.reported: list[tuple[ConnectionState, ConnectionState, str]] = []
        self.states: list[ConnectionState] = []

    def put(self, event: Event) -> None:
        assert isinstance(event, StateChanged)
        self.reported.append((event.previous, event.current, event.reason))
        self.states.append(self._client.state)


def test_a_handle_is_the_same_for_the_same_name() -> None:
    world = World()
    client = FakeClient(world)
    early = client.channel("room")
    assert client.subscribe("room") is early
    assert client.subscribe("room") is early
    client.unsubscribe("room")
    assert client.channel("room") is early
    assert client.channels == {}
    assert client.subscribe("room").wait_subscribed() is early
    assert client.channel("other") is not early
    other = client.subscribe("other")
    assert list(client.channels.items()) == [("room", early), ("other", other)]
    assert client.channels["room"] is early


def test_a_channel_that_is_being_left_is_not_among_the_channels() -> None:
    world = World()
    client = connected(world)
    client.subscribe("room")
    client.unsubscribe("room")
    assert client.session.channels() == ("room",)
    assert client.channels == {}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda client: client.subscribe("no spaces"), InvalidName, "the character ' '"),
        (lambda client: client.subscribe(""), InvalidName, "cannot be empty"),
        (lambda client: client.subscribe(5), TypeError, "a channel name is a str, not int"),
        (lambda client: client.channel(5), TypeError, "a channel name is a str, not int"),
        (
            lambda client: client.subscribe("three"),
            LocalProtocolError,
            "there are 2 channels already",
        ),
        (
            lambda client: client.subscribe("private-x"),
            UnsupportedFeature,
            r"^'private-x' needs an authorization: set Options.auth to .*authorizer.* or subscribe\(auth=...\)$",
        ),
        (lambda client: client.signin(), UnsupportedFeature, "signing in needs an authorization"),
        (
            lambda client: client.subscribe_many(["two", "three"]),
            LocalProtocolError,
            "there would be 3 channels, and 2 are allowed",
        ),
    ],
)
def test_what_is_wrong_raises_and_changes_nothing(
    wrong: Callable[[Any], object], error: type[Exception], message: str
) -> None:
    world = World()
    client = connected(world, world.options(auth=None, max_channels=2))
    client.subscribe("one")
    client.subscribe("two")
    world.run(1)
    world.heard()
    with pytest.raises(error, match=message):
        wrong(client)
    world.run(1)
    assert world.heard() == []
    assert list(client.channels) == ["one", "two"]
    assert set(client._kept) == {"one", "two"}


def test_an_authorization_may_be_got_in_three_ways() -> None:
    world = World()
    own = connected(world)
    asking = connected(world, world.options(auth=None), authorizer=world.authorization)
    own.subscribe("private-x").wait_subscribed()
    asking.subscribe("private-x").wait_subscribed()
    nothing = connected(world, world.options(auth=None))
    nothing.subscribe("private-x", auth=world.own_key()).wait_subscribed()
    nothing.subscribe("private-y", auth=world.authorization).wait_subscribed()
    assert len(world.server.subscriptions("private-x")) == 3


NAMES = ["private-a", "private-b", "private-c"]


class Many:
    """An authorizer of many requests at once, with given answers."""

    def __init__(self, answer: Callable[[list[AuthRequest]], object]) -> None:
        self.answer = answer
        self.asked: list[list[str | None]] = []

    def __call__(self, request: AuthRequest) -> AuthResponse:
        raise AssertionError("it is asked for many")

    def authorize_many(self, requests: list[AuthRequest]) -> object:
        self.asked.append([request.channel for request in requests])
        return self.answer(requests)


def raises(request: object) -> AuthResponse:
    raise ValueError("not you")


@pytest.mark.parametrize(
    ("answer", "errors"),
    [
        (
            lambda world, requests: [world.authorization(request) for request in requests],
            [None] * 3,
        ),
        (
            lambda world, requests: {r.channel: world.authorization(r) for r in requests[1:]},
            ["no answer for this channel", None, None],
        ),
        (
            lambda world, requests: [world.authorization(requests[0]), KeyError("no"), "nonsense"],
            [None, "KeyError: 'no'", "AuthResponse"],
        ),
        (lambda world, requests: [], ["return 3 answers"] * 3),
        (lambda world, requests: raises(requests), ["ValueError: not you"] * 3),
    ],
    ids=["all", "a mapping", "some", "none", "raises"],
)
def test_each_of_many_authorizations_is_answered_for_itself(
    answer: Callable[[World, list[AuthRequest]], object], errors: list[str | None]
) -> None:
    world = World()
    many = Many(lambda requests: answer(world, requests))
    client = FakeClient(world, world.options(auth=None), authorizer=many)
    channels = [client.subscribe(name) for name in NAMES]
    world.run(1)
    assert many.asked == [NAMES]
    for channel, error in zip(channels, errors, strict=True):
        if error is None:
            assert channel.wait_subscribed() is channel
        else:
            with pytest.raises(AuthorizationError, match=error):
                channel.wait_subscribed()


def test_an_authorization_without_a_way_to_request_it_is_refused() -> None:
    world = World()
    client = connected(world, world.options(auth=None))
    client.device.subscribe("private-x")
    with pytest.raises(AuthorizationError, match="there is no authorizer: set"):
        client.channel("private-x").wait_subscribed()


def test_a_session_is_recorded_when_there_is_where_to_write() -> None:
    options, file = World().options(), StringIO()
    plain = Setup(options=options)
    assert type(plain.session()) is Session
    plain.release()
    setup = Setup(options=options, file=file)
    session = setup.session()
    session.connect(now=1.0)
    assert isinstance(session, RecordingSession)
    assert file.getvalue().count("\n") > 1
    setup.release()
    assert file.closed


@pytest.mark.parametrize(
    "command",
    [
        lambda client, channel: client.connect(),
        lambda client, channel: client.disconnect(),
        lambda client, channel: client.reconnect(),
        lambda client, channel: client.ping(),
        lambda client, channel: client.signin(),
        lambda client, channel: client.subscribe("other"),
        lambda client, channel: client.unsubscribe("room"),
        lambda client, channel: channel.unsubscribe(),
        lambda client, channel: channel.trigger("client-x", 1),
        lambda client, channel: channel.events(),
        lambda client, channel: channel.bind("price", print),
        lambda client, channel: client.bind("price", print),
        lambda client, channel: client.wait_connected(),
        lambda client, channel: client.wait_signed_in(),
        lambda client, channel: channel.wait_subscribed(),
        lambda client, channel: channel.wait_for("price"),
        lambda client, channel: client.wait_for("price"),
    ],
)
def test_a_closed_client_takes_no_command_and_says_so(
    command: Callable[[FakeClient, FakeChannel], object],
) -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    client.close()
    with client.no_time(), pytest.raises(ClientClosed, match="open another with open_pusher"):
        command(client, channel)


def test_a_closed_client_may_still_be_looked_at_and_closed_again() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    client.close()
    client.close()
    client.run()
    assert (client.state, client.socket_id) == (C.DISCONNECTED, None)
    assert repr(channel) == "<FakeChannel 'room' PENDING>"
    assert client.stats.connections == 1


def test_a_ping_is_answered() -> None:
    world = World()
    client = connected(world)
    assert client.stats.round_trip is None
    client.ping()
    world.run(1)
    assert client.stats.round_trip == pytest.approx(0.02)


# Looks


def test_stats_are_a_snapshot() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    before = client.stats
    stream = channel.events("price", buffer=1, overflow="drop_oldest")
    publish(world, 1, 2, 3)
    client.reconnect()
    channel.wait_subscribed()
    stats = client.stats
    assert (before.dropped, before.connections, before.attempts) == (0, 1, 1)
    assert stats.messages_received > before.messages_received
    assert stats == Stats(
        stats.bytes_received, stats.bytes_sent, stats.messages_received, 2, 2, 0, None, 2
    )
    stream.close()
    assert client.stats.dropped == 2
    assert before.dropped == 0


def test_the_client_shows_its_options_its_user_and_the_watchlist() -> None:
    world = World()
    options = world.options(auth=world.own_key(user={"id": "7", "watchlist": ["8"]}))
    client = connected(world, options)
    assert client.options is options
    assert client.user is client.user
    assert client.watchlist.online == frozenset()
    client.signin()
    client.wait_signed_in()
    other = connected(world, world.options(auth=world.own_key(user={"id": "8"})))
    other.signin()
    other.wait_signed_in()
    world.run(1)
    assert client.watchlist.online == {"8"}
    assert client.user.id == "7"


def test_a_client_and_its_user_are_shown_with_their_states() -> None:
    world = World()
    client = connected(world, world.options(auth=world.own_key(user={"id": "7"})))
    assert repr(client) == f"<FakeClient {world.options().host!r} CONNECTED>"
    assert repr(client.user) == f"<{type(client.user).__name__} None SIGNED_OUT>"
    client.signin()
    client.wait_signed_in()
    assert repr(client.user) == f"<{type(client.user).__name__} '7' SIGNED_IN>"
    client.close()
    assert repr(client) == f"<FakeClient {world.options().host!r} DISCONNECTED>"


# Waits


def test_waits_may_begin_before_connecting() -> None:
    world = World()
    options = world.options(auth=world.own_key(user={"id": "7"}))
    client, other, third, fourth = (FakeClient(world, options, connect=False) for _ in range(4))
    for each in (client, other, third, fourth):
        world.at(5, each.connect)
    assert client.wait_connected() == client.socket_id
    assert other.subscribe("room").wait_subscribed().state is ChannelState.SUBSCRIBED
    assert third.subscribe("room").wait_for(Subscribed) == Subscribed("room")
    fourth.signin()
    assert fourth.wait_signed_in() == "7"


def test_what_is_there_already_is_returned_at_once() -> None:
    world = World()
    client, [channel] = subscribed(
        world, "room", options=world.options(auth=world.own_key(user={"id": "7"}))
    )
    client.signin()
    client.wait_signed_in()
    with client.no_time():
        assert client.wait_connected(timeout=0) == client.socket_id
        assert channel.wait_subscribed(timeout=0) is channel
        assert client.wait_signed_in(timeout=0) == "7"


def test_a_timeout_says_what_did_not_happen_and_how_the_last_attempt_ended() -> None:
    world = World()
    world.network.swallow_opens = True
    client = FakeClient(world, world.options(connect_timeout=2.0))
    with pytest.raises(PusherTimeout, match=r"^not connected within 1 s$") as info:
        client.wait_connected(timeout=1)
    assert isinstance(info.value, TimeoutError)
    with pytest.raises(PusherTimeout) as info:
        client.subscribe("room").wait_subscribed(timeout=5.5)
    assert str(info.value) == (
        "'room' was not subscribed within 5.5 s; the last attempt: no connection within 2 s: "
        "name lookup, TCP or TLS did not end"
    )
    client.signin()
    with pytest.raises(PusherTimeout, match=r"^not signed in within 0 s; the last attempt"):
        client.wait_signed_in(timeout=0)


Wait = Callable[[FakeClient], object]

WAITS: dict[str, Wait] = {
    "wait_connected": lambda client: client.wait_connected(),
    "wait_subscribed": lambda client: client.channel("room").wait_subscribed(),
    "wait_signed_in": lambda client: client.wait_signed_in(),
    "wait_for of a channel": lambda client: client.channel("room").wait_for("x"),
    "wait_for of the client": lambda client: client.wait_for("x"),
    "wait_for of the user": lambda client: client.user.wait_for("x"),
    "run": lambda client: client.run(),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_every_wait_ends_at_once_when_the_client_is_closed(wait: Wait) -> None:
    world = World()
    world.network.swallow_opens = True
    client = FakeClient(world)
    client.subscribe("room")
    client.signin()
    world.at(1, lambda: close_soon(client))
    began = world.now
    if wait is WAITS["run"]:
        wait(client)
    else:
        with pytest.raises(ClientClosed):
            wait(client)
    assert world.now - began < 1.1


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_every_wait_raises_the_terminal_error_at_once_and_each_time(wait: Wait) -> None:
    world = World()
    world.act(world.server.refuse, code=4001, reason="no such app")
    client = FakeClient(world)
    client.subscribe("room")
    client.signin()
    caught = []
    for _ in range(3):
        with pytest.raises(ConnectionFailed, match="no such app") as info:
            wait(client)
        caught.append(info.value)
    assert world.now < 1002
    assert len({id(error) for error in caught}) == 3
    depths = [len(traceback.extract_tb(error.__traceback__)) for error in caught]
    assert depths[1] == depths[2]
    world.act(world.server.allow)
    client.connect()
    client.wait_connected()


@pytest.mark.parametrize("shape", ["pusher", "error", "soketi", "internal"])
def test_waiting_for_a_channel_that_is_refused_raises_why(shape: Any) -> None:
    world = World()
    world.act(world.server.refuse_channel, "private-room", shape=shape, message="not you", times=1)
    client = connected(world)
    channel = client.subscribe("private-room")
    errors = []
    for _ in range(2):
        with pytest.raises(SubscriptionError) as info:
            channel.wait_subscribed()
        errors.append(info.value)
    assert errors[0] is not errors[1]
    assert str(errors[0]) == str(errors[1]) == str(channel.last_error)
    assert (channel.state, errors[0].channel) == (ChannelState.FAILED, "private-room")
    client.subscribe("private-room").wait_subscribed()
    assert channel.last_error is None


def test_waiting_for_a_channel_without_an_authorization_raises_why() -> None:
    world = World()

    def refuse(request: AuthRequest) -> AuthResponse:
        raise ValueError("not you")

    client = connected(world, world.options(auth=None), authorizer=refuse)
    channel = client.subscribe("private-room")
    with pytest.raises(AuthorizationError, match="raised: ValueError: not you") as info:
        channel.wait_subscribed()
    assert info.value.channel == "private-room"
    assert isinstance(info.value.__cause__, ValueError)


def test_waiting_for_a_channel_that_is_not_answered_continues_while_it_is_requested_again() -> None:
    world = World()
    world.act(world.server.delay, 8.0, "subscribe")
    client = connected(world, world.options(subscribe_timeout=5.0))
    channel = client.subscribe("room")
    with pytest.raises(PusherTimeout, match="'room' was not subscribed within 6 s"):
        channel.wait_subscribed(6)
    assert channel.wait_subscribed() is channel


def test_waiting_for_a_channel_that_is_unsubscribed_raises() -> None:
    world = World()
    world.act(world.server.delay, 8.0, "subscribe")
    client = connected(world)
    channel = client.subscribe("room")
    world.at(1, channel.unsubscribe)
    with pytest.raises(NotSubscribed, match="'room' is not subscribed: call subscribe"):
        channel.wait_subscribed()


def test_waiting_for_a_sign_in_that_is_refused_or_was_not_asked_for_raises() -> None:
    world = World()
    client = connected(world)
    with client.no_time(), pytest.raises(LocalProtocolError, match=r"call signin\(\) first"):
        client.wait_signed_in()
    client.signin()
    with pytest.raises(SignInError, match="no authorization to sign in"):
        client.wait_signed_in()
    assert client.user.last_error is not None


def test_a_wait_continues_across_reconnects() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    world.at(1, client.disconnect)
    world.at(60, client.connect)
    world.at(61, lambda: publish(world, 1))
    assert channel.wait_for("price").data == 1
    client.disconnect()
    with pytest.raises(Stuck):
        client.wait_connected()


def test_running_lasts_until_the_client_is_closed() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    calls: list[Any] = []
    channel.bind("price", lambda event: calls.append(event.data))
    world.at(5, lambda: publish(world, 1))
    world.at(10, lambda: close_soon(client))
    client.run()
    assert calls == [1]
    assert client.session.closed


# Unsubscribing mutes, subscribing wakes


def test_unsubscribing_mutes_streams_and_handlers_and_subscribing_again_wakes_them() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    stream, calls = channel.events("price"), list[Any]()
    of_client = client.events("price")
    channel.bind("price", lambda event: calls.append(event.data))
    publish(world, 1)
    client.unsubscribe("room")
    publish(world, 2)
    world.say("price", "3", "room")  # from a server that has not noticed yet
    assert client.channels == {}
    assert client.channel("room") is channel
    assert client.subscribe("room") is channel
    channel.wait_subscribed()
    publish(world, 4)
    assert datas(stream.ready()) == datas(of_client.ready()) == calls == [1, 4]


def test_a_channel_that_is_refused_keeps_its_consumers() -> None:
    world = World()
    world.act(world.server.refuse_channel, "room", message="not now", times=1)
    client = connected(world)
    channel = client.subscribe("room")
    failed, stream = channel.events(SubscriptionFailed), channel.events("price")
    assert next(failed).channel == "room"
    client.reconnect()
    channel.wait_subscribed()
    publish(world, 1)
    assert datas(stream.ready()) == [1]


# Nothing is left behind


def test_nothing_is_left_of_ten_thousand_channels() -> None:
    world = World()
    client = connected(world)
    handles, streams = [], []

    def come_and_go(number: int) -> None:
        channel = client.subscribe(f"room-{number}")
        stream = channel.events(ChannelEvent)
        binding = channel.bind("price", print)
        handles.append(ref(channel))
        streams.append(ref(stream))
        if number % 100 == 0 and client.state is C.CONNECTED:
            channel.wait_subscribed()
            publish(world, 1, channel=channel.name, event="other")
        if number % 2:
            stream.close()
        binding.cancel()
        client.unsubscribe(channel.name)

    for number in range(10_000):
        if number == 1000:  # enough of what takes a server
            client.disconnect()
        come_and_go(number)
    world.run(5)
    gc.collect()
    assert [handle() for handle in handles if handle() is not None] == []
    assert [stream() for stream in streams if stream() is not None] == []
    left: list[Any] = [
        client._kept,
        client._delivery.waits,
        client._delivery._abandoned,
    ]
    left += [
        client._delivery._dropped,
        list(client._handles),
        list(client._delivery.router),
        client._delivery.router.known,
    ]
    assert [len(each) for each in left] == [0] * 7
    assert list(client._delivery.backlog._scopes) == ["#server-to-user"]
    assert client.session.channels() == ()


def test_a_handle_lives_as_long_as_it_is_needed() -> None:
    world = World()
    client = FakeClient(world)

    def is_there() -> bool:
        return "room" in client._handles

    assert client.channel("room").name == "room"
    assert not is_there()
    stream = client.channel("room").events("price")
    assert is_there()
    client.subscribe("room")
    stream.close()
    assert is_there()
    client.unsubscribe("room")
    assert not is_there()
    binding = client.channel("room").bind("price", print)
    client.subscribe("room")
    client.unsubscribe("room")
    assert is_there()
    binding.cancel()
    assert not is_there()
    with pytest.raises(NotSubscribed):
        client.channel("room").wait_for("price")
    assert not is_there()


def test_a_closed_client_is_freed_with_everything_that_it_made() -> None:
    world = World()
    client, [channel] = subscribed(world, "room")
    stream = channel.events()
    channel.bind("price", print)
    client.close()
    dead = ref(client)
    del client, channel, stream, world
    gc.collect()
    assert dead() is None


def test_the_guard_is_not_held_after_any_of_this() -> None:
    world = World()
    client, _ = subscribed(world, "room")
    guard = client._guard
    assert isinstance(guard, FakeGuard)
    for call in (client.reconnect, client.wait_connected, client.close, client.ping):
        try:
            call()
        except PusherError:
            pass
        assert guard.depth == 0
