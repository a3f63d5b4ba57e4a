"""One of our servers, and the clients of other projects that talk to it."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from typing import Any, Self

import pusher
from pusher.http import POST, Request

from neighbours.member import Member, Node
from pusher_anyio.testing import ServerInThread
from pusher_proto import AuthEndpoint, Options
from pusher_proto.testing import App, Server, ServerOptions

__all__ = ["APP", "MASTER_KEY", "MUTE_APP", "OTHER_KEY", "USERS", "House"]

MASTER_KEY = bytes(range(32))
OTHER_KEY = bytes(reversed(range(32)))
APP = App(id="77", key="key77", secret="secret77", encryption_master_key=MASTER_KEY)
MUTE_APP = App(
    id="78", key="key78", secret="secret78", client_events=False, user_authentication=False
)
USERS: dict[str, dict[str, object]] = {
    "ann": {"id": "ann", "user_info": {"name": "Änn"}, "watchlist": ["bob", "eve"]},
    "bob": {"id": "bob", "user_info": {"name": "Bob"}, "watchlist": ["ann"]},
    "eve": {"id": "eve"},
    "seven": {"id": 7, "user_info": {"name": "seven"}},
}
"""The users of the auth endpoint, by the name in a bearer token."""


class House:
    """`node` runs pusher-js, `library` is the official HTTP library; both talk to `server`."""

    @staticmethod
    def make_server(**more: Any) -> Server:
        """Return the machine; `more` is as `ServerOptions` takes it."""
        users = {f"Bearer {name}": user for name, user in USERS.items()}
        return Server([APP, MUTE_APP], ServerOptions(auth_user=users, **more))

    def __init__(self, server: ServerInThread, node: Node) -> None:
        self.server = server
        self._node = node
        self._members = ExitStack()
        self.library: Any = self.library_for(APP)

    def member(self, user: str, app: App = APP, **options: Any) -> Member:
        """Return a client of pusher-js that the auth endpoint knows as `user`."""
        auth = {
            "authUrl": self.server.auth_url,
            "userAuthUrl": self.server.user_auth_url,
            "headers": {"Authorization": f"Bearer {user}"},
        }
        return self.open(app.key, auth, **options)

    def open(self, key: str, auth: dict[str, Any], **options: Any) -> Member:
        """Return a client of pusher-js; `auth` is as `Node.open` takes it."""
        member = self._node.open(key, self.server.port, auth, options)
        return self._members.enter_context(member)

    def options(self, user: str, app: App = APP, **more: Any) -> Options:
        """Return options for our client, which the auth endpoint knows as `user`."""
        auth = AuthEndpoint(
            self.server.auth_url,
            user_url=self.server.user_auth_url,
            headers={"Authorization": f"Bearer {user}"},
        )
        defaults: dict[str, Any] = {"auth": auth, "retry_base": 0.05, "retry_cap": 0.2}
        return self.server.options(app, **(defaults | more))

    def library_for(self, app: App, master_key: bytes | None = MASTER_KEY) -> Any:
        """Return the official HTTP library, set to publish to `app`."""
        encoded = None if master_key is None else base64.b64encode(master_key).decode()
        library = pusher.Pusher(
            app_id=app.id,
            key=app.key,
            secret=app.secret,
            host=self.server.host,
            port=self.server.port,
            ssl=False,
            encryption_master_key_base64=encoded,
        )
        session = library._pusher_client.http.session
        session.trust_env = False  # a proxy of this machine has no way to the server
        self._members.callback(session.close)
        return library

    def terminate(self, user_id: str) -> Any:
        """Ask the HTTP API to end all connections of a user. (The library's own call asks for a wrong path.)"""
        client = self.library._pusher_client
        path = f"/apps/{APP.id}/users/{user_id}/terminate_connections"
        return client.http.send_request(Request(client, POST, path, {}))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._members.close()
