"""`pusher-proto doctor`: why do I get no events?"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import anyio

from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    ChannelState,
    Options,
    OwnKey,
    Subscribed,
    SubscriptionFailed,
)
from pusher_proto.names import kind_of

from ._advice import ALL_IS_WELL, about_channel, about_connection, what_happened
from ._arguments import Arguments, Exit
from ._output import give_up_stdout, print_line, printable
from ._probe import Lost, Probe, Watch, way
from ._server import options_from, ssl_context_from
from ._terminal import painter

__all__ = ["run"]

_MARKS = {"ok": "ok", "failed": "FAILED", "skipped": "-", "not reached": "-"}
_COLOURS = {"ok": "green", "failed": "bold red", "skipped": "dim", "not reached": "dim"}


def run(arguments: Arguments) -> int:
    """Look at each step, and return the exit status. Raises `UsageError`."""
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
    try:
        chart.say(_title(options))
        status = anyio.run(_examine, options, context, arguments, chart)
        chart.finish(options, status)
    except BrokenPipeError:
        give_up_stdout()
        status = chart.status
    return status


@dataclass
class _Step:
    """A line of the report."""

    step: str
    status: str
    seconds: float | None = None
    detail: str = ""
    advice: str = ""


class _Chart(Watch):
    """Notes the steps, and prints each as soon as it is over when it is `aloud`."""

    def __init__(self, expected: Sequence[str], *, aloud: bool) -> None:
        self._expected = list(expected)
        self._width = max(map(len, expected))
        self._aloud = aloud
        self._paint = painter()
        self._began = 0.0
        self.step = ""
        self.steps: list[_Step] = []
        self.status = Exit.DONE

    def begin(self, name: str) -> None:
        """A step begins."""
        self.step, self._began = name, time.monotonic()

    def end(self, detail: str = "") -> None:
        """It has succeeded."""
        self._add("ok", detail)

    def skip(self, name: str, detail: str) -> None:
        """There is nothing to do in this step."""
        self._note(_Step(name, "skipped", None, detail))

    def fail(self, detail: str, advice: str, status: Exit) -> None:
        """It has failed; the first failure says with which status the command ends."""
        self._add("failed", detail, advice)
        self.status = self.status or status

    def leave_out(self, name: str) -> None:
        """A step is not reached, because one before it has failed."""
        self._note(_Step(name, "not reached"))

    def say(self, text: str) -> None:
        """Print a line."""
        if self._aloud:
            print_line(text)

    def finish(self, options: Options, status: int) -> None:
        """Report the steps that were not reached, and what the result means."""
        done = {step.step for step in self.steps}
        for name in self._expected:
            if name not in done:
                self.leave_out(name)
        if status == Exit.DONE:
            self.say(f"\n{ALL_IS_WELL}")
        if not self._aloud:
            address = options.address()
            report = {
                "ok": status == Exit.DONE,
                "exit_status": int(status),
                "server": {"host": address.host, "port": address.port, "tls": address.tls},
                "key": options.key,
                "steps": [asdict(step) for step in self.steps],
            }
            print_line(json.dumps(report))

    def _add(self, status: str, detail: str, advice: str = "") -> None:
        seconds = round(time.monotonic() - self._began, 6)
        self._note(_Step(self.step, status, seconds, printable(detail), advice))

    def _note(self, step: _Step) -> None:
        self.steps.append(step)
        mark = self._paint(f"{_MARKS[step.status]:<6}", _COLOURS[step.status])
        took = "" if step.seconds is None else f"{step.seconds * 1000:.1f} ms"
        shown = step.detail or (step.status if step.status == "not reached" else "")
        self.say(f"  {mark}  {step.step:<{self._width}}  {took:>10}  {shown}".rstrip())
        if step.advice:
            self.say(f"          {step.advice}")


def _title(options: Options) -> str:
    address = options.address()
    host = f"[{address.host}]" if ":" in address.host else address.host
    return printable(f"{'wss' if address.tls else 'ws'}://{host}:{address.port}, key {options.key}")


def _steps(options: Options, channels: Sequence[str]) -> list[str]:
    return [*way(options), *(step for channel in channels for step in _steps_of(options, channel))]


def _steps_of(options: Options, channel: str) -> list[str]:
    asks = kind_of(channel).needs_authorization and isinstance(options.auth, AuthEndpoint)
    return [*([f"auth endpoint, {channel}"] if asks else []), f"subscription, {channel}"]


async def _examine(
    options: Options, context: ssl.SSLContext | None, arguments: Arguments, chart: _Chart
) -> Exit:
    """Go step by step, and return the exit status."""
    async with anyio.create_task_group() as group:
        probe = Probe(options, context, chart, group)
        try:
            chart.end(f"socket id {await probe.connect()}")
            for channel in dict.fromkeys(arguments.channels):
                await _subscribe(probe, channel, chart)
        except Lost as lost:
            advice = about_connection(chart.step, lost, arguments)
            chart.fail(what_happened(lost), advice, _status(lost))
        await probe.close()
    return chart.status


def _status(lost: Lost) -> Exit:
    if not lost.loss.will_retry:
        return Exit.APP_REFUSED
    return Exit.TIMED_OUT if lost.timed_out else Exit.TROUBLE


async def _subscribe(probe: Probe, channel: str, chart: _Chart) -> None:
    """Subscribe, by way of the auth endpoint where that is to be asked."""
    session = probe.session
    *asking, subscribing = _steps_of(session.options, channel)
    chart.begin(asking[0] if asking else subscribing)
    probe.tell(session.subscribe, channel)
    while True:
        authorized = session.channel(channel).state in (
            ChannelState.SUBSCRIBING,
            ChannelState.SUBSCRIBED,
        )
        if asking and authorized and chart.step in asking:
            chart.end("an authorization for this channel")
            chart.begin(subscribing)
        for event in probe.take():
            match event:
                case Subscribed():
                    chart.end(_how(session.options, channel))
                    return
                case SubscriptionFailed():
                    _refused(event, probe, chart)
                    if chart.step != subscribing:
                        chart.leave_out(subscribing)
                    return
        await probe.changed()


def _refused(event: SubscriptionFailed, probe: Probe, chart: _Chart) -> None:
    error = event.error
    signed_here = isinstance(probe.session.options.auth, OwnKey)
    advice = about_channel(error, event.channel, signed_here=signed_here, timed_out=probe.timed_out)
    detail = str(error)
    if isinstance(error, AuthorizationError) and error.body:
        detail += f"; its answer begins: {error.body}"
    chart.fail(detail, advice, Exit.TIMED_OUT if probe.timed_out else Exit.CHANNEL_REFUSED)


def _how(options: Options, channel: str) -> str:
    if kind_of(channel).needs_authorization and isinstance(options.auth, OwnKey):
        return "signed here with --secret"
    return ""
