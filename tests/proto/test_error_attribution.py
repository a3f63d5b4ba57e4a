"""Errors of the server in every shape seen, and what each is about."""

from __future__ import annotations

from typing import Any

import pytest

from pusher_proto import ChannelEvent, ChannelState
from pusher_proto._channels.channel import Channel
from pusher_proto._channels.error_attribution import (
    blamed_channel,
    concerns_sign_in,
    concerns_subscribing,
    named_channel,
    read_refusal,
)
from pusher_proto._connection.link import ErrorReceived
from pusher_proto.states import ChannelInput

J = ChannelInput
SOON, LATE = 1.0, 100.0


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
def test_a_channel_that_is_not_known_any_more_is_named_and_no_other(
    message: str, name: str
) -> None:
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


# Errors that name none.


@pytest.mark.parametrize("state", [ChannelState.SUBSCRIBING, ChannelState.UNSUBSCRIBING])
def test_the_only_channel_that_was_asked_for_is_blamed(state: ChannelState) -> None:
    known = channels("asked", state=state) | channels("there", state=ChannelState.SUBSCRIBED)
    assert blamed_channel(error("Connection is unauthorized", 4009), known, 0.0) == "asked"
    assert blamed_channel(error("something", None), known, 0.0) == "asked"


def test_nobody_is_blamed_when_two_were_asked_for_or_none() -> None:
    wrong = error("Connection is unauthorized", 4009)
    assert blamed_channel(wrong, channels("a", "b"), 0.0) is None
    assert blamed_channel(wrong, channels("a", state=ChannelState.SUBSCRIBED), 0.0) is None
    assert blamed_channel(wrong, {}, 0.0) is None


def test_the_only_channel_with_an_authorization_is_blamed_for_being_unauthorized() -> None:
    wrong = error("Connection is unauthorized", 4009)  # Reverb names no channel
    assert blamed_channel(wrong, channels("a", "private-a", "b"), 0.0) == "private-a"
    assert blamed_channel(wrong, channels("a", "private-a", "presence-b"), 0.0) is None
    assert blamed_channel(error("something"), channels("a", "private-a"), 0.0) is None


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (4200, "Invalid message format"),
        (4302, "The watchlist has more than 100 users"),
        (None, 'Invalid signature: Expected digest of 1.2::user::{"id":"1"}, but got x'),
        (4009, "Invalid key in signin auth data: 'x'"),
        (None, "Sign-in failed"),
        (None, "User authentication is not enabled for this app"),
    ],
)
def test_an_error_about_something_else_blames_no_channel(code: int | None, message: str) -> None:
    assert blamed_channel(error(message, code), channels("a"), 0.0) is None


def test_a_refused_client_event_is_put_down_to_the_only_channel_that_sent_one() -> None:
    known = channels("private-a", "private-b", state=ChannelState.SUBSCRIBED) | channels("asked")
    wrong = error("Client event rejected - rate limit reached", 4301)
    assert blamed_channel(wrong, known, SOON) is None
    known["private-a"].triggered_at = 0.0
    assert blamed_channel(wrong, known, SOON) == "private-a"
    assert blamed_channel(wrong, known, LATE) is None
    known["private-b"].triggered_at = 0.5
    assert blamed_channel(wrong, known, SOON) is None


# What an error concerns.


@pytest.mark.parametrize(
    ("code", "message", "subscribing", "sign_in"),
    [
        (4009, "Connection is unauthorized", True, True),
        (None, "Existing subscription to channel a", True, False),
        (None, "No current subscription to channel a, or subscription in progress", False, False),
        (4301, "Client event rejected", False, False),
        (4302, "The watchlist has more than 100 users", True, False),
        (None, "Invalid key in subscription auth data: 'x'", True, False),
        (4200, "Invalid message format", True, True),
    ],
)
def test_an_error_may_answer_a_subscribe_or_a_sign_in(
    code: int | None, message: str, subscribing: bool, sign_in: bool
) -> None:
    wrong = error(message, code)
    assert (concerns_subscribing(wrong), concerns_sign_in(wrong)) == (subscribing, sign_in)


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
