"""The controls of the server: publish, break connections, refuse requests, inspect the state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import get_args

import msgspec

from ._connection import Connection
from ._dialect import Manner
from ._faults import Answers, AuthAnswer, ChannelRefusal, Refusal, Shape
from ._frames import Json, json_text, parse_json
from ._guests import Guests
from ._http import HttpResponse
from ._names import USER_CHANNEL, Kind
from ._reports import Report
from ._webhooks import SentWebhook
from .apps import App

__all__ = ["Controls"]


class Controls(Guests):
    """The controls of the machine.

    After a control, pull the effects as after any other call. `app` is the key of an app, by default of the first one.
    A control with wrong arguments raises and changes nothing.
    """

    # ---- publishing

    def publish(
        self,
        channels: str | Iterable[str],
        event: str,
        data: object,
        *,
        app: str | None = None,
        exclude_socket_id: str | None = None,
        now: float,
    ) -> int:
        """Publish an event as the HTTP API does; return the number of sockets that it was sent to.

        `data` is text, which is not changed, or any JSON value. On an encrypted channel it is encrypted. Raises
        LocalProtocolError without a master key, TypeError for data that cannot be JSON.
        """
        now = self._advance(now)
        realm = self._realm(app)
        text = data if isinstance(data, str) else json_text(data)
        names = [channels] if isinstance(channels, str) else list(channels)
        ready = [
            (
                name,
                realm.encrypt(name, text) if self._dialect.kind(name) is Kind.ENCRYPTED else text,
            )
            for name in names
        ]
        count = sum(
            self._publish(realm, name, event, each, exclude_socket_id, now) for name, each in ready
        )
        self._settle(now)
        return count

    def send_to_user(
        self, user_id: str, event: str, data: object, *, app: str | None = None, now: float
    ) -> int:
        """Send an event to a signed-in user; return the number of sockets that it was sent to."""
        return self.publish(USER_CHANNEL + user_id, event, data, app=app, now=now)

    def terminate_user(self, user_id: str, *, app: str | None = None, now: float) -> None:
        """Close all connections that are signed in as a user, with 4009."""
        now = self._advance(now)
        for socket in self._realm(app).sockets_of(user_id):
            self._finish(socket.connection, self._dialect.terminated, now)
        self._settle(now)

    # ---- breaking connections

    def drop(
        self,
        code: int | None = None,
        reason: str = "",
        connection: int | None = None,
        *,
        error_event: bool = False,
        close_frame: bool = True,
        now: float,
    ) -> None:
        """End one connection, or all WebSockets.

        Without a code the connection is aborted. With one, a close frame has it, or with `close_frame=False` the stream
        ends without one. `error_event` sends a `pusher:error` with code and reason first: without a close frame, this
        is how Reverb ends connections.
        """
        _check_close(code, reason)
        now = self._advance(now)
        chosen = self._chosen(connection)
        for each in chosen:
            if error_event:
                each.send_text(self._dialect.error(code, reason), force=True)
            if code is None:
                each.end(abort=not error_event)
            elif close_frame:
                each.close(code, reason)
            else:
                each.end(abort=False)
        # Only now, so that dropped clients are not notified of one another.
        for each in chosen:
            self._forget(each, now)
            self._await_end(each, now)
        self._settle(now)

    def shut_down(self, *, now: float) -> None:
        """End all WebSockets as the dialect does when the server stops, and answer new ones with 503 until `allow`."""
        now = self._advance(now)
        for each in self._chosen(None):
            self._finish(each, self._dialect.shut_down, now)
        self._faults.shutting_down = True
        self._faults.refusal = Refusal(response=_response(503, "Server is shutting down", {}))
        self._settle(now)

    def mute(self, connection: int | None = None, *, now: float) -> None:
        """Send nothing to one connection, or to all present and future ones.

        Messages of the client are still read and are in `received`, but have no effect.
        """
        self._advance(now)
        chosen = self._chosen(connection, with_http=True)
        if connection is None:
            self._faults.mute_all = True
        for each in chosen:
            each.silent = True

    def unmute(self, connection: int | None = None, *, now: float) -> None:
        """Answer again. Requests and events of the muted time are lost."""
        now = self._advance(now)
        chosen = self._chosen(connection, with_http=True)
        if connection is None:
            self._faults.mute_all = False
        for each in chosen:
            each.silent = False
            self._await_end(each, now)

    def send_raw(self, connection: int | None, data: str | bytes, *, now: float) -> None:
        """Send text as a message, or raw bytes, to one connection or all WebSockets."""
        now = self._advance(now)
        for each in self._chosen(connection):
            if isinstance(data, str):
                each.send_text(data, force=True)
            else:
                each.send_bytes(data)
        self._settle(now)

    # ---- refusing

    def refuse(
        self,
        *,
        code: int | None = None,
        status: int | None = None,
        reason: str = "",
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        close_frame: bool = True,
        times: int | None = None,
        now: float,
    ) -> None:
        """Refuse the next `times` WebSockets, or all until `allow`.

        With `status`, the upgrade is answered with it. With `code`, it is accepted, and a `pusher:error` and a close
        frame follow (with `close_frame=False` the end of the stream). With neither, it is aborted.
        """
        if code is not None and status is not None:
            raise ValueError("give a code or a status, not both")
        _check_close(code, reason)
        response = None
        if status is not None:
            fields = dict(headers or {})
            if retry_after is not None:
                fields["Retry-After"] = str(retry_after)
            response = _response(status, reason, fields)
        self._advance(now)
        self._faults.refusal = Refusal(
            times,
            response=response,
            code=code,
            reason=reason,
            manner=Manner.CLOSE if close_frame else Manner.END,
        )

    def allow(self, *, now: float) -> None:
        """Undo `refuse` and `shut_down`."""
        self._advance(now)
        self._faults.shutting_down = False
        self._faults.refusal = None

    def refuse_channel(
        self,
        channel: str,
        *,
        shape: Shape = "pusher",
        code: int | None = None,
        message: str | None = None,
        times: int | None = None,
        now: float,
    ) -> None:
        """Refuse the next `times` subscriptions to a channel, or all until `allow_channel`.

        The shapes: "pusher", a `pusher:error` that names the channel only in its text; "error", one
        with a channel; "soketi", a `pusher:subscription_error` with `code` as its status; "internal",
        a `pusher_internal:subscription_error`; "silent", no answer.
        """
        if shape not in get_args(Shape):
            raise ValueError(f"a shape is one of {', '.join(get_args(Shape))}, not {shape!r}")
        self._advance(now)
        self._faults.channels[channel] = ChannelRefusal(
            times, shape=shape, code=code, message=message
        )

    def allow_channel(self, channel: str, *, now: float) -> None:
        """Undo `refuse_channel`."""
        self._advance(now)
        self._faults.channels.pop(channel, None)

    def delay(self, seconds: float, what: Answers = "all", *, now: float) -> None:
        """Delay answers of a kind by `seconds`, from now on; 0 ends the delay.

        A delayed subscribe takes effect when it is answered, as on a server that first asks a database.
        """
        if what not in get_args(Answers):
            raise ValueError(
                f"a kind of answer is one of {', '.join(get_args(Answers))}, not {what!r}"
            )
        self._advance(now)
        self._faults.delays[what] = seconds
        if what == "all":
            self._faults.delays = {"all": seconds}

    def auth_answer(
        self,
        status: int | None = None,
        body: object = "",
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
        now: float,
    ) -> None:
        """Make the auth endpoint give this answer `times` times, or until a call without a status.

        `body` is text or bytes, which are not changed, or any JSON value.
        """
        self._advance(now)
        self._faults.auth_answer = (
            None
            if status is None
            else AuthAnswer(times, response=_response(status, body, dict(headers or {})))
        )

    def rotate_key(
        self, encryption_master_key: bytes | None, *, app: str | None = None, now: float
    ) -> None:
        """Change the master key: authorizations and events of encrypted channels have new keys from now on."""
        self._advance(now)
        realm = self._realm(app)
        realm.app = replace(realm.app, encryption_master_key=encryption_master_key)

    def rotate_secret(self, secret: str, *, app: str | None = None, now: float) -> None:
        """Change the secret of the signatures of authorizations and publishers."""
        self._advance(now)
        realm = self._realm(app)
        realm.app = replace(realm.app, secret=secret)

    def reset(self, *, drop: bool = False, now: float) -> None:
        """Undo all faults, remove all members added by `join`, and clear `received`, `published`,
        `webhooks` and `auth_requests`.

        With `drop`, all WebSockets end as well, with 4200.
        """
        now = self._advance(now)
        for each in self._chosen(None, with_http=True):
            each.silent = False
            self._await_end(each, now)
        self._faults.reset()
        for guest in list(self._guests.values()):
            guest.realm.leave(guest, now)
        self._guests.clear()
        for log in (self.received, self.published, self.auth_requests, self.webhooks):
            log.clear()
        if drop:
            self.drop(4200, "reset", now=now)
        self._settle(now)

    # ---- state

    @property
    def webhooks(self) -> deque[SentWebhook]:
        """Events of webhooks, the newest last; empty if the server has none."""
        return self._no_webhooks if self._webhooks is None else self._webhooks.sent

    @property
    def observers(self) -> list[Callable[[Report], object]]:
        """Functions that are called with each report."""
        return self._reports.observers

    @property
    def app(self) -> App:
        """The first app, with its current settings."""
        return self._realm(None).app

    @property
    def connections(self) -> dict[int, str]:
        """The open WebSockets: the caller's number and the socket id of each."""
        return {connection.number: socket.id for connection, socket in self._sockets.items()}

    def channels(self, *, app: str | None = None) -> list[str]:
        """Return the channels with subscribers."""
        return list(self._realm(app).channels)

    def subscriptions(self, channel: str, *, app: str | None = None) -> set[str]:
        """Return the ids of the sockets that are subscribed to a channel."""
        there = self._realm(app).channels.get(channel)
        return {socket.id for socket in there.subscribers} if there else set()

    def members(self, channel: str, *, app: str | None = None) -> dict[str, Json]:
        """Return the members of a presence channel with their info."""
        there = self._realm(app).channels.get(channel)
        return {
            user_id: None if member.info is msgspec.UNSET else _value(member.info)
            for user_id, member in (there.members.items() if there else ())
        }

    def users(self, *, app: str | None = None) -> dict[str, set[str]]:
        """Return the signed-in users and the socket ids of each."""
        return self._realm(app).users.online()

    # ---- helpers

    def _chosen(self, connection: int | None, *, with_http: bool = False) -> list[Connection]:
        if connection is not None:
            return [self._known(connection)]
        return [each for each in self._connections.values() if with_http or each.is_websocket]


def _value(raw: msgspec.Raw) -> Json:
    value = parse_json(raw)
    return None if value is msgspec.UNSET else value


def _check_close(code: int | None, reason: str) -> None:
    if code is not None and not 1000 <= code <= 4999:
        raise ValueError(f"a close code is between 1000 and 4999, not {code}")
    if len(reason.encode()) > 123:
        raise ValueError("the reason does not fit into a close frame of 125 bytes")


def _response(status: int, body: object, headers: dict[str, str]) -> HttpResponse:
    content = body if isinstance(body, bytes) else b""
    if isinstance(body, str):
        content = body.encode()
    elif not isinstance(body, bytes):
        content = json_text(body).encode()
        headers.setdefault("Content-Type", "application/json")
    response = HttpResponse(status, content, tuple(headers.items()))
    response.head()  # raises here, not later in the connection
    return response
