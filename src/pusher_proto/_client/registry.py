"""The handlers of a client: finds them for `unbind`, and warns when one is bound twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .._base.logs import logger
from .selectors import Choice
from .sinks import shown_scope

__all__ = ["Bindings"]

_log = logger("client")


class _Binding(Protocol):
    """A handler with its selector."""

    choice: Choice
    fn: Callable[..., object]

    @property
    def handler(self) -> str: ...

    def cancel(self) -> None: ...


class Bindings:
    """The handlers of a client, by scope."""

    __slots__ = ("_by_scope",)

    def __init__(self) -> None:
        self._by_scope: dict[str | None, dict[object, list[_Binding]]] = {}

    def add(self, binding: _Binding) -> None:
        """Add a handler. Logs a warning if the same function is bound twice to the same events."""
        scope = binding.choice.scope
        alike = self._by_scope.setdefault(scope, {}).setdefault(_key(binding), [])
        alike.append(binding)
        if len(alike) == 2:
            _log.warning(
                "the handler %s is bound twice to %s on %s and is called twice for each event: bind it once, not in a "
                "handler that is called at each connection",
                binding.handler,
                ", ".join(binding.choice.shown),
                shown_scope(scope),
            )

    def discard(self, binding: _Binding) -> None:
        """Remove a handler, if it is known."""
        scope, key = binding.choice.scope, _key(binding)
        known = self._by_scope.get(scope, {})
        if binding in known.get(key, ()):
            known[key].remove(binding)
            if not known[key]:
                del known[key]
            if not known:
                del self._by_scope[scope]

    def find(self, scope: str | None, choice: Choice | None, fn: object) -> list[_Binding]:
        """Return the handlers of a scope that have this selector and this function; None means any."""
        return [
            binding
            for alike in self._by_scope.get(scope, {}).values()
            for binding in alike
            if (choice is None or binding.choice.key == choice.key)
            and (fn is None or binding.fn == fn)
        ]


def _key(binding: _Binding) -> Any:
    """Return a key that is equal for handlers with the same selector and function."""
    key = (binding.choice.key, binding.fn)
    try:
        hash(key)
    except TypeError:  # a callable object that cannot be hashed
        return id(binding)
    return key
