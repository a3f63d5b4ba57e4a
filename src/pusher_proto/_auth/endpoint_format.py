"""What an auth endpoint is sent, and what its answer means: pure functions, no state.

Request and answer as in the protocol's channel authorization and user authentication.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._base.checks import check_header
from .._base.secret import masked
from .._base.urls import Address, address_of, credentials_of, form, shown_url
from .._wire.envelope import loads
from .._wire.http import HttpFailed, HttpRequest, HttpResponse
from .._wire.secretbox import KEY_SIZE, read_key
from ..auth import AuthEndpoint, AuthRequest, AuthResponse
from ..errors import AuthorizationError, excerpt
from ..names import ChannelKind, kind_of
from ..options import CLIENT

__all__ = [
    "caused_by",
    "check_authorization",
    "each_of",
    "fields_of",
    "read_answer",
    "request_for",
    "request_with",
]


def request_for(endpoint: AuthEndpoint, details: AuthRequest) -> tuple[Address, HttpRequest]:
    """Return where the request goes and what it is. What the application's functions raise comes out."""
    url = endpoint.user_url if details.channel is None and endpoint.user_url else endpoint.url
    fields = {"socket_id": details.socket_id}
    if details.channel is not None:
        fields["channel_name"] = details.channel
    return request_with(endpoint, url, fields)


def request_with(
    endpoint: AuthEndpoint, url: str, fields: Mapping[str, Any]
) -> tuple[Address, HttpRequest]:
    """Return the request that sends `fields` and the endpoint's own parameters to `url`."""
    address = address_of(url)
    fields = {**fields, **(endpoint.params() if callable(endpoint.params) else endpoint.params)}
    if endpoint.body == "form":
        kind, body = "application/x-www-form-urlencoded", form(fields)
    else:
        kind, body = "application/json", msgspec.json.encode(fields)
    headers = {"Accept": "application/json", "Content-Type": kind, "User-Agent": CLIENT}
    credentials = credentials_of(url)
    if credentials is not None:
        headers["Authorization"] = credentials
    own = endpoint.headers() if callable(endpoint.headers) else endpoint.headers
    taken = {name.lower() for name in own}
    headers = {name: value for name, value in headers.items() if name.lower() not in taken}
    for name, value in own.items():
        check_header(name, value)
        headers[name] = value
    return address, HttpRequest(address.target, address.authority, list(headers.items()), body)


_HINTS = {
    401: "the endpoint does not know who asks: send the session cookie or a bearer token in AuthEndpoint.headers",
    403: "the application does not let this user into the channel, or the token is wrong",
    404: "nothing answers there: check the path of the auth endpoint (Laravel: /broadcasting/auth)",
    419: "Laravel wants a CSRF token: use a route with a bearer token (Sanctum), or send X-XSRF-TOKEN",
}


def read_answer(
    endpoint: AuthEndpoint, channel: str | None, answer: HttpResponse | HttpFailed
) -> AuthResponse | AuthorizationError:
    """Return the authorization that the endpoint answered with, or what was wrong with the answer."""
    if isinstance(answer, HttpFailed):
        return AuthorizationError(f"the auth endpoint: {answer}", channel=channel, temporary=True)
    status = answer.status
    # The start of the page, never of JSON: an answer that is nearly right may hold a signature.
    text = answer.body[:256].decode("utf-8-sig", "replace")
    body = excerpt(masked(text)) if not 200 <= status < 300 or text.lstrip().startswith("<") else ""

    def wrong(message: str, *, temporary: bool = False) -> AuthorizationError:
        return AuthorizationError(
            message, channel=channel, status=status, body=body, temporary=temporary
        )

    if 300 <= status < 400:
        location = shown_url(answer.headers.get("location", "")) or "an unknown place"
        return wrong(
            f"the auth endpoint redirects ({status}) to {location}; redirects are not followed, because headers would "
            "go along: give the right URL, or send Accept: application/json when it is a login page"
        )
    if not 200 <= status < 300:
        hint = endpoint.hints.get(status) or _HINTS.get(status, "")
        return wrong(
            f"the auth endpoint answered {status}{f' ({hint})' if hint else ''}",
            temporary=_may_pass(status),
        )
    try:
        fields = fields_of(endpoint, answer)
    except Exception as error:  # of the application's parser too: it concerns this channel only
        if body:
            return wrong(
                "the auth endpoint answered a page where JSON was expected: a login page? Log in, or send a token"
            )
        return wrong(f"the answer of the auth endpoint cannot be read: {type(error).__name__}")
    if not isinstance(fields, Mapping):
        return wrong(
            f"the auth endpoint answered {type(fields).__name__} where an object with `auth` was expected"
        )
    parts = {
        name: fields.get(name) for name in ("auth", "channel_data", "shared_secret", "user_data")
    }
    for name, value in parts.items():
        if not isinstance(value, str | None):
            return wrong(f"`{name}` in the answer of the auth endpoint is not a string")
    if not parts["auth"]:
        return wrong("the answer of the auth endpoint has no `auth`")
    return check_authorization(msgspec.convert(parts, AuthResponse), channel)


def fields_of(endpoint: AuthEndpoint, answer: HttpResponse) -> Any:
    """Return what a good answer says. What the application's parser raises comes out, and ValueError for no JSON."""
    if endpoint.parse is not None:
        return endpoint.parse(answer.body)
    # PHP puts a byte order mark before everything when one of its files begins with one; browsers look over it.
    return loads(answer.body.removeprefix(codecs.BOM_UTF8))


def caused_by(error: BaseException, what: str, channel: str | None) -> AuthorizationError:
    """Return the failure that the application's code caused by raising `error`. Network errors may pass."""
    status = _status_of(error)
    if status is not None:
        temporary = _may_pass(status)
    else:
        temporary = isinstance(error, OSError) and not isinstance(error, PermissionError)
    text = f"{what}: {type(error).__name__}: {excerpt(masked(str(error)))}"
    caused = AuthorizationError(text, channel=channel, status=status, temporary=temporary)
    caused.__cause__ = error
    return caused


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error of a common HTTP library carries."""
    response = getattr(error, "response", None)  # requests, httpx
    for holder, name in ((response, "status_code"), (error, "status"), (error, "code")):
        status = getattr(holder, name, None)  # aiohttp has `status`, urllib `code`
        if isinstance(status, int) and 400 <= status < 600:
            return status
    return None


def _may_pass(status: int) -> bool:
    """Return whether another try may be answered otherwise."""
    return status in (408, 425, 429) or status >= 500


def check_authorization(
    authorization: object, channel: str | None
) -> AuthResponse | AuthorizationError:
    """Return `authorization` when it has what this channel (None: signing in) needs, or what is missing."""
    if not isinstance(authorization, AuthResponse):
        return AuthorizationError(
            f"an authorizer returns an AuthResponse, not {type(authorization).__name__}",
            channel=channel,
        )
    wrong = _wrong(authorization, channel)
    return (
        AuthorizationError(f"the authorization {wrong}", channel=channel)
        if wrong
        else authorization
    )


def _wrong(authorization: AuthResponse, channel: str | None) -> str:
    """Return what is wrong with an authorization, or an empty text."""
    for name in AuthResponse.__struct_fields__:
        value = getattr(authorization, name)
        if not isinstance(value, str | None):
            return f"has a `{name}` that is {type(value).__name__} and not a string"
        if value is not None and not _is_unicode(value):
            return f"has a `{name}` that is not Unicode"
    if not authorization.auth:
        return "has no `auth`"
    if channel is None:
        return "" if _names(authorization.user_data, "id") else "has no user_data with an id"
    kind = kind_of(channel)
    if kind is ChannelKind.PRESENCE and authorization.channel_data is not None:
        return (
            ""
            if _names(authorization.channel_data, "user_id")
            else "has no user_id in its channel_data"
        )
    if kind is ChannelKind.ENCRYPTED:
        try:
            read_key(authorization.shared_secret)
        except ValueError:
            return f"has no shared_secret of {KEY_SIZE} bytes in base64"
    return ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(text: str | None, key: str) -> bool:
    """Return whether a server will find under `key` who it is that the JSON `text` speaks of."""
    try:
        data = loads(text or "")
    except ValueError:
        return False
    user_id = data.get(key) if isinstance(data, dict) else None
    return isinstance(user_id, str | int) and not isinstance(user_id, bool) and user_id != ""


def each_of(result: object, details: Sequence[AuthRequest]) -> list[object]:
    """Return what `authorize_many` answered to each request: from a list in their order, or a mapping by channel."""
    if isinstance(result, Mapping):
        missing = LookupError("authorize_many gave no answer for this channel")
        return [result.get(one.channel, missing) for one in details]
    if not isinstance(result, Sequence) or len(result) != len(details):
        raise ValueError(
            f"authorize_many returns {len(details)} answers, one for each request, in order"
        )
    return list(result)
