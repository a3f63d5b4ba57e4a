"""Years of bad weather in minutes: clients, the server machine and a faulty network under a virtual clock.

`python -m fuzz.weather --hours H --seed S` simulates H connection-hours. Everything happens at random and is decided by
the seed: latency, chunking, connections lost at any byte, half-open links, refused ones, slow and wrong authorizations,
restarts, key rotation, members who come and go, applications that subscribe, leave, catch up, trigger client events
with an outbox, stall, misuse and raise.

With `--cluster` the server behaves like several Sockudo nodes (`tests/cluster.py`), and the clients have
`several_nodes`.

Permanent invariants are in `fuzz.application` and `fuzz.watching`; `Weather.check` has the ones after a quiet period. A
failure names its seed; the steps that lead to it, as few as were found, and the recordings of the sessions go to
`fuzz/failures`: `--replay FILE` takes the steps again, and `python -m pusher_proto.replay` runs a recording.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fuzz.application import CHANNELS, Broken
from fuzz.mutation import minimised
from fuzz.readers import LOGS
from fuzz.watching import WatchedCluster, no_secret_in_logs
from fuzz.world import OTHER_KEY, OTHER_SECRET, TOKEN, Step, Weather
from pusher_proto.signing import shared_secret
from pusher_proto.testing import DEMO_APP

__all__ = ["SECRETS", "main", "reported", "shortened"]

FAILURES = Path(__file__).parent / "failures"
PATIENCE = 500
"""How many shorter ways to a failure are tried."""

_KEYS = (DEMO_APP.encryption_master_key or b"", OTHER_KEY)
SECRETS = (
    *(DEMO_APP.secret, OTHER_SECRET, TOKEN),
    *(b64encode(key).decode() for key in _KEYS),
    *(shared_secret(channel, key) for channel in (*CHANNELS, *LOGS) for key in _KEYS),
)
"""Texts that must not be in any log."""


def shortened(weather: Weather, error: Exception, patience: int = PATIENCE) -> list[Step]:
    """Return the fewest of the steps that were found to end in an error of the same class."""
    tries = 0

    def fails(steps: list[Step]) -> bool:
        nonlocal tries
        tries += 1
        if tries > patience:
            return False
        try:
            Weather(weather.seed, weather.clients, cluster=weather.cluster).play(steps)
        except type(error):
            return True
        except Exception:
            return False
        return False

    steps = weather.steps[: -1 if weather.steps[-1][0] == "quiet" else None]
    return minimised(steps, fails) if fails(steps) else steps


def reported(weather: Weather, error: Exception, directory: Path = FAILURES) -> Path:
    """Write the steps that lead to a failure, and the inputs of the sessions; return the file with the steps."""
    steps = shortened(weather, error)
    again = Weather(weather.seed, weather.clients, records=True, cluster=weather.cluster)
    try:
        again.play(steps)
    except Exception as seen:
        error = seen
    directory.mkdir(exist_ok=True)
    path = directory / f"weather-{weather.seed}.json"
    failure = {
        "seed": weather.seed,
        "clients": weather.clients,
        "cluster": weather.cluster,
        "why": str(error),
        "steps": steps,
    }
    path.write_text(json.dumps(failure, indent=1) + "\n")
    for app in again.apps:
        path.with_suffix(f".{app.number}.jsonl").write_text("".join(app.recording))
    return path


def replayed(path: Path) -> None:
    """Run the steps of a failure again."""
    failure = json.loads(path.read_text())
    weather = Weather(failure["seed"], failure["clients"], cluster=failure["cluster"])
    weather.play([(name, seed) for name, seed in failure["steps"]])


def simulated(
    hours: float, seed: int, world: float, worlds: int | None = None, *, cluster: bool = False
) -> int:
    """Simulate a number of hours or of worlds; print the result, and return the exit status."""
    began, spent, first = time.monotonic(), time.process_time(), seed
    total, done = 0.0, Counter[str]()
    while total < hours if worlds is None else seed - first < worlds:
        weather = Weather(seed, cluster=cluster)
        try:
            weather.run(world if worlds is not None else min(world, hours - total))
            weather.check_memory()
        except Exception as error:
            print(f"broken in the world of seed {seed}: {type(error).__name__}: {error}")
            path = reported(weather, error)
            print(f"again: python -m fuzz.weather --replay {path}", file=sys.stderr)
            raise
        total += weather.hours
        done += weather.done
        done["events before a success"] += weather.early
        for app in weather.apps:
            done += app.outgoing.counts()
        if isinstance(weather.server, WatchedCluster):
            realm = weather.server.realm
            done["deaf subscriptions"] += realm.deafened
            done["late removals"] += realm.late_removals
        done["connections"] += sum(app.device.session.stats.connections for app in weather.apps)
        seed += 1
    spent = time.process_time() - spent
    print(
        f"{total:.0f} connection-hours in {seed - first} worlds, {time.monotonic() - began:.1f} s "
        f"({spent:.1f} s of one core): {total / spent * 60:.0f} a minute"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate with the arguments `argv`; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fuzz.weather", description="Simulate clients in bad weather."
    )
    parser.add_argument("--hours", type=float, default=1000.0, help="connection-hours to simulate")
    parser.add_argument(
        "--seed", type=int, default=0, help="the first seed; each world takes the next"
    )
    parser.add_argument("--world", type=float, default=100.0, help="connection-hours in one world")
    parser.add_argument(
        "--worlds", type=int, help="simulate this number of worlds, whatever --hours says"
    )
    parser.add_argument(
        "--cluster", action="store_true", help="the server behaves like several Sockudo nodes"
    )
    parser.add_argument("--replay", type=Path, help="run the steps of a failure again")
    arguments = parser.parse_args(argv)
    with no_secret_in_logs(SECRETS):
        if arguments.replay is not None:
            try:
                replayed(arguments.replay)
            except Broken as broken:
                print(f"broken: {broken}")
                return 1
            return 0
        return simulated(
            arguments.hours,
            arguments.seed,
            arguments.world,
            arguments.worlds,
            cluster=arguments.cluster,
        )


if __name__ == "__main__":
    gc.freeze()  # collections need not look at what was imported
    raise SystemExit(main())
