"""The real server Soketi, run as a subprocess of the tests from what npm installed in `server/`.

`prepare` installs; a `Soketi` is one running server. Neither knows our own clients.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import pusher

if sys.platform != "win32":
    import fcntl

__all__ = [
    "DEFAULT_APPS",
    "HOST",
    "PLAIN_APP",
    "SERVER",
    "USERS_APP",
    "App",
    "Soketi",
    "SoketiError",
    "StartSoketi",
    "Tls",
    "prepare",
]

HOST = "127.0.0.1"
SERVER = Path(__file__).parent / "server"

# The npm package with the binary of uWebSockets.js has it for these releases (and some older) only.
_NODE_RELEASES = (18, 20)
_NPM_CI = ("ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
_STAMP = Path("node_modules", ".pusher-proto-stamp")
# Bounds, in seconds, on what usually takes 0.05, 12, 0.5 and 0.05.
_NODE_VERSION_TIMEOUT = 20.0
_INSTALL_TIMEOUT = 300.0
_START_TIMEOUT = 20.0
_END_TIMEOUT = 5.0
# How long to try for a port that is not free yet, and how often.
_PORT_TIMEOUT = 5.0
_PORT_INTERVAL = 0.05
_LOG_TAIL = 4000


class SoketiError(RuntimeError):
    """The server did not start, or is not the one that the tests are meant for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One application that the server serves; `dataclasses.replace` makes a variant of another."""

    id: str
    """A numeric string: neither Soketi nor the HTTP library takes another."""
    key: str
    secret: str
    user_authentication: bool = False
    """Take sign-ins, and close with 4009 who is not authorized in 30 s; else ignore sign-ins."""
    client_messages: bool = True
    """Relay client events; else answer them with error 4301."""
    enabled: bool = True
    """Serve the application; else close its connections with 4003."""
    max_connections: int = -1
    """Close further connections with 4100; -1 is no limit."""
    max_client_events_per_second: int = -1
    """Answer further client events with error 4301; -1 is no limit."""

    def to_soketi(self) -> dict[str, object]:
        """Return the application as Soketi's configuration has it."""
        return {
            "id": self.id,
            "key": self.key,
            "secret": self.secret,
            "enabled": self.enabled,
            "enableClientMessages": self.client_messages,
            "enableUserAuthentication": self.user_authentication,
            "maxConnections": self.max_connections,
            "maxClientEventsPerSecond": self.max_client_events_per_second,
            "webhooks": [],
        }


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


class StartSoketi(Protocol):
    """The signature of `Soketi.start`, for tests that take it from the fixture `soketi_server`."""

    def __call__(
        self, apps: Sequence[App] = DEFAULT_APPS, port: int = 0, tls: Tls | None = None
    ) -> Soketi: ...


class Soketi:
    """One running server, made by `start`. End it with `stop`, `terminate` or `kill`, or by `with`.

    The three return when the process is gone, may be called again, and leave the port to another.
    """

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
        cls, apps: Sequence[App] = DEFAULT_APPS, port: int = 0, tls: Tls | None = None
    ) -> Self:
        """Start a server and return it when it serves. `prepare` must have succeeded before.

        `port` is for a restart: the port of a server that has ended, and whose clients have closed
        their side or soon do. Raises SoketiError, with the end of the server's log, when there is
        no server in the end.
        """
        with _reserved(port) as reserved:
            return cls._launch(tuple(apps), reserved, tls)

    @classmethod
    def _launch(cls, apps: tuple[App, ...], port: int, tls: Tls | None) -> Self:
        config: dict[str, object] = {"apps": [app.to_soketi() for app in apps], "port": port}
        if tls is not None:
            config["tls"] = {"cert": str(tls.cert.resolve()), "key": str(tls.key.resolve())}
        # A file rather than a pipe: nobody need read it for the server to go on.
        log = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        try:
            process = subprocess.Popen(
                ["node", "launch.js", json.dumps(config)],
                cwd=SERVER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )
        except OSError as error:
            log.close()
            raise SoketiError(f"node cannot be run: {error}") from error
        server = cls(process, log, apps, tls)
        try:
            server._port = server._read_port()
            server._check_binary()
        except BaseException:
            server.kill()
            raise
        return server

    def stop(self) -> None:
        """Close the server's standard input: it says 4200 to everyone and ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._wait()

    def terminate(self) -> None:
        """Send SIGTERM, as an operator does: the server says 4200 to everyone and ends."""
        self._process.terminate()
        self._wait()

    def kill(self) -> None:
        """Send SIGKILL: connections end without a close frame."""
        self._process.kill()
        self._wait()

    def http_client(
        self, app: App, *, encryption_master_key_base64: str | None = None
    ) -> pusher.Pusher:
        """Return the official HTTP library, set to publish to `app` on this server.

        Soketi answers a refused request with status 200, which this library takes for success:
        compare what `trigger` returns with {"ok": True}.
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
        # A proxy of this machine's environment has no way to the server.
        backend.session.trust_env = False
        if self._tls is not None:
            # The library trusts only the authorities it brings along, and has no option for others.
            backend.options["verify"] = str(self._tls.ca)
        return client

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, still known when the server has ended."""
        return self._port

    @property
    def apps(self) -> tuple[App, ...]:
        """The applications that it serves."""
        return self._apps

    @property
    def returncode(self) -> int | None:
        """What the process ended with (negative: the signal), or None while it runs."""
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

    def _read_port(self) -> int:
        """Wait for the line with which the launcher says that the server listens."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + _START_TIMEOUT
        line = b""
        while not line.endswith(b"\n"):
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], remaining)[0]:
                raise self._error(f"the server did not get ready in {_START_TIMEOUT:g} s")
            chunk = os.read(self._process.stdout.fileno(), 4096)
            if not chunk:
                raise self._error("the server ended before it was ready")
            line += chunk
        match json.loads(line):
            case {"port": int(port)}:
                return port
            case other:
                raise self._error(f"the launcher said {other!r} instead of a port")

    def _check_binary(self) -> None:
        """Make sure that WebSockets work: without its binary uWebSockets.js serves HTTP only."""
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(HOST, self.port, timeout=_START_TIMEOUT)
        else:
            connection = http.client.HTTPSConnection(
                HOST,
                self.port,
                timeout=_START_TIMEOUT,
                context=ssl.create_default_context(cafile=self._tls.ca),
            )
        try:
            connection.request("GET", "/ready")
            version = connection.getresponse().getheader("uWebSockets")
        except (OSError, http.client.HTTPException) as error:
            raise self._error(f"the server does not answer: {error!r}") from error
        finally:
            connection.close()
        if version != "20":
            raise self._error(
                "this is not Soketi on the binary of uWebSockets.js, so WebSockets may never open: "
                f"/ready has the header uWebSockets {version!r} instead of '20'"
            )

    def _error(self, reason: str) -> SoketiError:
        return SoketiError(f"{reason}\n{self.log.strip()}".rstrip())

    def _wait(self) -> None:
        """Wait until the process is gone, by force in the end, and let go of its files."""
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._log.closed:
            self._last_words = self.log
            self._log.close()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def prepare(directory: Path = SERVER) -> str | None:
    """Install what the lock file in `directory` names, unless done. Return None, or why it failed.

    Whether it is done, a stamp in node_modules tells: the digest of the lock that was installed, as
    times of files mean nothing after a checkout or out of a cache. Processes that run this at the
    same time take turns.
    """
    if sys.platform == "win32":
        return "the harness of Soketi needs a POSIX system"
    if (reason := _why_not_node()) is not None:
        return reason
    if _is_installed(directory):
        return None
    with _turn(directory):
        return None if _is_installed(directory) else _install(directory)


def _why_not_node() -> str | None:
    node = shutil.which("node")
    if node is None:
        return "there is no node on the PATH"
    try:
        done = subprocess.run(
            [node, "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_NODE_VERSION_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"node cannot be run: {error}"
    version = done.stdout.strip()
    if version.removeprefix("v").partition(".")[0] not in map(str, _NODE_RELEASES):
        wanted = " or ".join(map(str, _NODE_RELEASES))
        return f"node is {version}, and uWebSockets.js has a binary for {wanted} only"
    return None


def _lock_digest(directory: Path) -> str:
    return hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()


def _is_installed(directory: Path) -> bool:
    try:
        return (directory / _STAMP).read_text() == _lock_digest(directory)
    except FileNotFoundError:
        return False


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """Hold the directory's lock, which the system takes back from a process that dies."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(directory: Path) -> str | None:
    npm = shutil.which("npm")
    if npm is None:
        return "there is no npm on the PATH"
    digest = _lock_digest(directory)
    command = "npm " + " ".join(_NPM_CI)
    try:
        done = subprocess.run(
            [npm, *_NPM_CI],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"`{command}` did not end in {_INSTALL_TIMEOUT:g} s"
    except OSError as error:
        return f"npm cannot be run: {error}"
    if done.returncode != 0:
        last_lines = "\n".join(done.stderr.strip().splitlines()[-40:])
        return f"`{command}` ended with {done.returncode}:\n{last_lines}"
    (directory / _STAMP).write_text(digest)
    return None


@contextmanager
def _reserved(port: int) -> Iterator[int]:
    """Hold `port`, or a free one for 0, until Soketi listens on it; SoketiError if it is taken.

    Soketi sets SO_REUSEPORT on any port but 0. Without it on the first server, connections that
    linger would keep a second one from its port for a minute; hence no server gets port 0. With it,
    two servers would both start and share the connections; hence the look whether one listens.
    """
    if port and _listens(port):
        raise SoketiError(f"port {port} is still served; end the other server first")
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        deadline = time.monotonic() + _PORT_TIMEOUT
        while True:
            try:
                holder.bind((HOST, port))
                break
            except OSError as error:
                # Some kernels free a port only when the old server's clients have closed too.
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise SoketiError(f"port {port} is not free: {error}") from error
                time.sleep(_PORT_INTERVAL)
        yield holder.getsockname()[1]


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
