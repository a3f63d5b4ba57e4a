"""JSON as PHP reads and writes it, which changes some values."""

from __future__ import annotations

from ._frames import Json

__all__ = ["array_key", "as_array", "through_php"]

_INTEGERS = range(-(2**63), 2**63)


def through_php(value: Json) -> Json:
    """Return a JSON value after `json_decode` to an array and `json_encode`.

    Empty objects and objects numbered from 0 become lists, integral floats integers, large integers floats.
    """
    match value:
        case dict():
            return as_array({name: through_php(each) for name, each in value.items()})
        case list():
            return [through_php(each) for each in value]
        case bool():
            return value
        case int():
            return value if value in _INTEGERS else float(value)
        case float():
            return int(value) if value.is_integer() and abs(value) < 1e15 else value
        case _:
            return value


def as_array(value: dict[str, Json]) -> Json:
    """Return a PHP array as JSON writes it: a list when its keys count up from 0."""
    if list(value) == [str(number) for number in range(len(value))]:
        return list(value.values())
    return value


def array_key(value: Json) -> str | None:
    """Return the key that PHP makes of a value, or None for a value that cannot be one."""
    match value:
        case str():
            return value
        case bool() | int():
            return str(int(value))
        case float():
            return str((int(value) + 2**63) % 2**64 - 2**63)
        case _:
            return None
