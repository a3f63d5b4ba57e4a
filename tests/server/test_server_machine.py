"""Any order of calls: the contract with the server's driver, and its own bookkeeping."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pusher_proto.server._connection import State
from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.testing import (
    DEMO_APP,
    Server,
    ServerClose,
    ServerLimits,
    ServerOptions,
    ServerSend,
)

from .client import form, request
from .frames import UPGRADE, close, event, frame

CHANNELS = st.sampled_from(
    ["room", "cache-x", "private-x", "presence-x", "presence-cache-y", "#server-to-user-a"]
)
USERS = st.sampled_from(["a", "b"])
NUMBERS = st.integers(1, 6)
KINDS = st.sampled_from(["all", "greeting", "subscribe", "signin", "ping", "auth", "api"])
LIMITS = ServerLimits(head=400, body=300, message=500, held_answers=3, unsent=4000, members=2)


class ServerMachine(RuleBasedStateMachine):
    """Peers that do anything, controls that are moved at any time, and a driver that keeps the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(options=ServerOptions(limits=LIMITS, ping_after=20))
        self.now = 0.0
        self.open: set[int] = set()
        self.draining = True

    def drain(self) -> None:
        while self.draining and (effect := self.server.next_effect()) is not None:
            assert effect.connection in self.open, "an effect for a connection that is over"
            match effect:
                case ServerSend(data=data):
                    assert data
                case ServerClose(connection=number):
                    self.open.discard(number)

    def say(self, number: int, data: bytes) -> None:
        self.server.receive_data(number, data, now=self.now)
        self.drain()

    def control(self, control: Any, *args: Any, **kwargs: Any) -> None:
        control(*args, now=self.now, **kwargs)
        self.drain()

    def some(self, number: int) -> int | None:
        """Return a connection that the server has, or None for all."""
        return number if number in self.server._connections else None

    # ---- peers

    @rule(number=NUMBERS, upgrade=st.booleans())
    def opens(self, number: int, upgrade: bool) -> None:
        if number not in self.open and number not in self.server._connections:
            self.open.add(number)
            self.control(self.server.connection_opened, number)
            if upgrade:
                self.say(number, UPGRADE)

    @rule(number=NUMBERS)
    def hangs_up(self, number: int) -> None:
        self.open.discard(number)
        self.control(self.server.connection_closed, number)

    @rule(number=NUMBERS, data=st.sampled_from([close(), frame(b"x"), b"\xff", b"GET", UPGRADE]))
    def says_odd_things(self, number: int, data: bytes) -> None:
        self.say(number, data)

    @rule(number=NUMBERS)
    def asks(self, number: int) -> None:
        self.say(number, request("GET", "/"))
        self.say(number, form("/pusher/auth", socket_id="1.1", channel_name="private-x"))

    @rule(number=NUMBERS, name=st.sampled_from(["pusher:ping", "pusher:pong"]))
    def pings(self, number: int, name: str) -> None:
        self.say(number, event(name))

    @rule(number=NUMBERS, channel=CHANNELS, user=USERS)
    def subscribes(self, number: int, channel: str, user: str) -> None:
        data = {"channel": channel}
        if channel.startswith("presence-"):
            data["channel_data"] = f'{{"user_id":"{user}"}}'
        data["auth"] = sign_channel(
            DEMO_APP.key,
            DEMO_APP.secret,
            self.server.connections.get(number, "0.0"),
            channel,
            data.get("channel_data"),
            strict_names=False,
        )
        self.say(number, event("pusher:subscribe", data))

    @rule(number=NUMBERS, channel=CHANNELS)
    def unsubscribes(self, number: int, channel: str) -> None:
        self.say(number, event("pusher:unsubscribe", {"channel": channel}))

    @rule(number=NUMBERS, channel=CHANNELS)
    def triggers(self, number: int, channel: str) -> None:
        self.say(number, event("client-x", {}, channel))

    @rule(number=NUMBERS, user=USERS)
    def signs_in(self, number: int, user: str) -> None:
        user_data = f'{{"id":"{user}","watchlist":["a","b"]}}'
        socket_id = self.server.connections.get(number, "0.0")
        auth = sign_user(DEMO_APP.key, DEMO_APP.secret, socket_id, user_data)
        self.say(number, event("pusher:signin", {"auth": auth, "user_data": user_data}))

    # ---- controls

    @rule(channel=CHANNELS, data=st.text(max_size=5))
    def publishes(self, channel: str, data: str) -> None:
        self.control(self.server.publish, channel, "e", data)

    @rule(user=USERS)
    def terminates(self, user: str) -> None:
        self.control(self.server.terminate_user, user)

    @rule(
        number=NUMBERS,
        code=st.sampled_from([None, 4200]),
        error_event=st.booleans(),
        close_frame=st.booleans(),
    )
    def drops(self, number: int, code: int | None, error_event: bool, close_frame: bool) -> None:
        self.control(
            self.server.drop,
            code,
            connection=self.some(number),
            error_event=error_event,
            close_frame=close_frame,
        )

    @rule(number=NUMBERS)
    def mutes(self, number: int) -> None:
        self.control(self.server.mute, self.some(number))

    @rule(number=NUMBERS)
    def unmutes(self, number: int) -> None:
        self.control(self.server.unmute, self.some(number))

    @rule(how=st.sampled_from([{}, {"code": 4100}, {"status": 503}, None]))
    def refuses(self, how: dict[str, int] | None) -> None:
        if how is None:
            self.control(self.server.allow)
        else:
            self.control(self.server.refuse, times=1, **how)

    @rule(what=KINDS, seconds=st.sampled_from([0, 0, 1, 30]))
    def delays(self, what: str, seconds: float) -> None:
        self.control(self.server.delay, seconds, what)

    @rule(draining=st.booleans())
    def drains_or_not(self, draining: bool) -> None:
        self.draining = draining
        self.drain()

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.server.handle_timeout(now=self.now)
        due = self.server.next_deadline()
        assert due is None or due > self.now
        self.drain()

    # ---- what always holds

    @invariant()
    def the_books_agree(self) -> None:
        server = self.server
        realm = server._realms["demo"]
        live = set(server._sockets.values())
        assert set(realm.sockets.values()) == live
        for connection, socket in server._sockets.items():
            assert connection.state is State.OPEN and socket.connection is connection
            assert server._connections[connection.number] is connection
        for name, channel in realm.channels.items():
            assert channel.subscribers
            assert all(name in socket.channels for socket in channel.subscribers)
            users = [member.user_id for member in channel.subscribers.values() if member]
            assert set(channel.members) == set(users)
        for socket in live:
            assert set(socket.channels) <= set(realm.channels)
            assert socket.user is None or socket in socket.user.sockets
        signed_in = {socket.user.id for socket in live if socket.user}
        assert set(server.users()) == signed_in
        if not server._connections:
            assert server.next_deadline() is None
            assert realm.users._watchers == {}
        if self.draining:
            assert set(server._connections) == self.open
            assert all(connection.unsent == 0 for connection in server._connections.values())


ServerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_the_server_keeps_its_contract_in_any_order = ServerMachine.TestCase
