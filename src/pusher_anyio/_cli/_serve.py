"""`pusher-proto serve`: the development server."""

from __future__ import annotations

import json
import random
import time
from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import anyio

from pusher_proto.testing import DEMO_APP, App, Server

from ..testing import serve
from ._arguments import Exit, UsageError
from ._output import await_print, give_up_stdout, tell
from ._signals import until_signal

__all__ = ["run"]

_HOST = "127.0.0.1"  # whoever reaches this server may do anything with it


def run(arguments: Namespace) -> int:
    """Serve until a signal comes, and return the exit status. Raises `UsageError`."""
    apps = [_app(text) for text in arguments.apps] or [DEMO_APP]
    try:
        # Clients that vanished are noticed; publishers' clocks are checked, as Pusher does.
        server = Server(
            apps,
            dialect=arguments.dialect,
            rng=random.Random(),  # noqa: S311 - socket ids are no secrets
            ping_after=120.0,
            wall_clock=time.time,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error

    async def stay() -> int:
        async with serve(server, host=_HOST, port=arguments.port) as running:
            return await until_signal(partial(_announce, running.port, apps))

    try:
        return anyio.run(stay)
    except OSError as error:
        tell(f"cannot serve on port {arguments.port}: {error.strerror or error}")
        return Exit.TROUBLE


async def _announce(port: int, apps: Sequence[App]) -> int:
    """Say that the server is ready, and sleep."""
    tell(f"try: pusher-proto listen --host {_HOST} --port {port} --no-tls --key {apps[0].key} room")
    try:
        await await_print(_ready(port, apps))
    except BrokenPipeError:
        give_up_stdout()
    await anyio.sleep_forever()
    return Exit.DONE


def _ready(port: int, apps: Sequence[App]) -> str:
    shown = [{"id": app.id, "key": app.key, "secret": app.secret} for app in apps]
    return json.dumps({"port": port, "apps": shown})


def _app(text: str) -> App:
    parts = text.split(":", 2)
    if len(parts) < 3 or not all(parts):
        # The text may hold a secret: it is not repeated.
        raise UsageError("--app is written ID:KEY:SECRET")
    return App(id=parts[0], key=parts[1], secret=parts[2])
