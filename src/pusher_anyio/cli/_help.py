"""The text that the help of all commands shares, its layout, and the types of options."""

from __future__ import annotations

import math
import shutil
from typing import Any, NoReturn

import click

__all__ = ["EXAMPLES", "STATUSES", "Command", "Seconds", "columns"]

WIDEST = 80
"""Columns of the help at most."""

STATUSES = """\
0 done or ended by Ctrl+C (listen, who, serve, demo --keep), 1 other trouble,
2 wrong arguments, 3 the app was refused, 4 a channel was refused,
5 timed out, 130 Ctrl+C before it was done"""

_HERE = "--host 127.0.0.1 --port 6001 --no-tls --key demo"
_ENDPOINT = """\\
      --auth-url https://example.com/broadcasting/auth \\
      --header 'Authorization: Bearer TOKEN'"""

EXAMPLES = {
    "demo": ["demo", "demo --keep"],
    "serve": [
        "serve --port 6001",
        "serve --port 6001 --app 1:demo:demo-secret --user ann-token=7:Ann",
        "serve --host 0.0.0.0 --tls-cert cert.pem --env-file .env.pusher",
        "serve --config server.toml --strict --log json --control",
    ],
    "listen": [
        f"listen {_HERE} room",
        "listen --cluster eu --key KEY --secret SECRET private-orders",
        "listen --env --event price --json prices | jq .data",
        f"listen --cluster eu --key KEY {_ENDPOINT} private-orders",
    ],
    "trigger": [
        """trigger --env private-orders client-note '{"text": "hello"}'""",
        """trigger --url ws://127.0.0.1:6001/app/demo --secret demo-secret \\
      private-room client-hello '"hello"'""",
    ],
    "who": [
        "who --env presence-room",
        "who --cluster eu --key KEY --secret SECRET --once presence-room",
    ],
    "doctor": [
        "doctor --cluster eu --key KEY prices",
        f"doctor --env {_ENDPOINT} private-orders",
        "doctor --url wss://example.com/app/KEY --json",
    ],
    "replay": ["replay recording.jsonl"],
    "completion": [
        "completion bash \\\n      > ~/.local/share/bash-completion/completions/pusher-proto",
        'completion zsh > "${fpath[1]}/_pusher-proto"',
        "completion fish > ~/.config/fish/completions/pusher-proto.fish",
    ],
}
"""The examples of each command."""


def columns() -> int:
    """Return the width of the help: that of the terminal, at most `WIDEST`."""
    return max(20, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))


class Command(click.Command):
    """A command with sections of options: pairs of a title and the names of the options in it."""

    def __init__(
        self, *args: Any, sections: tuple[tuple[str, tuple[str, ...]], ...] = (), **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section; options in no section come first."""
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        named = {name for _, names in self._sections for name in names}
        rest = tuple(each.name or "" for each in options if each.name not in named)
        for title, names in (("Options", rest), *self._sections):
            with formatter.section(title):
                records = [each.get_help_record(ctx) for each in options if each.name in names]
                # On a narrow terminal a long option gets its own line.
                first = min(30, formatter.width // 3)
                formatter.write_dl([each for each in records if each is not None], col_max=first)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click calls it
        """Write the examples."""
        with formatter.section("Examples"):
            for example in EXAMPLES[self.name or ""]:
                formatter.write(f"{' ' * formatter.current_indent}pusher-proto {example}\n")


class Seconds(click.ParamType[float]):
    """A positive number of seconds."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not math.isfinite(seconds) or seconds <= 0:
            self._refuse(value, param, ctx)
        return seconds

    def _refuse(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        self.fail(f"a positive number of seconds is needed, not {value!r}", param, ctx)
