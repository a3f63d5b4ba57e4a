"""AuthRequests for channels: tied to one connection, bounded in number and time, and tried again when that may help."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    AuthRequest,
    AuthResponse,
    ChannelState,
    OpenTransport,
    OwnKey,
    Subscribed,
    SubscriptionCount,
    SubscriptionError,
    SubscriptionFailed,
    Unsubscribed,
)
from simulation import HOST, Device, World

C = ChannelState
SUBSCRIBE = "pusher:subscribe"
URL = f"http://{HOST}/pusher/auth"


def state_of(device: Device, name: str) -> ChannelState:
    return device.session.channel(name).state


def manual(*channels: str, **options: Any) -> tuple[World, Device]:
    """Return a world and a device whose application has not answered the requests for authorizations."""
    world = World()
    options.setdefault("auth", None)
    device = world.connected(world.options(**options))
    device.subscribe(*channels)
    return world, device


def answer(world: World, device: Device, which: int = -1, result: Any = None) -> None:
    """Let the application answer a request: with `result`, or with the authorization that it should."""
    number, request = device.asked[which]
    if isinstance(result, BaseException):
        device.do(device.session.authorization_failed, number, result)
    else:
        authorization = (
            world.authorization(request, member={"user_id": "me"}) if result is None else result
        )
        device.do(device.session.authorized, number, authorization)


def failure(device: Device) -> SubscriptionFailed:
    """Return the failure, which is the only event; nothing was sent."""
    (event,) = device.take()
    assert isinstance(event, SubscriptionFailed)
    assert isinstance(event.error, AuthorizationError)
    assert state_of(device, event.channel) is C.FAILED
    assert [heard for heard in device.world.heard() if heard[0] == SUBSCRIBE] == []
    return event


# One authorization for one connection.


def test_an_authorization_is_requested_for_the_channel_and_the_connection() -> None:
    _, device = manual("private-a", "presence-b")
    socket_id = str(device.session.socket_id)
    assert [request for _, request in device.asked] == [
        AuthRequest(socket_id, "private-a"),
        AuthRequest(socket_id, "presence-b"),
    ]
    assert [state_of(device, name) for name in ("private-a", "presence-b")] == [C.AUTHORIZING] * 2


def test_an_authorization_for_a_lost_connection_is_dropped_and_another_is_requested() -> None:
    world, device = manual("private-a")
    world.act(world.server.drop, 4200)
    world.run(1)
    assert len(device.asked) == 1  # the call for the old connection has not returned
    answer(world, device, 0)
    world.run(1)
    (old, old_request), (new, new_request) = device.asked
    assert (old != new, old_request.socket_id != new_request.socket_id) == (True, True)
    assert (world.heard(), state_of(device, "private-a")) == ([], C.AUTHORIZING)
    answer(world, device, 1)
    world.run(1)
    answer(world, device, 1)  # twice
    answer(world, device, 0)
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, "private-a")]
    assert device.of(Subscribed) == [Subscribed("private-a")]
    assert device.of(SubscriptionFailed) == []


@pytest.mark.parametrize("late", ["authorization", "error", "garbage"])
def test_an_answer_after_leaving_or_disconnecting_is_dropped(late: str) -> None:
    results = {"authorization": None, "error": PermissionError("no"), "garbage": 5}
    world, device = manual("private-left", "private-kept")
    device.unsubscribe("private-left")
    device.do(device.session.disconnect)
    device.take()
    for which in (0, 1):
        answer(world, device, which, results[late])
    world.run(100)
    assert (world.heard(), device.take()) == ([], [])
    assert (state_of(device, "private-left"), state_of(device, "private-kept")) == (
        C.UNSUBSCRIBED,
        C.PENDING,
    )


def test_left_and_wanted_again_only_the_new_answer_counts() -> None:
    world, device = manual("private-a")
    device.unsubscribe("private-a")
    device.subscribe("private-a")
    answer(world, device, 0, AuthResponse("key:old"))
    assert state_of(device, "private-a") is C.AUTHORIZING
    answer(world, device, 1)
    world.run(1)
    assert device.take() == [
        Unsubscribed("private-a"),
        Subscribed("private-a"),
        SubscriptionCount("private-a", 1),
    ]


@pytest.mark.parametrize("name", ["private-a", "private-none"])
def test_an_authorization_for_another_connection_is_not_used_whatever_its_source(
    name: str,
) -> None:
    world, device = manual("private-a", "room")
    subscriptions = device.session._subscriptions
    subscriptions.authorized(AuthRequest("9.9", name), AuthResponse("key:x"), world.now)
    subscriptions.authorized(AuthRequest("9.9", "room"), AuthResponse("key:x"), world.now)
    device.session._user.authorized(AuthRequest("9.9"), AuthResponse("key:x"), world.now)
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, "room")]


# Answers that are not an authorization.


@pytest.mark.parametrize(
    ("name", "result", "why"),
    [
        (
            "private-a",
            PermissionError("not you"),
            "the authorizer raised: PermissionError: not you",
        ),
        ("private-a", KeyboardInterrupt(), "the authorizer raised: KeyboardInterrupt"),
        ("private-a", "key:signature", "an authorizer returns an AuthResponse, not str"),
        (
            "private-a",
            {"auth": "key:x"},
            "an authorizer returns an AuthResponse, not dict: write AuthResponse(answer['auth'])",
        ),
        ("private-a", AuthResponse(""), "the authorization has no `auth`"),
        (
            "private-a",
            AuthResponse(5),  # type: ignore[arg-type]  # wrong on purpose
            "the authorization has a `auth` of type int, not a string",
        ),
        ("private-a", AuthResponse(None), "the authorization has no `auth`"),  # type: ignore[arg-type]  # wrong on purpose
        (
            "presence-a",
            AuthResponse("key:x", channel_data={"user_id": "1"}),  # type: ignore[arg-type]  # wrong on purpose
            "the authorization has a `channel_data` of type dict, not a string: return the JSON text that was signed",
        ),
        (
            "private-encrypted-a",
            AuthResponse("key:x", shared_secret=b"x" * 44),  # type: ignore[arg-type]  # wrong on purpose
            "the authorization has a `shared_secret` of type bytes, not a string",
        ),
        (
            "private-encrypted-a",
            AuthResponse("key:x", shared_secret="x"),
            "the authorization has no shared_secret of 32 bytes in base64",
        ),
        (
            "presence-a",
            AuthResponse("key:x", channel_data="{}"),
            "the authorization has no user_id in its channel_data",
        ),
        (
            "presence-a",
            AuthResponse("key:x", channel_data="x"),
            "the authorization has no user_id in its channel_data",
        ),
        (
            "presence-a",
            AuthResponse("key:x", channel_data='{"user_id":true}'),
            "the authorization has no user_id in its channel_data",
        ),
        (
            "presence-a",
            AuthResponse("key:x"),
            "the authorization for 'presence-a' has no channel_data, and no user is signed in",
        ),
    ],
    ids=str,
)
def test_what_is_not_an_authorization_fails_the_channel_permanently(
    name: str, result: Any, why: str
) -> None:
    world, device = manual(name)
    answer(world, device, -1, result)
    world.run(100)
    failed = failure(device)
    assert (failed.channel, str(failed.error), failed.retry_in) == (name, why, None)
    assert len(device.asked) == 1


class HttpError(OSError):
    """An error as HTTP libraries raise it, which often is an OSError too."""

    def __init__(self, **fields: Any) -> None:
        super().__init__("an answer")
        self.__dict__.update(fields)


class Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


@pytest.mark.parametrize(
    ("error", "status", "again"),
    [
        (ConnectionError(), None, True),
        (TimeoutError(), None, True),
        (OSError("no route"), None, True),
        (PermissionError(), None, False),
        (ValueError(), None, False),
        (HttpError(response=None), None, True),
        (HttpError(response=Response(403)), 403, False),
        (HttpError(response=Response(503)), 503, True),
        (HttpError(status=404), 404, False),
        (HttpError(status=429), 429, True),
        (HttpError(code=401), 401, False),
        (HttpError(code=408), 408, True),
        (HttpError(code="ECONN"), None, True),
    ],
    ids=repr,
)
def test_what_an_authorizer_raises_is_tried_again_when_it_may_pass(
    error: BaseException, status: int | None, again: bool
) -> None:
    world, device = manual("private-a")
    answer(world, device, -1, error)
    failed = failure(device)
    assert isinstance(failed.error, AuthorizationError)
    assert (failed.error.status, failed.error.__cause__) == (status, error)
    assert (failed.retry_in is not None) is again
    world.run(5)
    assert (len(device.asked) > 1) is again


def test_the_application_s_own_error_arrives_as_it_is() -> None:
    world, device = manual("private-a")
    error = AuthorizationError("go away", channel="private-a", status=403, body="no")
    answer(world, device, -1, error)
    assert failure(device).error is error


def test_a_failure_of_one_channel_leaves_the_others_alone() -> None:
    world, device = manual("private-a", "private-b", "room")
    answer(world, device, 0, PermissionError("no"))
    answer(world, device, 1)
    world.run(1)
    assert [state_of(device, name) for name in ("private-a", "private-b", "room")] == [
        C.FAILED,
        C.SUBSCRIBED,
        C.SUBSCRIBED,
    ]


@pytest.mark.parametrize("again", ["subscribe", "reconnect"])
def test_a_refused_channel_is_requested_again_when_that_may_help(again: str) -> None:
    world, device = manual("private-a")
    answer(world, device, -1, PermissionError("no"))
    if again == "subscribe":
        device.subscribe("private-a")
    else:
        world.act(world.server.drop, 4200)
        world.run(1)
    assert len(device.asked) == 2
    answer(world, device)
    world.run(1)
    assert state_of(device, "private-a") is C.SUBSCRIBED
    assert device.session.channel("private-a").last_error is None


# For the moment.


def test_a_failure_for_the_moment_is_tried_again_with_growing_delays() -> None:
    world, device = manual("private-a")
    delays = []
    for failures in range(1, 12):
        answer(world, device, -1, ConnectionError("no network"))
        (event,) = device.take()
        assert isinstance(event, SubscriptionFailed)
        assert event.retry_in is not None
        assert 1.0 <= event.retry_in <= 30.0
        assert event.retry_in <= max(2.0, 2.0 ** (failures - 1))
        asked = len(device.asked)
        world.run(event.retry_in - 0.001)
        assert len(device.asked) == asked
        world.run(0.002)
        assert len(device.asked) == asked + 1
        delays.append(event.retry_in)
    assert max(delays) > 8
    answer(world, device)
    world.run(1)
    assert device.of(Subscribed) == [Subscribed("private-a")]


def test_the_delays_start_again_once_it_was_subscribed() -> None:
    world, device = manual("private-a", auth_timeout=100.0)

    def fail_again() -> float:
        """Fail the request, and return the delay before the next, which has been made then."""
        device.take()
        answer(world, device, -1, TimeoutError())
        delay = failure_of(device).retry_in
        assert delay is not None
        world.run(delay)
        return delay

    assert max(fail_again() for _ in range(8)) > 4.0
    for _ in range(10):
        answer(world, device)
        world.run(1)
        asked = len(device.asked)
        world.act(world.server.drop, 4200)
        world.run_until(lambda asked=asked: len(device.asked) > asked)  # type: ignore[misc]  # mypy infers no lambda with defaults
        assert fail_again() <= 2.0


@pytest.mark.parametrize("end", ["unsubscribe", "disconnect", "reset"])
def test_a_channel_that_is_no_longer_wanted_or_possible_is_not_tried_again(end: str) -> None:
    world, device = manual("private-a")
    answer(world, device, -1, ConnectionError())
    world.network.refuse = True
    if end == "unsubscribe":
        device.unsubscribe("private-a")
    elif end == "disconnect":
        device.do(device.session.disconnect)
    else:
        world.reset(device)
    world.run(50)
    assert len(device.asked) == 1


def test_a_channel_subscribed_again_and_refused_is_not_tried_again_for_the_failure_before() -> None:
    world, device = manual("private-a")
    answer(world, device, -1, ConnectionError())
    device.subscribe("private-a")
    answer(world, device, -1, PermissionError())
    world.run(100)
    assert len(device.asked) == 2
    assert state_of(device, "private-a") is C.FAILED


# No answer.


def test_an_authorizer_that_never_answers_fails_its_channel_and_no_other() -> None:
    world, device = manual("private-a", "private-b", "room", auth_timeout=10.0)
    answer(world, device, 1)
    world.run(9)
    assert [state_of(device, n) for n in ("private-a", "private-b", "room")] == [
        C.AUTHORIZING,
        C.SUBSCRIBED,
        C.SUBSCRIBED,
    ]
    device.take()
    world.run(1.01)
    failed = failure_of(device)
    assert str(failed.error) == "the authorizer did not answer within 10 s"
    assert failed.retry_in is not None
    world.run(failed.retry_in)
    assert len(device.asked) == 2  # at most one call for a channel
    answer(world, device, 0, OSError("late"))
    assert len(device.asked) == 3


def failure_of(device: Device) -> SubscriptionFailed:
    (event,) = device.of(SubscriptionFailed)
    assert isinstance(event, SubscriptionFailed)
    return event


def test_an_answer_after_an_hour_is_dropped() -> None:
    world, device = manual("private-a", auth_timeout=10.0)
    world.run(3600)
    asked = len(device.asked)
    device.take()
    for which in range(asked - 1):
        answer(world, device, which)
    world.run(0.1)
    assert device.of(Subscribed) == []


# At most so many at once.


def test_the_application_gets_at_most_the_limit_of_requests_at_once_and_in_order() -> None:
    names = [f"private-{n}" for n in range(20)]
    world, device = manual(*names, max_authorizing=8)
    assert [request.channel for _, request in device.asked] == names[:8]
    for answered in range(20):
        assert len(device.asked) == min(answered + 8, 20)
        answer(world, device, answered)
    assert [request.channel for _, request in device.asked] == names
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, name) for name in names]


def test_a_channel_that_is_unsubscribed_while_waiting_for_its_turn_is_never_requested() -> None:
    world, device = manual("private-a", "private-b", "private-c", max_authorizing=1)
    device.unsubscribe("private-b")
    answer(world, device)
    assert [request.channel for _, request in device.asked] == ["private-a", "private-c"]


def test_unsubscribing_a_requested_channel_lets_the_next_have_its_turn() -> None:
    _, device = manual("private-a", "private-b", max_authorizing=1)
    device.unsubscribe("private-a")
    assert [request.channel for _, request in device.asked] == ["private-a"]
    device.do(device.session.authorization_failed, device.asked[0][0], TimeoutError("cancelled"))
    assert [request.channel for _, request in device.asked] == ["private-a", "private-b"]


def test_leaving_and_wanting_over_and_over_keeps_no_queue() -> None:
    _, device = manual("private-a", max_authorizing=1)
    for _ in range(100):
        device.subscribe("private-b")
        device.unsubscribe("private-b")
    assert len(device.session._auth_requests._requests) == 1
    assert len(device.asked) == 1


def test_waiting_channels_have_their_turn_when_the_others_hang() -> None:
    world, device = manual("private-a", "private-b", max_authorizing=1, auth_timeout=10.0)
    world.run(29)
    assert [request.channel for _, request in device.asked] == ["private-a"]
    world.run(1.01)
    assert [request.channel for _, request in device.asked] == ["private-a", "private-b"]
    world.run(9)
    answer(world, device, 1)
    world.run(0.5)
    assert state_of(device, "private-b") is C.SUBSCRIBED


def test_a_slow_application_has_the_whole_time_for_each() -> None:
    names = [f"private-{n}" for n in range(40)]
    world = World()
    device = world.connected(world.options(auth=None, max_authorizing=8, auth_timeout=10.0))
    device.subscribe(*names)
    for first in range(0, 40, 8):
        world.run(9)
        for which in range(first, first + 8):
            answer(world, device, which)
    world.run(1)
    assert device.of(SubscriptionFailed) == []
    assert [state_of(device, name) for name in names] == [C.SUBSCRIBED] * 40


def test_no_channel_that_waits_for_its_turn_is_requested_when_the_connection_is_lost() -> None:
    world, device = manual("private-a", "private-b", "private-c", max_authorizing=1)
    world.network.refuse = True
    world.reset(device)
    world.run(5)
    assert len(device.asked) == 1
    answer(world, device, 0)
    world.network.refuse = False
    world.run_until(lambda: device.session.socket_id)
    assert [request for _, request in device.asked[1:]] == [
        AuthRequest(str(device.session.socket_id), "private-a")
    ]


# Ways to get one.


def test_a_channels_own_way_counts_for_that_channel_only() -> None:
    world, device = manual(auth=AuthResponse("demo:wrong"))
    device.subscribe("private-a", auth=world.own_key())
    device.subscribe("private-b")
    device.subscribe("private-c", auth=lambda request: world.authorization(request))
    assert [request.channel for _, request in device.asked] == ["private-c"]
    answer(world, device)
    world.run(1)
    assert [state_of(device, f"private-{n}") for n in "abc"] == [
        C.SUBSCRIBED,
        C.FAILED,
        C.SUBSCRIBED,
    ]


def test_a_ready_authorization_is_sent_as_it_is() -> None:
    world, device = manual()
    authorization = AuthResponse("key:signature", channel_data='{"user_id":1}')
    device.subscribe("presence-a", auth=authorization)
    world.run(1)
    assert [message.data for message in world.server.received][:1] == [
        {"channel": "presence-a", "auth": "key:signature", "channel_data": '{"user_id":1}'}
    ]


def test_a_ready_authorization_is_for_the_connection_on_which_it_was_passed() -> None:
    world, device = manual()
    request = AuthRequest(str(device.session.socket_id), "private-a")
    authorization = world.authorization(request)
    device.subscribe("private-a", auth=authorization)
    world.run(1)
    assert state_of(device, "private-a") is C.SUBSCRIBED
    world.act(world.server.drop, 4200)
    device.take()
    world.heard()
    world.run(1)
    (failed,) = device.of(SubscriptionFailed)
    assert failed.retry_in is None
    assert str(failed.error) == (
        "the AuthResponse for 'private-a' was for an earlier connection: subscribe again with a new one, or pass a "
        "function that returns one"
    )
    device.subscribe("private-a", auth=authorization)  # the same one again
    world.run(1000)
    assert SUBSCRIBE not in dict(world.heard())
    assert (state_of(device, "private-a"), device.asked) == (C.FAILED, [])
    request = AuthRequest(str(device.session.socket_id), "private-a")
    device.subscribe("private-a", auth=world.authorization(request))
    world.run(1)
    assert state_of(device, "private-a") is C.SUBSCRIBED


def test_a_ready_authorization_that_was_passed_without_a_connection_is_sent_on_each() -> None:
    world = World()
    device = world.device(world.options(auth=None))
    device.subscribe("private-a", auth=AuthResponse("key:signature"))
    for _ in range(2):
        device.connect()
        world.run(1)
        assert (SUBSCRIBE, "private-a") in world.heard()
        device.do(device.session.disconnect)


def test_an_own_key_without_a_master_key_has_no_key_for_encrypted_channels() -> None:
    world = World()
    device = world.connected(world.options(auth=OwnKey(world.app.key, world.app.secret)))
    device.subscribe("private-encrypted-a")
    assert str(failure(device).error) == (
        "OwnKey has no `master_key`, and 'private-encrypted-a' is encrypted"
    )


def test_what_the_member_function_of_an_own_key_raises_fails_the_channel() -> None:
    def member(channel: str) -> dict[str, Any]:
        raise LookupError(f"nobody on {channel}")

    world = World()
    device = world.connected(world.options(auth=world.own_key(member=member)))
    device.subscribe("presence-a")
    why = "signing failed: LookupError: nobody on presence-a"
    assert str(failure(device).error) == why


def test_names_of_custom_servers_are_signed_when_the_options_allow_them() -> None:
    world = World()
    device = world.connected(world.options(strict_names=False))
    device.subscribe("private-market:btc")
    world.run(1)
    assert world.heard() == [(SUBSCRIBE, "private-market:btc")]


# An endpoint.


def asking(*channels: str, **options: Any) -> tuple[World, Device]:
    """Return a world and a device that asks the server's auth endpoint."""
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL), **options))
    device.subscribe(*channels)
    return world, device


def test_an_endpoint_that_authorizations_is_asked_once_for_each_channel() -> None:
    world, device = asking("private-a", "presence-b", "private-encrypted-c")
    world.run(1)
    assert [request.fields["channel_name"] for request in world.server.auth_requests] == [
        "private-a",
        "presence-b",
        "private-encrypted-c",
    ]
    assert device.of(SubscriptionFailed) == []
    assert list(device.session.channel("presence-b").members) == ["user-1"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 419])
def test_a_refusal_of_the_endpoint_fails_that_channel_permanently(status: int) -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL)))
    world.act(world.server.auth_answer, status, {"error": "no"})
    device.subscribe("private-a", "room")
    world.run(100)
    failed = failure_of(device)
    assert isinstance(failed.error, AuthorizationError)
    assert (failed.channel, failed.error.status, failed.retry_in) == ("private-a", status, None)
    assert isinstance(failed.error, SubscriptionError)
    assert failed.error.code == status
    assert len(world.server.auth_requests) == 1
    assert world.heard() == [(SUBSCRIBE, "room")]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failure_of_the_endpoint_is_tried_again_by_itself(status: int) -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL), auth_attempts=3))
    world.act(world.server.auth_answer, status, "try later", times=5)
    device.subscribe("private-a")
    world.run(60)
    assert len(world.server.auth_requests) == 6
    (failed,) = device.of(SubscriptionFailed)  # after three attempts; the next three were enough
    assert failed.error.status == status
    assert failed.retry_in is not None
    assert device.of(Subscribed) == [Subscribed("private-a")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<!doctype html><title>Log in</title>", "a page, not with JSON"),
        ({}, "has no `auth`"),
        ({"auth": 5}, "`auth` in the answer of the auth endpoint is not a string"),
        ({"auth": "key:x", "channel_data": {}}, "`channel_data` in the answer"),
        ([], "answered with list, not with an object"),
        ("", "cannot be read"),
    ],
)
def test_an_answer_that_is_not_an_authorization_fails_the_channel_and_nothing_is_sent(
    body: Any, why: str
) -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL)))
    world.act(world.server.auth_answer, 200, body)
    device.subscribe("private-a")
    world.run(100)
    failed = failure(device)
    assert why in str(failed.error)
    assert failed.retry_in is None


def test_an_endpoint_that_cannot_be_reached_is_tried_again() -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL)))
    world.network.refuse = True
    device.subscribe("private-a")
    world.run_until(lambda: device.of(SubscriptionFailed))
    assert failure_of(device).retry_in is not None
    world.network.refuse = False
    world.run(30)
    assert device.of(Subscribed) == [Subscribed("private-a")]


def test_an_endpoint_that_never_answers_fails_after_auth_timeout_and_is_tried_again() -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL), auth_timeout=10.0))
    world.act(world.server.delay, 3600.0, "auth")
    device.subscribe("private-a", "room")
    world.run(9.9)
    assert device.take() == [Subscribed("room"), SubscriptionCount("room", 1)]
    world.run(0.2)
    failed = failure_of(device)
    assert str(failed.error) == "the auth endpoint did not answer within 10 s"
    world.act(world.server.delay, 0.0)
    world.run(30)
    assert device.of(Subscribed) == [Subscribed("private-a")]


def test_an_endpoint_s_refresh_is_called_once_and_the_request_made_once_more() -> None:
    calls: list[int] = []
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL, refresh=lambda: calls.append(1))))
    world.act(world.server.auth_answer, 401, {}, times=1)
    device.subscribe("private-a")
    world.run(1)
    assert (calls, state_of(device, "private-a")) == ([1], C.SUBSCRIBED)
    world.act(world.server.auth_answer, 403, {})
    device.subscribe("private-b")
    world.run(1)
    assert (calls, state_of(device, "private-b")) == ([1, 1], C.FAILED)
    assert len(world.server.auth_requests) == 4


def test_what_an_endpoint_s_refresh_raises_fails_the_channel() -> None:
    def refresh() -> None:
        raise LookupError("no session")

    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL, refresh=refresh)))
    world.act(world.server.auth_answer, 403, {})
    device.subscribe("private-a")
    world.run(1)
    why = "AuthEndpoint.refresh raised: LookupError: no session"
    assert str(failure(device).error) == why


def test_a_slow_endpoint_has_the_whole_time_for_each_and_few_connections() -> None:
    names = [f"private-{n}" for n in range(30)]
    world = World()
    device = world.connected(
        world.options(auth=AuthEndpoint(URL), auth_connections=6, auth_timeout=10.0)
    )
    world.act(world.server.delay, 4.0, "auth")
    device.subscribe(*names)
    world.run(25)
    assert device.of(SubscriptionFailed) == []
    assert [state_of(device, name) for name in names] == [C.SUBSCRIBED] * 30
    assert len([effect for effect in device.effects if isinstance(effect, OpenTransport)]) == 1 + 6


def test_a_request_with_a_later_turn_fails_like_one_that_is_sent_at_once() -> None:
    calls = 0

    def headers() -> dict[str, str]:
        nonlocal calls
        calls += 1
        if calls != 2:
            raise LookupError("no token")
        return {}

    world = World()
    auth = AuthEndpoint(URL, headers=headers)
    device = world.connected(world.options(auth=auth, auth_connections=1))
    device.subscribe("private-a", "private-b", "private-c")
    world.run(1)
    failed = device.of(SubscriptionFailed)
    assert [event.channel for event in failed] == ["private-a", "private-c"]
    assert "LookupError: no token" in str(failed[1].error)
    assert device.of(Subscribed) == [Subscribed("private-b")]


def test_the_delay_of_one_that_failed_holds_up_no_other() -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL), auth_connections=1))
    world.act(world.server.auth_answer, 503, "later", times=1)
    device.subscribe("private-a", "private-b")
    world.run_until(lambda: device.of(Subscribed))
    assert device.of(Subscribed) == [Subscribed("private-b")]
    world.run(5)
    assert state_of(device, "private-a") is C.SUBSCRIBED


def test_leaving_a_channel_ends_its_request_and_the_next_is_sent() -> None:
    world = World()
    device = world.connected(world.options(auth=AuthEndpoint(URL), auth_connections=1))
    world.act(world.server.delay, 60.0, "auth")
    device.subscribe("private-a", "private-b")
    world.run(1)
    device.unsubscribe("private-a")
    world.act(world.server.delay, 0.0)
    world.run(1)
    assert state_of(device, "private-b") is C.SUBSCRIBED


def test_a_thousand_channels_are_each_subscribed_once() -> None:
    names = [f"{kind}-{n}" for n in range(500) for kind in ("room", "private")]
    world = World()
    device = world.device(world.options(auth=AuthEndpoint(URL)), connect=False)
    device.subscribe(*names)
    device.connect()
    world.run(5)
    assert sorted(m.channel or "" for m in world.server.received) == sorted(names)
    assert device.session.channels() == tuple(names)
    assert {state_of(device, name) for name in names} == {C.SUBSCRIBED}
