"""Ways to get an authorization: what each is made of, what it signs, and that none of them shows a secret."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given

from proto.strategies import json_objects, tried
from pusher_proto._base.secret import Secret
from pusher_proto.auth import (
    AuthEndpoint,
    AuthRequest,
    AuthResponse,
    EndpointResponse,
    OwnKey,
    check_plain_functions,
)
from pusher_proto.errors import AuthorizationError, InvalidName, UnsupportedFeature
from pusher_proto.signing import shared_secret, sign_channel, sign_user

KEY = "278d425bdf160c739803"
SECRET = "7ad3773142a6692b25b8"
SOCKET = "1234.1234"
MASTER = bytes(range(32))


def asked(channel: str | None) -> AuthRequest:
    return AuthRequest(SOCKET, channel)


# Signing here.


def test_a_private_channel_is_signed_with_the_secret() -> None:
    authorization = OwnKey(KEY, SECRET).authorization(asked("private-foobar"))
    assert authorization == AuthResponse(auth=sign_channel(KEY, SECRET, SOCKET, "private-foobar"))


@pytest.mark.parametrize(
    "member",
    [
        {"user_id": "10", "user_info": {"name": "Mr. Channels"}},
        lambda channel: {"user_id": "10", "user_info": {"name": "Mr. Channels"}},
    ],
    ids=["mapping", "function"],
)
def test_a_presence_channel_is_signed_with_the_member(member: Any) -> None:
    data = '{"user_id":"10","user_info":{"name":"Mr. Channels"}}'
    assert OwnKey(KEY, SECRET, member=member).authorization(
        asked("presence-foobar")
    ) == AuthResponse(
        auth=sign_channel(KEY, SECRET, SOCKET, "presence-foobar", data), channel_data=data
    )


def test_a_function_is_asked_who_the_member_of_each_channel_is() -> None:
    own = OwnKey(KEY, SECRET, member=lambda channel: {"user_id": channel[-1]})
    authorizations = [own.authorization(asked(f"presence-{name}")).channel_data for name in "ab"]
    assert authorizations == [
        '{"user_id":"a","user_info":null}',
        '{"user_id":"b","user_info":null}',
    ]


def test_a_presence_channel_without_a_member_is_left_to_the_user_who_is_signed_in() -> None:
    authorization = OwnKey(KEY, SECRET).authorization(asked("presence-foobar"))
    assert authorization == AuthResponse(auth=sign_channel(KEY, SECRET, SOCKET, "presence-foobar"))


def test_a_member_is_signed_into_presence_channels_only() -> None:
    own = OwnKey(KEY, SECRET, member={"user_id": "10"})
    assert own.authorization(asked("private-foobar")).channel_data is None


def test_an_encrypted_channel_gets_its_key_from_the_master_key() -> None:
    name = "private-encrypted-foobar"
    assert OwnKey(KEY, SECRET, master_key=MASTER).authorization(asked(name)) == AuthResponse(
        auth=sign_channel(KEY, SECRET, SOCKET, name), shared_secret=shared_secret(name, MASTER)
    )


def test_a_master_key_is_for_encrypted_channels_only() -> None:
    own = OwnKey(KEY, SECRET, master_key=MASTER)
    assert own.authorization(asked("private-foobar")).shared_secret is None


def test_an_encrypted_channel_without_a_master_key_is_an_authorization_error() -> None:
    message = "OwnKey has no `master_key`, and 'private-encrypted-foobar' is encrypted"
    with pytest.raises(AuthorizationError, match=message) as raised:
        OwnKey(KEY, SECRET).authorization(asked("private-encrypted-foobar"))
    assert (raised.value.channel, raised.value.temporary) == ("private-encrypted-foobar", False)


def test_a_user_is_signed_for_signing_in() -> None:
    authorization = OwnKey(KEY, SECRET, user={"id": "12345"}).authorization(asked(None))
    data = '{"id":"12345"}'
    assert authorization == AuthResponse(auth=sign_user(KEY, SECRET, SOCKET, data), user_data=data)


def test_signing_in_without_a_user_is_an_authorization_error() -> None:
    with pytest.raises(AuthorizationError, match="OwnKey has no `user` to sign in") as raised:
        OwnKey(KEY, SECRET).authorization(asked(None))
    assert (raised.value.channel, raised.value.temporary) == (None, False)


@pytest.mark.parametrize("channel", ["private-x", None])
def test_a_socket_id_that_no_server_issues_is_not_signed(channel: str | None) -> None:
    own = OwnKey(KEY, SECRET, user={"id": "1"})
    with pytest.raises(ValueError, match="not a valid socket id"):
        own.authorization(AuthRequest("1.1:private-x", channel))


def test_channel_names_of_a_custom_server_are_signed_and_control_characters_never() -> None:
    own, name = OwnKey(KEY, SECRET), "private-market:btc"
    authorization = own.authorization(asked(name), strict_names=False)
    assert authorization.auth == sign_channel(KEY, SECRET, SOCKET, name, strict_names=False)
    with pytest.raises(InvalidName):
        own.authorization(asked(name))
    with pytest.raises(InvalidName):
        own.authorization(asked("private-x\r\n"), strict_names=False)


@tried
@given(json_objects)
def test_what_is_signed_is_the_member_as_json_byte_for_byte(member: Mapping[str, Any]) -> None:
    authorization = OwnKey(KEY, SECRET, member=member).authorization(asked("presence-x"))
    assert authorization.channel_data is not None
    assert json.loads(authorization.channel_data) == {"user_info": None, **member}
    assert authorization.auth == sign_channel(
        KEY, SECRET, SOCKET, "presence-x", authorization.channel_data
    )


@pytest.mark.parametrize(
    ("key", "secret", "master_key", "error", "message"),
    [
        ("", SECRET, None, ValueError, "OwnKey needs the key and the secret of the app"),
        (KEY, "", None, ValueError, "OwnKey needs the key and the secret of the app"),
        (KEY, Secret(""), None, ValueError, "OwnKey needs the key and the secret of the app"),
        (KEY, SECRET, b"short", ValueError, "a master key has 32 bytes: decode the dashboard's base64"),
        (KEY, SECRET, "x" * 32, TypeError, "a master key is bytes, not str"),
    ],
)  # fmt: skip
def test_an_own_key_without_its_parts_is_refused(
    key: str, secret: Any, master_key: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        OwnKey(key, secret, master_key=master_key)
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["member", "user"])
@pytest.mark.parametrize("value", ["7", 7, ["7"]])
def test_an_own_key_whose_member_or_user_is_not_a_mapping_is_refused(name: str, value: Any) -> None:
    more: dict[str, Any] = {name: value}
    with pytest.raises(TypeError, match=rf"OwnKey\({name}=\.\.\.\) is a mapping.*, not"):
        OwnKey(KEY, SECRET, **more)


# Asking an endpoint.


@pytest.mark.parametrize(
    "url",
    ["http://app.test/auth", "https://app.test/broadcasting/auth", "HTTPS://app.test:8443/a?b=c"],
)
def test_an_endpoint_has_an_absolute_http_url(url: str) -> None:
    assert AuthEndpoint(url).url == url
    assert AuthEndpoint("https://app.test", user_url=url).user_url == url


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("", UnsupportedFeature, "an auth endpoint is an absolute http or https URL, not ''"),
        (
            "/auth",
            UnsupportedFeature,
            "an auth endpoint is an absolute http or https URL, not '/auth'",
        ),
        ("file:///etc/passwd", UnsupportedFeature, "not 'file:///etc/passwd'"),
        ("ws://app.test/", UnsupportedFeature, "not 'ws://app.test/'"),
        ("ftp://me:pa/ss@app.test/?a=b", UnsupportedFeature, "not '***@app.test/?***'"),
        ("http://", ValueError, "an absolute ws, wss, http or https URL is needed, not 'http://'"),
        ("https:///auth", ValueError, "not 'https:///auth'"),
        ("http://app.test:0/", ValueError, "a port is a number from 1 to 65535"),
        ("http://me:pass@app.test:99999/", ValueError, "not a URL: 'http://***@app.test:99999/'"),
        ("http://a b/", ValueError, "not a host name: 'a b'"),
        (None, TypeError, "the URL of an auth endpoint is a str, not NoneType"),
    ],
)
def test_another_url_is_refused_at_once(url: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        AuthEndpoint(url)
    assert message in str(raised.value)
    if url is not None:
        with pytest.raises(error):
            AuthEndpoint("https://app.test", user_url=url)


def test_a_body_is_a_form_or_json() -> None:
    assert AuthEndpoint("https://app.test").body == "form"
    assert AuthEndpoint("https://app.test", body="json").body == "json"
    with pytest.raises(ValueError) as raised:
        AuthEndpoint("https://app.test", body="xml")  # type: ignore[arg-type]  # wrong on purpose
    assert str(raised.value) == "AuthEndpoint(body=...) is 'form' or 'json', not 'xml'"


@pytest.mark.parametrize("batch", [0, -1])
def test_a_request_is_for_one_channel_at_least(batch: int) -> None:
    with pytest.raises(ValueError) as raised:
        AuthEndpoint("https://app.test", batch=batch)
    assert str(raised.value) == f"AuthEndpoint(batch=...) is at least 1, not {batch}"


def test_headers_that_no_request_may_carry_are_refused_at_once_where_they_are_known() -> None:
    with pytest.raises(ValueError) as raised:
        AuthEndpoint("https://app.test", headers={"Authorization": "Bearer hidden\n"})
    message = "the value of the header 'Authorization' ends in a newline: strip() it"
    assert str(raised.value) == message
    AuthEndpoint("https://app.test", headers=lambda: {"Authorization": "Bearer hidden\n"})


def test_W20_headers_that_contradict_the_body_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="set body='json'"):
        AuthEndpoint("https://app.test", headers={"Content-Type": "application/json"})
    with pytest.raises(ValueError, match="given twice"):
        AuthEndpoint("https://app.test", headers={"X-Token": "a", "x-token": "b"})


@pytest.mark.parametrize("name", ["headers", "params"])
def test_headers_and_params_are_mappings_or_functions(name: str) -> None:
    wrong: dict[str, Any] = {name: "Bearer x"}
    with pytest.raises(TypeError) as raised:
        AuthEndpoint("https://app.test", **wrong)
    assert str(raised.value) == f"AuthEndpoint({name}=...) is a mapping or a function, not str"


def test_headers_that_were_checked_stay_as_they_are() -> None:
    headers = {"X-A": "1"}
    endpoint = AuthEndpoint("https://app.test", headers=headers)
    headers["X-A"] = "2\n"
    assert endpoint.headers == {"X-A": "1"}


@pytest.mark.parametrize(
    ("key", "secret", "error", "message"),
    [
        (KEY, "s3cret\n", ValueError, r"OwnKey\(secret=...\) ends in a newline: strip\(\) it"),
        (f"{KEY}\n", "s3cret", ValueError, r"OwnKey\(key=...\) ends in a newline"),
        (KEY, Secret("s3cret\n"), ValueError, r"OwnKey\(secret=...\) ends in a newline"),
        (KEY, b"s3cret", TypeError, r"OwnKey\(secret=...\) is a str, not bytes: decode\(\) it"),
    ],
)
def test_W24_a_secret_from_a_file_is_named_at_construction(
    key: str, secret: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        OwnKey(key, secret)


@pytest.mark.parametrize("member", [{"user_id": 7}, {"user_id": "7"}])
def test_K11_F1_a_member_is_signed_with_a_text_id_and_with_user_info(member: Any) -> None:
    data = OwnKey(KEY, SECRET, member=member).authorization(asked("presence-x")).channel_data
    assert data == '{"user_id":"7","user_info":null}'


@pytest.mark.parametrize("user_id", [True, 1.5, None])
def test_an_invalid_id_is_left_for_the_check_of_the_authorization(user_id: object) -> None:
    own = OwnKey(KEY, SECRET, member={"user_id": user_id})
    data = own.authorization(asked("presence-x")).channel_data
    assert data is not None
    assert msgspec.json.decode(data)["user_id"] == user_id


def test_K11_the_id_of_a_user_is_signed_as_text() -> None:
    own = OwnKey(KEY, SECRET, user={"id": 7, "user_info": {"name": "x"}})
    assert own.authorization(asked(None)).user_data == '{"id":"7","user_info":{"name":"x"}}'


@pytest.mark.parametrize(
    ("user", "data"),
    [
        ({"id": 7}, '{"user_id":"7","user_info":null}'),
        ({"id": "7", "user_info": {"a": 1}}, '{"user_id":"7","user_info":{"a":1}}'),
        ({"name": "nobody"}, None),
    ],
)
def test_K3a_without_a_member_a_presence_channel_is_joined_as_the_user(
    user: Any, data: str | None
) -> None:
    assert OwnKey(KEY, SECRET, user=user).authorization(asked("presence-x")).channel_data == data


# Coroutine functions.


async def later() -> Any:
    """Return a coroutine that no one awaits."""


class Later:
    async def __call__(self, _request: AuthRequest) -> AuthResponse:
        raise AssertionError("it is never called")


@pytest.mark.parametrize(
    ("auth", "name"),
    [
        (later, "auth"),
        (Later(), "auth"),
        (AuthEndpoint("https://app.test", headers=later), "AuthEndpoint.headers"),
        (AuthEndpoint("https://app.test", params=later), "AuthEndpoint.params"),
        (AuthEndpoint("https://app.test", refresh=later), "AuthEndpoint.refresh"),
    ],
)
def test_W39_coroutine_functions_are_refused_where_no_event_loop_calls_them(
    auth: Any, name: str
) -> None:
    with pytest.raises(TypeError, match=f"^{name} is a plain function in blocking code"):
        check_plain_functions(auth)


@pytest.mark.parametrize(
    "auth", [None, print, OwnKey(KEY, SECRET), AuthEndpoint("https://app.test")]
)
def test_W39_plain_functions_are_good_everywhere(auth: Any) -> None:
    check_plain_functions(auth)


# The response that `parse` gets.


def test_W23_a_response_has_status_headers_and_body_and_is_its_body() -> None:
    response = EndpointResponse(b'\xef\xbb\xbf{"a":1}', 201, {"set-cookie": ["a=1", "b=2"]})
    assert (response.status, response.headers) == (201, {"set-cookie": ["a=1", "b=2"]})
    assert (response.text, response.json()) == ('{"a":1}', {"a": 1})
    assert response == response.body == b'\xef\xbb\xbf{"a":1}'
    assert type(response.body) is bytes
    assert repr(response) == "EndpointResponse(10 bytes, status=201)"


# Nothing is shown.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (OwnKey(KEY, SECRET), f"OwnKey(key={KEY!r})"),
        (
            OwnKey(KEY, SECRET, member={"user_id": "x"}, user={"id": "x"}, master_key=MASTER),
            f"OwnKey(key={KEY!r})",
        ),
        (AuthEndpoint("https://app.test/auth"), "AuthEndpoint(url='https://app.test/auth', body='form')"),
        (
            AuthEndpoint(
                "https://me:hidden@app.test/auth?token=hidden",
                headers={"Authorization": "Bearer hidden"},
                params={"token": "hidden"},
                body="json",
                user_url="http://:hidden@app.test/user",
            ),
            "AuthEndpoint(url='https://***@app.test/auth?***', body='json', user_url='http://***@app.test/user')",
        ),
        (AuthResponse(f"{KEY}:hidden", "hidden", "hidden", "hidden"), f"AuthResponse(auth='{KEY}:***')"),
        (AuthResponse("hidden"), "AuthResponse(auth='***')"),
        (AuthResponse(b"hidden"), "AuthResponse(auth='***')"),  # type: ignore[arg-type]  # wrong on purpose
    ],
)  # fmt: skip
def test_a_repr_shows_nothing_that_is_secret(value: object, shown: str) -> None:
    assert repr(value) == shown
    assert str(value) == shown


def test_an_own_key_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="a secret cannot be pickled"):
        pickle.dumps(OwnKey(KEY, SECRET))
