"""The answers of the server to messages of a client: Pusher's side of the protocol.

It sends through a `Socket` and changes state through a `Realm`. Other dialects override its methods.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import msgspec

from ._channels import Member
from ._dialect import Dialect, Ending
from ._faults import Faults
from ._frames import ClientMessage, encode, parse_message
from ._limits import ServerLimits
from ._names import USER_CHANNEL, Kind, is_name, is_user_id
from ._realm import Socket
from ._signatures import wrong_channel_authorization, wrong_user_authorization

__all__ = ["Answered", "Conversation", "Ended", "Refused", "Subscribe"]


Fields = TypeVar("Fields")


class Subscribe(msgspec.Struct, frozen=True):
    """The data of `pusher:subscribe`."""

    channel: str
    auth: str | None = None
    channel_data: str | None = None


class _Unsubscribe(msgspec.Struct, frozen=True):
    channel: str


class SignIn(msgspec.Struct, frozen=True):
    """The data of `pusher:signin`."""

    auth: str
    user_data: str


class _ChannelData(msgspec.Struct, frozen=True):
    user_id: str | int
    user_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _UserData(msgspec.Struct, frozen=True):
    id: str | int
    user_info: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    watchlist: tuple[str | int, ...] = ()


class Refused(Exception):
    """Raised to answer a message with this error; nothing changes."""

    def __init__(
        self,
        code: int | None,
        message: str,
        *,
        channel: str | None = None,
        is_signature: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.channel = channel
        self.is_signature = is_signature
        """Whether the secret of the signer is probably wrong."""


class Answered(Exception):
    """Raised to answer a message with this text, if any; nothing changes."""

    def __init__(self, text: str | None) -> None:
        super().__init__(text)
        self.text = text


class Ended(Exception):
    """Raised for a message that ends the connection; as a ghost, its subscriptions stay for some time."""

    def __init__(self, ending: Ending, *, ghost: bool = False) -> None:
        super().__init__(ending)
        self.ending = ending
        self.ghost = ghost


class Conversation:
    """Answers the messages of clients. One serves all sockets."""

    dialect: ClassVar[Dialect] = Dialect(name="pusher")

    malformed: ClassVar[tuple[int, str]] = (4200, "Invalid message format")
    """The error for a message that is not an event. Pusher documents none; this is Reverb's."""

    def __init__(self, limits: ServerLimits, faults: Faults) -> None:
        self._limits = limits
        self._faults = faults

    def parse(self, text: str) -> ClientMessage:
        """Return the message of a client. Raises `Refused`."""
        message = parse_message(text)
        if message is None:
            raise Refused(*self.malformed)
        return message

    def receive(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Carry out a message. Raises `Refused`, `Answered` and `Ended`."""
        match message.event:
            case "pusher:ping":
                socket.send(self.dialect.pong)
            case "pusher:pong":
                pass
            case "pusher:subscribe":
                self.subscribe(socket, self.fields(message, Subscribe), now)
            case "pusher:unsubscribe":
                self.unsubscribe(socket, self.fields(message, _Unsubscribe).channel, now)
            case "pusher:signin":
                self.sign_in(socket, message, now)
            case event if event.startswith("client-"):
                self.client_event(socket, message, now)
            case _:
                self.other(socket, message)

    def fields(self, message: ClientMessage, type_: type[Fields]) -> Fields:
        """Return the data of a message. Raises `Refused`."""
        if message.data is not msgspec.UNSET:
            try:
                return msgspec.json.decode(message.data, type=type_)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                pass
        raise Refused(*self.malformed)

    def other(self, socket: Socket, message: ClientMessage) -> None:  # noqa: ARG002 - dialects need it
        """Answer an event that is not part of the protocol."""
        raise Refused(None, f"Unsupported event {message.event[:50]}")

    # ---- channels

    def subscribe(self, socket: Socket, request: Subscribe, now: float) -> None:
        """Subscribe a socket if its request is valid."""
        name = request.channel
        self.check_name(name)
        if name in socket.channels:
            self.subscribe_again(socket, request, now)
            return
        if len(socket.channels) >= self._limits.subscriptions:
            raise Refused(4100, f"Too many subscriptions; no subscription to channel {name}")
        if (refusal := self._faults.take_channel(name)) is not None:
            signature = (request.auth or "").partition(":")[2]
            raise Answered(refusal.answer(self.dialect.error, name, socket.id, signature))
        member = self.admit(socket, request)
        socket.realm.subscribe(socket, name, member, now)

    def check_name(self, name: str) -> None:
        """Refuse names that no channel may have."""
        if not is_name(name, self._limits.name):
            raise Refused(None, f"Invalid channel name {name[:50]}")

    def subscribe_again(self, socket: Socket, request: Subscribe, now: float) -> None:  # noqa: ARG002 - dialects need it
        """Answer a subscribe to a channel that the socket is subscribed to."""
        raise Refused(None, f"Existing subscription to channel {request.channel}")

    def admit(self, socket: Socket, request: Subscribe) -> Member | None:
        """Check whether a socket may subscribe; return its member of a presence channel."""
        kind = self.dialect.kind(request.channel)
        if kind is Kind.PUBLIC:
            return None
        if kind is Kind.USER:
            if socket.user is None or request.channel != USER_CHANNEL + socket.user.id:
                raise Refused(4009, f"Not signed in as the user of channel {request.channel}")
            return None
        self.check_authorization(socket, request)
        member = self.member(socket, request) if kind is Kind.PRESENCE else None
        socket.authorized = True
        return member

    def check_authorization(self, socket: Socket, request: Subscribe) -> None:
        """Refuse a subscribe without a valid signature."""
        if request.auth is None:
            raise Refused(4009, f"Auth info required to subscribe to {request.channel}")
        app = socket.realm.app
        wrong = wrong_channel_authorization(
            app, socket.id, request.channel, request.auth, request.channel_data
        )
        if wrong is not None:
            raise Refused(4009, wrong, is_signature=True)

    def member(self, socket: Socket, request: Subscribe) -> Member:
        """Return the member of a presence channel that a socket joins as."""
        if request.channel_data is None:
            if socket.user is None:
                raise Refused(
                    None, f"Subscription to {request.channel} needs channel_data or a sign-in"
                )
            member = Member(socket.user.id, socket.user.info)
        else:
            member = self.member_of(request.channel, request.channel_data)
        there = socket.realm.channels.get(request.channel)
        others = there.members if there else {}
        if member.user_id not in others and len(others) >= self._limits.members:
            raise Refused(4100, f"Too many members on channel {request.channel}")
        return member

    def member_of(self, channel: str, channel_data: str) -> Member:
        """Return the member that `channel_data` describes."""
        try:
            data = msgspec.json.decode(channel_data, type=_ChannelData)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Refused(None, f"Invalid channel_data for channel {channel}") from None
        user_id = str(data.user_id)
        if not is_user_id(user_id, self._limits.name):
            raise Refused(None, f"Invalid user_id in channel_data for channel {channel}")
        if len(channel_data.encode()) > self._limits.member_size:
            raise Refused(None, f"Too large channel_data for channel {channel}")
        return Member(user_id, data.user_info)

    def unsubscribe(self, socket: Socket, name: str, now: float) -> None:
        """End a subscription."""
        if name not in socket.channels:
            raise Refused(
                None,
                f"No current subscription to channel {name[: self._limits.name]}, "
                "or subscription in progress",
            )
        socket.realm.unsubscribe(socket, name, now)

    # ---- client events

    def client_event(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Forward a client event to the other subscribers of its channel."""
        channel = message.channel or ""
        if (wrong := self._wrong_client_event(socket, message, now)) is not None:
            raise Refused(4301, wrong, channel=channel[: self._limits.name])
        socket.realm.relay(socket, channel, message.event, message.data, now)

    def _wrong_client_event(self, socket: Socket, message: ClientMessage, now: float) -> str | None:
        app = socket.realm.app
        channel = message.channel or ""
        if not app.client_events:
            return "To send client events, you must enable this feature in the settings of the app"
        if self.dialect.kind(channel) not in (Kind.PRIVATE, Kind.PRESENCE):
            return "Client events are only allowed on private and presence channels"
        if channel not in socket.channels:
            return "Client event rejected - the connection is not subscribed to the channel"
        if len(message.event) > self._limits.event_name:
            return "Client event rejected - the name of the event is too long"
        if message.data_size > self._limits.event_data:
            return (
                f"Client event rejected - the data is larger than {self._limits.event_data} bytes"
            )
        if self.is_too_fast(socket, now):
            return "Client event rejected - rate limit reached"
        return None

    @staticmethod
    def is_too_fast(socket: Socket, now: float) -> bool:
        """Count a client event; return whether it is beyond the rate that the app allows."""
        rate = socket.realm.app.client_event_rate
        if rate is None:
            return False
        recent = [sent for sent in socket.recent_events if sent > now - 1.0]
        socket.recent_events = recent
        if len(recent) >= rate:
            return True
        recent.append(now)
        return False

    # ---- users

    def sign_in(self, socket: Socket, message: ClientMessage, now: float) -> None:  # noqa: ARG002 - dialects need it
        """Sign a socket in as a user."""
        request = self.fields(message, SignIn)
        if not socket.realm.app.user_authentication:
            raise Refused(None, "User authentication is not enabled for this app")
        wrong = wrong_user_authorization(
            socket.realm.app, socket.id, request.auth, request.user_data
        )
        if wrong is not None:
            raise Refused(4009, wrong, is_signature=True)
        try:
            data = msgspec.json.decode(request.user_data, type=_UserData)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Refused(4009, "Invalid user_data to sign in with") from None
        user_id = str(data.id)
        if not is_user_id(user_id, self._limits.name):
            raise Refused(4009, "Invalid id in user_data to sign in with")
        if socket.user is not None and socket.user.id != user_id:
            raise Refused(4009, "The connection is signed in as another user")
        socket.send(encode("pusher:signin_success", data={"user_data": request.user_data}))
        if socket.user is not None:
            return
        socket.authorized = True
        watched = list(dict.fromkeys(map(str, data.watchlist)))
        if not socket.realm.app.watchlist:
            watched = []
        if len(watched) > self._limits.watchlist:
            watched = watched[: self._limits.watchlist]
            text = f"The watchlist has more than {self._limits.watchlist} users"
            socket.send(self.dialect.error(4302, f"{text}; the others are not watched"))
        socket.realm.users.sign_in(socket, user_id, data.user_info, watched)
