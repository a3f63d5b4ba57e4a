"""Who vouches for this client: the request, the authorization that answers it, and the ways to get one.

Private channels and signing in need an authorization made for the socket id of the moment (protocol: user
authentication and channel authorization). `OwnKey` signs it here, an `AuthEndpoint` is asked over HTTP,
and an application may answer by a function of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ._base.checks import check_header
from ._base.secret import Secret
from ._base.urls import address_of, shown_url
from .errors import AuthorizationError, UnsupportedFeature, excerpt
from .names import ChannelKind, check_channel, kind_of
from .signing import check_socket_id, shared_secret, sign_channel, sign_user

__all__ = ["Auth", "AuthEndpoint", "AuthRequest", "AuthResponse", "OwnKey"]


class AuthRequest(Struct, frozen=True):
    """What an authorization is wanted for."""

    socket_id: str
    """The connection that will use it; an authorization is worth nothing on any other."""
    channel: str | None = None
    """The channel, or None for signing in the user."""


class AuthResponse(Struct, frozen=True, repr_omit_defaults=True):
    """A permission to subscribe to one channel, or to sign in, on one connection."""

    auth: str
    """`KEY:signature`."""
    channel_data: str | None = None
    """The JSON text of the presence member, exactly as it was signed."""
    shared_secret: str | None = None
    """The key of an encrypted channel, 32 bytes in base64."""
    user_data: str | None = None
    """The JSON text of the user who signs in, exactly as it was signed."""

    def __repr__(self) -> str:
        key, colon, _ = str(self.auth).partition(":")
        return (
            f"AuthResponse(auth='{excerpt(key, 64)}:***')" if colon else "AuthResponse(auth='***')"
        )


@dataclass(frozen=True, slots=True)
class OwnKey:
    """Sign authorizations here, with the secret of the app: for programs that may hold it, never for devices.

    `member` is the presence member, `{"user_id": ..., "user_info": ...}`, or a function of the channel's
    name; without it a presence channel is joined as the user who is signed in. `user` is the user to sign in,
    `{"id": ..., ...}`; `master_key` the 32 bytes of the app's encryption master key.
    """

    key: str
    secret: Secret | str = field(repr=False)
    member: Mapping[str, Any] | Callable[[str], Mapping[str, Any]] | None = field(
        default=None, repr=False
    )
    user: Mapping[str, Any] | None = field(default=None, repr=False)
    master_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.key or not Secret(self.secret).reveal():
            raise ValueError("OwnKey needs the key and the secret of the app")
        if self.master_key is not None:
            if not isinstance(self.master_key, bytes):
                raise TypeError(f"a master key is bytes, not {type(self.master_key).__name__}")
            if len(self.master_key) != 32:
                raise ValueError("a master key has 32 bytes; the dashboard shows it in base64")
        object.__setattr__(self, "secret", Secret(self.secret))

    def authorization(self, request: AuthRequest, *, strict_names: bool = True) -> AuthResponse:
        """Return the signed answer to `request`.

        Raises ValueError, before anything is signed, for a socket id that no server issues and for a channel's name
        that is not allowed (`strict_names` as in `Options`), and `AuthorizationError` when the user or the master
        key that the request needs was not given.
        """
        # First what may be wrong: an exception must not show a local variable that holds something secret.
        check_socket_id(request.socket_id)
        if request.channel is None:
            if self.user is None:
                raise AuthorizationError("OwnKey has no `user` to sign in", channel=None)
            user_data = msgspec.json.encode(self.user).decode()
            token = sign_user(self.key, self.secret, request.socket_id, user_data)
            return AuthResponse(auth=token, user_data=user_data)
        channel, kind = request.channel, kind_of(request.channel)
        check_channel(channel, strict=strict_names)
        channel_data = shared = None
        if kind is ChannelKind.ENCRYPTED and self.master_key is None:
            why = f"OwnKey has no `master_key`, and {excerpt(channel, 64)!r} is encrypted"
            raise AuthorizationError(why, channel=channel)
        if kind is ChannelKind.PRESENCE and self.member is not None:
            channel_data = msgspec.json.encode(
                self.member(channel) if callable(self.member) else self.member
            ).decode()
        token = sign_channel(
            self.key,
            self.secret,
            request.socket_id,
            channel,
            channel_data,
            strict_names=strict_names,
        )
        if kind is ChannelKind.ENCRYPTED and self.master_key is not None:
            shared = shared_secret(channel, self.master_key)
        return AuthResponse(auth=token, channel_data=channel_data, shared_secret=shared)


@dataclass(frozen=True, slots=True)
class AuthEndpoint:
    """Ask an HTTP endpoint of the application for each authorization (Laravel: `/broadcasting/auth`).

    `url` is absolute, http or https. `headers` and `params` are mappings, or functions without arguments that
    are called for each request, so that a token may change. `body` says how the fields are sent.
    `parse` turns the body of a good answer into a mapping with `auth` (and `channel_data`, `shared_secret`,
    `user_data`); the default reads JSON. `refresh` is called once when the answer is 401 or 403, and the request is
    made once more.
    `user_url` is the endpoint for signing in when it is another one. `batch` is how many channels may go into one
    request; more than 1 needs an endpoint that knows the form (`channel_name[0]` and so on, answered by an object
    from channel to authorization). `hints` says by HTTP status what errors tell a person to do about a refusal.
    """

    url: str
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    params: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default=dict, repr=False)
    body: Literal["form", "json"] = "form"
    parse: Callable[[bytes], Mapping[str, Any]] | None = field(default=None, repr=False)
    refresh: Callable[[], object] | None = field(default=None, repr=False)
    user_url: str | None = None
    batch: int = 1
    hints: Mapping[int, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"AuthEndpoint(batch=...) is 1 at least, not {self.batch!r}")
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
        if isinstance(self.headers, Mapping):
            for name, value in self.headers.items():
                check_header(name, value)

    def __repr__(self) -> str:
        user = f", user_url={shown_url(self.user_url)!r}" if self.user_url is not None else ""
        return f"AuthEndpoint(url={shown_url(self.url)!r}, body={self.body!r}{user})"


Auth = OwnKey | AuthEndpoint | AuthResponse | Callable[..., object]
"""What `subscribe(auth=...)` takes: any way to get an authorization, or a ready one."""
