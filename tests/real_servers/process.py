"""A real server as a subprocess of the tests: its apps, its port, its ends, and what is particular about it.

`RealServer` is the base of `soketi.harness.Soketi`, `sockudo.harness.Sockudo` and `reverb.harness.Reverb`. It does not
know our own clients.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Protocol, Self
from urllib.parse import urlencode

import pusher

__all__ = [
    "DEFAULT_APPS",
    "HOST",
    "PLAIN_APP",
    "USERS_APP",
    "App",
    "Habits",
    "RealServer",
    "ServerError",
    "StartServer",
    "Tls",
]

HOST = "127.0.0.1"

# Bounds, in seconds, on what usually takes 0.5 and 0.05 (Soketi) or 0.3 and 1 (Sockudo).
START_TIMEOUT = 20.0
_END_TIMEOUT = 15.0
# How long to try for a port that is not free yet, and how often.
_PORT_TIMEOUT = 5.0
_PORT_INTERVAL = 0.05
_READY_INTERVAL = 0.05
_LOG_TAIL = 4000


class ServerError(RuntimeError):
    """The server did not start, or is not the one that the tests are meant for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One application that the server serves; `dataclasses.replace` makes a variant of another."""

    id: str
    """A numeric string: neither Soketi nor the HTTP library takes another."""
    key: str
    secret: str
    user_authentication: bool = False
    """Take sign-ins; connections that are not authorized in time are closed with 4009."""
    client_messages: bool = True
    """Relay client events; else answer them with error 4301."""
    enabled: bool = True
    """Serve the application; else end its connections."""
    max_connections: int | None = None
    """End further connections; None sets no limit."""
    max_client_events_per_second: int | None = None
    """Answer further client events with error 4301; None sets no limit."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of the server's own: for Sockudo keys of `policy.limits` and `policy.features`."""


PLAIN_APP = App(id="1001", key="plain-key", secret="plain-secret")
USERS_APP = App(id="1002", key="users-key", secret="users-secret", user_authentication=True)
DEFAULT_APPS = (PLAIN_APP, USERS_APP)


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files with which a server speaks TLS, and with which its clients trust it."""

    cert: Path
    """The server's certificate, for 127.0.0.1, with its chain."""
    key: Path
    ca: Path
    """The authority that issued it (or the same file, when it is self-signed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """The differences between servers that the scenarios must know."""

    options: str
    """The constructor of `Options` that is made for it."""
    bad_signature: int
    """The code of a subscription that is refused for its signature."""
    bad_name: int | None
    """The code of a subscription that is refused for the channel's name; None where every name is taken."""
    long_event_name: int | None
    """The code that answers a client event whose name is too long; None where every length is taken."""
    limits_client_events: bool = True
    """Whether too many or too large client events alone are refused, with 4301."""
    shutdown_code: int = 4200
    """The code with which a server that is stopped ends its connections."""
    published: Mapping[str, Any] = field(default_factory=lambda: {"ok": True})
    """The answer to an event that was published."""
    signs_in: bool = True
    """Whether users sign in."""
    names_senders: bool
    """Whether client events of presence channels carry the user id of their sender."""
    integer_ids: bool
    """Whether a member's user id may be a number."""
    info_is_optional: bool
    """Whether a member without `user_info` stays without one; else it becomes `{}`."""
    info_is_required: bool = False
    """Whether a member needs `user_info`, though it may be null."""
    empty_info: Any = field(default_factory=dict)
    """The form in which the server sends the `user_info` `{}`."""
    presence_caches: bool
    """Whether `presence-cache-` channels can be joined."""
    encrypted_caches: bool = True
    """Whether `private-encrypted-cache-` channels have a last event."""
    cache_outlives_subscribers: bool = True
    """Whether the last event is kept while no client is subscribed."""


class StartServer(Protocol):
    """The signature of `RealServer.start`, for tests that take it from the fixture `start_server`."""

    def __call__(
        self,
        apps: Sequence[App] = DEFAULT_APPS,
        port: int = 0,
        tls: Tls | None = None,
        **settings: Any,
    ) -> RealServer: ...


class RealServer(ABC):
    """One running server, made by `start`. End it with `stop`, `terminate` or `kill`, or by `with`.

    The three return when the process has ended, may be called again, and leave the port to another server.
    """

    habits: ClassVar[Habits]
    _guard: subprocess.Popen[bytes] | None = None

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: IO[bytes],
        apps: tuple[App, ...],
        tls: Tls | None,
    ) -> None:
        self._process = process
        self._log = log
        self._apps = apps
        self._tls = tls
        self._port = 0
        self._last_words = ""

    @classmethod
    def start(
        cls,
        apps: Sequence[App] = DEFAULT_APPS,
        port: int = 0,
        tls: Tls | None = None,
        **settings: Any,
    ) -> Self:
        """Start a server and return it when it serves.

        `port` is for a restart: the port of a server that has ended, and whose clients have closed
        their side or soon do. `settings` are keys of the server's own configuration. Raises ServerError,
        with the end of the server's log, when there is no server in the end.
        """
        with _reserved(port) as reserved:
            log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
            try:
                process = cls._launch(tuple(apps), reserved, tls, log, settings)
            except BaseException:
                log.close()
                raise
            server = cls(process, log, tuple(apps), tls)
            server._port = reserved
            try:
                server._wait_ready()
            except BaseException:
                server.kill()
                raise
            return server

    @classmethod
    @abstractmethod
    def _launch(
        cls,
        apps: tuple[App, ...],
        port: int,
        tls: Tls | None,
        log: IO[bytes],
        settings: Mapping[str, Any],
    ) -> subprocess.Popen[bytes]:
        """Start the process. Its output goes to a file, not to a pipe, so that the server never waits for a reader."""

    @abstractmethod
    def _wait_ready(self) -> None:
        """Wait until it serves. Raises ServerError after `START_TIMEOUT`."""

    def _wait_until(self, is_up: Callable[[], bool]) -> None:
        """Wait until `is_up()`. Raises ServerError when the process ends before that, and after `START_TIMEOUT`."""
        deadline = time.monotonic() + START_TIMEOUT
        while not is_up():
            if self._process.poll() is not None:
                raise self._error("the server ended before it was ready")
            if time.monotonic() > deadline:
                raise self._error(f"the server did not get ready in {START_TIMEOUT:g} s")
            time.sleep(_READY_INTERVAL)

    def _answer_to(self, target: str) -> tuple[int, bytes, Mapping[str, str]] | None:
        """Return the answer to a GET as `request` does, or None while nothing answers."""
        try:
            return self.request(target)
        except ServerError as error:
            if isinstance(error.__cause__, (OSError, http.client.HTTPException)):
                return None
            raise

    def stop(self) -> None:
        """End the server in good order: it sends 4200 to all clients."""
        self.terminate()

    def terminate(self) -> None:
        """Send SIGTERM, as an operator does: the server sends 4200 to all clients and ends."""
        self._process.terminate()
        self._wait()

    def kill(self) -> None:
        """Send SIGKILL: connections end without a close frame."""
        self._process.kill()
        self._wait()

    def pause(self, signal_number: int) -> None:
        """Send a signal that the server does not end by, such as SIGSTOP and SIGCONT."""
        self._process.send_signal(signal_number)

    def http_client(
        self, app: App, *, encryption_master_key_base64: str | None = None
    ) -> pusher.Pusher:
        """Return the official HTTP library, set to publish to `app` on this server.

        Soketi answers a refused request with status 200, which this library takes for success:
        compare what `trigger` returns with `Habits.published`.
        """
        client = pusher.Pusher(
            app_id=app.id,
            key=app.key,
            secret=app.secret,
            host=HOST,
            port=self.port,
            ssl=self._tls is not None,
            encryption_master_key_base64=encryption_master_key_base64,
        )
        backend = client._pusher_client.http
        # A proxy in the environment has no way to the server.
        backend.session.trust_env = False
        if self._tls is not None:
            # The library trusts only the authorities that it ships, and has no option for others.
            backend.options["verify"] = str(self._tls.ca)
        return client

    def get(self, app: App, path: str, **parameters: str) -> Any:
        """Return the answer to a GET of the HTTP API below `/apps/ID`.

        The official library signs a digest of the absent body into its GETs, which Sockudo refuses.
        """
        path = f"/apps/{app.id}{path}"
        query = {
            "auth_key": app.key,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
            **parameters,
        }
        text = "\n".join(["GET", path, urlencode(sorted(query.items()))])
        query["auth_signature"] = hmac.new(
            app.secret.encode(), text.encode(), hashlib.sha256
        ).hexdigest()
        status, body, _ = self.request(f"{path}?{urlencode(query)}")
        if status != 200:
            raise self._error(f"GET {path} was answered by {status}: {body[:200]!r}")
        return json.loads(body)

    def request(self, target: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Send a GET to the server; return status, body and headers."""
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(HOST, self.port, timeout=START_TIMEOUT)
        else:
            context = ssl.create_default_context(cafile=self._tls.ca)
            connection = http.client.HTTPSConnection(
                HOST, self.port, timeout=START_TIMEOUT, context=context
            )
        try:
            connection.request("GET", target)
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        except (OSError, http.client.HTTPException) as error:
            raise self._error(f"the server does not answer: {error!r}") from error
        finally:
            connection.close()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, also when the server has ended."""
        return self._port

    @property
    def apps(self) -> tuple[App, ...]:
        """The applications that it serves."""
        return self._apps

    @property
    def returncode(self) -> int | None:
        """The exit status of the process (negative: the signal), or None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """The last part of what the server has logged."""
        if not self._log.closed:
            descriptor = self._log.fileno()
            # The server writes through the same file position: read without moving it.
            start = max(0, os.fstat(descriptor).st_size - _LOG_TAIL)
            self._last_words = os.pread(descriptor, _LOG_TAIL, start).decode(errors="replace")
        return self._last_words

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _error(self, reason: str) -> ServerError:
        return ServerError(f"{reason}\n{self.log.strip()}".rstrip())

    def _wait(self) -> None:
        """Wait until the process has ended, by force in the end, and close its files."""
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._log.closed:
            self._last_words = self.log
            self._log.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            assert self._guard.stdin is not None
            self._guard.stdin.close()

    def _start_guard(self) -> None:
        """End the server with the tests, for one that does not notice when they end: a shell does, by its input."""
        self._guard = subprocess.Popen(
            ["sh", "-c", 'read _; kill -9 "$0"', str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def _reserved(port: int) -> Iterator[int]:
    """Hold `port`, or a free one for 0, until the server listens on it. Raises ServerError if it is taken.

    Soketi sets SO_REUSEPORT on any port but 0, Sockudo SO_REUSEADDR: connections that linger would otherwise keep a
    second server from its port for a minute. Hence no server gets port 0. With SO_REUSEPORT two servers would start
    and share the connections; hence the look whether one listens.
    """
    if port and _listens(port):
        raise ServerError(f"port {port} is still served; end the other server first")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        deadline = time.monotonic() + _PORT_TIMEOUT
        while True:
            try:
                holder.bind((HOST, port))
                break
            except OSError as error:
                # Some kernels free a port only when the old server's clients have closed too.
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise ServerError(f"port {port} is not free: {error}") from error
                time.sleep(_PORT_INTERVAL)
        yield holder.getsockname()[1]


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
