"""The output of the commands at terminals of several widths, compared with the folder `screens`.

`PUSHER_PROTO_SCREENS=write pytest tests/cli/test_screens.py` writes the files again: look at them before you keep them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pusher_anyio.testing import ServerInThread, serve_in_thread
from pusher_proto import OwnKey
from pusher_sync import open_pusher

from .terminal import Terminal, at_terminal

SCREENS = Path(__file__).parent / "screens"
WIDTHS = (40, 60, 80, 120)
WRITE = os.environ.get("PUSHER_PROTO_SCREENS") == "write"

LONG = "Tea is dear, and its price has not stopped rising since the spring of last year"
MEMBERS = {
    "ada": {"name": "Ada Lovelace", "roles": ["admin", "author"], "avatar": "x" * 300},
    "bob-with-a-very-long-id-of-fifty-characters-or-so": {"name": "Bob", "since": 2019},
    "eve": None,
}


def masked(text: str) -> str:
    """Return a screen without what differs from run to run. Columns stay where they are."""
    text = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", text)
    text = re.sub(
        r" *\b\d+\.\d (ms|s)\b", lambda found: f"{'T ':>{len(found[0]) - 1}}{found[1]}", text
    )
    text = re.sub(r"pusher-proto-[0-9a-f]{8}", "pusher-proto-xxxxxxxx", text)
    text = re.sub(r"(127\.0\.0\.1(?::| port\s+))\d+", r"\1PORT", text)
    text = re.sub(r"[\d,.]+/s", "N/s", text)
    return re.sub(r"\d+ (k?B)/s", r"N \1/s", text)


def arguments(running: ServerInThread) -> list[str]:
    return ["--url", f"ws://127.0.0.1:{running.port}/app/demo"]


@contextmanager
def listening(running: ServerInThread, width: int, encoding: str = "utf-8") -> Iterator[Terminal]:
    line = ["listen", *arguments(running), "prices", "news"]
    with at_terminal(*line, size=(24, width), encoding=encoding) as at:
        running.wait_until(lambda server: server.subscriptions("news"))
        at.wait_until(lambda lines: any("2 of 2" in line for line in lines))
        running.publish("prices", "price", {"symbol": "TEA", "cents": 250, "up": True})
        running.publish("news", "headline", {"text": LONG})
        # Both rows, and the line below them that counts them.
        at.wait_until(
            lambda lines: (
                any("headline" in each for each in lines[:-1]) and "connected" in lines[-1]
            )
        )
        if width > 40:
            at.wait_until(lambda lines: "2 events" in lines[-1])
        yield at
        at.process.send_signal(signal.SIGTERM)
        assert at.end() == 0


def listen(running: ServerInThread, width: int) -> list[str]:
    with listening(running, width) as at:
        return at.lines


def listen_in_ascii(running: ServerInThread, width: int) -> list[str]:
    with listening(running, width, "ascii") as at:
        assert "\n".join(at.lines).isascii()
        return at.lines


def retry(running: ServerInThread, width: int) -> list[str]:
    with listening(running, width) as at:
        running.refuse(status=503)
        running.drop(4100, "Over capacity")
        at.wait_until(
            lambda lines: any("4100" in each for each in lines) and "attempt in" in lines[-1]
        )
        shown = at.lines
    return [re.sub(r"(attempt in) [\d.]+", r"\1 N", line) for line in shown]


def who(running: ServerInThread, width: int) -> list[str]:
    with ExitStack() as stack:
        for name, info in MEMBERS.items():
            member = {"user_id": name, "user_info": info}
            options = running.options(auth=OwnKey("demo", "demo-secret", member=member))
            client = stack.enter_context(open_pusher(options))
            client.subscribe("presence-room").wait_subscribed(10)
        line = ["who", *arguments(running), "--secret", "demo-secret", "presence-room"]
        at = stack.enter_context(at_terminal(*line, size=(24, width)))
        at.wait_until(lambda lines: "presence-room: 4 here" in lines and "connected" in lines[-1])
        shown = at.lines
        at.process.send_signal(signal.SIGTERM)
        assert at.end() == 0
    return shown


def ended(status: int, width: int, *line: str) -> list[str]:
    with at_terminal(*line, size=(24, width)) as at:
        assert at.end() == status
        return at.lines


def doctor(running: ServerInThread, width: int) -> list[str]:
    running.auth_answer(403, "no")
    line = [*arguments(running), "--auth-url", running.auth_url, "prices", "private-orders"]
    return ended(4, width, "doctor", *line)


def trigger(running: ServerInThread, width: int) -> list[str]:
    line = [*arguments(running), "--secret", "demo-secret", "private-x", "client-hi", "1"]
    return ended(0, width, "trigger", *line)


def refused(running: ServerInThread, width: int) -> list[str]:
    url = f"ws://127.0.0.1:{running.port}/app/other"
    return ended(3, width, "listen", "--url", url, "room")


def wrong(_: ServerInThread, width: int) -> list[str]:
    return ended(2, width, "listn")


def help_(_: ServerInThread, width: int) -> list[str]:
    return ended(0, width, "--help")


SHOWN: dict[str, Callable[[ServerInThread, int], list[str]]] = {
    "listen": listen,
    "listen-ascii": listen_in_ascii,
    "listen-retry": retry,
    "listen-refused": refused,
    "who": who,
    "doctor": doctor,
    "trigger": trigger,
    "wrong": wrong,
    "help": help_,
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", SHOWN)
def test_a_terminal_shows_what_is_kept(name: str, width: int, running: ServerInThread) -> None:
    shown = masked("\n".join(SHOWN[name](running, width)).rstrip()) + "\n"
    path = SCREENS / f"{name}-{width}.txt"
    if WRITE:
        SCREENS.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_every_kept_screen_is_compared() -> None:
    kept = {path.stem for path in SCREENS.glob("*.txt")}
    assert kept == {f"{name}-{width}" for name in SHOWN for width in WIDTHS}


@pytest.mark.parametrize("width", WIDTHS)
def test_views_fit_the_width(width: int) -> None:
    for name in ("listen", "who"):
        text = (SCREENS / f"{name}-{width}.txt").read_text(encoding="utf-8")
        for line in text.splitlines():
            # Only the first lines on stderr may be longer: the terminal wraps them.
            assert len(line) <= width or "socket id" in line


tmux = shutil.which("tmux")


@pytest.mark.skipif(tmux is None, reason="tmux is not installed: there is no real terminal")
@pytest.mark.parametrize("width", [40, 80, 120])
def test_tmux_shows_the_same(width: int, tmp_path: Path) -> None:
    def run(*line: str) -> str:
        command = ["tmux", "-S", str(tmp_path / "socket"), *line]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def until(look: Callable[[str], bool]) -> None:
        """Look at the screen now and then, until `look` likes it."""
        deadline = time.monotonic() + 30
        while True:
            lines = masked(run("capture-pane", "-p", "-J")).splitlines()
            shown = "\n".join(line.rstrip() for line in lines).strip()
            if look(shown):
                return
            assert time.monotonic() < deadline, shown
            time.sleep(0.1)

    with serve_in_thread() as running:
        line = ["listen", *arguments(running), "prices", "news"]
        program = shlex.join([sys.executable, "-m", "pusher_anyio", *line])
        run(
            "new-session",
            "-d",
            "-x",
            str(width),
            "-y",
            "24",
            f"env -u COLUMNS LANG=C.UTF-8 {program}",
        )
        try:
            until(lambda shown: "2 of 2 channels" in shown)
            running.publish("prices", "price", {"symbol": "TEA", "cents": 250, "up": True})
            running.publish("news", "headline", {"text": LONG})
            expected = (SCREENS / f"listen-{width}.txt").read_text(encoding="utf-8").strip()
            until(lambda shown: shown == expected)
        finally:
            run("kill-server")
