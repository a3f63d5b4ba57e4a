"""`Opening`: opened by `await` or by `async with`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Self

import pytest

from pusher_proto import LocalProtocolError
from pusher_proto.client import Opening


class Door:
    """Notes how it was left."""

    def __init__(self) -> None:
        self.left: list[object] = []
        self.entered = 0

    async def __aenter__(self) -> Self:
        self.entered += 1
        return self

    async def __aexit__(self, kind: object, error: object, _: object) -> None:
        self.left.append(error)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run what never waits."""
    with pytest.raises(StopIteration):
        main.send(None)


async def door() -> Door:
    return Door()


def test_it_is_opened_by_await_and_not_entered() -> None:
    async def main() -> None:
        opened = await Opening("door", door)
        assert (opened.entered, opened.left) == (0, [])

    run(main())


def test_it_is_opened_and_entered_for_the_length_of_a_block() -> None:
    async def main() -> None:
        mine = KeyError()
        async with Opening("door", door) as opened:
            assert opened.entered == 1
        assert opened.left == [None]
        with pytest.raises(KeyError):
            async with Opening("door", door) as opened:
                raise mine
        assert opened.left == [mine]

    run(main())


def test_it_is_opened_once() -> None:
    async def main() -> None:
        opening = Opening("door", door)
        await opening
        with pytest.raises(LocalProtocolError, match=r"this door\(...\) was opened before"):
            await opening
        with pytest.raises(LocalProtocolError, match="opened before"):
            async with opening:
                pass

    run(main())


def test_before_that_it_says_what_to_do() -> None:
    with pytest.raises(AttributeError, match=r"door\(...\) has no 'knock' yet: `await` it"):
        Opening("door", door).knock()
