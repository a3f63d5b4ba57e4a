"""The control API: the controls of the server over HTTP, for test suites in any language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any

import msgspec

from ..errors import LocalProtocolError
from ._connection import Connection
from ._controls import Controls
from ._faults import Answers, Shape
from ._frames import json_text
from ._http import HttpRequest, HttpResponse, failure, json_response, parse_form
from ._reports import Report, Reports

__all__ = ["ControlApi"]

_PREFIX = "/control/"


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body of a command; its fields are the parameters of the control of that name."""


class _Publish(_Command, frozen=True):
    channels: str | list[str]
    event: str
    data: Any = None
    app: str | None = None
    exclude_socket_id: str | None = None


class _SendToUser(_Command, frozen=True):
    user_id: str
    event: str
    data: Any = None
    app: str | None = None


class _ClientEvent(_Command, frozen=True):
    channel: str
    event: str
    data: Any = None
    user_id: str | None = None
    app: str | None = None


class _Join(_Command, frozen=True):
    channel: str
    user_id: str
    info: Any = None
    app: str | None = None


class _Leave(_Command, frozen=True):
    channel: str
    user_id: str
    app: str | None = None


class _Terminate(_Command, frozen=True):
    user_id: str
    app: str | None = None


class _Drop(_Command, frozen=True):
    code: int | None = None
    reason: str = ""
    connection: int | None = None
    error_event: bool = False
    close_frame: bool = True


class _Mute(_Command, frozen=True):
    connection: int | None = None


class _SendRaw(_Command, frozen=True):
    data: str
    connection: int | None = None


class _Refuse(_Command, frozen=True):
    code: int | None = None
    status: int | None = None
    reason: str = ""
    retry_after: int | None = None
    headers: dict[str, str] | None = None
    close_frame: bool = True
    times: int | None = None


class _Nothing(_Command, frozen=True):
    pass


class _RefuseChannel(_Command, frozen=True):
    channel: str
    shape: Shape = "pusher"
    code: int | None = None
    message: str | None = None
    times: int | None = None


class _AllowChannel(_Command, frozen=True):
    channel: str


class _Delay(_Command, frozen=True):
    seconds: float
    what: Answers = "all"


class _AuthAnswer(_Command, frozen=True):
    status: int | None = None
    body: Any = ""
    headers: dict[str, str] | None = None
    times: int | None = None


class _RotateSecret(_Command, frozen=True):
    secret: str
    app: str | None = None


class _Reset(_Command, frozen=True):
    drop: bool = False


_COMMANDS: dict[str, tuple[str, type[_Command]]] = {
    "publish": ("publish", _Publish),
    "send_to_user": ("send_to_user", _SendToUser),
    "client_event": ("client_event", _ClientEvent),
    "join": ("join", _Join),
    "leave": ("leave", _Leave),
    "terminate": ("terminate_user", _Terminate),
    "drop": ("drop", _Drop),
    "mute": ("mute", _Mute),
    "unmute": ("unmute", _Mute),
    "send_raw": ("send_raw", _SendRaw),
    "refuse": ("refuse", _Refuse),
    "allow": ("allow", _Nothing),
    "refuse_channel": ("refuse_channel", _RefuseChannel),
    "allow_channel": ("allow_channel", _AllowChannel),
    "delay": ("delay", _Delay),
    "auth_answer": ("auth_answer", _AuthAnswer),
    "rotate_secret": ("rotate_secret", _RotateSecret),
    "shut_down": ("shut_down", _Nothing),
    "reset": ("reset", _Reset),
}
"""For each command the control that it calls, and the type of its body."""

_QUERIES: dict[str, Callable[[Controls, str | None], object]] = {
    "received": lambda server, _: [each._asdict() for each in server.received],
    "published": lambda server, _: [each._asdict() for each in server.published],
    "auth_requests": lambda server, _: [
        {"connection": each.connection, "path": each.path, "fields": each.fields}
        for each in server.auth_requests
    ],
    "webhooks": lambda server, _: [each._asdict() for each in server.webhooks],
    "connections": lambda server, _: [
        {"connection": number, "socket_id": socket_id}
        for number, socket_id in server.connections.items()
    ],
    "channels": lambda server, app: {
        name: {
            "subscriptions": sorted(server.subscriptions(name, app=app)),
            "members": server.members(name, app=app),
        }
        for name in server.channels(app=app)
    },
    "users": lambda server, app: {
        user_id: sorted(sockets) for user_id, sockets in server.users(app=app).items()
    },
}


class ControlApi:
    """Answers `/control/...`: POST for commands, GET for the state and for the stream of reports."""

    def __init__(
        self,
        server: Controls,
        token: str | None,
        reports: Reports,
    ) -> None:
        self._server = server
        self._token = token
        self._reports = reports

    def is_for(self, request: HttpRequest) -> bool:
        """Return whether a request is for this API."""
        return request.path.startswith(_PREFIX)

    def answer(
        self, connection: Connection, request: HttpRequest, now: float
    ) -> HttpResponse | None:
        """Carry out a request; return None for the stream, which was started."""
        if (refusal := self._refusal(connection, request)) is not None:
            return refusal
        name = request.path.removeprefix(_PREFIX)
        if request.method == "POST":
            return self._command(name, request, now)
        if request.method != "GET":
            return failure(405, "The control API is called with POST and GET")
        if name == "events":
            self._stream(connection)
            return None
        if name not in _QUERIES:
            return failure(
                404, f"Nothing to read at {name[:50]!r}: there are {_listed(_QUERIES)}, events"
            )
        app = (parse_form(request.query) or {}).get("app")
        try:
            return json_response(200, _QUERIES[name](self._server, app))
        except LocalProtocolError as wrong:
            return failure(400, str(wrong))

    def _refusal(self, connection: Connection, request: HttpRequest) -> HttpResponse | None:
        headers = request.header_map
        if self._token is not None:
            if headers.get("authorization") != f"Bearer {self._token}":
                return failure(401, "The control API needs its token: send it as a bearer token")
            return None
        if "origin" in headers:
            return failure(403, "Web pages can call the control API only if it has a token")
        if connection.peer is not None and not _is_loopback(connection.peer):
            return failure(403, "Other machines can call the control API only if it has a token")
        return None

    def _command(self, name: str, request: HttpRequest, now: float) -> HttpResponse:
        if name not in _COMMANDS:
            return failure(404, f"No command {name[:50]!r}: there are {_listed(_COMMANDS)}")
        method, type_ = _COMMANDS[name]
        try:
            command = msgspec.json.decode(request.body or b"{}", type=type_)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as wrong:
            return failure(400, f"The body of {name} is invalid: {wrong}")
        parameters = {field: getattr(command, field) for field in command.__struct_fields__}
        try:
            result = getattr(self._server, method)(**parameters, now=now)
        except (LocalProtocolError, ValueError, TypeError) as wrong:
            return failure(400, str(wrong))
        return json_response(200, {} if result is None else {"sockets": result})

    def _stream(self, connection: Connection) -> None:
        """Send each report as a JSON line until the client disconnects."""
        connection.start_stream(
            HttpResponse(
                200, b"", (("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store"))
            )
        )
        self._reports.observers.append(partial(self._line, connection))

    def _line(self, connection: Connection, report: Report) -> None:
        if not connection.is_streaming:
            self._reports.observers = [
                each
                for each in self._reports.observers
                if not (isinstance(each, partial) and each.args == (connection,))
            ]
            return
        line = {
            "time": report.time,
            "kind": report.kind,
            "message": report.message,
            **report.fields,
        }
        connection.stream(json_text(line).encode() + b"\n")


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names)
