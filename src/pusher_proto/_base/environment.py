"""Reads the address of a server from environment variables, as Laravel names them, and a proxy from `HTTPS_PROXY`.

The variables are passed in as a mapping; this module does not read the environment of the process. Values from a broken
`.env` file (quotes kept, a variable that was not expanded, a whole URL instead of a host) raise ValueError with the
name of the variable and the likely cause: the error that a server returns for them points elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from ..errors import excerpt
from .urls import address_of

__all__ = ["Service", "proxy_from_env", "service_of"]

_SCHEMES = {"http": False, "ws": False, "https": True, "wss": True}
_EMPTY = {"null", "(null)", "nil", "none", "undefined", "false", "empty", "(empty)"}
_APP_PATH = re.compile(r"(?:^|/)app/[^/]+/?\Z")
_HTTP_API = re.compile(r"api(-[a-z0-9-]+)?\.pusher\.com\Z", re.IGNORECASE)


class Service(NamedTuple):
    """A server, as read from environment variables. At most one of `cluster` and `host` is set."""

    prefix: str
    """`REVERB_`, `PUSHER_` or `SOCKUDO_`."""
    key: str
    secret: str | None
    cluster: str | None
    host: str | None
    port: int | None
    tls: bool
    path: str


def service_of(env: Mapping[str, str]) -> Service:
    """Return the server that the variables name.

    Reads REVERB_* when REVERB_APP_KEY is set and BROADCAST_CONNECTION is not "pusher"; else PUSHER_*; else
    SOCKUDO_DEFAULT_APP_KEY and _SECRET, for a Sockudo on this machine. Raises ValueError with the name of the variable
    that is missing or wrong.
    """
    prefix = _prefix(env)
    if prefix == "SOCKUDO_":
        return _sockudo(env)
    key_name, key = _first(env, f"{prefix}APP_KEY", f"{prefix}KEY")
    if key is None:
        raise ValueError("neither REVERB_APP_KEY nor PUSHER_APP_KEY is set")
    _, secret = _first(env, f"{prefix}APP_SECRET", f"{prefix}SECRET")
    host = _host(env, f"{prefix}HOST")
    _, cluster = _first(env, "PUSHER_APP_CLUSTER", "PUSHER_CLUSTER")
    if host is None and (prefix == "REVERB_" or cluster is None):
        needed = "REVERB_HOST" if prefix == "REVERB_" else "PUSHER_APP_CLUSTER or PUSHER_HOST"
        raise ValueError(f"{key_name} is set, but {needed} is not")
    _, scheme = _first(env, f"{prefix}SCHEME")
    if scheme is not None and scheme.lower() not in _SCHEMES:
        raise ValueError(f"{prefix}SCHEME is http or https, not {excerpt(scheme, 64)!r}")
    port_name, port = _first(env, f"{prefix}PORT")
    if port is not None and not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{port_name} is a number, not {excerpt(port, 64)!r}")
    path_name, path = _first(env, f"{prefix}SERVER_PATH", f"{prefix}PATH")
    if path is not None and _APP_PATH.search(path):
        raise ValueError(
            f"{path_name} is the part before /app/KEY, which is added here: {excerpt(path, 64)!r} ends in it"
        )
    return Service(
        prefix=prefix,
        key=key,
        secret=secret,
        cluster=cluster if host is None else None,
        host=host,
        port=int(port) if port else None,
        tls=_SCHEMES[(scheme or "https").lower()],
        path=path or "",
    )


def _prefix(env: Mapping[str, str]) -> str:
    """Return the prefix of the variables to read. Where Reverb's and Pusher's are set, BROADCAST_CONNECTION decides."""
    reverb = bool(env.get("REVERB_APP_KEY"))
    pusher = bool(env.get("PUSHER_APP_KEY") or env.get("PUSHER_KEY"))
    if reverb and pusher:
        name, chosen = _first(env, "BROADCAST_CONNECTION", "BROADCAST_DRIVER")
        if chosen not in (None, "reverb", "pusher"):
            raise ValueError(
                f"REVERB_APP_KEY and PUSHER_APP_KEY are both set, and {name} is {excerpt(chosen or '', 64)!r}: "
                "set it to reverb or pusher"
            )
        return "PUSHER_" if chosen == "pusher" else "REVERB_"
    if not reverb and not pusher and env.get("SOCKUDO_DEFAULT_APP_KEY"):
        return "SOCKUDO_"
    return "REVERB_" if reverb else "PUSHER_"


def _sockudo(env: Mapping[str, str]) -> Service:
    """Return a Sockudo on localhost: its variables name the app, and HOST is only the address that it listens on."""
    _, key = _first(env, "SOCKUDO_DEFAULT_APP_KEY")
    _, secret = _first(env, "SOCKUDO_DEFAULT_APP_SECRET")
    return Service("SOCKUDO_", key or "", secret, None, "localhost", None, False, "")


def _first(env: Mapping[str, str], *names: str) -> tuple[str, str | None]:
    """Return the first variable that is set and not empty, with its checked value; else the first name and None."""
    for name in names:
        value = env.get(name)
        if value:
            return name, _checked(name, value)
    return names[0], None


def _checked(name: str, value: str) -> str:
    """Return `value`. Raises ValueError for quotes, spaces at the ends, an unexpanded variable, "null" and the like."""
    shown = "the value" if name.endswith("SECRET") else excerpt(value, 64)
    if value != value.strip():
        raise ValueError(f"{name} begins or ends with a space or a newline: strip() it")
    if value[0] in "\"'" and value[-1] == value[0] and len(value) > 1:
        raise ValueError(
            f"{name} is in quotes, which are part of the value here (`docker run --env-file` keeps them): write it "
            "without quotes"
        )
    if value[0] in "\"'" or value[-1] in "\"'":
        raise ValueError(f"{name} has a quote at one end: write it without quotes")
    if "${" in value or re.fullmatch(r"\$\w+|%\w+%", value):
        raise ValueError(
            f"{name} refers to another variable, which was not expanded: {shown} (docker and systemd do not expand "
            "`${VAR}` in such files)"
        )
    if value.lower() in _EMPTY:
        raise ValueError(f"{name} is {shown!r}: leave the variable unset when there is no value")
    return value


def _host(env: Mapping[str, str], name: str) -> str | None:
    """Return the host, or None. Raises ValueError for a value that cannot be the host of a WebSocket server."""
    _, value = _first(env, name)
    if value is None:
        return None
    shown = excerpt(value, 64)
    if "://" in value or "/" in value:
        raise ValueError(
            f"{name} is a host name alone, without scheme, port or path, not {shown!r}"
        )
    if "*" in value:
        raise ValueError(f"{name} is one host, not the pattern {shown!r}")
    if _HTTP_API.match(value):
        raise ValueError(
            f"{name} is {shown!r}, the host of Pusher's HTTP API: for the WebSocket set PUSHER_APP_CLUSTER and leave "
            f"{name} unset"
        )
    if value in ("0.0.0.0", "::", "[::]"):  # noqa: S104 - refused, not bound to
        raise ValueError(
            f"{name} is {shown}, where a server listens: give the address that clients connect to"
        )
    return value


def proxy_from_env(env: Mapping[str, str], url: str) -> str | None:
    """Return the proxy that the variables name for `url` (ws, wss, http or https), or None.

    Reads `WSS_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` for wss and https, `WS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` for ws
    and http, in lower case first; and `NO_PROXY`: host names and their subdomains, IP addresses, networks such as
    10.0.0.0/8, each with a port or without, and `*`. `HTTP_PROXY` in upper case is ignored where `REQUEST_METHOD` is
    set, since a CGI server fills it from a request's header.
    """
    address = address_of(url)
    if _excluded(_variable(env, "no_proxy") or "", address.host, address.port):
        return None
    names = ("wss_proxy", "https_proxy") if address.tls else ("ws_proxy", "http_proxy")
    for name in (*names, "all_proxy"):
        if name == "http_proxy" and "REQUEST_METHOD" in env and not env.get(name):
            continue
        value = _variable(env, name)
        if value:
            return value if "://" in value else f"http://{value}"
    return None


def _variable(env: Mapping[str, str], name: str) -> str | None:
    """Return the variable in lower case, else in upper case, or None."""
    return env.get(name) or env.get(name.upper()) or None


def _excluded(patterns: str, host: str, port: int) -> bool:
    """Return whether a `NO_PROXY` list matches the address."""
    name = host.rstrip(".").lower()
    return any(_matches(one.lower(), name, port) for one in re.split(r"[\s,]+", patterns) if one)


def _matches(pattern: str, name: str, port: int) -> bool:
    """Return whether one pattern of a `NO_PROXY` list matches the address."""
    if pattern == "*":
        return True
    bare = pattern
    if pattern.count(":") == 1 or "]:" in pattern:
        bare, _, its_port = pattern.rpartition(":")
        if its_port != str(port):
            return False
    bare = bare.strip("[]")
    try:
        address = ip_address(name)
    except ValueError:
        bare = bare.removeprefix("*").lstrip(".").rstrip(".")
        return bare != "" and (name == bare or name.endswith(f".{bare}"))
    try:
        return address in ip_network(bare, strict=False)
    except ValueError:
        return False
