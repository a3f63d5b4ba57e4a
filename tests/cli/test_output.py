"""The output of the commands, and its form."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from pusher_anyio.cli._output import as_json, as_text, describe, logs_on_stderr, print_stderr
from pusher_proto import (
    AuthorizationError,
    CacheMiss,
    ChannelEvent,
    ConnectionEstablished,
    ConnectionLost,
    DecryptionError,
    DecryptionFailed,
    Event,
    EventsDropped,
    Member,
    MemberAdded,
    MemberRemoved,
    MemberUpdated,
    ProtocolViolation,
    RetryScheduled,
    ServerError,
    Subscribed,
    SubscriptionError,
    SubscriptionFailed,
    Unsubscribed,
)

ANN = Member("ann", {"name": "Ann"})


@pytest.mark.parametrize(
    ("wire", "data"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ('"text"', "text"),
        ("no JSON", "no JSON"),
        ({"a": 1}, {"a": 1}),
        (None, None),
        ("é\u2028\x1b[31m", "é\u2028\x1b[31m"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_json_has_the_data_decoded_on_one_line(wire: Any, data: Any) -> None:
    line = as_json(ChannelEvent("room", "price", wire))
    assert "\n" not in line
    assert json.loads(line) == {"channel": "room", "event": "price", "data": data}


def test_json_names_the_sender_where_there_is_one() -> None:
    line = as_json(ChannelEvent("presence-x", "client-x", "1", "ann"))
    assert json.loads(line) == {
        "channel": "presence-x",
        "event": "client-x",
        "data": 1,
        "user_id": "ann",
    }


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ChannelEvent("room", "price", '{"a": 1}'), 'room  price  {"a":1}'),
        (ChannelEvent("room", "price", '"text"'), "room  price  text"),
        (ChannelEvent("presence-x", "client-x", "1", "ann"), "presence-x  client-x  1  (from ann)"),
        (ChannelEvent("room", "\x1b]0;evil\x07", '"a\\nb"'), "room  \\x1b]0;evil\\x07  a\\nb"),
    ],
)
def test_a_line_for_a_person_commands_no_terminal(event: ChannelEvent, line: str) -> None:
    assert as_text(event) == line


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (ConnectionEstablished("1.2"), "connected, socket id 1.2"),
        (ConnectionEstablished("1.2", 3.04), "connected again after 3.0 s, socket id 1.2"),
        (
            ConnectionLost(4200, "bye", True, 0.0),
            "no connection to h:1 (code 4200, bye); next attempt now",
        ),
        (
            ConnectionLost(None, "could not reach h:1: refused", True, 1.26),
            "no connection (could not reach h:1: refused); next attempt in 1.3 s",
        ),
        (
            ConnectionLost(4001, "no", False, hint="check the key"),
            "no connection to h:1 (code 4001, no): check the key",
        ),
        (RetryScheduled(2, 1.26), None),
        (Subscribed("room"), "subscribed to room"),
        (
            Subscribed("room", 2.0),
            "subscribed to room again; what was published in 2.0 s was missed",
        ),
        (SubscriptionFailed("room", SubscriptionError("no", channel="room")), "no"),
        (
            SubscriptionFailed("room", AuthorizationError("busy", channel="room"), 2.0),
            "busy; next request in 2.0 s",
        ),
        (CacheMiss("cache-x"), "cache-x has no cached event"),
        (MemberAdded("presence-x", ANN), "presence-x: ann joined"),
        (MemberUpdated("presence-x", ANN, ANN), "presence-x: ann changed"),
        (MemberRemoved("presence-x", ANN), "presence-x: ann left"),
        (ServerError(4301, "too fast"), "the server says: too fast (4301)"),
        (ServerError(None, ""), "the server says: error (None)"),
        (DecryptionFailed("x", "price", DecryptionError("not opened")), "x: not opened"),
        (EventsDropped("room", 3), "3 events were dropped"),
        (ProtocolViolation("not JSON"), "the server sent an invalid message: not JSON"),
        (Unsubscribed("room"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_what_happens_is_reported_as_text(event: Event, line: str | None) -> None:
    assert describe(event, "h:1") == line


def test_reported_text_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_stderr("a\x1b[2Jb")
    assert capsys.readouterr().err == "a\\x1b[2Jb\n"


def test_logs_that_repeat_what_is_reported_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with logs_on_stderr(verbose=False):
        logging.getLogger("pusher_proto.connection").warning("logged already")
        logging.getLogger("pusher_proto.session").error("logged already")
        logging.getLogger("pusher_proto.client").warning("new")
        logging.getLogger("pusher_proto.client").info("for developers")
    assert capsys.readouterr().err == "new\n"


def test_verbose_logs_show_everything_and_are_undone(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with logs_on_stderr(verbose=True):
        logging.getLogger("pusher_proto.connection").debug("a detail")
    assert capsys.readouterr().err.endswith("DEBUG pusher_proto.connection: a detail\n")
    assert (root.level, root.handlers) == before
