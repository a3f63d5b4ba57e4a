"""All commands with their options, for click. Knows no client and no server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ._arguments import Arguments
from ._help import STATUSES, Command, Seconds

__all__ = ["program"]

F = Callable[..., Any]
_FILE = click.Path()


class _Number(click.IntRange):
    """An integer in a range. Click says "is not a valid NAME", and calls the whole an "integer range"."""

    name = "integer"


_POSITIVE = _Number(min=1)

_SERVER = ("Server, one of the first four", (
    "cluster", "host", "url", "env", "port", "no_tls", "path", "key", "dialect", "any_name", "ca", "origin", "proxy",
))  # fmt: skip
_AUTH = ("Private and presence channels", ("secret", "auth_url", "headers"))


class _Program(click.Group):
    """The program: its help has the commands in their order, and ends with the exit statuses."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names of the commands."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click calls it
        """Write the exit statuses."""
        with formatter.section("Exit status"):
            formatter.write_text(STATUSES)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the version. Only then is the core imported, which knows it."""
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
    """A command that names a server."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, and refuse options that exclude each other."""
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
    *sections: tuple[str, tuple[str, ...]], cls: type[Command] = Command
) -> Callable[[F], click.Command]:
    """Make a command of a function that has only a docstring: it passes its arguments to what `main` gave."""

    def make(function: F) -> click.Command:
        name = function.__name__

        @click.pass_context
        def run(ctx: click.Context, /, **given: Any) -> object:
            return ctx.obj(Arguments(command=name, **given))

        run.__doc__ = function.__doc__
        run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]  # as click keeps them
        verbose = click.option("--verbose", is_flag=True, help="Log details on stderr.")
        return program.command(name, cls=cls, sections=sections)(verbose(run))

    return make


def _option(*names: str, help: str, **more: Any) -> Callable[[F], F]:  # noqa: A002 - click's name
    return click.option(*names, help=help, **more)


def _several(flag: str, name: str, metavar: str, help: str) -> Callable[[F], F]:  # noqa: A002 - click's name
    return click.option(flag, name, metavar=metavar, multiple=True, help=f"{help} (repeatable)")


def _connects(function: F) -> F:
    """Add the options that name a server and how channels are authorized."""
    for option in reversed(
        (
            _option("--cluster", metavar="C", help="A cluster of pusher.com, such as eu."),
            _option("--host", metavar="H", help="Your own server: Reverb, Soketi, Sockudo, serve."),
            _option("--url", metavar="URL", help="wss://HOST:PORT/PREFIX/app/KEY"),
            _option("--env", is_flag=True, help="REVERB_* or PUSHER_* of the environment."),
            _option(
                "--port",
                type=_Number(1, 65535),
                metavar="N",
                help="With --host; 443, or 80 without TLS.",
            ),
            _option("--no-tls", is_flag=True, help="With --host: ws in place of wss."),
            _option("--path", metavar="P", help="With --host: what precedes /app/KEY."),
            _option("--key", metavar="K", help="The key of the app."),
            _option(
                "--dialect",
                type=click.Choice(("pusher", "reverb", "soketi", "sockudo")),
                metavar="NAME",
                help="With --host: reverb, soketi, sockudo.",
            ),
            _option("--any-name", is_flag=True, help="Allow names that Pusher would refuse."),
            _option(
                "--ca", type=_FILE, metavar="FILE", help="Certificates (PEM) to trust as well."
            ),
            _option("--origin", metavar="URL", help="The Origin header, if the server checks it."),
            _option("--proxy", metavar="URL", help="http://[USER:PASS@]HOST:PORT or socks5://..."),
            _option("--secret", metavar="S", help="The app's secret (other users see it: ps)."),
            _option("--auth-url", metavar="U", help="The application's auth endpoint."),
            _several("--header", "headers", "'K: V'", "A header for --auth-url"),
        )
    ):
        function = option(function)
    return function


@_command()
@_option("--keep", is_flag=True, help="Go on until Ctrl+C.")
def demo() -> None:
    """Run a server and two clients, with nothing to configure.

    In one process they connect, lose the connection and reconnect, within 10 s.
    """


@_command(
    ("Where", ("hosts", "port", "path", "tls_cert", "tls_key", "config")),
    ("Apps", (
        "apps", "encryption_master_key", "client_events", "client_event_rate", "subscription_count", "max_connections",
        "authentication_timeout", "origins", "strict", "dialect", "activity_timeout", "ping_after",
    )),
    ("Auth endpoints", ("users", "auth_token")),
    ("Back ends, test suites, people", (
        "webhooks", "webhook_events", "control", "control_token", "log", "ready_file", "env_file", "verbose",
    )),
)  # fmt: skip
@_option(
    "--port",
    type=_Number(0, 65535),
    metavar="N",
    help="0: any free port. By default REVERB_SERVER_PORT, else 0.",
)
@_several("--host", "hosts", "H", "An address to listen on; by default both loopback addresses")
@_option("--path", metavar="P", help="What precedes /app/KEY.")
@_option("--tls-cert", type=_FILE, metavar="FILE", help="A certificate (PEM), such as mkcert's.")
@_option("--tls-key", type=_FILE, metavar="FILE", help="Its key, if it is in another file.")
@_option("--config", type=_FILE, metavar="FILE", help="Settings in TOML.")
@_several("--app", "apps", "ID:KEY:SECRET", "An app to serve")
@_option(
    "--encryption-master-key",
    metavar="BASE64",
    help="32 bytes for encrypted channels; by default derived from the secret.",
)
@_option("--client-events/--no-client-events", default=None, help="Allow client events.")
@_option("--client-event-rate", type=_POSITIVE, metavar="N", help="Of each client, in a second.")
@_option(
    "--subscription-count/--no-subscription-count",
    default=None,
    help="Send subscription counts; off by default.",
)
@_option("--max-connections", type=_POSITIVE, metavar="N", help="Connections to an app.")
@_option(
    "--authentication-timeout",
    type=Seconds(),
    metavar="S",
    help="Seconds to sign in or to join a private channel.",
)
@_several("--origin", "origins", "O", "An origin that may connect; by default every one")
@_option(
    "--strict",
    is_flag=True,
    default=None,
    help="Pusher's limits: no client events unless --client-events, 10 a second, 100 connections, "
    "30 s to sign in or to join a private channel.",
)
@_option(
    "--dialect",
    type=click.Choice(("pusher", "reverb", "sockudo")),
    help="The server to behave like.",
)
@_option("--activity-timeout", type=_POSITIVE, metavar="S", help="Seconds in the greeting.")
@_option("--ping-after", type=Seconds(), metavar="S", help="Silence before a ping; 120.")
@_several(
    "--user", "users", "TOKEN=ID:NAME", "The user of requests with this token in Authorization"
)
@_option("--auth-token", metavar="T", help="A bearer token that all requests need.")
@_several("--webhook", "webhooks", "URL", "Where to send webhooks")
@_several("--webhook-event", "webhook_events", "KIND", "Only this kind, such as channel_occupied")
@_option("--control", is_flag=True, default=None, help="Serve /control for this machine.")
@_option("--control-token", metavar="T", help="Serve /control for all with this bearer token.")
@_option(
    "--log",
    type=click.Choice(("text", "json")),
    default="text",
    help="How to log on stderr.",
)
@_option("--ready-file", type=_FILE, metavar="FILE", help="Write the line of JSON here too.")
@_option(
    "--env-file",
    type=_FILE,
    metavar="FILE",
    help="Write PUSHER_*, REVERB_* and VITE_* variables here.",
)
def serve() -> None:
    """Run a development server in place of Pusher.

    Prints one line of JSON when it is ready: host, port, URLs and apps. Without --app the app is that of REVERB_APP_*
    or PUSHER_APP_* in the environment, else of the file, else 1:demo:demo-secret. Flags win over the environment, the
    environment over the file. Not for production.
    """


@_command(_SERVER, _AUTH, cls=_Connecting)
@_connects
@_several("--event", "events", "NAME", "Print only events of this name")
@_option("--count", type=_POSITIVE, metavar="N", help="End after N printed events.")
@_option("--for", "end_after", type=Seconds(), metavar="S", help="End after S seconds, status 0.")
@_option("--timeout", type=Seconds(), metavar="S", help="End after S seconds, status 5.")
@_option("--json", is_flag=True, help="Print JSON to a terminal too.")
@click.argument("channels", metavar="CHANNEL...", nargs=-1, required=True)
def listen() -> None:
    """Print the events of channels.

    At a terminal: time, channel, event, the start of the data, and the state below. Else one JSON object a line. The
    state of the connection goes to stderr.
    """


@_command(_SERVER, _AUTH, cls=_Connecting)
@_connects
@_option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    default=15.0,
    help="For connecting and subscribing; 15.",
)
@click.argument("channel")
@click.argument("event")
@click.argument("data", metavar="JSON")
def trigger() -> None:
    """Send one client event to the other subscribers of a channel.

    CHANNEL is a private or presence channel, EVENT starts with client-, JSON is the data: '{"a": 1}' or '"text"'.
    """


@_command(_SERVER, _AUTH, cls=_Connecting)
@_connects
@_option("--once", is_flag=True, help="Print the members and end.")
@_option("--timeout", type=Seconds(), metavar="S", help="End after S seconds, status 5.")
@_option("--json", is_flag=True, help="Print JSON to a terminal too.")
@click.argument("channel")
def who() -> None:
    """Show the members of a presence channel as they join and leave.

    Joins the channel: with --secret as pusher-proto-..., with --auth-url as the user that the endpoint names.
    """


@_command(_SERVER, _AUTH, cls=_Connecting)
@_connects
@_option(
    "--timeout",
    type=Seconds(),
    metavar="S",
    default=10.0,
    help="Of connecting, each authorization, each subscription; 10.",
)
@_option("--json", is_flag=True, help="Print one JSON object.")
@click.argument("channels", metavar="[CHANNEL]...", nargs=-1)
def doctor() -> None:
    """Find out why no events come.

    Connects step by step, subscribes to each channel, and says what to do about the step that fails.
    """


@_command()
@click.argument("file", type=_FILE, metavar="FILE")
def replay() -> None:
    """Run a recording again and print what happens in it.

    open_pusher(options, record=FILE) writes a recording. It runs without a network.
    """


@_command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
def completion() -> None:
    """Print a completion script for your shell.

    SHELL is bash, zsh or fish.
    """
