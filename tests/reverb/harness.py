"""The real server Laravel Reverb, run as a subprocess of the tests in a Laravel application that is there.

`prepare` looks at the application; a `Reverb` is one running server.
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

__all__ = ["VARIABLE", "VERSION", "Reverb", "command", "endpoint", "environment", "prepare"]

VERSION = "1.10.2"
VARIABLE = "PUSHER_PROTO_REVERB"
"""The variable with the folder of a Laravel application that has Reverb."""

_START = Path(__file__).with_name("start.php")


class Reverb(RealServer):
    """One running Reverb. `prepare` must have succeeded before."""

    habits = Habits(
        options="for_reverb",
        bad_signature=4009,
        bad_name=None,
        long_event_name=None,
        limits_client_events=False,
        shutdown_code=1006,
        published={},
        signs_in=False,
        names_senders=True,
        integer_ids=True,
        info_is_optional=True,
        info_is_required=True,
        empty_info=[],
        presence_caches=True,
        encrypted_caches=False,
        cache_outlives_subscribers=False,
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
        if (reason := prepare()) is not None:
            raise ServerError(f"there is no Reverb: {reason}")
        configured = {
            "cache.default": "array",
            "cache.stores.file.path": tempfile.gettempdir(),
            "reverb.apps.apps": [_app(app) for app in apps],
            # 10,000 bytes by default. The scenarios publish batches of 100 KB.
            "reverb.servers.reverb.max_request_size": 1_000_000,
            "reverb.servers.reverb.scaling.enabled": False,
            "reverb.servers.reverb.options.tls": {}
            if tls is None
            else {"local_cert": str(tls.cert.resolve()), "local_pk": str(tls.key.resolve())},
            **settings,
        }
        return subprocess.Popen(
            command("reverb:start", f"--host={HOST}", f"--port={port}", f"--hostname={HOST}"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(configured),
        )

    def _wait_ready(self) -> None:
        self._start_guard()
        self._wait_until(self._is_up)

    def _is_up(self) -> bool:
        answer = self._answer_to("/up")
        return answer is not None and answer[:2] == (200, b'{"health":"OK"}')


def command(*arguments: str) -> list[str]:
    """Return the command that runs `start.php`."""
    return [shutil.which("php") or "php", str(_START), *arguments]


def endpoint(address: str) -> list[str]:
    """Return the command that serves Laravel's own auth endpoint at HOST:PORT."""
    return [shutil.which("php") or "php", "-S", address, str(_START)]


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of `start.php`: variables would override the settings of the application."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    return {
        **kept,
        "NO_COLOR": "1",
        "REVERB_APPLICATION": str(application()),
        "REVERB_SETTINGS": json.dumps(settings),
    }


def _app(app: App) -> dict[str, object]:
    """Return an application as `config/reverb.php` has it."""
    return {
        "app_id": app.id,
        "key": app.key,
        "secret": app.secret,
        "options": {},
        "allowed_origins": ["*"],
        "ping_interval": 60,
        "activity_timeout": 30,
        "max_connections": app.max_connections,
        "max_message_size": 10_000,
        "accept_client_events_from": "members" if app.client_messages else "none",
        **app.more,
    }


def application() -> Path | None:
    """Return the folder of the Laravel application, or None where there is none."""
    named = os.environ.get(VARIABLE)
    return Path(named).resolve() if named else None


@functools.cache
def prepare() -> str | None:
    """Return None if the pinned version is there, or what is missing and how to get it."""
    if sys.platform == "win32":
        return "the harness of Reverb needs a POSIX system"
    if shutil.which("php") is None:
        return "there is no php"
    folder = application()
    if folder is None:
        return f"{VARIABLE} names no Laravel application with laravel/reverb {VERSION}"
    try:
        installed = json.loads((folder / "vendor/composer/installed.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        return f"{folder} is no Laravel application: {error}"
    versions = {each["name"]: each["version"].lstrip("v") for each in installed["packages"]}
    if (found := versions.get("laravel/reverb")) != VERSION:
        return f"{folder} has laravel/reverb {found}; the tests are for {VERSION}"
    return None
