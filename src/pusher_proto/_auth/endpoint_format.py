"""Builds requests to auth endpoints and reads their answers; keeps no state.

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
from .._protocol.control import read_id
from .._wire.envelope import loads
from .._wire.http import HttpFailed, HttpRequest, HttpResponse
from .._wire.secretbox import KEY_SIZE, read_key
from ..auth import AuthEndpoint, AuthRequest, AuthResponse, EndpointResponse
from ..errors import AuthorizationError, excerpt, is_temporary, message_of
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
    """Return the URL of a request."""
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
    """Return the address of `url`, and the request for it with `fields`, `params` and `headers`.

    Raises TypeError or ValueError for a header or parameter that is invalid in a request.
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
    403: "the application does not allow this channel for this user, or the token is wrong",
    404: "check the path of the auth endpoint (Laravel: /broadcasting/auth)",
    419: "Laravel requires a CSRF token: use a route with a bearer token (Sanctum), or send X-XSRF-TOKEN",
}


def read_answer(
    endpoint: AuthEndpoint, channel: str | None, answer: HttpResponse | HttpFailed
) -> AuthResponse | AuthorizationError:
    """Return the authorization in an answer of the endpoint, or the error."""
    if isinstance(answer, HttpFailed):
        return AuthorizationError(f"the auth endpoint: {answer}", channel=channel, temporary=True)
    status = answer.status
    # The start of a page, never of JSON: an answer that is nearly valid may contain a signature.
    text = answer.body[:256].decode("utf-8-sig", "replace")
    body = excerpt(masked(text)) if not 200 <= status < 300 or text.lstrip().startswith("<") else ""

    def wrong(message: str) -> AuthorizationError:
        return AuthorizationError(message, channel=channel, status=status, body=body)

    if 300 <= status < 400:
        location = shown_url(answer.headers.get("location", "")) or "an unknown place"
        return wrong(
            f"the auth endpoint redirects ({status}) to {location}; redirects are not followed, because the target "
            "would get the headers: set the right URL, or send Accept: application/json when it is a login page"
        )
    if not 200 <= status < 300:
        hint = endpoint.hints.get(status) or _HINTS.get(status, "")
        return wrong(
            f"the auth endpoint answered {status}{f' ({hint})' if hint else ''}",
        )
    try:
        fields = fields_of(endpoint, answer)
    except Exception as error:  # of the application's parser, too: it is about this channel only
        if body:
            return wrong(
                "the auth endpoint answered with a page, not with JSON: a login page? Send a session cookie or a token"
            )
        return wrong(
            f"the answer of the auth endpoint cannot be read: {_why_unreadable(error, answer)}"
        )
    if not isinstance(fields, Mapping):
        return wrong(
            f"the auth endpoint answered with {type(fields).__name__}, not with an object that has `auth`"
        )
    parts = {
        name: fields.get(name) for name in ("auth", "channel_data", "shared_secret", "user_data")
    }
    for name, value in parts.items():
        if not isinstance(value, str | None):
            return wrong(
                f"`{name}` in the answer of the auth endpoint is not a string{_signed_text(value)}"
            )
    if not parts["auth"]:
        return wrong(f"the answer of the auth endpoint has no `auth`{_keys_of(fields)}")
    return check_authorization(msgspec.convert(parts, AuthResponse), channel)


def fields_of(endpoint: AuthEndpoint, answer: HttpResponse) -> Any:
    """Return the fields of a 2xx answer. Raises ValueError for invalid JSON, or any error of the parser."""
    if endpoint.parse is None:
        # PHP sends a byte order mark first when one of its files starts with one.
        fields = loads(answer.body.removeprefix(codecs.BOM_UTF8))
        if isinstance(fields, str):  # FastAPI encodes a str that already is JSON once more
            with contextlib.suppress(ValueError):
                return loads(fields.encode())
        return fields
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers.all:
        headers.setdefault(name, []).append(value)
    response = EndpointResponse(answer.body, answer.status, headers)
    try:
        return endpoint.parse(response)
    except Exception:
        # Some JSON parsers, such as orjson, accept plain bytes only.
        plain: Any = answer.body
        with contextlib.suppress(Exception):
            return endpoint.parse(plain)
        raise


_EXCERPT = 64
"""How many characters of an unexpected text a message shows."""


def _why_unreadable(error: Exception, answer: HttpResponse) -> str:
    """Return why an answer is not valid JSON, where the cause can be recognized."""
    encoding = answer.headers.get("content-encoding", "")
    if encoding not in ("", "identity") or answer.body.startswith(b"\x1f\x8b"):
        return f"it is compressed ({excerpt(encoding, 32) or 'gzip'}), although the request did not ask for that"
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if not text:
        return f"it is empty (status {answer.status}): return the authorization as JSON"
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0:
        return type(error).__name__
    if end < begin:
        return "it ends in the middle of the JSON object"
    if begin > 0:
        before = excerpt(masked(text[:begin]), _EXCERPT)
        return f"{before!r} precedes the JSON object"
    if end + 1 < len(text):
        after = excerpt(masked(text[end + 1 :]), _EXCERPT)
        return f"{after!r} follows the JSON object"
    return type(error).__name__


def _keys_of(fields: Mapping[Any, Any]) -> str:
    """Return a message about the keys that an answer has instead of `auth`."""
    if "auth" in fields:
        return ""
    names = ", ".join(excerpt(masked(str(name)), 32) for name in list(fields)[:6])
    if not names:
        return ""
    return f"; its keys are {names}: set AuthEndpoint(parse=...) to a function that returns an object with `auth`"


def caused_by(error: BaseException, what: str, channel: str | None) -> AuthorizationError:
    """Return the failure that an exception of the application's code causes; the message starts with `what`.

    It is temporary for errors of the network, for OSError, and for the HTTP status 408, 425, 429 and 5xx in the
    exception or its response.
    """
    status = _status_of(error)
    temporary = _is_of_the_network(error) if status is None else is_temporary(status)
    text, message = f"{what}: {type(error).__name__}", message_of(error)
    if message:
        text += f": {excerpt(masked(message))}"
    caused = AuthorizationError(text, channel=channel, status=status, temporary=temporary)
    caused.__cause__ = error
    return caused


def _status_of(error: BaseException) -> int | None:
    """Return the HTTP status in an exception of a common HTTP library, or None."""
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
"""Exceptions of HTTP libraries for a failure of the network or the server: package and name of the class."""


def _is_of_the_network(error: BaseException) -> bool:
    """Return whether the exception is about the network, so that another attempt may succeed."""
    # An exception of requests for a bad URL is both a ValueError and an OSError.
    if isinstance(error, PermissionError | ValueError):
        return False
    if isinstance(error, OSError):
        return True
    bases = type(error).__mro__
    return any((b.__module__.partition(".")[0], b.__name__) in _TRANSPORT_ERRORS for b in bases)


def check_authorization(
    authorization: object, channel: str | None
) -> AuthResponse | AuthorizationError:
    """Return `authorization` if it is complete for this channel (None: the sign-in), or the error."""
    if not isinstance(authorization, AuthResponse):
        hint = ""
        if isinstance(authorization, Mapping):
            hint = ": write AuthResponse(answer['auth'])"
        return AuthorizationError(
            f"an authorizer returns an AuthResponse, not {type(authorization).__name__}{hint}",
            channel=channel,
        )
    wrong = _wrong(authorization, channel)
    return (
        AuthorizationError(f"the authorization {wrong}", channel=channel)
        if wrong
        else authorization
    )


def _signed_text(value: object) -> str:
    """Return a hint for a value that was decoded, or not encoded, or ""."""
    return ": return the JSON text that was signed" if isinstance(value, Mapping) else ""


def _wrong(authorization: AuthResponse, channel: str | None) -> str:
    """Return what is wrong with an authorization, or ""."""
    for name in AuthResponse.__struct_fields__:
        value = getattr(authorization, name)
        if value is None:
            continue
        if not isinstance(value, str):
            return (
                f"has a `{name}` of type {type(value).__name__}, not a string{_signed_text(value)}"
            )
        if not value.isascii() and not _is_unicode(value):
            return f"has a `{name}` that is not valid Unicode"
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
    """Return what is wrong with an `auth` that is not KEY:signature, or "". The text never contains it."""
    if _TOKEN.match(auth):
        return ""
    if auth.lstrip().startswith("{"):
        what = "is the text of a JSON object: return the object itself"
    elif auth.lower().startswith("bearer "):
        what = "begins with 'Bearer '"
    elif "(" in auth:
        what = f"is wrapped in {excerpt(masked(auth.partition('(')[0]), 32)}(...)"
    elif ":" not in auth:
        what = "has no colon: is it the signature only?"
    else:
        what = "has spaces, quotes or more than one colon"
    return f"has an `auth` that {what}; KEY:signature is needed"


def _is_unicode(text: str) -> bool:
    """Return whether `text` can be encoded: it has no lone surrogates."""
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
    return isinstance(data, dict) and read_id(data.get(key)) is not None


def each_of(result: object, details: Sequence[AuthRequest]) -> list[object]:
    """Return the answer for each request from the result of `authorize_many`: a sequence, or a mapping by channel.

    A sequence has the answers in the order of the requests. Raises ValueError for one of another length.
    """
    if isinstance(result, Mapping):
        missing = LookupError("authorize_many returned no answer for this channel")
        return [result.get(one.channel, missing) for one in details]
    if not isinstance(result, Sequence) or len(result) != len(details):
        raise ValueError(
            f"authorize_many has to return {len(details)} answers, one for each request, in order"
        )
    return list(result)
