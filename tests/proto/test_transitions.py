"""Every row of the transition tables is taken by a session: none stands there for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from proto.inputs import random_sequence
from proto.play import Play
from proto.scripted import (
    Script,
    connected,
    connecting,
    error_message,
    upgraded,
    upgrading,
)
from proto.websocket_peer import answer
from pusher_proto import AuthResponse, CatchUp, ChannelEvent, ConnectionUnsafe, states
from pusher_proto._channels import catching_up, channel, user
from pusher_proto._connection import connector

pytestmark = pytest.mark.timeout(300)

Rows = set[tuple[Enum, Enum]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """The rows that were taken so far."""
    seen: Rows = set()

    def advance(table: Any, state: Any, given: Any) -> Any:
        if (state, given) in table:
            seen.add((state, given))
        return states.advance(table, state, given)

    for module in (catching_up, channel, connector, user):
        monkeypatch.setattr(module, "advance", advance)
    return seen


def close_at_once() -> None:
    """IDLE, CLOSE."""
    Script().end()


def certificate_refused() -> None:
    """OPENING, REFUSED."""
    connecting().fail(ConnectionUnsafe("the certificate is not trusted"))


def refused_while_leaving() -> None:
    """UNSUBSCRIBING, REFUSE."""
    script = connected().subscribe("room")
    script.do(script.session.unsubscribe, "room").text(error_message(4009, "no", "room"))


def refused_instead_of_a_greeting() -> None:
    """GREETING, REFUSED."""
    connecting().open().upgrade().error(4001)


def refused_instead_of_the_upgrade() -> None:
    """UPGRADING, REFUSED."""
    upgrading(first_attempts=1).receive(answer("404 Not Found"))


def terminated() -> None:
    """CONNECTED, REFUSED."""
    connected().close(4009, "You got disconnected by the app.")


def connected_again_after_a_failure() -> None:
    """FAILED, CONNECT."""
    upgraded().error(4001).connect()


def connected_too_soon_after_a_failure() -> None:
    """FAILED, CONNECT_LATER."""
    script = upgraded().error(4001).connect()
    script.open().upgrade().error(4001).connect()


def connected_too_soon_after_a_disconnect() -> None:
    """DISCONNECTED, CONNECT_LATER."""
    script = connecting().fail().disconnect().connect()
    script.fail().disconnect().connect()


def disconnected_after_a_failure() -> None:
    """FAILED, DISCONNECT."""
    upgraded().error(4001).disconnect()


def closed_after_a_failure() -> None:
    """FAILED, CLOSE."""
    upgraded().error(4001).end()


def closed_before_the_greeting() -> None:
    """GREETING, CLOSE."""
    connecting().open().upgrade().end()


def wanted_again_while_leaving() -> None:
    """UNSUBSCRIBING, WANT."""
    script = connected().subscribe("room")
    script.do(script.session.unsubscribe, "room").subscribe("room")


def left_without_an_answer() -> None:
    """UNSUBSCRIBING, EXPIRE."""
    script = connected().subscribe("room")
    script.do(script.session.unsubscribe, "room").wait(60)


def refused_after_there_was_no_answer() -> None:
    """TIMED_OUT, REFUSE."""
    script = connected().subscribe("room").wait(30)
    script.send("pusher:subscription_error", {"error": "no"}, "room")


def too_large_to_be_sent() -> None:
    """PENDING, REFUSE."""
    connected(max_frame=10).subscribe("room")


def left_after_there_was_no_answer() -> None:
    """TIMED_OUT, LEAVE."""
    script = connected().subscribe("room").wait(31)
    script.do(script.session.unsubscribe, "room")


def signed_in_by_a_late_answer() -> None:
    """AUTHORIZING, SUCCEED."""
    success = {"user_data": '{"id":"ada"}'}
    response = AuthResponse("key:signature", user_data='{"id":"ada"}')
    script = connected(auth=None)
    script.do(script.session.signin)
    script.do(script.session.authorized, script.asked[-1].request, response)
    script.send("pusher:signin_success", success).close(4200)
    script.wait(1).open().upgrade().greet()
    script.do(script.session.authorized, script.asked[-1].request, response).wait(19)
    script.send("pusher:signin_success", success)


def fetched_after_a_pause_of_reading() -> None:
    """PAUSED, CONFIRM."""
    script = connected(receive_buffer=100)
    script.do(script.session.subscribe, "room", catch_up=CatchUp(lambda _: []))
    script.send("pusher_internal:subscription_succeeded", {}, "room")
    script.pulls = False
    script.send("news", "x" * 100, "room").wait(2)
    script.do(script.session.ping)
    script.pulls = True
    script.pump()
    script.wait(1).send("pusher:pong").send("pusher:pong")


def given_up_between_two_attempts() -> None:
    """RETRYING, GIVE_UP."""

    def fetch(_: object) -> list[ChannelEvent]:
        raise OSError

    script = connected(catch_up_timeout=0.001)
    script.do(script.session.subscribe, "room", catch_up=CatchUp(fetch))
    script.send("pusher_internal:subscription_succeeded", {}, "room").wait(0.01)


SCRIPTS: list[Callable[[], None]] = [
    signed_in_by_a_late_answer,
    fetched_after_a_pause_of_reading,
    given_up_between_two_attempts,
    refused_after_there_was_no_answer,
    too_large_to_be_sent,
    close_at_once,
    certificate_refused,
    refused_while_leaving,
    refused_instead_of_a_greeting,
    refused_instead_of_the_upgrade,
    terminated,
    connected_again_after_a_failure,
    connected_too_soon_after_a_failure,
    connected_too_soon_after_a_disconnect,
    disconnected_after_a_failure,
    closed_after_a_failure,
    closed_before_the_greeting,
    wanted_again_while_leaving,
    left_without_an_answer,
    left_after_there_was_no_answer,
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_script_takes_the_row_that_it_is_for(script: Callable[[], None], taken: Rows) -> None:
    script()
    state, given = (script.__doc__ or "").rstrip(".").split(", ")
    assert (state, given) in {(row[0].name, row[1].name) for row in taken}


def test_random_sequences_and_the_scripts_take_every_row(taken: Rows) -> None:
    rng = random.Random(1)
    for _ in range(250):
        play = Play(random_sequence(rng))
        play.run()
        play.finish()
    for script in SCRIPTS:
        script()
    tables: list[Any] = [states.SESSION, states.CHANNEL, states.USER, states.CATCH_UP]
    every = {row for table in tables for row in table}
    assert taken == every
