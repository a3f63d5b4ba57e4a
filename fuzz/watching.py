"""Watches the simulated world from outside: requests at the server, the logs, and the memory."""

from __future__ import annotations

import gc
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

from cluster import Cluster
from fuzz.application import Broken
from fuzz.outgoing import ALL, LATEST
from pusher_proto.server._channels import Channel
from pusher_proto.server._realm import Socket
from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.testing import Server

__all__ = ["WatchedCluster", "WatchedServer", "log_frames", "no_secret_in_logs", "reachable"]

SUBSCRIBE_TIMEOUT = 30.0
"""The default of `Options.subscribe_timeout`, which all applications have."""
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class WatchedServer(Server):
    """A server that checks the requests of clients: none twice, and none with an authorization for another
    connection."""

    def __init__(self, *args: Any, secrets: Iterable[str], **more: Any) -> None:
        super().__init__(*args, **more)
        self._secrets = tuple(secrets)
        self.asked_again: set[tuple[str | None, str]] = set()
        """Subscriptions (socket id, channel) that an application asked for again when no answer had been read."""
        self.overtakes: Callable[[str], object] = str
        """Called with a channel when a socket was added to it, before the success is sent: events may come between."""
        self.arrived: Callable[[dict[str, Any]], object] = dict
        """Called with the data of each client event that was triggered with an outbox."""
        for realm in self._realms.values():
            realm.confirm = partial(self._confirm, realm.confirm)  # type: ignore[method-assign]  # the realm is made by the server
        self._asked_at: dict[tuple[str | None, str], float] = {}
        """When the client sent its last request for each subscription."""
        self.slept: tuple[float, float] | None = None
        """When the machine last fell asleep and when it woke."""
        self.repeats: set[tuple[str | None, str]] = set()
        """Subscriptions that were requested a second time, to wake subscriptions that get nothing."""

    def _confirm(
        self, confirm: Callable[..., None], socket: Socket, channel: Channel, now: float
    ) -> None:
        self.overtakes(channel.name)
        confirm(socket, channel, now)

    def _may_repeat(self, ask: tuple[str | None, str]) -> bool:
        """Return whether a subscription may be requested again."""
        return False

    def _log(self, connection: Any, message: Any) -> None:
        super()._log(connection, message)
        socket, data = self._sockets.get(connection), self.received[-1].data
        if socket is None or not isinstance(data, dict):
            return
        if message.event in (ALL, LATEST):
            self.arrived(data)
        key, auth = socket.realm.app.key, data.get("auth")
        if message.event == "pusher:subscribe":
            channel = str(data["channel"])
            ask = socket.id, channel
            # A subscribe whose answer does not come in time is sent again: the server may have taken it. What arrives
            # at the moment of waking was sent before the sleep.
            asleep, awake = self.slept or (self._now, self._now)
            sent_at = asleep if self._now == awake else self._now
            late = sent_at - self._asked_at.get(ask, sent_at) >= SUBSCRIBE_TIMEOUT
            self._asked_at[ask] = sent_at
            again = late or ask in self.asked_again
            if channel in socket.channels and not again and not self._may_repeat(ask):
                raise Broken(f"{channel} is subscribed, and asked for once more")
            if auth is not None:
                said: Any = data.get("channel_data")
                self._check(
                    auth, lambda secret: sign_channel(key, secret, socket.id, channel, said)
                )
        elif message.event == "pusher:unsubscribe":
            self.repeats.discard((socket.id, str(data["channel"])))
        elif message.event == "pusher:signin":
            user: Any = data["user_data"]
            self._check(auth, lambda secret: sign_user(key, secret, socket.id, user))

    def _check(self, auth: object, sign: Callable[[str], str]) -> None:
        if not any(auth == sign(secret) for secret in self._secrets):
            raise Broken("an authorization was used that is not for this connection")


class WatchedCluster(WatchedServer, Cluster):
    """The same for a cluster. A client with `several_nodes` subscribes to each channel twice, and not more often."""

    def _may_repeat(self, ask: tuple[str | None, str]) -> bool:
        known = ask in self.repeats
        self.repeats.add(ask)
        return not known


@contextmanager
def no_secret_in_logs(secrets: Iterable[str]) -> Iterator[None]:
    """Check everything that the core logs, at every level.

    The check replaces the method that makes records and passes them to handlers, which take three times as long.
    """
    kept = tuple(secrets)

    @lru_cache(maxsize=4096)
    def leaks(text: str) -> bool:
        for secret in kept:
            if secret in text:
                return True
        return _SIGNATURE.search(text) is not None

    def check(
        self: logging.Logger, level: int, msg: object, args: Any, exc_info: Any = None, **more: Any
    ) -> None:
        if not self.name.startswith("pusher_proto"):
            original(self, level, msg, args, exc_info, **more)
            return
        text = str(msg) % args if args else str(msg)
        if exc_info:
            text += f" {sys.exc_info() if exc_info is True else exc_info}"
        if leaks(text):
            raise Broken(f"a secret in the log of {self.name}: {msg}")

    logger, original = logging.getLogger("pusher_proto"), logging.Logger._log
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logging.Logger._log = check  # type: ignore[assignment]  # with the arguments that the library's calls have
    try:
        yield
    finally:
        logging.Logger._log = original  # type: ignore[method-assign]  # as it was
        logger.setLevel(level)
        log_frames(True)


def log_frames(logs: bool) -> None:
    """Let the core log the frames at DEBUG or not. Only a core that does not log them reads plain events fast."""
    logging.getLogger("pusher_proto.protocol").setLevel(logging.NOTSET if logs else logging.INFO)


def reachable(root: object) -> int:
    """Return the number of objects that `root` refers to, without code."""
    code = (type, ModuleType, FunctionType, BuiltinFunctionType, MappingProxyType)
    seen = {id(root)}
    waiting = [root]
    while waiting:
        for one in gc.get_referents(waiting.pop()):
            if id(one) not in seen and not isinstance(one, code):
                seen.add(id(one))
                waiting.append(one)
    return len(seen)
