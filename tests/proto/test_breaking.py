"""The exceptions of a block whose client broke."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pusher_proto import ClientClosed
from pusher_proto.client import is_cut_short, raise_breakage


class Cancelled(BaseException):
    """Raised in a task that is cancelled."""


ONE, TWO, OWN = KeyError("one"), OSError("two"), ValueError("of the block")
CLOSED = ClientClosed("closed")


@pytest.mark.parametrize(
    ("errors", "of_block", "expected"),
    [
        ([ONE], None, (ONE,)),
        ([ONE, TWO], None, (ONE, TWO)),
        ([ONE], OWN, (ONE, OWN)),
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
    with pytest.raises(BaseException) as caught:
        raise_breakage(errors, of_block)
    assert errors == before
    if isinstance(caught.value, BaseExceptionGroup):
        assert caught.value.exceptions == expected
    else:
        assert (caught.value,) == expected


def test_nothing_is_raised_without_an_error_or_where_the_block_raised_it_itself() -> None:
    raise_breakage([])
    raise_breakage([], OWN)
    raise_breakage([ONE, TWO], TWO)


def test_an_error_keeps_the_context_in_which_it_was_raised() -> None:
    error = KeyError()
    with suppress(KeyError):
        try:
            raise OWN
        except ValueError:
            raise error from None
    try:
        raise TWO
    except OSError:
        with pytest.raises(KeyError):
            raise_breakage([error])
    assert error.__context__ is OWN


def test_a_group_of_the_block_is_raised_whole_if_one_of_it_is_its_own() -> None:
    group = ExceptionGroup("", [ONE, OWN])
    with pytest.raises(ExceptionGroup) as caught:
        raise_breakage([ONE], group)
    assert caught.value.exceptions == (ONE, group)


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
