"""Secrets: a client lives through all that can go wrong about them, and none of them comes out."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.runners import Driver
from drivers.scenarios import logged
from pusher_anyio import Client
from pusher_anyio.testing import RunningServer
from pusher_proto import (
    AuthEndpoint,
    AuthorizationError,
    AuthRequest,
    ChannelEvent,
    ConnectionFailed,
    DecryptionFailed,
    Event,
    Options,
    OwnKey,
    PusherError,
)
from pusher_proto.testing import App, Server, ServerOptions
from secrecy import MASTER_KEY, SECRETS, SHAPES, Watch, rendered, secrets_in

from .rows import QUICK, on_every_driver

SECRET, TOKEN, MAIL = "the-secret-of-this-app", "the-token-of-this-user", "ada@example.test"
USER = {"id": "ada", "user_id": "ada", "user_info": {"mail": MAIL}}
APP = App(id="9", key="nine", secret=SECRET, encryption_master_key=MASTER_KEY)
OWN_KEY = OwnKey(APP.key, SECRET, member=USER, user=USER, master_key=MASTER_KEY)
SIGNATURE = "5ec7e7" * 10 + "5ec7"
ROOM, PRESENCE, SEALED = "private-room", "presence-room", "private-encrypted-room"

SAID = [
    f'{{"event":"pusher:subscribe","data":{{"auth":"nine:{SIGNATURE}"',
    f'{{"event":"pusher:signin_success","data":{{"user_data":"{MAIL}',
    f'"Bearer {TOKEN}',
    f'{{"event":"n","channel":"{SEALED}","data":"{{\\"nonce\\":1}}"}}',
    f'{{"event":"pusher:error","data":{{"message":"got nine:{SIGNATURE}"}}}}',
    f'{{"event":"n","channel":"unknown","data":"nine:{SIGNATURE}"}}',
]
"""Messages of a server, valid and invalid."""
ANSWERED: list[tuple[int, object]] = [
    (403, {"auth": f"{APP.key}:{SIGNATURE}"}),
    (401, f"<html>Bearer {TOKEN} is not known"),
    (200, f"<html>{APP.key}:{SIGNATURE}"),
    (200, {"auth": 1, "user_data": MAIL}),
]
"""Answers of an auth endpoint that are not an authorization."""


def a_server() -> Server:
    return Server([APP], ServerOptions(auth_user={f"Bearer {TOKEN}": USER}))


class Ways:
    """The ways to an authorization. Functions, so that no local variable of a test holds a secret."""

    @staticmethod
    def options(way: str, server: RunningServer) -> tuple[Options, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        endpoint = AuthEndpoint(
            server.auth_url,
            user_url=server.user_auth_url,
            headers=headers,
            params={"token": TOKEN},
        )
        auth: Any = {"own key": OWN_KEY, "endpoint": endpoint}.get(way)
        options = server.options(
            APP, auth=auth, headers=headers, query={"token": TOKEN}, **(QUICK | {"retry_cap": 0.02})
        )
        return options, (None if auth is not None else Ways.authorizer)

    @staticmethod
    def authorizer(request: AuthRequest) -> object:
        try:
            if request.channel == "private-bad":
                raise LookupError("who is that")
        except LookupError as error:
            raise RuntimeError("no authorization") from error
        return OWN_KEY.authorization(request)


class Seen:
    """The events and errors that the application got."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.events: list[Event] = []
        self.shown: list[str] = []

    @contextmanager
    def raises(self, kind: type[BaseException]) -> Iterator[None]:
        with pytest.raises(kind) as caught:
            yield
        self.errors.append(caught.value)


async def everything_goes_wrong(
    driver: Driver, server: RunningServer, way: str, recording: Path
) -> Seen:
    seen = Seen()
    options, authorizer = Ways.options(way, server)

    def clumsy(event: ChannelEvent) -> None:
        raise LookupError("clumsy")

    async with driver(options, authorizer=authorizer, record=recording) as client:
        everything = client.events()
        client.signin()
        rooms = [client.subscribe(name) for name in (ROOM, PRESENCE, SEALED)]
        for room in rooms:
            await room.wait_subscribed(10)
        await client.wait_signed_in(10)
        rooms[0].bind("n", clumsy)
        sealed = rooms[2].events("n")
        server.publish([ROOM, PRESENCE], "n", 1)
        server.publish(SEALED, "n", 2)
        assert (await anext(sealed)).data == 2
        await whatever_a_server_says(server, client)
        if way == "endpoint":
            await whatever_an_endpoint_says(server, client, seen)
        if way == "authorizer":
            with seen.raises(AuthorizationError):
                await client.subscribe("private-bad").wait_subscribed(10)
        with seen.raises(PusherError):
            rooms[0].trigger("client-n", "x" * 20_000)
        if way != "endpoint":  # which would sign with the new one too
            server.rotate_secret("another")  # no signature is good, and the server quotes them
            client.reconnect()
            with seen.raises(PusherError):  # it was good once, and is requested again later
                await rooms[0].wait_subscribed(1)
        seen.shown += map(repr, (options, options.auth, client, rooms[1], rooms[1].me, client.user))
        server.drop(4009, f"disconnected by the app, no signature {APP.key}:{SIGNATURE}")
        with seen.raises(ConnectionFailed):
            await client.run()
    with seen.raises(PusherError):
        client.subscribe("private-late")
    with seen.raises(ConnectionFailed):
        async for event in everything:
            seen.events.append(event)
    seen.errors += [each for e in seen.events if (each := getattr(e, "error", None)) is not None]
    seen.shown += [repr(event) for event in seen.events]
    return seen


async def whatever_a_server_says(server: RunningServer, client: Client) -> None:
    last = client.channel(ROOM).events("last")
    for text in SAID:
        server.send_raw(None, text)
    server.publish(ROOM, "last", None)
    await anext(last)


async def whatever_an_endpoint_says(server: RunningServer, client: Client, seen: Seen) -> None:
    for n in range(len(ANSWERED)):
        server.auth_answer(*ANSWERED[n])
        with seen.raises(AuthorizationError):
            await client.subscribe(f"private-{n}").wait_subscribed(10)
    server.auth_answer(None)


def everything_lived_through(scenario: Any) -> Any:
    test = on_every_driver(scenario, server=a_server)
    return pytest.mark.parametrize("way", ["own key", "endpoint", "authorizer"])(test)


@everything_lived_through
async def test_S1_nothing_secret_is_logged(
    driver: Driver, server: RunningServer, way: str, tmp_path: Path
) -> None:
    """No log record at any level holds a secret, a key, a token, a signature or the user's data."""
    with logged("pusher_proto") as records:
        await everything_goes_wrong(driver, server, way, tmp_path / "recording")
    assert len({each.name for each in records}) >= 3
    assert any(each.levelno == logging.DEBUG for each in records)
    for each in records:
        # The test server shows what it was sent, without signatures.
        allowed = {"user data"} if each.name == "pusher_proto.server" else set()
        assert secrets_in(f"{each.getMessage()} {each.args}") <= allowed, each.name
        if each.exc_info and each.exc_info[1] is not None:
            assert secrets_in(rendered(each.exc_info[1])) == set(), each.name


@everything_lived_through
async def test_S2_nothing_secret_is_in_what_is_raised_shown_or_recorded(
    driver: Driver, server: RunningServer, way: str, tmp_path: Path
) -> None:
    """Exceptions, their causes and all their local variables hold no secret; nor do reprs and recordings."""
    recording = tmp_path / "recording"
    seen = await everything_goes_wrong(driver, server, way, recording)
    kinds = {type(error).__name__ for error in seen.errors}
    assert {"LocalProtocolError", "ConnectionFailed", "ClientClosed"} <= kinds
    assert {"SubscriptionError", "AuthorizationError"} & kinds
    assert any(isinstance(event, DecryptionFailed) for event in seen.events)
    for error in seen.errors:
        assert secrets_in(rendered(error)) == set(), type(error).__name__
    for each in seen.shown:
        assert secrets_in(each) - {"user data"} == set()
    text = recording.read_text()
    assert len(text) > 1000
    known = [each for kind in SECRETS.values() for each in kind]
    assert [each for each in known if each in text] == []
    assert SHAPES["a signature"].search(text) is None


@pytest.mark.parametrize("socket_id", ["1.1:private-x", "1.1\n", "\u0661.\u0661"])
@pytest.mark.parametrize("channel", [None, ROOM, PRESENCE, SEALED, "private-b\xe4d"])
def test_S2_refusing_to_sign_shows_nothing_secret(socket_id: str, channel: str | None) -> None:
    """A wrong socket id or name is refused before any secret is loaded."""
    with pytest.raises(ValueError, match=r"socket id|channel") as caught:
        OWN_KEY.authorization(AuthRequest(socket_id, channel))
    assert secrets_in(rendered(caught.value)) == set()


# The watch itself


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("nothing", set()),
        ("the secret is demo-secret", {"the secret of an app"}),
        (repr(MASTER_KEY), {"a master key"}),
        (f"auth demo:{SIGNATURE}", {"a signature"}),
        ("demo:***", set()),
        ("Authorization: Bearer abc", {"a bearer token"}),
        ("Authorization: Bearer ***", set()),
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", {"a key of 32 bytes"}),
        ('{"user_data":"{\\"id\\":1}"}', {"user data"}),
        ("user_data='***'", set()),
        ("the authorization has no user_data", set()),
    ],
)
def test_the_watch_knows_a_secret(text: str, found: set[str]) -> None:
    assert secrets_in(text) == found


def test_the_watch_looks_at_arguments_and_exceptions() -> None:
    class Shy:
        def __repr__(self) -> str:
            return SECRET

        def __str__(self) -> str:
            return "***"

    watch, logger = Watch(), logging.Logger("of this test")
    logger.addHandler(watch)
    logger.debug("all is well: %s", 1)
    assert watch.leaks == []
    logger.debug("%s", Shy())
    try:
        try:
            raise LookupError(TOKEN)
        except LookupError as error:
            raise ValueError("no") from error
    except ValueError:
        logger.exception("it failed")
    assert [each.partition(": ")[2] for each in watch.leaks] == ["the secret of an app", "a token"]


def test_the_watch_fails_a_test_that_logs_a_secret(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from secrecy import Watch\n"
        "def pytest_configure(config): config.pluginmanager.register(Watch(), 'secrecy')\n"
    )
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(f"""
            import logging

            log = logging.getLogger("pusher_proto.deep.within")

            def test_tells(): log.debug("signed nine:%s", {SIGNATURE!r})
            def test_is_silent(): log.debug("signed nine:***")
        """)
    )
    here = Path(__file__).parents[1]
    options = ["-p", "no:cacheprovider", "-o", f"pythonpath={here}", "-q", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options], capture_output=True, text=True, check=False
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "something secret was logged" in done.stdout
    assert "pusher_proto.deep.within, test_it.py:6: a signature" in done.stdout
    assert SIGNATURE not in done.stdout.partition("short test summary")[2]
