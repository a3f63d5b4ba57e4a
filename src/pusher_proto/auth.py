"""Authorizations: the request, the response, and the sources of responses.

Private channels and signing in need an authorization for the current socket id (protocol: user authentication and
channel authorization). `OwnKey` signs it in the client, `AuthEndpoint` requests it over HTTP, and an application can
return it from its own function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct

from ._base.checks import (
    IN_BLOCKING,
    check_headers,
    check_plain,
    check_secret,
    check_ssl_context,
    is_int,
)
from ._base.secret import Secret
from ._base.urls import address_of, shown_url
from .errors import AuthorizationError, UnsupportedFeature, excerpt
from .names import ChannelKind, check_channel, kind_of
from .signing import channel_token, check_socket_id, shared_secret, sign_user

__all__ = [
    "Auth",
    "AuthEndpoint",
    "AuthRequest",
    "AuthResponse",
    "EndpointResponse",
    "OwnKey",
    "check_plain_functions",
]


class AuthRequest(Struct, frozen=True):
    """A request for an authorization."""

    socket_id: str
    """The socket id of the connection. An authorization is valid on this connection only."""
    channel: str | None = None
    """The channel; None for the sign-in of the user."""


class AuthResponse(Struct, frozen=True, repr_omit_defaults=True):
    """An authorization to subscribe to one channel, or to sign in, on one connection."""

    auth: str
    """`KEY:signature`."""
    channel_data: str | None = None
    """The JSON text of the presence member, exactly as it was signed."""
    shared_secret: str | None = None
    """The key of an encrypted channel, 32 bytes in base64."""
    user_data: str | None = None
    """The JSON text of the user to sign in, exactly as it was signed."""

    def __repr__(self) -> str:
        key, colon, _ = str(self.auth).partition(":")
        return (
            f"AuthResponse(auth='{excerpt(key, 64)}:***')" if colon else "AuthResponse(auth='***')"
        )


class EndpointResponse(bytes):
    """The response of an auth endpoint with a status of 200 to 299, for `AuthEndpoint.parse`: the bytes of its body."""

    status: int
    """The HTTP status."""
    headers: dict[str, list[str]]
    """All values of each header, by its name in lower case."""

    def __new__(cls, body: bytes, status: int, headers: Mapping[str, list[str]]) -> Self:
        """Create a response, for tests of a `parse` function."""
        response = super().__new__(cls, body)
        response.status = status
        response.headers = dict(headers)
        return response

    def __repr__(self) -> str:
        return f"EndpointResponse({len(self)} bytes, status={self.status})"

    @property
    def body(self) -> bytes:
        """The body as plain bytes."""
        return bytes(self)

    @property
    def text(self) -> str:
        """The body as text; invalid UTF-8 is replaced by U+FFFD."""
        return self.decode("utf-8-sig", "replace")

    def json(self) -> Any:
        """Return the body decoded as JSON. Raises ValueError when it is not JSON."""
        return msgspec.json.decode(self.text)


@dataclass(frozen=True, slots=True)
class OwnKey:
    """Signs authorizations in the client, with the secret of the app: for servers only, never for devices of users.

    `member` is the presence member, `{"user_id": ..., "user_info": ...}`, or a function of the channel's name, which
    must be pure and quick. `user` is the user to sign in, `{"id": ..., "user_info": ...}`; without `member` it is also
    the presence member. Ids are signed as text, because some servers reject numbers. `master_key` has the 32 bytes of
    the app's encryption master key.
    """

    key: str
    """The key of the app."""
    secret: Secret | str = field(repr=False)
    """The secret of the app. It is stored as a `Secret`, whose repr does not show it."""
    member: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None = field(
        default=None, repr=False
    )
    """The presence member, `{"user_id": ..., "user_info": ...}`, or a pure and quick function of the channel's name."""
    user: Mapping[str, Any] | None = field(default=None, repr=False)
    """The user to sign in, `{"id": ..., "user_info": ...}`; without `member` also the presence member."""
    master_key: bytes | None = field(default=None, repr=False)
    """The 32 bytes of the app's encryption master key; needed for encrypted channels."""

    def __post_init__(self) -> None:
        secret = self.secret.reveal() if isinstance(self.secret, Secret) else self.secret
        if not self.key or not secret:
            raise ValueError("OwnKey needs the key and the secret of the app")
        check_secret(self.key, "OwnKey(key=...)")
        check_secret(secret, "OwnKey(secret=...)")
        if not (self.member is None or isinstance(self.member, Mapping) or callable(self.member)):
            what = f"not {type(self.member).__name__}"
            raise TypeError(
                f"OwnKey(member=...) is a mapping or a function that returns one, {what}"
            )
        if not isinstance(self.user or {}, Mapping):
            raise TypeError(f"OwnKey(user=...) is a mapping, not {type(self.user).__name__}")
        if self.master_key is not None:
            if not isinstance(self.master_key, bytes):
                raise TypeError(f"a master key is bytes, not {type(self.master_key).__name__}")
            if len(self.master_key) != 32:
                raise ValueError("a master key has 32 bytes: decode the dashboard's base64")
        check_plain(self.member, "OwnKey(member=...)")
        object.__setattr__(self, "secret", Secret(self.secret))

    def authorization(self, request: AuthRequest, *, strict_names: bool = True) -> AuthResponse:
        """Return the signed answer to `request`.

        Raises ValueError for an invalid socket id or name of a channel (`strict_names` as in `Options`), and
        `AuthorizationError` when the user or the master key that the request needs is not set.
        """
        # Check first: a traceback must not show a local variable that contains a secret.
        check_socket_id(request.socket_id)
        if request.channel is None:
            if self.user is None:
                raise AuthorizationError("OwnKey has no `user` to sign in: set it", channel=None)
            user_data = msgspec.json.encode(_with_text_id(self.user, "id")).decode()
            token = sign_user(self.key, self.secret, request.socket_id, user_data)
            return AuthResponse(auth=token, user_data=user_data)
        channel, kind = request.channel, kind_of(request.channel)
        check_channel(channel, strict=strict_names)
        channel_data = shared = None
        if kind is ChannelKind.ENCRYPTED and self.master_key is None:
            why = f"OwnKey has no `master_key`, and {excerpt(channel, 64)!r} is encrypted"
            raise AuthorizationError(why, channel=channel)
        if kind is ChannelKind.PRESENCE:
            channel_data = self._channel_data(channel)
        token = channel_token(self.key, self.secret, request.socket_id, channel, channel_data)
        if kind is ChannelKind.ENCRYPTED and self.master_key is not None:
            shared = shared_secret(channel, self.master_key)
        return AuthResponse(auth=token, channel_data=channel_data, shared_secret=shared)

    def _channel_data(self, channel: str) -> str | None:
        """Return the JSON text of the presence member, or None when there is none."""
        member = self.member(channel) if callable(self.member) else self.member
        if member is None and self.user is not None and "id" in self.user:
            member = {"user_id": self.user["id"], "user_info": self.user.get("user_info")}
        if member is None:
            return None
        # On Reverb, a member without user_info breaks the channel for all later members.
        signed = _with_text_id(member, "user_id")
        signed.setdefault("user_info", None)
        return msgspec.json.encode(signed).decode()


Fields = Mapping[str, str]
FieldsFunction = Callable[[], Fields | Awaitable[Fields]]


@dataclass(frozen=True, slots=True)
class AuthEndpoint:
    """Requests authorizations from an HTTP endpoint of the application (Laravel: `/broadcasting/auth`).

    `url` is absolute, http or https; `user_url` is the URL for signing in, if it is different. `headers` and `params`
    are mappings, or functions without arguments that are called for each request, so that a token can change.
    `refresh` is called when the answer is 401, 403 or 419, once for all requests with the old token; then each request
    is repeated once. These three functions may be slow, and in the async client they may be coroutine functions; a
    request fails when one of them does not return within `Options.auth_timeout`. `body` is the format of the fields.
    `parse` converts a response to a mapping with `auth` (and `channel_data`, `shared_secret`, `user_data`): it gets an
    `EndpointResponse`, which is also the bytes of the body, and must be pure and quick; by default JSON is decoded.

    `batch` is the most channels in one request; more than 1 needs an endpoint that supports the format
    (`channel_name[0]` and so on, answered by an object from channel to authorization). `hints` maps an HTTP status to
    advice for the error message. `ssl_context` is for the endpoint only, for example to trust your own certificate
    authority; it replaces the SSL context of the client.
    """

    url: str
    """The absolute http or https URL for channels."""
    headers: Fields | FieldsFunction = field(default_factory=dict, repr=False)
    """Headers of each request, or a function that returns them."""
    params: Fields | FieldsFunction = field(default_factory=dict, repr=False)
    """Fields of each request in addition to the protocol's, or a function that returns them."""
    body: Literal["form", "json"] = "form"
    """The format of the fields: a form, or a JSON object."""
    parse: Callable[[EndpointResponse], Mapping[str, Any]] | None = field(default=None, repr=False)
    """A pure and quick function that converts a response to a mapping with `auth`; None decodes JSON."""
    refresh: Callable[[], object] | None = field(default=None, repr=False)
    """Called once after 401, 403 or 419, before the requests are repeated; None: they are not repeated."""
    user_url: str | None = None
    """The URL for signing in; None: `url`."""
    batch: int = 1
    """The most channels in one request."""
    hints: Mapping[int, str] = field(default_factory=dict, repr=False)
    """Advice for errors, by HTTP status."""
    ssl_context: Any = field(default=None, repr=False)
    """The `SSLContext` for the endpoint; None: the client's."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"AuthEndpoint(batch=...) is at least 1, not {self.batch!r}")
        if self.body not in ("form", "json"):
            raise ValueError(f"AuthEndpoint(body=...) is 'form' or 'json', not {self.body!r}")
        for url in (self.url,) if self.user_url is None else (self.url, self.user_url):
            if not isinstance(url, str):
                raise TypeError(f"the URL of an auth endpoint is a str, not {type(url).__name__}")
            if not url.lower().startswith(("http://", "https://")):
                raise UnsupportedFeature(
                    f"an auth endpoint is an absolute http or https URL, not {shown_url(url)!r}"
                )
            address_of(url)
        for name in ("headers", "params"):
            value = getattr(self, name)
            if not isinstance(value, Mapping) and not callable(value):
                raise TypeError(
                    f"AuthEndpoint({name}=...) is a mapping or a function, not {type(value).__name__}"
                )
        check_plain(self.parse, "AuthEndpoint(parse=...)")
        check_ssl_context(self.ssl_context, "AuthEndpoint(ssl_context=...)")
        if isinstance(self.headers, Mapping):
            object.__setattr__(
                self, "headers", dict(self.headers)
            )  # a copy: it cannot change after the check
            check_headers(self.headers, self.body)

    def __repr__(self) -> str:
        user = f", user_url={shown_url(self.user_url)!r}" if self.user_url is not None else ""
        return f"AuthEndpoint(url={shown_url(self.url)!r}, body={self.body!r}{user})"


Auth = OwnKey | AuthEndpoint | AuthResponse | Callable[..., object]
"""The type of `subscribe(auth=...)`: a source of authorizations, or an authorization."""


def check_plain_functions(auth: object, **others: object) -> None:
    """Raise TypeError when `auth`, one of its functions or another one is a coroutine function: for blocking code."""
    functions: dict[str, object] = {"auth": auth}
    if isinstance(auth, AuthEndpoint):
        functions = {
            f"AuthEndpoint.{name}": getattr(auth, name) for name in ("headers", "params", "refresh")
        }
    for name, function in (functions | others).items():
        check_plain(function, name, IN_BLOCKING)


def _with_text_id(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a copy of `data` with an integer id converted to text."""
    user_id = data.get(key)
    if is_int(user_id):
        return {**data, key: str(user_id)}
    return dict(data)
