"""The real server Sockudo, run as a subprocess of the tests from the binary that cargo built.

`prepare` looks for the binary; a `Sockudo` is one running server.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from real_servers.process import (
    HOST,
    App,
    Habits,
    RealServer,
    ServerError,
    Tls,
)

__all__ = ["INSTALL", "VERSION", "Sockudo", "prepare"]

VERSION = "5.2.0"
INSTALL = f"cargo install sockudo --version {VERSION} --locked --debug --features redis"

_VERSION_TIMEOUT = 20.0


class Sockudo(RealServer):
    """One running Sockudo. `prepare` must have succeeded before."""

    habits = Habits(
        options="for_sockudo",
        bad_signature=4009,
        bad_name=4300,
        long_event_name=4000,
        names_senders=False,
        integer_ids=False,
        info_is_optional=False,
        presence_caches=False,
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
        binary = find_binary()
        if binary is None:
            raise ServerError(f"there is no Sockudo: {INSTALL}")
        config = _configured(apps, port, tls, settings)
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(config, file)
        # Variables of the environment override the file, PORT and REDIS_URL among them.
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        try:
            return subprocess.Popen(
                [binary, "--config", file.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**kept, "RUST_LOG": "warn", "NO_COLOR": "1"},
            )
        except OSError as error:
            raise ServerError(f"{binary} cannot be run: {error}") from error

    def _wait_ready(self) -> None:
        self._start_guard()
        self._wait_until(self._is_up)
        Path(self._config_file()).unlink(missing_ok=True)

    def _config_file(self) -> str:
        arguments = self._process.args
        assert isinstance(arguments, list)
        return str(arguments[-1])

    def _is_up(self) -> bool:
        answer = self._answer_to("/up")
        if answer is None:
            return False
        status, _, headers = answer
        return status == 200 and "x-health-check" in {name.lower() for name in headers}

    def _wait(self) -> None:
        super()._wait()
        Path(self._config_file()).unlink(missing_ok=True)


def _configured(
    apps: tuple[App, ...], port: int, tls: Tls | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of a server. `settings` are its further keys."""
    config: dict[str, Any] = {
        "host": HOST,
        "port": port,
        "shutdown_grace_period": 0,
        # On by default: 20 connections a minute from one address.
        "rate_limiter": {"enabled": False},
        "metrics": {"enabled": False},
        # By default Redis, for which a server without it waits 4.5 s at its start. It serves webhooks alone.
        "queue": {"driver": "memory"},
        "app_manager": {"driver": "memory", "array": {"apps": [_app(app) for app in apps]}},
        **settings,
    }
    if tls is not None:
        config["ssl"] = {
            "enabled": True,
            "cert_path": str(tls.cert.resolve()),
            "key_path": str(tls.key.resolve()),
        }
    return config


def _app(app: App) -> dict[str, object]:
    """Return an application for Sockudo's configuration, with the limits that Soketi has by default."""
    limits: dict[str, object] = {
        "max_connections": app.max_connections or 0,
        "max_client_events_per_second": app.max_client_events_per_second or 0,
        "max_event_name_length": 200,
        "max_event_payload_in_kb": 100,
    }
    features: dict[str, object] = {
        "enable_client_messages": app.client_messages,
        "enable_user_authentication": app.user_authentication,
    }
    for key, value in app.more.items():
        (features if key.startswith("enable_") else limits)[key] = value
    return {
        "id": app.id,
        "key": app.key,
        "secret": app.secret,
        "enabled": app.enabled,
        "policy": {"limits": limits, "features": features},
    }


def find_binary() -> str | None:
    """Return the binary: PUSHER_PROTO_SOCKUDO, else on the PATH, else where cargo puts it."""
    named = os.environ.get("PUSHER_PROTO_SOCKUDO")
    if named:
        return named
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    return shutil.which("sockudo") or shutil.which("sockudo", path=str(cargo / "bin"))


@functools.cache
def prepare() -> str | None:
    """Return None if the pinned version is there, or what is missing and how to get it."""
    if sys.platform == "win32":
        return "the harness of Sockudo needs a POSIX system"
    binary = find_binary()
    if binary is None:
        return f"get it by: {INSTALL} (12 minutes; needs protobuf-compiler)"
    try:
        done = subprocess.run(
            [binary, "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_VERSION_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{binary} cannot be run: {error}"
    if (found := done.stdout.strip()) != f"sockudo {VERSION}":
        return f"{binary} is {found}; get {VERSION} by: {INSTALL}"
    return None
