"""The dialect of Laravel Reverb 1.10, as measured on the wire."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ._channels import Channel, Member
from ._conversation import Conversation, Refused, Subscribe
from ._dialect import Dialect, Ending, Manner
from ._frames import ClientMessage, Json, json_text, parse_json
from ._http import HttpResponse
from ._limits import ServerLimits
from ._names import Kind
from ._php import array_key, as_array, through_php
from ._realm import Socket
from ._signatures import wrong_channel_authorization
from ._users import Client

__all__ = ["ReverbConversation", "known_data"]

_UNLIMITED = 2**31
_MALFORMED = (4200, "Invalid message format")
_PREFIXES = (
    ("private", Kind.PRIVATE),
    ("presence", Kind.PRESENCE),
)
_CACHES = ("cache", "private-cache", "presence-cache")


def _kind(channel: str) -> Kind:
    """Return the kind of a channel. Reverb matches without the dash, and encrypted channels are private ones."""
    return next((kind for prefix, kind in _PREFIXES if channel.startswith(prefix)), Kind.PUBLIC)


def _cached(channel: str) -> bool:
    return channel.startswith(_CACHES)


class _Member(Member, frozen=True, kw_only=True):
    """A subscriber of a presence channel, with its `channel_data` as PHP decodes it."""

    data: dict[str, Json]


class _Message(ClientMessage, frozen=True):
    """A message with its whole text, as PHP would write it."""

    text: str = ""


class _Channel(Channel):
    """A channel of Reverb: it keeps the `channel_data` of each connection and derives the members from it."""

    @property
    def shown_name(self) -> str | None:
        """The name, or None for a name that is false in PHP."""
        return None if self.name in ("", "0") else self.name

    def add(self, socket: Client, member: Member | None) -> bool:
        """Add a subscriber. A falsy user id is a new member with each connection."""
        is_new = member is not None and not self._is_there(member)
        self.subscribers[socket] = member
        return is_new

    def remove(self, socket: Client) -> Member | None:
        """Remove a subscriber. A falsy user id never leaves."""
        member = self.subscribers.pop(socket)
        if member is None or member.user_id in ("", "0") or self._is_there(member):
            return None
        return member

    def _is_there(self, member: Member) -> bool:
        there = (each.user_id for each in self.subscribers.values() if each is not None)
        return member.user_id not in ("", "0") and member.user_id in there

    @property
    def members(self) -> dict[str, Member]:
        """The users by their ids."""
        found: dict[str, Member] = {}
        for member in self.subscribers.values():
            if member is not None and member.user_id:
                found.setdefault(member.user_id, member)
        return found

    def success_data(self) -> object:
        """Return the data of the success. A member without an id empties the list; one without info breaks it."""
        if self.kind is not Kind.PRESENCE:
            return {}
        rows: dict[str, dict[str, Json]] = {}
        for member in self.subscribers.values():
            assert isinstance(member, _Member)
            rows.setdefault(member.user_id, member.data)
        if any(row.get("user_id") is None for row in rows.values()):
            return {"presence": {"count": 0, "ids": [], "hash": []}}
        if any("user_info" not in row for row in rows.values()):
            return msgspec.UNSET
        ids = [row["user_id"] for row in rows.values()]
        keys = [array_key(each) for each in ids]
        if None in keys:
            return msgspec.UNSET
        infos = [row["user_info"] for row in rows.values()]
        known = as_array({key or "": info for key, info in zip(keys, infos, strict=True)})
        return {"presence": {"count": len(rows), "ids": ids, "hash": known}}

    def added_data(self, member: Member) -> object:
        """Return all of the member's `channel_data`."""
        assert isinstance(member, _Member)
        return member.data

    def removed_data(self, member: Member) -> object:
        """Return the id of a member as it was given."""
        assert isinstance(member, _Member)
        return {"user_id": member.data["user_id"]}

    def user_id_of(self, sender: Client) -> object:
        """Return the id of a sender as it was given."""
        member = self.subscribers.get(sender)
        return member.data.get("user_id") if isinstance(member, _Member) else None


class ReverbConversation(Conversation):
    """Answers clients as Reverb does."""

    dialect: ClassVar[Dialect] = Dialect(
        name="reverb",
        activity_timeout=30,
        socket_id_limits=(10**9, 10**9),
        limits=ServerLimits(
            head=10_000,
            body=10_000,
            message=10_000,
            event_data=_UNLIMITED,
            members=_UNLIMITED,
            member_size=_UNLIMITED,
            name=_UNLIMITED,
            subscriptions=_UNLIMITED,
        ),
        error_data_is_text=True,
        pong='{"event":"pusher:pong"}',
        ping='{"event":"pusher:ping"}',
        cache_miss_data=None,
        subscription_count=False,
        binary_is_text=True,
        reply_to_broken=lambda code, reason: (
            code,
            {
                1007: "Ratchet detected an invalid UTF-8 payload",
                1009: "Maximum message size exceeded",
            }.get(code, reason),
        ),
        ends_at_once=True,
        kind=_kind,
        cached=_cached,
        channel=_Channel,
        users_by_presence=True,
        cache_ends_with_channel=True,
        caches_everything=True,
        checks_query=False,
        origin_is_host=True,
        counts_subscribed=True,
        wrong_path=HttpResponse(404, b"Not found.", close=True),
        unknown_app=Ending(4001, "Application does not exist", Manner.END),
        over_quota=Ending(4004, "Application is over connection quota", Manner.STAY),
        wrong_origin=Ending(4009, "Origin not allowed", Manner.STAY),
        terminated=Ending(4009, "", Manner.SILENT),
        pong_missed=Ending(4201, "Pong reply not received in time", Manner.END),
        shut_down=Ending(4200, "", Manner.SILENT),
        message_rate=Ending(4301, "Rate limit exceeded", Manner.SILENT),
        tick=60.0,
        plain_get=HttpResponse(500, b"Internal server error.", close=True),
        other_method=HttpResponse(405, b"Method not allowed.", (("Allow", "GET"),), close=True),
        not_found=HttpResponse(404, b"Not found.", close=True),
        health=HttpResponse(
            200, b'{"health":"OK"}', (("Content-Type", "application/json"),), close=True
        ),
        too_large=HttpResponse(413, b"Payload too large.", close=True),
        body_limit_counts_head=True,
        checks_published=False,
    )

    def parse(self, text: str) -> ClientMessage:
        """Return a message; JSON in the text of its data is decoded."""
        value = parse_json(text)
        if not isinstance(value, dict) or not isinstance(value.get("event"), str):
            raise Refused(*_MALFORMED)
        if isinstance(inner := value.get("data"), str):
            decoded = parse_json(inner)
            value["data"] = inner if decoded is msgspec.UNSET else decoded
        event, channel = str(value["event"]), value.get("channel")
        if isinstance(given := value.get("data"), dict) and isinstance(given.get("channel"), int):
            given["channel"] = str(given["channel"])
        if not event.startswith("pusher:"):
            # Reverb validates channel and data before it looks at the name of a client event.
            data = value.get("data")
            if not isinstance(channel, str) or not (
                data is None or data == "" or isinstance(data, dict | list)
            ):
                raise Refused(*_MALFORMED)
        raw = value.get("data", {} if event.startswith("pusher:") else None)
        return _Message(
            event,
            channel if isinstance(channel, str) else None,
            msgspec.Raw(json_text(raw).encode()),
            json_text(through_php(value)),
        )

    def other(self, socket: Socket, message: ClientMessage) -> None:  # noqa: ARG002 - as the base class
        """Refuse unknown events of the protocol; ignore all others."""
        if message.event.startswith("pusher:"):
            raise Refused(*_MALFORMED)

    def subscribe(self, socket: Socket, request: Subscribe, now: float) -> None:
        """Subscribe a socket. A repeated subscribe is treated like the first."""
        if (refusal := self._faults.take_channel(request.channel)) is not None:
            raise Refused(refusal.code or 4009, refusal.message or "Connection is unauthorized")
        socket.realm.subscribe(socket, request.channel, self.admit(socket, request), now)

    def admit(self, socket: Socket, request: Subscribe) -> Member | None:
        """Check the signature; return the member of a presence channel."""
        kind = _kind(request.channel)
        if kind is Kind.PUBLIC:
            return None
        app = socket.realm.app
        wrong = wrong_channel_authorization(
            app, socket.id, request.channel, request.auth or "", request.channel_data
        )
        if wrong is not None:
            raise Refused(4009, "Connection is unauthorized", is_signature=True)
        socket.authorized = True
        if kind is Kind.PRIVATE:
            return None
        value: Json | msgspec.UnsetType = {}
        if request.channel_data is not None:
            value = parse_json(request.channel_data)
        if not isinstance(value, dict | list):
            raise Refused(*_MALFORMED)
        data = value if isinstance(value, dict) else {}
        known = {name: through_php(each) for name, each in data.items()}
        user_id = known.get("user_id")
        info = known.get("user_info", msgspec.UNSET)
        return _Member(
            "" if user_id is None else _text(user_id),
            info if info is msgspec.UNSET else msgspec.Raw(json_text(info).encode()),
            data=known,
        )

    def unsubscribe(self, socket: Socket, name: str, now: float) -> None:
        """End a subscription, if there is one."""
        if name in socket.channels:
            socket.realm.unsubscribe(socket, name, now)

    def client_event(self, socket: Socket, message: ClientMessage, now: float) -> None:
        """Forward a client event of a subscriber, or of any connection where the app says so."""
        app, channel = socket.realm.app, message.channel or ""
        if not app.client_events:
            raise Refused(4301, "The app does not have client messaging enabled.")
        if app.client_events_from == "all":
            assert isinstance(message, _Message)
            socket.realm.forward(socket, channel, message.text, now)
            return
        if channel not in socket.channels:
            raise Refused(4009, "The client is not a member of the specified channel.")
        data = through_php(parse_json(message.data))  # type: ignore[arg-type]  # it was JSON in `parse`
        socket.realm.relay(socket, channel, message.event, data, now)

    def sign_in(self, socket: Socket, message: ClientMessage, now: float) -> None:  # noqa: ARG002 - as the base class
        """Refuse: Reverb has no sign-in."""
        raise Refused(*_MALFORMED)


def known_data(member: object) -> dict[str, Json]:
    """Return the `channel_data` of a subscriber, or nothing if it is not a member."""
    return member.data if isinstance(member, _Member) else {}


def _text(value: Json) -> str:
    """Return a value as PHP turns it into the key of an array."""
    return value if isinstance(value, str) else json_text(value)
