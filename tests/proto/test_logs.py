"""The log: loggers and levels, and the output of a program that does not configure logging."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from proto.fake_client import FakeClient, connected, subscribed
from proto.scripted import Script, connecting, error_message
from proto.scripted import connected as script_connected
from pusher_proto import AuthEndpoint, AuthResponse, ConnectionFailed, Event, OwnKey, StateChanged
from pusher_proto._base.logs import logger, name_of
from pusher_proto._protocol.control import shown_frame
from secrecy import Watch
from simulation import World

SIGNATURE = "5ec7e7" * 10 + "5ec7"


class Heard(logging.Handler):
    """Collects log records of every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def clear(self) -> None:
        self.records.clear()


@pytest.fixture
def heard() -> Iterator[Heard]:
    # Not caplog: what a fixture sets its level to is forgotten when the test begins.
    log, heard = logging.getLogger("pusher_proto"), Heard()
    before = log.level
    log.addHandler(heard)
    log.setLevel(logging.DEBUG)
    yield heard
    log.setLevel(before)
    log.removeHandler(heard)


def lines(heard: Heard, name: str, level: int) -> list[str]:
    """Return and clear the lines of this logger at this level."""
    found = [
        record.getMessage()
        for record in heard.records
        if record.name == f"pusher_proto.{name}" and record.levelno == level
    ]
    heard.clear()
    return found


# The log points that Pusher asks of libraries.


def test_a_new_client_logs_its_options_without_secrets(heard: Heard) -> None:
    Script(auth=OwnKey("key", "a-secret-of-the-app"), headers={"Authorization": "Bearer token"})
    (line,) = lines(heard, "connection", logging.INFO)
    assert line.startswith("pusher-proto ")
    assert "ws://ws.test" in line
    assert "a-secret-of-the-app" not in line
    assert "token" not in line


def test_each_change_of_state_is_reported(heard: Heard) -> None:
    script = script_connected()
    reported = lines(heard, "connection", logging.INFO)
    assert "connecting, was initialized" in reported
    assert "connected, was connecting" in reported
    script.close(4200, "restarting")
    assert "connecting, was connected: restarting" in lines(heard, "connection", logging.INFO)


def test_an_error_of_the_server_is_a_warning(heard: Heard) -> None:
    script = script_connected()
    script.text(error_message(4301, f"too fast, key:{SIGNATURE}"))
    assert lines(heard, "session", logging.WARNING) == [
        "the server sent an error (4301): too fast, key:***"
    ]


def test_errors_of_the_server_are_counted_by_their_code(heard: Heard) -> None:
    script = script_connected()
    for _ in range(100):
        script.text(error_message(4301, "too fast"))
    script.text(error_message(4302, "another"))
    loud = [r.getMessage() for r in heard.records if r.levelno == logging.WARNING]
    assert len(loud) == 8
    assert loud[0] == "the server sent an error (4301): too fast"
    assert loud[6] == "the server sent an error (4301): too fast (64 times so far)"
    assert loud[7] == "the server sent an error (4302): another"
    assert sum("too fast" in r.getMessage() for r in heard.records) >= 100
    heard.clear()
    for code in range(1000):
        script.text(error_message(10_000 + code, "many codes"))
    assert sum(r.levelno == logging.WARNING for r in heard.records) < 80
    assert len(script.session._dispatch._errors) < 80


def test_an_authorization_that_cannot_be_got_is_an_error(heard: Heard) -> None:
    world = World()
    client = connected(world, world.options(auth=AuthEndpoint("http://pusher.test/pusher/auth")))
    world.act(world.server.auth_answer, 403, "no")
    client.subscribe("private-room")
    world.run(1)
    (line,) = lines(heard, "session", logging.ERROR)
    assert line.startswith("no subscription to private-room: the auth endpoint answered 403 (")


def test_a_sign_in_without_an_authorization_is_an_error(heard: Heard) -> None:
    script = script_connected()
    script.do(script.session.signin)
    assert lines(heard, "session", logging.ERROR) == [
        "the user is not signed in: no authorization to sign in: OwnKey has no `user` to sign in: set it"
    ]


def test_an_event_that_cannot_be_opened_is_an_error(heard: Heard) -> None:
    world = World()
    subscribed(world, "private-encrypted-room")
    heard.clear()
    world.say("e", {"nonce": "", "ciphertext": ""}, "private-encrypted-room")
    (line,) = lines(heard, "session", logging.ERROR)
    assert line.startswith("dropped an encrypted event: ")


def test_what_a_server_can_repeat_without_end_does_not_flood_the_log(heard: Heard) -> None:
    world = World()
    client, _ = subscribed(world, "private-encrypted-room", "private-encrypted-other")
    heard.clear()
    for _ in range(1000):
        world.act(world.server.send_raw, None, "rubbish")
        world.say("e", {"nonce": "", "ciphertext": ""}, "private-encrypted-room")
    world.say("e", {"nonce": "", "ciphertext": ""}, "private-encrypted-other")
    loud = [record for record in heard.records if record.levelno == logging.WARNING]
    assert len(loud) == 10
    assert "times" not in loud[0].getMessage()
    assert loud[-1].getMessage().endswith(": rubbish (512 times so far)")
    assert loud[-1].filename == "dispatch.py"
    *of_room, of_other = lines(heard, "session", logging.ERROR)
    assert len(of_room) == 10
    assert of_room[-1].endswith("(512 times so far)")
    assert "times" not in of_other
    assert client.stats.violations == 1000


def test_a_message_without_a_listener_is_logged_at_info_once(
    heard: Heard,
) -> None:
    world = World()
    _, (room,) = subscribed(world, "room")
    room.bind("price", print)
    heard.clear()
    for _ in range(3):
        world.publish("room", "prise", 1)
    message = "prise on room has no listener; bound there: 'price'; on the client: nothing"
    assert [
        (record.levelno, record.getMessage())
        for record in heard.records
        if record.name == "pusher_proto.client"
    ] == [(logging.INFO, message), (logging.DEBUG, message), (logging.DEBUG, message)]
    room.bind("other", print)
    heard.clear()
    world.publish("room", "prise", 1)
    assert len(lines(heard, "client", logging.INFO)) == 1


@pytest.mark.messages_logged
def test_each_message_of_both_sides_is_a_detail(heard: Heard) -> None:
    script = script_connected()
    heard.clear()
    script.subscribe("private-room", auth=AuthResponse(f"key:{SIGNATURE}"))
    script.send("pusher:ping")
    assert lines(heard, "protocol", logging.DEBUG) == [
        '-> {"event":"pusher:subscribe","data":{"channel":"private-room","auth":"***"}}',
        '<- {"event": "pusher:ping"}',
        '-> {"event":"pusher:pong","data":{}}',
    ]


def test_messages_are_not_formatted_when_the_logger_is_off(
    monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    def look(data: bytes) -> str:
        raise AssertionError(data)

    monkeypatch.setattr("pusher_proto._connection.link.shown_frame", look)
    logging.getLogger("pusher_proto").setLevel(logging.INFO)
    script_connected().send("pusher:ping")
    assert lines(heard, "protocol", logging.DEBUG) == []


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        ('{"event":"e","data":1}', '{"event":"e","data":1}'),
        (f'{{"auth":"key:{SIGNATURE}"}}', '{"auth":"***"}'),
        ('{"auth": "some other token", "x": 1}', '{"auth": "***", "x": 1}'),
        (r'{"data":"{\"auth\":\"key:x\",\"x\":1}"}', r'{"data":"{\"auth\":\"***\",\"x\":1}"}'),
        ('{"x":1,"user_data":"{\\"id\\":\\"ada\\"}"}', '{"x":1,"user_data***'),
        ('{"data":"{\\"hash\\":{\\"ada\\":{}}}"}', '{"data":"{\\"hash\\":***'),
        ('{"user_id":"ada","user_info":{"mail":"x"}}', '{"user_id":"ada","user_info":***'),
        ('{"channel_data":"{\\"user_id\\":\\"ada\\"}"}', '{"channel_data":***'),
        ('{"auth":"unfinis', '{"auth":"***'),
        (f'{{"message":"but got key:{SIGNATURE}"}}', '{"message":"but got key:***"}'),
        ("x" * 1000, "x" * 199 + "…"),
        ("line\nbreak", "line break"),
    ],
)
def test_messages_are_shown_without_what_vouches_and_not_whole(frame: str, shown: str) -> None:
    assert shown_frame(frame.encode()) == shown


def test_bytes_that_are_not_text_are_shown_too() -> None:
    assert shown_frame(b"\xff\xfe{}") == "\ufffd\ufffd{}"


# Logs without configuration.


def test_the_loggers_of_the_library_are_silent_by_themselves_and_those_of_the_program_are_not() -> (
    None
):
    for name in ("connection", "session", "protocol", "auth"):
        handlers = logger(name).handlers
        assert [type(handler) for handler in handlers] == [logging.NullHandler]
        assert logger(name).handlers == handlers, "a second look adds no second one"
    for name in ("client", "streams"):
        assert logger(name).handlers == []
    there = logging.getLogger("pusher_proto").handlers
    assert [handler for handler in there if not isinstance(handler, Watch)] == []


PROGRAM = """
from pusher_sync.testing import World

world = World()
with world.open_pusher() as client:
    client.subscribe("room").bind("e", lambda event: event.nothing)
    world.expect_subscribed("room")
    world.drop(4200, "again")
    world.run(60)
    world.publish("room", "e", 1)
    world.run(1)
"""


def test_a_program_without_logging_sees_only_the_failure_of_its_handler() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert "raised for e on room" in ran.stderr
    assert "AttributeError" in ran.stderr
    assert "no connection" not in ran.stderr
    assert ran.stdout == ""


# The hook.


def test_the_hook_gets_every_event_at_once_and_claims_none() -> None:
    world = World()
    seen: list[Event] = []
    client = connected(world, on_event=seen.append)
    assert [type(event).__name__ for event in seen] == [
        "StateChanged",
        "StateChanged",
        "ConnectionEstablished",
    ]
    seen.clear()
    room = client.subscribe("room")
    world.run(1)
    world.publish("room", "price", 1)
    assert [type(event).__name__ for event in seen] == [
        "Subscribed",
        "SubscriptionCount",
        "ChannelEvent",
    ]
    # No consumer selected it yet, and it is kept for the first one.
    assert [event.data for event in room.events("price").ready()] == [1]


def test_the_hook_is_called_for_events_that_streams_drop() -> None:
    world = World()
    seen: list[str] = []
    client = connected(world, on_event=lambda event: seen.append(type(event).__name__))
    stream = client.subscribe("room").events("n", buffer=2, overflow="drop_oldest")
    world.run(1)
    for n in range(5):
        world.publish("room", "n", n)
    assert "EventsDropped" not in seen
    assert [event.data for event in stream.ready()] == [3, 4]
    client.ping()
    assert seen.count("EventsDropped") == 1


def test_a_hook_that_raises_is_logged_and_disturbs_nothing(heard: Heard) -> None:
    world = World()

    def fail(event: Event) -> None:
        raise ValueError(type(event).__name__)

    client = connected(world, on_event=fail)
    got: list[Event] = []
    client.bind(StateChanged, got.append)
    client.disconnect()
    world.run(1)
    assert len(got) == 1
    assert "on_event raised for ConnectionEstablished" in lines(heard, "client", logging.ERROR)


def test_a_hook_may_give_commands() -> None:
    world = World()
    names: list[str] = []

    def follow(event: Event) -> None:
        names.append(type(event).__name__)
        if names[-1] == "ConnectionEstablished":
            client.subscribe("room")

    client = FakeClient(world, connect=False, on_event=follow)
    client.connect()
    world.run(1)
    assert "Subscribed" in names


def test_the_final_end_is_logged_as_an_error(heard: Heard) -> None:
    script = connecting()
    script.open().upgrade().text(error_message(4001, "no such app"))
    assert isinstance(script.session.failure, ConnectionFailed)
    (line,) = lines(heard, "connection", logging.ERROR)
    assert "4001" in line


class Callback:
    def __call__(self) -> None: ...
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (subscribed, "subscribed"),
        (Callback().method, "Callback.method"),
        (Callback(), "Callback"),
        (partial(connected, World()), "connected"),
        (partial(partial(Callback()), 1), "Callback"),
    ],
)
def test_a_function_is_named_in_messages_a_partial_by_its_function(
    function: Callable[..., object], name: str
) -> None:
    assert name_of(function) == name
