"""The counts of a session."""

from __future__ import annotations

from proto.scripted import Script, connected, connecting, greeting, message, upgrading
from proto.websocket_peer import BINARY, answer, frame
from pusher_proto import AuthEndpoint, Stats


def test_nothing_is_counted_at_first() -> None:
    assert Script().session.stats == Stats(0, 0, 0, 0, 0, 0, None)


def test_bytes_are_counted_as_they_are_received_and_sent() -> None:
    script = upgrading()
    request = len(script.streams[1].sent)
    head = answer("503 Busy", [("Content-Length", "0")])
    stats = script.receive(head).session.stats
    assert (stats.bytes_received, stats.bytes_sent) == (len(head), request)


def test_bytes_count_as_sent_when_they_were_sent_and_not_before() -> None:
    script = connecting()
    script.writes = False
    script.open()
    assert script.session.stats.bytes_sent == 0
    script.do(script.session.data_sent, 1, 10).do(script.session.data_sent, 99, 10)
    assert script.session.stats.bytes_sent == 10


def test_the_bytes_of_auth_requests_count_too() -> None:
    script = connected(auth=AuthEndpoint("http://auth.test/"))
    before = script.session.stats
    script.subscribe("private-x").open()
    script.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    after = script.session.stats
    assert after.bytes_sent - before.bytes_sent == len(script.streams[2].sent)
    assert after.bytes_received - before.bytes_received == 25


def test_messages_received_counts_understood_messages_after_the_greeting() -> None:
    script = connected().subscribe("room")
    assert script.session.stats.messages_received == 0
    script.send("pusher_internal:subscription_succeeded", "{}", "room")
    script.send("price", "1", "room").send("price", "1", "unknown").text(b"rubbish")
    script.send("pusher:ping").ping()
    assert script.session.stats.messages_received == 3


def test_attempts_and_connections_are_counted() -> None:
    script = connecting().fail().retry().greet().close(4200).retry().fail()
    stats = script.session.stats
    assert (stats.attempts, stats.connections) == (3, 1)


def test_all_that_made_no_sense_is_counted() -> None:
    script = connected().subscribe("room")
    script.text(b"rubbish").text(greeting()).receive(frame(b"", BINARY))
    script.send("pusher_internal:subscription_count", "{}", "room")
    assert script.session.stats.violations == 4


def test_the_round_trip_is_that_of_the_current_connection() -> None:
    script = connected()
    assert script.session.stats.round_trip is None
    script.do(script.session.ping).wait(0.5)
    assert script.session.stats.round_trip is None
    script.text(message("pusher:pong"))
    assert script.session.stats.round_trip == 0.5
    script.eof()
    assert script.session.stats.round_trip is None
