"""`pusher-proto serve`: the development server."""

from __future__ import annotations

import json
from dataclasses import fields

import anyio
import anyio.to_thread

from pusher_anyio.testing import RunningServer

from .._arguments import Arguments, Exit, UsageError
from .._output import give_up_stdout, print_line, print_stderr
from .._signals import until_signal
from ._running import env_of, env_text, is_reachable, log_on_stderr, machine, ready_of, write_file
from ._running import run as run_server
from ._settings import Flags, Settings, SettingsError, read_settings

__all__ = ["run"]


def run(arguments: Arguments) -> int:
    """Serve until a signal, and return the exit status. Raises `UsageError`."""
    given = vars(arguments)
    app = {
        name: given[name]
        for name in (
            "client_events",
            "client_event_rate",
            "subscription_count",
            "max_connections",
            "authentication_timeout",
        )
        if given[name] is not None
    }
    if given["origins"]:
        app["origins"] = tuple(given["origins"])
    names = {each.name for each in fields(Flags)} - {"app"}
    try:
        settings = read_settings(Flags(app=app, **{name: given[name] for name in names}))
        machine(settings)
    except SettingsError as wrong:
        raise UsageError(str(wrong)) from None
    for host in filter(is_reachable, settings.hosts):
        print_stderr(
            f"WARNING: other machines can reach {host}: this is a server for development, and "
            "anyone who can reach it controls it completely"
        )

    async def ready(running: RunningServer) -> int:
        return await _announce(running, settings, arguments)

    async def stay() -> int:
        return await run_server(settings, until_signal, ready)

    try:
        with log_on_stderr(arguments.log, verbose=arguments.verbose):
            return anyio.run(stay)
    except SettingsError as wrong:
        raise UsageError(str(wrong)) from None
    except OSError as error:
        print_stderr(f"cannot serve on port {settings.port}: {error.strerror or error}")
        return Exit.TROUBLE


async def _announce(running: RunningServer, settings: Settings, arguments: Arguments) -> int:
    """Announce that the server is ready, and sleep until cancelled."""
    shown = ready_of(running, settings)
    key = settings.apps[0].key
    tls = "" if running.tls else " --no-tls"
    path = f" --path {settings.path}" if settings.path else ""
    where = f"--host {shown['host']} --port {shown['port']}{tls}{path}"
    print_stderr(f"try: pusher-proto listen {where} --key {key} room")
    line = json.dumps(shown)
    if arguments.env_file is not None:
        write_file(arguments.env_file, env_text(env_of(shown)))
    if arguments.ready_file is not None:
        write_file(arguments.ready_file, f"{line}\n")
    try:
        await anyio.to_thread.run_sync(print_line, line, abandon_on_cancel=True)
    except BrokenPipeError:
        give_up_stdout()
    await anyio.sleep_forever()
    return Exit.DONE
