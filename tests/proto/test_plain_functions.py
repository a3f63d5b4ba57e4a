"""Functions that a call would not run are refused when they are passed in: coroutine and generator functions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest

from proto.fake_client import FakeBinding, FakeClient, connected
from pusher_proto import AuthEndpoint, Options, OwnKey
from pusher_proto._base.checks import check_plain, check_runs, check_ssl_context
from pusher_proto.auth import check_plain_functions
from pusher_proto.client import MergedBase, Setup
from simulation import World

Use = Callable[[FakeClient, Any], object]


async def coroutine(*_: object) -> None: ...


def generator(*_: object) -> Iterator[int]:
    yield 1


async def later(*_: object) -> AsyncIterator[int]:
    yield 1


class Coroutine:
    async def __call__(self, *_: object) -> None: ...

    async def method(self, *_: object) -> None: ...


class Generator:
    def __call__(self, *_: object) -> Iterator[int]:
        yield 1


COROUTINES = [coroutine, partial(coroutine, 1), Coroutine(), Coroutine().method, AsyncMock()]
GENERATORS = [generator, later, partial(generator, 1), Generator()]
PLAIN = [print, lambda *_: None, partial(print, 1), Mock(), MagicMock(), str, Coroutine, None]


@pytest.mark.parametrize("function", GENERATORS)
def test_a_generator_function_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match=r"^it is a function without `yield`: with it, a call runs"):
        check_runs(function, "it")
    with pytest.raises(TypeError, match=r"^it is a function without `yield`"):
        check_plain(function, "it")


@pytest.mark.parametrize("function", COROUTINES)
def test_a_coroutine_function_is_refused_where_it_is_not_awaited(function: object) -> None:
    check_runs(function, "it")
    with pytest.raises(TypeError, match=r"^it is a plain function because it is not awaited$"):
        check_plain(function, "it")


@pytest.mark.parametrize("function", PLAIN)
def test_other_functions_are_accepted(function: object) -> None:
    check_runs(function, "it")
    check_plain(function, "it")


USES: dict[str, tuple[Use, str]] = {
    "a handler": (lambda client, fn: client.bind(None, fn), "a handler"),
    "a decorated handler": (lambda client, fn: client.bind("n")(fn), "a handler"),
    "a selector": (lambda client, fn: client.events(fn), "a predicate"),
    "one of several selectors": (lambda client, fn: client.events(("n", fn)), "a predicate"),
    "a predicate": (lambda client, fn: client.wait_for("n", fn), "the predicate of wait_for"),
    "a decoder": (lambda client, fn: client.events("n", decoder=fn), "decoder"),
    "a key": (lambda client, fn: client.subscribe("a", catch_up=lambda _: (), key=fn), "key"),
    "a key of a merged stream": (
        lambda client, fn: MergedBase[Any]([client.events()], iter, fn, 5),
        "key",
    ),
    "parse": (lambda _, fn: AuthEndpoint("http://a.example", parse=fn), r"AuthEndpoint\(parse"),
    "member": (lambda _, fn: OwnKey("key", "secret", member=fn), r"OwnKey\(member"),
    "resolve_url": (lambda _, fn: Options(key="k", resolve_url=fn), r"Options\(resolve_url"),
    "decrypted_text": (
        lambda _, fn: Options(key="k", host="a.example", decrypted_text=fn),
        r"Options\(decrypted_text",
    ),
    "on_event": (lambda _, fn: Setup.check("log", None, fn, None, None), "on_event"),
    "on_progress": (lambda _, fn: Setup.check("log", None, None, fn, None), "on_progress"),
    "wall_clock": (lambda _, fn: Setup.check("log", None, None, None, fn), "wall_clock"),
}


@pytest.mark.parametrize("function", [coroutine, generator, later])
@pytest.mark.parametrize(("use", "name"), USES.values(), ids=USES.keys())
def test_it_is_refused_everywhere_and_nothing_has_changed(
    use: Use, name: str, function: object
) -> None:
    client = connected(World())
    before = dict(client.channels)
    with pytest.raises(TypeError, match=f"^{name}"):
        use(client, function)
    assert client.channels == before


def test_a_client_that_awaits_takes_a_coroutine_function_as_a_handler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = connected(World())
    monkeypatch.setattr(FakeBinding, "awaits", True)
    client.bind("n", coroutine)
    with pytest.raises(TypeError, match=r"^a handler is a function without `yield`"):
        client.bind("n", later)


def test_a_coroutine_that_a_handler_returns_is_an_error_in_blocking_code() -> None:
    client = connected(World())
    binding = client.bind("n", lambda event: coroutine(event))
    binding.refuse_coroutine("another result")
    with pytest.raises(TypeError, match="the handler returned a coroutine"):
        binding.refuse_coroutine(coroutine())


def test_on_handler_error_is_one_of_two() -> None:
    with pytest.raises(ValueError, match=r"^on_handler_error is 'log' or 'raise', not 'ignore'$"):
        Setup.check("ignore", None, None, None, None)


def test_functions_that_only_the_async_client_awaits_are_named() -> None:
    with pytest.raises(TypeError, match=r"^connect is a plain function in blocking code; pusher_a"):
        check_plain_functions(None, authorizer=print, connect=coroutine)


@pytest.mark.parametrize("wrong", [False, True, "ca.pem", object(), b""])
def test_an_ssl_context_is_one(wrong: object) -> None:
    with pytest.raises(
        TypeError, match=rf"^ssl_context is an ssl.SSLContext, not {type(wrong).__name__}; to tru"
    ):
        check_ssl_context(wrong, "ssl_context")
    with pytest.raises(TypeError, match=r"^AuthEndpoint\(ssl_context=...\) is an ssl.SSLContext"):
        AuthEndpoint("https://a.example", ssl_context=wrong)


def test_any_object_that_wraps_memory_is_an_ssl_context() -> None:
    check_ssl_context(Mock(), "ssl_context")  # as the one of truststore
    check_ssl_context(None, "ssl_context")
