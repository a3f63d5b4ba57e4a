"""The settings of `pusher-proto serve`: flags win over the environment, and the environment over a file."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from pusher_proto.testing import DEMO_APP, App, ServerLimits, Webhook

__all__ = ["Flags", "Settings", "SettingsError", "master_key_text", "read_settings"]

_LOOPBACK = ("127.0.0.1", "::1")

# Differs from the defaults of `App`: Pusher sends no subscription counts unless they are switched on.
_DEFAULTS: dict[str, Any] = {"subscription_count": False}
_STRICT: dict[str, Any] = {
    "client_events": False,
    "client_event_rate": 10,
    "max_connections": 100,
    "authentication_timeout": 30.0,
}


class SettingsError(ValueError):
    """Raised for an invalid setting; the message is one line that says what to change."""


@dataclass
class Flags:
    """The options of the command line. None or an empty sequence means that the option was not given."""

    hosts: Sequence[str] = ()
    port: int | None = None
    path: str | None = None
    dialect: str | None = None
    apps: Sequence[str] = ()
    """Each is ID:KEY:SECRET."""
    encryption_master_key: str | None = None
    users: Sequence[str] = ()
    """Each is TOKEN=ID:NAME."""
    auth_token: str | None = None
    webhooks: Sequence[str] = ()
    webhook_events: Sequence[str] = ()
    control: bool | None = None
    control_token: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    config: str | None = None
    strict: bool | None = None
    app: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `App` that are set for every app."""
    activity_timeout: int | None = None
    ping_after: float | None = None


@dataclass(kw_only=True)
class Settings:
    """The apps of the server, and where and how it serves them."""

    hosts: tuple[str, ...] = _LOOPBACK
    hosts_are_default: bool = True
    """Whether these are the default hosts: the server leaves out the ones that the machine does not have."""
    port: int = 0
    path: str = ""
    dialect: Literal["pusher", "reverb", "sockudo"] = "pusher"
    apps: tuple[App, ...] = ()
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Users by the value of the Authorization header."""
    auth_token: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    control: bool | str = False
    ssl_context: ssl.SSLContext | None = None
    limits: ServerLimits | None = None
    activity_timeout: int | None = None
    ping_after: float = 120.0


class _UserTable(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    id: str
    user_info: Any = msgspec.UNSET
    watchlist: list[str] = []


class _FileTable(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a configuration file."""

    hosts: list[str] = []
    port: int | None = None
    path: str | None = None
    dialect: Literal["pusher", "reverb", "sockudo"] | None = None
    strict: bool = False
    auth_token: str | None = None
    control: bool = False
    control_token: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    activity_timeout: int | None = None
    ping_after: float | None = None
    apps: list[dict[str, Any]] = []
    limits: dict[str, Any] = {}
    webhooks: list[dict[str, Any]] = []
    users: list[_UserTable] = []


class _File:
    """A configuration file. Its errors name the line and the key."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as wrong:
            reason = wrong.strerror if isinstance(wrong, OSError) else "it is not UTF-8"
            raise SettingsError(f"{path}: {reason}") from None
        try:
            self.value = tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as wrong:
            line = re.search(r"at line (\d+)", str(wrong))
            number = line[1] if line else len(self.text.splitlines())
            what = str(wrong).partition(" (at ")[0]
            raise SettingsError(f"{path}, line {number}: {what}") from None
        self.table = self.convert(self.value, _FileTable, ())

    def convert(self, value: Any, type_: type[Any], where: tuple[str | int, ...]) -> Any:
        """Convert `value` to `type_`. Raises SettingsError with the file, line and key."""
        if isinstance(value, dict) and hasattr(type_, "__dataclass_fields__"):
            for name in value:
                if name not in type_.__dataclass_fields__:
                    known = ", ".join(each.name for each in fields(type_))
                    raise self.error((*where, name), f"there is no such key: there are {known}")
        try:
            return msgspec.convert(value, type_)
        except (msgspec.ValidationError, ValueError, TypeError) as wrong:
            text, _, inside = str(wrong).partition(" - at ")
            unknown = re.search(r"unknown field `(\w+)`", text)
            parts: list[str | int] = [
                int(each[1:-1]) if each.startswith("[") else each
                for each in re.findall(r"\[\d+\]|\w+", inside.strip("`$"))
            ]
            if unknown:
                parts.append(unknown[1])
                text = "there is no such key"
            raise self.error((*where, *parts), text) from None

    def error(self, where: tuple[str | int, ...], text: str) -> SettingsError:
        """Return an error about the key at `where`."""
        shown = ".".join(str(each + 1) if isinstance(each, int) else each for each in where)
        line = self._line_of(where)
        place = f"{self.path}, line {line}" if line else self.path
        return SettingsError(f"{place}: {shown or 'the file'}: {text}")

    def _line_of(self, where: tuple[str | int, ...]) -> int | None:
        lines = self.text.splitlines()
        start = 0
        for index, part in enumerate(where):
            if isinstance(part, int):
                continue
            count = where[index + 1] if index + 1 < len(where) else None
            number = count if isinstance(count, int) else 0
            names = ".".join(str(each) for each in where[: index + 1] if isinstance(each, str))
            header = re.compile(rf"\s*\[+\s*({re.escape(names)}|{re.escape(part)})\s*\]+")
            key = re.compile(rf"\s*[\"']?{re.escape(part)}[\"']?\s*=")
            found = [
                at
                for at in range(start, len(lines))
                if header.match(lines[at]) or key.match(lines[at])
            ]
            if not found:
                break
            start = found[min(number, len(found) - 1)]
        else:
            return start + 1 if where else None
        return start + 1 if start else None


def read_settings(flags: Flags, env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from flags, environment and file. Raises SettingsError."""
    env = os.environ if env is None else env
    file = _File(flags.config) if flags.config is not None else None
    table = file.table if file is not None else _FileTable()
    settings = Settings()
    _place(settings, flags, env, table)
    strict = table.strict if flags.strict is None else flags.strict
    settings.apps = _apps(flags, env, file, strict=strict)
    if file is not None:
        settings.limits = _limits(file, settings.dialect)
    settings.webhooks = _webhooks(flags, file)
    settings.users = _users(flags, table)
    settings.auth_token = flags.auth_token or table.auth_token
    settings.activity_timeout = _first(flags.activity_timeout, table.activity_timeout)
    settings.ping_after = _first(flags.ping_after, table.ping_after) or 120.0
    token = flags.control_token or table.control_token
    control = table.control if flags.control is None else flags.control
    settings.control = token or control
    settings.ssl_context = _tls(flags.tls_cert or table.tls_cert, flags.tls_key or table.tls_key)
    return settings


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _place(settings: Settings, flags: Flags, env: Mapping[str, str], table: _FileTable) -> None:
    """Set the addresses, the path and the dialect of the server."""
    host = env.get("REVERB_SERVER_HOST")
    hosts = tuple(flags.hosts) or ((host,) if host else ()) or tuple(table.hosts)
    if hosts:
        settings.hosts, settings.hosts_are_default = hosts, False
    port = env.get("REVERB_SERVER_PORT") or None
    if port is not None and not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise SettingsError(f"REVERB_SERVER_PORT is a number up to 65535, not {port[:20]!r}")
    settings.port = _first(flags.port, int(port) if port else None, table.port, 0)
    path = _first(flags.path, env.get("REVERB_SERVER_PATH") or None, table.path, "").strip("/")
    settings.path = f"/{path}" if path else ""
    settings.dialect = _first(flags.dialect, table.dialect, "pusher")


def _apps(
    flags: Flags, env: Mapping[str, str], file: _File | None, *, strict: bool
) -> tuple[App, ...]:
    """Return the apps of the first source that has any: flags, environment, file; else the demonstration app."""
    given: list[dict[str, Any]] = [_app_of_flag(text) for text in flags.apps]
    named = "--app"
    if not given and (found := _app_of_env(env)) is not None:
        given, named = [found], "the environment"
    where: list[tuple[str | int, ...]] = [() for _ in given]
    if not given and file is not None:
        given = [dict(each) for each in file.table.apps]
        where = [("apps", number) for number in range(len(given))]
    if not given:
        given = [{"id": DEMO_APP.id, "key": DEMO_APP.key, "secret": DEMO_APP.secret}]
        where = [()]
    defaults = _DEFAULTS | (_STRICT if strict else {})
    apps = []
    for each, place in zip(given, where, strict=True):
        more = dict(flags.app)
        if flags.encryption_master_key is not None:
            more["encryption_master_key"] = flags.encryption_master_key
        values = defaults | each | more
        try:
            app = (
                file.convert(values, App, place) if file and place else msgspec.convert(values, App)
            )
        except msgspec.ValidationError as wrong:
            raise SettingsError(f"{named}: {wrong}") from None
        apps.append(_with_master_key(app))
    return tuple(apps)


def _with_master_key(app: App) -> App:
    """Return an app with a master key: its own, or one derived from its secret."""
    if app.encryption_master_key is not None:
        return app
    key = hashlib.sha256(f"encryption master key: {app.secret}".encode()).digest()
    if (app.id, app.key, app.secret) == (DEMO_APP.id, DEMO_APP.key, DEMO_APP.secret):
        key = DEMO_APP.encryption_master_key or key
    return replace(app, encryption_master_key=key)


def _app_of_flag(text: str) -> dict[str, Any]:
    parts = text.split(":", 2)
    if len(parts) < 3 or not all(parts):
        # The text may contain a secret, so the error does not quote it.
        raise SettingsError("--app is written ID:KEY:SECRET")
    return dict(zip(("id", "key", "secret"), parts, strict=True))


def _app_of_env(env: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the app of REVERB_APP_* or PUSHER_APP_*; where both are set, BROADCAST_CONNECTION decides."""
    broadcaster = env.get("BROADCAST_CONNECTION") or env.get("BROADCAST_DRIVER")
    reverb = bool(env.get("REVERB_APP_KEY"))
    prefix = "REVERB_APP_" if reverb else "PUSHER_APP_"
    if reverb and env.get("PUSHER_APP_KEY") and broadcaster == "pusher":
        prefix = "PUSHER_APP_"
    if not env.get(f"{prefix}KEY"):
        return None
    found: dict[str, Any] = {}
    for name in ("id", "key", "secret"):
        variable = f"{prefix}{name.upper()}"
        if not env.get(variable):
            raise SettingsError(f"{prefix}KEY is set, but {variable} is not")
        found[name] = env[variable]
    master_key = env.get(f"{prefix}ENCRYPTION_MASTER_KEY")
    if master_key:
        found["encryption_master_key"] = master_key
    return found


def _limits(file: _File, dialect: str) -> ServerLimits | None:
    if not file.table.limits:
        return None
    from pusher_proto.testing import Server, ServerOptions

    defaults = Server(options=ServerOptions(dialect=dialect)).limits  # type: ignore[arg-type]  # it was checked with the file
    values = {each.name: getattr(defaults, each.name) for each in fields(defaults)}
    limits: ServerLimits = file.convert(values | file.table.limits, ServerLimits, ("limits",))
    return limits


def _webhooks(flags: Flags, file: _File | None) -> tuple[Webhook, ...]:
    if flags.webhooks:
        events: Any = tuple(flags.webhook_events)
        try:
            return tuple(Webhook(url=url, events=events) for url in flags.webhooks)
        except ValueError as wrong:
            raise SettingsError(f"--webhook: {wrong}") from None
    if file is None:
        return ()
    return tuple(
        file.convert(each, Webhook, ("webhooks", number))
        for number, each in enumerate(file.table.webhooks)
    )


def _users(flags: Flags, table: _FileTable) -> dict[str, dict[str, Any]]:
    """Return the users by the value of the Authorization header: the token, alone or after "Bearer"."""
    found: dict[str, dict[str, Any]] = {}
    for each in table.users:
        user: dict[str, Any] = {"id": each.id, "user_info": {"name": each.id}}
        if each.user_info is not msgspec.UNSET:
            user["user_info"] = each.user_info
        if each.watchlist:
            user["watchlist"] = each.watchlist
        found |= {each.token: user, f"Bearer {each.token}": user}
    for text in flags.users:
        token, equals, who = text.partition("=")
        user_id, _, name = who.partition(":")
        if not (token and equals and user_id):
            raise SettingsError("--user is written TOKEN=ID:NAME")
        user = {"id": user_id, "user_info": {"name": name or user_id}}
        found |= {token: user, f"Bearer {token}": user}
    return found


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None:
        raise SettingsError("--tls-key needs --tls-cert")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as wrong:
        reason = wrong.strerror or str(wrong)
        files = cert if key is None else f"{cert}, {key}"
        raise SettingsError(f"{files}: not a certificate and its key in PEM: {reason}") from None
    return context


def master_key_text(app: App) -> str:
    """Return the master key of an app in base64."""
    return base64.b64encode(app.encryption_master_key or b"").decode()
