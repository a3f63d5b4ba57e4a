"""The exception that a broken client raises from its calls and from the block around it."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ClientClosed

__all__ = ["is_cut_short", "raise_breakage"]


def raise_breakage(errors: Sequence[BaseException], of_block: BaseException | None = None) -> None:
    """Raise the errors that broke a client: the only one of `errors`, or a group. Does nothing without errors.

    `of_block` is the exception of the block around the client. The group includes it, unless it is a consequence of
    `errors`. Nothing is raised if `of_block` is one of `errors`, because the block raises it already.
    """
    if not errors or of_block in errors:
        return
    found = list(errors)
    if of_block is not None and not _follows(of_block, errors):
        found.append(of_block)
    alone = len(found) == 1
    raised = found[0] if alone else BaseExceptionGroup("a client and its block failed", found)
    context = raised.__context__
    try:
        raise raised
    finally:
        raised.__context__ = context


def is_cut_short(error: BaseException | None, cancelled: type[BaseException]) -> bool:
    """Return whether the exception of a block leaves no time to close: cancellation, or the end of a generator."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(cancelled) is not None
    return isinstance(error, (cancelled, GeneratorExit))


def _follows(error: BaseException, errors: Sequence[BaseException]) -> bool:
    """Return whether `error` is a consequence of `errors`, which interrupted the block."""
    if isinstance(error, BaseExceptionGroup):
        return all(_follows(each, errors) for each in error.exceptions)
    return error in errors or isinstance(error, ClientClosed)
