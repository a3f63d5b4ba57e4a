"""Finds the function of the application that an effect calls, and converts its result to answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from .._auth.endpoint_format import each_of
from ..effects import Authorize, AuthorizeMany, CallApplication
from ..errors import UnsupportedFeature
from ..gaps import FetchedLater

__all__ = ["Call", "answers", "call_plain", "check_methods", "number_of", "outcome_of", "question"]

Call = Authorize | AuthorizeMany | CallApplication
"""The effects that call a function of the application."""


def number_of(effect: Call) -> int:
    """Return the number of the call, as in `CancelCall`."""
    return effect.requests[0] if isinstance(effect, AuthorizeMany) else effect.request


def question(
    effect: Call, authorizer: Callable[..., object] | None
) -> tuple[Callable[[Any], object], object]:
    """Return the function to call and its argument. Raises `UnsupportedFeature` when there is no function."""
    if isinstance(effect, CallApplication):
        return _with_argument(effect.function), None
    asked: Any = authorizer
    if isinstance(effect, AuthorizeMany):
        return asked.authorize_many, list(effect.details)
    asked = effect.authorizer or asked
    if asked is None:
        raise UnsupportedFeature("there is no authorizer: set open_pusher(authorizer=...)")
    return asked, effect.details


def _with_argument(function: Callable[[], Any]) -> Callable[[Any], object]:
    """Return a function with one argument, which it ignores, that calls `function` and has its name."""

    async def awaited(_: object) -> object:
        return await function()

    def plain(_: object) -> object:
        return function()

    return update_wrapper(awaited if inspect.iscoroutinefunction(function) else plain, function)


def answers(effect: Authorize | AuthorizeMany, result: object) -> dict[int, object]:
    """Return the answer to each request, from the result of the function or the exception that it raised."""
    if isinstance(effect, Authorize):
        return {effect.request: result}
    if not isinstance(result, BaseException):
        try:
            result = each_of(result, effect.details)
        except ValueError as error:
            result = error
    each = result if isinstance(result, list) else [result] * len(effect.requests)
    return dict(zip(effect.requests, each, strict=True))


def check_methods(what: str, found: object, *names: str) -> None:
    """Raise TypeError if an object that the application returned lacks one of these methods."""
    missing = [name for name in names if not callable(getattr(found, name, None))]
    if missing:
        raise TypeError(
            f"{what}, not {type(found).__name__}, which has no {' and no '.join(missing)}"
        )


def outcome_of(function: Callable[..., object], *args: object) -> object:
    """Call a function of the application; return its result or the exception that it raised."""
    try:
        return function(*args)
    except BaseException as error:
        return error


def call_plain(function: Callable[[Any], object], argument: object) -> object:
    """Call a plain function; return its result or exception, or a TypeError if the result is awaitable."""
    result = outcome_of(function, argument)
    if not inspect.isawaitable(result):
        return result
    if inspect.iscoroutine(result) or isinstance(result, FetchedLater):
        result.close()
    return TypeError("the function returned an awaitable: use a plain function, or pusher_anyio")
