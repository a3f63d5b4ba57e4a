"""One soak: its schedule, the comparisons in each calm, and the table at the end."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import trustme

from fuzz.soak.application import FIXED, OWN, POOL, Setup
from fuzz.soak.endpoint import Endpoint
from fuzz.soak.growth import Sample, grown
from fuzz.soak.judge import lost_in_silence
from fuzz.soak.proxy import FAULTS, MOODS, Proxy
from fuzz.soak.servers import APP, MASTER_KEY, Publisher, Service
from fuzz.soak.watch import EVENT
from pusher_proto.names import USER_PREFIX
from real_servers.process import HOST, Tls

__all__ = ["Soak"]

ROOT = Path(__file__).parents[2]
CHANNELS = (*FIXED, *OWN, *POOL)
_BACK_WITHIN = 20.0
"""Seconds within which a client is connected again, after either side has noticed that its connection is dead."""
_DELIVERED_WITHIN = 5.0
"""Seconds within which an event that is published in a calm arrives on a working link."""
_AT_REST = 4.0
"""Seconds of calm before measuring: idle connections to the endpoint are closed after two (`auth_idle`)."""
_EXIT = 2.6
"""The most seconds for closing a client: `close_timeout` is 2."""
_SERVER_FAULTS = ("SIGKILL", "SIGTERM", "SIGSTOP")


class Client:
    """One client process, as the soak controls it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.name = setup.runner
        self.samples: list[Sample] = []
        self.report: dict[str, Any] = {}
        self.missed = self.bad_gaps = 0
        self.seconds_to_exit = 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "default", "-m", "fuzz.soak.client", json.dumps(asdict(self.setup))),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._stderr,
            limit=2**24,
        )

    def order(self, **fields: Any) -> None:
        """Send a command that has no answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Send a command, and return the answer."""
        self.order(**fields)
        assert self._process is not None
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), 30)
        if not line:
            raise RuntimeError(f"{self.name} has ended: {self.stderr()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> dict[str, Any]:
        """End the process; return its last report."""
        assert self._process is not None
        answer = await self.ask(do="end")
        await asyncio.wait_for(self._process.wait(), 30)
        return answer

    def shown(self) -> tuple[Sample, Sample, Sample]:
        """Return the first, the middle and the last measurement."""
        return self.samples[0], self.samples[len(self.samples) // 2], self.samples[-1]

    def kill(self) -> None:
        """End the process by force, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        self._stderr.close()

    def stderr(self) -> str:
        """Return the output of the process on standard error."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip()


class Soak:
    """A whole run. The same seed gives the same plan of faults."""

    def __init__(
        self,
        kind: str,
        runners: Sequence[str],
        minutes: float,
        *,
        seed: int,
        dense: bool,
        plant: str,
        tls: bool,
    ) -> None:
        self.kind, self.minutes, self.seed, self.dense = kind, minutes, seed, dense
        self.rng = random.Random(seed)
        self.proxy = Proxy(random.Random(seed + 1))
        self.endpoint = Endpoint(random.Random(seed + 2))
        self._folder = tempfile.TemporaryDirectory()
        self.tls = _certificates(Path(self._folder.name)) if tls else None
        self.service = Service(kind, self.tls)
        users = [USER_PREFIX + runner for runner in runners] if self.service.signs_in else []
        self.channels = (*CHANNELS, *users)
        self.publisher = Publisher(self.service, self.channels, EVENT)
        self.faults: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.agreed_after: list[float] = []
        self.clients = [self._client(runner, runners, plant) for runner in runners]

    def _client(self, runner: str, runners: Sequence[str], plant: str) -> Client:
        watches = (*(each for each in runners if each != runner), "nobody")
        return Client(
            Setup(
                runner=runner,
                key=APP.key,
                secret=APP.secret,
                master_key=MASTER_KEY.hex(),
                port=0,
                endpoint=0,
                seed=self.seed,
                constructor=self.service.options,
                signs_in=self.service.signs_in,
                watches=watches if self.service.has_watchlists else (),
                ca=str(self.tls.ca) if self.tls else "",
                plant=plant,
            )
        )

    async def run(self) -> bool:
        """Run. Return whether every invariant held."""
        try:
            await self._run()
        finally:
            self.proxy.close()
            for client in self.clients:
                client.kill()
            if self.service.server.returncode is None:
                self.service.server.pause(signal.SIGCONT)
                self.service.server.kill()
            self._folder.cleanup()
        return not self.breaches

    async def _run(self) -> None:
        self.proxy.target = self.service.server.port
        serving = None
        if self.tls is not None:
            serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            serving.load_cert_chain(self.tls.cert, self.tls.key)
            self.proxy.tls = serving, ssl.create_default_context(cafile=self.tls.ca)
        await self.endpoint.start(serving)
        for client in self.clients:
            client.setup.port = await self.proxy.listen(client.name)
            client.setup.endpoint = self.endpoint.port
            self.endpoint.setups[client.name] = client.setup
            await client.start()
        self.publisher.start()
        rounds = max(3, round(self.minutes * 60 / 100))
        length = self.minutes * 60 / rounds
        for number in range(rounds):
            known = len(self.breaches)
            await self._chaos(length * (0.65 if number else 0.2))
            await self._calm(length * 0.25)
            agreed = self.agreed_after[-1]
            print(f"round {number + 1} of {rounds}: agreed after {agreed:.0f} s", file=sys.stderr)
            for breach in self.breaches[known:]:
                print(f"BREACH {breach}", file=sys.stderr, flush=True)
        self.publisher.end()
        for client in self.clients:
            await self._end(client)

    # Faults

    async def _chaos(self, seconds: float) -> None:
        """Cause faults for this number of seconds."""
        self._order(calm=False, mood={"raises": 0.15, "hangs": 0.04})
        self.endpoint.badness = 0.2
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self.rng.expovariate(1 / (1.0 if self.dense else 6.0))))
            await self._fail(self.rng.random(), max(1.0, left / 3))

    async def _fail(self, chance: float, longest: float) -> None:
        if self.dense or chance < 0.62:
            fault = "reset" if self.dense else self.rng.choice(FAULTS)
            if self.proxy.break_one(fault):
                self.faults[fault] += 1
        elif chance < 0.85:
            mood = self.rng.choice(MOODS)
            self.faults[f"new connections: {mood}"] += 1
            self.proxy.mood = mood
            self.proxy.break_one("reset all")
            await asyncio.sleep(min(longest, self.rng.uniform(1, 10)))
            self.proxy.mood = None
        else:
            await self._fail_server(self.rng.choice(_SERVER_FAULTS), longest)

    async def _fail_server(self, fault: str, longest: float) -> None:
        self.faults[fault] += 1
        for_seconds = min(longest, self.rng.uniform(1, 22 if fault == "SIGSTOP" else 8))
        if fault == "SIGSTOP":
            self.service.server.pause(signal.SIGSTOP)
            await asyncio.sleep(for_seconds)
            self.service.server.pause(signal.SIGCONT)
        else:
            await asyncio.to_thread(self.service.end, fault)
            await asyncio.sleep(for_seconds)
            await asyncio.to_thread(self.service.start)

    # Calm

    def _order(self, *, calm: bool, mood: dict[str, float]) -> None:
        for client in self.clients:
            client.order(do="calm", calm=calm, mood=mood)

    async def _calm(self, seconds: float) -> None:
        """End all faults, and compare clients and server until they agree; then measure the clients."""
        began = time.monotonic()
        self._order(calm=True, mood={"raises": 0.0, "hangs": 0.0})
        self.endpoint.badness = 0.0
        self.proxy.heal()
        differences = ["not looked yet"]
        within = self.service.notices_after + _BACK_WITHIN
        while differences and time.monotonic() < began + within:
            await asyncio.sleep(1)
            await self._reports()
            differences = await asyncio.to_thread(self._differences) or await self._marker()
        self.agreed_after.append(time.monotonic() - began)
        if differences:
            self.breaches.append(f"no agreement within {within:g} s: {differences}")
        await asyncio.sleep(max(_AT_REST, began + seconds - time.monotonic()))
        for client in self.clients:
            client.samples.append(await client.ask(do="sample"))

    async def _reports(self) -> None:
        for client in self.clients:
            client.report = await client.ask(do="report")
            found = [*client.report["breaches"], *client.report["log_errors"]]
            self.breaches += [f"{client.name}: {one}" for one in found]
            for gap in client.report["gaps"]:
                self._check_gap(client, gap)

    def _check_gap(self, client: Client, gap: dict[str, Any]) -> None:
        """Check that each missing event was published in a time that the client reported as missed."""
        missing = self.publisher.log[gap["channel"]][gap["first"] : gap["last"] + 1]
        client.missed += sum(event.taken for event in missing)
        held = self.proxy.held[client.name]
        for place in lost_in_silence(missing, gap["windows"], held):
            event = missing[place]
            client.bad_gaps += 1
            self.breaches.append(
                f"{client.name}: {gap['channel']} lost {gap['first'] + place}, published {event.asked:.2f} to "
                f"{event.answered:.2f}, silently; reported: {gap['windows']}; held by the proxy: "
                f"{held[-10:]}; the last events: {gap['recent']}"
            )

    def _differences(self) -> list[str]:
        """Return the differences between clients and server."""
        found = []
        for client in self.clients:
            report = client.report
            if report["state"] != "connected":
                found.append(f"{client.name} is {report['state']}")
            if self.service.signs_in and report["user"] != "signed_in":
                found.append(f"{client.name}: the user is {report['user']}")
            if report["online"] != sorted(set(client.setup.watches) - {"nobody"}):
                found.append(f"{client.name}: {report['online']} of the watchlist are online")
            for name in report["refused"]:
                # It has timed out if the refusal was lost, and the connection was not.
                if report["channels"][name] not in ("failed", "timed_out"):
                    state, why = report["channels"][name], report["errors"][name]
                    found.append(f"{client.name}: {name}, which is refused, is {state}: {why}")
            for name in report["wanted"]:
                if report["channels"][name] != "subscribed":
                    why = report["errors"][name]
                    found.append(f"{client.name}: {name} is {report['channels'][name]}, {why}")
        return found or self._server_differences()

    def _server_differences(self) -> list[str]:
        found = []
        for name in CHANNELS:
            there = sorted(each.name for each in self.clients if name in each.report["wanted"])
            counted = "subscription_count"
            if name.startswith("presence-") and self.service.kind in ("reverb", "reverb-dialect"):
                counted = "user_count"  # Reverb does not count the connections of these
            page = self.service.server.get(APP, f"/channels/{name}", info=counted)
            count = int(page.get(counted, 0))
            if count != len(there):
                found.append(f"the server counts {count} on {name}, wanted by {there}")
            if name.startswith("presence-"):
                for client in self.clients:
                    members = client.report["members"].get(name, there)
                    if members != there:
                        found.append(f"{client.name} has {members} on {name}, not {there}")
        return found

    async def _marker(self) -> list[str]:
        """Publish once more on all channels; return the clients that did not get the event.

        Without it a link that loses data looks good on both sides.
        """
        self.publisher.paused.set()
        await asyncio.to_thread(self.publisher.idle.wait, 10)
        for place in range(0, len(self.channels), 5):
            chosen = self.channels[place : place + 5]
            if not await asyncio.to_thread(self.publisher.publish, chosen):
                self.breaches.append("the server took no event in a calm")
        missing = differ = ["not looked yet"]
        deadline = time.monotonic() + _DELIVERED_WITHIN
        # Threads and tasks read the streams a moment after `on_event` was called.
        while (missing or differ) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            await self._reports()
            missing = [
                f"{client.name} {name}: {client.report['last'].get(name)} of {self.publisher.numbers[name] - 1}"
                for client in self.clients
                for name in (*client.report["wanted"], USER_PREFIX + client.name)
                if name in self.publisher.numbers
                and client.report["last"].get(name) != self.publisher.numbers[name] - 1
            ]
            differ = [
                f"{client.name}: consumers differ: {heard}"
                for client in self.clients
                for heard in (client.report["heard"], client.report["heard for the user"])
                if len(set(heard.values())) > 1
            ]
        if not missing:
            self.breaches += differ
        self.publisher.paused.clear()
        return missing

    async def _end(self, client: Client) -> None:
        self.breaches += [f"{client.name}: {one}" for one in grown(client.samples)]
        ended = await client.end()
        client.seconds_to_exit = ended["seconds"]
        if ended["seconds"] > _EXIT:
            self.breaches.append(f"{client.name}: leaving took {ended['seconds']:.1f} s")
        if not client.setup.plant and (ended["tasks"] or ended["threads"]):
            self.breaches.append(f"{client.name}: left behind: {ended}")
        if (said := client.stderr()) and not client.setup.plant:
            self.breaches.append(f"{client.name}: on standard error: {said[-2000:]}")

    # The table

    def table(self) -> str:
        """Return the results as Markdown."""
        bad = sum(count for name, count in self.endpoint.counts.items() if name != "requests")
        day, python = time.strftime("%Y-%m-%d", time.gmtime()), sys.version.split()[0]
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        agreed = ", ".join(f"{each:.0f}" for each in self.agreed_after)
        happened = (
            f"Faults: {sum(self.faults.values())} ({faults}). "
            f"Auth endpoint: {self.endpoint.counts['requests']} requests, {bad} bad answers. "
            f"Published: {self.publisher.taken}, and {self.publisher.unknown} while the server was away. "
            f"Agreement after {agreed} s of calm."
        )
        how = f"server {self.kind}{', TLS' if self.tls else ''}, {self.minutes:g} minutes"
        lines = [
            f"{day}: {how}, seed {self.seed}, Python {python}.",
            "",
            happened,
            "",
            "| | " + " | ".join(client.name for client in self.clients) + " |",
            "| --- |" + " --- |" * len(self.clients),
        ]
        counts = sorted({name for each in self.clients for name in each.report.get("counts", {})})
        rows: list[tuple[str, list[str]]] = [
            (name, [str(each.report["counts"].get(name, 0)) for each in self.clients])
            for name in counts
        ]
        rows.append(("events", [str(each.report["heard"]["on_event"]) for each in self.clients]))
        for_user = [
            str(each.report["heard for the user"].get("on_event", 0)) for each in self.clients
        ]
        rows.append(("… of these for the user", for_user))
        rows.append(("events missed while away", [str(each.missed) for each in self.clients]))
        rows.append(("… outside of a reported gap", [str(each.bad_gaps) for each in self.clients]))
        rows.append(
            (
                "asked again by the service",
                [str(sum(each.report["asked_again"].values())) for each in self.clients],
            )
        )
        rows.append(("log records", [_levels(each.report["logs"]) for each in self.clients]))
        for name in self.clients[0].samples[0]:
            values = [" → ".join(str(calm[name]) for calm in each.shown()) for each in self.clients]
            rows.append((f"{name}: first calm, middle, last", values))
        rows.append(("seconds to leave", [f"{each.seconds_to_exit:.3f}" for each in self.clients]))
        lines += [f"| {name} | " + " | ".join(values) + " |" for name, values in rows]
        return "\n".join(lines)


def _certificates(folder: Path) -> Tls:
    """Write the certificate of a new authority for the server, the proxy and the endpoint."""
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    tls = Tls(folder / "cert.pem", folder / "key.pem", folder / "ca.pem")
    authority.cert_pem.write_to_path(tls.ca)
    certificate.cert_chain_pems[0].write_to_path(tls.cert)
    certificate.private_key_pem.write_to_path(tls.key)
    return tls


def _levels(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
