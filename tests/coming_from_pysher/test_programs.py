"""Programs by their kind have the same transcripts on Pysher and on `pusher_sync.pysher`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

from coming_from_pysher.playing import IMPLEMENTATIONS, Play, both, play
from coming_from_pysher.programs import ROOM


def feed(run: Play) -> None:
    run.subscribed("live_trades_btcusd")
    run.subscribed("live_trades_ethusd")
    for price in (1, 2):
        run.server.publish("live_trades_btcusd", "trade", {"price": price})
    run.server.publish("live_trades_btcusd", "other", {})
    run.server.publish("live_trades_ethusd", "trade", '{"price": 3}')
    run.server.publish("live_trades_ethusd", "end", "")
    run.finish()


def chat(run: Play) -> None:
    run.subscribed(ROOM)
    run.server.publish(ROOM, "App\\Events\\ChatMessageEvent", {"content": "hi ✓"})
    run.server.publish(ROOM, "plain", "no JSON")
    run.server.publish(ROOM, "number", 7)
    for data in ('{"an": ["object"]}', "null", "[1, 2]"):
        run.server.send_raw(None, f'{{"event":"plain","channel":"{ROOM}","data":{data}}}')
    run.server.send_raw(None, f'{{"event":"plain","channel":"{ROOM}"}}')
    run.server.publish(ROOM, "end", "")
    run.finish()


def dispatcher(run: Play) -> None:
    run.subscribed("private-orders")
    run.server.send_raw(None, '{"event":"client-order","channel":"private-orders","data":{"id":7}}')
    got = run.server.wait_until(lambda s: [r for r in s.received if r.event == "client-ack"])
    run.lines.append(["the server got", got[0].data])
    run.server.publish("private-orders", "end", "")
    run.finish()
    assert not [r for r in run.server.received if r.event == "not-of-a-client"]


def presence(run: Play) -> None:
    run.subscribed("presence-room")
    run.server.join("presence-room", "8", {"name": "Bob"})
    run.server.leave("presence-room", "8")
    data = '{"user_id":9,"user_info":null,"more":[true]}'
    run.server.send_raw(
        None,
        '{"event":"pusher_internal:member_added","channel":"presence-room","data":' + data + "}",
    )
    run.server.publish("presence-room", "end", "")
    run.finish()


def device(run: Play) -> None:
    run.subscribed("private-device.7")
    run.next(10)
    run.server.publish("private-device.7", "command", {"do": "restart"})
    run.subscribed("control")
    run.until(["bound"])
    asked = run.server.auth_requests[0]
    run.lines.append(["asked for", asked.fields["channel_name"], asked.headers["authorization"]])
    run.server.publish("control", "end", "")
    run.finish()


def prices(run: Play) -> None:
    run.subscribed("prices")
    run.server.publish("prices", "up", {"cents": 1})
    run.server.publish("prices", "down", {"cents": 0})
    run.server.publish("prices", "end", "")
    run.finish()


def subclasses(run: Play) -> None:
    run.subscribed("prices")
    run.server.publish("prices", "up", {"cents": 1})
    run.subscribed("bare")
    run.server.publish("bare", "up", {"cents": 2})
    run.server.publish("bare", "end", "")
    run.finish()


def other_messages(run: Play) -> None:
    run.subscribed("news")
    run.server.send_raw(None, '{"event":"maintenance","data":"soon"}')
    run.server.send_raw(None, '{"event":"pusher:error","data":{"code":null,"message":"hm"}}')
    run.server.publish("news", "n", "x")
    run.server.publish("news", "end", "")
    run.finish()


def listening(run: Play) -> None:
    """Restart the server, as Pusher does with 4200: the connect handler is called again, and each event comes once."""
    run.subscribed("private-news")
    run.server.publish("private-news", "n", "before")
    run.until(["n", "before"])
    for times in (2, 3):
        run.server.drop(4200, "restarting")
        run.until(["subscribed"], times)
    run.server.publish("private-news", "n", "after")
    run.server.publish("private-news", "end", "")
    run.finish()


STAGES: dict[str, Callable[[Play], None]] = {
    "feed": feed,
    "chat": chat,
    "dispatcher": dispatcher,
    "presence": presence,
    "device": device,
    "window": prices,
    "bridge": prices,
    "website": prices,
    "subclasses": subclasses,
    "other_messages": other_messages,
    "listening": listening,
    "tokens": listening,
}


@pytest.mark.parametrize("program", STAGES)
def test_a_program_gets_the_same_on_both(program: str) -> None:
    transcripts = both(program, STAGES[program])
    assert transcripts["pysher"] == transcripts["ours"]
    assert transcripts["ours"]


@pytest.mark.parametrize("patch", ["gevent", "eventlet"])
def test_a_program_is_the_same_when_the_standard_library_is_patched(patch: str) -> None:
    if importlib.util.find_spec(patch) is None:
        pytest.skip(f"{patch} is not installed: it needs greenlet, which has no wheel here")
    found = {each: play(each, "feed", feed, patch) for each in IMPLEMENTATIONS}
    assert found["pysher"] == found["ours"]
    assert len(found["ours"]) == 6
