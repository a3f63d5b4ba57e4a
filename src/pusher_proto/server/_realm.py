"""One app: its sockets and channels, and the delivery of events.

It trusts its callers, which check authorizations and names.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from logging import DEBUG

import msgspec
from nacl.secret import SecretBox

from ..errors import LocalProtocolError
from ._channels import Cache, Channel, Member
from ._connection import Connection
from ._dialect import Dialect
from ._frames import encode, json_text
from ._limits import ServerLimits
from ._names import USER_CHANNEL, Kind
from ._reports import Reports
from ._timers import Timers
from ._users import Client, Users
from ._webhooks import Webhooks
from ._websocket import text_frame
from .apps import App

__all__ = ["Realm", "Shared", "Socket"]

# Pusher sends the count of a large channel at most this often.
_COUNT_INTERVAL = 5.0
_LARGE_CHANNEL = 100


class Socket(Client):
    """A client of one app."""

    def __init__(self, connection: Connection, realm: Realm, socket_id: str, serial: int) -> None:
        super().__init__(connection, socket_id, serial)
        self.realm = realm


@dataclass(frozen=True)
class Shared:
    """The parts of a server that all its apps use."""

    dialect: Dialect
    rng: random.Random
    limits: ServerLimits
    timers: Timers
    reports: Reports
    send_cached: Callable[[Connection, Callable[[float], None], float], None]
    """Calls a function that sends a cached event: at once, or after the delay of such answers."""


class Realm:
    """One app, with its sockets, channels, cached events and users."""

    def __init__(self, app: App, shared: Shared) -> None:
        self.app = app
        self.dialect: Dialect = shared.dialect
        self.sockets: dict[str, Socket] = {}
        self.channels: dict[str, Channel] = {}
        self.cache: Cache = Cache(shared.limits.cached_channels, shared.dialect.cache_lifetime)
        self.users: Users = shared.dialect.users()
        self.webhooks: Webhooks | None = None
        self._reports = shared.reports
        self._send_cached_later = shared.send_cached
        self._rng = shared.rng
        self._timers = shared.timers

    # ---- sockets

    def enter(self, connection: Connection, serial: int) -> Socket:
        """Create the socket of a connection."""
        socket_id = self._new_socket_id()
        while socket_id in self.sockets:
            socket_id = self._new_socket_id()
        socket = self.sockets[socket_id] = Socket(connection, self, socket_id, serial)
        return socket

    def leave(self, socket: Socket, now: float) -> None:
        """Forget a socket, and notify the other subscribers of its channels and the watchers of its user."""
        del self.sockets[socket.id]
        for name in list(socket.channels):
            self.unsubscribe(socket, name, now)
        self.users.sign_out(socket)

    def _new_socket_id(self) -> str:
        first, second = self.dialect.socket_id_limits
        return f"{self._rng.randrange(1, first)}.{self._rng.randrange(1, second)}"

    # ---- channels

    def subscribe(self, socket: Socket, name: str, member: Member | None, now: float) -> None:
        """Subscribe a socket, and notify the other subscribers."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = self.dialect.channel(name, self.dialect.kind(name))
            self._hook(now, "channel_occupied", name)
        is_new = channel.add(socket, member)
        socket.channels[name] = None
        self.confirm(socket, channel, now)
        if is_new and member is not None:
            data = json_text(channel.added_data(member))
            self._send(
                channel, encode("pusher_internal:member_added", channel=name, data=data), socket
            )
            self._hook(now, "member_added", name, user_id=member.user_id)
        if self._reports.wanted(DEBUG):
            self._reports.debug(
                "subscribed",
                f"{socket.id} subscribed to {name}",
                now,
                app=self.app.key,
                socket_id=socket.id,
                channel=name,
                count=len(channel.subscribers),
            )
        self._count_changed(channel, now)

    def confirm(self, socket: Socket, channel: Channel, now: float) -> None:
        """Send a subscriber the success of its subscribe and the cached event."""
        data = channel.success_data()
        if data is msgspec.UNSET:
            socket.send(self.dialect.error(4200, "Invalid message format"))
            return
        name, text = channel.shown_name, json_text(data)
        socket.send(encode("pusher_internal:subscription_succeeded", channel=name, data=text))
        if self.dialect.cached(channel.name):
            send = partial(self._send_cached, socket, channel.name)
            self._send_cached_later(socket.connection, send, now)

    def _send_cached(self, socket: Socket, name: str, now: float) -> None:
        if name not in socket.channels:
            return
        event = self.cache.get(name, now)
        socket.send(event.text if event else self.dialect.cache_miss(name))
        if event is None:
            self._hook(now, "cache_miss", name)

    def unsubscribe(self, socket: Socket, name: str, now: float) -> None:
        """End a subscription, and notify the remaining subscribers."""
        channel = self.channels[name]
        del socket.channels[name]
        gone = channel.remove(socket)
        if gone is not None:
            data = json_text(channel.removed_data(gone))
            text = encode("pusher_internal:member_removed", channel=name, data=data)
            self._send(channel, text)
            if self.dialect.caches_everything and self.dialect.cached(name):
                self.cache.put(name, text, data, now)
            self._hook(now, "member_removed", name, user_id=gone.user_id)
        if self._reports.wanted(DEBUG):
            self._reports.debug(
                "unsubscribed",
                f"{socket.id} left {name}",
                now,
                app=self.app.key,
                socket_id=socket.id,
                channel=name,
                count=len(channel.subscribers),
            )
        if not channel.subscribers:
            del self.channels[name]
            self._timers.cancel(("count", self.app.key, name))
            if self.dialect.cache_ends_with_channel:
                self.cache.drop(name)
            self._hook(now, "channel_vacated", name)
            return
        self._count_changed(channel, now)

    def _count_changed(self, channel: Channel, now: float) -> None:
        if not (self.app.subscription_count and self.dialect.subscription_count):
            return
        if channel.kind in (Kind.PRESENCE, Kind.USER):
            return
        if len(channel.subscribers) <= _LARGE_CHANNEL:
            self._send_count(channel, now)
            return
        timer = ("count", self.app.key, channel.name)
        if timer not in self._timers:
            self._timers.set(timer, now + _COUNT_INTERVAL, partial(self._send_count, channel))

    def _send_count(self, channel: Channel, now: float) -> None:
        count = len(channel.subscribers)
        self._hook(now, "subscription_count", channel.name, subscription_count=count)
        data = json_text({"subscription_count": count})
        self._send(
            channel,
            encode("pusher_internal:subscription_count", channel=channel.name, data=data),
        )

    def _send(self, channel: Channel, text: str, but: Socket | None = None) -> int:
        # The same bytes for all: a frame to a client has no mask.
        frame = text_frame(text)
        count = 0
        for socket in channel.subscribers:
            if socket is not but:
                socket.connection.send_frame(frame)
                count += 1
        return count

    def _hook(self, now: float, name: str, channel: str, **fields: object) -> None:
        if self.webhooks is not None:
            self.webhooks.happened(self.app, {"name": name, "channel": channel, **fields}, now)

    # ---- events

    def publish(
        self, channel: str, event: str, data: str, *, but: str | None = None, now: float
    ) -> int:
        """Send an event to the subscribers of a channel except the socket `but`; return their number."""
        text = encode(event, channel=channel, data=data)
        if self._reports.wanted(DEBUG):
            self._reports.debug(
                "published",
                f"event {event} published on {channel}",
                now,
                app=self.app.key,
                channel=channel,
                event=event,
            )
        if self.dialect.users_by_presence and self.dialect.kind(channel) is Kind.USER:
            sockets = self.sockets_of(channel.removeprefix(USER_CHANNEL))
            for socket in sockets:
                socket.send(text)
            return len(sockets)
        there = self.channels.get(channel)
        if self.dialect.cached(channel) and (there or not self.dialect.cache_ends_with_channel):
            self.cache.put(channel, text, data, now)
        return self._send(there, text, self.sockets.get(but or "")) if there else 0

    def relay(
        self, sender: Socket | None, channel: str, event: str, data: object, now: float
    ) -> int:
        """Send a client event to the other subscribers of a channel, with the sender's id on a presence channel."""
        there = self.channels.get(channel)
        user_id = there.user_id_of(sender) if there and sender is not None else None
        text = encode(event, channel=channel, data=data, user_id=user_id)
        if self.webhooks is not None and there is not None:
            details = {} if user_id is None else {"user_id": str(user_id)}
            if sender is not None:
                details["socket_id"] = sender.id
            shown = data if isinstance(data, str) else json_text(data)
            self._hook(now, "client_event", channel, event=event, data=shown, **details)
        if self._reports.wanted(DEBUG):
            self._reports.debug(
                "client event",
                f"client event {event} on {channel}",
                now,
                app=self.app.key,
                socket_id=None if sender is None else sender.id,
                channel=channel,
                event=event,
            )
        return self.forward(sender, channel, text, now)

    def forward(self, sender: Socket | None, channel: str, text: str, now: float) -> int:
        """Send the text of a client event to the other subscribers of a channel; return their number."""
        there = self.channels.get(channel)
        if there is None:
            return 0
        if self.dialect.caches_everything and self.dialect.cached(channel):
            self.cache.put(channel, text, "", now)
        return self._send(there, text, sender)

    def encrypt(self, channel: str, text: str) -> str:
        """Return the data of an event on an encrypted channel."""
        key = self.app.shared_secret(channel)
        if key is None:
            raise LocalProtocolError(f"app {self.app.key!r} has no encryption master key")
        # From the injected generator, so that a run can be repeated. Only fit for tests.
        nonce = self._rng.randbytes(SecretBox.NONCE_SIZE)
        box = SecretBox(key).encrypt(text.encode(), nonce)
        return json_text(
            {
                "nonce": base64.b64encode(nonce).decode(),
                "ciphertext": base64.b64encode(box.ciphertext).decode(),
            }
        )

    def sockets_of(self, user_id: str) -> list[Client]:
        """Return the sockets of a user."""
        user = self.users.get(user_id)
        found = dict.fromkeys(user.sockets) if user else {}
        if self.dialect.users_by_presence:
            for channel in self.channels.values():
                for socket, member in channel.subscribers.items():
                    if member is not None and member.user_id == user_id:
                        found[socket] = None
        return list(found)
