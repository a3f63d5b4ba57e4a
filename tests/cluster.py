"""A test server with the habits of a cluster of Sockudo nodes, for the simulated world.

- A member is put on the channel before the list is made, and the success is written later: others' joins and leaves
  arrive before it (C2).
- When the last connection of a channel ends, a subscribe within the next moments is confirmed and gets nothing, until
  it is repeated (C1). Leaving by `unsubscribe` is not affected.
- When the only connection of a member ends, its removal is sent late, even if the member is back by then; no join
  follows (C3).
- A client event on a channel that the server does not count as subscribed is answered by 4301.

Habits that leave no trace on the wire are left out: lists that two nodes keep apart, and events that one node does not
hear from the other.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from pusher_proto.server._channels import Channel, Member
from pusher_proto.server._connection import Connection
from pusher_proto.server._frames import encode, json_text
from pusher_proto.server._realm import Realm, Shared, Socket
from pusher_proto.testing import DEMO_APP, App, Server, ServerOptions
from simulation import World

__all__ = ["Cluster", "cluster_world"]

_ANSWERS = ("pusher:pong", "subscription_succeeded", "pusher:error", "pusher:cache_miss")
_DEAF_WITHIN = ((0.0, 0.006), (0.1, 0.14))
"""After the last connection of a channel ended: the seconds in which a subscribe gets nothing."""


class ClusterSocket(Socket):
    """A client whose answers wait for the node to ask the others; what is broadcast does not wait."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.answers: deque[tuple[float, str]] = deque()

    def send(self, text: str) -> None:
        """Send one message, an answer after the answers before it."""
        if self.answers and any(name in text[:80] for name in _ANSWERS):
            self.answers.append((0.0, text))
        else:
            super().send(text)

    def answer(self, text: str, at: float) -> None:
        """Send an answer at a time, if those before it have gone out."""
        self.answers.append((at, text))

    def flush(self, now: float) -> None:
        """Send the answers that are due."""
        while self.answers and self.answers[0][0] <= now:
            super().send(self.answers.popleft()[1])


class ClusterRealm(Realm):
    """An app on several nodes."""

    seconds = 0.02
    """The time that the nodes need to ask each other."""

    def __init__(self, app: App, shared: Shared) -> None:
        super().__init__(app, shared)
        self.random = random.Random(self._rng.random())
        self.ended: dict[str, float] = {}
        """When the last connection of a channel ended."""
        self.deafened = self.late_removals = 0
        self._serial = 0

    def enter(self, connection: Connection, serial: int) -> Socket:
        """Give a connection its socket."""
        socket_id = self._new_socket_id()
        socket = self.sockets[socket_id] = ClusterSocket(connection, self, socket_id, serial)
        return socket

    def subscribe(self, socket: Socket, name: str, member: Member | None, now: float) -> None:
        """Subscribe a socket; a moment after a channel's end it is confirmed and forgotten."""
        ended = self.ended.get(name, float("-inf"))
        since = now - ended
        super().subscribe(socket, name, member, now)
        if any(low <= since <= high for low, high in _DEAF_WITHIN):
            self.deafened += 1
            channel = self.channels[name]
            channel.remove(socket)
            del socket.channels[name]
            if not channel.subscribers:
                del self.channels[name]

    def confirm(self, socket: Socket, channel: Channel, now: float) -> None:
        """Make the list now, and write the success later."""
        held: list[str] = []
        probe = Socket(socket.connection, self, socket.id, socket.serial)
        # Without them no cached event would follow.
        probe.channels = socket.channels
        probe.send = held.append  # type: ignore[method-assign, assignment]  # what the realm would send is kept
        super().confirm(probe, channel, now)
        assert isinstance(socket, ClusterSocket)
        delay = self.random.uniform(0, self.seconds)
        for text in held:
            socket.answer(text, now + delay)
        self._serial += 1
        self._timers.set(("cluster", self._serial), now + delay, socket.flush)

    def leave(self, socket: Socket, now: float) -> None:
        """Forget a socket; its members are removed late."""
        names = list(socket.channels)
        for name in names:
            member = self.channels[name].subscribers[socket]
            if member is None:
                self.unsubscribe(socket, name, now)
            else:
                self._remove_late(socket, name, now)
            if name not in self.channels:
                self.ended[name] = now
        socket.channels.clear()
        super().leave(socket, now)

    def _remove_late(self, socket: Socket, name: str, now: float) -> None:
        """Keep the member for a while; then everybody is sent its removal, also if it is back."""
        self._serial += 1
        delay = self.random.uniform(0, 0.15)
        member = self.channels[name].subscribers[socket]
        assert member is not None
        sockets = [one for one, its in self.channels[name].subscribers.items() if its == member]
        was_only_one = sockets == [socket]

        def remove(now: float) -> None:
            channel = self.channels[name]
            before = set(channel.members)
            socket.channels[name] = None
            self.unsubscribe(socket, name, now)
            if name not in self.channels:
                self.ended[name] = now
            elif set(channel.members) == before and was_only_one:
                self.late_removals += 1
                self._send(channel, _removed(name, member.user_id))

        self._timers.set(("cluster", self._serial), now + delay, remove)


_OPTIONS = ServerOptions(dialect="sockudo")


class Cluster(Server):
    """A server of several nodes."""

    def __init__(
        self,
        apps: Sequence[App] = (DEMO_APP,),
        options: ServerOptions = _OPTIONS,
        *,
        rng: random.Random,
    ) -> None:
        super().__init__(apps, options, rng=rng)
        later = partial(self._after, "cache")
        shared = Shared(self._dialect, rng, self._limits, self._timers, self._reports, later)
        self._realms = {app.key: ClusterRealm(app, shared) for app in apps}

    @property
    def realm(self) -> ClusterRealm:
        """The app that all clients use."""
        realm = self._realm(None)
        assert isinstance(realm, ClusterRealm)
        return realm


def _removed(name: str, user_id: str) -> str:
    data = json_text({"user_id": user_id})
    return encode("pusher_internal:member_removed", channel=name, data=data)


def cluster_world(seed: int) -> tuple[World, Cluster]:
    """Return a simulated world whose server is a cluster."""
    server = Cluster(rng=random.Random(seed))
    return World(seed, server), server
