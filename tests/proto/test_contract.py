"""The contract of the session: each line of it is one property over random sequences of all inputs."""

from __future__ import annotations

import inspect
import random
import re
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.bad_server import AUTH_HOST
from proto.inputs import Sequence, random_sequence, sequences, tried
from proto.play import Play, comparable, is_frame, played
from pusher_proto import (
    Authorize,
    AuthResponse,
    CallApplication,
    CancelCall,
    CaughtUp,
    ChannelState,
    Closed,
    CloseTransport,
    Event,
    EventsDropped,
    GapNotClosed,
    OpenTransport,
    SendData,
    StartTls,
    TypedEvent,
    UserState,
    session,
)
from pusher_proto import events as events_module
from pusher_proto._base.timers import Timer
from pusher_proto._wire.websocket import WebSocket
from pusher_proto.signing import sign_channel, sign_user
from pusher_proto.states import CallState

pytestmark = pytest.mark.timeout(600)


@tried
@given(sequences)
def test_1_once_drained_there_is_nothing_until_the_next_input(sequence: Sequence) -> None:
    """Drain. After any input call `next_effect` until it returns None, then read `next_deadline` again."""

    def after(play: Play) -> None:
        deadline = play.session.next_deadline()
        play.looks()
        play.pull()
        assert play.session.next_effect() is None
        assert play.session.next_deadline() == deadline

    Play(sequence, after_input=after).run()


@tried
@given(sequences)
def test_2_each_number_has_one_beginning_and_one_end(sequence: Sequence) -> None:
    """One answer. Every OpenTransport ends exactly once: by `transport_failed`, or by `transport_opened` and later one
    `transport_closed`; no effect is about it afterwards. A StartTls is answered by `tls_started` or by that end. Every
    Authorize and CallApplication gets exactly one answer, even after a CancelCall.
    """
    begun: set[int] = set()
    asked: set[int] = set()
    seen = 0

    def after(play: Play) -> None:
        nonlocal seen
        fresh, seen = play.effects[seen:], len(play.effects)
        for effect in fresh:
            match effect:
                case OpenTransport():
                    assert effect.transport == len(begun) + 1
                    begun.add(effect.transport)
                case SendData() | StartTls():
                    stream = play.streams[effect.transport]
                    assert stream.opened
                    assert not stream.ended
                case CloseTransport():
                    assert not play.streams[effect.transport].ended
                case Authorize() | CallApplication():
                    assert effect.request not in asked
                    asked.add(effect.request)

    play = Play(sequence, after_input=after)
    play.run()
    play.finish()
    assert all(stream.ended for stream in play.streams.values())
    assert (play.asked, play.called) == ({}, set())
    assert play.session.closed


@tried
@given(sequences)
def test_3_stray_answers_change_nothing(sequence: Sequence) -> None:
    """Late is harmless. Answers for finished or unknown numbers are ignored; numbers are never reused."""
    assert played(sequence, stray=True) == played(sequence)


@tried
@given(sequences)
def test_4_effects_of_a_transport_are_in_order(sequence: Sequence) -> None:
    """Order. Effects of one transport are carried out in order; a close without `abort` follows all queued data."""
    play = Play(sequence)
    acts = [act for step in play.run() for act in step.acts]
    of: dict[int, list[Any]] = defaultdict(list)
    for number, act in acts:
        of[number].append(act)
    of.pop(0, None)
    for number, done in of.items():
        # OpenTransport, what is said to a proxy, what is sent, perhaps a CloseTransport, perhaps one with abort.
        assert re.fullmatch(r"o(pt?)?s*c?a{0,2}", "".join(map(letter, done))), (number, done)
        sent = [act for act in done if letter(act) == "s"]
        if play.streams[number].is_websocket:
            assert all(isinstance(act, str) == (at == 0) for at, act in enumerate(sent))
            closes = [at for at, act in enumerate(sent) if is_frame(act, "close")]
            assert closes in ([], [len(sent) - 1])
    triggered: dict[str, list[int]] = {}
    for _, act in acts:
        if isinstance(act, dict) and "channel" in act:
            triggered.setdefault(act["channel"], []).append(act["data"][0])
    for numbers in (
        triggered.values()
    ):  # an event that waited for its channel may be older than events of another
        assert numbers == sorted(set(numbers))


@tried
@given(sequences)
def test_5_only_handle_timeout_fires_and_it_fires_everything_due(sequence: Sequence) -> None:
    """Time. `now` is monotonic seconds; a smaller value than before is replaced by the largest one so far. Only
    `handle_timeout` fires timers: all that are due, in the order of their deadlines; then no deadline is `<= now`.
    """

    def after(play: Play) -> None:
        if play.last == "handle_timeout":
            assert play.fired == sorted(play.fired)
            assert all(due <= play.latest for due in play.fired)
            assert play.next_deadline is None or play.next_deadline > play.latest
        else:
            assert play.fired == []

    assert played(sequence, after_input=after) == played(sequence, clamped=True)


@tried
@given(sequences, st.integers(0, 2**32))
def test_6_splitting_what_is_received_changes_nothing(sequence: Sequence, cut: int) -> None:
    """Bytes split anywhere. How received data is split into calls changes no event and no effect."""
    whole = played(sequence, stalls=False)
    split = played(sequence, stalls=False, cut=random.Random(cut))
    assert [comparable(step) for step in split] == [comparable(step) for step in whole]


def letter(act: Any) -> str:
    match act:
        case OpenTransport():
            return "o"
        case CloseTransport():
            return "a" if act.abort else "c"
        case ("tunnel", _):
            return "p"
        case StartTls():
            return "t"
        case _:
            return "s"


@tried
@given(sequences)
def test_7_no_received_bytes_raise_and_wrong_use_changes_nothing(sequence: Sequence) -> None:
    """Peers cannot raise. Nothing that a server sends makes an input raise. Wrong local use raises, and changes
    nothing.
    """
    play = Play(
        sequence, hostile=True
    )  # it compares all looks before and after a command that raises
    play.run()
    play.finish()


@tried
@given(sequences)
def test_8_nothing_grows_beyond_its_limit(sequence: Sequence) -> None:
    """Bounded. Messages, HTTP heads and bodies, bytes of waiting messages, channels, members, requests for
    authorizations, calls of the application: each has a limit in Options.
    """

    def after(play: Play) -> None:
        session, options = play.session, play.session.options
        assert len(session.channels()) <= options.max_channels
        for name in session.channels():
            assert len(session.channel(name).members) <= options.max_members
        auth = [
            stream
            for stream in play.streams.values()
            if stream.effect.host == AUTH_HOST and not stream.reported and not stream.ended
        ]
        assert len(auth) <= options.auth_connections
        for calls in (session._auth_requests._calls, session._catch_ups.calls):
            out = calls._out.values()
            assert len(out) <= 4 * options.max_authorizing
            running = sum(call.state is not CallState.HANGING for call in out)
            assert running <= options.max_authorizing
        for one in session._catch_ups._channels.values():
            assert len(one._held) <= options.catch_up_buffer + 1
        # A read is taken as a whole, and so are the messages that a new key opens; then reading stops.
        assert session.events.waiting() <= options.receive_buffer + 4000
        link = session._connector._link
        if link is not None:
            assert isinstance(link._websocket, WebSocket)
            frames = link._websocket._frames
            assert len(frames._held) + len(frames._text) <= options.max_message_size + 10
            if play.last == "trigger":
                assert session._transports.unsent(link.transport) <= options.outbox_limit + 1000
        for kept in session._auth_requests._pool._kept.values():
            assert len(kept.http._body) <= options.max_auth_body

    Play(sequence, after_input=after).run()


@tried
@given(sequences)
def test_9_reading_stops_and_continues_at_the_marks_and_pings_do_not_wait(
    sequence: Sequence,
) -> None:
    """Reading pauses, pings do not. `wants_data` of the WebSocket becomes False when `receive_buffer` bytes of messages
    wait, and True when half of them are left. While it is False, pings are sent, and the deadlines of the server's
    answers are suspended: pong, subscribe, sign-in. Auth transports always want data.
    """
    wanted, unanswered = True, 0

    def after(play: Play) -> None:
        nonlocal wanted, unanswered
        session = play.session
        states = [session.channel(name).state for name in session.channels()]
        before, unanswered = unanswered, states.count(ChannelState.TIMED_OUT)
        high = session.options.receive_buffer
        link, queued = session._connector._link, session.events.waiting()
        for number in play.streams:
            if link is None or number != link.transport:
                assert session.wants_data(number)
        if link is None or session.socket_id is None:
            wanted = True
            return
        wants = session.wants_data(link.transport)
        if queued >= high:
            assert not wants
        elif queued <= high // 2:
            assert wants
        else:
            # Held messages stay when the application has taken all others.
            assert wants or not wanted or session.events.held
        assert wanted or wants or unanswered <= before
        wanted = wants
        due = {timer: session._timers.is_set(timer) for timer in (Timer.ACTIVITY, Timer.PONG)}
        assert due[Timer.ACTIVITY] != due[Timer.PONG]
        assert wants or due[Timer.ACTIVITY]

    Play(sequence, after_input=after).run()


@tried
@given(sequences)
def test_10_an_authorization_is_used_on_the_connection_that_it_was_made_for(
    sequence: Sequence,
) -> None:
    """An authorization belongs to one socket_id. The loss of the connection drops all pending requests."""

    def after(play: Play) -> None:
        session = play.session
        if session.socket_id is None:
            states = {session.channel(name).state for name in session.channels()}
            assert states <= {ChannelState.PENDING}
            assert session.user.state is UserState.SIGNED_OUT
            assert session._auth_requests._requests == {}

    play = Play(sequence, after_input=after)
    for step in play.run():
        for number, act in step.acts:
            if isinstance(act, dict) and "auth" in str(act["data"]):
                socket_id = play.streams[number].socket_id or ""
                channel, auth = act["data"].get("channel"), act["data"]["auth"]
                assert auth in ("key:wrong", expected(sequence, socket_id, channel, act["data"]))


def expected(sequence: Sequence, socket_id: str, channel: str | None, data: dict[str, str]) -> str:
    """Return the `auth` that fits this connection."""
    if sequence.auth != "own key":
        return f"key:{socket_id}"
    if channel is None:
        return sign_user("key", "secret", socket_id, data["user_data"])
    return sign_channel("key", "secret", socket_id, channel, data.get("channel_data"))


@tried
@given(sequences)
def test_11_after_closed_nothing_is_done_and_nothing_reported(sequence: Sequence) -> None:
    """Closed is the end. After `Closed` there are no effects and no deadline, and inputs do nothing."""
    play = Play(sequence)
    play.run()
    play.finish()
    assert [type(event) for event in play.events].count(Closed) == 1
    assert play.events[-1] == Closed()
    reported, before = len(play.events), play.looks()
    for step in sequence.steps:
        play.play(step)
    play._answer_strays()
    for command in (play.session.connect, play.session.disconnect, play.session.signin):
        play.input(command)
    play.input(play.session.subscribe, "room")
    play.input(play.session.trigger, "room", "x", None)
    play.input(play.session.authorized, 1, AuthResponse("key:late"))
    assert (len(play.events), play.looks()) == (reported, before)
    assert play.session.next_effect() is None
    assert play.session.next_deadline() is None


@tried
@given(sequences)
def test_12_the_same_inputs_bring_about_the_same(sequence: Sequence) -> None:
    """Deterministic. The same options, rng and inputs give the same effects (decoded frames) and events."""
    assert played(sequence) == played(sequence)


def test_each_line_of_the_contract_has_its_property() -> None:
    contract = re.findall(
        r"^ *(\d+)\. +((?:.+\n)+?)(?= *\d+\. |\Z)", session.__doc__ or "", re.MULTILINE
    )
    lines = [(int(number), " ".join(text.split())) for number, text in contract]
    properties = [
        (int(name.split("_")[1]), " ".join((inspect.getdoc(function) or "").split()))
        for name, function in globals().items()
        if re.match(r"test_\d", name)
    ]
    assert properties == lines


def test_the_sequences_reach_every_corner() -> None:
    """Coverage of the properties: a few hundred sequences cause every kind of event and of act."""
    rng = random.Random(1)
    events: set[type[Event]] = set()
    acts: set[Any] = set()
    refusals: set[str] = set()
    timers: set[Timer] = set()
    for _ in range(250):
        play = Play(random_sequence(rng))
        for step in play.run():
            acts |= {kind_of_act(act) for _, act in step.acts}
            refusals |= {reported.partition("(")[0] for reported in step.events}
        play.finish()
        events |= {type(event) for event in play.events}
        timers |= play.timers
    never = {
        Event,
        TypedEvent,
        EventsDropped,
        events_module.Message,
        events_module.ProtocolMessage,
    }  # they are made elsewhere, or when asked for
    every = {kind for kind in vars(events_module).values() if is_event(kind)}
    every |= {CaughtUp, GapNotClosed}
    assert events == every - never
    # For this one a server has to send for a minute after a ping that it does not answer: see test_liveness.
    # LOOK is the client's, and the options played set no rate for TRIGGER.
    assert timers == set(Timer) - {Timer.ONE_WAY, Timer.LOOK, Timer.TRIGGER}
    assert acts == {
        OpenTransport,
        SendData,
        StartTls,
        CloseTransport,
        Authorize,
        CallApplication,
        CancelCall,
        "tunnel",
        "close",
        "pong",
        "client-x",
        "pusher:ping",
        "pusher:pong",
        "pusher:signin",
        "pusher:subscribe",
        "pusher:unsubscribe",
    }
    errors = {"InvalidName", "NotSubscribed", "UnsupportedFeature", "OutboxFull", "TypeError"}
    assert errors <= refusals


def is_event(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Event)


def kind_of_act(act: Any) -> Any:
    """Return the class of an effect, or what kind of bytes was sent; requests over HTTP are SendData."""
    if isinstance(act, dict):
        return act["event"]
    if isinstance(act, str) or (isinstance(act, tuple) and act[0].startswith("POST")):
        return SendData
    return act[0] if isinstance(act, tuple) else type(act)
