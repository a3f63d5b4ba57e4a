"""The server as a machine: bytes and `now` in, effects out. It composes the rest of this package.

The caller numbers its connections and carries out the effects in their order. How bytes travel in between (sockets,
memory, a simulated network) is up to the caller.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from logging import DEBUG
from urllib.parse import unquote

from ..errors import LocalProtocolError
from ._address_rate import AddressRate
from ._auth_endpoint import AuthEndpoint
from ._connection import Connection, Left, State
from ._control_api import ControlApi
from ._controls import Controls
from ._conversation import Answered, Conversation, Ended, Refused
from ._dialect import Ending, Manner
from ._faults import Answers, Refusal
from ._frames import ClientMessage, encode, json_text
from ._heartbeat import Heartbeat
from ._http import HttpRequest, HttpResponse, failure, parse_form
from ._http_api import HttpApi
from ._options import ServerOptions
from ._origins import is_allowed
from ._pages import Pages
from ._realm import Realm, Socket
from ._refusals import Refusals
from ._reports import FRAMES
from ._reverb import ReverbConversation
from ._reverb_api import ReverbApi
from ._sockudo import SockudoConversation
from ._users import Client
from ._webhooks import Webhooks
from ._websocket import BinaryMessage
from .apps import DEMO_APP, App

__all__ = ["Server"]

_APP_PATH = re.compile(r"(?P<prefix>.*)/app/(?P<key>[^/]+)/?\Z", re.DOTALL)
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+([-+.][-+.0-9A-Za-z]*)?\Z")
_PROTOCOLS = ("5", "6", "7")

_DEFAULTS = ServerOptions()

_CONVERSATIONS: dict[str, type[Conversation]] = {
    "pusher": Conversation,
    "reverb": ReverbConversation,
    "sockudo": SockudoConversation,
}

# The answers that `delay` can delay; all others are sent at once.
_KINDS: dict[str, Answers] = {
    "pusher:subscribe": "subscribe",
    "pusher:signin": "signin",
    "pusher:ping": "ping",
}


class Server(Controls):
    """A Pusher server: channels, client events, sign-in, the HTTP API and an auth endpoint.

    After any call that takes `now`, pull `next_effect` until None, then read `next_deadline` again,
    and call `handle_timeout` at that time. `now` is in seconds and never decreases. No input of a peer makes a call
    raise, and the answers do not depend on how its bytes were split.

    - `apps`: the apps to serve; a control without an app's key applies to the first
    - `options`: the dialect, limits, the auth endpoint and more
    - `rng`: draws the socket ids; by default every server draws the same ids in the same order
    - `wall_clock`: returns Unix time in seconds, for webhooks and to check the timestamps of publishers; without it
      timestamps are not checked
    """

    def __init__(
        self,
        apps: Sequence[App] = (DEMO_APP,),
        options: ServerOptions = _DEFAULTS,
        *,
        rng: random.Random | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        conversation = _CONVERSATIONS[options.dialect]
        habits = conversation.dialect
        limits = options.limits or habits.limits
        rng = rng or random.Random(0)  # noqa: S311 - the same ids in each run
        super().__init__(apps, dialect=habits, rng=rng, limits=limits)
        self._activity_timeout = (
            habits.activity_timeout
            if options.activity_timeout is None
            else options.activity_timeout
        )
        self._path_prefix = options.path_prefix
        self._greeted = 0
        self._refusals = Refusals(self._reports, self._realms)
        self._address_rate = AddressRate(limits.connections_a_minute)
        self._pages = Pages(self._numbers, self._faults, habits.health)
        self._conversation = conversation(limits, self._faults)
        if options.ping_after is not None:
            self._heartbeat = Heartbeat(
                habits, self._timers, options.ping_after, self._sockets.values, self._finish
            )
        api = ReverbApi if options.dialect == "reverb" else HttpApi
        self._api = api(
            self._realms_in_order,
            limits,
            dialect=habits,
            wall_clock=wall_clock,
            publish=self._publish,
            end=self._terminate,
        )
        if options.webhooks:
            self._webhooks = Webhooks(
                options.webhooks,
                self._timers,
                self._request_sent,
                self._reports,
                limits,
                wall_clock,
            )
            for realm in self._realms.values():
                realm.webhooks = self._webhooks
        self._control = None
        if options.control is not False:
            token = None if options.control is True else options.control
            self._control = ControlApi(self, token, self._reports)
        self._endpoint = AuthEndpoint(
            self._realms_in_order,
            limits,
            self._faults,
            self.auth_requests.append,
            auth_user=options.auth_user,
            auth_token=options.auth_token,
        )

    def _numbers(self) -> dict[str, int]:
        """Return what `/stats` shows."""
        channels = sum(len(realm.channels) for realm in self._realms.values())
        return {"open": len(self._sockets), "channels": channels, **asdict(self.stats)}

    # ---- inputs

    def connection_opened(self, connection: int, *, peer: str | None = None, now: float) -> None:
        """Report that a client has connected, from the address `peer`.

        Raises LocalProtocolError when the number is in use.
        """
        now = self._advance(now)
        if connection in self._connections:
            raise LocalProtocolError(f"connection {connection} is open already")
        opened = Connection(connection, self._limits, self._emit, self._dialect)
        opened.silent = self._faults.mute_all
        opened.last_received = now
        opened.peer = peer
        self._connections[connection] = opened
        self.stats.connections += 1
        if self._heartbeat is not None:
            self._heartbeat.start(now)

    def receive_data(self, connection: int, data: bytes, *, now: float) -> None:
        """Report bytes from a client. Unknown and finished numbers are ignored."""
        now = self._advance(now)
        known = self._connections.get(connection)
        if known is not None:
            known.last_received = now
            known.receive_data(data)
            self._pump(known, now)
        if self._ended:
            self._settle(now)

    def connection_closed(self, connection: int, *, now: float) -> None:
        """Report that a client has disconnected. The caller closes its own end; no effect asks for it."""
        now = self._advance(now)
        known = self._connections.pop(connection, None)
        if known is not None:
            known.state = State.ENDED
            self._ended.append(known)
        if self._effects:
            kept = (entry for entry in self._effects if entry[1].connection != connection)
            self._effects = deque(kept)
        self._settle(now)

    def handle_timeout(self, *, now: float) -> None:
        """Carry out the actions that are due."""
        now = self._advance(now)
        self._timers.fire(now)
        self._settle(now)

    def request_answered(self, request: int, status: int | None, *, now: float) -> None:
        """Report the status of the answer to a `ServerRequest`, or None when there was none."""
        now = self._advance(now)
        if self._webhooks is not None:
            self._webhooks.answered(request, status, now)
        self._settle(now)

    # ---- requests and messages

    def _pump(self, connection: Connection, now: float) -> None:
        while (item := connection.next_item()) is not None:
            match item:
                case Left():
                    self._forget(connection, now)
                case HttpRequest():
                    self._request(connection, item, now)
                case str():
                    self._message(connection, item, now)
                case BinaryMessage():
                    text = item.data.decode("utf-8", "replace")
                    self._message(connection, text if self._dialect.binary_is_text else "", now)
        if connection.rejected is not None:
            self._refusals.bytes_(connection.peer, *connection.rejected, now)
            connection.rejected = None
        self._await_end(connection, now)

    def _request(self, connection: Connection, request: HttpRequest, now: float) -> None:
        self.stats.requests += 1
        if self._control is not None and self._control.is_for(request):
            # The control API also answers while all connections are muted.
            connection.silent = False
        if connection.silent:
            return
        if request.upgrade:
            self._upgrade(connection, request, now)
            return
        what, response = self._respond(connection, request, now)
        if response is None:
            return
        if response.status >= 400:
            self._refusals.request(what, request, response, now)
        if what is None:
            connection.answer(response)
            return
        delayed = self._faults.delay_of(what) > 0
        self._after(what, connection, partial(self._answer, connection, response, delayed), now)

    def _respond(
        self, connection: Connection, request: HttpRequest, now: float
    ) -> tuple[Answers | None, HttpResponse | None]:
        """Return the kind of a request, None for one that is never delayed, and its answer, None for a stream."""
        if self._control is not None and self._control.is_for(request):
            return None, self._control.answer(connection, request, now)
        if (page := self._pages.answer(request)) is not None:
            return None, page
        response = self._endpoint.answer(connection.number, request)
        if response is not None:
            return "auth", response
        return "api", self._api.answer(request, now) or self._elsewhere(request)

    def _answer(
        self, connection: Connection, response: HttpResponse, delayed: bool, now: float
    ) -> None:
        connection.answer(response)
        if delayed:
            # Requests that arrived during the delay waited for this answer.
            self._pump(connection, now)

    def _elsewhere(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for a path that is not served."""
        if _APP_PATH.match(unquote(request.path)):
            is_get = request.method == "GET"
            special = self._dialect.plain_get if is_get else self._dialect.other_method
            response = special or failure(426, "A WebSocket upgrade is needed here")
            return HttpResponse(
                response.status, response.body, (*response.headers, ("Upgrade", "websocket"))
            )
        return self._dialect.not_found or failure(
            404, f"No such resource: {request.method} {request.path[:200]}"
        )

    def _message(self, connection: Connection, text: str, now: float) -> None:
        self.stats.messages += 1
        socket = self._sockets.get(connection)
        if socket is not None and self._is_too_fast(socket, now):
            return
        if self._reports.wanted(FRAMES):
            self._reports.frame("received", connection.number, text, now)
        try:
            message = self._conversation.parse(text)
        except Refused as refused:
            self._refuse(connection, refused, "a message", now)
            return
        self._log(connection, message)
        if connection.silent:
            return
        if message.event in _KINDS:
            answer = partial(self._converse, connection, message)
            self._after(_KINDS[message.event], connection, answer, now)
        else:
            self._converse(connection, message, now)

    def _is_too_fast(self, socket: Socket, now: float) -> bool:
        """Count a message; refuse it, or end the connection, when it is beyond the rate of the app."""
        rate = socket.realm.app.message_rate
        if rate is None:
            return False
        start, count = socket.window
        if now >= start + rate.seconds:
            start, count = now, 0
        if count < rate.messages:
            socket.window = (start, count + 1)
            return False
        ending = self._dialect.message_rate
        if rate.ends:
            for _ in range(self._dialect.message_rate_errors - 1):
                socket.send(self._dialect.error(ending.code, ending.message))
            self._finish(socket.connection, ending, now)
        else:
            socket.send(self._dialect.error(ending.code, self._dialect.message_refused))
        return True

    def _converse(self, connection: Connection, message: ClientMessage, now: float) -> None:
        socket = self._sockets.get(connection)
        try:
            if socket is None:
                raise Refused(None, "The connection is not established yet")
            self._conversation.receive(socket, message, now)
        except Refused as refused:
            self._refuse(connection, refused, message.event, now)
        except Answered as answered:
            if answered.text is not None:
                connection.send_text(answered.text)
        except Ended as ended:
            if ended.ghost:
                self._ghosts[connection] = now + self._activity_timeout
            self._finish(connection, ended.ending, now)

    def _refuse(self, connection: Connection, refused: Refused, what: str, now: float) -> None:
        connection.send_text(
            self._dialect.error(refused.code, refused.message, channel=refused.channel)
        )
        self._refusals.message(self._sockets.get(connection), what, refused, now)

    def _terminate(self, socket: Client, now: float) -> None:
        self._finish(socket.connection, self._dialect.terminated, now)

    # ---- WebSockets

    def _upgrade(self, connection: Connection, request: HttpRequest, now: float) -> None:
        key, wrong = self._wanted_app(request)
        wrong = self._address_rate.refuse(connection.peer, now) or wrong
        refusal = self._faults.take_refusal()
        if refusal is None and wrong is not None:
            refusal = (
                Refusal(response=wrong)
                if isinstance(wrong, HttpResponse)
                else Refusal(code=wrong.code, reason=wrong.message, manner=wrong.manner)
            )
        if refusal is not None:
            self._turn_away(connection, request, refusal, key, now)
        elif connection.upgrade(request):
            self.stats.websockets += 1
            greet = partial(self._greet, connection, self._realms[key])
            self._after("greeting", connection, greet, now)

    def _wanted_app(self, request: HttpRequest) -> tuple[str, Ending | HttpResponse | None]:
        """Return the key in an upgrade request, and the refusal if there is no app for it."""
        path = _APP_PATH.match(unquote(request.path))
        if path is None or self._path_prefix not in (None, path["prefix"]):
            return "", self._dialect.wrong_path
        key = path["key"]
        fields = parse_form(request.query) or {}
        if self._dialect.reads_protocol and not _is_byte(fields.get("protocol", "7")):
            return key, failure(400, "Invalid protocol version")
        realm = self._realms.get(key)
        if realm is None:
            unknown = self._dialect.unknown_app
            text = unknown.message.format(key=f"{key[:50]!a}")
            return key, replace(unknown, message=text)
        return key, self._unwelcome(realm, request) or self._wrong_query(fields)

    def _unwelcome(self, realm: Realm, request: HttpRequest) -> Ending | None:
        """Return the refusal of an app that accepts no client, or not this one."""
        app = realm.app
        if not app.enabled:
            return self._dialect.disabled_app
        origin = request.header_map.get("origin", "")
        if app.origins and not is_allowed(
            origin, app.origins, host_only=self._dialect.origin_is_host
        ):
            return self._dialect.wrong_origin
        sockets = realm.sockets.values()
        every = not self._dialect.counts_subscribed
        count = sum(1 for socket in sockets if every or socket.channels)
        if app.max_connections is not None and count >= app.max_connections:
            return self._dialect.over_quota
        return None

    def _wrong_query(self, fields: Mapping[str, str]) -> Ending | None:
        if not self._dialect.checks_query:
            return None
        if "protocol" not in fields:
            return Ending(4008, "No protocol version supplied")
        if fields["protocol"] not in _PROTOCOLS:
            return Ending(4007, "Unsupported protocol version")
        if "version" in fields and not _VERSION.match(fields["version"]):
            return Ending(4006, "Invalid version string format")
        return None

    def _turn_away(
        self, connection: Connection, request: HttpRequest, refusal: Refusal, key: str, now: float
    ) -> None:
        self.stats.refused += 1
        self._refusals.connection(request, refusal, key, now)
        if refusal.response is not None:
            connection.answer(refusal.response)
        elif refusal.code is None:
            connection.end(abort=True)
        elif connection.upgrade(request):
            if refusal.manner is Manner.STAY:
                self._enter(connection, self._realms[key], now)
            self._finish(connection, Ending(refusal.code, refusal.reason, refusal.manner), now)

    def _enter(self, connection: Connection, realm: Realm, now: float) -> Socket:
        """Give a connection its socket, and start the timers that watch it."""
        self._greeted += 1
        socket = self._sockets[connection] = realm.enter(connection, self._greeted)
        if self._heartbeat is not None:
            self._heartbeat.watch(connection, now)
        if (timeout := realm.app.authentication_timeout) is not None:
            check = partial(self._check_authorized, socket)
            self._timers.set(("authentication", connection), now + timeout, check)
        return socket

    def _check_authorized(self, socket: Socket, now: float) -> None:
        if not socket.authorized:
            self._finish(socket.connection, self._dialect.not_authorized, now)

    def _greet(self, connection: Connection, realm: Realm, now: float) -> None:
        socket = self._enter(connection, realm, now)
        data = {"socket_id": socket.id, "activity_timeout": self._activity_timeout}
        socket.send(encode("pusher:connection_established", data=json_text(data)))
        if self._reports.wanted(DEBUG):
            text = f"{socket.id} connected to app {realm.app.key}"
            self._reports.debug("connected", text, now, app=realm.app.key, socket_id=socket.id)


def _is_byte(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:10]) <= 255
