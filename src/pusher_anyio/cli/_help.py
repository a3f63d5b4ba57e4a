"""The layout of the help, the examples in it, and the types of options."""

from __future__ import annotations

import math
import shutil
from typing import Any, NoReturn, TypeAlias

import click

__all__ = ["EXAMPLES", "STATUSES", "Command", "Seconds", "Sections", "columns"]

WIDEST = 80
"""The most columns of the help, also on a wider terminal."""

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
"""The examples of each command, the most useful one first."""


def columns() -> int:
    """Return the width of the help: that of the terminal, at most `WIDEST`."""
    return max(20, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))


Sections: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Titles, each with the names of the options below it."""

_ALL = f"{__name__}.all"
"""The key in the context of a command whose whole help is requested."""


def _help_all(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the whole help."""
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


class Command(click.Command):
    """A command whose options are in `sections`; options in no section come first.

    With `common`, `--help` shows only these sections and the first example, to fit a terminal of 24 rows, and
    `--help-all` shows everything.
    """

    def __init__(
        self, *args: Any, sections: Sections = (), common: Sections = (), **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._sections = sections
        self._common = common
        self.params.append(
            click.Option(
                ["--help-all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                hidden=not common,
                callback=_help_all,
                help="Show all options and examples.",
            )
        )

    def _is_short(self, ctx: click.Context) -> bool:
        return bool(self._common) and _ALL not in ctx.meta

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        options = {each.name or "": each for each in self.get_params(ctx)}
        options = {name: each for name, each in options.items() if isinstance(each, click.Option)}
        named = {name for _, names in self._sections for name in names}
        rest = tuple(name for name in options if name not in named)
        whole = (("Options", rest), *self._sections)
        for title, names in self._common if self._is_short(ctx) else whole:
            with formatter.section(title):
                records = [options[name].get_help_record(ctx) for name in names]
                # On a narrow terminal a long option gets its own line.
                first = min(30, formatter.width // 3)
                formatter.write_dl([each for each in records if each is not None], col_max=first)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        examples = EXAMPLES[self.name or ""]
        if self._is_short(ctx):
            examples = examples[:1]
        with formatter.section("Examples" if len(examples) > 1 else "Example"):
            for example in examples:
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
