"""Signed-in users of one app, and their watchlists. Its callers check authorizations."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ._connection import Connection
from ._frames import encode, json_text

__all__ = ["Client", "User", "Users"]


class Client:
    """A client with a socket id, whichever app it uses."""

    def __init__(self, connection: Connection, socket_id: str, serial: int) -> None:
        self.connection = connection
        self.id = socket_id
        self.serial = serial
        """The number of this client among all that the server has greeted, from 1."""
        self.user: User | None = None
        self.authorized = False
        """Whether it has signed in, or subscribed to a channel that needs an authorization."""
        self.channels: dict[str, None] = {}
        self.recent_events: list[float] = []
        """Times of its client events in the last second, if their rate is limited."""
        self.window: tuple[float, int] = (float("-inf"), 0)
        """Start of the current window of `App.message_rate`, and the messages in it."""

    def send(self, text: str) -> None:
        """Send one message."""
        self.connection.send_text(text)


class User:
    """A user while at least one socket is signed in as them."""

    def __init__(self, user_id: str, info: msgspec.Raw | msgspec.UnsetType) -> None:
        self.id = user_id
        self.info = info
        """The `user_info` of the first sign-in."""
        # Dicts are used as sets that keep their order: the same inputs give the same effects.
        self.sockets: dict[Client, Sequence[str]] = {}
        """Each socket with the users that it watches."""


class Users:
    """The signed-in users and their watchers."""

    def __init__(self) -> None:
        self._online: dict[str, User] = {}
        self._watchers: dict[str, dict[Client, None]] = {}

    def get(self, user_id: str) -> User | None:
        """Return a user, or None when no socket is signed in as that user."""
        return self._online.get(user_id)

    def online(self) -> dict[str, set[str]]:
        """Return all signed-in users with the ids of their sockets."""
        return {user.id: {socket.id for socket in user.sockets} for user in self._online.values()}

    def sign_in(
        self,
        socket: Client,
        user_id: str,
        info: msgspec.Raw | msgspec.UnsetType,
        watched: Sequence[str],
    ) -> None:
        """Sign a socket in, send it the status of the users that it watches, and notify the watchers of its user."""
        user = self._online.get(user_id)
        is_new = user is None
        if user is None:
            user = self._online[user_id] = User(user_id, info)
        user.sockets[socket] = watched
        socket.user = user
        for other in watched:
            self._watchers.setdefault(other, {})[socket] = None
        here = [other for other in watched if other in self._online]
        away = [other for other in watched if other not in self._online]
        if watched:
            socket.send(_watchlist_events(online=here, offline=away))
        if is_new:
            self._notify_watchers(user_id, _watchlist_events(online=[user_id]), socket)

    def sign_out(self, socket: Client) -> None:
        """Sign a socket out; with its last socket the user goes offline."""
        user = socket.user
        if user is None:
            return
        socket.user = None
        for other in user.sockets.pop(socket):
            watchers = self._watchers[other]
            watchers.pop(socket, None)
            if not watchers:
                del self._watchers[other]
        if not user.sockets:
            del self._online[user.id]
            self._notify_watchers(user.id, _watchlist_events(offline=[user.id]), socket)

    def _notify_watchers(self, user_id: str, text: str, but: Client) -> None:
        for watcher in self._watchers.get(user_id, ()):
            if watcher is not but:
                watcher.send(text)


def _watchlist_events(*, online: Sequence[str] = (), offline: Sequence[str] = ()) -> str:
    events = [
        {"name": name, "user_ids": list(ids)}
        for name, ids in (("online", online), ("offline", offline))
        if ids
    ]
    return encode("pusher_internal:watchlist_events", data=json_text({"events": events}))
