"""Opens a tunnel through a proxy, by HTTP CONNECT or SOCKS 5, before any other bytes go over a stream.

A tunnel processes the proxy's bytes and returns bytes to send; once it is `done` the stream leads to the server. h11
parses HTTP. SOCKS 5 (RFC 1928, with the login of RFC 1929) has three answers of fixed form, which are parsed here: the
sans-I/O library for it had its last release in 2020.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import unquote, urlsplit

import h11
from msgspec import Struct

from .._base.secret import Secret, masked
from .._base.urls import check_host, shown_url
from ..errors import excerpt
from .http_head import HeadReader, HeadTooLarge

__all__ = ["Proxy", "ProxyFailed", "Tunnel", "proxy_of"]

# Desktops set `socks://` in ALL_PROXY, without a version.
_PORTS = {"http": 80, "socks": 1080, "socks5": 1080, "socks5h": 1080}


class ProxyFailed(Exception):
    """The proxy did not open the tunnel; the message says why and never contains the credentials."""

    def __init__(
        self, reason: str, *, status: int | None = None, refused: bool = False, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.hint = hint
        """Advice for the user, or an empty string."""
        self.status = status
        """The status of the HTTP response, or None."""
        self.refused = refused
        """Whether the login is wrong or missing."""


class Tunnel(Protocol):
    """The conversation with one proxy on one stream."""

    done: bool
    surplus: bytes
    """Bytes that follow the proxy's last answer: the server's first ones."""

    def open(self) -> bytes:
        """Return the first bytes to send."""

    def receive_data(self, data: bytes) -> bytes:
        """Process bytes from the proxy; return bytes to send. Raises `ProxyFailed`."""


class Proxy(Struct, frozen=True):
    """An HTTP or SOCKS 5 proxy."""

    scheme: str
    host: str
    port: int
    user: Secret | None
    password: Secret
    max_head: int
    """The limit for the head of an HTTP response, in bytes."""

    def __str__(self) -> str:
        return f"the proxy at {self.host}:{self.port}"

    def tunnel(self, host: str, port: int) -> Tunnel:
        """Return the tunnel to a server."""
        if self.scheme == "http":
            return _Connect(self, host, port)
        return _Socks(self, host, port)


def proxy_of(url: Secret, max_head: int) -> Proxy:
    """Return the proxy at `http://user:password@host:port` or `socks5://...`. Raises ValueError."""
    proxy = _parsed(url.reveal(), max_head)
    if proxy is None:
        shown = shown_url(url.reveal())
        hint = ""
        if shown.lower().startswith("https://"):
            hint = (
                ": the connection to the proxy itself has no TLS, that to the server behind it does"
            )
        raise ValueError(
            "a proxy is http://host:port or socks5://host:port, with user:password@ before the host if it needs a "
            f"login, not {shown!r}{hint}"
        )
    return proxy


def _parsed(url: str, max_head: int) -> Proxy | None:
    """Return the proxy, or None for an invalid URL: an exception could contain the login."""
    try:
        parts = urlsplit(url)
        host, port = check_host(parts.hostname or ""), parts.port
    except ValueError:
        return None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme not in _PORTS or port == 0 or parts.path.strip("/") or parts.query:
        return None
    if parts.username is not None and not (0 < len(user.encode()) < 256):
        return None  # longer than SOCKS allows (RFC 1929)
    if len(password.encode()) > 255:
        return None
    return Proxy(
        parts.scheme,
        host,
        port or _PORTS[parts.scheme],
        None if parts.username is None else Secret(user),
        Secret(password),
        max_head,
    )


class _Connect:
    """A tunnel by HTTP CONNECT (RFC 9110, section 9.3.6)."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._proxy = proxy
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._reader = HeadReader(proxy.max_head)
        self.done = False
        self.surplus = b""

    def open(self) -> bytes:
        headers = [("Host", self._target)]
        if self._proxy.user is not None:
            pair = f"{self._proxy.user.reveal()}:{self._proxy.password.reveal()}".encode()
            headers.append(("Proxy-Authorization", f"Basic {b64encode(pair).decode()}"))
        request = h11.Request(method="CONNECT", target=self._target, headers=headers)
        http = self._reader.http
        return (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")

    def receive_data(self, data: bytes) -> bytes:
        try:
            head, rest = self._reader.receive_data(data)
        except HeadTooLarge:
            raise ProxyFailed(
                f"{self._proxy} answered with a head of more than {self._proxy.max_head} bytes"
            ) from None
        except h11.RemoteProtocolError:
            raise ProxyFailed(
                f"{self._proxy} does not answer in HTTP: is it an HTTP proxy, without TLS?"
            ) from None
        if isinstance(head, h11.Response):  # h11 refuses a 101 to CONNECT
            self._check(head)
            self.done, self.surplus = True, self._reader.http.trailing_data[0] + rest
        return b""

    def _check(self, answer: h11.Response) -> None:
        """Raise `ProxyFailed` unless the answer opens the tunnel."""
        status, reason = answer.status_code, answer.reason.decode("latin-1")
        if 200 <= status < 300:
            return
        text = (
            f"{self._proxy} answered CONNECT with {status} {excerpt(masked(reason), 64)}".rstrip()
        )
        if status == 407:
            offered = [
                value.decode("latin-1").partition(" ")[0]
                for name, value in answer.headers
                if name == b"proxy-authenticate"
            ]
            text += f" ({self._login_needed(offered)})"
        raise ProxyFailed(text, status=status, refused=status == 407)

    def _login_needed(self, offered: list[str]) -> str:
        """Return what the proxy requires, from the schemes in its Proxy-Authenticate headers."""
        if offered and "basic" not in (scheme.lower() for scheme in offered):
            schemes = excerpt(", ".join(offered), 64)
            return f"it requires {schemes}, and this client supports Basic only: use a local proxy that logs in to it"
        missing = self._proxy.user is None
        return f"it requires {'a' if missing else 'another'} user name and password"


_REPLIES = {
    1: "general failure",
    2: "its rules do not allow the connection",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class _Socks:
    """A tunnel by SOCKS 5: greets, logs in if needed, and requests the connection. The proxy looks up host names."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        self._proxy = proxy
        self._request = b"\x05\x01\x00" + _address(host) + port.to_bytes(2, "big")
        self._incoming = b""
        self._next: Callable[[], bytes | None] = self._read_method
        self.done = False
        self.surplus = b""

    def open(self) -> bytes:
        return b"\x05\x02\x00\x02" if self._proxy.user is not None else b"\x05\x01\x00"

    def receive_data(self, data: bytes) -> bytes:
        self._incoming += data
        to_send = b""
        while not self.done and (more := self._next()) is not None:
            to_send += more
        if self.done:
            self.surplus, self._incoming = self._incoming, b""
        return to_send

    def _take(self, size: int) -> bytes | None:
        """Remove and return `size` received bytes, or return None while there are fewer."""
        if len(self._incoming) < size:
            return None
        taken, self._incoming = self._incoming[:size], self._incoming[size:]
        return taken

    def _read_method(self) -> bytes | None:
        """Process the answer to the greeting: the method of authentication."""
        answer = self._take(2)
        if answer is None:
            return None
        if answer[0] != 5:
            raise ProxyFailed(f"{self._proxy} does not speak SOCKS 5")
        if answer[1] == 0:
            self._next = self._read_reply
            return self._request
        if answer[1] != 2 or self._proxy.user is None:
            raise ProxyFailed(f"{self._proxy} requires a login of another kind", refused=True)
        self._next = self._read_login
        user, password = (s.reveal().encode() for s in (self._proxy.user, self._proxy.password))
        return bytes([1, len(user)]) + user + bytes([len(password)]) + password

    def _read_login(self) -> bytes | None:
        """Process the answer to the user name and password."""
        answer = self._take(2)
        if answer is None:
            return None
        if answer[1] != 0:
            raise ProxyFailed(f"{self._proxy} rejected the user name and password", refused=True)
        self._next = self._read_reply
        return self._request

    def _read_reply(self) -> bytes | None:
        """Process the answer to the request to connect."""
        head = self._incoming[:5]
        if len(head) < 5:
            return None
        if head[0] != 5 or head[3] not in (1, 3, 4):
            raise ProxyFailed(f"{self._proxy} does not speak SOCKS 5")
        if head[1] != 0:
            why = _REPLIES.get(head[1], f"code {head[1]}")
            raise ProxyFailed(f"{self._proxy} cannot connect to the server: {why}")
        self.done = self._take(6 + {1: 4, 3: 1 + head[4], 4: 16}[head[3]]) is not None
        return b"" if self.done else None


def _address(host: str) -> bytes:
    """Return a host in the format of SOCKS 5 (RFC 1928, section 5)."""
    try:
        packed = ip_address(host).packed
    except ValueError:
        return bytes([3, len(host)]) + host.encode()
    return bytes([1 if len(packed) == 4 else 4]) + packed
