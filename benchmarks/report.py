"""Turns figures into tables: medians over the rounds, and ratios with their targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from .workloads import CLIENTS, WORKLOADS

__all__ = ["TARGETS", "markdown", "plot", "versions"]

_PACKAGES = (
    "anyio", "msgspec", "wsproto", "trio", "uvloop", "orjson", "picows", "aiohttp", "websockets",
    "asyncpusher", "sockudo-python", "pysher",
)  # fmt: skip

_MAIN = {
    "stream": "cpu",
    "pace": "p50",
    "subscribe": "cpu",
    "idle": "memory",
    "connect": "cpu",
    "roster": "cpu",
    "reconnect": "wall",
    "server": "p50",
}
"""The main figure of each kind of workload."""

_MORE = {
    "pace": ("p90", "p99", "cpu"),
    "subscribe": ("wall",),
    "idle": ("cpu", "opening"),
    "connect": ("wall", "peak"),
    "roster": ("wall", "change"),
    "reconnect": ("auth_connections", "auth_requests"),
    "server": ("p99", "kb"),
}
_SAY = {
    "cpu": "µs CPU", "wall": "ms", "p90": "p90", "p99": "p99", "opening": "ms CPU to open",
    "peak": "MB of memory at most", "change": "µs CPU for a change", "auth_connections": "connections to the endpoint",
    "auth_requests": "requests to it", "kb": "KB for each connection",
}  # fmt: skip

_SMALL = {"100B": 0, "1KB": 1, "10KB": 2}
_TABLE = {
    ("ours", "pusher-js"): (0.20, 0.28, 0.30),
    ("ours", "asyncpusher"): (0.27, 0.30, 0.28),
    ("ours", "sockudo-python"): (0.14, 0.24, 0.40),
    ("ours", "pysher"): (0.04, 0.03, 0.025),
    ("ours", "picows+orjson"): (1.15, 1.10, 1.10),
    ("ours-untouched", "picows+orjson"): (0.65, 0.45, 0.35),
    ("ours-blocking", "ours"): (1.25, 1.25, 1.25),
    ("ours-trio", "ours"): (1.25, 1.25, 1.25),
}

TARGETS: list[tuple[str, str, str, str, str, float]] = [
    (name, ours, name, other, "cpu", limits[at])
    for (ours, other), limits in _TABLE.items()
    for name, at in _SMALL.items()
] + [
    ("1000-channels", "ours", "100B", "ours", "cpu", 1.2),
    ("10000-channels", "ours", "100B", "ours", "cpu", 1.2),
    ("latency", "ours", "latency", "websockets+orjson", "p50", 1.1),
    ("latency", "ours-blocking", "latency", "websockets-blocking+orjson", "p50", 1.2),
    ("subscribe", "ours", "subscribe", "asyncpusher", "cpu", 1.0),
    ("encrypted", "ours", "encrypted", "picows+orjson", "cpu", 1.5),
    ("1KB", "ours-pysher", "1KB", "ours-blocking-untouched", "cpu", 1.5),
]
"""The targets: workload and client of two figures, their name, and the largest ratio of the first to the second."""

IDLE = {
    ("idle", "ours"): 20.0,
    ("idle", "ours-trio"): 40.0,
    ("idle", "ours-blocking"): 40.0,
    ("idle-tls", "ours"): 100.0,
    ("idle-tls", "ours-trio"): 100.0,
    ("idle-tls", "ours-blocking"): 100.0,
}
"""The targets for the memory of one idle client in KB, by workload and client."""


def versions() -> dict[str, str]:
    """Return the versions of the installed packages that are measured or used."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def medians(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the median of each figure, by workload and client."""
    gathered: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in found["runs"]:
        for key, value in run.items():
            if key not in ("workload", "client", "round") and value is not None:
                gathered[run["workload"], run["client"]][key].append(value)
    return {
        pair: {key: median(values) for key, values in figures.items()}
        for pair, figures in gathered.items()
    }


def _ratios(middle: dict[tuple[str, str], dict[str, float]]) -> Iterator[tuple[str, float, float]]:
    for workload, ours, other_workload, other, key, limit in TARGETS:
        mine, theirs = middle.get((workload, ours)), middle.get((other_workload, other))
        if mine is None or theirs is None:
            continue
        against = other if workload == other_workload else f"{other} with one channel"
        yield f"{workload}: {ours} / {against}", mine[key] / theirs[key], limit
    for (workload, ours), limit in IDLE.items():
        if (workload, ours) in middle:
            yield f"{workload}: {ours}, KB", middle[workload, ours]["memory"], limit


def markdown(found: dict[str, Any]) -> str:
    """Return all tables as Markdown."""
    middle = medians(found)
    lines: list[str] = []
    names = [
        n for n, w in WORKLOADS.items() if w.kind == "stream" and any(p[0] == n for p in middle)
    ]
    clients = [c for c in CLIENTS if any(p[1] == c for p in middle)]
    if names:
        lines += ["### µs of CPU time per event", ""]
        lines += ["| | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
        for client in clients:
            cells = [_cell(middle.get((name, client), {}).get("cpu")) for name in names]
            if any(cells):
                lines.append(f"| {client} | " + " | ".join(cells) + " |")
        lines.append("")
    for name, workload in WORKLOADS.items():
        rows = {c: middle[name, c] for c in clients if (name, c) in middle}
        if workload.kind == "stream" or not rows:
            continue
        more = _MORE[workload.kind]
        lines += [f"### {workload.what[0].upper()}{workload.what[1:]}", ""]
        lines += [
            f"| | {workload.unit} | " + " | ".join(_SAY[key] for key in more) + " |",
            "| --- |" + " ---: |" * (1 + len(more)),
        ]
        for client, figures in rows.items():
            cells = [_cell(figures.get(key)) for key in (_MAIN[workload.kind], *more)]
            lines.append(f"| {client} | " + " | ".join(cells) + " |")
        lines.append("")
    ratios = list(_ratios(middle))
    if ratios:
        lines += [
            "### Targets",
            "",
            "| | measured | at most | |",
            "| --- | ---: | ---: | --- |",
        ]
        for what, ratio, limit in ratios:
            verdict = "" if ratio <= limit else f"missed by {(ratio / limit - 1) * 100:.0f} %"
            lines.append(f"| {what} | {ratio:.3g} | {limit:g} | {verdict} |")
        lines.append("")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def plot(found: dict[str, Any], path: Path) -> None:
    """Draw the CPU time per event of each client, for three sizes of data."""
    import matplotlib as mpl

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    middle = medians(found)
    sizes = [name for name in _SMALL if any(pair[0] == name for pair in middle)]
    clients = [c for c in CLIENTS if all((name, c) in middle for name in sizes)]
    clients.sort(key=lambda client: middle[sizes[0], client]["cpu"])
    mpl.rcParams["svg.hashsalt"] = "pusher-proto"
    figure, axes = pyplot.subplots(
        1, len(sizes), figsize=(11, 0.32 * len(clients) + 1.2), sharey=True
    )
    for axis, name in zip(axes, sizes, strict=True):
        values = [middle[name, client]["cpu"] for client in clients]
        colors = ["#1f6f8b" if CLIENTS[c].ours else "#c8ccd0" for c in clients]
        bars = axis.barh(clients, values, color=colors)
        axis.bar_label(bars, labels=[f"{value:.3g}" for value in values], padding=3, fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(min(values) * 0.5, max(values) * 4)
        axis.set_title(WORKLOADS[name].what.partition(",")[0], fontsize=10)
        axis.set_xlabel("µs of CPU per event (log)", fontsize=8)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
