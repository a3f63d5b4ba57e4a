"""Encrypted channels whose events do not open: injected ones are never delivered, and the endpoint is not flooded."""

from __future__ import annotations

import base64
import gc
import json
import pickle
from typing import Any

import pytest
from nacl.secret import SecretBox

from faults.conversation import assert_kept, confirm, messages
from proto.scripted import Script, connected, forgetful
from proto.test_encryption import NEW, OLD, box, key_of
from pusher_proto import (
    AuthorizationError,
    AuthResponse,
    ChannelEvent,
    DecryptionFailed,
    SubscriptionFailed,
)
from pusher_proto._wire.secretbox import read_key
from simulation import World

ROOM = "private-encrypted-room"
TICKET = AuthResponse("key:x", shared_secret=key_of(OLD))


def sealed(**options: Any) -> Script:
    """Return a script on an encrypted channel, whose key is OLD, and on "other"; looks taken."""
    script = connected(auth=None, **options).subscribe("other", ROOM)
    script.do(script.session.authorized, script.asked[0].request, TICKET)
    script.asked.clear()
    return forgetful(confirm(script, "other", ROOM))


def answer(script: Script, authorization: AuthResponse | Exception) -> Script:
    """Answer the one request for a new key."""
    (asked,) = script.asked
    script.asked.clear()
    failed = isinstance(authorization, Exception)
    give = script.session.authorization_failed if failed else script.session.authorized
    return script.do(give, asked.request, authorization)


def outcomes(script: Script) -> list[Any]:
    """Return the data of each message since the last look, DecryptionFailed for each that did not open."""
    return [
        event.data if isinstance(event, ChannelEvent) else type(event) for event in script.take()
    ]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in box("1").items() if key != name}


INJECTED: list[Any] = [
    None,
    "",
    "plain",
    '"plain"',
    {"a": "plain"},
    [],
    5,
    without("nonce"),
    without("ciphertext"),
    box("1") | {"nonce": 5},
    box("1") | {"nonce": "AAAA"},
    box("1") | {"nonce": "!!!"},
    box("1") | {"ciphertext": "AAAA"},
    box("1") | {"ciphertext": None},
    box("1") | {"ciphertext": box("1")["ciphertext"] + "="},
]


@pytest.mark.parametrize("data", INJECTED)
def test_C1_an_event_without_encryption_is_injected(data: Any) -> None:
    """It is never delivered: one `DecryptionFailed` is emitted, no new key is requested, and the following events
    are delivered, here and on other channels.
    """
    script = sealed().send("ev", data, ROOM)
    assert outcomes(script) == [DecryptionFailed]
    assert script.asked == []
    script.send("ev", json.dumps(box('"good"')), ROOM)
    assert messages(script) == [(ROOM, "good")]
    assert_kept(script, "other")


def test_C1_an_event_encrypted_with_a_wrong_key_is_injected() -> None:
    """A new key is requested once, in case it was changed; then `DecryptionFailed` is emitted, and the following
    events are delivered in order.
    """
    script = sealed().send("ev", box("1", NEW), ROOM)
    assert len(script.asked) == 1
    script.send("ev", box("2"), ROOM).send("ev", '"elsewhere"', "other")
    assert messages(script) == [("other", "elsewhere")]
    assert outcomes(answer(script, TICKET)) == [DecryptionFailed, 2]
    assert_kept(script, "other")


def test_C2_the_key_is_changed_on_the_server() -> None:
    """A new key is requested once; the event that could not be decrypted is delivered with it, then the events
    received since, in order.
    """
    script = sealed()
    for number in range(5):
        script.send("ev", box(str(number), NEW), ROOM)
    assert script.take() == []
    answer(script, AuthResponse("key:x", shared_secret=key_of(NEW)))
    assert [data for _, data in messages(script)] == [0, 1, 2, 3, 4]
    script.send("ev", box("5", NEW), ROOM)
    assert messages(script) == [(ROOM, 5)]
    assert script.asked == []


@pytest.mark.parametrize(
    "authorization",
    [TICKET, AuthResponse("key:x", shared_secret=key_of(bytes(31) + b"x")), OSError("down")],
)
def test_C3_no_key_opens_a_thousand_events(authorization: AuthResponse | Exception) -> None:
    """A new key is requested at most every 10 s (`key_refresh`); each event is reported by `DecryptionFailed`."""
    script, asked = sealed(), 0
    for _ in range(1000):  # 20 s
        script.send("ev", box("1", NEW), ROOM).wait(0.02)
        if script.asked:
            answer(script, authorization)
            asked += 1
    assert asked == 2
    assert outcomes(script) == [DecryptionFailed] * 1000
    assert_kept(script, "other")


@pytest.mark.parametrize(
    "secret",
    [
        None,
        "",
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        base64.b64encode(bytes(32)).decode().rstrip("="),
        "!" * 44,
    ],
)
def test_C4_the_authorization_has_no_good_key(secret: str | None) -> None:
    """The channel has failed: a key is 32 bytes in plain base64. Nothing is subscribed."""
    script = forgetful(connected(auth=None).subscribe(ROOM))
    script.do(
        script.session.authorized, script.asked[0].request, AuthResponse("key:x", None, secret)
    )
    (failed,) = script.take()
    assert isinstance(failed, SubscriptionFailed)
    assert isinstance(failed.error, AuthorizationError)
    assert str(failed.error) == "the authorization has no shared_secret of 32 bytes in base64"
    assert script.acts() == []


def keys_alive() -> int:
    gc.collect()
    return sum(isinstance(one, SecretBox) for one in gc.get_objects())


@pytest.mark.parametrize("end", ["unsubscribe", "disconnect", "close", "loss"])
def test_C5_a_channel_is_unsubscribed_and_its_key_remains(end: str) -> None:
    """It does not: after unsubscribe, disconnect, close and a loss nothing holds the key. While it is held, no repr
    shows it, and it cannot be pickled.
    """
    before = keys_alive()
    script = sealed()
    assert keys_alive() == before + 1
    if end == "loss":
        script.eof()
    else:
        script.do(getattr(script.session, end), *([ROOM] if end == "unsubscribe" else []))
    assert keys_alive() == before
    key = read_key(key_of(NEW))
    assert repr(key) == "Key(***)"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(key)
    assert not hasattr(key, "__dict__")
    assert key_of(NEW) not in repr(AuthResponse("key:x", shared_secret=key_of(NEW)))


def raw_box(data: bytes) -> dict[str, str]:
    opened = SecretBox(OLD).encrypt(data, bytes(24))
    return {
        "nonce": base64.b64encode(bytes(24)).decode(),
        "ciphertext": base64.b64encode(opened.ciphertext).decode(),
    }


def test_C6_decrypted_data_is_not_JSON_or_not_text() -> None:
    """Text that is not JSON is delivered as text; bytes that are not UTF-8 are reported by `DecryptionFailed`."""
    script = sealed()
    for data in (b"plain", b"\xff\xfe", b"", b'{"a":1}'):
        script.send("ev", raw_box(data), ROOM)
    assert outcomes(script) == ["plain", DecryptionFailed, "", {"a": 1}]
    assert script.asked == []


def test_C7_an_old_event_is_sent_again() -> None:
    """It is delivered again: the protocol has no counter that would show a replay."""
    script = sealed()
    for _ in range(2):
        script.send("ev", box('"once"'), ROOM)
    assert messages(script) == [(ROOM, "once")] * 2


def test_C8_many_events_are_encrypted_by_the_test_server() -> None:
    """Each event has another nonce of 24 random bytes. The client itself encrypts nothing."""
    realm = World().server._realm(None)
    texts = (realm.encrypt(ROOM, "x") for _ in range(5000))
    nonces = {base64.b64decode(json.loads(text)["nonce"]) for text in texts}
    assert len(nonces) == 5000
    assert {len(nonce) for nonce in nonces} == {24}
