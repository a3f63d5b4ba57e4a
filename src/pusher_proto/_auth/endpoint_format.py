"""Requests to auth endpoints and the meaning of their answers: pure functions, no state.

The formats are those of the protocol's channel authorization and user authentication.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .._base.checks import check_headers
from .._base.secret import masked
from .._base.urls import Address, address_of, credentials_of, form, shown_url
from .._wire.envelope import loads
from .._wire.http import HttpFailed, HttpRequest, HttpResponse
from .._wire.secretbox import KEY_SIZE, read_key
from ..auth import AuthEndpoint, AuthRequest, AuthResponse, EndpointResponse
from ..errors import AuthorizationError, excerpt, may_pass
from ..names import ChannelKind, kind_of
from ..options import CLIENT

__all__ = [
    "caused_by",
    "check_authorization",
    "each_of",
    "fields_for",
    "fields_of",
    "read_answer",
    "request_with",
    "url_for",
]


def url_for(endpoint: AuthEndpoint, details: AuthRequest) -> str:
    """Return the URL that a request goes to."""
    return endpoint.user_url if details.channel is None and endpoint.user_url else endpoint.url


def fields_for(details: AuthRequest) -> dict[str, Any]:
    """Return the fields of a request for one authorization."""
    fields = {"socket_id": details.socket_id}
    if details.channel is not None:
        fields["channel_name"] = details.channel
    return fields


def request_with(
    endpoint: AuthEndpoint,
    url: str,
    fields: Mapping[str, Any],
    headers: Mapping[str, str],
    params: Mapping[str, Any],
) -> tuple[Address, HttpRequest]:
    """Return the address of `url`, and the request that sends `fields` and `params` there, with `headers`.

    Raises TypeError or ValueError for a header or parameter that no request can carry.
    """
    address = address_of(url)
    fields = {**fields, **params}
    if endpoint.body == "form":
        kind, body = "application/x-www-form-urlencoded", form(fields)
    else:
        kind, body = "application/json", msgspec.json.encode(fields)
    ours = {"Accept": "application/json", "Content-Type": kind, "User-Agent": CLIENT}
    credentials = credentials_of(url)
    if credentials is not None:
        ours["Authorization"] = credentials
    check_headers(headers, endpoint.body)
    taken = {name.lower() for name in headers}
    sent = [(name, value) for name, value in ours.items() if name.lower() not in taken]
    sent += headers.items()
    return address, HttpRequest(address.target, address.authority, sent, body)


_HINTS = {
    401: "the endpoint does not know the user: send the session cookie or a bearer token in AuthEndpoint.headers",
    403: "the application does not let this user into the channel, or the token is wrong",
    404: "nothing answers there: check the path of the auth endpoint (Laravel: /broadcasting/auth)",
    419: "Laravel wants a CSRF token: use a route with a bearer token (Sanctum), or send X-XSRF-TOKEN",
}


def read_answer(
    endpoint: AuthEndpoint, channel: str | None, answer: HttpResponse | HttpFailed
) -> AuthResponse | AuthorizationError:
    """Return the authorization in an answer of the endpoint, or an error text."""
    if isinstance(answer, HttpFailed):
        return AuthorizationError(f"the auth endpoint: {answer}", channel=channel, temporary=True)
    status = answer.status
    # The start of the page, never of JSON: an answer that is nearly right may hold a signature.
    text = answer.body[:256].decode("utf-8-sig", "replace")
    body = excerpt(masked(text)) if not 200 <= status < 300 or text.lstrip().startswith("<") else ""

    def wrong(message: str) -> AuthorizationError:
        return AuthorizationError(message, channel=channel, status=status, body=body)

    if 300 <= status < 400:
        location = shown_url(answer.headers.get("location", "")) or "an unknown place"
        return wrong(
            f"the auth endpoint redirects ({status}) to {location}; redirects are not followed, because they would "
            "get the headers: give the right URL, or send Accept: application/json when it is a login page"
        )
    if not 200 <= status < 300:
        hint = endpoint.hints.get(status) or _HINTS.get(status, "")
        return wrong(
            f"the auth endpoint answered {status}{f' ({hint})' if hint else ''}",
        )
    try:
        fields = fields_of(endpoint, answer)
    except Exception as error:  # of the application's parser too: it concerns this channel only
        if body:
            return wrong(
                "the auth endpoint answered a page where JSON was expected: a login page? Log in, or send a token"
            )
        return wrong(
            f"the answer of the auth endpoint cannot be read: {_why_unreadable(error, answer)}"
        )
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
        return wrong(f"the answer of the auth endpoint has no `auth`{_keys_of(fields)}")
    return check_authorization(msgspec.convert(parts, AuthResponse), channel)


def fields_of(endpoint: AuthEndpoint, answer: HttpResponse) -> Any:
    """Return the content of a good answer. Raises what the application's parser raises, and ValueError for no JSON."""
    if endpoint.parse is None:
        # PHP puts a byte order mark before everything when one of its files begins with one.
        fields = loads(answer.body.removeprefix(codecs.BOM_UTF8))
        if isinstance(fields, str):  # FastAPI makes a JSON string of a str that holds JSON
            with contextlib.suppress(ValueError):
                return loads(fields.encode())
        return fields
    headers: dict[str, list[str]] = {}
    for name, value in getattr(answer.headers, "all", ()):
        headers.setdefault(name, []).append(value)
    response = EndpointResponse(answer.body, answer.status, headers)
    try:
        return endpoint.parse(response)
    except Exception:
        # Some readers of JSON, such as orjson, take plain bytes alone.
        plain: Any = answer.body
        with contextlib.suppress(Exception):
            return endpoint.parse(plain)
        raise


_ABBREVIATED = 64


def _why_unreadable(error: Exception, answer: HttpResponse) -> str:
    """Return the reason why an answer is not JSON, as far as it can be recognized."""
    encoding = answer.headers.get("content-encoding", "")
    if encoding not in ("", "identity") or answer.body.startswith(b"\x1f\x8b"):
        return f"it is compressed ({excerpt(encoding, 32) or 'gzip'}), which was not asked for"
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if not text:
        return f"it is empty (status {answer.status}): return the authorization as JSON"
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0:
        return type(error).__name__
    if end < begin:
        return "it ended early, within the JSON object"
    if begin > 0:
        before = excerpt(masked(text[:begin]), _ABBREVIATED)
        return f"{before!r} is before the JSON object"
    if end + 1 < len(text):
        behind = excerpt(masked(text[end + 1 :]), _ABBREVIATED)
        return f"{behind!r} is behind the JSON object"
    return type(error).__name__


def _keys_of(fields: Mapping[Any, Any]) -> str:
    """Return a text about the keys that an answer has instead of `auth`."""
    if "auth" in fields:
        return ""
    names = ", ".join(excerpt(masked(str(name)), 32) for name in list(fields)[:6])
    if not names:
        return ""
    return f"; its keys are {names}. AuthEndpoint(parse=...) can say where it is"


def caused_by(error: BaseException, what: str, channel: str | None) -> AuthorizationError:
    """Return the failure caused by an `error` of the application's code: temporary for errors of the network, for
    OSError, and for the HTTP status 408, 425, 429 and 5xx in the error or its response."""
    status = _status_of(error)
    temporary = _is_of_the_network(error) if status is None else may_pass(status)
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


_TRANSPORT_ERRORS = {
    ("httpx", "TransportError"),
    ("httpcore", "NetworkError"),
    ("httpcore", "TimeoutException"),
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("urllib3", "TimeoutError"),
    ("urllib3", "MaxRetryError"),
    ("urllib3", "ProtocolError"),
    ("requests", "ConnectionError"),
    ("requests", "Timeout"),
    ("requests", "ChunkedEncodingError"),
}
"""Errors of HTTP libraries that say that the network or the server failed: the package and the name of a class."""


def _is_of_the_network(error: BaseException) -> bool:
    """Return whether another try may succeed, because it was the network that failed."""
    if isinstance(
        error, PermissionError | ValueError
    ):  # requests makes one error of a bad URL and of OSError
        return False
    if isinstance(error, OSError):
        return True
    bases = type(error).__mro__
    return any((b.__module__.partition(".")[0], b.__name__) in _TRANSPORT_ERRORS for b in bases)


def check_authorization(
    authorization: object, channel: str | None
) -> AuthResponse | AuthorizationError:
    """Return `authorization` if it is complete for this channel (None: signing in), or an error text."""
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
    """Return the error of an authorization, or an empty text."""
    for name in AuthResponse.__struct_fields__:
        value = getattr(authorization, name)
        if value is None:
            continue
        if not isinstance(value, str):
            return f"has a `{name}` that is {type(value).__name__} and not a string"
        if not _is_unicode(value):
            return f"has a `{name}` that is not Unicode"
    if not authorization.auth:
        return "has no `auth`"
    shape = _wrong_shape(authorization.auth)
    if shape:
        return shape
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


_TOKEN = re.compile(r"[^\s:{}()\"']+:[^\s:{}()\"']+\Z")


def _wrong_shape(auth: str) -> str:
    """Return the error of an `auth` that is not of the form KEY:signature, or an empty text. Never shows it."""
    if _TOKEN.match(auth):
        return ""
    if auth.lstrip().startswith("{"):
        what = "holds JSON: return the object itself, not its text"
    elif auth.lower().startswith("bearer "):
        what = "begins with 'Bearer '"
    elif "(" in auth:
        what = f"is wrapped in {excerpt(masked(auth.partition('(')[0]), 32)}(...)"
    elif ":" not in auth:
        what = "has no colon: perhaps it is the signature alone"
    else:
        what = "has spaces, quotes or more than one colon"
    return f"has an `auth` that {what}; KEY:signature is needed"


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(text: str | None, key: str) -> bool:
    """Return whether the JSON object `text` has a usable user id under `key`."""
    try:
        data = loads(text or "")
    except ValueError:
        return False
    user_id = data.get(key) if isinstance(data, dict) else None
    return isinstance(user_id, str | int) and not isinstance(user_id, bool) and user_id != ""


def each_of(result: object, details: Sequence[AuthRequest]) -> list[object]:
    """Return the answer of `authorize_many` to each request, from a list in their order or a mapping by channel."""
    if isinstance(result, Mapping):
        missing = LookupError("authorize_many gave no answer for this channel")
        return [result.get(one.channel, missing) for one in details]
    if not isinstance(result, Sequence) or len(result) != len(details):
        raise ValueError(
            f"authorize_many returns {len(details)} answers, one for each request, in order"
        )
    return list(result)
