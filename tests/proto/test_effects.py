"""Effects: values that say what to do, by name, and compare by what they say."""

from __future__ import annotations

from typing import get_args

import pytest

from pusher_proto import effects
from pusher_proto.auth import AuthRequest
from pusher_proto.effects import (
    Authorize,
    AuthorizeMany,
    CallApplication,
    CancelCall,
    CloseMessages,
    CloseTransport,
    Effect,
    OpenMessages,
    OpenTransport,
    SendData,
    SendMessage,
    StartTls,
)


def test_every_effect_is_exported() -> None:
    assert get_args(Effect) == (
        OpenTransport,
        SendData,
        StartTls,
        CloseTransport,
        OpenMessages,
        SendMessage,
        CloseMessages,
        Authorize,
        AuthorizeMany,
        CallApplication,
        CancelCall,
    )
    assert sorted(effects.__all__) == sorted(
        ["Effect", *(one.__name__ for one in get_args(Effect))]
    )


@pytest.mark.parametrize(
    ("effect", "twin", "other"),
    [
        (
            OpenTransport(1, "ws.test", 443, True),
            OpenTransport(1, "ws.test", 443, True),
            OpenTransport(2, "ws.test", 443, True),
        ),
        (SendData(1, b"x"), SendData(1, b"x"), SendData(1, b"y")),
        (StartTls(1, "ws.test"), StartTls(1, "ws.test"), StartTls(1, "else.test")),
        (CloseTransport(1), CloseTransport(1, abort=False), CloseTransport(1, abort=True)),
        (
            Authorize(1, AuthRequest("1.1", "private-x")),
            Authorize(1, AuthRequest("1.1", "private-x"), None),
            Authorize(1, AuthRequest("1.1")),
        ),
        (
            AuthorizeMany((1,), (AuthRequest("1.1", "private-x"),)),
            AuthorizeMany((1,), (AuthRequest("1.1", "private-x"),)),
            AuthorizeMany((2,), (AuthRequest("1.1", "private-x"),)),
        ),
        (CallApplication(1, print), CallApplication(1, print), CallApplication(2, print)),
        (CancelCall(1), CancelCall(1), CancelCall(2)),
    ],
)
def test_effects_are_frozen_and_compare_by_what_they_say(
    effect: Effect, twin: Effect, other: Effect
) -> None:
    assert effect == twin
    assert effect != other
    with pytest.raises(AttributeError, match="immutable"):
        setattr(effect, effect.__struct_fields__[0], 9)
