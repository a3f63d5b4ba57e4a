"""Errors of the server in every shape seen, and what each is about."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto import ChannelEvent, ChannelState
from pusher_proto._channels.channel import Channel
from pusher_proto._channels.error_attribution import (
    may_refuse_subscribe,
    named_channel,
    names_sign_in,
    read_refusal,
    suspicion,
)
from pusher_proto._protocol.control import ErrorReceived


def channels(*names: str, state: ChannelState = ChannelState.SUBSCRIBING) -> dict[str, Channel]:
    made = {name: Channel(name, 10) for name in names}
    for channel in made.values():
        channel.state = state
    return made


def error(message: str, code: int | None = None, channel: str | None = None) -> ErrorReceived:
    return ErrorReceived(code, message, channel)


# Errors that name a channel.


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Existing subscription to channel room", "room"),
        ("Existing subscription to channel room.", "room"),
        ("Existing subscription to channel room.1", "room.1"),
        ("No current subscription to channel room, or subscription in progress", "room"),
        (
            "Invalid signature: Expected HMAC SHA256 hex digest of 1.2:private-a, but got x",
            "private-a",
        ),
        (
            'Invalid signature: Expected digest of 1.2:presence-a:{"user_id":"1,2"}, but got x',
            "presence-a",
        ),
        ("... hex digest of 12.34:private-a,b;c=d@e., but got x", "private-a,b;c=d@e."),
        ("... hex digest of 12.34:private-a,b,, but got x", "private-a,b,"),
        ("Auth info required to subscribe to private-a", "private-a"),
        ("Auth value for subscription to private-a is invalid", "private-a"),
        ("Subscription to presence-a needs channel_data", "presence-a"),
        ("Invalid channel name private-market:btc", "private-market:btc"),
        ("Client event error: Socket 1.2 is not subscribed to channel private-a", "private-a"),
        (
            "Channel error: Channel name contains invalid characters: 'a b' (invalid chars: [' '])",
            "a b",
        ),
        ("Too many members on channel presence-a", "presence-a"),
        ("Invalid channel_data for channel presence-a", "presence-a"),
        ("Too many subscriptions; no subscription to channel room", "room"),
        ("... digest of 1.2:market:btc, but got x", "market:btc"),
        ('... digest of 1.2:market:btc:{"user_id":1}, but got x', "market:btc"),
    ],
)
def test_the_channel_is_found_in_the_text(message: str, name: str) -> None:
    known = channels(name, "other", "subscription", "channel", "private", "market")
    assert named_channel(error(message), known) == name


def test_the_channel_of_the_envelope_counts_more_than_the_text() -> None:
    known = channels("a", "b")
    assert named_channel(error("Existing subscription to channel b", None, "a"), known) == "a"
    assert named_channel(error("anything", None, "unknown"), known) == "unknown"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Not signed in as the user of channel #server-to-user-1", "#server-to-user-1"),
        ("Existing subscription to channel App.Models.User.1", "App.Models.User.1"),
        ("... digest of 1.2:private-gone, but got x", "private-gone"),
        ('... digest of 1.2:presence-gone:{"user_id":"1"}, but got x', "presence-gone"),
    ],
)
def test_a_channel_that_is_no_longer_known_is_named_and_no_other(message: str, name: str) -> None:
    assert named_channel(error(message), channels("App", "private", "other")) == name


@pytest.mark.parametrize(
    "message",
    [
        "",
        "Connection is unauthorized",
        "Invalid key in subscription auth data: 'x'",
        "You have to subscribe to something first",
        'Invalid signature: Expected HMAC SHA256 hex digest of 1.2::user::{"id":"1"}, but got x',
    ],
)
def test_a_text_that_names_no_channel_names_none(message: str) -> None:
    assert named_channel(error(message), channels("subscription", "user", "private-a")) is None


# The sign-in, and messages that do not answer a subscribe.


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ('Invalid signature: Expected digest of 1.2::user::{"id":"1"}, but got x', True),
        ("Invalid key in signin auth data: 'x'", True),
        ("Authentication error: Connection not authorized for signin.", True),
        ("Authentication error: User authentication is disabled for this app", True),
        ("Sign-in failed", True),
        ("Connection is unauthorized", False),
        ("Invalid message format", False),
        ("", False),
    ],
)
def test_an_error_may_name_the_sign_in(message: str, named: bool) -> None:
    assert names_sign_in(error(message)) is named


@pytest.mark.parametrize(
    ("code", "message", "may"),
    [
        (4009, "Connection is unauthorized", True),
        (None, "Existing subscription to channel a", True),
        (None, "No current subscription to channel a, or subscription in progress", False),
        (4301, "Client event rejected", False),
    ],
)
def test_an_error_that_names_a_channel_may_refuse_its_subscribe(
    code: int | None, message: str, may: bool
) -> None:
    assert may_refuse_subscribe(error(message, code)) is may


def test_an_error_ends_the_message_of_a_time_out() -> None:
    assert suspicion(None) == ""
    assert suspicion(error("no")) == "; this error of the server may be about it: 'no'"
    assert suspicion(error("no", 4009)) == "; this error of the server may be about it: 'no' (4009)"


# subscription_error.


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ({"type": "AuthError", "error": "unauthorized", "status": 401}, 401, "unauthorized"),
        ('{"type":"AuthError","error":"unauthorized","status":401}', 401, "unauthorized"),
        ({"type": None, "error": "illegal", "status": 4009}, 4009, "illegal"),
        ({"code": 4009, "message": "no"}, 4009, "no"),
        ({"status": "401", "error": {"why": "x"}}, None, '{"why":"x"}'),
        ({"status": True}, None, ""),
        ("just text", None, "just text"),
        (None, None, ""),
        ([], None, ""),
        (5, None, ""),
    ],
)
def test_a_refusal_is_read_in_every_shape(data: Any, code: int | None, message: str) -> None:
    read = read_refusal(ChannelEvent("room", "pusher:subscription_error", data))
    assert read == ErrorReceived(code, message, "room")
