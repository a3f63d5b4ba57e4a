"""The HTTP API of Laravel Reverb 1.10, as measured on the wire."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import msgspec

from ._frames import Json, parse_json
from ._http import HttpRequest, HttpResponse, json_response, parse_form
from ._http_api import HttpApi, Wrong
from ._names import Kind
from ._realm import Realm
from ._reverb import known_data
from ._signatures import signature_matches
from ._users import Client

__all__ = ["ReverbApi"]

_ROUTES = (
    ("POST", re.compile(r"/(events|batch_events)\Z")),
    ("GET", re.compile(r"/(channels|connections)\Z")),
    ("GET", re.compile(r"/channels/([^/]+)(/users)?\Z")),
    ("POST", re.compile(r"/users/([^/]+)/terminate_connections\Z")),
)
_UNSIGNED = ("auth_signature", "body_md5", "appId", "appKey", "channelName")

_Errors = dict[str, list[str]]


class ReverbApi(HttpApi):
    """Answers publishers as Reverb does: it validates little, words its errors like Laravel, and closes the
    connection."""

    def answer(self, request: HttpRequest, now: float) -> HttpResponse | None:
        """Carry out the request of a publisher; the connection ends after each answer."""
        response = super().answer(request, now)
        if response is None:
            return None
        return HttpResponse(response.status, response.body, response.headers, close=True)

    def _path_of(self, request: HttpRequest) -> str:
        """Return the path still encoded: Reverb computes the signature of the encoded path."""
        return request.path

    def _failed(self, wrong: Wrong) -> HttpResponse:
        return HttpResponse(wrong.status, wrong.message.encode(), wrong.headers)

    def _authenticate(self, request: HttpRequest, path: str, signed: str, app_id: str) -> Realm:
        """Check only the signature, not the key and the time. `body_md5` is computed from the body."""
        self._check_route(request.method, signed)
        realm = next((realm for realm in self._realms() if realm.app.id == app_id), None)
        if realm is None:
            raise Wrong(404, f"No matching application for ID [{app_id}].")
        fields = parse_form(request.query) or {}
        given = fields.get("auth_signature", "")
        fields = {name: value for name, value in fields.items() if name not in _UNSIGNED}
        if request.body:
            fields["body_md5"] = hashlib.md5(request.body, usedforsecurity=False).hexdigest()
        query = "&".join(f"{name}={value}" for name, value in sorted(fields.items()))
        texts = (f"{request.method}\n{each}\n{query}" for each in (signed, path))
        if not any(signature_matches(realm.app.secret, text, given) for text in texts):
            raise Wrong(401, "Authentication signature invalid.")
        return realm

    def _check_route(self, method: str, path: str) -> None:
        rest = "/" + path.split("/", 3)[3]
        allowed = next((each for each, pattern in _ROUTES if pattern.match(rest)), None)
        if allowed is None:
            raise Wrong(404, "Not found.")
        if allowed != ("GET" if method == "HEAD" else method):
            raise Wrong(405, "Method not allowed.", (("Allow", allowed),))

    def _route(self, realm: Realm, request: HttpRequest, rest: str, now: float) -> HttpResponse:
        match rest.split("/")[1:]:
            case ["events"]:
                return self._events(realm, request.body, now)
            case ["batch_events"]:
                return self._batch(realm, request.body, now)
            case ["connections"]:
                return json_response(200, {"connections": len(dict(_subscribed(realm)))})
            case ["channels"]:
                return self._channels(realm, request.query)
            case ["channels", channel]:
                return self._channel(realm, unquote(channel), request.query, now)
            case ["channels", channel, "users"]:
                return self._users(realm, unquote(channel))
            case _:
                self._terminate_user(realm, unquote(rest.split("/")[2]), now)
                return json_response(200, {})

    def _events(self, realm: Realm, body: bytes, now: float) -> HttpResponse:
        event = _object(body)
        if errors := _wrong_event(event, ""):
            return json_response(422, errors)
        named = _array(event.get("channels"))
        channels = [str(each) for each in ([event["channel"]] if named is None else named)]
        for channel in channels:
            self._send(realm, channel, event, now)
        if not isinstance(info := event.get("info"), str):
            return json_response(200, {})
        infos = {
            each: self._info(realm, each, frozenset(info.split(",")), now) for each in channels
        }
        return json_response(200, {"channels": infos})

    def _batch(self, realm: Realm, body: bytes, now: float) -> HttpResponse:
        batch = _object(body).get("batch")
        events = _array(batch)
        if not events:
            kind = "must be an array" if _is_filled(batch) else "is required"
            return json_response(422, {"batch": [f"The batch field {kind}."]})
        errors: _Errors = {}
        for number, event in enumerate(events):
            errors |= _wrong_event(event, f"batch.{number}.")
        if errors:
            return json_response(422, errors)
        infos: list[Mapping[str, object]] = []
        there = {socket.id for socket, _ in _subscribed(realm)}
        for event in events:
            assert isinstance(event, dict)
            if event.get("socket_id") in there:
                # Up to 1.10.2. The events before it are published.
                raise Wrong(500, "Internal server error.")
            self._send(realm, str(event["channel"]), event, now)
            info = event.get("info")
            attributes = frozenset(info.split(",") if isinstance(info, str) else ())
            infos.append(self._info(realm, str(event["channel"]), attributes, now))
        named = any(isinstance(event, dict) and "info" in event for event in events)
        return json_response(200, {"batch": infos if named else {}})

    def _send(self, realm: Realm, channel: str, event: Mapping[str, Json], now: float) -> None:
        socket_id = event.get("socket_id")
        but = socket_id if isinstance(socket_id, str) else None
        self._publish(realm, channel, str(event["name"]), str(event["data"]), but, now)

    def _channels(self, realm: Realm, query: str) -> HttpResponse:
        parameters = parse_form(query) or {}
        attributes = frozenset(parameters.get("info", "").split(","))
        prefix = parameters.get("filter_by_prefix", "")
        names = [name for name in realm.channels if name.startswith(prefix)]
        infos = {name: self._info(realm, name, attributes, 0.0) for name in names}
        return json_response(200, {"channels": infos or []})

    def _channel(self, realm: Realm, channel: str, query: str, now: float) -> HttpResponse:
        attributes = frozenset((parse_form(query) or {}).get("info", "").split(","))
        occupied = channel in realm.channels
        info = self._info(realm, channel, attributes, now)
        return json_response(200, {"occupied": occupied, **info})

    def _info(
        self, realm: Realm, name: str, attributes: frozenset[str], now: float
    ) -> Mapping[str, object]:
        channel = realm.channels.get(name)
        if channel is None:
            return {}
        info: dict[str, object] = {}
        if channel.kind is not Kind.PRESENCE and "subscription_count" in attributes:
            info["subscription_count"] = len(channel.subscribers)
        if channel.kind is Kind.PRESENCE and "user_count" in attributes:
            info["user_count"] = len({_id_of(member) for member in channel.subscribers.values()})
        if "cache" in attributes and (event := realm.cache.get(name, now)) is not None:
            info["cache"] = msgspec.Raw(event.text.encode())
        return info

    def _users(self, realm: Realm, channel: str) -> HttpResponse:
        there = realm.channels.get(channel)
        if there is None:
            return json_response(404, {})
        if there.kind is not Kind.PRESENCE:
            return json_response(400, {})
        ids = dict.fromkeys(map(_id_of, there.subscribers.values()))
        return json_response(200, {"users": [{"id": user_id} for user_id in ids]})

    def _terminate_user(self, realm: Realm, user_id: str, now: float) -> None:
        """End the connections of a presence member. One whose first channel has no members ends the search."""
        for socket, member in list(_subscribed(realm)):
            data = known_data(member)
            if "user_id" not in data:
                raise Wrong(500, "Internal server error.")
            if str(data["user_id"]) == user_id:
                self._end(socket, now)


def _subscribed(realm: Realm) -> Iterator[tuple[Client, object]]:
    """Yield the sockets that have a channel, in the order of the channels, each with its member in the first one."""
    seen: set[Client] = set()
    for channel in realm.channels.values():
        for socket, member in channel.subscribers.items():
            if socket not in seen:
                seen.add(socket)
                yield socket, member


def _id_of(member: object) -> Json:
    return known_data(member).get("user_id")


def _object(body: bytes) -> dict[str, Json]:
    """Return the object in a body; a list has no fields, and PHP raises for anything else."""
    value = parse_json(body)
    if isinstance(value, list):
        return {}
    if not isinstance(value, dict):
        raise Wrong(500, "Internal server error.")
    return value


def _array(value: Json) -> list[Json] | None:
    """Return the values of what is an array in PHP, or None."""
    match value:
        case list():
            return value
        case dict():
            return list(value.values())
        case _:
            return None


def _is_filled(value: Json) -> bool:
    """Return whether Laravel takes a field for given: neither null, nor blank, nor an empty array."""
    return not (
        value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())
    )


def _wrong_event(event: Json, prefix: str) -> _Errors:
    """Return the errors of Laravel's validator for an event, by field."""
    fields = event if isinstance(event, dict) else {}
    errors: _Errors = {}
    for name in ("name", "data"):
        if not _is_filled(fields.get(name)):
            errors[name] = ["is required"]
        elif not isinstance(fields[name], str):
            errors[name] = ["must be a string"]
    has_channel = _is_filled(fields.get("channel"))
    if not prefix:
        if not has_channel and not _is_filled(fields.get("channels")):
            errors["channels"] = ["is required when channel is not present"]
        elif "channels" in fields and _array(fields["channels"]) is None:
            errors["channels"] = ["must be an array"]
    if not has_channel and (prefix or not _is_filled(fields.get("channels"))):
        errors["channel"] = ["is required when channels is not present"]
    for name in ("channel", "socket_id", "info"):
        if name in fields and name not in errors and not isinstance(fields[name], str):
            errors[name] = ["must be a string"]
    return {
        prefix + name: [f"The {prefix + name if prefix else name.replace('_', ' ')} field {each}."]
        for name, [each] in errors.items()
    }
