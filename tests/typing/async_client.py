"""The types that type checkers infer for the asynchronous client. Nothing here runs: mypy checks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

import msgspec

from pusher_anyio import (
    Binding,
    Channel,
    Client,
    ConnectMessages,
    MessageConnection,
    Stream,
    User,
    open_pusher,
)
from pusher_proto import (
    Auth,
    AuthRequest,
    AuthResponse,
    ChannelEvent,
    ChannelState,
    ConnectionState,
    Event,
    Member,
    MemberAdded,
    Members,
    Options,
    StateChanged,
    Stats,
    TypedEvent,
    UserEvent,
)


class Trade(msgspec.Struct):
    price: float


class Quote(msgspec.Struct):
    bid: float


@dataclass
class Point:
    x: int


class Named(TypedDict):
    name: str


def parse(text: str) -> Trade:
    return msgspec.json.decode(text, type=Trade)


class Own:
    async def send(self, text: str) -> None: ...
    async def receive(self) -> str | None: ...
    async def close(self, code: int, reason: str) -> None: ...


async def connect(host: str, port: int, tls: bool, target: str) -> Own:
    return Own()


async def an_own_connection(options: Options) -> None:
    connection: MessageConnection = Own()
    await connection.send("text")
    way: ConnectMessages = connect
    assert_type(await open_pusher(options, connect_messages=way), Client)
    assert_type(await open_pusher(options, connect_messages=connect), Client)


async def the_client(options: Options) -> None:
    async with open_pusher(options) as client:
        assert_type(client, Client)
        assert_type(client.subscribe("room"), Channel)
        assert_type(client.channel("room"), Channel)
        assert_type(client.channels, dict[str, Channel])
        assert_type(client.user, User)
        assert_type(client.state, ConnectionState)
        assert_type(client.socket_id, str | None)
        assert_type(client.stats, Stats)
        assert_type(await client.wait_connected(timeout=1), str)
        assert_type(await client.wait_signed_in(), str)
        assert_type(await client.subscribe("room").wait_subscribed(), Channel)


async def elements(client: Client, channel: Channel) -> None:
    assert_type(channel.events("price"), Stream[Any])
    assert_type(channel.events(("price", MemberAdded)), Stream[Any])
    assert_type(channel.events(ChannelEvent), Stream[ChannelEvent])
    assert_type(channel.events(MemberAdded), Stream[MemberAdded])
    assert_type(client.events(StateChanged, buffer=1, overflow="raise"), Stream[StateChanged])
    assert_type(channel.events("price", type=Trade), Stream[TypedEvent[Trade]])
    assert_type(channel.events(type=Point, invalid="skip"), Stream[TypedEvent[Point]])
    assert_type(channel.events(("a", "b"), type=Named), Stream[TypedEvent[Named]])
    assert_type(client.events("count", type=int), Stream[TypedEvent[int]])
    assert_type(channel.events("prices", type=list[Trade]), Stream[TypedEvent[list[Trade]]])
    assert_type(channel.events("price", decoder=parse), Stream[TypedEvent[Trade]])
    assert_type(channel.events("size", decoder=len), Stream[TypedEvent[int]])
    async for message in channel:
        assert_type(message, ChannelEvent)
        assert_type(message.data, Any)
        assert_type(message.raw_data, str)
        assert_type(message.user_id, str | None)
    async for note in client.user:
        assert_type(note, UserEvent)
    async for joined in channel.events(MemberAdded):
        assert_type(joined.member, Member)
    async with channel.events("price", type=Trade, overflow="drop_oldest") as stream:
        assert_type(stream, Stream[TypedEvent[Trade]])
        assert_type(stream.dropped, int)
        assert_type(stream.skipped, int)
        async for event in stream:
            assert_type(event, TypedEvent[Trade])
            assert_type(event.data, Trade)
            assert_type(event.data.price, float)
            assert_type(event.channel, str)
    assert_type(await anext(channel.events(MemberAdded)), MemberAdded)


def handlers(client: Client, channel: Channel) -> None:
    async def later(event: ChannelEvent) -> None: ...

    def now(event: MemberAdded) -> int:
        return 1

    assert_type(channel.bind("price", later), Binding)
    assert_type(client.bind(MemberAdded, now), Binding)

    @channel.bind("price")
    @client.bind()
    async def decorated(event: Event) -> str:
        return ""

    assert_type(decorated.__name__, str)
    assert_type(channel.bind(MemberAdded, lambda event: event.member.id, once=True), Binding)
    assert_type(client.user.bind("note", later, once=True), Binding)
    channel.unbind(MemberAdded, now)


def looks(channel: Channel) -> None:
    assert_type(channel.members, Members)
    members: Mapping[str, Member] = channel.members
    assert_type(members["7"].info, Any)
    assert_type(channel.me, Member | None)
    assert_type(channel.state, ChannelState)
    assert_type(channel.subscription_count, int | None)


def wrong(channel: Channel) -> None:
    # Each of these is an error; an ignore that is not needed is one too.
    channel.events("price", type=Trade, decoder=parse)  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so
    channel.events("price", overflow="block")  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so
    channel.events("price", invalid="skip")  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so
    channel.events(5)  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so
    channel.events("price", 10)  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so
    channel.bind("price", "handler")  # type: ignore[call-overload]  # wrong on purpose: a type checker must say so

    def of_a_message(event: ChannelEvent) -> None: ...

    channel.bind(MemberAdded, of_a_message)  # type: ignore[arg-type]  # wrong on purpose: the handler takes another event


async def asks_a_function(request: AuthRequest) -> AuthResponse:
    return AuthResponse(auth="KEY:signature")


def ways_to_get_an_authorization(auth: Auth) -> list[Options]:
    return [
        Options(host="reverb.test", key="KEY", auth=auth),
        Options(host="reverb.test", key="KEY", auth=asks_a_function),
    ]


async def steps_and_several_types(client: Client, channel: Channel) -> None:
    assert_type(client.events(), Stream[Event])
    assert_type(await client.events(MemberAdded).next(timeout=1), MemberAdded)
    assert_type(channel.events(types={"trade": Trade, "other": Trade}), Stream[TypedEvent[Trade]])
    both: Mapping[str, type[Trade | Point]] = {"trade": Trade, "point": Point}
    assert_type(channel.events(types=both), Stream[TypedEvent[Trade | Point]])
    async for typed in channel.events(types={"trade": Trade, "quote": Quote}, invalid="skip"):
        if isinstance(typed.data, Quote):
            assert_type(typed.data, Quote)
    assert_type(await channel.wait_for(MemberAdded), MemberAdded)
    found = await client.wait_for(ChannelEvent, lambda event: event.name == "trade", timeout=1)
    assert_type(found, ChannelEvent)
    assert_type(await client.user.wait_for(UserEvent, fresh=True), UserEvent)
    assert_type(await channel.wait_for((MemberAdded, "trade")), Any)
    assert_type(await channel.wait_for("trade", lambda event: event.data > 1), Any)
    assert_type(channel.members_as(Trade), dict[str, Trade])
    assert_type(client.subscribe_many(["a"]), dict[str, Channel])
    assert_type(channel.subscribe(), Channel)
    assert_type(await channel.resubscribe().wait_subscribed(), Channel)
    assert_type(await client.wait_subscribed(timeout=1), None)
    assert_type(await client.flush(timeout=1), None)
    assert_type(client.closed, bool)
