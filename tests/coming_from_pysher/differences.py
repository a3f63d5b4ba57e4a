"""Where `pusher_sync.pysher` differs from Pysher on purpose: the table in docs/coming-from-pysher.md, with its proofs.

`python tests/coming_from_pysher/differences.py` draws the table again; a test fails when the page shows another one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from coming_from_pysher.playing import Play

__all__ = ["DIFFERENCES", "Difference", "drawn"]

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-pysher.md"


@dataclass(frozen=True)
class Difference:
    """A program, what is done to it, and its transcript on either."""

    program: str
    stage: Callable[[Play], object]
    what: str
    pysher: str
    here: str
    theirs: list[Any]
    """The transcript on Pysher."""
    ours: list[Any]


def nothing(run: Play) -> None:
    """Let it run to its end."""
    run.finish()


def publish(channel: str, data: str = "a") -> Callable[[Play], None]:
    """Publish on a channel as long as the program does not say so."""
    return lambda run: run.repeat(channel, data)


def broken(run: Play) -> None:
    """Break the connection of a program that is subscribed to a private channel."""
    run.subscribed("private-news")
    run.repeat("private-news", "before")
    run.server.drop()
    run.repeat("private-news", "after", 3)


def restarted(run: Play) -> None:
    """Stop the server for a while: it ends connections, and answers 503 to new ones."""
    run.subscribed("private-news")
    run.repeat("private-news", "before")
    run.server.shut_down()
    run.next(0.7)
    run.server.allow()
    run.repeat("private-news", "after", 4)


def raised(run: Play) -> None:
    """Publish to a program whose first callback raises."""
    run.subscribed("news")
    run.server.publish("news", "n", "{}")
    run.next(2)


def unreadable(run: Play) -> None:
    """Send a message that is not JSON."""
    run.subscribed("news")
    run.repeat("news", "before")
    run.server.send_raw(None, "no JSON")
    run.server.send_raw(None, '{"event":"look","data":""}')
    run.next(2)


def muted(run: Play) -> None:
    """Send nothing any more, but keep the connection."""
    run.subscribed("news")
    run.repeat("news", "before")
    (number,) = run.server.connections
    run.server.mute(number)
    run.repeat("news", "after", 4)


def one_refused(run: Play) -> None:
    """Answer 403 to the first request of the endpoint."""
    run.server.auth_answer(403, "no", times=1)
    run.repeat("news", "a")


def one_without_json(run: Play) -> None:
    """Answer the first request of the endpoint with a page."""
    run.server.auth_answer(200, "<html>", times=1)
    run.repeat("news", "a")


def opened(run: Play) -> None:
    """Publish once on an encrypted channel."""
    run.subscribed("private-encrypted-notes")
    run.server.publish("private-encrypted-notes", "n", "secret")
    run.server.publish("private-encrypted-notes", "end", "")
    run.next(5)


STATES = ["connected"], ["subscribed"], ["n", "before"]

DIFFERENCES: list[Difference] = [
    Difference(
        "protocol", nothing, "The protocol", "version 6", "version 7: sign-in, close codes, encrypted channels",
        [[6, "6"]], [[7, "7"]],
    ),
    Difference(
        "before", publish("news"), "`subscribe()` before `connect()`", "is lost", "subscribes once it is connected",
        [], [["n", "a"]],
    ),
    Difference(
        "comes_back", broken, "A private channel after the connection broke",
        "is silent, unless the connect handler subscribes again", "comes back, with a new signature",
        [["n", "before"]], [["n", "before"], ["n", "after"]],
    ),
    Difference(
        "auto_sub", broken, "The same with `auto_sub=True`", "is silent: the subscribe has no signature",
        "comes back; `auto_sub` has no effect",
        [["n", "before"]], [["n", "before"], ["n", "after"]],
    ),
    Difference(
        "comes_back", restarted, "A private channel after a restart of the server, which answers 503 for a while",
        "is silent, unless the connect handler subscribes again", "comes back, with a new signature",
        [["n", "before"]], [["n", "before"], ["n", "after"]],
    ),
    Difference(
        "half_open", muted, "A connection that died silently", "stays connected for five minutes",
        "is replaced after `ping_interval` and `pong_timeout` of the connection (120 s and 30 s)",
        [*STATES], [*STATES, ["connected"], ["subscribed"], ["n", "after"]],
    ),
    Difference(
        "raising", raised, "A callback that raises",
        "no traceback, the next callback is not called, the state is failed while it is connected",
        "is logged with its traceback, and nothing else happens",
        [], [["n", "{}", "connected"]],
    ),
    Difference(
        "malformed", unreadable, "A message that is not JSON", "makes the state failed while it is connected",
        "is logged and dropped", [*STATES, ["failed"]], [*STATES, ["connected"]],
    ),
    Difference(
        "wrong_key", nothing, "A key that the server refuses", "leaves the state disconnected",
        "makes the state failed, is logged with what to do, and calls the callbacks of `pusher:error`, whether or not "
        "the server sent one",
        [[4001], ["disconnected", False]], [[4001], ["failed", False]],
    ),
    Difference(
        "leaving", nothing, "`disconnect()` in a callback, and `connect()` after it", "both raise RuntimeError",
        "both work",
        [["cannot join current thread"], ["connected"], ["threads can only be started once"]],
        [["disconnected"], ["disconnected"]],
    ),
    Difference(
        "host_of_a_subclass", nothing, "`host` of a subclass", "is replaced", "is used",
        [["wss://ws.pusherapp.com:443"]], [["wss://ws.example.com:443"]],
    ),
    Difference(
        "url_of_a_program", publish("news"), "`pusher.url`, set before `connect()`",
        "has no effect, only that of the connection has", "is used: host, port, path and key",
        [], [["connected"], ["subscribed"], ["n", "a"]],
    ),
    Difference(
        "member_of_the_endpoint", publish("presence-room"), "The member that an auth endpoint answers with",
        "is dropped: `user_data` is sent, which was not signed", "is sent; `user_data` is for `secret`",
        [["connected"]], [["connected"], ["subscribed"], ["n", "a"]],
    ),
    Difference(
        "refused", one_refused, "An endpoint that answers 403 for one of two channels",
        "raises in the connect handler: the other is not subscribed",
        "calls the callbacks of `pusher:subscription_error`, and the other is subscribed",
        [], [["AuthorizationError", 403], ["n", "a"]],
    ),
    Difference(
        "refused", one_without_json, "An endpoint that answers with a page instead of JSON",
        "the same", "the same",
        [], [["AuthorizationError", 200], ["n", "a"]],
    ),
    Difference(
        "encrypted", opened, "Events of encrypted channels", "arrive as ciphertext", "arrive decrypted",
        [["n", "ciphertext"]], [["n", "secret"]],
    ),
]  # fmt: skip


def drawn(text: str) -> str:
    """Return `text` with the table between its markers drawn again."""
    marked = re.compile(r"(<!-- pysher: .*? -->\n).*?(<!-- end -->)", re.DOTALL)
    lines = ["| | Pysher 1.0.8 | `pusher_sync.pysher` |", "| --- | --- | --- |"]
    lines += [f"| {each.what} | {each.pysher} | {each.here} |" for each in DIFFERENCES]
    text, count = marked.subn(lambda m: "\n".join([m[1] + lines[0], *lines[1:], m[2]]), text)
    assert count == 1, f"{PAGE.name} has no place for the table"
    return text


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
