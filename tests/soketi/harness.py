"""The real server Soketi, run as a subprocess of the tests from what npm installed in `server/`.

`prepare` installs; a `Soketi` is one running server.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from real_servers.process import START_TIMEOUT, App, Habits, RealServer, ServerError, Tls

if sys.platform != "win32":
    import fcntl

__all__ = ["SERVER", "Soketi", "prepare"]

SERVER = Path(__file__).parent / "server"

# The npm package with the binary of uWebSockets.js has it for these releases (and some older) only.
_NODE_RELEASES = (18, 20)
_NPM_CI = ("ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund")
_STAMP = Path("node_modules", ".pusher-proto-stamp")
# Bounds, in seconds, on what usually takes 0.05 and 12.
_NODE_VERSION_TIMEOUT = 20.0
_INSTALL_TIMEOUT = 300.0


class Soketi(RealServer):
    """One running Soketi. `prepare` must have succeeded before."""

    habits = Habits(
        options="for_soketi",
        bad_signature=401,
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
        assert not settings, "launch.js hands no further settings on"
        config: dict[str, object] = {"apps": [_configured(app) for app in apps], "port": port}
        if tls is not None:
            config["tls"] = {"cert": str(tls.cert.resolve()), "key": str(tls.key.resolve())}
        try:
            return subprocess.Popen(
                ["node", "launch.js", json.dumps(config)],
                cwd=SERVER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
            )
        except OSError as error:
            raise ServerError(f"node cannot be run: {error}") from error

    def stop(self) -> None:
        """Close the server's standard input: it sends 4200 to all clients and ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._wait()

    def _wait_ready(self) -> None:
        self._port = self._read_port()
        self._check_binary()

    def _read_port(self) -> int:
        """Wait for the line with which the launcher says that the server listens."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_TIMEOUT
        line = b""
        while not line.endswith(b"\n"):
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], remaining)[0]:
                raise self._error(f"the server did not get ready in {START_TIMEOUT:g} s")
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
        version = self.request("/ready")[2].get("uWebSockets")
        if version != "20":
            raise self._error(
                "this is not Soketi on the binary of uWebSockets.js, so WebSockets may never open: "
                f"/ready has the header uWebSockets {version!r} instead of '20'"
            )


def _configured(app: App) -> dict[str, object]:
    """Return an application for Soketi's configuration."""
    limits = (app.max_connections, app.max_client_events_per_second)
    connections, events = (-1 if limit is None else limit for limit in limits)
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "enabled": app.enabled,
        "enableClientMessages": app.client_messages,
        "enableUserAuthentication": app.user_authentication,
        "maxConnections": connections,
        "maxClientEventsPerSecond": events,
        "webhooks": [],
        **app.more,
    }


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
