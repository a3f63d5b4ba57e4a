"""Signed-in users of one app, and their watchlists. Its callers check authorizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from ._frames import encode, json_text

if TYPE_CHECKING:
    from ._realm import Socket

__all__ = ["User", "Users"]


class User:
    """A user while at least one socket is signed in as them."""

    def __init__(self, user_id: str, info: msgspec.Raw | msgspec.UnsetType) -> None:
        self.id = user_id
        self.info = info
        """The `user_info` of the first sign-in."""
        # Dicts are used as sets that keep their order: the same inputs give the same effects.
        self.sockets: dict[Socket, Sequence[str]] = {}
        """Each socket with the users that it watches."""


class Users:
    """The signed-in users and their watchers."""

    def __init__(self) -> None:
        self._online: dict[str, User] = {}
        self._watchers: dict[str, dict[Socket, None]] = {}

    def get(self, user_id: str) -> User | None:
        """Return a user, or None when no socket is signed in as that user."""
        return self._online.get(user_id)

    def online(self) -> dict[str, set[str]]:
        """Return all signed-in users with the ids of their sockets."""
        return {user.id: {socket.id for socket in user.sockets} for user in self._online.values()}

    def sign_in(
        self,
        socket: Socket,
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

    def sign_out(self, socket: Socket) -> None:
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

    def _notify_watchers(self, user_id: str, text: str, but: Socket) -> None:
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
