"""The consequences of a failure: the table, the causes, and the delays."""

from __future__ import annotations

import random
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_table import PAGE, drawn
from proto.strategies import tried
from pusher_proto import AuthorizationError, Options
from pusher_proto._protocol.failures import (
    FAILURES,
    Cause,
    Row,
    Step,
    Subject,
    cause_of_authorization,
    cause_of_close,
    cause_of_refusal,
    cause_of_sign_in_authorization,
    cause_of_status,
    delay_after,
    retry_in,
    step_after,
)

S, C = Step, Cause
REFUSED_AT_FIRST = {cause for cause, row in FAILURES.items() if row.at_first in (S.FINAL, S.A_FEW)}
REFUSALS = REFUSED_AT_FIRST | {C.CERTIFICATE_EARLY, C.UNAUTHORIZED_LATE}

causes = st.sampled_from(Cause)
links = st.sampled_from([c for c, row in FAILURES.items() if row.subject is Subject.CONNECTION])
failures = st.integers(1, 100)
seeds = st.integers(0, 2**32).map(random.Random)


def options(**more: Any) -> Options:
    return Options.from_host("ws.test", key="KEY", **more)


def follows(cause: Cause, *, good: bool = False, failures: int = 1, **more: Any) -> Step:
    return step_after(cause, good=good, failures=failures, options=options(**more))


# The table.


def test_every_cause_has_its_row() -> None:
    assert set(FAILURES) == set(Cause)


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert drawn(text) == text, "run: python tests/failure_table.py"


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.name)
def test_another_row_is_another_page(cause: Cause) -> None:
    text, row = PAGE.read_text(encoding="utf-8"), FAILURES[cause]
    others: list[Row] = [
        row._replace(at_first=next(s for s in Step if s is not row.at_first)),
        row._replace(once_good=next(s for s in Step if s is not row.once_good)),
        row._replace(reason="because"),
        row._replace(subject=next(s for s in Subject if s is not row.subject)),
    ]
    for other in others:
        assert drawn(text, FAILURES | {cause: other}) != text


@pytest.mark.parametrize("cause", Cause, ids=lambda cause: cause.name)
def test_what_was_good_once_is_not_final(cause: Cause) -> None:
    final = follows(cause, good=True, failures=1000) is S.FINAL
    assert final is (cause is C.TERMINATED)


def test_a_wrong_key_secret_name_or_certificate_is_final_at_first() -> None:
    for cause in (C.REFUSED, C.CERTIFICATE, C.AUTH_REFUSED, C.SUBSCRIBE_REFUSED, C.SIGN_IN_REFUSED):
        assert follows(cause) is S.FINAL


def test_a_refused_upgrade_is_tried_a_few_times_at_first() -> None:
    at_first = [follows(C.UPGRADE_REFUSED, failures=n) for n in (1, 2, 3, 4)]
    assert at_first == [S.WAIT, S.WAIT, S.FINAL, S.FINAL]
    assert follows(C.UPGRADE_REFUSED, first_attempts=1) is S.FINAL
    assert follows(C.UPGRADE_REFUSED, failures=9, good=True) is S.WAIT


@tried
@given(causes, st.booleans(), failures)
def test_giving_up_at_a_refusal_makes_every_refusal_final_and_nothing_else(
    cause: Cause, good: bool, number: int
) -> None:
    step = follows(cause, good=good, failures=number, give_up="at_refusal")
    assert (step is S.FINAL) is (cause in REFUSALS)


@tried
@given(causes, st.booleans(), failures)
def test_never_giving_up_leaves_nothing_final(cause: Cause, good: bool, number: int) -> None:
    step = follows(cause, good=good, failures=number, give_up="never")
    assert step not in (S.FINAL, S.A_FEW)
    if cause not in REFUSED_AT_FIRST:
        assert step is follows(cause, good=good, failures=number)


# The delays.


@tried
@given(causes, st.booleans(), failures, seeds, st.floats(0, 5), st.floats(5, 60), st.floats(0, 5))
def test_no_delay_is_shorter_than_the_floor_but_the_first_after_4200(
    cause: Cause,
    good: bool,
    number: int,
    rng: random.Random,
    floor: float,
    cap: float,
    at_least: float,
) -> None:
    made = options(retry_floor=floor, retry_cap=cap, give_up="never")
    step = step_after(cause, good=good, failures=number, options=made)
    delay = delay_after(cause, step, number, made, rng, at_least=at_least)
    if cause is C.RESTARTING and number == 1:
        assert delay == 0
        return
    assert delay >= floor
    longest = max(cap, 1.1 * 3600, floor, at_least)
    assert delay <= longest
    if step in (S.WAIT, S.PROMPT, S.PROMPT_THEN_RARE):
        assert delay >= 1


@tried
@given(links, failures, seeds)
def test_a_small_cap_does_not_undercut_the_second_of_a_server_over_capacity(
    cause: Cause, number: int, rng: random.Random
) -> None:
    made = options(retry_cap=0.2, retry_base=0.01)
    assert delay_after(cause, S.WAIT, number, made, rng) == 1


@pytest.mark.parametrize(
    ("step", "number", "least", "most"),
    [
        (S.AT_ONCE, 1, 0, 0),
        (S.AT_ONCE, 2, 1, 2),
        (S.BACK_OFF, 1, 0, 1),
        (S.BACK_OFF, 9, 0, 30),
        (S.A_FEW, 1, 0, 1),
        (S.PROMPT, 1, 1, 2),
        (S.PROMPT, 4, 1, 8),
        (S.PROMPT, 6, 1, 8),
        (S.PROMPT, 7, 1, 30),
        (S.PROMPT_THEN_RARE, 6, 1, 8),
        (S.PROMPT_THEN_RARE, 7, 60, 66),
        (S.PROMPT_THEN_RARE, 99, 3600, 3960),
        (S.SLOW, 1, 30, 33),
        (S.SLOW, 99, 300, 330),
        (S.RARE, 1, 60, 66),
        (S.RARE, 4, 3600, 3960),
        (S.WHEN_FREE, 3, 240, 264),
        (S.WHEN_FREE, 5, 900, 990),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_step_in_seconds(step: Step, number: int, least: float, most: float) -> None:
    for seed in range(50):
        delay = delay_after(C.SILENCE, step, number, options(), random.Random(seed))
        assert least <= delay <= most


def test_the_delays_are_options() -> None:
    made = options(slow_retry=(5.0,), refused_retry=(6.0, 7.0), capacity_retry=(8.0,))
    rng = random.Random(0)
    for step, number, seconds in ((S.SLOW, 9, 5), (S.RARE, 2, 7), (S.WHEN_FREE, 1, 8)):
        delay = delay_after(C.CHANNEL_FULL, step, number, made, rng)
        assert seconds <= delay <= 1.1 * seconds


def test_nothing_is_at_once_where_the_server_has_several_nodes() -> None:
    for several, most in ((False, 0.0), (True, 1.0)):
        made = options(several_nodes=several)
        delays = [
            delay_after(C.RESTARTING, S.AT_ONCE, 1, made, random.Random(seed)) for seed in range(50)
        ]
        assert max(delays) == pytest.approx(most, abs=0.1)
    rare = delay_after(C.AUTH_REFUSED, S.RARE, 1, options(several_nodes=True), random.Random(0))
    assert rare >= 60


@pytest.mark.parametrize("step", [S.WAIT, S.PROMPT])
def test_the_base_of_the_delays_is_an_option_for_connections_and_a_second_for_the_rest(
    step: Step,
) -> None:
    made = options(retry_base=4.0)
    for cause, base in ((C.SILENCE, 4.0), (C.SUBSCRIBE_DELAYED, 1.0), (C.SIGN_IN_REFUSED, 1.0)):
        delays = [delay_after(cause, step, 2, made, random.Random(seed)) for seed in range(200)]
        assert max(delays) == pytest.approx(2 * base, rel=0.05)


def test_the_delays_of_half_a_minute_grow_to_eight_seconds_and_then_on() -> None:
    for number, most in ((6, 8.0), (7, 30.0)):
        delays = [
            delay_after(C.AUTH_DELAYED, S.PROMPT, number, options(), random.Random(seed))
            for seed in range(300)
        ]
        assert max(delays) == pytest.approx(most, rel=0.05)


def test_never_giving_up_at_what_is_final_even_later_retries_slowly() -> None:
    assert FAILURES[C.TERMINATED].once_good is S.FINAL
    assert follows(C.TERMINATED, good=True, give_up="never") is S.SLOW
    assert follows(C.UPGRADE_REFUSED, give_up="never") is FAILURES[C.UPGRADE_REFUSED].once_good


def test_a_first_failure_counts_towards_the_few_attempts() -> None:
    rng, made = random.Random(0), options(first_attempts=2)
    few = next(c for c, row in FAILURES.items() if row.at_first is S.A_FEW)
    waits = [retry_in(few, good=False, failures=n, options=made, rng=rng) for n in (1, 2)]
    assert waits[0] is not None
    assert waits[1] is None


@pytest.mark.parametrize(
    ("status", "cause"),
    [(s, C.UPGRADE_BUSY) for s in (408, 425, 429, 500, 501, 599)]
    + [(s, C.UPGRADE_REFUSED) for s in (400, 407, 409, 424, 426, 428, 430, 499)]
    + [(s, C.UPGRADE_ASTRAY) for s in (200, 301, 399)],
)
def test_a_status_of_the_upgrade_has_its_cause(status: int, cause: Cause) -> None:
    assert cause_of_status(status) is cause


def test_a_4009_without_a_pending_authorization_is_unauthorized() -> None:
    assert cause_of_close(4009, "Connection not authorized within timeout") is C.UNAUTHORIZED


def test_a_thousand_clients_do_not_reconnect_together_after_a_fixed_delay() -> None:
    delays = [
        delay_after(C.CERTIFICATE, S.SLOW, 1, options(), random.Random(seed))
        for seed in range(1000)
    ]
    assert max(delays) - min(delays) > 2.5


def test_nothing_follows_what_is_final() -> None:
    with pytest.raises(ValueError, match="no attempt follows"):
        delay_after(C.REFUSED, S.FINAL, 1, options(), random.Random(0))


def test_a_channel_is_requested_again_or_not_on_this_connection() -> None:
    rng = random.Random(0)
    made = options()
    assert retry_in(C.AUTH_REFUSED, good=False, failures=1, options=made, rng=rng) is None
    delay = retry_in(C.AUTH_REFUSED, good=True, failures=1, options=made, rng=rng)
    assert delay is not None
    assert 60 <= delay <= 66


# The causes.

RANGES = [
    (4000, 4099, C.REFUSED),
    (4100, 4199, C.OVER_CAPACITY),
    (4200, 4299, C.RESTARTING),
    (4300, 4399, C.RATE_LIMITED),
]


@tried
@given((st.integers() | st.integers(3990, 4410)).filter(lambda code: code not in (4004, 4009)))
def test_the_cause_of_a_close_code_is_its_range(code: int) -> None:
    expected = [what for first, last, what in RANGES if first <= code <= last]
    assert cause_of_close(code, "") is (expected[0] if expected else C.ENDED)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        *((first, what) for first, _, what in RANGES),
        *((last, what) for _, last, what in RANGES),
        *((code, C.ENDED) for code in (None, 1000, 1001, 1005, 1006, 1009, 1011, 3999, 4400, 4999)),
        (4004, C.QUOTA),
    ],
)
def test_the_cause_of_a_close_code(code: int | None, cause: Cause) -> None:
    assert cause_of_close(code, "") is cause


@pytest.mark.parametrize(
    ("text", "seconds", "authorizing", "cause"),
    [
        ("You got disconnected by the app.", 5000.0, False, C.TERMINATED),
        ("You got disconnected by the app", 5000.0, True, C.TERMINATED),
        ("terminated by app", 0.0, False, C.TERMINATED),
        ("Connection not authorized within timeout.", 5.0, False, C.UNAUTHORIZED),
        ("Connection not authorized within timeout.", 5.0, True, C.UNAUTHORIZED_SO_FAR),
        ("Connection not authorized within timeout.", 3600.0, False, C.UNAUTHORIZED_LATE),
        ("Connection not authorized within timeout.", 30.0, True, C.UNAUTHORIZED_SO_FAR),
        ("Origin not allowed", None, False, C.UNAUTHORIZED),
        ("", 10.0, False, C.UNAUTHORIZED),
        ("", 10.1, False, C.UNAUTHORIZED_LATE),
    ],
)
def test_W4_what_4009_means(
    text: str, seconds: float | None, authorizing: bool, cause: Cause
) -> None:
    got = cause_of_close(4009, text, connected_for=seconds, authorizing=authorizing)
    assert got is cause


@tried
@given(st.integers(200, 599))
def test_the_cause_of_a_refused_upgrade(status: int) -> None:
    cause = cause_of_status(status)
    if status in (408, 425, 429) or status >= 500:
        assert cause is C.UPGRADE_BUSY
    else:
        assert cause is (C.UPGRADE_REFUSED if status >= 400 else C.UPGRADE_ASTRAY)


@pytest.mark.parametrize("status", [404, 401, 403, 426, 400, 419, 499])
def test_W1_any_4xx_is_retried_once_a_connection_was_good(status: int) -> None:
    assert follows(cause_of_status(status), good=True, failures=50) is S.WAIT


@pytest.mark.parametrize("temporary", [False, True])
def test_the_cause_of_a_missing_authorization(temporary: bool) -> None:
    error = AuthorizationError("no", channel="private-a", temporary=temporary)
    assert cause_of_authorization(error) is (C.AUTH_DELAYED if temporary else C.AUTH_REFUSED)
    expected = C.SIGN_IN_AUTH_DELAYED if temporary else C.SIGN_IN_AUTH_REFUSED
    assert cause_of_sign_in_authorization(error) is expected


@pytest.mark.parametrize(
    ("code", "text", "cause"),
    [
        (4100, "", C.CHANNEL_FULL),
        (None, "Over capacity", C.CHANNEL_FULL),
        (None, "the app is over quota", C.CHANNEL_FULL),
        *((code, "", C.SUBSCRIBE_DELAYED) for code in (408, 425, 429, 500, 503, 599, 4301)),
        (None, "Internal error", C.SUBSCRIBE_DELAYED),
        (None, "Internal Server Error", C.SUBSCRIBE_DELAYED),
        (None, "Client event rejected due to rate limit", C.SUBSCRIBE_DELAYED),
        *((code, "", C.SUBSCRIBE_REFUSED) for code in (None, 401, 403, 404, 600, 4009, 4300)),
    ],
)
def test_the_cause_of_a_refused_subscribe(code: int | None, text: str, cause: Cause) -> None:
    assert cause_of_refusal(code, text) is cause


def test_the_ways_to_give_up_are_those_of_the_options() -> None:
    assert get_args(get_type_hints(Options)["give_up"]) == ("at_first", "never", "at_refusal")
