"""Runs the development server for `pusher-proto serve`, and writes the files and logs about it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pusher_anyio.testing import RunningServer, serve
from pusher_proto.testing import App, Report, Server, ServerOptions

from ._settings import Settings, SettingsError, master_key_text

__all__ = [
    "env_of",
    "env_text",
    "is_reachable",
    "log_on_stderr",
    "machine",
    "ready_of",
    "run",
    "write_file",
]

# Seconds that clients have to disconnect at the end.
_DRAIN = 1.0
# The log level of single messages.
_FRAMES = 5
_LOGGER = "pusher_proto.server"


def machine(settings: Settings) -> Server:
    """Return a server with these settings. Raises SettingsError."""
    try:
        return Server(
            settings.apps,
            ServerOptions(
                dialect=settings.dialect,
                limits=settings.limits,
                activity_timeout=settings.activity_timeout,
                # Like Pusher, disconnect silent clients.
                ping_after=settings.ping_after,
                path_prefix=settings.path,
                auth_user=settings.users or None,
                auth_token=settings.auth_token,
                webhooks=settings.webhooks,
                control=settings.control,
            ),
            rng=random.Random(),  # noqa: S311 - socket ids are not secret
            # Like Pusher, check the timestamps of publishers.
            wall_clock=time.time,
        )
    except ValueError as wrong:
        raise SettingsError(str(wrong)) from None


async def run(
    settings: Settings,
    until: Callable[[Callable[[], Awaitable[int]]], Awaitable[int]],
    ready: Callable[[RunningServer], Awaitable[int]],
) -> int:
    """Serve until `until(work)` returns, close all clients with 4200, and return its status.

    `work` calls `ready`, which announces the server and sleeps. Raises OSError if the server cannot listen on an
    address.
    """
    server = machine(settings)
    async with serve(
        server,
        host=_usable(settings),
        port=settings.port,
        ssl_context=settings.ssl_context,
    ) as running:
        status = await until(lambda: ready(running))
        running.shut_down()
        await running.drained(_DRAIN)
        return status


def _usable(settings: Settings) -> list[str]:
    """Return the hosts to listen on: the given ones, or those default hosts that this machine has."""
    if not settings.hosts_are_default:
        return list(settings.hosts)
    found = []
    for host in settings.hosts:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.bind((host, 0))
            found.append(host)
    return found or ["127.0.0.1"]


def is_reachable(host: str) -> bool:
    """Return whether other machines may reach a host."""
    try:
        return not ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host != "localhost"


def _shown_host(host: str) -> str:
    """Return the host for clients on this machine."""
    with contextlib.suppress(ValueError):
        address = ip_address(host.partition("%")[0])
        if address.is_unspecified:
            return "::1" if address.version == 6 else "127.0.0.1"
    return host


def ready_of(running: RunningServer, settings: Settings) -> dict[str, Any]:
    """Return the address, URLs and apps of a running server, for the line of JSON."""
    host = _shown_host(running.host)
    place = f"[{host}]:{running.port}" if ":" in host else f"{host}:{running.port}"
    web = f"{'https' if running.tls else 'http'}://{place}"
    sockets = f"{'wss' if running.tls else 'ws'}://{place}{settings.path}"
    urls = {
        "websocket": f"{sockets}/app",
        "http_api": f"{web}/apps",
        "auth": f"{web}/pusher/auth",
        "user_auth": f"{web}/pusher/user-auth",
        "health": f"{web}/up",
    }
    if settings.control is not False:
        urls["control"] = f"{web}/control"
    return {
        "host": host,
        "port": running.port,
        "scheme": "https" if running.tls else "http",
        "dialect": settings.dialect,
        "urls": urls,
        "apps": [_app_of(app) for app in settings.apps],
    }


def _app_of(app: App) -> dict[str, str]:
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "encryption_master_key": master_key_text(app),
    }


def env_of(ready: dict[str, Any]) -> dict[str, str]:
    """Return the environment variables of a server, with the names that Laravel uses in back ends and front ends."""
    app = ready["apps"][0]
    found: dict[str, str] = {}
    for prefix in ("PUSHER", "REVERB"):
        found |= {f"{prefix}_APP_{name.upper()}": value for name, value in app.items()}
        found[f"{prefix}_HOST"] = ready["host"]
        found[f"{prefix}_PORT"] = str(ready["port"])
        found[f"{prefix}_SCHEME"] = ready["scheme"]
    for prefix in ("VITE_PUSHER", "VITE_REVERB"):
        found[f"{prefix}_APP_KEY"] = app["key"]
        found[f"{prefix}_HOST"] = ready["host"]
        found[f"{prefix}_PORT"] = str(ready["port"])
        found[f"{prefix}_SCHEME"] = ready["scheme"]
    # pusher-js requires a cluster, and ignores it when a host is set.
    found["PUSHER_APP_CLUSTER"] = found["VITE_PUSHER_APP_CLUSTER"] = "mt1"
    found["PUSHER_AUTH_URL"] = ready["urls"]["auth"]
    found["PUSHER_USER_AUTH_URL"] = ready["urls"]["user_auth"]
    return found


def env_text(env: Mapping[str, str]) -> str:
    """Return the text of a .env file with these variables."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in env.items())


def _quoted(value: str) -> str:
    if re.fullmatch(r"[-\w./:=+@]*", value, re.ASCII):
        return value
    escaped = re.sub(r'(["\\$`])', r"\\\1", value)
    return f'"{escaped}"'


def write_file(path: str, text: str) -> None:
    """Replace a file in one step. Only its owner can read it, because it holds secrets. Raises SettingsError."""
    place = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, place)
    except OSError as wrong:
        raise SettingsError(f"{path}: {wrong.strerror}") from None


@contextlib.contextmanager
def log_on_stderr(form: Literal["text", "json"], *, verbose: bool) -> Iterator[None]:
    """Log to stderr while the block runs: refusals, at a terminal connections and subscriptions too.

    With `verbose`, log each message as well.
    """
    logger = logging.getLogger(_LOGGER)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Json() if form == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    before = (logger.level, logger.propagate)
    level = logging.DEBUG if sys.stderr.isatty() else logging.INFO
    logger.setLevel(_FRAMES if verbose else level)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class _Json(logging.Formatter):
    """Formats each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        report: Report | None = getattr(record, "report", None)
        line: dict[str, Any] = {"time": record.created, "level": record.levelname.lower()}
        line["message"] = record.getMessage()
        if report is not None:
            line["level"] = "refusal" if report.level >= logging.INFO else line["level"]
            line = {**line, "kind": report.kind, **report.fields}
        return json.dumps(line, ensure_ascii=False)
