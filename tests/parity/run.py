"""Runs one snippet of `snippets/` on Pysher or asyncpusher: `python run.py CLIENT PORT AUTH_URL USER_URL`.

The lines on standard input and output are those of `run.js`. A snippet for asyncpusher is the body of a coroutine
function.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
import sys
import textwrap
import threading
import time
import traceback
from typing import Any

KEY, SECRET = "demo", "demo-secret"
PATIENCE = 10.0


class Lines:
    """The other end of the pipes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0

    def emit(self, *line: object) -> None:
        """Write one line."""
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def say(self, *what: object) -> None:
        """Add a line to the transcript."""
        with self._lock:
            self.emit("say", *what)

    def do(self, name: str, *given: object) -> Any:
        """Call a method of the server and return its value."""
        with self._lock:
            self._number += 1
            self.emit("do", self._number, name, given)
            answer = json.loads(sys.stdin.readline())
            assert answer["re"] == self._number
            return answer["value"]


class Server:
    """The server's methods, by name."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self._lines.do(name, *given)


def until(look: Any) -> Any:
    """Wait until something is true."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > ends:
            raise TimeoutError("waited in vain")
        time.sleep(0.005)
    return found


async def until_async(look: Any) -> Any:
    """Wait until something is true, and let the event loop run."""
    ends = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > ends:
            raise TimeoutError("waited in vain")
        await asyncio.sleep(0.005)
    return found


def sign(text: str) -> str:
    """Return the authorization for a text."""
    return f"{KEY}:{hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def main(client: str, port: str, auth_url: str, user_url: str) -> None:
    """Read the snippet, run it, and end the process whatever its threads do."""
    lines = Lines()
    logging.disable(logging.CRITICAL)
    names: dict[str, Any] = {
        "say": lines.say, "said": lambda: lines.do("said"), "server": Server(lines), "sign": sign,
        "user_online": lambda number: lines.do("user_online", number), "port": int(port),
        "auth_url": auth_url, "user_url": user_url, "key": KEY, "secret": SECRET, "cluster": "mt1",
        "json": json, "time": time, "logging": logging, "threading": threading,
    }  # fmt: skip
    code = json.loads(sys.stdin.readline())
    error = None
    try:
        if client == "Pysher":
            import pysher

            names |= {"pysher": pysher, "until": until}
            names["here"] = {"custom_host": "127.0.0.1", "port": int(port), "secure": False}
            exec(compile(code, "snippet", "exec"), names)
        else:
            from asyncpusher import Pusher

            names |= {"Pusher": Pusher, "until": until_async, "asyncio": asyncio}
            names["here"] = {"custom_host": "127.0.0.1", "custom_port": int(port), "secure": False}
            code = f"async def snippet():\n{textwrap.indent(code, '    ')}"
            exec(compile(code, "snippet", "exec"), names)
            asyncio.run(names["snippet"]())
    except BaseException:
        error = traceback.format_exc()
    lines.emit("end", error)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
