"""`pusher-proto doctor`: finds out why no events are received."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue

import click

from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    ChannelState,
    ConnectionEnded,
    ConnectionEstablished,
    ConnectionLost,
    ConnectStep,
    Event,
    Options,
    OwnKey,
    Progress,
    ProgressState,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto.names import kind_of
from pusher_sync import Client, open_pusher

from ._advice import ALL_IS_WELL, about_channel, about_connection, what_happened
from ._arguments import Arguments, Exit
from ._output import give_up_stdout, print_line, printable
from ._server import options_from, server_of, ssl_context_from
from ._terminal import painter

__all__ = ["run"]

_MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "-", "not reached": "-"}
_COLOURS = {"ok": "green", "failed": "bold red", "skipped": "dim", "not reached": "dim"}
_TITLES = {
    ConnectStep.TLS: "TLS and certificate",
    ConnectStep.GREETING: "key and cluster",
}
"""Titles of steps that differ from their names in `on_progress`."""
_OFTEN = 0.005  # seconds between looks at the state of a channel, because its change emits no event
_INDENT = " " * 10
_BOUND = "\N{NO-BREAK SPACE}"
"""Keeps a time in its column where a line is wrapped."""


def run(arguments: Arguments) -> int:
    """Run each step, and return the exit status. Raises `UsageError`."""
    options = options_from(arguments, arguments.channels)
    context = ssl_context_from(arguments)
    limit = arguments.timeout
    options = replace(
        options,
        connect_timeout=limit,
        auth_timeout=limit,
        subscribe_timeout=limit,
        auth_attempts=1,
        first_attempts=1,
    )
    chart = _Chart(_steps(options, arguments.channels), aloud=not arguments.json)
    seen: SimpleQueue[Progress | Event] = SimpleQueue()
    try:
        chart.say(_title(options))
        with open_pusher(
            options, ssl_context=context, on_progress=seen.put, on_event=seen.put
        ) as client:
            _Examination(client, seen, arguments, chart).run(options)
        chart.finish(options)
    except BrokenPipeError:
        give_up_stdout()
    return chart.status


@dataclass
class _Step:
    """A line of the report."""

    step: str
    status: str
    seconds: float | None = None
    detail: str = ""
    advice: str = ""


class _Chart:
    """Records the steps. With `aloud` it prints each one when it ends."""

    def __init__(self, expected: Sequence[str], *, aloud: bool) -> None:
        self._expected = list(expected)
        self._width = max(map(len, expected))
        self._aloud = aloud
        self._paint = painter()
        self.steps: list[_Step] = []
        self.status = Exit.DONE

    def end(self, name: str, seconds: float, detail: str = "") -> None:
        """Record a step that has succeeded."""
        self._record(_Step(name, "ok", round(seconds, 6), printable(detail)))

    def skip(self, name: str, detail: str) -> None:
        """Record a step in which there is nothing to do."""
        self._record(_Step(name, "skipped", None, detail))

    def fail(self, name: str, seconds: float, detail: str, advice: str, status: Exit) -> None:
        """Record a step that has failed. The first failure decides the exit status."""
        self._record(_Step(name, "failed", round(seconds, 6), printable(detail), advice))
        self.status = self.status or status

    def leave_out(self, name: str) -> None:
        """Record a step that is not reached, because one before it has failed."""
        self._record(_Step(name, "not reached"))

    def say(self, text: str, colour: str = "") -> None:
        """Print a line, at a terminal as several that fit. The mark at its beginning has a colour."""
        if not self._aloud:
            return
        width = shutil.get_terminal_size().columns
        lines = [text]
        if sys.stdout.isatty() and len(text) > width:
            indent = _INDENT if text.startswith(" ") else ""
            begin = text[: len(text) - len(text.lstrip())]
            lines = click.wrap_text(text.lstrip(), width, begin, indent).splitlines()
        lines = [line.replace(_BOUND, " ") for line in lines]
        if colour:
            lines[0] = f"{lines[0][:2]}{self._paint(lines[0][2:8], colour)}{lines[0][8:]}"
        for line in lines:
            print_line(line)

    def finish(self, options: Options) -> None:
        """Report the steps that were not reached, and what the result means."""
        done = {step.step for step in self.steps}
        for name in self._expected:
            if name not in done:
                self.leave_out(name)
        if self.status == Exit.DONE:
            self.say("")
            for line in ALL_IS_WELL.splitlines():
                self.say(line)
        if not self._aloud:
            address = options.address()
            report = {
                "ok": self.status == Exit.DONE,
                "exit_status": int(self.status),
                "server": {"host": address.host, "port": address.port, "tls": address.tls},
                "key": options.key,
                "steps": [asdict(step) for step in self.steps],
            }
            print_line(json.dumps(report))

    def _record(self, step: _Step) -> None:
        self.steps.append(step)
        took = "" if step.seconds is None else f"{step.seconds * 1000:.1f} ms"
        took = f"{took:>10}".replace(" ", _BOUND)
        shown = step.detail or (step.status if step.status == "not reached" else "")
        text = f"  {_MARKS[step.status]:<6}  {step.step:<{self._width}}  {took}  {shown}"
        self.say(text.rstrip(), _COLOURS[step.status])
        if step.advice:
            self.say(f"{_INDENT}{step.advice}")


def _title(options: Options) -> str:
    scheme = "wss" if options.address().tls else "ws"
    return printable(f"{scheme}://{server_of(options)}, key {options.key}")


def _name(step: ConnectStep) -> str:
    return _TITLES.get(step, step.value)


def _steps(options: Options, channels: Sequence[str]) -> list[str]:
    connecting = [
        _name(step)
        for step in ConnectStep
        if step is not ConnectStep.PROXY or options.proxy is not None
    ]
    return [*connecting, *(step for each in channels for step in _steps_of(options, each))]


def _steps_of(options: Options, channel: str) -> list[str]:
    asks = kind_of(channel).needs_authorization and isinstance(options.auth, AuthEndpoint)
    return [*([f"auth endpoint, {channel}"] if asks else []), f"subscription, {channel}"]


class _Lost(Exception):
    """The connection, or the attempt, ended."""

    def __init__(self, event: ConnectionLost) -> None:
        super().__init__(event.reason)
        self.event = event


class _Examination:
    """Runs the steps with one client, which puts its progress and its events into `seen`."""

    def __init__(
        self,
        client: Client,
        seen: SimpleQueue[Progress | Event],
        arguments: Arguments,
        chart: _Chart,
    ) -> None:
        self._client = client
        self._seen = seen
        self._arguments = arguments
        self._chart = chart
        self._failed: Progress | None = None
        """The step of connecting that failed."""
        self._step = ""
        """The current step of a channel."""
        self._began = time.monotonic()

    def run(self, options: Options) -> None:
        """Connect, then subscribe to each channel in turn."""
        try:
            self._connect()
            for channel in dict.fromkeys(self._arguments.channels):
                self._subscribe(options, channel)
        except _Lost as lost:
            self._report_loss(lost.event)

    def _connect(self) -> None:
        chart = self._chart
        while True:
            item = self._next()
            match item:
                case Progress(state=ProgressState.ENDED):
                    chart.end(_name(item.step), item.seconds, item.detail)
                case Progress(state=ProgressState.SKIPPED):
                    chart.skip(_name(item.step), "not used")
                case Progress(state=ProgressState.FAILED):
                    self._failed = item
                case ConnectionEstablished():
                    return

    def _subscribe(self, options: Options, channel: str) -> None:
        """Subscribe, with an authorization of the auth endpoint where one is needed."""
        *asking, subscribing = _steps_of(options, channel)
        self._begin(asking[0] if asking else subscribing)
        handle = self._client.subscribe(channel)
        while True:
            item = self._next(_OFTEN if self._step in asking else None)
            authorized = handle.state in (ChannelState.SUBSCRIBING, ChannelState.SUBSCRIBED)
            if isinstance(item, SubscriptionFailed):  # the server may have refused it already
                authorized = not isinstance(item.error, AuthorizationError)
            if self._step in asking and authorized:
                self._chart.end(self._step, self._took, "an authorization for this channel")
                self._begin(subscribing)
            match item:
                case Subscribed():
                    self._chart.end(subscribing, self._took, _how(options, channel))
                    return
                case SubscriptionFailed():
                    self._refused(item, options)
                    if self._step != subscribing:
                        self._chart.leave_out(subscribing)
                    return

    def _begin(self, step: str) -> None:
        self._step, self._began = step, time.monotonic()

    @property
    def _took(self) -> float:
        return time.monotonic() - self._began

    @property
    def _is_late(self) -> bool:
        """Whether the time limit is over, with a small tolerance."""
        limit: float = self._arguments.timeout
        return self._took > 0.95 * limit

    def _next(self, patience: float | None = None) -> Progress | Event | None:
        """Return the next step or event; None after `patience` seconds. Raises `_Lost`."""
        try:
            item = self._seen.get(timeout=patience)
        except Empty:
            return None
        if isinstance(item, ConnectionLost):
            raise _Lost(item)
        return item

    def _report_loss(self, lost: ConnectionLost) -> None:
        failed = self._failed
        timed_out = lost.code is None and isinstance(lost.error, ConnectionEnded) and self._is_late
        step = None if failed is None else failed.step
        advice = about_connection(step, lost, self._arguments, timed_out=timed_out)
        status = Exit.TIMED_OUT if timed_out else Exit.TROUBLE
        if not lost.will_retry:
            status = Exit.APP_REFUSED
        name = self._step if failed is None else _name(failed.step)
        seconds = self._took if failed is None else failed.seconds
        self._chart.fail(name, seconds, what_happened(lost), advice, status)

    def _refused(self, event: SubscriptionFailed, options: Options) -> None:
        error = event.error
        # A refusal has the status of an answer.
        timed_out = self._is_late and getattr(error, "status", None) is None
        signed_here = isinstance(options.auth, OwnKey)
        channel = event.channel
        advice = about_channel(error, channel, signed_here=signed_here, timed_out=timed_out)
        detail = str(error)
        if isinstance(error, AuthorizationError) and error.body:
            detail += f"; its answer begins: {error.body}"
        status = Exit.TIMED_OUT if timed_out else Exit.CHANNEL_REFUSED
        self._chart.fail(self._step, self._took, detail, advice, status)


def _how(options: Options, channel: str) -> str:
    if kind_of(channel).needs_authorization and isinstance(options.auth, OwnKey):
        return "signed here with --secret"
    return ""
