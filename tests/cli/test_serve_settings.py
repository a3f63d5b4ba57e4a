"""The settings of `serve`: flags, environment and file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from pusher_anyio.cli.serve._running import is_reachable, machine
from pusher_anyio.cli.serve._settings import Flags, Settings, SettingsError, read_settings
from pusher_proto.testing import DEMO_APP, App, MessageRate

KEY = base64.b64encode(bytes(32)).decode()


def settings(env: dict[str, str] | None = None, **flags: Any) -> Settings:
    return read_settings(Flags(**flags), env or {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.toml"


def names(app: App) -> tuple[str, str, str]:
    return app.id, app.key, app.secret


# ---- apps


def test_without_anything_it_is_the_demonstration_app_without_subscription_counts() -> None:
    [app] = settings().apps
    assert names(app) == names(DEMO_APP)
    assert app.encryption_master_key == DEMO_APP.encryption_master_key
    assert (app.subscription_count, app.client_events) == (False, True)


def test_every_app_has_a_master_key_that_follows_from_its_secret() -> None:
    first, second = settings(apps=["7:a:one", "8:b:two"]).apps
    [again] = settings(apps=["9:c:one"]).apps
    assert first.encryption_master_key == again.encryption_master_key
    assert first.encryption_master_key != second.encryption_master_key
    [given] = settings(apps=["7:a:one"], encryption_master_key=KEY).apps
    assert given.encryption_master_key == bytes(32)


@pytest.mark.parametrize(
    ("env", "app"),
    [
        ("PUSHER", ("7", "p", "s")),
        ("REVERB", ("7", "r", "s")),
    ],
)
def test_the_app_is_that_of_the_environment(env: str, app: tuple[str, str, str]) -> None:
    found = {f"{env}_APP_ID": "7", f"{env}_APP_KEY": app[1], f"{env}_APP_SECRET": "s"}
    found |= {f"{env}_APP_ENCRYPTION_MASTER_KEY": KEY}
    [served] = settings(found).apps
    assert names(served) == app
    assert served.encryption_master_key == bytes(32)
    [flag] = settings(found, apps=["1:x:y"]).apps
    assert names(flag) == ("1", "x", "y")


@pytest.mark.parametrize(
    ("more", "key"),
    [({}, "r"), ({"BROADCAST_CONNECTION": "pusher"}, "p"), ({"BROADCAST_DRIVER": "reverb"}, "r")],
)
def test_laravel_decides_where_both_are_set(more: dict[str, str], key: str) -> None:
    env = {
        f"{prefix}_APP_{name}": value
        for prefix, key in (("PUSHER", "p"), ("REVERB", "r"))
        for name, value in (("ID", "7"), ("KEY", key), ("SECRET", "s"))
    }
    assert settings(env | more).apps[0].key == key


def test_half_an_app_in_the_environment_is_refused() -> None:
    with pytest.raises(SettingsError, match="PUSHER_APP_KEY is set, but PUSHER_APP_ID is not"):
        settings({"PUSHER_APP_KEY": "k"})


def test_strict_is_as_pusher_and_each_limit_has_a_flag() -> None:
    [strict] = settings(strict=True).apps
    assert strict.client_events is False
    assert (strict.client_event_rate, strict.max_connections) == (10, 100)
    assert strict.authentication_timeout == 30.0
    [loose] = settings(strict=True, app={"client_events": True, "max_connections": 5}).apps
    assert (loose.client_events, loose.max_connections) == (True, 5)
    assert settings(app={"subscription_count": True}).apps[0].subscription_count is True


# ---- where


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    file.write_text(
        'hosts = ["::1"]\nport = 1\npath = "file"\n[[apps]]\nid="1"\nkey="f"\nsecret="s"\n'
    )
    env = {
        "REVERB_SERVER_HOST": "10.0.0.7",
        "REVERB_SERVER_PORT": "2",
        "REVERB_SERVER_PATH": "/env",
    }
    only_file = settings(config=str(file))
    assert (only_file.hosts, only_file.port, only_file.path) == (("::1",), 1, "/file")
    assert only_file.apps[0].key == "f"
    both = settings(env, config=str(file))
    assert (both.hosts, both.port, both.path) == (("10.0.0.7",), 2, "/env")
    all_three = settings(env, config=str(file), hosts=["127.0.0.1"], port=3, path="")
    assert (all_three.hosts, all_three.port, all_three.path) == (("127.0.0.1",), 3, "")


def test_where_clients_go_says_nothing_of_where_the_server_listens() -> None:
    found = settings({"PUSHER_HOST": "10.0.0.7", "REVERB_HOST": "10.0.0.7", "PUSHER_PORT": "7"})
    assert (found.hosts, found.port) == (("127.0.0.1", "::1"), 0)


def test_a_port_of_the_environment_is_a_number() -> None:
    with pytest.raises(SettingsError, match="REVERB_SERVER_PORT is a number up to 65535, not 'x'"):
        settings({"REVERB_SERVER_PORT": "x"})


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("example.com", True),
    ],
)
def test_which_hosts_others_reach(host: str, reachable: bool) -> None:
    assert is_reachable(host) is reachable


# ---- the file


FULL = f"""
dialect = "reverb"
strict = true
auth_token = "let-me-in"
control_token = "steer"
activity_timeout = 60
ping_after = 30.0

[[apps]]
id = "7"
key = "shop"
secret = "shop-secret"
client_events = true
encryption_master_key = "{KEY}"
origins = ["example.com"]
message_rate = {{messages = 60, seconds = 60.0}}

[[apps]]
id = "8"
key = "other"
secret = "other-secret"

[limits]
message = 20000

[[webhooks]]
url = "http://127.0.0.1:9/hooks"
events = ["channel_occupied"]
app = "shop"

[[users]]
token = "ann"
id = "7"
user_info = {{name = "Ann"}}
watchlist = ["8"]
"""


def test_a_file_can_say_all(file: Path) -> None:
    file.write_text(FULL)
    found = settings(config=str(file))
    shop, other = found.apps
    assert names(shop) == ("7", "shop", "shop-secret")
    assert (shop.client_events, other.client_events) == (True, False)
    assert shop.message_rate == MessageRate(messages=60, seconds=60.0)
    assert shop.origins == ("example.com",)
    assert shop.encryption_master_key == bytes(32)
    assert (found.dialect, found.control, found.auth_token) == ("reverb", "steer", "let-me-in")
    assert found.limits is not None
    assert (found.limits.message, found.limits.head) == (20_000, 10_000)
    assert found.webhooks[0].events == ("channel_occupied",)
    ann = {"id": "7", "user_info": {"name": "Ann"}, "watchlist": ["8"]}
    assert found.users == {"ann": ann, "Bearer ann": ann}
    assert (found.activity_timeout, found.ping_after) == (60, 30.0)
    assert machine(found).app is shop


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = ", "line 1: Invalid value"),
        ("\nprot = 1\n", "line 2: prot: there is no such key"),
        ('\nport = "x"\n', "line 2: port: Expected `int | null`, got `str`"),
        ("[limits]\n\nsize = 1\n", "line 3: limits.size: there is no such key: there are head, "),
        (
            '[[apps]]\nid="1"\nkey="a"\nsecret="b"\n\n[[apps]]\nid="2"\nkey=7\nsecret="c"\n',
            "line 8: apps.2.key: Expected `str`, got `int`",
        ),
        ('[[apps]]\nid="1"\nkey="a"\n', "line 1: apps.1: Object missing required field `secret`"),
        ('[[apps]]\nid="1"\nkey="a"\nsecret="b"\ncolour=1\n', "line 5: apps.1.colour: there is no"),
        (
            '[[apps]]\nid="1"\nkey="a"\nsecret="b"\nencryption_master_key="AAAA"\n',
            "apps.1: an encryption master key has 32 bytes",
        ),
        ('[[webhooks]]\nurl="x"\n', "line 1: webhooks.1: a webhook has an http or https URL"),
        ('dialect = "soketi"', "line 1: dialect: Invalid enum value 'soketi'"),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        settings(config=str(file))
    assert str(raised.value).startswith(str(file))
    assert message in str(raised.value)


def test_a_file_that_is_not_text_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        settings(config=str(file))


# ---- users, webhooks


def test_tokens_stand_for_users() -> None:
    found = settings(users=["ann-token=7:Ann", "bob-token=8"]).users
    assert found["Bearer ann-token"] == {"id": "7", "user_info": {"name": "Ann"}}
    assert found["bob-token"] == {"id": "8", "user_info": {"name": "8"}}


def test_webhooks_of_flags_share_the_kinds() -> None:
    [hook] = settings(webhooks=["http://x.test/"], webhook_events=["cache_miss"]).webhooks
    assert (hook.url, hook.events) == ("http://x.test/", ("cache_miss",))
