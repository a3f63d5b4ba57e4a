"""What comes out of a block whose client broke."""

from __future__ import annotations

import pytest

from pusher_proto import ClientClosed
from pusher_proto.client import breakage, is_cut_short


class Cancelled(BaseException):
    """What a task is cancelled with."""


ONE, TWO, OWN = KeyError("one"), OSError("two"), ValueError("of the block")
CLOSED = ClientClosed("closed")


@pytest.mark.parametrize(
    ("errors", "of_block", "expected"),
    [
        ([ONE], None, (ONE,)),
        ([ONE, TWO], None, (ONE, TWO)),
        ([ONE], OWN, (ONE, OWN)),
        ([ONE], ONE, (ONE,)),
        ([ONE], CLOSED, (ONE,)),
        ([ONE], ExceptionGroup("", [ONE, ExceptionGroup("", [CLOSED])]), (ONE,)),
    ],
)
def test_only_what_does_not_follow_is_added(
    errors: list[BaseException],
    of_block: BaseException | None,
    expected: tuple[BaseException, ...],
) -> None:
    before = list(errors)
    raised = breakage(errors, of_block)
    assert errors == before
    if isinstance(raised, BaseExceptionGroup):
        assert raised.exceptions == expected
    else:
        assert (raised,) == expected


def test_a_group_of_the_block_comes_out_whole_if_one_of_it_is_its_own() -> None:
    group = ExceptionGroup("", [ONE, OWN])
    raised = breakage([ONE], group)
    assert isinstance(raised, ExceptionGroup)
    assert raised.exceptions == (ONE, group)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, False),
        (OWN, False),
        (Cancelled(), True),
        (GeneratorExit(), True),
        (ExceptionGroup("", [OWN]), False),
        (BaseExceptionGroup("", [OWN, BaseExceptionGroup("", [Cancelled()])]), True),
    ],
)
def test_cancellation_and_the_end_of_a_generator_leave_no_time(
    error: BaseException | None, expected: bool
) -> None:
    assert is_cut_short(error, Cancelled) is expected
