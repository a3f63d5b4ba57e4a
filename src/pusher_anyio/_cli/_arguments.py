"""What may stand on the command line, and the words of its help. Knows no client and no server."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NoReturn

from ._help import EXAMPLES, SHELLS, STATUSES

__all__ = ["Exit", "UsageError", "actions_of", "make_parser", "parse"]


class Exit(IntEnum):
    """The exit statuses, which the help and the README list."""

    DONE = 0
    TROUBLE = 1
    USAGE = 2
    APP_REFUSED = 3
    CHANNEL_REFUSED = 4
    TIMED_OUT = 5
    INTERRUPTED = 130


class UsageError(Exception):
    """The arguments are wrong; the message is one line that says what to change."""


_Commands = argparse._SubParsersAction  # the only name there is for what add_subparsers returns


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage of `listen` would fill the screen."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield all that may stand on the command line, in all commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, _Commands):
            for command in action.choices.values():
                yield from actions_of(command)


class _Version(argparse.Action):
    """Prints the version. Only then is the core imported, which knows it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from pusher_proto import __version__

        print(f"{parser.prog} {__version__}")  # noqa: T201 - what was asked for
        parser.exit()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments, `command` among them.

    Raises `UsageError`, and SystemExit after `--help` and `--version`.
    """
    parser = make_parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parsers = [action.choices for action in parser._actions if isinstance(action, _Commands)]
        _refuse(parsers[0].get(arguments.command, parser), unknown)
    if arguments.command is None:
        parser.error(f"which command? {', '.join(EXAMPLES)}")
    return arguments


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Say that a command does not know an option, and which one was meant perhaps."""
    flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if not flags:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    # Only the flag: its value may be a secret.
    known = [option for action in parser._actions for option in action.option_strings]
    near = difflib.get_close_matches(flags[0], known, 1)
    parser.error(f"there is no option {flags[0]}{f'; {near[0]} perhaps?' if near else ''}")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="pusher-proto",
        description="A client and a development server for the Pusher Channels protocol.",
        epilog=f"{_examples(example for several in EXAMPLES.values() for example in several[:1])}\n{STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="show program's version number and exit"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for add in (
        _add_demo,
        _add_serve,
        _add_listen,
        _add_trigger,
        _add_who,
        _add_doctor,
        _add_replay,
        _add_completion,
    ):
        add(commands)
    return parser


def _add(commands: _Commands[_Parser], name: str, summary: str, more: str = "") -> _Parser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}".strip(),
        epilog=f"{_examples(EXAMPLES[name])}\n{STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _examples(lines: Iterable[str]) -> str:
    return "\n".join(["examples:", *(f"  pusher-proto {line}" for line in lines)]) + "\n"


def _add_demo(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "demo",
        "a server and two clients in one process, with nothing to configure",
        "Ends by itself within 10 s.",
    )
    parser.add_argument("--keep", action="store_true", help="go on until Ctrl+C")
    _add_verbose(parser)


def _add_serve(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "serve",
        "a server for development, in place of Pusher",
        "Prints one line of JSON when it is ready, with host,\n"
        "port, URLs and apps, and ends on SIGTERM or Ctrl+C. Without --app the app is that of REVERB_APP_* or\n"
        "PUSHER_APP_* in the environment, of the file, or 1:demo:demo-secret. Flags win over the environment, the\n"
        "environment over the file. It is not for production.",
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--port",
        type=_port_or_zero,
        help="where to listen; 0: any free port; by default REVERB_SERVER_PORT, else any",
    )
    where.add_argument(
        "--host",
        dest="hosts",
        metavar="H",
        action="append",
        default=[],
        help="an address to listen on; may be repeated; by default both loopback addresses",
    )
    where.add_argument("--path", metavar="P", help="the part of the path before /app/KEY")
    where.add_argument("--tls-cert", metavar="FILE", help="a certificate (PEM), such as of mkcert")
    where.add_argument("--tls-key", metavar="FILE", help="its key, if it is in another file")
    where.add_argument("--config", metavar="FILE", help="settings in TOML")
    apps = parser.add_argument_group("apps")
    apps.add_argument(
        "--app",
        dest="apps",
        metavar="ID:KEY:SECRET",
        action="append",
        default=[],
        help="an app to serve; may be repeated",
    )
    apps.add_argument(
        "--encryption-master-key",
        metavar="BASE64",
        help="32 bytes for encrypted channels; by default derived from the secret",
    )
    apps.add_argument(
        "--client-events", action=argparse.BooleanOptionalAction, help="allow client events"
    )
    apps.add_argument(
        "--client-event-rate", type=_count, metavar="N", help="client events a second, each client"
    )
    apps.add_argument(
        "--subscription-count",
        action=argparse.BooleanOptionalAction,
        help="send subscription counts; off by default",
    )
    apps.add_argument("--max-connections", type=_count, metavar="N", help="connections to an app")
    apps.add_argument(
        "--authentication-timeout",
        type=_seconds,
        metavar="S",
        help="seconds in which a client has to sign in, or to join a private channel",
    )
    apps.add_argument(
        "--origin",
        dest="origins",
        metavar="O",
        action="append",
        default=[],
        help="an origin that may connect; may be repeated; by default every one",
    )
    apps.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="the limits of Pusher: no client events unless --client-events, 10 a second, 100 connections, "
        "30 s to sign in or to join a private channel",
    )
    apps.add_argument(
        "--dialect",
        choices=("pusher", "reverb", "sockudo"),
        help="the server whose habits it has; pusher by default",
    )
    apps.add_argument(
        "--activity-timeout", type=_count, metavar="S", help="seconds in the greeting"
    )
    apps.add_argument(
        "--ping-after", type=_seconds, metavar="S", help="silence before a ping; 120 by default"
    )
    users = parser.add_argument_group("auth endpoint")
    users.add_argument(
        "--user",
        dest="users",
        metavar="TOKEN=ID:NAME",
        action="append",
        default=[],
        help="the user of requests with this token in Authorization; may be repeated; others are refused",
    )
    users.add_argument("--auth-token", metavar="T", help="a bearer token that all requests need")
    more = parser.add_argument_group("back ends, test suites and people")
    more.add_argument(
        "--webhook",
        dest="webhooks",
        metavar="URL",
        action="append",
        default=[],
        help="where to send webhooks; may be repeated",
    )
    more.add_argument(
        "--webhook-event",
        dest="webhook_events",
        metavar="KIND",
        action="append",
        default=[],
        help="send only webhooks of this kind, such as channel_occupied; may be repeated",
    )
    more.add_argument(
        "--control", action="store_true", default=None, help="serve /control for this machine"
    )
    more.add_argument(
        "--control-token", metavar="T", help="serve /control for all that send this bearer token"
    )
    more.add_argument(
        "--log", choices=("text", "json"), default="text", help="how to log refusals on stderr"
    )
    more.add_argument("--ready-file", metavar="FILE", help="write the line of JSON here as well")
    more.add_argument(
        "--env-file", metavar="FILE", help="write PUSHER_*, REVERB_* and VITE_* variables here"
    )
    _add_verbose(parser)


def _add_listen(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "listen",
        "print the events of channels",
        "On a terminal: time, channel, event and the start of the\n"
        "data, and a line with the state and the rates below (with the extra `cli`; plain lines without it).\n"
        "With --json, and when stdout is no terminal, one JSON object a line: channel, event, data, and\n"
        "user_id where there is one. Changes of the connection are reported on stderr.",
    )
    _add_server(parser)
    parser.add_argument(
        "--event",
        dest="events",
        metavar="NAME",
        action="append",
        default=[],
        help="print only events of this name; may be repeated",
    )
    parser.add_argument("--count", type=_count, metavar="N", help="end after N printed events")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="end after S seconds, with status 5"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to a terminal too")
    _add_verbose(parser)
    parser.add_argument("channels", metavar="CHANNEL", nargs="+", help="a channel to listen to")


def _add_trigger(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "trigger",
        "send one client event to the other subscribers of a channel",
        "Ends when it is out.",
    )
    _add_server(parser)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        default=15.0,
        help="how long it may take to connect and to subscribe, 15 by default",
    )
    _add_verbose(parser)
    parser.add_argument("channel", metavar="CHANNEL", help="a private or presence channel")
    parser.add_argument("event", metavar="EVENT", help="a name that starts with client-")
    parser.add_argument("data", metavar="JSON", help="""the data, such as '{"a": 1}' or '"text"'""")


def _add_who(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "who",
        "show the members of a presence channel as they join and leave",
        "Looking means joining: with\n"
        "--secret you join as pusher-proto-..., with --auth-url as the user that the endpoint names.\n"
        "With --json, and when stdout is no terminal, one JSON object a line: event (here, joined, changed,\n"
        "left), members (how many) and, for `here`, all of them as `roster`, else `id` and `info`.",
    )
    _add_server(parser)
    parser.add_argument("--once", action="store_true", help="print who is there, and end")
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="end after S seconds, with status 5"
    )
    parser.add_argument("--json", action="store_true", help="print JSON to a terminal too")
    _add_verbose(parser)
    parser.add_argument("channel", metavar="CHANNEL", help="a presence channel")


def _add_doctor(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "doctor",
        "find out why no events come",
        "Connects step by step, as a client does: name lookup, TCP, TLS and\n"
        "certificate, upgrade, key and cluster, and for each channel its authorization and subscription. Tells how\n"
        "long each step took, and what to do about the one that failed. With --json one JSON object: ok,\n"
        "exit_status, server and steps (step, status, seconds, detail, advice).",
    )
    _add_server(parser)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        default=10.0,
        help="how long connecting may take, and each authorization and each subscription; 10 by default",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _add_verbose(parser)
    parser.add_argument("channels", metavar="CHANNEL", nargs="*", help="a channel to try")


def _add_replay(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "replay",
        "run a recording again and print what happens in it",
        "A recording is what\n"
        "open_pusher(options, record=FILE) writes: every input of a session. It runs without any network,\n"
        "and its inputs, the effects and the events that follow are printed, one a line.",
    )
    _add_verbose(parser)
    parser.add_argument("file", metavar="FILE", help="the recording")


def _add_completion(commands: _Commands[_Parser]) -> None:
    parser = _add(
        commands,
        "completion",
        "print what a shell reads to complete this command line with Tab",
        "Needs the extra\n`cli`: pip install 'pusher-proto[cli]'.",
    )
    _add_verbose(parser)
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def _add_server(parser: _Parser) -> None:
    group = parser.add_argument_group("server, one of the first four")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--cluster", metavar="C", help="a cluster of pusher.com, such as eu")
    which.add_argument("--host", metavar="H", help="your own server: Reverb, Soketi, serve")
    which.add_argument("--url", metavar="URL", help="wss://host:port/prefix/app/KEY")
    which.add_argument(
        "--env",
        action="store_true",
        help="REVERB_* or PUSHER_* of the environment, as Laravel names them",
    )
    group.add_argument(
        "--port", type=_port, metavar="N", help="with --host; 443, or 80 without TLS"
    )
    group.add_argument("--no-tls", action="store_true", help="with --host: ws in place of wss")
    group.add_argument(
        "--path", metavar="P", help="with --host: the part of the path before /app/KEY"
    )
    group.add_argument("--key", metavar="K", help="the key of the app")
    group.add_argument(
        "--any-name", action="store_true", help="for channel names that Pusher would not take"
    )
    group.add_argument(
        "--ca", metavar="FILE", help="certificates (PEM) to trust, in addition to the system's"
    )
    group.add_argument(
        "--origin", metavar="URL", help="the Origin header, where the server checks it"
    )
    group.add_argument(
        "--proxy",
        metavar="URL",
        help="go through http://[USER:PASSWORD@]HOST:PORT or socks5://...; else HTTPS_PROXY and the like",
    )
    authorizations = parser.add_argument_group("for private and presence channels, one of")
    how = authorizations.add_mutually_exclusive_group()
    how.add_argument("--secret", metavar="S", help="the secret of the app (other users see it: ps)")
    how.add_argument("--auth-url", metavar="U", help="an endpoint of the application that signs")
    authorizations.add_argument(
        "--header",
        dest="headers",
        metavar="'K: V'",
        action="append",
        default=[],
        help="a header for --auth-url; may be repeated",
    )


def _add_verbose(parser: _Parser) -> None:
    parser.add_argument("--verbose", action="store_true", help="debug logs on stderr")


def _port(text: str) -> int:
    port = _port_or_zero(text)
    if port == 0:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535, not '0'")
    return port


def _port_or_zero(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number up to 65535, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a number from 1 is needed, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds <= 0:
        raise argparse.ArgumentTypeError(f"a positive number of seconds is needed, not {text!r}")
    return seconds
