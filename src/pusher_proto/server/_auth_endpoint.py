"""The auth endpoints of an application's web server, for channels and for users."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from ..signing import sign_channel, sign_user
from ._cors import preflight, with_cors
from ._faults import Faults
from ._frames import Json, json_text, parse_json
from ._http import HttpRequest, HttpResponse, failure, json_response, parse_form
from ._limits import ServerLimits
from ._names import Kind, is_name, kind_of
from ._realm import Realm
from .apps import App

__all__ = ["AuthEndpoint", "AuthRequest", "AuthUser"]

AuthUser: TypeAlias = (
    Callable[[Mapping[str, str]], Mapping[str, object] | None] | Mapping[str, Mapping[str, object]]
)
"""The user of a request: a function of its headers (names in lower case), or a mapping from the value of the
`Authorization` header. A user is `{"id": ..., "user_info": ..., "watchlist": [...]}`."""

_CHANNEL_PATHS = ("/pusher/auth", "/broadcasting/auth")
_USER_PATHS = ("/pusher/user-auth", "/broadcasting/user-auth")


class AuthRequest(msgspec.Struct, frozen=True):
    """A request to an auth endpoint."""

    connection: int
    """The number of the HTTP connection."""
    path: str
    """The path of the request."""
    headers: dict[str, str]
    """Names are in lower case."""
    fields: dict[str, str]
    """The form, or the JSON object with its values as text."""


class AuthEndpoint:
    """Answers requests for authorizations with a signature, as an application does for its users."""

    def __init__(
        self,
        realms: Callable[[], list[Realm]],
        limits: ServerLimits,
        faults: Faults,
        log: Callable[[AuthRequest], None],
        *,
        auth_user: AuthUser | None,
        auth_token: str | None,
    ) -> None:
        self._realms = realms
        self._limits = limits
        self._faults = faults
        self._log = log
        self._auth_user = auth_user
        self._auth_token = auth_token

    def answer(self, connection: int, request: HttpRequest) -> HttpResponse | None:
        """Return the authorization or a failure, or None for a request to another path."""
        for_channel = request.path.endswith(_CHANNEL_PATHS)
        if not for_channel and not request.path.endswith(_USER_PATHS):
            return None
        response = preflight(request, "POST") or self._answer(connection, request, for_channel)
        return with_cors(request, response)

    def _answer(self, connection: int, request: HttpRequest, for_channel: bool) -> HttpResponse:
        headers = request.header_map
        fields = _fields(headers.get("content-type", ""), request.body)
        self._log(AuthRequest(connection, request.path, headers, fields or {}))
        if (other := self._faults.take_auth_answer()) is not None:
            return other
        if request.method != "POST":
            return failure(405, "An auth endpoint is called with POST; JSONP is not served")
        if self._auth_token is not None and headers.get("authorization") != self._bearer:
            return failure(403, "Missing or wrong bearer token")
        if fields is None:
            return failure(400, "The body is neither a form nor a JSON object")
        socket_id = fields.get("socket_id", "")
        realm, user = self._realm_of(socket_id), self._user_of(headers, fields)
        if user is None:
            return failure(403, "No such user")
        try:
            if for_channel:
                return self._channel(realm.app, socket_id, fields.get("channel_name", ""), user)
            return self._user(realm.app, socket_id, user)
        except ValueError as wrong:
            return failure(400, str(wrong))

    @property
    def _bearer(self) -> str:
        return f"Bearer {self._auth_token}"

    def _realm_of(self, socket_id: str) -> Realm:
        realms = self._realms()
        return next((realm for realm in realms if socket_id in realm.sockets), realms[0])

    def _user_of(
        self, headers: Mapping[str, str], fields: Mapping[str, str]
    ) -> Mapping[str, object] | None:
        if callable(self._auth_user):
            return self._auth_user(headers)
        if self._auth_user is not None:
            return self._auth_user.get(headers.get("authorization", ""))
        user_id = fields.get("user_id")
        if user_id is None:
            sockets = (realm.sockets.get(fields.get("socket_id", "")) for realm in self._realms())
            serial = next((socket.serial for socket in sockets if socket is not None), 0)
            user_id = f"user-{serial}"
        user: dict[str, object] = {"id": user_id, "user_info": {"name": user_id}}
        if "user_info" in fields:
            user["user_info"] = _json_or_text(fields["user_info"])
        if "watchlist" in fields:
            listed = _json_or_text(fields["watchlist"])
            names = listed if isinstance(listed, list) else fields["watchlist"].split(",")
            user["watchlist"] = [str(each).strip() for each in names if str(each).strip()]
        return user

    def _channel(
        self, app: App, socket_id: str, channel: str, user: Mapping[str, object]
    ) -> HttpResponse:
        if not is_name(channel, self._limits.name):
            return failure(400, f"Invalid channel_name {channel[:50]!r}")
        authorization: dict[str, Json] = {}
        channel_data = None
        match kind_of(channel):
            case Kind.PRESENCE:
                member = {"user_id": user.get("id", user.get("user_id"))}
                if "user_info" in user:
                    member["user_info"] = user["user_info"]
                channel_data = authorization["channel_data"] = json_text(member)
            case Kind.ENCRYPTED:
                shared_secret = app.shared_secret(channel)
                if shared_secret is None:
                    return failure(
                        500,
                        "The app has no encryption master key: give the server one, such as by "
                        "--encryption-master-key",
                    )
                authorization["shared_secret"] = base64.b64encode(shared_secret).decode()
            case _:
                pass
        auth = sign_channel(
            app.key, app.secret, socket_id, channel, channel_data, strict_names=False
        )
        return json_response(200, {"auth": auth} | authorization)

    def _user(self, app: App, socket_id: str, user: Mapping[str, object]) -> HttpResponse:
        user_data = json_text({**user, "id": user.get("id", user.get("user_id"))})
        auth = sign_user(app.key, app.secret, socket_id, user_data)
        return json_response(200, {"auth": auth, "user_data": user_data})


def _fields(content_type: str, body: bytes) -> dict[str, str] | None:
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return parse_form(body.decode("utf-8", "replace"))
    value = parse_json(body)
    if not isinstance(value, dict):
        return None
    return {
        name: each if isinstance(each, str) else json_text(each) for name, each in value.items()
    }


def _json_or_text(text: str) -> Json:
    value = parse_json(text)
    return text if value is msgspec.UNSET else value
