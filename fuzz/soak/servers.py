"""The servers of the soak: the development server in two dialects, and the real servers of the tests."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, ClassVar, NamedTuple

from fuzz.soak.judge import Published
from real_servers.process import App, Habits, RealServer, ServerError, Tls
from reverb import harness as reverb
from sockudo import harness as sockudo
from soketi import harness as soketi

__all__ = ["APP", "MASTER_KEY", "PING_AFTER", "SERVERS", "Publisher", "Service"]

MASTER_KEY = bytes(range(32))
APP = App(
    id="1001",
    key="soak-key",
    secret="soak-secret",
    user_authentication=True,
)
PING_AFTER = 15
"""Seconds of silence after which the project's own server pings a client."""
_MORE: dict[str, dict[str, Any]] = {
    "reverb": {"ping_interval": PING_AFTER, "activity_timeout": 10},
    "sockudo": {"enable_watchlist_events": True},
}
"""Additional settings of the app, by the kind of the server."""


class Own(RealServer):
    """`pusher-proto serve` as a process."""

    dialect: ClassVar[str] = "pusher"
    habits = Habits(
        options="from_host",
        bad_signature=4009,
        bad_name=4009,
        long_event_name=4301,
        names_senders=True,
        integer_ids=True,
        info_is_optional=True,
        presence_caches=True,
    )

    @classmethod
    def _launch(
        cls,
        apps: tuple[App, ...],
        port: int,
        tls: Tls | None,
        log: IO[bytes],
        settings: Mapping[str, Any],
    ) -> subprocess.Popen[bytes]:
        assert not settings
        command = [sys.executable, "-m", "pusher_anyio", "serve", "--host", "127.0.0.1"]
        command += [
            "--port",
            str(port),
            "--dialect",
            cls.dialect,
            "--client-events",
            "--subscription-count",
        ]
        command += ["--activity-timeout", "10", "--ping-after", str(PING_AFTER)]
        command += ["--encryption-master-key", b64encode(MASTER_KEY).decode()]
        if tls is not None:
            command += ["--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
        for app in apps:
            command += ["--app", f"{app.id}:{app.key}:{app.secret}"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_ready(self) -> None:
        self._wait_until(lambda: '"port"' in self.log)


class OwnAsReverb(Own):
    """`pusher-proto serve` in the dialect of Laravel Reverb."""

    dialect = "reverb"
    habits = Habits(
        options="for_reverb",
        bad_signature=4009,
        bad_name=4009,
        long_event_name=4301,
        signs_in=False,
        names_senders=False,
        integer_ids=True,
        info_is_optional=True,
        presence_caches=True,
    )


class Service:
    """The running server, which can be ended and started again on the same port."""

    def __init__(self, kind: str, tls: Tls | None = None) -> None:
        self.kind = kind
        self.tls = tls
        self.has_watchlists = kind in ("own", "sockudo")
        self._class, self._settings, self._why_not, self.notices_after = SERVERS[kind]
        self.signs_in = self._class.habits.signs_in
        self._app = replace(APP, more=_MORE.get(kind, {}))
        reason = self._why_not()
        if reason is not None:
            raise ServerError(f"no {kind}: {reason}")
        self.server = self._class.start([self._app], tls=tls, **self._settings)
        self.is_up = True

    @property
    def options(self) -> str:
        """Return the name of the constructor of `Options` for this server."""
        return self._class.habits.options

    def end(self, how: str) -> None:
        """End the server by SIGKILL or SIGTERM."""
        self.is_up = False
        (self.server.kill if how == "SIGKILL" else self.server.terminate)()

    def start(self) -> None:
        """Start the server again on its port."""
        port = self.server.port
        self.server = self._class.start([self._app], port=port, tls=self.tls, **self._settings)
        self.is_up = True


def _always() -> None:
    return None


class Kind(NamedTuple):
    """A kind of server."""

    server: type[RealServer]
    settings: dict[str, Any]
    why_not: Callable[[], str | None]
    """Returns the reason why it cannot run here, or None."""
    notices_after: float
    """Seconds after which it ends a connection on which it receives nothing, although it sends.

    Reverb checks once a minute: it pings silent connections, and ends them at the next check.
    """


SERVERS = {
    "own": Kind(Own, {}, _always, PING_AFTER + 31),
    "reverb-dialect": Kind(OwnAsReverb, {}, _always, PING_AFTER + 120),
    "soketi": Kind(soketi.Soketi, {}, soketi.prepare, 180),
    "reverb": Kind(reverb.Reverb, {}, reverb.prepare, PING_AFTER + 120),
    "sockudo": Kind(sockudo.Sockudo, {"activity_timeout": 10}, sockudo.prepare, 45),
}


class Publisher(threading.Thread):
    """Publishes numbered events on all channels, and records when each was published and whether that succeeded."""

    def __init__(self, service: Service, channels: Sequence[str], event: str) -> None:
        super().__init__(name="publisher", daemon=True)
        self.service = service
        self.channels = channels
        self.event = event
        self.paused = threading.Event()
        self.idle = threading.Event()
        self.numbers = dict.fromkeys(channels, 0)
        self.log: dict[str, list[Published]] = {name: [] for name in channels}
        """The published events of each channel, by number."""
        self.taken = self.unknown = 0
        self._place = 0
        self._ended = False
        self._client: tuple[RealServer, Any] | None = None

    def run(self) -> None:
        """Publish a few events four times a second."""
        while not self._ended:
            if self.paused.is_set():
                self.idle.set()
            else:
                self.idle.clear()
                chosen = [self.channels[(self._place + n) % len(self.channels)] for n in range(5)]
                self._place += 5
                self.publish(chosen)
            time.sleep(0.25)

    def publish(self, channels: Sequence[str]) -> bool:
        """Publish the next event of each of these channels; return whether the server confirmed them."""
        server = self.service.server
        if self._client is None or self._client[0] is not server:
            key = b64encode(MASTER_KEY).decode()
            client = server.http_client(APP, encryption_master_key_base64=key)
            client._pusher_client._timeout = 3
            self._client = (server, client)
        batch, now = [], time.time()
        for name in channels:
            number = self.numbers[name]
            self.numbers[name] += 1
            self.log[name].append(Published(now, now, False))
            batch.append({"channel": name, "name": self.event, "data": {"n": number, "t": now}})
        try:
            answer = self._client[1].trigger_batch(batch)
            taken = "error" not in answer
        except Exception:  # the server is down, is stopping, or died during the request
            taken = False
        if taken:
            self.taken += len(batch)
            for name in channels:
                self.log[name][-1] = Published(now, time.time(), True)
        else:
            self.unknown += len(batch)
        return taken

    def end(self) -> None:
        """Stop publishing."""
        self._ended = True
        self.join(10)
