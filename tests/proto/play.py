"""A session that lives through a random sequence of inputs, in the hands of a driver and of a server.

Two plays of one sequence can be compared: with the bytes split otherwise, with stray answers in between, with
another clock. A step that does not apply (closing a transport when there is none) does nothing. The
server is well-behaved in the steps called "go", and anything but in those called "serve".
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from proto.bad_server import (
    AUTH_HOST,
    CHANNELS,
    FATAL_FRAMES,
    GOOD_FRAMES,
    HTTP_ANSWERS,
    ODD_FRAMES,
    REFUSALS,
    USER_TEXTS,
    authorization_for,
    http,
    mutated,
    texts_of,
)
from proto.inputs import Sequence, Step, options_of
from proto.scripted import Act, decoded, message, upgrade_for
from proto.websocket_peer import close, frame
from pusher_proto import (
    Authorize,
    AuthRequest,
    AuthResponse,
    CallApplication,
    CancelCall,
    CatchUp,
    ChannelEvent,
    CloseTransport,
    Event,
    LocalProtocolError,
    OpenTransport,
    Outbox,
    SendData,
    Session,
    StartTls,
)
from pusher_proto._base.timers import Timer

__all__ = ["Play", "Played", "comparable", "is_frame", "played"]

_NAMES = (*CHANNELS, *CHANNELS, "bad name!", "#server-to-user-u", "", "x" * 201)
_SECONDS = (0.0, 0.001, 0.3, 1.0, 3.0, 10.0, 31.0, 150.0, 3600.0, -0.5, -2000.0)


@dataclass
class Stream:
    """One transport as driver and server know it."""

    effect: OpenTransport
    opened: bool = False
    reported: bool = False
    """The session wants it to end."""
    ended: bool = False
    upgrade: bytes | None = None
    """The accepting answer, once the upgrade was requested."""
    upgraded: bool = False
    socket_id: str | None = None
    replies: list[bytes] = field(default_factory=list)
    """The next messages of a good server."""
    unread: bytes = b""
    """The data that arrived while the session wanted none."""

    behind: str = ""
    """The host that the proxy was asked to reach."""
    securing: bool = False

    @property
    def is_websocket(self) -> bool:
        return (self.behind or self.effect.host) != AUTH_HOST


class Played(NamedTuple):
    """The results of one step."""

    step: Step
    acts: list[tuple[int, Act]]
    """The effects of the session, each with its transport; 0 for none."""
    events: list[str]
    deadline: float | None


OUTBOXES = (None, Outbox(max_age=2.0, limit=3), Outbox(max_age=30.0, keep="latest"))


class Play:
    """A session that lives through a sequence. `after_input` is called whenever the session was drained."""

    def __init__(
        self,
        sequence: Sequence,
        *,
        cut: random.Random | None = None,
        stray: bool = False,
        stalls: bool = True,
        clamped: bool = False,
        hostile: bool = False,
        after_input: Callable[[Play], None] | None = None,
    ) -> None:
        options = options_of(sequence)
        if not stalls:  # no read is so long that it fills the queue, wherever it is cut
            options = replace(options, receive_buffer=100_000)
        self.session = Session(options, rng=random.Random(sequence.seed))
        self.now = 1000.0
        self.streams: dict[int, Stream] = {}
        self.asked: dict[int, AuthRequest] = {}
        """The requests that the application has not answered."""
        self.called: set[int] = set()
        """The calls of functions of the application that have not ended."""
        self.answered: set[int] = set()
        self.effects: list[Any] = []
        self.events: list[Event] = []
        self.triggered = 0
        self._memories: dict[str, CatchUp] = {}
        self._fetching: set[int] = set()
        """The calls that fetch missed events."""
        self.latest = self.now
        """The latest time that the session got."""
        self.last = ""
        """The name of the last input."""
        self.fired: list[float] = []
        """The deadlines of the timers that it fired, in order."""
        self.next_deadline: float | None = None
        """The deadline after the last input. Taking events can set another one: when it ends a pause of reading."""
        self._sequence = sequence
        self._cut = cut
        self._stray = stray
        self._stalls = stalls
        self._clamped = clamped
        self._hostile = hostile
        self._after_input = after_input
        self.pulls = True
        self.writes = True
        self._sockets = 0
        self._acts: list[tuple[int, Act]] = []
        self._reported: list[str] = []
        self.timers: set[Timer] = set()
        """The timers that fired so far."""
        timers: Any = _WatchedTimers(self.session._timers, self._fired)
        self.session._timers = timers
        self.session.handle_timeout(
            now=self.now
        )  # now it knows the time, from which none goes back

    # Playing

    def run(self) -> list[Played]:
        """Play all steps; return what each brought about."""
        return [self.play(step) for step in self._sequence.steps]

    def play(self, step: Step) -> Played:
        """Play one step."""
        getattr(self, f"_{step.kind}")(step.which, step.what)
        if self._stray:
            self._answer_strays()
        acts, self._acts = self._acts, []
        events, self._reported = self._reported, []
        return Played(step, acts, events, self.session.next_deadline())

    def finish(self) -> None:
        """Close the session, answer everything unanswered, and let time pass until it is closed."""
        self.pulls = True
        self.input(self.session.close)
        for number, stream in list(self.streams.items()):
            if not stream.ended:
                self._end_stream(number, stream, None)
        for request in list(self.asked):
            self._reply(request, authorization_for(self.asked[request]))
        for call in sorted(self.called):
            self._end_call(call, {})
        while (due := self.session.next_deadline()) is not None:
            self.now = max(self.now, due)
            self.input(self.session.handle_timeout)

    def input(self, given: Callable[..., None], *args: Any) -> None:
        """Give the session an input, and drain it."""
        self.latest = max(self.latest, self.now)
        self.last, self.fired = given.__name__, []
        given(*args, now=self.latest if self._clamped else self.now)
        self.next_deadline = self.session.next_deadline()
        self.drain()
        if self._after_input is not None:
            self._after_input(self)

    def drain(self) -> None:
        """Carry out all effects, and take the events unless the application is stalled."""
        while (effect := self.session.next_effect()) is not None:
            self.effects.append(effect)
            self._carry_out(effect)
        if self.pulls:
            while len(self.session.events):
                self.pull()

    # The application

    def _command(self, command: Callable[..., None], *args: Any) -> None:
        """Give a command; one that raises must have changed nothing."""
        before = self.looks()
        try:
            self.input(command, *args)
        except (LocalProtocolError, TypeError) as error:
            self._reported.append(repr(error))
            assert self.session.next_effect() is None
            assert self.looks() == before

    def looks(self) -> tuple[Any, ...]:
        """Return what can be seen of the session."""
        session = self.session
        return (
            session.state,
            session.socket_id,
            session.channels(),
            session.user,
            session.events.changes,
            session.retry_at,
            session.next_deadline(),
            session.failure,
            session.stats,
        )

    def _connect(self, which: int, what: int) -> None:
        self._command(self.session.connect)

    def _disconnect(self, which: int, what: int) -> None:
        self._command(self.session.disconnect)

    def _reconnect(self, which: int, what: int) -> None:
        self._command(self.session.reconnect)

    def _refresh(self, which: int, what: int) -> None:
        self._command(self.session.refresh_members, CHANNELS[which % len(CHANNELS)])

    def _close(self, which: int, what: int) -> None:
        if what % 4 == 0:  # the end of all that could follow
            self._command(self.session.close)

    def _subscribe(self, which: int, what: int) -> None:
        channel = CHANNELS[which % len(CHANNELS)]
        memory = self._memories.setdefault(channel, CatchUp(_fetch, "n")) if what % 3 == 0 else None

        def subscribe(*, now: float) -> None:
            self.session.subscribe(channel, catch_up=memory, now=now)

        self._command(subscribe)

    def _unsubscribe(self, which: int, what: int) -> None:
        self._command(self.session.unsubscribe, CHANNELS[which % len(CHANNELS)])

    def _wrong(self, which: int, what: int) -> None:
        name = _NAMES[what % len(_NAMES)]
        wrong: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (self.session.subscribe, (name,)),
            (self.session.subscribe, (5,)),
            (self.session.trigger, (name, "x", 1)),
            (self.session.trigger, (name, "client-x", object())),
            (self.session.trigger, (name, "client-x", "x" * 20_000)),
        ]
        command, args = wrong[which % len(wrong)]
        self._command(command, *args)

    def _trigger(self, which: int, what: int) -> None:
        self.triggered += 1
        channel = CHANNELS[(2, 2, 3, 4, which % len(CHANNELS))[which % 5]]  # mostly one that may
        data = [self.triggered, "x" * (what % 150)]
        self._command(
            self.session.trigger, channel, "client-x", data, OUTBOXES[what % len(OUTBOXES)]
        )

    def _signin(self, which: int, what: int) -> None:
        self._command(self.session.signin)

    def _ping(self, which: int, what: int) -> None:
        self._command(self.session.ping)

    def _stall(self, which: int, what: int) -> None:
        """Let the application stop taking events, or take them again."""
        if self._stalls:
            self.pulls = not self.pulls
            self.drain()
            self._read_on()

    def _pull(self, which: int, what: int) -> None:
        """Let a stalled application take a few events."""
        for _ in range(0 if self.pulls else what % 5):
            self.pull()
            self._read_on()

    def pull(self) -> None:
        """Let the application take one event."""
        event = self.session.next_event()
        if event is not None:
            self.events.append(event)
            self._reported.append(repr(event))  # the errors in events are other objects each time

    def _answer(self, which: int, what: int) -> None:
        if self.called:
            call = sorted(self.called)[which % len(self.called)]
            results: list[Any] = [
                {"X-A": "1"},
                {},
                None,
                {"X-A": "wrong\n"},
                KeyError("no"),
                TimeoutError(),
            ]
            if call in self._fetching:
                fetched = [
                    ChannelEvent(CHANNELS[0], "n", f'{{"n":{n}}}', caught_up=True)
                    for n in range(what % 4)
                ]
                results = [fetched, fetched, None, KeyError("no")]
            self._end_call(call, results[what % len(results)])
        elif self.asked:
            request = list(self.asked)[which % len(self.asked)]
            replies: list[Any] = [
                authorization_for(self.asked[request]),
                AuthResponse("key:wrong", "not JSON", "not base64"),
                None,
                KeyError("no"),
                TimeoutError(),
            ]
            self._reply(request, replies[what % len(replies)])

    def _end_call(self, call: int, result: object) -> None:
        self.called.discard(call)
        self.answered.add(call)
        self.input(self.session.call_ended, call, result)

    def _reply(self, request: int, reply: Any) -> None:
        del self.asked[request]
        self.answered.add(request)
        if isinstance(reply, BaseException):
            self.input(self.session.authorization_failed, request, reply)
        else:
            self.input(self.session.authorized, request, reply)

    # Time

    def _pass(self, which: int, what: int) -> None:
        self.now += _SECONDS[what % len(_SECONDS)]
        self.input(self.session.handle_timeout)

    def _due(self, which: int, what: int) -> None:
        due = self.session.next_deadline()
        if due is not None:
            self.now = max(self.now, due)
            self.input(self.session.handle_timeout)

    # The network

    def _live(self, *, opened: bool | None = None) -> list[tuple[int, Stream]]:
        return [
            (number, stream)
            for number, stream in self.streams.items()
            if not stream.ended and opened in (None, stream.opened)
        ]

    def _open(self, which: int, what: int) -> None:
        if live := self._live(opened=False):
            self._open_stream(*live[which % len(live)])

    def _open_stream(self, number: int, stream: Stream) -> None:
        stream.opened = True
        self.input(self.session.transport_opened, number)

    def _secure(self, number: int, stream: Stream) -> None:
        stream.securing = False
        self.input(self.session.tls_started, number)

    def _fail(self, which: int, what: int) -> None:
        if live := self._live(opened=False):
            number, stream = live[which % len(live)]
            self._end_stream(number, stream, "refused" if what % 2 else OSError("no route"))

    def _end(self, which: int, what: int) -> None:
        if live := self._live():
            number, stream = live[which % len(live)]
            if what % 3 == 0 or stream.reported:  # most connections should live for a while
                self._end_stream(number, stream, [None, "reset", ConnectionResetError()][what % 3])

    def _end_stream(self, number: int, stream: Stream, error: Any) -> None:
        if stream.unread:  # received data is read before the end is seen
            data, stream.unread = stream.unread, b""
            self._receive(number, data)
        stream.ended = True
        end = self.session.transport_closed if stream.opened else self.session.transport_failed
        self.input(end, number, error)

    def _clog(self, which: int, what: int) -> None:
        """Let the driver's writes get stuck, or succeed again."""
        self.writes = not self.writes

    def _sent(self, which: int, what: int) -> None:
        if live := self._live():
            self.input(self.session.data_sent, live[which % len(live)][0], what)

    def _go(self, which: int, what: int) -> None:
        """Let the next good thing happen: a transport opens or ends, a server or the application answers."""
        things: list[Callable[[], None]] = []
        for number, stream in self._live():
            if stream.reported:
                things.append(lambda n=number, s=stream: self._end_stream(n, s, None))  # type: ignore[misc]  # mypy infers no lambda with defaults
            elif not stream.opened:
                things.append(lambda n=number, s=stream: self._open_stream(n, s))  # type: ignore[misc]  # mypy infers no lambda with defaults
            elif stream.securing:
                things.append(lambda n=number, s=stream: self._secure(n, s))  # type: ignore[misc]  # mypy infers no lambda with defaults
            elif stream.replies:
                things.append(lambda n=number, s=stream: self._reply_well(n, s, what))  # type: ignore[misc]  # mypy infers no lambda with defaults
        things += [
            lambda r=request, d=details: self._reply(r, authorization_for(d))  # type: ignore[misc]  # mypy infers no lambda with defaults
            for request, details in self.asked.items()
        ]
        things += [lambda c=call: self._end_call(c, {}) for call in sorted(self.called)]  # type: ignore[misc]  # mypy infers no lambda with defaults
        if things:
            things[which % len(things)]()

    def _reply_well(self, number: int, stream: Stream, what: int) -> None:
        count = 1 + what % 3
        data, stream.replies = b"".join(stream.replies[:count]), stream.replies[count:]
        stream.upgraded = stream.upgraded or stream.upgrade is not None
        self.receive(number, data)

    def _serve(self, which: int, what: int) -> None:
        """Let a server say something, good or bad."""
        live = [
            (number, stream) for number, stream in self._live(opened=True) if not stream.reported
        ]
        if not live:
            return
        number, stream = live[which % len(live)]
        pick = random.Random(what)
        if not stream.is_websocket:
            data = pick.choice(HTTP_ANSWERS)
        elif not stream.upgraded:
            data = pick.choice(REFUSALS) if pick.random() < 0.5 else b""
        else:
            known = self.session.channels() or ("room",)
            about = [text for name in known for text in texts_of(name)]
            if self.session.user.id is not None:
                about += USER_TEXTS
            frames = [frame(text) for text in pick.choices(about, k=pick.randint(0, 5))]
            frames += pick.choices(GOOD_FRAMES, k=pick.randint(0, 2))
            pick.shuffle(frames)
            if pick.random() < 0.2:
                frames.insert(pick.randint(0, len(frames)), pick.choice(ODD_FRAMES))
            if pick.random() < 0.1:
                frames.insert(pick.randint(0, len(frames)), pick.choice(FATAL_FRAMES))
            if pick.random() < 0.05:
                frames.append(self._greeting(stream))
            data = b"".join(frames)
        if data and pick.random() < (0.7 if self._hostile else 0.15):
            data = mutated(data, pick)
        self.receive(number, data)

    def receive(self, number: int, data: bytes) -> None:
        """Let bytes arrive, or wait while the session wants none."""
        stream = self.streams[number]
        if stream.unread or not self.session.wants_data(number):
            stream.unread += data
            self._read_on()
        else:
            self._receive(number, data)

    def _receive(self, number: int, data: bytes) -> None:
        for piece in self._pieces(data):
            self.input(self.session.receive_data, number, piece)

    def _pieces(self, data: bytes) -> Iterable[bytes]:
        if self._cut is None or not data:
            return [data]
        if self._cut.random() < 0.2:
            return [data[at : at + 1] for at in range(len(data))]
        cuts = sorted({0, len(data), *(self._cut.randint(0, len(data)) for _ in range(4))})
        return [data[a:b] for a, b in pairwise(cuts)]

    def _read_on(self) -> None:
        for number, stream in self._live(opened=True):
            if stream.unread and self.session.wants_data(number):
                data, stream.unread = stream.unread, b""
                self._receive(number, data)

    def _answer_strays(self) -> None:
        """Give every answer there is for numbers that are unknown or finished, and once more for those open."""
        session = self.session
        finished = [number for number, stream in self.streams.items() if stream.ended]
        for number in [*finished[-3:], 0, -1, max(self.streams, default=0) + 1]:
            self.input(session.transport_opened, number)
            self.input(session.tls_started, number)
            self.input(session.transport_failed, number, "stray")
            self.input(session.transport_closed, number, None)
            self.input(session.receive_data, number, GOOD_FRAMES[0])
            self.input(session.data_sent, number, 10)
        for number, stream in self.streams.items():
            if stream.opened and not stream.ended:
                self.input(session.transport_opened, number)
        for request in [*sorted(self.answered)[-3:], 0, -1, 10_000]:
            self.input(session.authorized, request, AuthResponse("key:stray"))
            self.input(session.authorization_failed, request, KeyError("stray"))
            self.input(session.call_ended, request, {})

    # Effects

    def _carry_out(self, effect: Any) -> None:
        match effect:
            case OpenTransport():
                self.streams[effect.transport] = Stream(effect)
                self._acts.append((effect.transport, effect))
            case SendData():
                self._write(effect.transport, self.streams[effect.transport], effect.data)
            case StartTls():
                self.streams[effect.transport].securing = True
                self._acts.append((effect.transport, effect))
            case CloseTransport():
                self.streams[effect.transport].reported = True
                self._acts.append((effect.transport, effect))
            case CallApplication():
                self.called.add(effect.request)
                if effect.function.__name__ == _fetch.__name__:
                    self._fetching.add(effect.request)
                    effect = msgspec.structs.replace(
                        effect, function=_fetch
                    )  # not the one of this play
                self._acts.append((0, effect))
            case CancelCall():
                assert effect.request not in self.answered
                self._acts.append((0, effect))
            case Authorize():
                self.asked[effect.request] = effect.details
                self._acts.append((0, effect))

    def _write(self, number: int, stream: Stream, data: bytes) -> None:
        acts = decoded(data)
        self._acts += [(number, act) for act in acts]
        for act in acts:
            reply = self._reply_to(stream, act, data)
            if reply:
                stream.replies.append(reply)
        if self.writes:
            self.session.data_sent(number, len(data), now=self.latest)

    def _greeting(self, stream: Stream) -> bytes:
        fields = {"socket_id": stream.socket_id, "activity_timeout": 30}
        return frame(message("pusher:connection_established", json.dumps(fields)))

    def _reply_to(self, stream: Stream, act: Act, data: bytes) -> bytes | None:
        match act:
            case str():
                self._sockets += 1
                stream.upgrade = upgrade_for(data)
                stream.socket_id = f"7.{self._sockets}"
                stream.replies.append(stream.upgrade)
                return self._greeting(stream)
            case ("tunnel", str() as whom):
                stream.behind = whom.rpartition(":")[0]
                return b"HTTP/1.1 200 OK\r\n\r\n"
            case (str(), str() as body):
                fields = dict(parse_qsl(body))
                socket_id = fields.pop("socket_id")
                if "channel_name[0]" in fields:
                    authorizations = {
                        c: authorization_for(AuthRequest(socket_id, c)) for c in fields.values()
                    }
                    return http("200 OK", msgspec.json.encode(authorizations).decode())
                authorization = authorization_for(
                    AuthRequest(socket_id, fields.get("channel_name"))
                )
                return http("200 OK", msgspec.json.encode(authorization).decode())
            case {"event": "pusher:subscribe", "data": {"channel": channel}}:
                data_ = {
                    "presence": {"ids": ["me", "b"], "hash": {"me": {}, "b": None}, "count": 2}
                }
                roster = json.dumps(data_ if channel.startswith("presence-") else {})
                return frame(message("pusher_internal:subscription_succeeded", roster, channel))
            case {"event": "pusher:ping"}:
                return frame(message("pusher:pong"))
            case {"event": "pusher:signin"}:
                return frame(message("pusher:signin_success", {"user_data": '{"id":"u"}'}))
            case ("close", int(), _):
                return close(1000)
        return None

    # Within

    def _fired(self, timer: Timer, due: float) -> None:
        self.timers.add(timer)
        self.fired.append(due)


class _WatchedTimers:
    """The timers of a session, with a note of each that fires and of its deadline."""

    def __init__(self, timers: Any, fired: Callable[[Timer, float], None]) -> None:
        self._timers = timers
        self._fired = fired

    def __getattr__(self, name: str) -> Any:
        return getattr(self._timers, name)

    def pop_due(self, now: float) -> Any:
        due = self._timers.next()
        popped = self._timers.pop_due(now)
        if popped is not None:
            self._fired(popped[0], due)
        return popped


def _fetch(_gap: object) -> list[ChannelEvent]:
    """Stand for a function that fetches events: a play answers for it."""
    raise AssertionError("the session calls no function of the application")


def played(sequence: Sequence, **how: Any) -> list[Played]:
    """Play a sequence to the end of its steps."""
    return Play(sequence, **how).run()


def is_frame(act: Any, kind: str) -> bool:
    return isinstance(act, tuple) and act[0] == kind


def comparable(step: Played) -> Played:
    """Leave out what RFC 6455 leaves open: how many pings are answered, and what is still sent to one who closes."""
    ended = {number for number, act in step.acts if isinstance(act, CloseTransport)}
    acts = [
        (number, act)
        for number, act in step.acts
        if not is_frame(act, "pong")
        if not (number in ended and isinstance(act, dict | tuple))
    ]
    return step._replace(acts=acts)
