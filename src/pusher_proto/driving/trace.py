"""Reports the steps of connecting to `on_progress`, from the session, the wire and the I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .._base.logs import logger
from ..progress import ConnectStep, OnProgress, Progress, ProgressState
from ..session import Session
from ..states import SessionState

__all__ = ["NO_TRACE", "NoTrace", "Trace"]

S, P = ConnectStep, ProgressState

_log = logger("client")


class NoTrace:
    """Receives the reports of a wire without `on_progress`, and ignores them."""

    def resolved(self, infos: Sequence[tuple[Any, ...]]) -> None:
        """Report the addresses of the host: the result of `socket.getaddrinfo`."""

    def reached(self, peer: object, *, tls: bool) -> None:
        """Report that the stream is open to the address `peer`; with `tls`, TLS starts now."""

    def securing(self) -> None:
        """Report that TLS starts on a tunnel through the proxy."""

    def secured(self, describe: Callable[[], str]) -> None:
        """Report that TLS is established; `describe` returns its version and certificate."""


NO_TRACE = NoTrace()


class Trace(NoTrace):
    """Reports the attempts of one session to connect."""

    def __init__(self, session: Session, report: OnProgress, time: Callable[[], float]) -> None:
        self._session = session
        self._report = report
        self._time = time
        self._transport: int | None = None
        """The stream of the current attempt."""
        self._step: ConnectStep | None = None
        """The current step."""
        self._began = 0.0
        session.watch(self._moved)

    def of(self, transport: int) -> NoTrace:
        """Return the object that gets the reports of this stream's wire."""
        return self if transport == self._transport else NO_TRACE

    def resolved(self, infos: Sequence[tuple[Any, ...]]) -> None:
        """End the name lookup."""
        if self._step is S.LOOKUP:
            addresses = [str(info[4][0]) for info in infos if info[4]]
            self._end(", ".join(dict.fromkeys(addresses)))
            self._begin(S.TCP)

    def reached(self, peer: object, *, tls: bool) -> None:
        """End TCP, and begin what follows it."""
        self._dialed(peer)
        options = self._session.options
        if options.proxy is not None:
            self._begin(S.PROXY)
        elif tls:
            self._begin(S.TLS)
        else:
            self._tell(S.TLS, P.SKIPPED)

    def securing(self) -> None:
        """End the proxy's step, and begin TLS."""
        self._end()
        self._begin(S.TLS)

    def secured(self, describe: Callable[[], str]) -> None:
        """End TLS."""
        self._end(describe())

    def _moved(self, state: SessionState, transport: int | None) -> None:
        """Follow the session's state. `transport` is the stream of a new attempt."""
        match state:
            case SessionState.OPENING:
                if transport is not None:
                    self._transport = transport
                    self._begin(S.LOOKUP)
            case SessionState.UPGRADING:
                if self._step is S.LOOKUP:  # `connect_messages` does it all, and uses no proxy
                    self._dialed(None)
                    self._tell(S.TLS, P.SKIPPED)
                if self._step is S.PROXY:
                    self._end()
                    self._tell(S.TLS, P.SKIPPED)
                self._end()
                self._begin(S.UPGRADE)
            case SessionState.GREETING:
                self._end()
                self._begin(S.GREETING)
            case SessionState.CONNECTED:
                self._end(f"socket id {self._session.socket_id}")
            case _ if self._step is not None:
                error = self._session.last_error
                self._tell(self._step, P.FAILED, self._time() - self._began, error=error)
                self._step = None

    def _dialed(self, peer: object) -> None:
        if self._step is S.LOOKUP:  # nothing reported when it had the addresses
            self._tell(S.LOOKUP, P.SKIPPED)
            self._step = S.TCP
            self._tell(S.TCP, P.BEGAN)
        self._end(_shown(peer))

    def _begin(self, step: ConnectStep) -> None:
        self._step, self._began = step, self._time()
        self._tell(step, P.BEGAN)

    def _end(self, detail: str = "") -> None:
        if self._step is not None:
            self._tell(self._step, P.ENDED, self._time() - self._began, detail)
            self._step = None

    def _tell(
        self,
        step: ConnectStep,
        state: ProgressState,
        seconds: float = 0.0,
        detail: str = "",
        error: BaseException | None = None,
    ) -> None:
        try:
            self._report(Progress(step, state, seconds, detail, error))
        except Exception:
            _log.exception("on_progress raised for %s, %s", step.value, state.value)


def _shown(peer: Any) -> str:
    """Return the text of an address of a socket."""
    match peer:
        case (str(host), int(port), *_):
            return f"{host} port {port}"
        case _:
            return ""
