"""The command `python -m fuzz.soak`. The exit status is 1 if an invariant did not hold."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from fuzz.soak.run import Soak
from fuzz.soak.servers import SERVERS
from real_servers.process import ServerError

__all__ = ["main"]

_RUNNERS = ("asyncio", "trio", "blocking")


def main(argv: Sequence[str] | None = None) -> int:
    """Run with the arguments `argv`, print the table and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.soak", description="Run clients against a server with faults."
    )
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--runner", action="append", choices=_RUNNERS, help="by default all three")
    parser.add_argument("--server", choices=sorted(SERVERS), default="own")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same plan")
    parser.add_argument(
        "--tls", action="store_true", help="with TLS to the server and to the endpoint"
    )
    parser.add_argument("--dense", action="store_true", help="a reset each second, nothing else")
    parser.add_argument(
        "--plant",
        choices=("task", "timer", "file"),
        default="",
        help="leak such a thing at each connection, which the soak has to find",
    )
    arguments = parser.parse_args(argv)
    try:
        soak = Soak(
            arguments.server,
            arguments.runner or _RUNNERS,
            arguments.minutes,
            seed=arguments.seed,
            dense=arguments.dense,
            plant=arguments.plant,
            tls=arguments.tls,
        )
    except ServerError as error:
        print(error, file=sys.stderr)
        return 2
    held = asyncio.run(soak.run())
    print(soak.table())
    for breach in soak.breaches:
        print(f"BREACH {breach}")
    print("every invariant held" if held else f"{len(soak.breaches)} breaches")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
