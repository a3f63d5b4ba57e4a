"""Calls of the application's functions: bounded until they have returned, one for a channel, and reported (D1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from proto.scripted import Script, connected, forgetful
from proto.test_auth_requests import BATCH, ENDPOINT, RESPONSE, SOCKET, World
from pusher_proto._wire.http import Headers, HttpResponse
from pusher_proto.auth import AuthEndpoint, AuthRequest, AuthResponse
from pusher_proto.effects import Authorize, AuthorizeMany, CallApplication, CancelCall
from pusher_proto.events import Subscribed, SubscriptionFailed
from pusher_proto.states import ChannelState

NEVER = "the authorizer did not answer within 10 s"


def hanging(count: int, **options: Any) -> World:
    """Return a world where `count` channels are wanted and no call returns."""
    world = World(**options)
    for number in range(count):
        world.number(f"private-{number}")
    return world


def test_D1_calls_that_never_return_are_bounded_and_channels_have_one_each() -> None:
    world = hanging(100, max_authorizing=2)
    out: list[int] = []
    for _ in range(200):
        out += world.asked
        world.passes(10)
    assert len(out) == 8
    assert len(set(out)) == 8
    assert len(world.authorizations.hanging(world.now)) == 8


def test_D1_a_call_gives_its_slot_back_after_three_times_auth_timeout() -> None:
    world = hanging(5, max_authorizing=2)
    assert world.asked == [1, 2]
    world.passes(29.9)
    assert world.asked == []
    world.passes(0.1)
    assert world.asked == [3, 4]
    world.authorized(3)
    assert world.asked == [5]


def test_D1_a_user_has_one_call_at_a_time_however_long_it_hangs() -> None:
    script = asking()
    script.do(script.session.signin)
    for _ in range(200):
        script.wait(0.1)
    assert [one.details.channel for one in script.asked] == [None]


def test_D1_a_channel_is_not_asked_for_again_before_its_call_has_returned() -> None:
    world = World(max_authorizing=2)
    world.number("private-a")
    world.passes(10)
    assert world.reported() == [("private-a", NEVER)]
    again = world.number("private-a")
    other = world.number("private-b")
    assert world.asked == [1, other]
    world.passes(100)
    assert world.asked == []
    world.authorized(1, RESPONSE)  # late: for nothing
    assert world.asked == [again]
    world.authorized(again)
    assert world.reported() == [("private-b", NEVER), ("private-a", "authorization")]


def test_D1_when_the_calls_return_all_channels_are_authorized() -> None:
    world = hanging(10, max_authorizing=2)
    asked: list[int] = []
    for _ in range(30):
        asked += world.asked
        world.passes(10)
    failed = {channel for channel, _ in world.reported()}
    assert len(failed) == 8
    for channel in sorted(filter(None, failed)):
        world.number(channel)
    for number in asked:
        world.authorized(number, OSError("at last"))
    for _ in range(10):
        for number in world.asked:
            world.authorized(number)
    reported = world.reported()
    assert sorted(reported) == [(f"private-{n}", "authorization") for n in range(10)]
    assert world.timers.next() is None


def test_D1_calls_that_hang_are_logged_once_with_their_number_and_the_age_of_the_oldest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    world = hanging(1, max_authorizing=4)
    world.passes(5)
    world.number("private-b")
    world.passes(24.9)
    assert caplog.messages == []
    for _ in range(10):
        world.passes(10)
    assert caplog.messages == [
        (
            "2 calls of the application's functions for authorizations did not return yet, the oldest for 30 s: "
            "set a timeout in the HTTP client they use"
        )
    ]
    for number in (1, 2):
        world.authorized(number, OSError())
    world.number("private-c")
    world.passes(40)
    assert caplog.messages[1:] == [
        (
            "1 call of the application's functions for authorizations did not return yet, the oldest for 30 s: "
            "set a timeout in the HTTP client they use"
        )
    ]


def test_D1_it_is_logged_once_that_the_bound_is_reached(caplog: pytest.LogCaptureFixture) -> None:
    world = hanging(10, max_authorizing=1)
    for _ in range(20):
        world.passes(10)
    said = [text for text in caplog.messages if "which is the limit" in text]
    assert said == [
        (
            "4 calls of the application's functions have not returned, which is the limit: "
            "further calls wait until one returns"
        )
    ]
    world.authorized(1, OSError())
    assert len(world.authorizations.hanging(world.now)) == 3
    world.passes(100)
    assert len([text for text in caplog.messages if "which is the limit" in text]) == 2


@pytest.mark.parametrize("end", ["time", "left", "connection", "close"])
def test_D1_a_call_of_no_more_use_is_cancelled_once(end: str) -> None:
    world = World()
    number = world.number()
    world.effects.clear()
    match end:
        case "time":
            world.passes(10)
        case "left":
            world.authorizations.cancel(number, world.now)
        case "connection":
            world.authorizations.drop_all(world.now)
        case "close":
            world.authorizations.close(world.now)
    assert world.cancelled == [number]
    world.authorizations.drop_all(world.now)
    world.authorizations.close(world.now)
    assert world.cancelled == []
    world.authorized(number, TimeoutError("cancelled"))
    assert world.timers.next() is None


def test_D1_a_call_that_ended_is_not_cancelled() -> None:
    world = World()
    world.authorized(world.number())
    world.authorizations.drop_all(world.now)
    assert world.cancelled == []


def test_D1_a_call_for_several_counts_until_each_is_answered() -> None:
    world = World(many=True, max_authorizing=1)
    for name in "ab":
        world.number(f"private-{name}")
    world.passes(0)
    world.effects.clear()
    world.authorized(1)
    world.passes(10)
    assert world.cancelled == [1]
    assert world.reported() == [("private-a", "authorization"), ("private-b", NEVER)]
    world.number("private-c")
    world.passes(0)
    assert world.effects == []
    world.authorized(2, OSError())
    assert world.effects == [AuthorizeMany((3,), (AuthRequest(SOCKET, "private-c"),))]


def test_an_answer_for_one_of_several_that_was_left_is_dropped() -> None:
    world = World(many=True)
    for name in "ab":
        world.number(f"private-{name}")
    world.passes(0)
    world.authorizations.cancel(1, world.now)
    assert world.cancelled == []  # the other one is still wanted
    world.authorized(1)
    world.authorized(2)
    assert world.reported() == [("private-b", "authorization")]


# Headers, params and refresh.


def functions(**more: Callable[[], Any]) -> World:
    """Return a world with an endpoint whose functions do not return before the test says so."""
    world = World(AuthEndpoint("https://app.test/auth", **more))  # type: ignore[arg-type]  # the names choose the arguments
    world.holds = True
    return world


def test_house_2_8_headers_and_params_are_called_where_they_may_take_their_time() -> None:
    world = functions(headers=dict, params=lambda: {"a": "1"})
    number = world.number()
    (headers,) = world.calls()
    assert (headers.function, world.endpoint.bodies) == (dict, [])
    world.authorized(headers.request, {"X-A": "1"})
    (params,) = world.calls()
    assert world.endpoint.bodies == []
    world.authorized(params.request, {"b": "2"})
    assert world.endpoint.bodies == [b"socket_id=1.1&channel_name=private-x&b=2"]
    world.answered(number)
    assert world.reported() == [("private-x", "authorization")]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (LookupError("no token"), "AuthEndpoint.headers raised: LookupError: no token"),
        (None, "AuthEndpoint.headers returned an invalid value: TypeError: a mapping was expected, not NoneType"),
        ({"X-A": "x\n"}, ("the request for the auth endpoint cannot be made: ValueError: "
         "the value of the header 'X-A' ends in a newline: strip() it")),
    ],
)  # fmt: skip
def test_headers_that_are_none_fail_the_channel_alone(result: object, why: str) -> None:
    world = functions(headers=dict)
    world.number("private-a")
    world.number("private-b")
    (one,) = world.calls()
    world.authorized(one.request, result)
    assert world.reported() == [("private-a", why)]
    (other,) = world.calls()
    world.authorized(other.request, {})
    assert world.endpoint.bodies == [b"socket_id=1.1&channel_name=private-b"]


def test_the_functions_of_one_endpoint_are_called_one_at_a_time() -> None:
    """They share a token, and a plain one runs in a thread."""
    world = functions(headers=dict, refresh=dict)
    for name in "abc":
        world.number(f"private-{name}")
    (first,) = world.calls()
    world.authorized(first.request, {})
    (second,) = world.calls()
    world.answered(1, HttpResponse(401, Headers(), b""))
    assert world.calls() == []
    world.authorized(second.request, {})
    (third,) = world.calls()
    world.authorized(third.request, {})
    (refresh,) = world.calls()
    assert refresh.function is dict


def test_D1_the_functions_of_an_endpoint_are_called_again_beside_one_that_hangs() -> None:
    world = functions(headers=dict)
    for name in "ab":
        world.number(f"private-{name}")
    (hangs,) = world.calls()
    world.passes(29)
    assert world.calls() == []
    world.passes(1)
    (other,) = world.calls()
    world.authorized(hangs.request, {})  # does not let a third one in
    world.number("private-c")
    assert world.calls() == []
    world.authorized(other.request, {})
    assert len(world.calls()) == 1


def test_D1_headers_that_hang_fail_the_request_and_are_bounded() -> None:
    world = functions(headers=dict)
    world.number()
    (call,) = world.calls()
    world.passes(10)
    why = "the function of AuthEndpoint.headers or params did not answer within 10 s"
    assert world.reported() == [("private-x", why)]
    assert world.cancelled == [call.request]
    world.number()
    world.passes(50)
    assert world.calls() == []  # one call for a channel
    assert world.reported() == []  # its time runs from the call


def test_house_2_8_a_refresh_that_takes_its_time_serves_all_that_wait_for_it() -> None:
    world = functions(refresh=dict)
    for name in "abc":
        world.number(f"private-{name}")
    refused = HttpResponse(401, Headers(), b"")
    world.answered(1, refused)
    (refresh,) = world.calls()
    world.answered(2, refused)
    assert world.calls() == []
    assert world.endpoint.under_way == [3]
    world.authorized(refresh.request, None)
    assert world.endpoint.under_way == [3, 1, 2]
    world.answered(3, refused)  # it was made with the old token
    assert world.calls() == []
    assert world.endpoint.under_way == [1, 2, 3]


def test_a_refresh_continues_when_the_connection_is_lost() -> None:
    world = functions(refresh=dict)
    world.answered(world.number(), HttpResponse(401, Headers(), b""))
    (refresh,) = world.calls()
    world.authorizations.drop_all(world.now)
    assert world.effects == []
    world.answered(world.number(), HttpResponse(401, Headers(), b""))
    assert world.calls() == []
    world.authorized(refresh.request, None)
    assert world.endpoint.under_way == [3]  # the refresh has number 2


def test_D1_a_refresh_that_hangs_is_cancelled_and_its_requests_fail() -> None:
    world = functions(refresh=dict)
    world.passes(1)
    world.answered(world.number("private-a"), HttpResponse(401, Headers(), b""))
    (refresh,) = world.calls()
    world.passes(2)
    world.answered(world.number("private-b"), HttpResponse(401, Headers(), b""))
    world.passes(8)
    assert world.cancelled == [refresh.request]
    assert world.reported() == [
        ("private-a", "AuthEndpoint.refresh did not answer within 10 s"),
        ("private-b", "AuthEndpoint.refresh raised: TimeoutError: it did not return within 10 s"),
    ]
    world.authorizations.close(world.now)
    assert world.cancelled == []


def test_a_token_that_is_refreshed_for_a_batch_is_used_for_all_of_it() -> None:
    world = World(AuthEndpoint(BATCH.url, batch=2, body="json", refresh=dict))
    for name in "ab":
        world.number(f"private-{name}")
    world.passes(0)
    world.answered(1, HttpResponse(419, Headers(), b""))
    assert len(world.endpoint.bodies) == 2
    assert world.endpoint.bodies[0] == world.endpoint.bodies[1]


def test_a_request_that_fails_at_once_instead_of_a_cancelled_one_is_reported() -> None:
    bad = AuthEndpoint("https://app.test/auth", body="json", params={"x": object()})  # type: ignore[dict-item]  # wrong on purpose
    world = World(auth_connections=1)
    good = world.number("private-a", ENDPOINT)
    world.number("private-b", bad)
    world.authorizations.cancel(good, world.now)
    world.passes(0)
    ((channel, why),) = world.reported()
    assert channel == "private-b"
    assert "the request for the auth endpoint cannot be made" in why
    failed = world.ask("private-c", bad)
    assert "cannot be made" in str(failed)


def test_seed_1_9b_the_ssl_context_of_an_endpoint_goes_to_its_connections() -> None:
    context = SimpleNamespace(wrap_bio=print)
    script = connected(auth=AuthEndpoint("https://auth.test/", ssl_context=context))
    script.subscribe("private-x")
    assert [act.ssl_context for act in script.acts()] == [context]


# A session.


def asking(**options: Any) -> Script:
    return forgetful(connected(auth=None, auth_timeout=0.1, retry_cap=1.0, **options))


def test_D1_ten_channels_and_a_function_that_hangs_for_200_times_its_time() -> None:
    script = asking(max_authorizing=2)
    names = [f"private-{n}" for n in range(10)]
    script.subscribe(*names)
    for _ in range(200):
        script.wait(0.1)
    assert len(script.asked) == 8
    assert len({one.details.channel for one in script.asked}) == 8
    assert script.session.stats.calls_hanging == 8
    assert script.session.hanging_calls.startswith("8 calls of the application's functions")
    answered = 0
    for _ in range(20):
        while answered < len(script.asked):
            request = script.asked[answered].request
            script.do(script.session.authorized, request, AuthResponse("key:sig"))
            answered += 1
        script.wait(1)
    states = {script.session.channel(name).state for name in names}
    assert states == {ChannelState.SUBSCRIBING}
    assert script.session.hanging_calls == ""


@pytest.mark.parametrize(
    "result",
    [None, 7, "key:sig", {"auth": "key:sig"}, AuthResponse("no colon"), RuntimeError("no"), KeyboardInterrupt()],
)  # fmt: skip
def test_nonsense_of_an_authorizer_is_reported_once_and_costs_no_other_channel_anything(
    result: Any,
) -> None:
    script = asking().subscribe("private-bad", "private-good")
    bad, good = script.asked
    for _ in range(2):  # the second answer is for nothing
        script.do(script.session.authorized, bad.request, result)
    script.do(script.session.authorized, good.request, AuthResponse("key:sig"))
    script.send("pusher_internal:subscription_succeeded", {}, "private-good")
    failures = [
        event for event in script.take() if isinstance(event, SubscriptionFailed | Subscribed)
    ]
    assert [event.channel for event in failures] == ["private-bad", "private-good"]


def test_an_answer_for_a_channel_that_was_unsubscribed_changes_nothing() -> None:
    script = asking().subscribe("private-left", "private-kept")
    left, kept = script.asked
    script.do(script.session.unsubscribe, "private-left")
    for result in (AuthResponse("key:sig"), 7, RuntimeError("no")):
        script.do(script.session.authorized, left.request, result)
    assert script.take(SubscriptionFailed) == []
    script.do(script.session.authorized, kept.request, AuthResponse("key:sig"))
    assert script.session.channel("private-kept").state is ChannelState.SUBSCRIBING


def test_closing_cancels_the_calls_that_are_in_progress() -> None:
    script = asking().subscribe("private-x")
    script.acts()
    script.session.close(now=script.now)
    effects = []
    while (effect := script.session.next_effect()) is not None:
        effects.append(effect)
    assert CancelCall(1) in effects
    assert not any(isinstance(one, Authorize | CallApplication) for one in effects)
