"""Close codes and statuses: what follows each, by range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto._protocol.close_codes import (
    Next,
    explained,
    hint_for,
    next_after,
    next_after_status,
)

RANGES = [
    (4000, 4099, Next.REFUSE),
    (4100, 4199, Next.WAIT),
    (4200, 4299, Next.AT_ONCE),
    (4300, 4399, Next.WAIT),
]


@tried
@given(st.integers() | st.integers(3990, 4410))
def test_what_follows_a_code_is_told_by_its_range_alone(code: int) -> None:
    expected = [what for first, last, what in RANGES if first <= code <= last]
    assert next_after(code) is (expected[0] if expected else Next.BACK_OFF)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        *((first, what) for first, _, what in RANGES),
        *((last, what) for _, last, what in RANGES),
        *((code, Next.BACK_OFF) for code in (None, 1000, 1001, 1005, 1006, 1011, 3999, 4400, 4999)),
        *((code, Next.BACK_OFF) for code in (1002, 1003, 1004, 1007, 1009, 1012, 1013)),
        *((code, Next.REFUSE) for code in (4001, 4003, 4004, 4009, 4050)),
    ],
)
def test_what_follows_a_close_code(code: int | None, what: Next) -> None:
    assert next_after(code) is what


@tried
@given(st.integers(200, 599))
def test_an_upgrade_refused_by_the_client_s_fault_is_final_and_all_else_is_tried_again(
    status: int,
) -> None:
    again = status not in range(400, 500) or status in (408, 425, 429)
    assert next_after_status(status) is (Next.WAIT if again else Next.REFUSE)


@pytest.mark.parametrize("status", [200, 301, 408, 425, 429, 500, 502, 503, 504])
def test_a_busy_server_or_a_portal_in_the_way_is_tried_again_after_a_while(status: int) -> None:
    assert next_after_status(status) is Next.WAIT


@pytest.mark.parametrize("status", [400, 401, 403, 404, 499])
def test_a_server_that_finds_the_request_wrong_is_not_tried_again(status: int) -> None:
    assert next_after_status(status) is Next.REFUSE


@pytest.mark.parametrize("code", [4000, 4001, 4003, 4004, 4005, 4009, 401, 403, 404])
def test_a_code_that_a_person_can_mend_has_a_hint(code: int) -> None:
    assert hint_for(code)
    assert hint_for(code).isprintable()


def test_a_wrong_key_or_cluster_is_named_in_the_hint_for_4001() -> None:
    assert "the key and the cluster" in hint_for(4001)


@pytest.mark.parametrize("code", [None, 0, 1006, 4200, -1])
def test_other_codes_have_none(code: int | None) -> None:
    assert hint_for(code) == ""


@pytest.mark.parametrize("name", ["WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"])
def test_an_answer_that_is_no_tls_is_explained(name: str) -> None:
    words = f"SSLError: [SSL: {name}] (_ssl.c:1006)"
    assert explained(words) == (
        f"the server does not speak TLS on this port: without it connects tls=False, or --no-tls ({words})"
    )


def test_what_speaks_for_itself_is_left_alone() -> None:
    assert explained("ConnectionRefusedError: refused") == "ConnectionRefusedError: refused"
