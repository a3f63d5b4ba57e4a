"""The HTTP API that publishers call: events, channels and users, with signed requests.

It follows https://pusher.com/docs/channels/library_auth_reference/rest-api/ and changes the server through the
callbacks that it is given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

import msgspec

from ..signing import check_socket_id
from ._dialect import Dialect
from ._frames import json_text, parse_json
from ._http import HttpRequest, HttpResponse, failure, json_response, parse_form
from ._limits import ServerLimits
from ._names import Kind, is_name, kind_of
from ._realm import Realm
from ._signatures import signature_matches
from ._users import Client

__all__ = ["HttpApi", "Wrong"]

_ROUTE = re.compile(r"(?P<prefix>.*?)(?P<path>/apps/(?P<app>[^/]+)(?P<rest>/.*))\Z")
_EVENTS = re.compile(r"/channels/([^/]+)/events\Z")
_CHANNEL = re.compile(r"/channels/([^/]+)\Z")
_USERS = re.compile(r"/channels/([^/]+)/users\Z")
_TERMINATE = re.compile(r"/users/([^/]+)/terminate_connections\Z")
_CLOCK_TOLERANCE = 600.0

_Body = TypeVar("_Body")


class _Event(msgspec.Struct):
    name: str
    data: str
    channel: str | None = None
    channels: list[str] | None = None
    socket_id: str | None = None
    info: str | None = None


class _Batch(msgspec.Struct):
    batch: list[_Event]


class Wrong(Exception):
    """Raised to answer a request with a failure."""

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class HttpApi:
    """Answers publishers. A request with any error in it changes nothing."""

    def __init__(
        self,
        realms: Callable[[], list[Realm]],
        limits: ServerLimits,
        *,
        dialect: Dialect,
        wall_clock: Callable[[], float] | None,
        publish: Callable[[Realm, str, str, str, str | None, float], object],
        end: Callable[[Client, float], None],
    ) -> None:
        self._realms = realms
        self._limits = limits
        self._dialect = dialect
        self._wall_clock = wall_clock
        self._publish = publish
        self._end = end

    def answer(self, request: HttpRequest, now: float) -> HttpResponse | None:
        """Carry out the request of a publisher; return None for a request that is not for this API."""
        path = self._path_of(request)
        route = _ROUTE.match(path)
        if route is None:
            return None
        try:
            realm = self._authenticate(request, path, route["path"], route["app"])
            return self._route(realm, request, route["rest"], now)
        except Wrong as wrong:
            return self._failed(wrong)

    def _path_of(self, request: HttpRequest) -> str:
        """Return the path as publishers sign it."""
        return unquote(request.path)

    def _failed(self, wrong: Wrong) -> HttpResponse:
        return failure(wrong.status, wrong.message)

    # ---- authentication

    def _authenticate(self, request: HttpRequest, path: str, signed: str, app_id: str) -> Realm:
        realm = next((realm for realm in self._realms() if realm.app.id == app_id), None)
        if realm is None:
            raise Wrong(404, f"No app with id {app_id}")
        query = parse_form(request.query)
        if query is None:
            raise Wrong(400, "Too many parameters")
        if query.get("auth_key") != realm.app.key:
            raise Wrong(401, "Missing or unknown auth_key")
        if query.get("auth_version") != "1.0":
            raise Wrong(401, "Missing or unsupported auth_version")
        self._check_timestamp(query.get("auth_timestamp", ""))
        digest = hashlib.md5(request.body, usedforsecurity=False).hexdigest()
        if (request.body or "body_md5" in query) and query.get("body_md5") != digest:
            raise Wrong(401, "The body_md5 does not match the body")
        given = query.pop("auth_signature", "")
        parameters = "&".join(f"{name.lower()}={value}" for name, value in sorted(query.items()))
        # Libraries differ in whether a prefix of the path is signed too.
        texts = [f"{request.method}\n{each}\n{parameters}" for each in (signed, path)]
        if not any(signature_matches(realm.app.secret, text, given) for text in texts):
            raise Wrong(
                401,
                "Invalid signature: you should have sent HmacSHA256Hex of "
                f"{texts[0]!r} with the secret of the app, but you sent {given!r}",
            )
        return realm

    def _check_timestamp(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise Wrong(401, "Missing or malformed auth_timestamp")
        if self._wall_clock is None:
            return
        if abs(self._wall_clock() - int(text)) > _CLOCK_TOLERANCE:
            raise Wrong(401, f"Timestamp expired: {text} is not within 600 s of the server's time")

    # ---- routes

    def _route(self, realm: Realm, request: HttpRequest, rest: str, now: float) -> HttpResponse:
        match request.method, rest:
            case "POST", "/events":
                return self._events(realm, _body_of(request), now)
            case "POST", _ if channel := _EVENTS.match(rest):
                # Deprecated by Pusher: one channel, in the path.
                body = _merged(_body_of(request), {"channel": channel[1]})
                return self._events(realm, body, now)
            case "POST", "/batch_events":
                return self._batch(realm, request.body, now)
            case "POST", _ if user := _TERMINATE.match(rest):
                for socket in realm.sockets_of(user[1]):
                    self._end(socket, now)
                return json_response(200, {})
            case "GET", "/channels":
                return self._channels(realm, request.query)
            case "GET", _ if channel := _CHANNEL.match(rest):
                return self._channel(realm, channel[1], request.query, now)
            case "GET", _ if channel := _USERS.match(rest):
                return self._users(realm, channel[1])
            case _:
                raise Wrong(404, f"No such resource: {request.method} {rest[:200]}")

    def _events(self, realm: Realm, body: bytes, now: float) -> HttpResponse:
        event = _decode(body, _Event)
        channels = self._check_event(event)
        attributes = _attributes(event.info)
        for channel in channels:
            self._publish(realm, channel, event.name, event.data, event.socket_id, now)
        if not attributes:
            return json_response(200, self._dialect.published)
        infos = {each: self._info(realm, each, attributes, now) for each in channels}
        return json_response(200, {"channels": infos})

    def _batch(self, realm: Realm, body: bytes, now: float) -> HttpResponse:
        events = _decode(body, _Batch).batch
        if len(events) > self._limits.batch:
            raise Wrong(400, f"A batch has at most {self._limits.batch} events")
        checked = [(event, self._check_event(event), _attributes(event.info)) for event in events]
        infos = []
        for event, channels, attributes in checked:
            for channel in channels:
                self._publish(realm, channel, event.name, event.data, event.socket_id, now)
            infos.append(self._info(realm, channels[0], attributes, now))
        return json_response(200, {"batch": infos} if any(infos) else {})

    def _check_event(self, event: _Event) -> list[str]:
        """Return the channels of an event. Raises `Wrong`."""
        channels = [event.channel] if event.channel is not None else event.channels or []
        if not channels:
            raise Wrong(400, "An event needs a channel")
        if len(channels) > self._limits.channels_of_event:
            raise Wrong(400, f"An event has at most {self._limits.channels_of_event} channels")
        if self._dialect.checks_published:
            self._check_names(event, channels)
        if len(event.data.encode()) > self._limits.event_data:
            limit = self._limits.event_data
            raise Wrong(
                413, f"The data content of this event exceeds the allowed maximum ({limit} bytes)"
            )
        if event.socket_id is not None:
            try:
                check_socket_id(event.socket_id)
            except ValueError as wrong:
                raise Wrong(400, str(wrong)) from wrong
        return channels

    def _check_names(self, event: _Event, channels: list[str]) -> None:
        for channel in channels:
            self._check_channel(channel)
        if len(channels) > 1 and any(kind_of(each) is Kind.ENCRYPTED for each in channels):
            raise Wrong(400, "An event of an encrypted channel has no other channel")
        if not event.name or len(event.name) > self._limits.event_name:
            raise Wrong(400, f"The name of an event has 1 to {self._limits.event_name} characters")
        if event.name.startswith(("pusher:", "pusher_internal:")):
            raise Wrong(400, "Event names that begin with pusher: are reserved for the protocol")

    def _check_channel(self, channel: str) -> None:
        if not is_name(channel, self._limits.name):
            raise Wrong(400, f"Invalid channel name {channel[: self._limits.name]!r}")

    def _channels(self, realm: Realm, query: str) -> HttpResponse:
        parameters = parse_form(query) or {}
        prefix = parameters.get("filter_by_prefix", "")
        attributes = _attributes(parameters.get("info"))
        if "user_count" in attributes and not prefix.startswith("presence-"):
            raise Wrong(
                400, "Only presence channels have a user_count: set filter_by_prefix to presence-"
            )
        found = {
            name: self._info(realm, name, attributes, 0.0)
            for name in realm.channels
            if name.startswith(prefix) and kind_of(name) is not Kind.USER
        }
        return json_response(200, {"channels": found})

    def _channel(self, realm: Realm, channel: str, query: str, now: float) -> HttpResponse:
        self._check_channel(channel)
        attributes = _attributes((parse_form(query) or {}).get("info"))
        if "user_count" in attributes and kind_of(channel) is not Kind.PRESENCE:
            raise Wrong(400, "Only presence channels have a user_count")
        occupied = channel in realm.channels
        info = self._info(realm, channel, attributes, now)
        return json_response(200, {"occupied": occupied, **info})

    def _info(
        self, realm: Realm, name: str, attributes: frozenset[str], now: float
    ) -> Mapping[str, object]:
        channel = realm.channels.get(name)
        info: dict[str, object] = {}
        if "user_count" in attributes and kind_of(name) is Kind.PRESENCE:
            info["user_count"] = len(channel.members) if channel else 0
        if "subscription_count" in attributes and realm.app.subscription_count:
            info["subscription_count"] = len(channel.subscribers) if channel else 0
        if "cache" in attributes and (event := realm.cache.get(name, now)) is not None:
            info["cache"] = {"data": event.data, "ttl": int(event.expires - now)}
        return info

    def _users(self, realm: Realm, channel: str) -> HttpResponse:
        if kind_of(channel) is not Kind.PRESENCE:
            raise Wrong(400, "Only presence channels have users")
        there = realm.channels.get(channel)
        return json_response(
            200, {"users": [{"id": user_id} for user_id in (there.members if there else ())]}
        )


def _body_of(request: HttpRequest) -> bytes:
    """Return the body of an event; its fields may be in the query instead, as Pusher allows."""
    if request.body:
        return request.body
    fields: dict[str, object] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True, max_num_fields=200):
        if name == "channels[]":
            listed = fields.setdefault("channels", [])
            assert isinstance(listed, list)
            listed.append(value)
        elif name in ("name", "data", "channel", "socket_id", "info"):
            fields[name] = value
    return json_text(fields).encode()


def _merged(body: bytes, fields: Mapping[str, object]) -> bytes:
    value = parse_json(body)
    return json_text({**value, **fields}).encode() if isinstance(value, dict) else body


def _decode(body: bytes, type_: type[_Body]) -> _Body:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
        raise Wrong(400, f"The body is invalid: {wrong}") from wrong


def _attributes(info: str | None) -> frozenset[str]:
    return frozenset(filter(None, (info or "").split(",")))
