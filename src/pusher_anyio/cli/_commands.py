"""The commands with their options, for click. Imports neither the clients nor the server, so that `--help` is quick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ._arguments import Arguments
from ._help import STATUSES, Command, Seconds, Sections

__all__ = ["program"]

F = Callable[..., Any]
_FILE = click.Path()


class _Number(click.IntRange):
    """An integer in a range. Click puts `name` into "is not a valid ...", where "integer range" would mislead."""

    name = "integer"


_POSITIVE = _Number(min=1)

_WHERE = ("cluster", "host", "url", "env")
_NEEDED = ("port", "no_tls", "key", "secret", "auth_url")
_CONNECTING: Sections = (
    ("Server, one of", _WHERE),
    ("More about the server", ("port", "no_tls", "path", "key", "dialect", "any_name", "ca", "origin", "proxy")),
    ("Private and presence channels", ("secret", "auth_url", "headers")),
)  # fmt: skip


def _common(*names: str) -> Sections:
    """Return the sections of the short help of a command that connects."""
    return (("Server, one of", _WHERE), ("Options", (*_NEEDED, *names, "help_all")))


class _Program(click.Group):
    """The program. Its help lists the commands in the order of this module and ends with the exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names of the commands in the order of this module."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click calls it
        """Write the exit statuses."""
        with formatter.section("Exit status"):
            formatter.write_text(STATUSES)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version. Only this option needs the core, so it is imported here."""
    if wanted and not ctx.resilient_parsing:
        from pusher_proto import __version__

        click.echo(f"{ctx.command_path} {__version__}")
        ctx.exit()


@click.group(
    cls=_Program, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def program() -> None:
    """A client and a development server for the Pusher Channels protocol."""


class _Connecting(Command):
    """A command with the options of `_connects`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for options that exclude each other."""
        rest = super().parse_args(ctx, args)
        given = {name for name, value in ctx.params.items() if value}
        if len(given & {"cluster", "host", "url", "env"}) != 1 and not ctx.resilient_parsing:
            raise click.UsageError(
                "Which server? Give one of --cluster, --host, --url, --env.", ctx
            )
        if {"secret", "auth_url"} <= given:
            raise click.UsageError("Give --secret or --auth-url, not both.", ctx)
        return rest


def _command(
    sections: Sections = (), *, common: Sections = (), cls: type[Command] = Command
) -> Callable[[F], click.Command]:
    """Make a command of an empty function: its name, its docstring and its options.

    The command calls the object of the click context, which `main` sets, with the parsed arguments.
    """

    def make(function: F) -> click.Command:
        name = function.__name__

        @click.pass_context
        def run(ctx: click.Context, /, **given: Any) -> object:
            return ctx.obj(Arguments(command=name, **given))

        run.__doc__ = function.__doc__
        run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # as click keeps them
        verbose = click.option("--verbose", is_flag=True, help="Log details on stderr.")
        return program.command(name, cls=cls, sections=sections, common=common)(verbose(run))

    return make


def _option(*names: str, help: str, **more: Any) -> Callable[[F], F]:  # noqa: A002 - click's name
    return click.option(*names, help=help, **more)


def _several(flag: str, name: str, metavar: str, help: str) -> Callable[[F], F]:  # noqa: A002 - click's name
    return click.option(flag, name, metavar=metavar, multiple=True, help=f"{help} (repeatable).")


def _connects(function: F) -> F:
    """Add the options for the server, and for the authorization of channels."""
    for option in reversed(
        (
            _option("--cluster", metavar="C", help="Cluster of pusher.com, such as eu."),
            _option("--host", metavar="H", help="Host of Reverb, Soketi, Sockudo or `serve`."),
            _option("--url", metavar="URL", help="wss://HOST:PORT/PREFIX/app/KEY"),
            _option("--env", is_flag=True, help="Variables REVERB_* or PUSHER_* of Laravel."),
            _option(
                "--port",
                type=_Number(1, 65535),
                metavar="N",
                help="With --host. Default: 443, with --no-tls 80.",
            ),
            _option("--no-tls", is_flag=True, help="With --host: ws instead of wss."),
            _option("--path", metavar="P", help="With --host: the path before /app/KEY."),
            _option("--key", metavar="K", help="Key of the app."),
            _option(
                "--dialect",
                type=click.Choice(("pusher", "reverb", "soketi", "sockudo")),
                metavar="NAME",
                help="With --host: pusher, reverb, soketi or sockudo.",
            ),
            _option("--any-name", is_flag=True, help="Allow channel names that Pusher refuses."),
            _option("--ca", type=_FILE, metavar="FILE", help="More certificates (PEM) to trust."),
            _option("--origin", metavar="URL", help="Origin header, for a server that checks it."),
            _option("--proxy", metavar="URL", help="http://[USER:PASS@]HOST:PORT or socks5://..."),
            _option(
                "--secret", metavar="S", help="The app's secret. Visible to other users in `ps`."
            ),
            _option("--auth-url", metavar="U", help="Auth endpoint of the application."),
            _several("--header", "headers", "'K: V'", "Header for --auth-url"),
        )
    ):
        function = option(function)
    return function


@_command()
@_option("--keep", is_flag=True, help="Keep running until Ctrl+C.")
def demo() -> None:
    """Run a server and two clients, with nothing to configure.

    The clients connect, lose the connection and reconnect, all in this process and within 10 s.
    """


@_command(
    (
        ("Where it listens", ("hosts", "port", "path", "tls_cert", "tls_key", "config")),
        ("Apps", (
            "apps", "encryption_master_key", "client_events", "client_event_rate", "subscription_count",
            "max_connections", "authentication_timeout", "origins", "strict", "dialect", "activity_timeout",
            "ping_after",
        )),
        ("Auth endpoint", ("users", "auth_token")),
        ("Webhooks, control, logs, files", (
            "webhooks", "webhook_events", "control", "control_token", "log", "ready_file", "env_file", "verbose",
        )),
    ),
    common=(("Options", (
        "port", "hosts", "tls_cert", "apps", "users", "dialect", "strict", "webhooks", "env_file", "config", "help_all",
    )),),
)  # fmt: skip
@_option("--port", type=_Number(0, 65535), metavar="N", help="By default any free port.")
@_several("--host", "hosts", "H", "Address to listen on, default loopback")
@_option("--path", metavar="P", help="The path before /app/KEY.")
@_option("--tls-cert", type=_FILE, metavar="FILE", help="Certificate (PEM), for wss and https.")
@_option("--tls-key", type=_FILE, metavar="FILE", help="Its key, if it is in another file.")
@_option("--config", type=_FILE, metavar="FILE", help="Settings in TOML.")
@_several("--app", "apps", "ID:KEY:SECRET", "Serve this app")
@_option(
    "--encryption-master-key",
    metavar="BASE64",
    help="32 bytes for encrypted channels. By default derived from the secret.",
)
@_option("--client-events/--no-client-events", default=None, help="Allow client events.")
@_option(
    "--client-event-rate",
    type=_POSITIVE,
    metavar="N",
    help="At most N client events of a client per second.",
)
@_option(
    "--subscription-count/--no-subscription-count",
    default=None,
    help="Send subscription counts. Off by default.",
)
@_option(
    "--max-connections", type=_POSITIVE, metavar="N", help="At most N connections to each app."
)
@_option(
    "--authentication-timeout",
    type=Seconds(),
    metavar="S",
    help="Time to sign in or to join a private channel.",
)
@_several("--origin", "origins", "O", "Allow this origin, by default every one")
@_option(
    "--strict",
    is_flag=True,
    default=None,
    help="Limits as at Pusher, such as 100 connections.",
)
@_option(
    "--dialect",
    type=click.Choice(("pusher", "reverb", "sockudo")),
    metavar="NAME",
    help="Behave like pusher, reverb or sockudo.",
)
@_option("--activity-timeout", type=_POSITIVE, metavar="S", help="Seconds in the greeting.")
@_option("--ping-after", type=Seconds(), metavar="S", help="Silence before a ping. Default: 120.")
@_several("--user", "users", "TOKEN=ID:NAME", "The user of requests with this token")
@_option("--auth-token", metavar="T", help="Bearer token that each request needs.")
@_several("--webhook", "webhooks", "URL", "Send webhooks to this URL")
@_several("--webhook-event", "webhook_events", "KIND", "Only this kind, such as channel_occupied")
@_option("--control", is_flag=True, default=None, help="Serve /control for this machine.")
@_option("--control-token", metavar="T", help="Serve /control for clients with this bearer token.")
@_option(
    "--log",
    type=click.Choice(("text", "json")),
    default="text",
    help="Format of the log on stderr.",
)
@_option("--ready-file", type=_FILE, metavar="FILE", help="Also write the line of JSON here.")
@_option(
    "--env-file",
    type=_FILE,
    metavar="FILE",
    help="Write PUSHER_*, REVERB_* and VITE_* variables here.",
)
def serve() -> None:
    """Run a development server instead of Pusher.

    Prints one line of JSON when it is ready: host, port, URLs and apps. The app is that of --app, of REVERB_APP_* or
    PUSHER_APP_*, of --config, or else 1:demo:demo-secret.
    """


@_command(_CONNECTING, common=_common("events", "count", "end_after"), cls=_Connecting)
@_connects
@_several("--event", "events", "NAME", "Print only events of this name")
@_option("--count", type=_POSITIVE, metavar="N", help="End after N printed events.")
@_option("--for", "end_after", type=Seconds(), metavar="S", help="End after S seconds, status 0.")
@_option("--timeout", type=Seconds(), metavar="S", help="End after S seconds, status 5.")
@_option("--json", is_flag=True, help="Print JSON at a terminal, too.")
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
def listen() -> None:
    """Print the events of channels. At a terminal in columns, in a pipe as JSON."""


@_command(_CONNECTING, common=_common(), cls=_Connecting)
@_connects
@_option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    default=15.0,
    help="Seconds for connecting and subscribing. Default: 15.",
)
@click.argument("channel")
@click.argument("event")
@click.argument("data", metavar="JSON")
def trigger() -> None:
    """Send one client event to the other subscribers of a channel.

    CHANNEL is private or presence, EVENT starts with client-, JSON is the data.
    """


@_command(_CONNECTING, common=_common("once"), cls=_Connecting)
@_connects
@_option("--once", is_flag=True, help="Print the members and end.")
@_option("--timeout", type=Seconds(), metavar="S", help="End after S seconds, status 5.")
@_option("--json", is_flag=True, help="Print JSON at a terminal, too.")
@click.argument("channel")
def who() -> None:
    """Show the members of a presence channel as they join and leave.

    Joins it, with --secret as pusher-proto-..., with --auth-url as its user.
    """


@_command(_CONNECTING, common=_common("json"), cls=_Connecting)
@_connects
@_option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    default=10.0,
    help="Seconds for each step. Default: 10.",
)
@_option("--json", is_flag=True, help="Print one JSON object.")
@click.argument("channels", metavar="[CHANNEL]...", nargs=-1)
def doctor() -> None:
    """Find out why no events are received.

    Connects step by step and says what to do about the step that fails.
    """


@_command()
@click.argument("file", type=_FILE, metavar="FILE")
def replay() -> None:
    """Replay a recording and print what happens in it.

    It needs no network. open_pusher(options, record=FILE) writes a recording.
    """


@_command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
def completion() -> None:
    """Print a completion script for your shell.

    SHELL is bash, zsh or fish.
    """
