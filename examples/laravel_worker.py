"""A worker for a Laravel application: private channels, with a Sanctum token that is renewed.

    WORKER_PASSWORD=... python examples/laravel_worker.py --url ws://127.0.0.1:8080/app/KEY \\
        --app https://app.example --email worker@app.example --user 7

The token comes from the route in Sanctum's documentation (`/sanctum/token`) and is sent with every request to
`/broadcasting/auth`. After a 401 or 403 it is renewed once, and the request is repeated. So the worker outlives its
tokens without a restart. It ends cleanly on SIGTERM and Ctrl+C, as systemd and Docker expect.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping

from pusher_sync import AuthEndpoint, ChannelEvent, Options, SubscriptionFailed, open_pusher

log = logging.getLogger("worker")

NOTIFICATION = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated"


class Token:
    """A bearer token, fetched when it is first needed and again when the application no longer accepts it."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._url = url
        self._fields = {"email": email, "password": password, "device_name": "worker"}
        self._token: str | None = None

    def renew(self) -> None:
        body = urllib.parse.urlencode(self._fields).encode()
        request = urllib.request.Request(self._url, body, {"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            self._token = answer.read().decode().strip().strip('"')
        log.info("got a new token")

    def headers(self) -> Mapping[str, str]:
        """Return the headers of one request, with the current token."""
        if self._token is None:
            self.renew()
        # Without Accept, Laravel answers with its login page instead of 401.
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}


def main(url: str, app: str, token: Token, user: str, count: int | None) -> None:
    auth = AuthEndpoint(f"{app}/broadcasting/auth", headers=token.headers, refresh=token.renew)
    with open_pusher(Options.from_url(url, auth=auth)) as client:
        mine = client.subscribe(f"private-App.Models.User.{user}")
        orders = client.subscribe("private-orders")
        done = 0

        @mine.bind(NOTIFICATION)
        def notified(event: ChannelEvent) -> None:
            log.info("notification %s", event.data.get("type"))

        @orders.bind("App\\Events\\OrderShipped")
        def shipped(event: ChannelEvent) -> None:
            nonlocal done
            print(json.dumps(event.data), flush=True)
            done += 1
            if done == count:
                client.close()

        @client.bind(SubscriptionFailed)
        def refused(event: SubscriptionFailed) -> None:
            log.error("%s", event.error)  # the error says what to do about 401, 403, 404, 419

        client.run()  # calls the handlers, in this thread, until the client is closed


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="ws://host:port/app/KEY of Reverb")
    parser.add_argument("--app", required=True, help="URL of the Laravel application")
    parser.add_argument("--email", required=True)
    parser.add_argument("--user", default="1", help="id of the user whose notifications are read")
    parser.add_argument("--count", type=int, help="end after this number of orders")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    password = os.environ.get("WORKER_PASSWORD", "")
    token = Token(f"{given.app}/sanctum/token", given.email, password)
    try:
        main(given.url, given.app, token, given.user, given.count)
    except KeyboardInterrupt:
        pass
