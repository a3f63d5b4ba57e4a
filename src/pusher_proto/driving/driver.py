"""The loop that all drivers share: it carries out the effects of a session on an `IO`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Protocol

from msgspec.structs import replace

from ..effects import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseMessages,
    CloseTransport,
    Effect,
    OpenMessages,
    OpenTransport,
    SendData,
    SendMessage,
    StartTls,
)
from ..errors import UnsupportedFeature
from ..progress import OnProgress
from ..session import Session
from .application import Call, answers, number_of, question
from .messages import MessageWire
from .tls import SSLContext, cached_context, make_context
from .trace import NO_TRACE, Trace
from .wire import Wire

__all__ = ["IO", "Driver", "DriverOptions"]


class IO(Protocol):
    """The I/O, which the embedder writes. A `Driver` calls it; no call may block.

    A call that fails temporarily (no more threads or files) raises OSError or RuntimeError; then the attempt fails.
    """

    def time(self) -> float:
        """Return monotonic seconds."""

    def open(self, wire: Wire) -> None:
        """Start to dial, and move the bytes of `wire`: call its `opened` or `failed`, later `received` and so on."""

    def attend(self, wire: Wire) -> None:
        """Check `wants_data`, `has_to_write` and `over` of a wire, which may have changed."""

    def ring_at(self, at: float) -> None:
        """Call `Driver.ring` at the time `at`; it replaces the time set before. Infinity means never."""

    def call(
        self, function: Callable[[Any], object], argument: object, done: Callable[[object], None]
    ) -> Callable[[], object]:
        """Call `function(argument)`, a function of the application, which may be slow, without blocking.

        Call `done` once with its result or exception. Return a function that cancels the call: it cancels a coroutine
        function, and lets a plain function run to its end. Call `done` in both cases when the function has ended,
        because the session counts pending calls. A thread for it is a daemon, unless `must_return(function)` is true.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverOptions:
    """The optional settings of a `Driver`."""

    ssl_context: SSLContext | None = None
    """The context for TLS. By default the default context of the process, which is created in a call of `IO.call`."""
    tls: bool = True
    """Whether wires establish TLS. False if the `IO` does that itself, or works without a network."""
    authorizer: Callable[..., object] | None = None
    """The function that answers authorization requests without an `auth` of the channel or the options."""
    on_progress: OnProgress | None = None
    """Called with each step of connecting."""


_DEFAULTS = DriverOptions()


class Driver:
    """Runs one session on an `IO`.

    It calls `deliver` to take the events from the session, and `broke` with each exception that the session, a wire or
    `deliver` raises in a call from the `IO`: after a bug, or for an exception of a function of the application.

    With several threads, hold one lock during each call of the `Driver` and of its wires.
    """

    __slots__ = (
        "_authorizer", "_broke", "_calls", "_carrying_out", "_context", "_deliver", "_io",
        "_tls", "_trace", "_without_context", "rings_at", "session", "wires",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        io: IO,
        *,
        deliver: Callable[[], None],
        broke: Callable[[BaseException], None],
        options: DriverOptions = _DEFAULTS,
    ) -> None:
        self.session: Session = session
        self.wires: dict[int, Wire] = {}
        self._io = io
        self._context = options.ssl_context
        self._tls = options.tls
        self._authorizer = options.authorizer
        progress = options.on_progress
        self._trace = None if progress is None else Trace(session, progress, io.time)
        self._deliver = deliver
        self._broke = broke
        self.rings_at: float = inf
        """The last argument of `IO.ring_at`, for an `IO` that checks it in each turn: when to call `ring`."""
        self._carrying_out = False
        self._calls: dict[int, Callable[[], object]] = {}
        self._without_context: list[Wire] = []

    @property
    def ended(self) -> bool:
        """Whether the session is closed and all streams have ended."""
        return self.session.closed and self.session.next_deadline() is None

    # Inputs.

    def tell(self, answer: Callable[..., None], *details: object) -> None:
        """Call an input of the session with the current time, and carry out the effects."""
        try:
            answer(*details, now=self._io.time())
            if not self._carrying_out:
                self.settle()
        except BaseException as error:
            self._broke(error)

    def ring(self, now: float | None = None) -> None:
        """Fire the timers that are due. Call it at the time of `IO.ring_at`. `now` defaults to `IO.time()`."""
        self.rings_at = inf
        try:
            self.session.handle_timeout(now=self._io.time() if now is None else now)
            self.settle()
        except BaseException as error:
            self._broke(error)

    def settle(self) -> None:
        """Carry out all effects of the session, deliver its events, and call `IO.attend` for each wire.

        Call it after each input, and after each command of the application.
        """
        session, io = self.session, self._io
        if (effect := session.next_effect()) is not None and not self._carrying_out:
            self._carry_out_all(effect)
        self._deliver()
        for wire in tuple(self.wires.values()):
            io.attend(wire)
            if wire.over:
                self.wires.pop(wire.number, None)
        deadline = session.next_deadline()
        if deadline is None:
            if self.rings_at != inf:
                self.rings_at = inf
                io.ring_at(inf)
        elif deadline < self.rings_at:  # most deadlines are moved before they are reached
            self.rings_at = deadline
            io.ring_at(deadline)

    def close(self) -> None:
        """Close the session with a goodbye, and carry out what follows."""
        self.session.close(now=self._io.time())
        self.settle()

    def abort(self) -> None:
        """Close the session and abort all wires immediately.

        It never raises: after a bug it ends as much as possible.
        """
        wires = tuple(self.wires.values())
        acts: list[Callable[[], None]] = [partial(self.session.close, now=self._io.time())]
        acts += [partial(wire.close, abort=True) for wire in wires]
        acts += [self.settle, *(partial(self._io.attend, wire) for wire in wires)]
        for act in acts:
            with suppress(Exception):
                act()

    def look(self) -> None:
        """Do the same as `settle`, but report bugs to `broke`: for calls from the `IO`."""
        self.tell(_no_input)

    # Effects.

    def _carry_out_all(self, effect: Effect | None) -> None:
        """Carry out effects until there are none, including those of inputs that it calls itself."""
        self._carrying_out = True
        try:
            while effect is not None:
                self._carry_out(effect)
                effect = self.session.next_effect()
        finally:
            self._carrying_out = False

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendData():  # nearly all
                wire = self.wires.get(effect.transport)
                if wire is not None:  # else it has just ended
                    wire.send(effect.data)
            case OpenTransport():
                if not self._tls:
                    effect = replace(effect, tls=False)
                trace = NO_TRACE if self._trace is None else self._trace.of(effect.transport)
                self._open(Wire(effect, self.session, self.tell, trace))
            case OpenMessages():
                self._open(MessageWire(effect, self.session, self.tell))
            case Authorize() | AuthorizeMany() | CallApplication():
                self._call(effect)
            case CancelCall():
                cancel = self._calls.get(effect.request)
                if cancel is not None:  # else it has just ended
                    cancel()
            case _:
                wire = self.wires.get(effect.transport)
                if wire is not None:
                    self._do(wire, effect)

    def _do(
        self, wire: Wire, effect: StartTls | CloseTransport | SendMessage | CloseMessages
    ) -> None:
        match effect:
            case SendMessage():
                wire.send(effect.text.encode())
            case CloseMessages():
                assert isinstance(wire, MessageWire)  # the session closes others otherwise
                wire.part(effect.code, effect.reason)
            case StartTls() if not self._tls:
                self.session.tls_started(wire.number, now=self._io.time())
            case StartTls():
                wire.start_tls(effect.host)
                self._set_context(wire, effect.ssl_context)
            case _:
                wire.close(abort=effect.abort)

    def _open(self, wire: Wire) -> None:
        self.wires[wire.number] = wire
        if isinstance(wire.effect, OpenTransport) and wire.effect.tls:
            self._set_context(wire, wire.effect.ssl_context)
        try:
            self._io.open(wire)
        except _FOR_NOW as error:
            wire.failed(error)

    def _set_context(self, wire: Wire, own: Any) -> None:
        """Set the SSL context of a wire: its own or the driver's, now or when that was created."""
        context = own or self._context or cached_context()
        if context is not None:
            wire.secure(context)
            return
        self._without_context.append(wire)
        if len(self._without_context) == 1:
            try:
                self._io.call(make_context, None, partial(self.tell, self._context_made))
            except _FOR_NOW as error:
                self._context_made(error)

    def _context_made(self, result: object, **_: float) -> None:
        wires, self._without_context = self._without_context, []
        for wire in wires:
            if isinstance(result, Exception):
                wire.failed(result)
            elif not isinstance(result, BaseException):
                context: Any = result
                wire.secure(context)

    def _call(self, effect: Call) -> None:
        number = number_of(effect)
        self._calls[number] = _not_started
        done = partial(self.tell, self._called, effect)
        try:
            function, argument = question(effect, self._authorizer)
            cancel = self._io.call(function, argument, done)
            if number in self._calls:  # else it ended within the call
                self._calls[number] = cancel
        except UnsupportedFeature as error:
            self._called(effect, error, now=self._io.time())
        except _FOR_NOW as error:
            failed = OSError(f"the application's function could not be called: {error}")
            self._called(effect, failed, now=self._io.time())

    def _called(self, effect: Call, result: object, *, now: float) -> None:
        del self._calls[number_of(effect)]
        if isinstance(effect, CallApplication):
            self.session.call_ended(effect.request, result, now=now)
            return
        for request, answer in answers(effect, result).items():
            if isinstance(answer, BaseException):
                self.session.authorization_failed(request, answer, now=now)
            else:
                self.session.authorized(request, answer, now=now)


def _no_input(**_: float) -> None:
    """Change nothing: used instead of an input of the session."""


def _not_started() -> None:
    """Do nothing: used until there is a function that cancels the call."""


_FOR_NOW = (OSError, RuntimeError)
"""Exceptions for a temporary lack of resources: too many open files, "can't start new thread"."""
