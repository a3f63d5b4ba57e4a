"""Run all benchmarks, or some of them: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import platform
import ssl
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import report
from .runner import Failed, measure, missing
from .workloads import CLIENTS, WORKLOADS


def main() -> int:
    """Run the chosen benchmarks; return 1 when a client failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--workloads", nargs="+", metavar="NAME", default=list(WORKLOADS), choices=WORKLOADS
    )
    parser.add_argument(
        "--clients", nargs="+", metavar="NAME", default=list(CLIENTS), choices=CLIENTS
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, in each of which every client runs once (5)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="check that everything works: few events, one round; the figures mean nothing",
    )
    parser.add_argument("--json", type=Path, help="file for all figures of all rounds")
    parser.add_argument(
        "--from-json", type=Path, help="measure nothing, report on the figures in this file"
    )
    parser.add_argument("--markdown", type=Path, help="file for the tables, in Markdown")
    parser.add_argument("--plot", type=Path, help="file for a plot (SVG or PNG; needs matplotlib)")
    parser.add_argument(
        "--list", action="store_true", help="list the workloads and clients, and what is missing"
    )
    options = parser.parse_args()
    if options.list:
        for workload in WORKLOADS.values():
            print(f"{workload.name:18} {workload.what} ({workload.unit})")
        for client in CLIENTS.values():
            lacking = missing(client)
            print(f"{client.name:28} {'ready' if lacking is None else f'needs {lacking}'}")
        return 0
    if options.from_json is not None:
        found = json.loads(options.from_json.read_text(encoding="utf-8"))
        failed: list[str] = found["failed"]
    else:
        found, failed = run(
            options.workloads,
            options.clients,
            1 if options.quick else options.rounds,
            options.quick,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if not options.quick:
        text = report.markdown(found)
        print(text)
        if options.markdown is not None:
            options.markdown.write_text(text, encoding="utf-8")
        if options.plot is not None:
            report.plot(found, options.plot)
    print(f"{len(found['runs'])} passed, {len(failed)} failed")
    return 1 if failed or not found["runs"] else 0


def run(
    workloads: list[str], clients: list[str], rounds: int, quick: bool
) -> tuple[dict[str, Any], list[str]]:
    """Run all clients one after another in each round; return the figures and the failures.

    Every second round runs in the opposite order, so that the heat that one client leaves in the machine does not
    always affect the same other client.
    """
    runs: list[dict[str, Any]] = []
    failed: list[str] = []
    lacking = {name: missing(CLIENTS[name]) for name in clients}
    for name, what in lacking.items():
        if what is not None:
            print(f"left out: {name} needs {what}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        certificate = make_certificate(Path(folder))
        for workload in (WORKLOADS[name] for name in workloads):
            out: set[str] = set()
            for number in range(rounds):
                there = [CLIENTS[name] for name in clients if lacking[name] is None]
                for client in reversed(there) if number % 2 else there:
                    if not client.does(workload) or client.name in out:
                        continue
                    began = time.monotonic()
                    try:
                        result = measure(workload, client, quick=quick, certificate=certificate)
                    except Failed as error:
                        out.add(client.name)
                        failed.append(str(error))
                        print(error, file=sys.stderr)
                        continue
                    runs.append(
                        {"workload": workload.name, "client": client.name, "round": number} | result
                    )
                    figures = {
                        key: round(value, 2) for key, value in result.items() if value is not None
                    }
                    took = time.monotonic() - began
                    print(
                        f"{workload.name:16} {client.name:26} {figures} ({took:.1f} s)",
                        file=sys.stderr,
                    )
    machine = {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": report.versions(),
    }
    return {"machine": machine, "runs": runs, "failed": failed}, failed


def make_certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate authority and a certificate for localhost; return the paths of both files.

    The file of the authority begins with all authorities of this machine, because clients usually load and keep these.
    """
    import trustme

    authority = trustme.CA()
    names = folder / "authority.pem", folder / "server.pem"
    store = ssl.get_default_verify_paths().openssl_cafile
    names[0].write_bytes(Path(store).read_bytes() if Path(store).exists() else b"")
    authority.cert_pem.write_to_path(names[0], append=True)
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(names[1])
    return str(names[0]), str(names[1])


if __name__ == "__main__":
    sys.exit(main())
