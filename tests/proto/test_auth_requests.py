"""AuthRequests: from all three sources, in turns, bounded in number and time, and one answer to each request."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proto.strategies import tried
from proto.websocket_peer import EXAMPLES
from pusher_proto._auth.http_pool import HttpPool
from pusher_proto._auth.requests import AuthRequests
from pusher_proto._base.timers import Timer, Timers
from pusher_proto._base.urls import Address
from pusher_proto._transports.transports import Transports
from pusher_proto._wire.http import Headers, HttpFailed, HttpRequest, HttpResponse
from pusher_proto.auth import Auth, AuthEndpoint, AuthRequest, AuthResponse, OwnKey
from pusher_proto.effects import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseTransport,
    Effect,
    OpenTransport,
)
from pusher_proto.errors import AuthorizationError, LocalProtocolError
from pusher_proto.options import Options
from pusher_proto.states import CallState

SOCKET = "1.1"
ENDPOINT = AuthEndpoint("https://app.test/auth")
RESPONSE = AuthResponse("KEY:5ec2e7")
GOOD = HttpResponse(200, Headers(), b'{"auth":"KEY:5ec2e7"}')


class FakePool(HttpPool):
    """Writes down what it is asked to send, and checks the time of each request."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.under_way: list[int] = []
        self.bodies: list[bytes] = []
        self.body_of: dict[int, bytes] = {}

    def submit(
        self,
        number: int,
        address: Address,
        request: HttpRequest,
        now: float,
        ssl_context: object = None,
    ) -> None:
        assert (number not in self.under_way, now) == (True, self.clock())
        self.under_way.append(number)
        self.bodies.append(request.body)
        self.body_of[number] = request.body

    def cancel(self, number: int, now: float) -> None:
        assert now == self.clock()
        if number in self.under_way:
            self.under_way.remove(number)

    def cancel_all(self, now: float) -> None:
        assert now == self.clock()
        self.under_way.clear()

    def close(self, now: float) -> None:
        self.cancel_all(now)


class World:
    """AuthRequests under a clock, with an application and an endpoint that answer when the test says so.

    Functions for headers, params and refreshing are called at once, unless `holds` is set.
    """

    def __init__(self, auth: Any = None, *, many: bool = False, **options: Any) -> None:
        self.options = Options.from_host("ws.test", key="KEY", auth=auth, **options)
        self.timers = Timers()
        self.now = 100.0
        self.answers: list[tuple[AuthRequest, AuthResponse | AuthorizationError]] = []
        transports = Transports(self.timers, 2.0)
        self.effects = transports.effects
        self.authorizations = AuthRequests(
            self.options, self.timers, random.Random(1), transports, self.takes, many=many
        )
        self.endpoint = FakePool(lambda: self.now)
        self.authorizations._pool = self.endpoint
        self.holds = False

    def takes(
        self, details: AuthRequest, result: AuthResponse | AuthorizationError, now: float
    ) -> None:
        assert now == self.now
        self.answers.append((details, result))

    def calls(self) -> list[CallApplication]:
        """Take the calls of functions since the last look."""
        calls = [effect for effect in self.effects if isinstance(effect, CallApplication)]
        self.effects[:] = [effect for effect in self.effects if effect not in calls]
        return calls

    def call(self) -> None:
        """Carry out the calls of functions."""
        while not self.holds and (calls := self.calls()):
            for call in calls:
                result: object
                try:
                    result = call.function()
                except Exception as error:
                    result = error
                self.authorizations.call_ended(call.request, result, self.now)

    @property
    def asked(self) -> list[int]:
        """The numbers of the requests to the application since the last call."""
        numbers = [effect.request for effect in self.effects if isinstance(effect, Authorize)]
        self.effects.clear()
        return numbers

    @property
    def cancelled(self) -> list[int]:
        """The numbers of the calls that were cancelled since the last look."""
        numbers = [effect.request for effect in self.effects if isinstance(effect, CancelCall)]
        self.effects.clear()
        return numbers

    def ask(
        self, channel: str | None = "private-x", auth: Auth | None = None
    ) -> int | AuthResponse | AuthorizationError:
        asked = self.authorizations.start(AuthRequest(SOCKET, channel), auth, self.now)
        self.call()
        return asked

    def number(self, channel: str | None = "private-x", auth: Auth | None = None) -> int:
        number = self.ask(channel, auth)
        assert isinstance(number, int)
        return number

    def answered(self, number: int, outcome: HttpResponse | HttpFailed = GOOD) -> None:
        """Let the endpoint answer, if it was asked."""
        if number in self.endpoint.under_way:
            self.endpoint.under_way.remove(number)
            self.authorizations._pool_answered(number, outcome, self.now)
            self.call()

    def authorized(self, number: int, result: object = RESPONSE) -> None:
        """Let the application answer."""
        self.authorizations.call_ended(number, result, self.now)
        self.call()

    def passes(self, seconds: float) -> None:
        until = self.now + seconds
        while (at := self.timers.next()) is not None and at <= until:
            self.now = max(at, self.now)
            due = self.timers.pop_due(at)
            assert due is not None
            match due:
                case Timer.GATHER, None:
                    self.authorizations.gather_due(self.now)
                case Timer.AUTH, int(number):
                    self.authorizations.request_due(number, self.now)
                case Timer.AUTH_RETRY, int(number):
                    self.authorizations.retry_due(number, self.now)
                case Timer.CALL, int(number):
                    self.authorizations.call_due(number, self.now)
                case _:
                    raise AssertionError(due)
            self.call()
        self.now = until

    def reported(self) -> list[tuple[str | None, str]]:
        """Return the answers since the last look: the channel, and what was given or wrong."""
        reported = [
            (details.channel, "authorization" if isinstance(result, AuthResponse) else str(result))
            for details, result in self.answers
        ]
        self.answers.clear()
        return reported


# Signed here, or ready.


def test_a_ready_authorization_is_the_answer() -> None:
    assert World(RESPONSE).ask() is RESPONSE
    assert World().ask(auth=RESPONSE) is RESPONSE


def test_an_own_key_signs_at_once() -> None:
    own = OwnKey("KEY", "secret", user={"id": "1"})
    for channel in ("private-x", "presence-x", None):
        assert World(own).ask(channel) == own.authorization(AuthRequest(SOCKET, channel))


def test_what_was_given_for_one_channel_counts_before_what_counts_for_all() -> None:
    world = World(OwnKey("KEY", "secret"))
    assert world.ask(auth=RESPONSE) is RESPONSE
    assert isinstance(world.ask(auth=ENDPOINT), int)
    assert isinstance(world.ask(auth=lambda _: RESPONSE), int)
    assert (world.endpoint.under_way, world.asked) == ([1], [2])


def refused(result: object) -> tuple[str, str | None, bool, BaseException | None]:
    assert isinstance(result, AuthorizationError)
    return str(result), result.channel, result.temporary, result.__cause__


def test_an_own_key_that_cannot_sign_says_why() -> None:
    own = OwnKey("KEY", "secret")
    assert refused(World(own).ask(None)) == (
        "OwnKey has no `user` to sign in: set it",
        None,
        False,
        None,
    )
    failed = World(own).authorizations.start(AuthRequest("1.1:private-x", "private-x"), None, 0.0)
    text, channel, temporary, cause = refused(failed)
    assert text == ("signing failed: ValueError: not a valid socket id: '1.1:private-x'")
    assert (channel, temporary) == ("private-x", False)
    assert isinstance(cause, ValueError)


@pytest.mark.parametrize(
    ("error", "temporary"), [(LookupError("nobody"), False), (ConnectionError("down"), True)]
)
def test_a_member_function_that_raises_fails_the_channel(error: Exception, temporary: bool) -> None:
    def member(channel: str) -> dict[str, Any]:
        raise error

    text = f"signing failed: {type(error).__name__}: {error}"
    result = World(OwnKey("KEY", "secret", member=member)).ask("presence-x")
    assert refused(result) == (text, "presence-x", temporary, error)


def test_names_of_a_custom_server_are_signed_when_the_options_allow_them() -> None:
    own, name = OwnKey("KEY", "secret"), "private-market:btc"
    assert isinstance(World(own, strict_names=False).ask(name), AuthResponse)
    assert isinstance(World(own).ask(name), AuthorizationError)


@pytest.mark.parametrize(
    ("auth", "channel", "message"),
    [
        (AuthResponse(""), "private-x", "the authorization has no `auth`"),
        (RESPONSE, None, "the authorization has no user_data with an id"),
        (RESPONSE, "private-encrypted-x", "the authorization has no shared_secret of 32 bytes in base64"),
        (OwnKey("KEY", "s"), "private-encrypted-x",
         "OwnKey has no `master_key`, and 'private-encrypted-x' is encrypted"),
    ],
)  # fmt: skip
def test_an_authorization_that_lacks_something_is_none(
    auth: Auth, channel: str | None, message: str
) -> None:
    assert refused(World(auth).ask(channel))[:2] == (message, channel)


# The application is asked.


def test_the_application_is_asked_and_its_authorization_is_the_answer() -> None:
    world = World()
    number = world.number("presence-x")
    assert world.effects == [Authorize(number, AuthRequest(SOCKET, "presence-x"))]
    world.authorized(number)
    assert world.answers == [(AuthRequest(SOCKET, "presence-x"), RESPONSE)]
    assert world.timers.next() is None


def test_a_function_of_one_channel_is_named_in_the_effect() -> None:
    world = World()
    number = world.number(auth=print)
    assert world.effects == [Authorize(number, AuthRequest(SOCKET, "private-x"), print)]


@pytest.mark.parametrize(
    ("result", "reported"),
    [
        (None, "an authorizer returns an AuthResponse, not NoneType"),
        ("KEY:5ec2e7", "an authorizer returns an AuthResponse, not str"),
        (
            {"auth": "KEY:5ec2e7"},
            "an authorizer returns an AuthResponse, not dict: write AuthResponse(answer['auth'])",
        ),
        (AuthResponse(""), "the authorization has no `auth`"),
        (LookupError("hm"), "the authorizer raised: LookupError: hm"),
        (KeyboardInterrupt(), "the authorizer raised: KeyboardInterrupt"),
        (LocalProtocolError("hm"), "the authorizer raised: LocalProtocolError: hm"),
        (AuthorizationError("no", channel="private-x", status=403), "no"),
    ],
)
def test_the_applications_answer_is_the_reason_when_it_is_not_an_authorization(
    result: object, reported: str
) -> None:
    world = World()
    world.authorized(world.number(), result)
    ((details, error),) = world.answers
    assert (details.channel, str(error)) == ("private-x", reported)
    assert error is result if isinstance(result, AuthorizationError) else True


def test_the_application_gets_at_most_the_limit_of_requests_at_once_and_the_rest_in_turn() -> None:
    world = World(max_authorizing=2)
    for number in range(5):
        world.number(f"private-{number}")
    assert world.asked == [1, 2]
    world.authorized(2)
    assert world.asked == [3]
    world.authorized(1, LookupError())
    assert world.asked == [4]
    world.authorizations.cancel(3, world.now)
    assert world.effects == [CancelCall(3)]  # it holds its slot until it has ended
    world.effects.clear()
    world.authorized(3, TimeoutError())
    assert world.asked == [5]
    world.authorized(4)
    world.authorized(5)
    assert world.asked == []
    assert len(world.reported()) == 4


def test_D1_an_application_that_never_answers_holds_others_up_for_three_times_auth_timeout() -> (
    None
):
    world = World(max_authorizing=1)
    for name in "abc":
        world.number(f"private-{name}")
    why = "the authorizer did not answer within 10 s"
    world.passes(9.9)
    assert (world.asked, world.reported()) == ([1], [])
    world.passes(0.1)
    assert world.effects == [CancelCall(1)]
    assert world.reported() == [("private-a", why)]
    world.passes(19.9)
    assert (world.asked, world.reported()) == ([], [])
    world.passes(0.1)
    assert world.asked == [2]
    world.authorized(2)
    assert world.asked == [3]
    world.authorized(3)
    assert world.reported() == [("private-b", "authorization"), ("private-c", "authorization")]
    world.authorized(1, RESPONSE)  # at last
    assert (world.reported(), world.timers.next()) == ([], None)


def test_that_it_did_not_answer_in_time_may_pass() -> None:
    world = World()
    world.number()
    world.passes(10)
    ((_, error),) = world.answers
    assert isinstance(error, AuthorizationError)
    assert error.temporary


@pytest.mark.parametrize("end", ["timeout", "cancel", "drop", "answer"])
def test_a_late_answer_is_ignored(end: str) -> None:
    world = World()
    number = world.number()
    match end:
        case "timeout":
            world.passes(10)
        case "cancel":
            world.authorizations.cancel(number, world.now)
        case "drop":
            world.authorizations.drop_all(world.now)
        case "answer":
            world.authorized(number)
    world.reported()
    world.authorized(number)
    world.authorized(number, LookupError())
    world.answered(number)
    assert world.reported() == []


def test_an_answer_to_what_was_not_asked_is_ignored() -> None:
    world = World(max_authorizing=1)
    asked, waiting = world.number(), world.number("private-y")
    at_endpoint = world.number(auth=ENDPOINT)
    for number in (waiting, at_endpoint, 99, 0, -1):
        world.authorized(number)
    for number in (asked, waiting, 99):
        world.answered(number)
    assert world.reported() == []
    world.authorized(asked)
    world.authorized(waiting)
    world.answered(at_endpoint)
    assert world.reported() == [
        ("private-x", "authorization"),
        ("private-y", "authorization"),
        ("private-x", "authorization"),
    ]


def test_a_request_that_waits_and_is_cancelled_is_never_asked() -> None:
    world = World(max_authorizing=1)
    for name in "abc":
        world.number(f"private-{name}")
    world.authorizations.cancel(2, world.now)
    world.authorized(1)
    assert world.asked == [1, 3]


def test_cancelling_what_is_not_there_changes_nothing() -> None:
    world = World()
    number = world.number()
    world.authorizations.cancel(99, world.now)
    world.authorized(number)
    world.authorizations.cancel(number, world.now)
    assert world.reported() == [("private-x", "authorization")]


def test_losing_the_connection_drops_what_several_wait_for() -> None:
    world = World(BATCH)
    for name in "ab":
        world.number(f"private-{name}")
    world.passes(0)
    ((batch, body),) = world.endpoint.body_of.items()
    world.authorizations.drop_all(world.now)
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)
    world.answered(batch, all_of(body))
    assert world.reported() == []


def test_losing_the_connection_drops_every_request() -> None:
    world = World(max_authorizing=1, auth_connections=1)
    for number, auth in enumerate((None, None, ENDPOINT, ENDPOINT, print)):
        world.number(f"private-{number}", auth)
    assert world.asked == [1]
    world.authorizations.drop_all(world.now)
    assert world.endpoint.under_way == []
    assert world.effects == [CancelCall(1)]
    world.effects.clear()
    for number in range(1, 6):
        world.authorized(number)
        world.answered(number)
    assert world.timers.next() is None
    world.passes(100)
    assert world.reported() == []
    assert world.number() == 6  # numbers are never used again
    assert world.asked == [6]


# The endpoint is asked.


def test_the_endpoint_is_asked_and_its_answer_is_the_answer() -> None:
    world = World(ENDPOINT)
    number = world.number()
    assert world.endpoint.bodies == [b"socket_id=1.1&channel_name=private-x"]
    world.answered(number)
    assert world.answers == [(AuthRequest(SOCKET, "private-x"), RESPONSE)]
    assert world.timers.next() is None


def test_the_endpoint_gets_at_most_the_limit_of_requests_at_once_and_the_rest_in_turn() -> None:
    world = World(ENDPOINT, auth_connections=2)
    for _ in range(4):
        world.number()
    assert world.endpoint.under_way == [1, 2]
    world.answered(1)
    world.passes(0)
    assert world.endpoint.under_way == [2, 3]
    world.authorizations.cancel(2, world.now)
    world.passes(0)
    assert world.endpoint.under_way == [3, 4]


def test_the_time_of_a_request_starts_with_its_turn() -> None:
    world = World(ENDPOINT, auth_connections=1)
    for name in "ab":
        world.number(f"private-{name}")
    why = "the auth endpoint did not answer within 10 s"
    world.passes(10)
    assert world.reported() == [("private-a", why)]
    assert world.endpoint.under_way == [2]
    world.passes(9.9)
    assert world.reported() == []
    world.passes(0.1)
    assert (world.reported(), world.endpoint.under_way) == ([("private-b", why)], [])


BUSY = HttpResponse(503, Headers(), b"")


@pytest.mark.parametrize("trouble", [BUSY, HttpResponse(429, Headers(), b""), HttpFailed("reset")])
def test_an_endpoint_in_trouble_is_asked_again_a_bounded_number_of_times(
    trouble: HttpResponse | HttpFailed,
) -> None:
    world = World(ENDPOINT, auth_attempts=3, auth_timeout=60.0)
    number = world.number()
    for attempt in (1, 2, 3):
        assert (world.endpoint.under_way, len(world.endpoint.bodies)) == ([number], attempt)
        world.answered(number, trouble)
        before = world.now
        if attempt < 3:
            at = world.timers.at(Timer.AUTH_RETRY, number)
            assert at is not None
            assert at <= before + 2 ** (attempt - 1)
        world.passes(2)
    ((_, error),) = world.answers
    assert isinstance(error, AuthorizationError)
    assert error.temporary
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)


def test_it_is_asked_again_until_it_answers() -> None:
    world = World(ENDPOINT)
    number = world.number()
    world.answered(number, BUSY)
    world.passes(1)
    world.answered(number)
    assert world.reported() == [("private-x", "authorization")]


def test_a_request_that_will_be_made_again_lets_others_go_first() -> None:
    world = World(ENDPOINT, auth_connections=1)
    world.number()
    world.number()
    world.answered(1, BUSY)
    world.passes(0)
    assert world.endpoint.under_way == [2]
    world.answered(2)
    world.passes(2)
    assert world.endpoint.under_way == [1]


def test_all_attempts_together_take_no_longer_than_auth_timeout() -> None:
    world = World(ENDPOINT, auth_attempts=100, auth_timeout=10.0)
    number = world.number()
    for _ in range(40):
        if number in world.endpoint.under_way:
            world.answered(number, BUSY)
        world.passes(0.25)
    assert world.reported() == [("private-x", "the auth endpoint did not answer within 10 s")]
    assert world.timers.next() is None


@pytest.mark.parametrize("status", [400, 404, 302])
def test_a_refusal_is_not_asked_about_again(status: int) -> None:
    world = World(ENDPOINT)
    world.answered(world.number(), HttpResponse(status, Headers(), b""))
    assert len(world.reported()) == 1
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)


def test_an_answer_that_is_not_an_authorization_is_not_asked_about_again() -> None:
    world = World(ENDPOINT)
    world.answered(world.number(), HttpResponse(200, Headers(), b"{}"))
    assert world.reported() == [("private-x", "the answer of the auth endpoint has no `auth`")]


# Refreshing.


class Tokens:
    """An application's token, which `refresh` renews."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.refreshed = 0

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.refreshed}"}

    def params(self) -> dict[str, str]:
        return {"token": str(self.refreshed)}

    def refresh(self) -> None:
        self.refreshed += 1
        if self.error is not None:
            raise self.error

    def endpoint(self) -> AuthEndpoint:
        return AuthEndpoint(
            "https://app.test/", headers=self.headers, params=self.params, refresh=self.refresh
        )


@pytest.mark.parametrize("status", [401, 403, 419])
def test_W5_a_token_that_is_not_accepted_is_refreshed_once(status: int) -> None:
    tokens = Tokens()
    world = World(tokens.endpoint())
    number = world.number()
    world.answered(number, HttpResponse(status, Headers(), b""))
    assert tokens.refreshed == 1
    assert [body[-7:] for body in world.endpoint.bodies] == [b"token=0", b"token=1"]
    world.answered(number)
    assert world.reported() == [("private-x", "authorization")]


def test_a_token_that_is_still_not_accepted_is_not_refreshed_again() -> None:
    tokens = Tokens()
    world = World(tokens.endpoint())
    number = world.number()
    world.answered(number, HttpResponse(401, Headers(), b""))
    world.answered(number, HttpResponse(403, Headers(), b""))
    assert tokens.refreshed == 1
    ((channel, why),) = world.reported()
    assert (channel, why.partition(" (")[0]) == ("private-x", "the auth endpoint answered 403")


def test_each_request_may_refresh_and_keeps_its_time() -> None:
    tokens = Tokens()
    world = World(tokens.endpoint())
    for _ in range(2):
        number = world.number()
        world.passes(4)
        world.answered(number, HttpResponse(401, Headers(), b""))
    assert tokens.refreshed == 2
    world.passes(1.9)
    assert world.reported() == []
    world.passes(4.1)
    assert world.reported() == [("private-x", "the auth endpoint did not answer within 10 s")] * 2


def test_many_requests_with_an_old_token_refresh_it_once() -> None:
    tokens = Tokens()
    world = World(tokens.endpoint(), auth_connections=2)
    names = ["private-a", "private-b", "private-c"]
    for name in names:
        world.number(name)
    world.passes(0)
    for number in list(world.endpoint.under_way):  # a and b; c waits for its turn
        world.answered(number, HttpResponse(401, Headers(), b""))
    assert tokens.refreshed == 1
    for _ in names:
        world.passes(0)
        for number in list(world.endpoint.under_way):
            world.answered(number)
    assert [body[-7:] for body in world.endpoint.bodies] == [b"token=0"] * 2 + [b"token=1"] * 3
    assert world.reported() == [(name, "authorization") for name in names]


def test_many_requests_with_a_token_that_is_never_good_refresh_it_once() -> None:
    tokens = Tokens()
    world = World(tokens.endpoint())
    for name in "abc":
        world.number(f"private-{name}")
    for _ in range(2):
        for number in list(world.endpoint.under_way):
            world.answered(number, HttpResponse(401, Headers(), b""))
    assert tokens.refreshed == 1
    assert [channel for channel, _ in world.reported()] == ["private-a", "private-b", "private-c"]
    assert len(world.endpoint.bodies) == 6


def test_a_refresh_for_one_endpoint_is_none_for_another() -> None:
    tokens, others = Tokens(), Tokens()
    world = World()
    for number in [world.number(auth=one.endpoint()) for one in (tokens, others)]:
        world.answered(number, HttpResponse(401, Headers(), b""))
    assert (tokens.refreshed, others.refreshed) == (1, 1)


@pytest.mark.parametrize("status", [400, 404, 503])
def test_other_refusals_refresh_nothing(status: int) -> None:
    tokens = Tokens()
    world = World(tokens.endpoint())
    world.answered(world.number(), HttpResponse(status, Headers(), b""))
    assert tokens.refreshed == 0


def test_a_refresh_that_raises_is_the_answer() -> None:
    world = World(Tokens(LookupError("no session")).endpoint())
    world.answered(world.number(), HttpResponse(401, Headers(), b""))
    ((_, error),) = world.answers
    assert refused(error)[1:3] == ("private-x", False)
    assert world.reported() == [
        ("private-x", "AuthEndpoint.refresh raised: LookupError: no session")
    ]
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)


def test_a_refresh_that_raises_lets_the_next_have_its_turn() -> None:
    world = World(auth_connections=1)
    refreshing = Tokens(LookupError("no session")).endpoint()
    first, second = world.number("private-a", refreshing), world.number("private-b", ENDPOINT)
    world.answered(first, HttpResponse(401, Headers(), b""))
    world.passes(0)
    assert world.endpoint.under_way == [second]


# The application's functions.


class Flaky:
    """Params that fail on demand."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def params(self) -> dict[str, str]:
        if self.error is not None:
            raise self.error
        return {}

    def endpoint(self) -> AuthEndpoint:
        return AuthEndpoint("https://app.test/", params=self.params, refresh=lambda: None)


WHY = "AuthEndpoint.params raised: LookupError: no token"


def test_a_request_that_cannot_be_made_fails_at_once() -> None:
    flaky = Flaky()
    flaky.error = LookupError("no token")
    world = World(flaky.endpoint())
    world.number()
    assert world.reported() == [("private-x", WHY)]
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)
    flaky.error = None
    world.answered(world.number())
    assert world.reported() == [("private-x", "authorization")]


def test_a_request_that_cannot_be_made_when_its_turn_comes_fails_then() -> None:
    flaky = Flaky()
    world = World(flaky.endpoint(), auth_connections=1)
    for name in "abc":
        world.number(f"private-{name}")
    flaky.error = LookupError("no token")
    world.answered(1)
    world.passes(0)
    assert world.reported() == [
        ("private-a", "authorization"),
        ("private-b", WHY),
        ("private-c", WHY),
    ]
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)


@pytest.mark.parametrize("status", [401, 503])
def test_a_request_that_cannot_be_made_again_fails_then(status: int) -> None:
    flaky = Flaky()
    world = World(flaky.endpoint())
    number = world.number()
    flaky.error = LookupError("no token")
    world.answered(number, HttpResponse(status, Headers(), b""))
    world.passes(1)
    assert world.reported() == [("private-x", WHY)]


# The key of another app.


@pytest.mark.parametrize(
    ("auth", "channel", "who"),
    [
        (AuthResponse("OTHER:hidden"), "private-x", "private-x"),
        (AuthResponse("KEYS:hidden"), "private-x", "private-x"),
        (OwnKey("OTHER", "hidden"), "private-x", "private-x"),
        (AuthResponse("OTHER:hidden"), "private-" + 57 * "x", "private-" + 55 * "x" + "…"),
        (OwnKey("OTHER", "hidden", user={"id": "1"}), None, "signing in"),
    ],
)
def test_an_authorization_for_another_key_is_used_and_warned_of(
    auth: Auth, channel: str | None, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(World(auth).ask(channel), AuthResponse)
    assert caplog.messages == [f"the authorization for {who} has another app key than this client"]


@pytest.mark.parametrize("source", ["application", "endpoint"])
def test_a_requested_authorization_with_another_app_key_is_reported(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(ENDPOINT if source == "endpoint" else None)
    number = world.number()
    if source == "endpoint":
        world.answered(number, HttpResponse(200, Headers(), b'{"auth":"OTHER:hidden"}'))
    else:
        world.authorized(number, AuthResponse("OTHER:hidden"))
    assert world.reported() == [("private-x", "authorization")]
    assert caplog.messages == [
        "the authorization for private-x has another app key than this client"
    ]


def test_where_the_key_is_not_known_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options = Options(resolve_url=str, auth=AuthResponse("OTHER:hidden"))
    timers = Timers()
    authorizations = AuthRequests(
        options, timers, random.Random(), Transports(timers, 2.0), print, many=False
    )
    assert isinstance(
        authorizations.start(AuthRequest(SOCKET, "private-x"), None, 0.0), AuthResponse
    )
    assert caplog.messages == []


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = AuthEndpoint(
        "https://me:hidden@app.test/?hidden", headers={"Authorization": "Bearer hidden"}
    )
    world = World(endpoint)
    number = world.number()
    world.answered(number, HttpResponse(503, Headers({"set-cookie": "hidden"}.items()), b""))
    world.passes(1)
    world.answered(
        number, HttpResponse(200, Headers(), b'{"auth":"OTHER:hidden","channel_data":{}}')
    )
    assert len(world.reported()) == 1
    assert caplog.messages[0].startswith("the auth endpoint answered 503; next request in ")
    assert "hidden" not in caplog.text


# Several together.

BATCH = AuthEndpoint("https://app.test/auth", batch=2, body="json")


def channels_of(body: bytes) -> list[str]:
    """Return the channels that a request is for."""
    named = json.loads(body)["channel_name"]
    return named if isinstance(named, list) else [named]


def all_of(body: bytes) -> HttpResponse:
    """Return an answer that authorizations every channel of a request."""
    authorizations = {name: {"auth": "KEY:5ec2e7"} for name in channels_of(body)}
    return HttpResponse(200, Headers(), json.dumps(authorizations).encode())


def test_channels_wanted_in_one_turn_share_requests_of_at_most_the_batch_size() -> None:
    world = World(BATCH)
    numbers = [world.number(f"private-{name}") for name in "abc"]
    assert world.endpoint.bodies == []
    world.passes(0)
    assert list(map(channels_of, world.endpoint.bodies)) == [
        ["private-a", "private-b"],
        ["private-c"],
    ]
    for number, body in list(world.endpoint.body_of.items()):
        assert number in numbers
        world.answered(number, all_of(body))
    assert world.reported() == [(f"private-{name}", "authorization") for name in "abc"]
    assert world.timers.next() is None


def test_a_request_for_several_is_made_again_for_those_in_trouble_within_auth_timeout() -> None:
    world = World(BATCH, auth_attempts=100)
    for name in "ab":
        world.number(f"private-{name}")
    for _ in range(40):
        for number in list(world.endpoint.under_way):
            world.answered(number, BUSY)
        world.passes(0.25)
    why = "the auth endpoint did not answer within 10 s"
    assert world.reported() == [("private-a", why), ("private-b", why)]
    assert (world.endpoint.under_way, world.timers.next()) == ([], None)


def test_an_application_that_answers_several_is_asked_once_for_a_turn() -> None:
    world = World(many=True, max_authorizing=1)
    numbers = [world.number(f"private-{name}") for name in "abc"]
    world.authorized(numbers[0])  # before it was asked
    world.authorizations.cancel(numbers[1], world.now)
    world.passes(0)
    asked = (AuthRequest(SOCKET, "private-a"), AuthRequest(SOCKET, "private-c"))
    assert world.effects == [AuthorizeMany((numbers[0], numbers[2]), asked)]
    world.authorized(numbers[2])
    world.authorized(numbers[0])
    assert world.reported() == [("private-c", "authorization"), ("private-a", "authorization")]


def test_a_channels_own_way_is_asked_alone_even_then() -> None:
    world = World(many=True)
    number = world.number(auth=print)
    assert world.effects == [Authorize(number, AuthRequest(SOCKET, "private-x"), print)]


def test_a_user_signs_in_alone() -> None:
    world = World(BATCH)
    world.number(None)
    assert world.endpoint.bodies == [b'{"socket_id":"1.1"}']


@pytest.mark.parametrize("error", [None, LookupError("no session")])
def test_a_request_for_several_is_refreshed_once(error: Exception | None) -> None:
    tokens = Tokens(error)
    endpoint = AuthEndpoint("https://app.test/", batch=9, body="json", refresh=tokens.refresh)
    world = World(endpoint)
    for name in "ab":
        world.number(f"private-{name}")
    for _ in range(2):
        world.passes(0)
        for number in list(world.endpoint.under_way):
            world.answered(number, HttpResponse(401, Headers(), b""))
    assert tokens.refreshed == 1
    why = "AuthEndpoint.refresh raised: LookupError: no session" if error else "the auth endpoint"
    reported = world.reported()
    assert [channel for channel, _ in reported] == ["private-a", "private-b"]
    assert all(text.startswith(why) for _, text in reported)
    assert (world.endpoint.under_way, world.timers.at(Timer.AUTH)) == ([], None)


def test_several_requests_for_several_with_an_old_token_refresh_it_once() -> None:
    tokens = Tokens()
    endpoint = AuthEndpoint(
        "https://app.test/", batch=2, params=tokens.params, refresh=tokens.refresh
    )
    world = World(endpoint)
    for name in "abcd":
        world.number(f"private-{name}")
    world.passes(0)
    for number in list(world.endpoint.under_way):
        world.answered(number, HttpResponse(401, Headers(), b""))
    world.passes(0)
    assert tokens.refreshed == 1
    assert [body[-7:] for body in world.endpoint.bodies] == [b"token=0"] * 2 + [b"token=1"] * 2


def test_a_request_for_several_that_cannot_be_made_fails_each() -> None:
    def params() -> dict[str, str]:
        raise LookupError("no token")

    world = World(AuthEndpoint("https://app.test/", batch=9, params=params))
    for name in "ab":
        world.number(f"private-{name}")
    world.passes(0)
    assert world.reported() == [("private-a", WHY), ("private-b", WHY)]
    assert world.timers.next() is None


def test_an_answer_for_several_without_a_pending_request_is_ignored() -> None:
    world = World(BATCH)
    numbers = [world.number(f"private-{name}") for name in "ab"]
    world.passes(0)
    ((batch, body),) = world.endpoint.body_of.items()
    world.authorizations.cancel(numbers[0], world.now)
    assert world.endpoint.under_way == [batch]
    world.authorizations.cancel(numbers[1], world.now)
    assert world.endpoint.under_way == []
    world.answered(batch, all_of(body))
    assert world.reported() == []


# With real connections.


def test_losing_the_connection_opens_no_other_to_the_endpoint() -> None:
    timers = Timers()
    transports = Transports(timers, 2.0)
    options = Options.from_host("ws.test", key="KEY", auth=ENDPOINT, auth_timeout=60.0)
    rng = random.Random(1)
    authorizations = AuthRequests(options, timers, rng, transports, print, many=False)

    def effects() -> list[Effect]:
        found = []
        while (effect := transports.effects.next()) is not None:
            found.append(effect)
        return found

    def due(now: float) -> None:
        while (timer := timers.pop_due(now)) is not None:
            assert timer[0] is Timer.AUTH_RETRY
            assert isinstance(timer[1], int)
            authorizations.retry_due(timer[1], now)

    for number in range(1, 101):
        assert authorizations.start(AuthRequest(SOCKET, f"private-{number}"), None, 0.0) == number
    for _ in range(20):  # refused, all but the last of them, and asked again in a while
        for effect in effects():
            if isinstance(effect, OpenTransport):
                transports.transport_closed(effect.transport, "refused", 0.0)
        due(0.0)
    due(2.0)
    assert [type(effect) for effect in effects()] == [OpenTransport] * 6
    authorizations.drop_all(2.0)
    assert effects() == [CloseTransport(number, abort=True) for number in range(101, 107)]


# Any order of things.

REFRESHED = AuthEndpoint("https://app.test/auth", batch=3, body="json", refresh=lambda: None)

sources: list[Callable[[], Any]] = [
    lambda: None,
    lambda: print,
    lambda: ENDPOINT,
    lambda: Tokens().endpoint(),
    lambda: BATCH,
    lambda: REFRESHED,
]


def test_a_batch_that_waits_for_its_turn_names_only_the_requests_that_are_still_wanted() -> None:
    world = World(many=True, max_authorizing=1)
    world.number("private-a")
    world.passes(0)
    first, second, third = (world.number(f"private-{name}") for name in "bcd")
    world.passes(0)
    world.authorizations.cancel(first, world.now)
    world.effects.clear()
    world.authorized(1)
    (effect,) = world.effects
    assert isinstance(effect, AuthorizeMany)
    assert effect.requests == (second, third)
    assert [each.channel for each in effect.details] == ["private-c", "private-d"]
    again = world.number("private-b")  # no call for this channel is pending
    world.authorized(second)
    world.authorized(third)
    world.passes(0)
    last = world.effects[-1]
    assert isinstance(last, AuthorizeMany)
    assert last.requests == (again,)


class Askers(RuleBasedStateMachine):
    """Requests come, are answered well and badly, late and twice; each ends once or was forgotten."""

    AT_ONCE = 2

    @initialize(many=st.booleans())
    def begin(self, many: bool) -> None:
        self.many = many
        self.world = World(
            many=many, max_authorizing=self.AT_ONCE, auth_connections=2, auth_attempts=2
        )
        self.pending: dict[int, str] = {}
        self.out: set[int] = set()
        """The numbers of calls that have not returned."""
        self.ever: set[int] = set()
        self.last = 0

    def settle(self) -> None:
        for effect in self.world.effects:
            match effect:
                case Authorize():
                    numbers: tuple[int, ...] = (effect.request,)
                case AuthorizeMany():
                    numbers = effect.requests
                case CancelCall():
                    assert effect.request in self.ever  # of a batch others may be out
                    continue
                case _:
                    raise AssertionError(effect)
            assert self.pending.keys() >= set(numbers)
            assert not self.ever & set(numbers)
            self.ever.update(numbers)
            self.out.update(numbers)
        self.world.effects.clear()
        for details, _ in self.world.answers:
            # Each has its own name: none is answered twice or without a request.
            (answered,) = [n for n, channel in self.pending.items() if channel == details.channel]
            del self.pending[answered]
        self.world.answers.clear()

    def pick(self, which: int) -> int:
        """Return some number: pending, finished or never given."""
        return which % (self.last + 2)

    @rule(source=st.sampled_from(sources))
    def ask(self, source: Callable[[], Any]) -> None:
        channel = f"private-{self.last}"
        number = self.world.number(channel, source())
        assert number > self.last
        self.last = number
        self.pending[number] = channel
        self.settle()

    @rule(
        which=st.integers(0, 40), result=st.sampled_from([RESPONSE, None, LookupError(), OSError()])
    )
    def application_answers(self, which: int, result: object) -> None:
        number = self.pick(which)
        self.out.discard(number)
        self.world.authorized(number, result)
        self.settle()

    @rule(
        which=st.integers(0, 40),
        outcome=st.sampled_from(
            [
                None,
                GOOD,
                BUSY,
                HttpFailed("x"),
                HttpResponse(401, Headers(), b""),
                HttpResponse(404, Headers(), b""),
            ]
        ),
    )
    def endpoint_answers(self, which: int, outcome: HttpResponse | HttpFailed | None) -> None:
        under_way = self.world.endpoint.under_way
        if under_way:
            number = under_way[which % len(under_way)]
            if outcome is None:
                body = self.world.endpoint.body_of[number]
                outcome = all_of(body) if b"[" in body else GOOD
            self.world.answered(number, outcome)
            self.settle()

    @rule(which=st.integers(0, 40))
    def cancel(self, which: int) -> None:
        number = self.pick(which)
        self.world.authorizations.cancel(number, self.world.now)
        self.world.call()  # the next request in the queue may need a function
        self.pending.pop(number, None)
        self.settle()

    @rule()
    def drop_all(self) -> None:
        self.world.authorizations.drop_all(self.world.now)
        self.world.call()
        self.pending.clear()
        self.settle()
        assert self.world.endpoint.under_way == []

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 11.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.passes(seconds)
        self.settle()

    @invariant()
    def calls_are_bounded_until_they_have_returned(self) -> None:
        calls = self.world.authorizations._calls._out.values()
        assert {n for call in calls for n in call.unanswered} == self.out
        assert len(calls) <= 4 * self.AT_ONCE
        assert sum(call.state is not CallState.HANGING for call in calls) <= self.AT_ONCE

    @invariant()
    def the_endpoint_is_asked_for_what_is_pending_only(self) -> None:
        authorizations = self.world.authorizations
        for number in self.world.endpoint.under_way:
            job = authorizations._at_endpoint[number]
            assert {request.number for request in job.requests} <= self.pending.keys()
            assert job.requests

    @invariant()
    def nothing_is_remembered_for_longer_than_needed(self) -> None:
        authorizations = self.world.authorizations
        assert authorizations._requests.keys() == self.pending.keys()
        assert len(authorizations._at_endpoint) <= len(self.pending)

    def teardown(self) -> None:
        for _ in range(self.last + 1):
            self.world.passes(20.0)
            self.settle()
            for number in sorted(self.out):
                self.out.discard(number)
                self.world.authorized(number, OSError())
                self.settle()
        assert (self.pending, self.out, self.world.timers.next()) == ({}, set(), None)
        assert self.world.endpoint.under_way == []


Askers.TestCase.settings = settings(tried, max_examples=max(1, EXAMPLES // 3))
TestAskers = Askers.TestCase
