"""Recordings: the inputs of a session run again, with the same effects and events, and without the secrets."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pusher_proto.replay
from pusher_proto import (
    AuthEndpoint,
    Authorize,
    AuthResponse,
    CallApplication,
    CancelCall,
    CatchUp,
    CaughtUp,
    ChannelEvent,
    Event,
    GapNotClosed,
    LocalProtocolError,
    NotSubscribed,
    OpenTransport,
    Options,
    OwnKey,
    ReadingPaused,
    SendData,
    Session,
)
from pusher_proto.recording import INPUTS, recording_session, replay
from pusher_proto.signing import sign_channel
from simulation import Device, World

BEGUN = '{"options":{"host":"h","key":"k"},"seed":1}'


def recorded(world: World, options: Options, **kw: Any) -> tuple[Device, list[str]]:
    """Return a device whose session is recorded, and the lines so far."""
    lines: list[str] = []
    device = Device(world, recording_session(options, lines.append), **kw)
    world.devices.append(device)
    device.connect()
    return device, lines


CALLS = (Authorize, CallApplication, CancelCall)


def comparable(steps: list[Any]) -> tuple[list[str], list[Any]]:
    """Return effects and events apart; masks and signatures differ, sizes of what is sent do not."""
    effects = [
        f"{type(s).__name__} {s.transport}" + (f" {len(s.data)}" if isinstance(s, SendData) else "")
        for s in steps
        if hasattr(s, "transport")
    ]
    effects += [f"{type(s).__name__} {s.request}" for s in steps if isinstance(s, CALLS)]
    return effects, [repr(s) for s in steps if isinstance(s, Event)]


@given(seed=st.integers(0, 2**32), chunk=st.sampled_from([None, 1, 7, 100]))
def test_a_recording_gives_the_same_effects_and_events_again(seed: int, chunk: int | None) -> None:
    rng = random.Random(seed)
    world = World(seed)
    world.network.chunk = chunk
    options = world.options(auth=OwnKey("demo", "demo-secret", member={"user_id": "me"}))
    device, lines = recorded(world, options)
    memories = {name: CatchUp(lambda _: rows, lambda event: event.data["n"]) for name in "ab"}
    rows: list[tuple[str, object]] = []
    for _ in range(16):
        match rng.randrange(8):
            case 0 | 1:
                device.subscribe(rng.choice(["a", "b", "presence-c", "private-d"]))
            case 6:
                name = rng.choice("ab")
                device.subscribe(name, catch_up=memories[name])
            case 7:  # an event that may be missed; some are published twice, or have no key
                rows.append(("ev", {"n": rng.choice([None, rng.randrange(9)])}))
                if rng.random() < 0.5:
                    world.publish(["a", "b"], *rows[-1])
            case 2:
                device.unsubscribe(rng.choice(["a", "b", "presence-c", "private-d"]))
            case 3:
                world.act(world.server.drop, rng.choice([None, 4200, 4100]))
            case 4:
                world.publish(["a", "private-d"], "ev", {"n": rng.random()})
            case 5:
                world.run(rng.choice([0.005, 0.05, 3.0]))
    device.close()
    world.run(5)
    assert comparable(list(replay(lines))) == comparable([*device.effects, *device.events])


def test_an_auth_endpoint_and_an_authorizer_are_replayed_from_what_they_answered() -> None:
    world = World()
    endpoint = AuthEndpoint(
        "http://pusher.test/pusher/auth",
        headers=lambda: {"Authorization": "Bearer hunter2"},
        refresh=lambda: "hunter2",
    )
    options = world.options(auth=endpoint)

    def authorizer(request: Any) -> AuthResponse:
        return AuthResponse(sign_channel("demo", "demo-secret", request.socket_id, request.channel))

    device, lines = recorded(world, options, authorizer=authorizer)
    device.subscribe("private-a")
    device.subscribe("private-b", auth=authorizer)
    device.subscribe("private-c", auth=OwnKey("demo", "demo-secret"))
    device.subscribe("private-d", auth=AuthResponse("demo:wrong"))
    world.run(2)
    world.publish(["private-a", "private-b"], "ev", 1)
    subscribed = [s for s in replay(lines) if isinstance(s, ChannelEvent)]
    assert subscribed == [
        ChannelEvent("private-a", "ev", "1"),
        ChannelEvent("private-b", "ev", "1"),
    ]
    assert any('"call_ended"' in line for line in lines)
    assert not [line for line in lines if "hunter2" in line or "demo-secret" in line]


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        ({"Authorization": "Bearer hunter2"}, {"value": {}}),
        ("hunter2", {"value": None}),
        (OSError("down"), {"error": "OSError: down"}),
    ],
)
def test_the_results_of_functions_are_kept_without_what_is_in_them(
    result: object, kept: object
) -> None:
    lines: list[str] = []
    session = recording_session(Options(host="ws.test", key="demo"), lines.append)
    session.call_ended(1, result, now=1.0)
    assert json.loads(lines[-1])["args"] == [{"value": 1}, kept]


def test_a_proxy_is_kept_without_its_login() -> None:
    lines: list[str] = []
    options = Options(host="ws.test", key="demo", proxy="socks5://ada:hunter2@proxy.test")
    session = recording_session(options, lines.append)
    session.connect(now=1.0)
    session.transport_opened(1, now=1.0)
    session.receive_data(1, b"\x05\x02\x01\x00\x05\x00\x00\x01" + bytes(6), now=1.0)
    session.tls_started(1, now=1.0)
    assert "hunter2" not in "".join(lines)
    effects = [type(step).__name__ for step in replay(lines) if hasattr(step, "transport")]
    assert effects == ["OpenTransport", "SendData", "SendData", "StartTls", "SendData"]


def test_of_users_and_keys_only_the_ids_are_kept() -> None:
    world = World()
    about = {"mail": "ada@example.test"}
    own = OwnKey(
        "demo",
        "demo-secret",
        member={"user_id": "ada", "user_info": about},
        user={"id": "ada", "user_info": about},
        master_key=b"k" * 32,
    )
    endpoint = AuthEndpoint("https://me:hidden@app.test/auth?token=hidden")
    device, lines = recorded(world, world.options(auth=own))
    device.subscribe("private-a", auth=endpoint)
    for data in ('{"user_id":"ada","user_info":{"mail":"ada@example.test"}}', "ada@example", None):
        authorization = AuthResponse(
            "demo:hidden", channel_data=data, shared_secret="aGlkZGVu", user_data=data
        )
        device.subscribe("presence-b", auth=authorization)
        device.subscribe("private-encrypted-c", auth=authorization)
        device.unsubscribe("presence-b")
        device.unsubscribe("private-encrypted-c")
    text = "".join(lines)
    assert '"user":{"id":"ada"}' in text
    assert '"channel_data":"{\\"user_id\\":\\"ada\\"}"' in text
    assert [each for each in ("ada@", "hidden", "aGlkZGVu", "kkkk") if each in text] == []
    assert list(replay(lines))


def test_what_the_application_failed_to_authorization_is_replayed_as_a_failure() -> None:
    world = World()
    options = Options.from_host("pusher.test", key="demo", tls=False)
    device, lines = recorded(world, options, authorizer=lambda _request: KeyError("no"))
    device.subscribe("private-a")
    world.run(2)
    assert "SubscriptionFailed" in repr(list(replay(lines)))
    assert device.session.channel("private-a").last_error is not None


def test_a_recording_is_bounded_and_says_so() -> None:
    lines: list[str] = []
    session = recording_session(Options.from_host("h", key="k"), lines.append, limit=400)
    for n in range(100):
        session.subscribe(f"channel-{n}", now=n)
    assert sum(map(len, lines)) < 600
    assert lines[-1] == '{"truncated":true}\n'
    assert len(list(replay(lines))) == len(lines) - 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("closed")])
def test_what_cannot_be_written_ends_the_recording_and_nothing_else(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    def write(line: str) -> None:
        if len(lines) == 2:
            raise error
        lines.append(line)

    session = recording_session(Options.from_host("h", key="k"), write)
    session.connect(now=0.0)
    session.subscribe("a", now=0.0)
    session.subscribe("b", now=0.0)
    assert session.channels() == ("a", "b")
    assert len(lines) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"the recording ends here, as it cannot be written: {type(error).__name__}: {error}"
    ]


def test_inputs_after_the_end_are_not_recorded() -> None:
    world, lines = World(), list[str]()
    device = Device(world, recording_session(Options.from_host("h", key="k"), lines.append))
    device.close()
    assert device.session.closed
    written = len(lines)
    device.session.authorization_failed(1, RuntimeError("late"), now=1.0)
    assert len(lines) == written


def test_a_resolver_of_the_application_is_not_called_again() -> None:
    lines: list[str] = []
    options = Options(
        resolve_url=lambda meta: f"ws://real.test/app/{meta.key}",
        key="k",
        subprotocols=("a",),
        slow_retry=(5.0, 9.0),
    )
    session = recording_session(options, lines.append)
    session.connect(now=1)
    opened = [s for s in replay(lines) if isinstance(s, OpenTransport)]
    assert opened == [OpenTransport(1, "resolved.invalid", 443, True)]


@pytest.mark.parametrize(
    "lines",
    [
        ["nonsense"],
        ["[]"],
        ['{"input":"connect"}'],
        ['{"options":{"host":"h"},"seed":1}', '{"input":"explode","now":1}'],
        ['{"options":{"host":"h"},"seed":1}', '{"input":"connect","now":1,"args":[1]}'],
        ['{"options":{"host":"h","key":"k","new":1},"seed":1}'],
        ['{"options":{"host":"h","key":"k"}}'],
        ['{"options":3,"seed":1}'],
        [BEGUN, '{"input":"connect"}'],
        [BEGUN, '{"input":"connect","now":"soon"}'],
        [BEGUN, '{"input":"connect","now":true}'],
        [BEGUN, '{"input":"connect","now":1,"args":[{"value":3}]}'],
        [BEGUN, '{"input":"subscribe","now":1,"args":[{"value":"a"}],"auth":{"own_key":"k"}}'],
    ],
)
def test_what_is_not_a_recording_is_reported(lines: list[str]) -> None:
    with pytest.raises(ValueError):
        list(replay(lines))


def test_what_the_session_refused_to_do_is_refused_again_and_the_rest_follows() -> None:
    lines: list[str] = []
    session = recording_session(Options.from_host("h", key="k"), lines.append)
    with pytest.raises(NotSubscribed):
        session.trigger("private-a", "client-b", 1, now=1)
    session.connect(now=2)
    inputs = [step for step in replay(lines) if isinstance(step, tuple)]
    assert inputs == [(1, "trigger"), (2, "connect")]


def test_every_input_of_the_session_is_recorded() -> None:
    takes_now = {
        name
        for name, member in inspect.getmembers(Session, inspect.isfunction)
        if not name.startswith("_") and "now" in inspect.signature(member).parameters
    }
    assert takes_now - {"next_event"} == set(
        INPUTS
    )  # pulls are noted in the line of the next input


def test_the_command_prints_what_happens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()
    device, lines = recorded(world, world.options())
    device.subscribe("a")
    world.run(1)
    file = tmp_path / "recording.jsonl"
    file.write_text("".join(lines))
    assert pusher_proto.replay.main([str(file)]) == 0
    printed = capsys.readouterr().out
    assert "subscribe" in printed
    assert "effect  OpenTransport" in printed
    assert "event   Subscribed" in printed


def test_the_command_says_what_is_wrong_with_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "no.jsonl"
    file.write_text("no\n")
    with pytest.raises(SystemExit) as ended:
        pusher_proto.replay.main([str(file)])
    assert ended.value.code == 2
    assert "not a valid line of a recording" in capsys.readouterr().err


def test_what_was_used_wrongly_changes_nothing_when_it_is_replayed() -> None:
    world = World()
    device, lines = recorded(world, world.options())
    device.subscribe("private-a")
    world.run(1)
    before = len(lines)
    misuse: list[Callable[[], object]] = [
        lambda: device.subscribe("no such name!"),
        lambda: device.trigger("never-subscribed", "client-x", {}),
        lambda: device.trigger("private-a", "client-x", object()),
        lambda: device.trigger("private-a", "client-x", {"n": float("nan")}),
        lambda: device.trigger("private-a", 5, {}),  # type: ignore[arg-type]  # as it happens
    ]
    for wrong in misuse:
        with pytest.raises((LocalProtocolError, TypeError)) as raised:
            wrong()
        assert "msgspec" not in str(raised.value)
    assert len(lines) == before + 5
    device.trigger("private-a", "client-y", {"n": 1})
    device.close()
    world.run(5)
    assert comparable(list(replay(lines))) == comparable([*device.effects, *device.events])


def test_a_line_that_counts_more_events_than_there_were_pulls_what_there_is() -> None:
    world = World()
    _, lines = recorded(world, world.options())
    world.run(1)
    more = [line.replace('"input":', '"pulled":99,"input":') for line in lines[1:2]]
    steps = list(replay([lines[0], *more, *lines[2:]]))
    assert comparable(steps) == comparable(list(replay(lines)))


def test_a_pause_of_reading_is_the_same_in_the_replay() -> None:
    world = World()
    device, lines = recorded(world, world.options(receive_buffer=500))
    device.subscribe("a")
    world.run(1)
    device.pulls = False
    for n in range(50):
        world.act(world.server.publish, "a", "n", n)
    world.run(20)
    seen = []
    while (event := device.session.next_event(now=world.now)) is not None:
        seen.append(event)
    device.pulls = True
    device.pump()
    world.run(1)
    (paused,) = [event for event in seen if isinstance(event, ReadingPaused)]
    assert 19 < paused.seconds < 20
    device.session.hold(1000, now=world.now)
    world.run(5)
    device.session.hold(0, now=world.now)
    device.session.disconnect(now=world.now)
    again = [event for event in replay(lines) if isinstance(event, ReadingPaused)]
    assert [event.seconds for event in again] == [paused.seconds, 5.0]


def test_fetched_events_are_recorded_and_duplicates_dropped_in_the_replay() -> None:
    world = World()
    device, lines = recorded(world, world.options())
    rows = [("order", {"id": number}) for number in range(3)]
    device.subscribe("orders", catch_up=CatchUp(lambda _: rows, "id"))
    world.run(1)
    world.publish("orders", "order", {"id": 2})
    world.publish("orders", "order", {"id": 3})
    device.close()
    world.run(5)
    assert [event.data["id"] for event in device.of(ChannelEvent)] == [0, 1, 2, 3]
    again = [step for step in replay(lines) if isinstance(step, Event)]
    assert comparable(again) == comparable(device.events)


def test_what_a_key_function_and_the_wall_clock_returned_is_the_same_in_the_replay() -> None:
    world, lines = World(), list[str]()
    session = recording_session(world.options(), lines.append, wall_clock=lambda: world.now + 1e9)
    device = Device(world, session)
    world.devices.append(device)
    device.connect()

    def key(event: ChannelEvent) -> int | None:
        if event.data["id"] == 4:
            raise LookupError("this one has no key")
        return int(event.data["id"]) or None

    rows = [("order", {"id": number, "secret": "hunter2"}) for number in (0, 1, 2, 2)]
    device.subscribe("orders", catch_up=CatchUp(lambda _: rows, key))
    world.run(1)
    for number in (2, 0, 4, 3):
        world.publish("orders", "order", {"id": number})
    world.act(world.server.drop, 4200)
    world.run(5)
    device.close()
    world.run(5)
    assert [event.data["id"] for event in device.of(ChannelEvent)] == [0, 1, 2, 0, 4, 3, 0]
    gaps = [event.gap for event in device.of(CaughtUp)]
    assert [gap.last and gap.last.data["id"] for gap in gaps] == [None, 3]
    assert [gap.since is None for gap in gaps] == [True, False]
    again = [step for step in replay(lines) if isinstance(step, Event)]
    assert comparable(again) == comparable(device.events)
    # A recording that ends within an input has no outcomes of it, and the key is not known.
    without = [line for line in lines if "keys" not in line.split(":")[0]]
    assert sum(isinstance(step, ChannelEvent) for step in replay(without)) > 7


def test_a_channel_that_is_subscribed_again_with_the_same_functions_continues_in_the_replay() -> (
    None
):
    world = World()
    device, lines = recorded(world, world.options())
    rows = [("order", 1)]
    memory = CatchUp(lambda _: rows, lambda event: event.data)
    device.subscribe("orders", catch_up=memory)
    world.run(0.001)  # the gap is open
    device.subscribe("orders", catch_up=memory)
    world.run(1)
    device.unsubscribe("orders")
    rows.append(("order", 2))
    device.subscribe("orders", catch_up=memory)
    world.run(1)
    other = CatchUp(lambda _: [], lambda event: event.data)
    device.subscribe("orders", catch_up=other)
    world.run(1)
    assert [event.data for event in device.of(ChannelEvent)] == [1, 2]
    firsts = [event.gap.first for event in device.of(CaughtUp)]
    assert firsts == [True, False, True]
    again = [step for step in replay(lines) if isinstance(step, Event)]
    assert comparable(again) == comparable(device.events)


def test_the_outcome_for_a_duplicate_that_moves_the_last_event_is_kept() -> None:
    world = World()
    device, lines = recorded(world, world.options())
    ids = iter([[1, 2], [2, 1], []])
    memory = CatchUp(
        lambda _: [("order", number) for number in next(ids)], lambda event: event.data
    )
    device.subscribe("orders", catch_up=memory)
    for _ in range(2):
        world.run(1)
        world.act(world.server.drop, 4200)
    world.run(5)
    lasts = [event.gap.last and event.gap.last.data for event in device.of(CaughtUp)]
    assert lasts == [None, 2, 1]
    again = [step for step in replay(lines) if isinstance(step, Event)]
    assert comparable(again) == comparable(device.events)


@pytest.mark.parametrize("line", ['{"keys":"x"}', '{"keys":3}', '{"times":["x"]}', '{"times":3}'])
def test_outcomes_that_no_function_has_are_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not valid outcomes of functions"):
        list(replay([BEGUN, '{"input":"connect","now":1}', line]))


def test_the_input_before_a_line_that_was_cut_off_is_replayed() -> None:
    steps = replay([BEGUN, '{"input":"connect","now":1}', '{"input":"conn'])
    assert next(steps) == (1, "connect")
    with pytest.raises(ValueError, match="not a valid line of a recording"):
        list(steps)


def test_a_catch_up_function_that_raised_raises_in_the_replay() -> None:
    world = World()
    device, lines = recorded(world, world.options(catch_up_timeout=1.0))

    def fails(_: object) -> list[tuple[str, object]]:
        raise OSError("no")

    device.subscribe("orders", catch_up=CatchUp(fails, lambda event: event.data["id"]))
    world.run(5)
    (reported,) = device.of(GapNotClosed)
    again = [step for step in replay(lines) if isinstance(step, GapNotClosed)]
    assert [one.channel for one in again] == [reported.channel]
