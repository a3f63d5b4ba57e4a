"""The server as a machine: bytes and `now` in, effects out. It composes the rest of this package.

The caller numbers its connections and carries out the effects in their order; what is in between
(sockets, memory, a simulated network) is none of the server's business.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from urllib.parse import unquote

from ..errors import LocalProtocolError
from ._auth_endpoint import AuthEndpoint, AuthUser
from ._connection import Connection, Left, State
from ._conversation import MALFORMED, Conversation
from ._faults import Answers, Refusal
from ._frames import ClientMessage, encode, error, json_text, parse_message
from ._http import HttpRequest, HttpResponse, failure, parse_form
from ._http_api import HttpApi
from ._levers import Levers
from ._limits import ServerLimits
from ._realm import Realm
from .apps import DEMO_APP, App

__all__ = ["Server"]

_APP_PATH = re.compile(r"(?P<prefix>.*)/app/(?P<key>[^/]+)/?\Z", re.DOTALL)
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+([-+.][-+.0-9A-Za-z]*)?\Z")
_PROTOCOLS = ("5", "6", "7")

_PONG_TIMEOUT = 30.0
_PING = encode("pusher:ping", data="{}")

# What `delay` tells apart; everything else is answered at once.
_KINDS: dict[str, Answers] = {
    "pusher:subscribe": "subscribe",
    "pusher:signin": "signin",
    "pusher:ping": "ping",
}


class Server(Levers):
    """A Pusher server: channels, client events, sign-in, the HTTP API and an auth endpoint.

    After any call that takes `now`, pull `next_effect` until None, then read `next_deadline` again
    and call `handle_timeout` when it has come. `now` is in seconds and only goes forward. Nothing
    that a peer sends makes a call raise, and however its bytes are split, the answers are the same.

    - `apps`: whom it serves; the first is the one that levers and looks mean by default
    - `rng`: for socket ids; without one every server draws the same ids in the same order
    - `activity_timeout`: what clients are told; the server itself does not act on it
    - `ping_after`: seconds of silence after which the server sends a `pusher:ping` and, when nothing
      comes within 30 more, closes with 4201; None never does
    - `auth_user`: who asks the auth endpoint (see `AuthUser`); by default the user `user-<n>` for the
      n-th socket that the server greeted
    - `auth_token`: what requests to the auth endpoint must bear, `Authorization: Bearer <auth_token>`
    - `path_prefix`: what precedes `/app/<key>`; None allows anything
    - `wall_clock`: Unix time, to check publishers' timestamps; None does not check them
    """

    def __init__(
        self,
        apps: Sequence[App] = (DEMO_APP,),
        *,
        rng: random.Random | None = None,
        activity_timeout: int = 120,
        ping_after: float | None = None,
        auth_user: AuthUser | None = None,
        auth_token: str | None = None,
        path_prefix: str | None = None,
        wall_clock: Callable[[], float] | None = None,
        limits: ServerLimits | None = None,
    ) -> None:
        limits = limits or ServerLimits()
        super().__init__(apps, rng=rng or random.Random(0), limits=limits)  # noqa: S311 - the same ids in each run
        self._activity_timeout = activity_timeout
        self._ping_after = ping_after
        self._path_prefix = path_prefix
        self._greeted = 0
        self._conversation = Conversation(limits, self._faults)
        self._api = HttpApi(
            self._realms_in_order,
            limits,
            wall_clock=wall_clock,
            publish=self._publish,
            terminate=self._terminate,
        )
        self._endpoint = AuthEndpoint(
            self._realms_in_order,
            limits,
            self._faults,
            self.auth_requests.append,
            auth_user=auth_user,
            auth_token=auth_token,
        )

    # ---- the world

    def connection_opened(self, connection: int, *, now: float) -> None:
        """A client has connected. Raises LocalProtocolError when the number is in use."""
        now = self._advance(now)
        if connection in self._connections:
            raise LocalProtocolError(f"connection {connection} is open already")
        opened = Connection(connection, self._limits, self._emit)
        opened.silent = self._faults.mute_all
        opened.last_received = now
        self._connections[connection] = opened
        self.stats.connections += 1

    def receive_data(self, connection: int, data: bytes, *, now: float) -> None:
        """Bytes came from a client. Unknown and finished numbers are ignored."""
        now = self._advance(now)
        known = self._connections.get(connection)
        if known is not None:
            known.last_received = now
            known.receive_data(data)
            self._pump(known, now)
        self._settle(now)

    def connection_closed(self, connection: int, *, now: float) -> None:
        """A client has gone, politely or not. The caller closes its own end; no effect asks for it."""
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
        """Do what is due. Harmless when nothing is."""
        now = self._advance(now)
        self._timers.fire(now)
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
                case _:
                    connection.send_text(MALFORMED)
        self._await_end(connection, now)

    def _request(self, connection: Connection, request: HttpRequest, now: float) -> None:
        self.stats.requests += 1
        if connection.silent:
            return
        if request.upgrade:
            self._upgrade(connection, request, now)
            return
        what: Answers = "auth"
        response = self._endpoint.answer(connection.number, request)
        if response is None:
            what = "api"
            response = self._api.answer(request, now) or _elsewhere(request)
        delayed = self._faults.delay_of(what) > 0
        self._after(what, connection, partial(self._answer, connection, response, delayed), now)

    def _answer(
        self, connection: Connection, response: HttpResponse, delayed: bool, now: float
    ) -> None:
        connection.answer(response)
        if delayed:
            # What came meanwhile waited for this.
            self._pump(connection, now)

    def _message(self, connection: Connection, text: str, now: float) -> None:
        self.stats.messages += 1
        message = parse_message(text)
        if message is None:
            connection.send_text(MALFORMED)
            return
        self._log(connection, message)
        if connection.silent:
            return
        if message.event in _KINDS:
            answer = partial(self._converse, connection, message)
            self._after(_KINDS[message.event], connection, answer, now)
        else:
            self._converse(connection, message, now)

    def _converse(self, connection: Connection, message: ClientMessage, now: float) -> None:
        socket = self._sockets.get(connection)
        if socket is None:
            connection.send_text(error(None, "The connection is not established yet"))
        else:
            self._conversation.receive(socket, message, now)

    def _publish(
        self, realm: Realm, channel: str, event: str, data: str, but: str | None, now: float
    ) -> None:
        self.stats.published += 1
        realm.publish(channel, event, data, but=but, now=now)

    def _terminate(self, realm: Realm, user_id: str, now: float) -> None:
        self.terminate_user(user_id, app=realm.app.key, now=now)

    # ---- WebSockets

    def _upgrade(self, connection: Connection, request: HttpRequest, now: float) -> None:
        key, refusal = self._wanted_app(request)
        refusal = self._faults.take_refusal() or refusal
        if refusal is not None:
            self._turn_away(connection, request, refusal)
        elif connection.upgrade(request):
            self.stats.websockets += 1
            greet = partial(self._greet, connection, self._realms[key])
            self._after("greeting", connection, greet, now)

    def _wanted_app(self, request: HttpRequest) -> tuple[str, Refusal | None]:
        """Return the key of the app that a client wants, and why it cannot have it."""
        path = _APP_PATH.match(unquote(request.path))
        if path is None or self._path_prefix not in (None, path["prefix"]):
            return "", Refusal(code=4005, reason="Path not found")
        key = path["key"]
        fields = parse_form(request.query) or {}
        if key not in self._realms:
            return key, Refusal(code=4001, reason=f"App key {key[:50]!a} not in this cluster")
        if "protocol" not in fields:
            return key, Refusal(code=4008, reason="No protocol version supplied")
        if fields["protocol"] not in _PROTOCOLS:
            return key, Refusal(code=4007, reason="Unsupported protocol version")
        if "version" in fields and not _VERSION.match(fields["version"]):
            return key, Refusal(code=4006, reason="Invalid version string format")
        return key, None

    def _turn_away(self, connection: Connection, request: HttpRequest, refusal: Refusal) -> None:
        self.stats.refused += 1
        if refusal.response is not None:
            connection.answer(refusal.response)
        elif refusal.code is None:
            connection.end(abort=True)
        elif connection.upgrade(request):
            connection.send_text(error(refusal.code, refusal.reason))
            if refusal.close_frame:
                connection.close(refusal.code, refusal.reason)
            else:
                connection.end(abort=False)

    def _greet(self, connection: Connection, realm: Realm, now: float) -> None:
        self._greeted += 1
        socket = self._sockets[connection] = realm.enter(connection, self._greeted)
        data = {"socket_id": socket.id, "activity_timeout": self._activity_timeout}
        socket.send(encode("pusher:connection_established", data=json_text(data)))
        if self._ping_after is not None:
            self._watch(connection, now + self._ping_after)

    def _watch(self, connection: Connection, due: float) -> None:
        self._timers.set(("ping", connection), due, partial(self._ping, connection))

    def _ping(self, connection: Connection, now: float) -> None:
        assert self._ping_after is not None
        silent_since = now if connection.silent else connection.last_received
        if silent_since + self._ping_after > now:
            self._watch(connection, silent_since + self._ping_after)
            return
        connection.send_text(_PING)
        self._await_pong(connection, now, now + min(self._ping_after, _PONG_TIMEOUT))

    def _await_pong(self, connection: Connection, pinged: float, due: float) -> None:
        missed = partial(self._missed_pong, connection, pinged)
        self._timers.set(("ping", connection), due, missed)

    def _missed_pong(self, connection: Connection, pinged: float, now: float) -> None:
        if connection.last_received >= pinged or connection.silent:
            self._ping(connection, now)
        elif now < pinged + _PONG_TIMEOUT:
            self._await_pong(connection, pinged, pinged + _PONG_TIMEOUT)
        else:
            self._close(connection, 4201, "Pong reply not received", now)


def _elsewhere(request: HttpRequest) -> HttpResponse:
    """Answer what is neither for the HTTP API nor for an auth endpoint."""
    if request.method in ("GET", "HEAD") and request.path == "/":
        text = b"A server for tests that speaks the Pusher Channels protocol.\n"
        return HttpResponse(200, text, (("Content-Type", "text/plain"),))
    if _APP_PATH.match(unquote(request.path)):
        response = failure(426, "A WebSocket upgrade is needed here")
        return HttpResponse(426, response.body, (*response.headers, ("Upgrade", "websocket")))
    return failure(404, f"No such resource: {request.method} {request.path[:200]}")
