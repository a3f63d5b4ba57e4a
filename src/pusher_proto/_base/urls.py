"""Parses and builds the URLs of servers and auth endpoints."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import idna

from ..errors import excerpt

__all__ = [
    "Address",
    "address_of",
    "app_target",
    "check_host",
    "credentials_of",
    "form",
    "shown_url",
    "split_app_url",
    "url_of",
]


class Address(NamedTuple):
    """The address of a request: host, port and TLS of the transport, and the request target."""

    host: str
    port: int
    tls: bool
    target: str

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, section 7.2), without the scheme's default port.

        The dot at the end of an absolute name is left out: only the name lookup needs it.
        """
        return self._name if self.port == (443 if self.tls else 80) else f"{self._name}:{self.port}"

    @property
    def _name(self) -> str:
        return f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host.rstrip(".")

    def url(self, *, with_port: bool) -> str:
        """Return the ws or wss URL. `with_port` includes the scheme's default port."""
        authority = f"{self._name}:{self.port}" if with_port else self.authority
        return f"{'wss' if self.tls else 'ws'}://{authority}{self.target}"


_HOST = re.compile(r"""[^\x00-\x20\x7f/?#@\[\]\\"<>]+\Z""")
# The last @ ends the login: a password that was not percent-encoded may contain others.
# An unknown scheme before an @ may be a part of the login.
_PARTS = re.compile(
    r"((?:wss?|https?|socks(?:5h?)?)://)?(.*@)?([^?]*)([?].*)?", re.IGNORECASE | re.DOTALL
)
_TLS = {"ws": False, "http": False, "wss": True, "https": True}


def _split(url: str) -> tuple[SplitResult, bool, int]:
    """Return the parts of an absolute ws, wss, http or https URL, whether it is for TLS, and its port."""
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # the text of this exception may quote a password
        raise ValueError(f"not a URL: {shown_url(url)!r}") from None
    tls = _TLS.get(parts.scheme.lower())
    if tls is None or not parts.hostname:
        raise ValueError(
            f"an absolute ws, wss, http or https URL is needed, not {shown_url(url)!r}"
        )
    if port == 0:
        raise ValueError(f"a port is a number from 1 to 65535, not 0 as in {shown_url(url)!r}")
    return parts, tls, port if port is not None else (443 if tls else 80)


def address_of(url: str) -> Address:
    """Return the address of a ws, wss, http or https URL. Raises ValueError for other URLs."""
    parts, tls, port = _split(url)
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Address(check_host(parts.hostname or ""), port, tls, target)


def url_of(url: str) -> str:
    """Return the ws or wss URL of a connection to `url`, with the port where `url` has one."""
    return address_of(url).url(with_port=urlsplit(url).port is not None)


def split_app_url(url: str) -> tuple[str, int | None, bool, str, str, dict[str, str]]:
    """Return host, port, TLS, prefix, key and query of `wss://host:port/prefix/app/KEY?query`.

    The port is None where the URL has none. Raises ValueError for a URL without `/app/KEY`.
    """
    parts, tls, _ = _split(url)
    prefix, found, key = parts.path.rpartition("/app/")
    key = key.rstrip("/")
    if not found or not key or "/" in key:
        raise ValueError(f"a URL that ends in /app/KEY is needed, not {shown_url(url)!r}")
    if parts.username or parts.password:
        raise ValueError("the URL of a server cannot contain a user name or password: remove them")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return check_host(parts.hostname or ""), parts.port, tls, prefix, unquote(key), query


def app_target(path: str, key: str, query: Mapping[str, str]) -> str:
    """Return the request target of an app: `{path}/app/{key}?{query}` (protocol: connecting)."""
    prefix = quote(path.strip("/"), safe="/%:@!$&'()*+,;=~-._")
    target = f"/{prefix}/app/" if prefix else "/app/"
    target += quote(key, safe="")
    return f"{target}?{urlencode(query)}" if query else target


def form(fields: Mapping[str, str]) -> bytes:
    """Return `fields` as `application/x-www-form-urlencoded`, with each special character encoded (`+ @ = ; ,`)."""
    return urlencode(fields, quote_via=quote, safe="").encode()


def check_host(host: str) -> str:
    """Return `host` in ASCII and without brackets. Raises ValueError unless it is a host name or an IP address."""
    if not isinstance(host, str):
        raise TypeError(f"a host is a str, not {type(host).__name__}")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if ":" in name:
            IPv6Address(name)
        else:
            # IDNA 2008 with the mapping of UTS 46, as in browsers: "ß" is kept.
            name = name if name.isascii() else idna.encode(name, uts46=True).decode()
            _check_labels(name)
    except ValueError:
        name = ""
    if not name.isascii() or not _HOST.match(name):
        raise ValueError(
            f"not a host name: {excerpt(host, 64)!r} (a name or an address, without scheme, port or path)"
        )
    return name


def _check_labels(name: str) -> None:
    """Raise ValueError for a name that resolvers reject (RFC 1035, section 2.3.4)."""
    labels = name.removesuffix(".").split(".")
    if len(name) > 254 or not all(0 < len(label) < 64 for label in labels) or "%" in name:
        raise ValueError


def shown_url(url: str) -> str:
    """Return `url` for use in messages: without user name, password and query, at most 64 characters."""
    found = _PARTS.match(url)
    assert found is not None  # it matches anything
    scheme, login, address, query = found.groups(default="")
    return excerpt(f"{scheme}{'***@' if login else ''}{address}{'?***' if query else ''}", 64)


def credentials_of(url: str) -> str | None:
    """Return the Authorization header for the user name and password in `url` (RFC 7617), or None without them."""
    parts, _, _ = _split(url)
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()
