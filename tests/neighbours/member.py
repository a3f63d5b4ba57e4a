"""Clients of the reference library pusher-js, in one Node process that `member.js` runs.

All calls block, each for at most `TIMEOUT`: an async test makes them by `anyio.to_thread.run_sync`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from soketi.harness import SERVER

__all__ = ["TIMEOUT", "Heard", "Member", "Node", "own_key"]

TIMEOUT = 10.0
_END_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One event as pusher-js gave it to a handler."""

    name: str
    data: Any = None
    user_id: str | None = None
    """The sender of a client event on a presence channel, if pusher-js reported it."""


class Node:
    """The process. `with Node() as node:`; `node.open` makes a client."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heard: dict[tuple[str, str], list[Heard]] = defaultdict(list)
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._ended = False
        self._process = subprocess.Popen(
            ["node", str(Path(__file__).with_name("member.js")), str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name="neighbour", daemon=True)
        self._reader.start()

    def open(
        self, key: str, port: int, auth: Mapping[str, Any], options: Mapping[str, Any] | None = None
    ) -> Member:
        """Let a client connect to an app on a port of 127.0.0.1.

        `auth` is what `own_key` returns, or `authUrl`, `userAuthUrl` and `headers`; `options` are those of pusher-js.
        """
        member = Member(self, f"client-{next(self._numbers)}")
        member.call("open", key=key, port=port, auth=dict(auth), options=dict(options or {}))
        return member

    def call(self, command: str, client: str, **fields: Any) -> Any:
        """Give a command and return what it returned; what it threw is raised as RuntimeError."""
        number = next(self._numbers)
        line = json.dumps({"id": number, "do": command, "client": client, **fields})
        assert self._process.stdin is not None
        with self._changed:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            self._wait(lambda: number in self._answers, f"an answer to {command}")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def take(self, client: str, scope: str, name: str | None) -> Heard:
        """Wait for the next event of a scope (with a name), and return it."""
        with self._changed:
            heard = self._heard[client, scope]

            def found() -> Heard | None:
                return next((one for one in heard if name in (None, one.name)), None)

            what = f"{name or 'anything'} on {scope}; there is {heard!r}"
            event: Heard = self._wait(found, what)
            heard.remove(event)
            return event

    def taken_back(self, client: str, scope: str) -> list[Heard]:
        """Return what was heard and not taken, and forget it."""
        with self._changed:
            return self._heard.pop((client, scope), [])

    def _wait(self, look: Any, what: str) -> Any:
        deadline = time.monotonic() + TIMEOUT
        while not (found := look()):
            if self._ended:
                raise AssertionError("the Node process has ended; its standard error says why")
            if not self._changed.wait(deadline - time.monotonic()):
                raise AssertionError(f"pusher-js did not give {what} within {TIMEOUT:g} s")
        return found

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                if "re" in said:
                    self._answers[said["re"]] = said
                else:
                    heard = Heard(said["event"], said.get("data"), said.get("user_id"))
                    self._heard[said["client"], said["scope"]].append(heard)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()


class Member:
    """One client. It connects by itself; `disconnect` it at the end, or leave its `with` block."""

    def __init__(self, node: Node, client: str) -> None:
        self._node = node
        self._client = client

    def call(self, command: str, **fields: Any) -> Any:
        """Give a command of `member.js`."""
        return self._node.call(command, self._client, **fields)

    def next(self, scope: str, name: str | None = None) -> Heard:
        """Wait for the next event of a channel, "connection", "user" or "watchlist", of that name if one is given."""
        return self._node.take(self._client, scope, name)

    def rest(self, scope: str) -> list[Heard]:
        """Return what was heard there and not asked for by `next`."""
        return self._node.taken_back(self._client, scope)

    def join(self, channel: str) -> Any:
        """Subscribe, wait until that is confirmed, and return the data of the success: a roster on presence."""
        self.subscribe(channel)
        return self.next(channel, "pusher:subscription_succeeded").data

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel without waiting."""
        self.call("subscribe", channel=channel)

    def unsubscribe(self, channel: str) -> None:
        """Leave a channel."""
        self.call("unsubscribe", channel=channel)

    def trigger(self, channel: str, event: str, data: object) -> None:
        """Send a client event."""
        self.call("trigger", channel=channel, event=event, data=data)

    def signin(self) -> Any:
        """Sign in, and return the data of the user."""
        self.call("signin")
        return self.next("user", "pusher:signin_success").data

    def members(self, channel: str) -> Any:
        """Return who is on a presence channel: `count`, `me` and `members`."""
        return self.call("members", channel=channel)

    def wait_connected(self) -> str:
        """Wait for the next time it is connected, and return the socket id."""
        self.next("connection", "connected")
        return str(self.call("socketId"))

    def disconnect(self) -> None:
        """End the connection."""
        self.call("disconnect")

    def connect(self) -> None:
        """Connect again."""
        self.call("connect")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()


def own_key(
    secret: str,
    *,
    member: Mapping[str, Any] | None = None,
    user: Mapping[str, Any] | None = None,
    master_key_base64: str | None = None,
) -> dict[str, Any]:
    """Return the `auth` with which a member signs for itself."""
    return {"secret": secret, "member": member, "user": user, "masterKey": master_key_base64}
