"""The controls of a running server: the methods of `Server`, without `now`."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..auth import AuthEndpoint, OwnKey
from ..options import Options
from ..server._auth_endpoint import AuthRequest
from ..server._faults import Answers, Shape
from ..server._server import Server
from ..server._webhooks import SentWebhook
from ..server._world import PublishedEvent, ReceivedMessage
from ..server.apps import App

__all__ = ["Controls"]

R = TypeVar("R")


class Controls(ABC):
    """The controls of a running server. `pusher_proto.testing.Server` documents them in detail."""

    server: Server
    """The machine. Use its controls through this object, which carries out their effects."""
    host: str
    """The host or address of the server."""
    port: int
    """The port of the server."""
    tls: bool
    """Whether it serves TLS."""

    @abstractmethod
    def do(self, action: Callable[[Server, float], R]) -> R:
        """Call `action(server, now)` where the server runs, carry out its effects, and return its result."""

    # For clients of this server

    def options(
        self,
        app: App | None = None,
        *,
        auth_endpoint: bool = False,
        user: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Options:
        """Return options for clients of this server, and of its first app unless another is given.

        Authorizations are signed with the app's secret, or with `auth_endpoint` requested from the server's own
        endpoint. `user`, such as `{"id": "7", "user_info": {...}}`, is the user and the presence member of
        authorizations that are signed here. `more` is for `Options` and wins.
        """
        if app is None:
            app = self.server.app
        if auth_endpoint:
            more.setdefault("auth", AuthEndpoint(self.auth_url, user_url=self.user_auth_url))
        else:
            more.setdefault("auth", _own_key(app, user))
        where: dict[str, Any] = {"host": self.host, "port": self.port, "tls": self.tls}
        return Options(**(where | {"key": app.key} | more))

    @property
    def env(self) -> dict[str, str]:
        """The environment variables of this server and its first app, for `Options.from_env` and for other programs.

        They are Laravel's PUSHER_* for back ends, PUSHER_AUTH_URL and PUSHER_USER_AUTH_URL, and, if the app has a
        master key, PUSHER_APP_ENCRYPTION_MASTER_KEY.
        """
        app = self.server.app
        found = {
            "PUSHER_APP_ID": app.id,
            "PUSHER_APP_KEY": app.key,
            "PUSHER_APP_SECRET": app.secret,
            "PUSHER_HOST": self.host,
            "PUSHER_PORT": str(self.port),
            "PUSHER_SCHEME": "https" if self.tls else "http",
            "PUSHER_AUTH_URL": self.auth_url,
            "PUSHER_USER_AUTH_URL": self.user_auth_url,
        }
        if app.encryption_master_key is not None:
            key = base64.b64encode(app.encryption_master_key).decode()
            found["PUSHER_APP_ENCRYPTION_MASTER_KEY"] = key
        return found

    @property
    def auth_url(self) -> str:
        """The URL of the server's auth endpoint for channels."""
        return self._url("/pusher/auth")

    @property
    def user_auth_url(self) -> str:
        """The URL of the server's auth endpoint for users."""
        return self._url("/pusher/user-auth")

    def _url(self, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    # Publishing

    def publish(
        self,
        channels: str | Iterable[str],
        event: str,
        data: object,
        *,
        app: str | None = None,
        exclude_socket_id: str | None = None,
    ) -> int:
        """Publish an event as the HTTP API does; return the number of sockets that it was sent to."""
        return self.do(
            lambda server, now: server.publish(
                channels, event, data, app=app, exclude_socket_id=exclude_socket_id, now=now
            )
        )

    def send_to_user(
        self, user_id: str, event: str, data: object, *, app: str | None = None
    ) -> int:
        """Send an event to a signed-in user; return the number of sockets that it was sent to."""
        return self.do(
            lambda server, now: server.send_to_user(user_id, event, data, app=app, now=now)
        )

    def terminate_user(self, user_id: str, *, app: str | None = None) -> None:
        """Close all connections on which this user is signed in, with 4009."""
        self.do(lambda server, now: server.terminate_user(user_id, app=app, now=now))

    # Members and senders without a client

    def join(
        self, channel: str, user_id: str, info: object = None, *, app: str | None = None
    ) -> None:
        """Add a member without a client to a presence channel, until `leave`."""
        self.do(lambda server, now: server.join(channel, user_id, info, app=app, now=now))

    def leave(self, channel: str, user_id: str, *, app: str | None = None) -> None:
        """Remove a member that `join` added."""
        self.do(lambda server, now: server.leave(channel, user_id, app=app, now=now))

    def client_event(
        self,
        channel: str,
        event: str,
        data: object,
        user_id: str | None = None,
        *,
        app: str | None = None,
    ) -> int:
        """Send a client event as another client does; return the number of sockets that it was sent to."""
        return self.do(
            lambda server, now: server.client_event(channel, event, data, user_id, app=app, now=now)
        )

    # Breaking connections

    def drop(
        self,
        code: int | None = None,
        reason: str = "",
        connection: int | None = None,
        *,
        error_event: bool = False,
        close_frame: bool = True,
    ) -> None:
        """End one connection, or all WebSockets: with a close code, or abruptly without one."""
        self.do(
            lambda server, now: server.drop(
                code,
                reason,
                connection,
                error_event=error_event,
                close_frame=close_frame,
                now=now,
            )
        )

    def shut_down(self) -> None:
        """End all WebSockets as the dialect does when the server stops, and answer new ones with 503 until `allow`."""
        self.do(lambda server, now: server.shut_down(now=now))

    def mute(self, connection: int | None = None) -> None:
        """Send nothing to one connection, or to all present and future ones."""
        self.do(lambda server, now: server.mute(connection, now=now))

    def unmute(self, connection: int | None = None) -> None:
        """Undo `mute`."""
        self.do(lambda server, now: server.unmute(connection, now=now))

    def send_raw(self, connection: int | None, data: str | bytes) -> None:
        """Send text as a message, or raw bytes, to one connection or all WebSockets."""
        self.do(lambda server, now: server.send_raw(connection, data, now=now))

    # Refusing

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
    ) -> None:
        """Refuse the next `times` WebSockets, or all until `allow`."""
        self.do(
            lambda server, now: server.refuse(
                code=code,
                status=status,
                reason=reason,
                retry_after=retry_after,
                headers=headers,
                close_frame=close_frame,
                times=times,
                now=now,
            )
        )

    def allow(self) -> None:
        """Undo `refuse` and `shut_down`."""
        self.do(lambda server, now: server.allow(now=now))

    def refuse_channel(
        self,
        channel: str,
        *,
        shape: Shape = "pusher",
        code: int | None = None,
        message: str | None = None,
        times: int | None = None,
    ) -> None:
        """Refuse the next `times` subscriptions to a channel, or all until `allow_channel`."""
        self.do(
            lambda server, now: server.refuse_channel(
                channel, shape=shape, code=code, message=message, times=times, now=now
            )
        )

    def allow_channel(self, channel: str) -> None:
        """Undo `refuse_channel`."""
        self.do(lambda server, now: server.allow_channel(channel, now=now))

    def delay(self, seconds: float, what: Answers = "all") -> None:
        """Delay answers of a kind by `seconds`, from now on; 0 ends the delay."""
        self.do(lambda server, now: server.delay(seconds, what, now=now))

    def auth_answer(
        self,
        status: int | None = None,
        body: object = "",
        *,
        headers: Mapping[str, str] | None = None,
        times: int | None = None,
    ) -> None:
        """Make the auth endpoint give this answer `times` times, or until a call without a status."""
        self.do(
            lambda server, now: server.auth_answer(
                status, body, headers=headers, times=times, now=now
            )
        )

    def rotate_key(self, encryption_master_key: bytes | None, *, app: str | None = None) -> None:
        """Change the master key: authorizations and events of encrypted channels have new keys from now on."""
        self.do(lambda server, now: server.rotate_key(encryption_master_key, app=app, now=now))

    def rotate_secret(self, secret: str, *, app: str | None = None) -> None:
        """Change the secret of the signatures of authorizations and publishers."""
        self.do(lambda server, now: server.rotate_secret(secret, app=app, now=now))

    def reset(self, *, drop: bool = False) -> None:
        """Undo all faults, remove all members added by `join`, and clear `received`, `published`,
        `webhooks` and `auth_requests`.

        With `drop`, all WebSockets end as well, with 4200.
        """
        self.do(lambda server, now: server.reset(drop=drop, now=now))

    # State

    @property
    def connections(self) -> dict[int, str]:
        """The open WebSockets: the server's number and the socket id of each."""
        return self.do(lambda server, _now: server.connections)

    def channels(self, *, app: str | None = None) -> list[str]:
        """Return the channels with subscribers."""
        return self.do(lambda server, _now: server.channels(app=app))

    def subscriptions(self, channel: str, *, app: str | None = None) -> set[str]:
        """Return the ids of the sockets that are subscribed to a channel."""
        return self.do(lambda server, _now: server.subscriptions(channel, app=app))

    def members(self, channel: str, *, app: str | None = None) -> dict[str, Any]:
        """Return the members of a presence channel with their info."""
        return self.do(lambda server, _now: dict(server.members(channel, app=app)))

    def users(self, *, app: str | None = None) -> dict[str, set[str]]:
        """Return the signed-in users and the socket ids of each."""
        return self.do(lambda server, _now: server.users(app=app))

    @property
    def received(self) -> list[ReceivedMessage]:
        """Messages of clients, the newest last."""
        return self.do(lambda server, _now: list(server.received))

    @property
    def published(self) -> list[PublishedEvent]:
        """Events published over the HTTP API or by `publish`, the newest last."""
        return self.do(lambda server, _now: list(server.published))

    @property
    def webhooks(self) -> list[SentWebhook]:
        """Events of webhooks, the newest last."""
        return self.do(lambda server, _now: list(server.webhooks))

    @property
    def auth_requests(self) -> list[AuthRequest]:
        """Requests to the auth endpoint, the newest last."""
        return self.do(lambda server, _now: list(server.auth_requests))


def _own_key(app: App, user: Mapping[str, Any] | None) -> OwnKey:
    member = None
    if user is not None:
        member = {"user_id": user["id"]}
        if "user_info" in user:
            member["user_info"] = user["user_info"]
    return OwnKey(
        app.key, app.secret, member=member, user=user, master_key=app.encryption_master_key
    )
