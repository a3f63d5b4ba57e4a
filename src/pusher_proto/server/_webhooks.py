"""Webhooks: events of channels, sent to back ends in signed batches, and again after failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ..signing import sign
from ._effects import ServerRequest
from ._frames import json_text
from ._limits import ServerLimits
from ._reports import Reports
from ._timers import Timers
from .apps import App

__all__ = ["SentWebhook", "Webhook", "WebhookKind", "Webhooks"]

WebhookKind: TypeAlias = Literal[
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
]
"""The kinds of webhook events, as Pusher names them."""

_FIRST_RETRY = 1.0
_LONGEST_RETRY = 60.0
_GIVE_UP = 300.0
"""Seconds after which a batch is given up, as at Pusher."""
_MOST_EVENTS = 50
"""Events of one batch."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One receiver of webhooks. Raises ValueError for an invalid URL or an unknown kind."""

    url: str
    """An http or https URL."""
    events: tuple[WebhookKind, ...] = ()
    """The kinds to send. Empty: all."""
    app: str | None = None
    """The key of the app. None: all apps."""
    delay: float = 0.1
    """Seconds in which events are collected into one batch."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"a webhook has an http or https URL, not {self.url!r}")
        for kind in self.events:
            if kind not in get_args(WebhookKind):
                known = ", ".join(get_args(WebhookKind))
                raise ValueError(f"no webhook event {kind!r}: there are {known}")


class SentWebhook(NamedTuple):
    """One event of a webhook that the server has sent, or is about to send."""

    app: str
    """The key of the app."""
    name: str
    """Its kind."""
    channel: str
    """The channel that it is about."""
    fields: dict[str, Any]
    """The whole event in the form in which it is sent."""


@dataclass
class _Batch:
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    since: float
    attempts: int = 0


@dataclass
class _Queue:
    webhook: Webhook
    app: App
    events: list[dict[str, Any]] = field(default_factory=list)


class Webhooks:
    """Collects events into batches and sends them until the receiver accepts them."""

    def __init__(
        self,
        webhooks: Sequence[Webhook],
        timers: Timers,
        emit: Callable[[ServerRequest], None],
        reports: Reports,
        limits: ServerLimits,
        wall_clock: Callable[[], float] | None,
    ) -> None:
        self.sent: deque[SentWebhook] = deque(maxlen=limits.log)
        self._webhooks = webhooks
        self._timers = timers
        self._emit = emit
        self._reports = reports
        self._limits = limits
        self._wall_clock = wall_clock
        self._queues: dict[tuple[int, str], _Queue] = {}
        self._batches: dict[int, _Batch] = {}
        self._count = 0

    def happened(self, app: App, event: dict[str, Any], now: float) -> None:
        """Add an event of an app; `name` in it is its kind."""
        wanted = False
        for index, webhook in enumerate(self._webhooks):
            if webhook.app not in (None, app.key):
                continue
            if webhook.events and event["name"] not in webhook.events:
                continue
            wanted = True
            key = (index, app.key)
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue(webhook, app)
                due = now + webhook.delay
                self._timers.set(("webhook", key), due, partial(self._flush, key))
            queue.app = app
            queue.events.append(event)
            if len(queue.events) >= _MOST_EVENTS:
                self._timers.cancel(("webhook", key))
                self._flush(key, now)
        if wanted:
            self.sent.append(SentWebhook(app.key, event["name"], event["channel"], event))

    def answered(self, request: int, status: int | None, now: float) -> None:
        """Process the status of the answer to a request, or None if there was none."""
        batch = self._batches.get(request)
        if batch is None:
            return
        if status is not None and 200 <= status <= 299:
            del self._batches[request]
            return
        said = "no answer" if status is None else f"status {status}"
        delay = min(_FIRST_RETRY * 2.0 ** (batch.attempts - 1), _LONGEST_RETRY)
        again = now + delay < batch.since + _GIVE_UP
        what = f"next attempt in {delay:g} s" if again else "given up"
        self._reports.refusal(
            "webhook failed",
            f"webhook {batch.url}: {said}; {what}",
            now,
            url=batch.url,
            status=status,
        )
        if again:
            self._timers.set(("request", request), now + delay, partial(self._send, request))
        else:
            del self._batches[request]

    def _flush(self, key: tuple[int, str], now: float) -> None:
        queue = self._queues.pop(key)
        seconds = now if self._wall_clock is None else self._wall_clock()
        text = json_text({"time_ms": int(seconds * 1000), "events": queue.events})
        headers = (
            ("Content-Type", "application/json"),
            ("X-Pusher-Key", queue.app.key),
            ("X-Pusher-Signature", sign(queue.app.secret, text)),
        )
        self._count += 1
        while len(self._batches) >= self._limits.webhooks:
            oldest = next(iter(self._batches))
            self._timers.cancel(("request", oldest))
            del self._batches[oldest]
        self._batches[self._count] = _Batch(queue.webhook.url, text.encode(), headers, now)
        self._send(self._count, now)

    def _send(self, request: int, now: float) -> None:  # noqa: ARG002 - called by a timer too
        batch = self._batches[request]
        batch.attempts += 1
        self._emit(ServerRequest(0, request, batch.url, batch.headers, batch.body))
