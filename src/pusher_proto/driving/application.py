"""Which function of the application answers a request for authorizations, and what its result means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._auth.endpoint_format import each_of
from ..effects import Authorize, AuthorizeMany
from ..errors import UnsupportedFeature

__all__ = ["answers", "question"]


def question(
    effect: Authorize | AuthorizeMany, authorizer: Callable[..., object] | None
) -> tuple[Callable[[Any], object], object]:
    """Return the function to call and its argument. Raises `UnsupportedFeature` when there is no function."""
    asked: Any = authorizer
    if isinstance(effect, AuthorizeMany):
        return asked.authorize_many, list(effect.details)
    asked = effect.authorizer or asked
    if asked is None:
        raise UnsupportedFeature("no authorizer was given to open_pusher")
    return asked, effect.details


def answers(effect: Authorize | AuthorizeMany, result: object) -> dict[int, object]:
    """Return the answer to each request, from what the function returned or the exception that it raised."""
    if isinstance(effect, Authorize):
        return {effect.request: result}
    if not isinstance(result, BaseException):
        try:
            result = each_of(result, effect.details)
        except ValueError as error:
            result = error
    each = result if isinstance(result, list) else [result] * len(effect.requests)
    return dict(zip(effect.requests, each, strict=True))
