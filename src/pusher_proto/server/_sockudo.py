"""The dialect of Sockudo 5.2, as measured on the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from ._channels import Channel, Member
from ._conversation import Conversation, Ended, Refused, Subscribe
from ._dialect import Dialect, Ending, Manner
from ._frames import ClientMessage, Json, encode, json_text, parse_json
from ._http import HttpResponse, failure
from ._limits import ServerLimits
from ._names import USER_CHANNEL, Kind
from ._realm import Socket
from ._signatures import wrong_channel_authorization, wrong_user_authorization
from ._users import Client, Users

__all__ = ["SockudoConversation"]

_UNLIMITED = 2**31
_MISSING_CHANNEL = (4000, "Invalid message format: Missing channel field")
_NO_MEMBER = (4000, "Invalid message format: Missing channel_data for presence channel")
_PANIC = Ending(0, "", Manner.SILENT)
"""The end of a connection whose task fails at the server. Its memberships stay for some time."""
_ILLEGAL = re.compile(r"[^-A-Za-z0-9_=@,;.#]")
_KINDS = (
    ("private-", Kind.PRIVATE),
    ("presence-", Kind.PRESENCE),
    (USER_CHANNEL, Kind.USER),
)
_ANSWERS = {
    "ai-input": (4000, "AI Transport is not enabled for this channel"),
    "channel_history": (4000, "Invalid message format: Missing data in channel_history message"),
    "pusher:resume": (4301, "Connection recovery is not enabled"),
    "pusher:auth": (
        4009,
        "Authentication error: sockudo:auth is only supported on protocol V2",
    ),
    "pusher:presence_update": (4000, "presence_update requires protocol V2"),
}
"""Events of other versions of its protocol."""
_PINGS = ("pusher_internal:ping", "sockudo:ping")
_AUTHENTICATION = "Authentication error: "
_CLIENT_EVENT = "Client event error: "


def _kind(channel: str) -> Kind:
    return next((kind for prefix, kind in _KINDS if channel.startswith(prefix)), Kind.PUBLIC)


def _cached(channel: str) -> bool:
    return "cache-" in channel


class _Message(ClientMessage, frozen=True):
    """A message; Sockudo checks the type of `user_id` as well."""

    user_id: str | None = None


class _Users(Users):
    """Sockudo's watchlists: only users who have one are ever online, and they never go offline."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, frozenset[str]] = {}

    def sign_in(
        self,
        socket: Client,
        user_id: str,
        info: msgspec.Raw | msgspec.UnsetType,
        watched: Sequence[str],
    ) -> None:
        """Sign a socket in, and send what Sockudo sends before the success."""
        super().sign_in(socket, user_id, info, ())
        if not watched:
            return
        is_new = user_id not in self._seen
        self._seen[user_id] = frozenset(watched)
        watchers = [each for each, names in self._seen.items() if user_id in names]
        if is_new:
            for _ in watchers:
                socket.send(_status("online", [user_id]))
        for status, ids in (
            ("online", [each for each in watched if each in self._seen]),
            ("offline", [each for each in watched if each not in self._seen]),
        ):
            if ids:
                socket.send(_status(status, ids))
        for watcher in watchers:
            user = self.get(watcher)
            for other in user.sockets if user else ():
                if other is not socket:
                    other.send(_status("online", [user_id]))


def _status(name: str, user_ids: Sequence[str]) -> str:
    return encode(name, data={"user_ids": list(user_ids)})


class _Channel(Channel):
    """A channel of Sockudo: members without `user_info` have an empty one."""

    def success_data(self) -> object:
        """Return the data of the success; presence names with `cache-` have no roster."""
        if _cached(self.name):
            return {}
        return super().success_data()

    def user_id_of(self, sender: Client) -> object:  # noqa: ARG002 - as the base class
        """Return None: client events carry no `user_id`."""
        return None


class SockudoConversation(Conversation):
    """Answers clients as Sockudo does on protocol 7."""

    dialect: ClassVar[Dialect] = Dialect(
        name="sockudo",
        socket_id_limits=(10**10, 10**10),
        limits=ServerLimits(
            message=64 * 1024 * 1024,
            body=10 * 1024 * 1024,
            event_data=_UNLIMITED,
            members=_UNLIMITED,
            member_size=_UNLIMITED,
            subscriptions=_UNLIMITED,
            watchlist=_UNLIMITED,
            unsent_messages=1000,
        ),
        pong='{"event":"pusher:pong"}',
        ping='{"event":"pusher:ping"}',
        subscription_count=False,
        binary_is_text=True,
        reply_to_broken=lambda _code, _reason: None,
        ends_at_once=True,
        kind=_kind,
        cached=_cached,
        channel=_Channel,
        users=_Users,
        users_by_presence=True,
        cache_lifetime=300.0,
        checks_query=False,
        reads_protocol=True,
        wrong_path=HttpResponse(404),
        unknown_app=Ending(4001, "", Manner.SILENT),
        disabled_app=Ending(4003, "", Manner.SILENT),
        over_quota=Ending(4004, "", Manner.SILENT),
        terminated=Ending(4009, "You got disconnected by the app."),
        pong_missed=Ending(4201, "Pong reply not received in time"),
        not_authorized=Ending(4009, "Connection not authorized within timeout."),
        shut_down=Ending(4200, "Server shutting down"),
        message_rate=Ending(4301, "Connection closed due to client event rate limit"),
        message_refused="Client event rejected due to rate limit",
        message_rate_errors=2,
        plain_get=failure(400, "Missing Upgrade header"),
        other_method=HttpResponse(405),
        published={"ok": True},
        checks_published=False,
    )

    malformed = (4000, "Invalid message format: Decode failed: JSON deserialization failed")

    def parse(self, text: str) -> ClientMessage:
        """Return a message. Raises `Refused`."""
        try:
            return msgspec.json.decode(text, type=_Message)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            value = parse_json(text)
        if isinstance(value, dict) and value.get("event") is None:
            raise Refused(4000, "Invalid event name: Event name is required")
        raise Refused(*self.malformed)

    def other(self, socket: Socket, message: ClientMessage) -> None:
        """Answer the events of other versions of Sockudo's protocol; ignore all others."""
        if message.event in _PINGS:
            socket.send(self.dialect.pong)
        elif message.event == "pusher:enable_delta_compression":
            data = {"enabled": True, "algorithm": "fossil"}
            socket.send(encode("pusher:delta_compression_enabled", data=data))
        elif message.event in _ANSWERS:
            raise Refused(*_ANSWERS[message.event])

    # ---- channels

    def receive(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Carry out a message. Raises `Refused`, `Answered` and `Ended`."""
        if message.event == "pusher:subscribe":
            fields, is_text = self._fields(message)
            channel_data = fields.get("channel_data")
            auth = fields.get("auth")
            request = Subscribe(
                _channel_of(fields),
                auth if isinstance(auth, str) else None,
                channel_data if isinstance(channel_data, str) else None,
            )
            self._check(request, is_text=is_text)
            self.subscribe(socket, request, now)
        elif message.event == "pusher:unsubscribe":
            self._unsubscribe_from(socket, message, now)
        else:
            super().receive(socket, message, now)

    @staticmethod
    def _fields(message: ClientMessage) -> tuple[Mapping[str, Json], bool]:
        """Return the data of a subscribe, and whether it was JSON in a string."""
        value = None if message.data is msgspec.UNSET else parse_json(message.data)
        is_text = isinstance(value, str)
        if isinstance(value, str):
            value = parse_json(value)
            if value is msgspec.UNSET:
                raise Refused(4000, "Invalid message format: Failed to parse subscription data")
        if value is None:
            raise Refused(4000, "Invalid message format: Invalid subscription data format")
        return (value if isinstance(value, dict) else {}), is_text

    @staticmethod
    def _check(request: Subscribe, *, is_text: bool) -> None:
        """Refuse names, and presence requests without a member, before anything else."""
        name = request.channel
        if name.startswith("presence-"):
            if request.channel_data is None:
                raise Refused(*_NO_MEMBER) if is_text else Ended(_PANIC, ghost=True)
            if _cached(name) and not is_text:
                raise Refused(*_NO_MEMBER)

    def check_name(self, name: str) -> None:
        """Refuse names that Sockudo refuses."""
        if len(name) > self._limits.name:
            wrong = f"Channel name too long. Max length is {self._limits.name}"
        elif name.startswith("[meta]"):
            wrong = "Metachannel subscriptions are only supported on protocol V2"
        elif "*" in name:
            wrong = "Wildcard subscriptions are only supported on protocol V2"
        elif ":" in name:
            wrong = f"Unknown channel namespace '{name.partition(':')[0]}'"
        elif illegal := _ILLEGAL.findall(name):
            listed = ", ".join(f"'{each}'" for each in dict.fromkeys(illegal))
            wrong = (
                f"Channel name contains invalid characters: '{name}' (invalid chars: [{listed}])"
            )
        elif "#" in name[1:]:
            wrong = f"Channel '{name}' uses user-limited syntax but the namespace does not allow it"
        else:
            return
        raise Refused(4300, f"Channel error: {wrong}")

    def subscribe_again(self, socket: Socket, request: Subscribe, now: float) -> None:
        """Send the success again; a presence channel gets no answer."""
        if _kind(request.channel) is Kind.PRESENCE:
            return
        self.admit(socket, request)
        socket.realm.confirm(socket, socket.realm.channels[request.channel], now)

    def admit(self, socket: Socket, request: Subscribe) -> Member | None:
        """Check the signature; return the member of a presence channel."""
        kind = _kind(request.channel)
        if kind not in (Kind.PRIVATE, Kind.PRESENCE):
            return None
        if request.auth is None:
            raise Refused(
                4009,
                f"{_AUTHENTICATION}Authentication signature required for this channel",
            )
        wrong = wrong_channel_authorization(
            socket.realm.app,
            socket.id,
            request.channel,
            request.auth,
            request.channel_data if kind is Kind.PRESENCE else None,
        )
        if wrong is not None:
            raise Refused(
                4009, f"{_AUTHENTICATION}Channel requires authentication", is_signature=True
            )
        member = self.member(socket, request) if kind is Kind.PRESENCE else None
        if not _cached(request.channel):
            socket.authorized = True
        return None if _cached(request.channel) else member

    def member_of(self, channel: str, channel_data: str) -> Member:  # noqa: ARG002 - as the base class
        """Return the member that `channel_data` describes; ids are text only."""
        value = parse_json(channel_data)
        if value is msgspec.UNSET:
            raise Refused(4000, "Invalid message format: Invalid channel_data JSON for presence")
        if not isinstance(value, dict) or not isinstance(user_id := value.get("user_id"), str):
            raise Refused(4300, "Channel error: Missing user_id in channel_data")
        info = json_text(value.get("user_info", {}))
        # Whole kilobytes are compared.
        size, limit = len(info.encode()) // 1024, self._limits.member_size // 1024
        if size > limit:
            wrong = f"Presence member data size ({size}KB) exceeds limit ({limit}KB)"
            raise Refused(4300, f"Channel error: {wrong}")
        return Member(user_id, msgspec.Raw(info.encode()))

    def member(self, socket: Socket, request: Subscribe) -> Member:
        """Return the member; a full channel takes no further connection, not even of a member."""
        member = self.member_of(request.channel, request.channel_data or "")
        there = socket.realm.channels.get(request.channel)
        if there and len(there.members) >= self._limits.members:
            raise Refused(4100, "Over capacity")
        return member

    def _unsubscribe_from(self, socket: Socket, message: ClientMessage, now: float) -> None:
        value = None if message.data is msgspec.UNSET else parse_json(message.data)
        if value is None:
            raise Refused(4000, "Invalid message format: Missing data in unsubscribe message")
        if isinstance(value, str):
            inner = parse_json(value)
            name: Json = inner.get("channel") if isinstance(inner, dict) else value
        else:
            name = value.get("channel") if isinstance(value, dict) else None
        if not isinstance(name, str):
            raise Refused(4000, "Invalid message format: Missing channel in unsubscribe message")
        if name in socket.channels:
            socket.realm.unsubscribe(socket, name, now)

    # ---- client events

    def client_event(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Forward a client event without a `user_id`."""
        app, channel = socket.realm.app, message.channel
        if len(message.event) > self._limits.event_name:
            text = f"Event name exceeds maximum length of {self._limits.event_name}"
            raise Refused(4000, f"Invalid event name: {text}")
        if not app.client_events:
            raise Refused(4301, f"{_CLIENT_EVENT}Client events are not enabled for this app")
        if channel is None:
            raise Refused(4301, f"{_CLIENT_EVENT}Channel required for client event")
        if _cached(channel) or _kind(channel) not in (Kind.PRIVATE, Kind.PRESENCE):
            text = "Client events can only be sent to private or presence channels"
            raise Refused(4301, f"{_CLIENT_EVENT}{text}")
        if channel not in socket.channels:
            text = f"Socket {socket.id} is not subscribed to channel {channel}"
            raise Refused(4301, f"{_CLIENT_EVENT}{text}")
        size, limit = message.data_size, self._limits.event_data
        if size > limit:
            text = f"Event payload size ({size} bytes) exceeds limit ({limit // 1024}KB)"
            raise Refused(4301, f"{_CLIENT_EVENT}{text}")
        if self.is_too_fast(socket, now):
            raise Refused(4301, self.dialect.message_refused)
        data = None if message.data is msgspec.UNSET else message.data
        socket.realm.relay(socket, channel, message.event, data, now)

    # ---- users

    def sign_in(self, socket: Socket, message: ClientMessage, now: float) -> None:  # noqa: ARG002 - as the base class
        """Sign a socket in. A repeated sign-in is treated like the first."""
        app = socket.realm.app
        if not app.user_authentication:
            raise Refused(4009, f"{_AUTHENTICATION}User authentication is disabled for this app")
        value = None if message.data is msgspec.UNSET else parse_json(message.data)
        if not isinstance(value, dict):
            raise Refused(4000, "Invalid message format: Invalid signin data format")
        auth, user_data = value.get("auth"), value.get("user_data")
        for field, given in (("auth", auth), ("user_data", user_data)):
            if not isinstance(given, str):
                raise Refused(4009, f"{_AUTHENTICATION}Missing '{field}' field in signin data")
        assert isinstance(auth, str)
        assert isinstance(user_data, str)
        if wrong_user_authorization(app, socket.id, auth, user_data) is not None:
            raise Refused(
                4009,
                f"{_AUTHENTICATION}Connection not authorized for signin.",
                is_signature=True,
            )
        user = parse_json(user_data)
        if user is msgspec.UNSET:
            raise Refused(4009, f"{_AUTHENTICATION}Invalid user_data JSON")
        if not isinstance(user, dict) or not isinstance(user_id := user.get("id"), str):
            raise Refused(4009, f"{_AUTHENTICATION}Missing 'id' field in user_data")
        socket.authorized = True
        watched = user.get("watchlist")
        names = (
            [each for each in watched if isinstance(each, str)] if isinstance(watched, list) else []
        )
        socket.realm.users.sign_out(socket)
        socket.realm.users.sign_in(socket, user_id, msgspec.UNSET, names if app.watchlist else [])
        socket.send(encode("pusher:signin_success", data={"user_data": user_data}))


def _channel_of(fields: Mapping[str, Json]) -> str:
    channel = fields.get("channel")
    if not isinstance(channel, str):
        raise Refused(*_MISSING_CHANNEL)
    return channel
