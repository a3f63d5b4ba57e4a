"""Names: what kind of channel each means, and which are refused, with what words."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.strategies import tried
from pusher_proto.errors import InvalidName
from pusher_proto.names import (
    ChannelKind,
    check_channel,
    check_client_event,
    is_cache,
    kind_of,
)

NOT_ALLOWED = "not allowed: letters, digits and -_=@,.; are (Options(strict_names=False) lifts this, and --any-name)"
ALLOWED = string.ascii_letters + string.digits + "-_=@,.;"
good_names = st.text(ALLOWED, min_size=1, max_size=200)
any_names = st.text() | good_names | st.text(ALLOWED + ":#/\r\n\0 é", max_size=210)


# Kinds.


@pytest.mark.parametrize(
    ("channel", "kind", "cache"),
    [
        ("room", ChannelKind.PUBLIC, False),
        ("", ChannelKind.PUBLIC, False),
        ("private", ChannelKind.PUBLIC, False),
        ("privateer", ChannelKind.PUBLIC, False),
        ("Private-x", ChannelKind.PUBLIC, False),
        ("foo-private-x", ChannelKind.PUBLIC, False),
        ("presence", ChannelKind.PUBLIC, False),
        ("#server-to-user", ChannelKind.PUBLIC, False),
        ("private-", ChannelKind.PRIVATE, False),
        ("private-x", ChannelKind.PRIVATE, False),
        ("private-encrypted", ChannelKind.PRIVATE, False),
        ("private-presence-x", ChannelKind.PRIVATE, False),
        ("private-encrypted-x", ChannelKind.ENCRYPTED, False),
        ("private-encrypted-", ChannelKind.ENCRYPTED, False),
        ("presence-x", ChannelKind.PRESENCE, False),
        ("presence-private-x", ChannelKind.PRESENCE, False),
        ("#server-to-user-12", ChannelKind.USER, False),
        ("cache-x", ChannelKind.PUBLIC, True),
        ("private-cache-x", ChannelKind.PRIVATE, True),
        ("private-encrypted-cache-x", ChannelKind.ENCRYPTED, True),
        ("presence-cache-x", ChannelKind.PRESENCE, True),
        ("cache", ChannelKind.PUBLIC, False),
        ("foo-cache-x", ChannelKind.PUBLIC, False),
        ("private-foo-cache-x", ChannelKind.PRIVATE, False),
    ],
)
def test_the_prefix_of_a_channel_decides_its_kind(
    channel: str, kind: ChannelKind, cache: bool
) -> None:
    assert (kind_of(channel), is_cache(channel)) == (kind, cache)


def test_private_presence_and_encrypted_channels_need_an_authorization() -> None:
    assert {kind for kind in ChannelKind if kind.needs_authorization} == {
        ChannelKind.PRIVATE,
        ChannelKind.PRESENCE,
        ChannelKind.ENCRYPTED,
    }


# Channels.


@tried
@given(good_names)
def test_a_name_of_up_to_200_allowed_characters_may_be_subscribed_to(name: str) -> None:
    check_channel(name)
    check_channel(name, strict=False)


def test_a_name_of_exactly_the_limit_is_good() -> None:
    check_channel("x" * 200)
    check_client_event("client-" + "x" * 193)


@tried
@given(any_names)
def test_every_other_name_is_refused(name: str) -> None:
    if 0 < len(name) <= 200 and set(name) <= set(ALLOWED):
        check_channel(name)
    else:
        with pytest.raises(InvalidName) as raised:
            check_channel(name)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a channel name cannot be empty"),
        (
            "a b",
            f"the character ' ' at position 1 of the channel name 'a b' is {NOT_ALLOWED}",
        ),
        (
            "market:btc",
            f"the character ':' at position 6 of the channel name 'market:btc' is {NOT_ALLOWED}",
        ),
        ("room\n", "the character '\\n' at position 4 of a channel name is not allowed"),
        ("\ud800", "the character '\\ud800' at position 0 of a channel name is not allowed"),
        (
            "#server-to-user-1",
            "channel names that start with # are reserved for the server: '#server-to-user-1'",
        ),
        ("x" * 201, "a channel name has at most 200 characters, not 201"),
    ],
)
def test_a_refused_channel_name_gets_an_error_that_says_what_is_wrong(
    name: str, message: str
) -> None:
    with pytest.raises(InvalidName) as raised:
        check_channel(name)
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["market:btc", "ñ", "a b", "x" * 1000, "#x", "a/b"])
def test_custom_servers_may_allow_more(name: str) -> None:
    check_channel(name, strict=False)


@pytest.mark.parametrize("name", ["", "a\r\nb", "\0", "\x7f", "\udfff"])
def test_what_can_never_work_is_refused_there_too(name: str) -> None:
    with pytest.raises(InvalidName):
        check_channel(name, strict=False)


@pytest.mark.parametrize("name", [None, b"room", 7, ["room"]])
def test_a_name_that_is_not_text_is_a_type_error(name: object) -> None:
    with pytest.raises(TypeError, match="a channel name is a str, not"):
        check_channel(name)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="an event name is a str, not"):
        check_client_event(name)  # type: ignore[arg-type]  # wrong on purpose


# Client events.


@tried
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=193))
def test_any_text_after_client_and_a_dash_names_a_client_event(rest: str) -> None:
    check_client_event(f"client-{rest}")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ("", "an event name cannot be empty"),
        ("typing", "a client event's name starts with 'client-': write 'client-typing'"),
        ("client-", "a client event's name starts with 'client-' and has something after it"),
        ("Client-x", "a client event's name starts with 'client-': write 'client-Client-x'"),
        ("client-\n", "the character '\\n' at position 7 of an event name is not allowed"),
        ("client-" + "x" * 194, "an event name has at most 200 characters, not 201"),
    ],
)
def test_a_refused_event_name_gets_an_error_that_says_what_is_wrong(
    event: str, message: str
) -> None:
    with pytest.raises(InvalidName) as raised:
        check_client_event(event)
    assert str(raised.value) == message


def test_only_pusher_s_limit_of_an_event_name_can_be_lifted() -> None:
    check_client_event("client-" + "x" * 500, strict=False)
    with pytest.raises(InvalidName, match="starts with 'client-'"):
        check_client_event("pusher:ping", strict=False)
