"""`pusher-proto completion`: what a shell reads to complete the command line."""

from __future__ import annotations

from argparse import Namespace

from ._arguments import Exit, actions_of, make_parser
from ._output import print_line, tell

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the script of a shell, and return the exit status."""
    try:
        import shtab
    except ImportError:
        tell("completion needs the extra `cli`: pip install 'pusher-proto[cli]'")
        return Exit.TROUBLE
    parser = make_parser()
    for action in actions_of(parser):
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # this is where shtab looks
    print_line(shtab.complete(parser, shell=arguments.shell))
    return Exit.DONE
