"""The session: the interface of the core for drivers.

A driver calls an input for each thing that happens, carries out each effect, delivers the events, and calls
`handle_timeout` at `next_deadline`. This is the contract; the tests check each line of it as a property:

1.  Drain. After any input call `next_effect` until it returns None, then read `next_deadline` again.
2.  One answer. Every OpenTransport ends exactly once: by `transport_failed`, or by `transport_opened` and later one
    `transport_closed`; no effect is about it afterwards. A StartTls is answered by `tls_started` or by that end. Every
    Authorize and CallApplication gets exactly one answer, even after a CancelCall.
3.  Late is harmless. Answers for finished or unknown numbers are ignored; numbers are never reused.
4.  Order. Effects of one transport are carried out in order; a close without `abort` follows all queued data.
5.  Time. `now` is monotonic seconds; a smaller value than before is replaced by the largest one so far. Only
    `handle_timeout` fires timers: all that are due, in the order of their deadlines; then no deadline is `<= now`.
6.  Bytes split anywhere. How received data is split into calls changes no event and no effect.
7.  Peers cannot raise. Nothing that a server sends makes an input raise. Wrong local use raises, and changes nothing.
8.  Bounded. Messages, HTTP heads and bodies, bytes of waiting messages, channels, members, requests for
    authorizations, calls of the application: each has a limit in Options.
9.  Reading pauses, pings do not. `wants_data` of the WebSocket becomes False when `receive_buffer` bytes of messages
    wait, and True when half of them are left. While it is False, pings are sent, and the deadlines of the server's
    answers are suspended: pong, subscribe, sign-in. Auth transports always want data.
10. An authorization belongs to one socket_id. The loss of the connection drops all pending requests.
11. Closed is the end. After `Closed` there are no effects and no deadline, and inputs do nothing.
12. Deterministic. The same options, rng and inputs give the same effects (decoded frames) and events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from ._auth.requests import AuthRequests
from ._base.backoff import FreshRandom, Rng
from ._base.timers import Timer, Timers
from ._channels.catching_up import CatchUps
from ._channels.channel import ChannelSnapshot
from ._channels.client_events import ClientEvents
from ._channels.error_attribution import suspicion
from ._channels.subscribing import Subscribing
from ._channels.subscriptions import Subscriptions
from ._channels.user import User, UserSnapshot
from ._connection.connector import Connector
from ._connection.ledger import PingCounts
from ._connection.reports import Reports
from ._session.dispatch import Dispatch
from ._session.event_queue import EventQueue
from ._session.parts import Parts, fire
from ._session.receive_buffer import ReceiveBuffer
from ._transports.transports import Transports
from .auth import Auth, AuthRequest, AuthResponse
from .effects import Effect
from .errors import AuthorizationError, ConnectionFailed
from .events import ConnectionState, Event, Message, size_of
from .gaps import CatchUp
from .options import DecryptedText, Options
from .outbox import Outbox
from .states import ChannelState, Watcher
from .stats import Stats

__all__ = ["PingCounts", "Session"]


class Session:
    """One client of one app, across all its connections. The docstring of this module has the contract."""

    def __init__(
        self,
        options: Options,
        *,
        rng: random.Random | None = None,
        authorize_many: bool = False,
        messages: bool = False,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        """`rng` draws delays and masks. `authorize_many` is whether the application answers several requests at once,
        `messages` whether connections to the server carry whole messages instead of bytes (`OpenMessages`).
        `wall_clock` returns seconds since the epoch, for `Gap.since`.
        """
        self.options: Options = options
        draws: Rng = rng if rng is not None else FreshRandom()
        self._now = float("-inf")
        self._timers = Timers()
        self._transports = Transports(self._timers, options.close_timeout, options.parsed_proxy())
        self.events: EventQueue = EventQueue(options.receive_buffer, self._recount_buffer)
        """The queue of `next_event`. Code that takes events from its left end directly reports that to `took`."""
        self._auth_requests = AuthRequests(
            options, self._timers, draws, self._transports, self._answer, many=authorize_many
        )
        self._connector = connector = Connector(
            options,
            self._timers,
            self._transports,
            draws,
            Reports(self.events.emit, self._established, self._lost, self._authorizing),
            messages=messages,
        )
        self.watch: Callable[[Watcher], None] = connector.watch
        """Call a function at each change of the state."""
        self._catch_ups = catch_ups = CatchUps(
            options,
            self._timers,
            draws,
            self.events,
            self._transports.effects.append,
            self._auth_requests.new_number,
        )
        catch_ups.wall_clock = wall_clock
        self.buffer: ReceiveBuffer = ReceiveBuffer(
            self.events, connector, options.receive_buffer, catch_ups.reading_paused
        )
        shared = options, self._timers, draws, self._auth_requests, connector
        self._user = User(*shared, self._sign_in_settled)
        subscribing = Subscribing(*shared, self._user)
        self.client_events: ClientEvents = ClientEvents(
            options, self._timers, connector, self._channel_state
        )
        """The client events, for `flush` of the client."""
        self._subscriptions = Subscriptions(
            options, self._timers, connector, self._user, subscribing, self.client_events
        )
        self._dispatch = Dispatch(
            self.events, connector, self._subscriptions, self._user, catch_ups
        )
        connector.link_received = self._dispatch.dispatch
        self._parts = Parts(
            self._transports, connector, self._auth_requests, self._subscriptions, self._user,
            self.client_events, catch_ups,
        )  # fmt: skip

    # Commands of the application.

    def connect(self, *, now: float) -> None:
        """Start an attempt to connect, even during the delay before one, after a final failure, or after `disconnect`.

        It starts now, or a second after the last one if the application started that one, too: so a handler that
        connects at each failure does not flood the server.
        """
        self._advance_clock(now)
        self._connector.connect(self._now)

    def disconnect(self, *, now: float) -> None:
        """Close the connection, or cancel the attempts. Subscriptions are kept for the next `connect`."""
        self._advance_clock(now)
        self._connector.disconnect(self._now)

    def reconnect(self, *, now: float) -> None:
        """Close the connection and open another at once.

        With `Options.several_nodes` unsubscribe from all channels first, and wait up to a second for the server.
        """
        self._advance_clock(now)
        if self._connector.ending:
            return
        if self.options.several_nodes and self._subscriptions.leave_all(self._now):
            return
        self._parts.reconnect(self._now)

    def close(self, *, now: float) -> None:
        """Close the session permanently. `Closed` is emitted within `close_timeout` seconds."""
        self._advance_clock(now)
        if not self._connector.ending:
            self._connector.close(self._now)
            self.client_events.closed()
            self._auth_requests.close(self._now)
            self._catch_ups.close()
            self._connector.finish_closing()

    def subscribe(
        self,
        channel: str,
        *,
        auth: Auth | None = None,
        decrypted_text: DecryptedText | None = None,
        catch_up: CatchUp | None = None,
        now: float,
    ) -> None:
        """Subscribe to a channel on this connection and all later ones, until `unsubscribe`.

        `auth` and `decrypted_text` override those of the options for this channel; `catch_up` fetches missed events.
        Raises `InvalidName`, or `LocalProtocolError` past `Options.max_channels`.
        """
        self._advance_clock(now)
        if not self._connector.ending:
            self._subscriptions.subscribe(channel, auth, decrypted_text, self._now)
            if catch_up is not None:
                self._catch_ups.begin(self._subscriptions.channels[channel], catch_up, self._now)

    def unsubscribe(self, channel: str, *, now: float) -> None:
        """Unsubscribe from a channel, on this connection and on all later ones."""
        self._advance_clock(now)
        if not self._connector.ending:
            self._catch_ups.end(channel, self._connector.received_at(self._now), self._now)
            self._subscriptions.unsubscribe(channel, self._now)
            self.client_events.left(channel, self._now)

    def refresh_members(self, channel: str, *, now: float) -> None:
        """Unsubscribe from a presence channel and subscribe to it again, to get a new list of members.

        The differences are emitted. Events between the two are missed; `Subscribed.offline_for` is the duration of this
        gap. Raises `UnsupportedFeature` for another kind of channel, or `NotSubscribed`.
        """
        self._advance_clock(now)
        if not self._connector.ending:
            self._subscriptions.refresh_members(channel, self._now)

    def trigger(
        self, channel: str, event: str, data: Any, queue: Outbox | None = None, *, now: float
    ) -> None:
        """Send a client event. With `queue` it waits until the channel is subscribed and the rate allows it.

        Raises `InvalidName`, `UnsupportedFeature` for a kind of channel without client events, `NotSubscribed`,
        `OutboxFull`, `RateLimited`, and `LocalProtocolError` for data that is too large or not JSON. Then the event is
        neither sent nor queued.
        """
        self._advance_clock(now)
        if not self._connector.ending:
            self.client_events.trigger(self.channel(channel), event, data, queue, self._now)

    def send_event(self, event: str, data: Any, channel: str | None = None, *, now: float) -> None:
        """Send any message, for extensions of servers.

        Raises `InvalidName`, `NotConnected`, `OutboxFull`, `RateLimited`, and `LocalProtocolError` for data that is too
        large or not JSON, and for messages that only the session may send. Then nothing is sent.
        """
        self._advance_clock(now)
        if not self._connector.ending:
            self.client_events.send(event, data, channel, self._now)

    def signin(self, *, now: float) -> None:
        """Sign the user in, on this connection and on all later ones."""
        self._advance_clock(now)
        if not self._connector.ending:
            self._user.signin(self._now)

    def signout(self, *, now: float) -> None:
        """Sign the user out. A connection on which the sign-in was sent is replaced by a new one."""
        self._advance_clock(now)
        if not self._connector.ending and self._user.signout(self._now):
            self._parts.reconnect(self._now)

    def ping(self, *, now: float) -> None:
        """Send a ping now: for programs that notice a change of the network."""
        self._advance_clock(now)
        self._connector.ping(self._now, demanded=True)

    # Reports of the driver.

    def transport_opened(self, transport: int, *, now: float) -> None:
        """Report that a stream is open, with TLS if the effect asks for it."""
        self._advance_clock(now)
        self._transports.transport_opened(transport)

    def tls_started(self, transport: int, *, now: float) -> None:
        """Report that a StartTls was carried out."""
        self._advance_clock(now)
        self._transports.tls_started(transport)

    def transport_failed(self, transport: int, error: BaseException | str, *, now: float) -> None:
        """Report that a stream could not be opened. `error` is `ConnectionUnsafe` for an invalid certificate."""
        self.transport_closed(transport, error, now=now)

    def transport_closed(
        self, transport: int, error: BaseException | str | None = None, *, now: float
    ) -> None:
        """Report that a stream ended: closed by the peer (`error` None), by an error, or by `CloseTransport`."""
        self._advance_clock(now)
        self._transports.transport_closed(transport, error, self._now)
        self._connector.finish_closing()

    def receive_data(self, transport: int, data: bytes, *, now: float) -> None:
        """Process received bytes. The effects include the answers to pings."""
        self._advance_clock(now)
        self._transports.receive_data(transport, data, self._now)
        self.events.bytes += len(data)
        if self._connector.compressed:
            self.events.bytes += self._connector.take_inflated()
        self.events.check()

    def receive_message(self, transport: int, message: str | bytes, *, now: float) -> None:
        """Process a message received on an `OpenMessages`: text, or the bytes of a binary message."""
        self._advance_clock(now)
        self.events.bytes += self._transports.receive_message(transport, message, self._now)
        self.events.check()

    def data_sent(self, transport: int, size: int, *, now: float) -> None:
        """Report that `size` bytes of SendData were written; they no longer count towards `Options.outbox_limit`."""
        self._advance_clock(now)
        self._transports.data_sent(transport, size)

    def authorized(self, request: int, authorization: object, *, now: float) -> None:
        """Process the `AuthResponse` with which the application answered an Authorize."""
        self._advance_clock(now)
        self._auth_requests.call_ended(request, authorization, self._now)

    def authorization_failed(self, request: int, error: BaseException, *, now: float) -> None:
        """Process the exception that the application's authorizer raised."""
        self._advance_clock(now)
        self._auth_requests.call_ended(request, error, self._now)

    def call_ended(self, request: int, result: object, *, now: float) -> None:
        """Process the result of the function of a `CallApplication`, or the exception that it raised."""
        self._advance_clock(now)
        self._auth_requests.call_ended(request, result, self._now)
        self._catch_ups.call_ended(request, result, self._now)

    def handle_timeout(self, *, now: float) -> None:
        """Fire all timers that are due, in the order of their deadlines. Does nothing when none is due."""
        self._advance_clock(now)
        while (due := self._timers.pop_due(self._now)) is not None:
            fire(self._parts, *due, self._now)
            self._connector.finish_closing()

    def report_messages(self, wanted: type[Message] | None) -> None:
        """Set which `Message` events to emit: those of this class, or none. Those of each message cost time."""
        self._connector.wants_texts = wanted

    def use(self, options: Options) -> None:
        """Use the server, proxy and `auth` of other options from the next connection on. Limits and times are kept."""
        self.options = options
        self._transports.use(options.parsed_proxy())
        self._connector.use(options)
        self._auth_requests.use(options)

    def hold(self, size: int, *, now: float) -> None:
        """Report that consumers hold `size` bytes of taken events: they count towards `Options.receive_buffer`."""
        self._advance_clock(now)
        self.buffer.hold(size, self._now)

    def call_again(self, at: float) -> None:
        """Set a deadline not later than `at`, because the client has to check its consumers then."""
        planned = self._timers.at(Timer.LOOK)
        if not self._connector.closed and (planned is None or at < planned):
            self._timers.set(Timer.LOOK, at)

    # Outputs. Call `next_effect` and `next_event` until they return None.

    def next_effect(self) -> Effect | None:
        """Return the next effect for the driver to carry out, or None."""
        return self._transports.effects.next()

    def next_event(self, *, now: float | None = None) -> Event | None:
        """Return the next event for the application, or None.

        If that ends a pause of reading, the pause is measured up to `now`, or without `now` up to the last input.
        """
        if not self.events:
            return None
        if now is not None:
            self._advance_clock(now)
        event = self.events.popleft()
        self.took(1, size_of(event) if self.buffer.full else 0)
        return event

    def took(self, count: int, size: int | None = None) -> None:
        """Report that `count` events were taken from the left end of `events`; `size` is their total size, if known."""
        self.events.alike = max(0, self.events.alike - count)
        if count and self.buffer.full:
            self.buffer.took(size, self._now)

    # Queries.

    def next_deadline(self) -> float | None:
        """Return when to call `handle_timeout`, on the clock of `now`, or None."""
        return self._timers.next()

    def wants_data(self, transport: int) -> bool:
        """Return whether the driver should read from this stream now."""
        return self._connector.wants_data(transport)

    @property
    def state(self) -> ConnectionState:
        """The state of the connection."""
        return self._connector.public_state

    @property
    def socket_id(self) -> str | None:
        """The socket id of the current connection, or None."""
        return self._connector.socket_id

    @property
    def pings(self) -> PingCounts:
        """The number of the current connection, and how many pings were sent and answered on it."""
        ledger = self._connector.ledger
        return PingCounts(self._connector.connections, ledger.pings, ledger.pongs)

    @property
    def waiting_events(self) -> int:
        """How many client events wait for `Options.client_event_rate` or for the subscription of their channel."""
        return self.client_events.waiting

    @property
    def disconnected(self) -> bool:
        """Whether `disconnect` or `close` was called, and the connection and its transport have ended."""
        return self._connector.disconnected

    @property
    def closed(self) -> bool:
        """Whether the session is closed, and `Closed` was emitted."""
        return self._connector.closed

    @property
    def failure(self) -> ConnectionFailed | None:
        """Why the state is FAILED, or None."""
        return self._connector.failure

    @property
    def unplaced_error(self) -> str:
        """An addition to the message of a timeout: an error of the server that may be about the request, or ""."""
        return suspicion(self._connector.ledger.unplaced)

    @property
    def last_loss(self) -> str:
        """Why the last connection or attempt ended; "" before the first end."""
        return self._connector.last_loss

    @property
    def last_error(self) -> BaseException | None:
        """Why there is no connection: an error of the system, `ConnectionEnded` or `ConnectionFailed`; else None."""
        return self._connector.last_error

    @property
    def retry_at(self) -> float | None:
        """When the next attempt starts, or None."""
        return self._timers.at(Timer.RETRY)

    @property
    def stats(self) -> Stats:
        """Counts since the session was created."""
        return self._parts.stats(self._dispatch.messages, self.events.violations, self._now)

    @property
    def hanging_calls(self) -> str:
        """A message about calls of the application's functions that did not return in time, or ""."""
        return self._parts.hanging_text(self._now)

    @property
    def user(self) -> UserSnapshot:
        """The current state of the user."""
        return self._user.snapshot()

    @property
    def wants_user(self) -> bool:
        """Whether `signin` was called."""
        return self._user.wanted

    @property
    def user_reachable(self) -> bool:
        """Whether the user is signed in and receives messages. The server confirms that, within a second or never."""
        return self._user.reachable

    def channel(self, name: str) -> ChannelSnapshot:
        """Return the current state of a channel, subscribed or not."""
        return self._subscriptions.snapshot(name)

    def channels(self) -> tuple[str, ...]:
        """Return the names of subscribed, pending and unsubscribing channels, in the order of `subscribe`."""
        return tuple(self._subscriptions.channels)

    # Reports of the parts.

    def _established(self, now: float) -> None:
        self.buffer.established(now)
        self._user.established(now)
        self._subscriptions.established(now)

    def _sign_in_settled(self, now: float) -> None:
        """Continue with presence channels that wait for the sign-in, after it succeeded or failed."""
        self._subscriptions.user_settled(now)

    def _lost(self, now: float, received_at: float) -> None:
        self.client_events.lost()
        self._user.lost()
        self._catch_ups.connection_lost()
        self._subscriptions.lost(now, received_at)

    def _authorizing(self) -> bool:
        """Return whether an authorization is pending, or has failed and will be requested again."""
        return self._user.authorizing or self._subscriptions.authorizing

    def _advance_clock(self, now: float) -> None:
        if now > self._now:
            self._now = now

    def _recount_buffer(self) -> None:
        self.buffer.recount(self._now)

    def _channel_state(self, name: str) -> ChannelState:
        return self.channel(name).state

    def _answer(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        owner = self._user if details.channel is None else self._subscriptions
        owner.authorized(details, result, now)
