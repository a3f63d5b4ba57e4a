"""A device that takes commands from a private channel and sends the results back on it.

    python examples/remote_device.py --url wss://ws-eu.pusher.com/app/KEY --auth-url https://app.example/device/auth \\
        --token TOKEN --device 17

A command is a `client-command` (or a `command` of the server) with `{"id": ..., "do": ..., "with": ...}` as its data;
the answer is a `client-result`. Only the commands in `COMMANDS` exist, and each is carried out once. A device that was
offline reports that, because commands of that time are lost; the sender repeats commands without an answer.
"""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from msgspec import Struct, field

from pusher_anyio import AuthEndpoint, Channel, NotSubscribed, Options, Subscribed, open_pusher

log = logging.getLogger("device")


class Command(Struct):
    id: str
    do: str
    with_: Any = field(default=None, name="with")


async def say(text: Any) -> Any:
    print(f"saying {text}", flush=True)
    return len(str(text))


async def uptime(_: Any) -> Any:
    return round(time.monotonic())


COMMANDS: dict[str, Callable[[Any], Awaitable[Any]]] = {"say": say, "uptime": uptime}


class Device:
    """Carries out each command once."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._results: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def obey(self, command: Command) -> None:
        # The sender repeats a command whose answer was lost.
        result = self._results.get(command.id)
        if result is None:
            result = self._results[command.id] = await self._do(command)
            if len(self._results) > 1000:
                self._results.popitem(last=False)
        try:
            self._channel.trigger("client-result", result)
        except NotSubscribed:
            log.warning("the result of %s was not sent: no connection", command.id)

    async def _do(self, command: Command) -> dict[str, Any]:
        run = COMMANDS.get(command.do)
        if run is None:
            return {"id": command.id, "error": f"no such command: {command.do}"}
        try:
            return {"id": command.id, "result": await run(command.with_)}
        except Exception as error:
            log.exception("%s failed", command.do)
            return {"id": command.id, "error": str(error)}


async def main(options: Options, device: str) -> None:
    async with open_pusher(options) as client:
        channel = client.subscribe(f"private-device.{device}")
        commands = channel.events(("client-command", "command"), type=Command, invalid="skip")
        worker = Device(channel)

        @channel.bind(Subscribed)
        def back(event: Subscribed) -> None:
            channel.trigger("client-ready", {"away": event.offline_for})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_on_signal, tasks.cancel_scope)
            async for event in commands:
                await worker.obey(event.data)


async def end_on_signal(scope: anyio.CancelScope) -> None:
    """Close the client on SIGTERM (systemd, Docker) and on Ctrl+C."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--url", required=True, help="wss://host/app/KEY")
    parser.add_argument("--auth-url", required=True, help="the endpoint that signs for devices")
    parser.add_argument("--token", required=True, help="the bearer token of this device")
    parser.add_argument("--device", required=True, help="the id of this device")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    auth = AuthEndpoint(given.auth_url, headers={"Authorization": f"Bearer {given.token}"})
    anyio.run(main, Options.from_url(given.url, auth=auth), given.device)
