"""The world of one app: its sockets, its channels, and what reaches whom.

It trusts its callers: authorizations were checked and names are allowed when it is asked to do something.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable

import msgspec
from nacl.secret import SecretBox

from ..errors import LocalProtocolError
from ._channels import Cache, Channel, Member
from ._connection import Connection
from ._frames import encode, json_text
from ._limits import ServerLimits
from ._names import Kind, is_cache
from ._timers import Timers
from ._users import User, Users
from .apps import App

__all__ = ["Realm", "Socket"]

# Pusher tells large channels their count at most this often.
_COUNT_INTERVAL = 5.0
_LARGE_CHANNEL = 100


class Socket:
    """A client whose WebSocket has been greeted."""

    def __init__(self, connection: Connection, realm: Realm, socket_id: str, serial: int) -> None:
        self.connection = connection
        self.realm = realm
        self.id = socket_id
        self.serial = serial
        """How many sockets the server had greeted with this one."""
        self.user: User | None = None
        self.channels: dict[str, None] = {}
        self.recent_events: list[float] = []
        """When it sent its client events of the last second, where they are limited."""

    def send(self, text: str) -> None:
        """Send one message."""
        self.connection.send_text(text)


class Realm:
    """One app and all that lives in it."""

    def __init__(
        self, app: App, *, rng: random.Random, limits: ServerLimits, timers: Timers
    ) -> None:
        self.app = app
        self.sockets: dict[str, Socket] = {}
        self.channels: dict[str, Channel] = {}
        self.cache = Cache(limits.cached_channels)
        self.users = Users()
        self._rng = rng
        self._timers = timers

    # ---- sockets

    def enter(self, connection: Connection, serial: int) -> Socket:
        """Give a connection its socket."""
        socket_id = self._new_socket_id()
        while socket_id in self.sockets:
            socket_id = self._new_socket_id()
        socket = self.sockets[socket_id] = Socket(connection, self, socket_id, serial)
        return socket

    def leave(self, socket: Socket, now: float) -> None:
        """Forget a socket: its channels and its user hear of it, it does not."""
        del self.sockets[socket.id]
        for name in list(socket.channels):
            self.unsubscribe(socket, name, now)
        self.users.sign_out(socket)

    def _new_socket_id(self) -> str:
        return f"{self._rng.randrange(1, 10**6)}.{self._rng.randrange(1, 10**9)}"

    # ---- channels

    def subscribe(self, socket: Socket, name: str, member: Member | None, now: float) -> None:
        """Subscribe a socket and tell everybody whom it concerns."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(name)
        is_new = channel.add(socket, member)
        socket.channels[name] = None
        succeeded = json_text(channel.success_data())
        socket.send(encode("pusher_internal:subscription_succeeded", channel=name, data=succeeded))
        if is_cache(name):
            event = self.cache.get(name, now)
            socket.send(event.text if event else encode("pusher:cache_miss", channel=name))
        if is_new:
            data = json_text(_Joined(member.user_id, member.info)) if member else ""
            self._tell(
                channel, encode("pusher_internal:member_added", channel=name, data=data), socket
            )
        self._count_changed(channel, now)

    def unsubscribe(self, socket: Socket, name: str, now: float) -> None:
        """End a subscription and tell those who stay."""
        channel = self.channels[name]
        del socket.channels[name]
        gone = channel.remove(socket)
        if not channel.subscribers:
            del self.channels[name]
            self._timers.cancel(("count", self.app.key, name))
            return
        if gone is not None:
            data = json_text({"user_id": gone.user_id})
            self._tell(channel, encode("pusher_internal:member_removed", channel=name, data=data))
        self._count_changed(channel, now)

    def _count_changed(self, channel: Channel, now: float) -> None:
        if not self.app.subscription_count or channel.kind in (Kind.PRESENCE, Kind.USER):
            return
        if len(channel.subscribers) <= _LARGE_CHANNEL:
            self._tell_count(channel)
            return
        timer = ("count", self.app.key, channel.name)
        if timer not in self._timers:
            self._timers.set(timer, now + _COUNT_INTERVAL, lambda _: self._tell_count(channel))

    def _tell_count(self, channel: Channel) -> None:
        data = json_text({"subscription_count": len(channel.subscribers)})
        self._tell(
            channel,
            encode("pusher_internal:subscription_count", channel=channel.name, data=data),
        )

    def _tell(self, channel: Channel, text: str, but: Socket | None = None) -> int:
        count = 0
        for socket in channel.subscribers:
            if socket is not but:
                socket.send(text)
                count += 1
        return count

    # ---- events

    def publish(
        self, channel: str, event: str, data: str, *, but: str | None = None, now: float
    ) -> int:
        """Send an event to a channel except to the socket named `but`; how many it went to."""
        text = encode(event, channel=channel, data=data)
        if is_cache(channel):
            self.cache.put(channel, text, data, now)
        there = self.channels.get(channel)
        return self._tell(there, text, self.sockets.get(but or "")) if there else 0

    def relay(self, sender: Socket | None, channel: str, event: str, data: object) -> int:
        """Send a client's event to the others on the channel, with the sender's name on presence; to how many."""
        there = self.channels.get(channel)
        if there is None:
            return 0
        member = there.subscribers[sender] if sender is not None else None
        user_id = member.user_id if member else None
        return self._tell(there, encode(event, channel=channel, data=data, user_id=user_id), sender)

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

    def sockets_of(self, user_id: str) -> Iterable[Socket]:
        """Return the sockets that are signed in as a user."""
        user = self.users.get(user_id)
        return list(user.sockets) if user else []


class _Joined(msgspec.Struct, frozen=True):
    user_id: str
    user_info: msgspec.Raw | msgspec.UnsetType
