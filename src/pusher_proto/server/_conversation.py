"""What the server answers to the messages of a client: Pusher's side of the protocol.

It knows no connection and no bytes: a socket sends, a realm does the rest.
"""

from __future__ import annotations

from typing import TypeVar, assert_never

import msgspec

from ._channels import Member
from ._faults import Faults
from ._frames import ClientMessage, encode, error
from ._limits import ServerLimits
from ._names import USER_CHANNEL, Kind, is_name, is_user_id, kind_of
from ._realm import Socket
from ._signatures import wrong_channel_authorization, wrong_user_authorization

__all__ = ["MALFORMED", "Conversation"]

# Pusher does not document what it answers to what is no event; Reverb uses this code and keeps the
# connection.
MALFORMED = error(4200, "Invalid message format")

_PONG = encode("pusher:pong", data="{}")


_Fields = TypeVar("_Fields")


class _Subscribe(msgspec.Struct, frozen=True):
    channel: str
    auth: str | None = None
    channel_data: str | None = None


class _Unsubscribe(msgspec.Struct, frozen=True):
    channel: str


class _SignIn(msgspec.Struct, frozen=True):
    auth: str
    user_data: str


class _ChannelData(msgspec.Struct, frozen=True):
    user_id: str | int
    user_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _UserData(msgspec.Struct, frozen=True):
    id: str | int
    user_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    watchlist: tuple[str | int, ...] = ()


class _Refused(Exception):
    """The message is answered with this text and nothing changes."""

    def __init__(self, answer: str | None) -> None:
        super().__init__(answer)
        self.answer = answer


class Conversation:
    """Answers clients. One serves all sockets."""

    def __init__(self, limits: ServerLimits, faults: Faults) -> None:
        self._limits = limits
        self._faults = faults

    def receive(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Do what a message asks for, or say why not."""
        try:
            match message.event:
                case "pusher:ping":
                    socket.send(_PONG)
                case "pusher:pong":
                    pass
                case "pusher:subscribe":
                    self._subscribe(socket, _fields(message, _Subscribe), now)
                case "pusher:unsubscribe":
                    self._unsubscribe(socket, _fields(message, _Unsubscribe).channel, now)
                case "pusher:signin":
                    self._sign_in(socket, _fields(message, _SignIn))
                case event if event.startswith("client-"):
                    self._client_event(socket, message, now)
                case event:
                    raise _Refused(error(None, f"Unsupported event {event[:50]}"))
        except _Refused as refused:
            if refused.answer is not None:
                socket.send(refused.answer)

    # ---- channels

    def _subscribe(self, socket: Socket, wish: _Subscribe, now: float) -> None:
        name = wish.channel
        if not is_name(name, self._limits.name):
            raise _Refused(error(None, f"Invalid channel name {name[:50]}"))
        if name in socket.channels:
            raise _Refused(error(None, f"Existing subscription to channel {name}"))
        if len(socket.channels) >= self._limits.subscriptions:
            raise _Refused(
                error(4100, f"Too many subscriptions; no subscription to channel {name}")
            )
        if (refusal := self._faults.take_channel(name)) is not None:
            raise _Refused(refusal.answer(name, socket.id, (wish.auth or "").partition(":")[2]))
        member = None
        kind = kind_of(name)
        match kind:
            case Kind.PUBLIC:
                pass
            case Kind.USER:
                self._check_user_channel(socket, name)
            case Kind.PRIVATE | Kind.ENCRYPTED:
                self._check_authorization(socket, wish)
            case Kind.PRESENCE:
                self._check_authorization(socket, wish)
                member = self._member(socket, wish)
            case _:
                assert_never(kind)
        socket.realm.subscribe(socket, name, member, now)

    def _check_user_channel(self, socket: Socket, name: str) -> None:
        if socket.user is None or name != USER_CHANNEL + socket.user.id:
            raise _Refused(error(4009, f"Not signed in as the user of channel {name}"))

    def _check_authorization(self, socket: Socket, wish: _Subscribe) -> None:
        if wish.auth is None:
            raise _Refused(error(4009, f"Auth info required to subscribe to {wish.channel}"))
        app = socket.realm.app
        wrong = wrong_channel_authorization(
            app, socket.id, wish.channel, wish.auth, wish.channel_data
        )
        if wrong is not None:
            raise _Refused(error(4009, wrong))

    def _member(self, socket: Socket, wish: _Subscribe) -> Member:
        if wish.channel_data is None:
            if socket.user is None:
                raise _Refused(
                    error(None, f"Subscription to {wish.channel} needs channel_data or a sign-in")
                )
            member = Member(socket.user.id, socket.user.info)
        else:
            member = self._member_of(wish.channel, wish.channel_data)
        there = socket.realm.channels.get(wish.channel)
        others = there.members if there else {}
        if member.user_id not in others and len(others) >= self._limits.members:
            raise _Refused(error(4100, f"Too many members on channel {wish.channel}"))
        return member

    def _member_of(self, channel: str, channel_data: str) -> Member:
        try:
            data = msgspec.json.decode(channel_data, type=_ChannelData)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _Refused(error(None, f"Invalid channel_data for channel {channel}")) from None
        user_id = str(data.user_id)
        if not is_user_id(user_id, self._limits.name):
            raise _Refused(error(None, f"Invalid user_id in channel_data for channel {channel}"))
        if len(channel_data.encode()) > self._limits.member_size:
            raise _Refused(error(None, f"Too large channel_data for channel {channel}"))
        return Member(user_id, data.user_info)

    def _unsubscribe(self, socket: Socket, name: str, now: float) -> None:
        if name not in socket.channels:
            raise _Refused(
                error(
                    None,
                    f"No current subscription to channel {name[: self._limits.name]}, "
                    "or subscription in progress",
                )
            )
        socket.realm.unsubscribe(socket, name, now)

    # ---- client events

    def _client_event(self, socket: Socket, message: ClientMessage, now: float) -> None:
        channel, event = message.channel or "", message.event
        if (wrong := self._wrong_client_event(socket, message, now)) is not None:
            raise _Refused(error(4301, wrong, channel=channel[: self._limits.name]))
        socket.realm.relay(socket, channel, event, message.data)

    def _wrong_client_event(self, socket: Socket, message: ClientMessage, now: float) -> str | None:
        app = socket.realm.app
        channel = message.channel or ""
        size = 0 if message.data is msgspec.UNSET else len(memoryview(message.data))
        if not app.client_events:
            return "To send client events, you must enable this feature in the settings of the app"
        if kind_of(channel) not in (Kind.PRIVATE, Kind.PRESENCE):
            return "Client events are only allowed on private and presence channels"
        if channel not in socket.channels:
            return "Client event rejected - the connection is not subscribed to the channel"
        if len(message.event) > self._limits.name:
            return "Client event rejected - the name of the event is too long"
        if size > self._limits.event_data:
            return (
                f"Client event rejected - the data is larger than {self._limits.event_data} bytes"
            )
        if app.client_event_rate is not None:
            recent = [sent for sent in socket.recent_events if sent > now - 1.0]
            socket.recent_events = recent
            if len(recent) >= app.client_event_rate:
                return "Client event rejected - rate limit reached"
            recent.append(now)
        return None

    # ---- users

    def _sign_in(self, socket: Socket, wish: _SignIn) -> None:
        app = socket.realm.app
        if not app.user_authentication:
            raise _Refused(error(None, "User authentication is not enabled for this app"))
        if (
            wrong := wrong_user_authorization(app, socket.id, wish.auth, wish.user_data)
        ) is not None:
            raise _Refused(error(4009, wrong))
        try:
            data = msgspec.json.decode(wish.user_data, type=_UserData)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise _Refused(error(4009, "Invalid user_data to sign in with")) from None
        user_id = str(data.id)
        if not is_user_id(user_id, self._limits.name):
            raise _Refused(error(4009, "Invalid id in user_data to sign in with"))
        if socket.user is not None and socket.user.id != user_id:
            raise _Refused(error(4009, "The connection is signed in as another user"))
        socket.send(encode("pusher:signin_success", data={"user_data": wish.user_data}))
        if socket.user is not None:
            return
        watched = list(dict.fromkeys(map(str, data.watchlist))) if app.watchlist else []
        if len(watched) > self._limits.watchlist:
            watched = watched[: self._limits.watchlist]
            message = f"The watchlist has more than {self._limits.watchlist} users"
            socket.send(error(4302, f"{message}; the others are not watched"))
        socket.realm.users.sign_in(socket, user_id, data.user_info, watched)


def _fields(message: ClientMessage, type_: type[_Fields]) -> _Fields:
    if message.data is not msgspec.UNSET:
        try:
            return msgspec.json.decode(message.data, type=type_)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
    raise _Refused(MALFORMED)
