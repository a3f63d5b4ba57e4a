"""The requests to an auth endpoint, and the meaning of its answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proto.requesting import request_for
from proto.strategies import json_values, tried
from pusher_proto._auth.endpoint_format import (
    caused_by,
    check_authorization,
    each_of,
    read_answer,
)
from pusher_proto._base.urls import Address
from pusher_proto._wire.envelope import encode
from pusher_proto._wire.http import Headers, HttpFailed, HttpResponse
from pusher_proto.auth import AuthEndpoint, AuthRequest, AuthResponse, EndpointResponse
from pusher_proto.errors import AuthorizationError

URL = "https://app.test/broadcasting/auth"
CHANNEL = AuthRequest("1.1", "private-x")
USER = AuthRequest("1.1")
ENDPOINT = AuthEndpoint(URL)
KEY = base64.b64encode(bytes(32)).decode()
TOKEN = "KEY:5ec2e7"

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def headers(kind: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    ours = [("Accept", JSON), ("Content-Type", kind), ("User-Agent", "pusher-proto-python")]
    return [*ours, *more]


# The request.


@pytest.mark.parametrize(
    ("endpoint", "details", "body", "kind"),
    [
        (AuthEndpoint(URL), CHANNEL, b"socket_id=1.1&channel_name=private-x", FORM),
        (AuthEndpoint(URL), USER, b"socket_id=1.1", FORM),
        (
            AuthEndpoint(URL),
            AuthRequest("1.1", "presence-a@b;c,d=e"),
            b"socket_id=1.1&channel_name=presence-a%40b%3Bc%2Cd%3De",
            FORM,
        ),
        (
            AuthEndpoint(URL, params={"token": "a b&c"}),
            CHANNEL,
            b"socket_id=1.1&channel_name=private-x&token=a%20b%26c",
            FORM,
        ),
        (
            AuthEndpoint(URL, params=lambda: {"channel_name": "mine"}),
            CHANNEL,
            b"socket_id=1.1&channel_name=mine",
            FORM,
        ),
        (AuthEndpoint(URL, body="json"), USER, b'{"socket_id":"1.1"}', JSON),
        (
            AuthEndpoint(URL, body="json", params={"n": "é"}),
            CHANNEL,
            '{"socket_id":"1.1","channel_name":"private-x","n":"é"}'.encode(),
            JSON,
        ),
    ],
)
def test_a_request_says_who_wants_into_what(
    endpoint: AuthEndpoint, details: AuthRequest, body: bytes, kind: str
) -> None:
    address, request = request_for(endpoint, details)
    assert address == Address("app.test", 443, True, "/broadcasting/auth")
    assert (request.target, request.authority) == ("/broadcasting/auth", "app.test")
    assert (request.headers, request.body) == (headers(kind), body)


@tried
@given(st.text(), st.none() | st.text(), st.dictionaries(st.text(), st.text()))
def test_whatever_the_names_are_they_arrive_as_they_are(
    socket_id: str, channel: str | None, params: dict[str, str]
) -> None:
    fields = {"socket_id": socket_id, "channel_name": channel} | params
    fields = {name: value for name, value in fields.items() if value is not None}
    details = AuthRequest(socket_id, channel)
    _, as_form = request_for(AuthEndpoint(URL, params=params), details)
    assert dict(parse_qsl(as_form.body.decode("ascii"), keep_blank_values=True)) == fields
    _, as_json = request_for(AuthEndpoint(URL, params=params, body="json"), details)
    assert json.loads(as_json.body) == fields


def test_a_user_may_have_its_own_endpoint() -> None:
    endpoint = AuthEndpoint(URL, user_url="http://[::1]:8000/user?a=b")
    address, request = request_for(endpoint, USER)
    assert address == Address("::1", 8000, False, "/user?a=b")
    assert (request.target, request.authority) == ("/user?a=b", "[::1]:8000")
    assert request_for(endpoint, CHANNEL)[0].host == "app.test"


def test_credentials_in_the_url_become_a_header_and_go_nowhere_else() -> None:
    endpoint = AuthEndpoint("https://me:hidden@app.test/auth")
    address, request = request_for(endpoint, CHANNEL)
    basic = ("Authorization", "Basic " + base64.b64encode(b"me:hidden").decode())
    assert request.headers == headers(FORM, basic)
    assert "hidden" not in repr(address) + request.target + request.authority


@pytest.mark.parametrize("own", [{"authorization": "Bearer x", "ACCEPT": "*/*", "X-A": "1"}])
def test_headers_of_the_application_replace_ours_whatever_their_case(own: dict[str, str]) -> None:
    for given_headers in (own, lambda: own):
        endpoint = AuthEndpoint("https://me:hidden@app.test/auth", headers=given_headers)
        _, request = request_for(endpoint, CHANNEL)
        assert request.headers == [
            ("Content-Type", FORM),
            ("User-Agent", "pusher-proto-python"),
            *own.items(),
        ]


def test_functions_for_headers_and_params_are_called_for_each_request() -> None:
    calls: list[str] = []

    def reported(what: str) -> Callable[[], dict[str, str]]:
        def count() -> dict[str, str]:
            calls.append(what)
            return {what: str(len(calls))}

        return count

    endpoint = AuthEndpoint(URL, headers=reported("h"), params=reported("p"))
    requests = [request_for(endpoint, USER)[1] for _ in range(2)]
    assert calls == ["h", "p", "h", "p"]
    assert [(r.body, r.headers[-1]) for r in requests] == [
        (b"socket_id=1.1&p=2", ("h", "1")),
        (b"socket_id=1.1&p=4", ("h", "3")),
    ]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            {"Host": "x"},
            ValueError,
            "the header 'Host' cannot be set: the client sets it, or no header may have that name",
        ),
        ({"X-A": "hidden\r\n"}, ValueError, "the value of the header 'X-A' ends in a newline"),
        ({"X-A": None}, TypeError, "the value of the header 'X-A' is a NoneType, not a str"),
    ],
)
def test_a_header_that_no_request_may_carry_is_the_application_s_error(
    bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        request_for(AuthEndpoint(URL, headers=lambda: bad), CHANNEL)
    assert "hidden" not in str(raised.value)


def test_exceptions_of_the_applications_functions_are_raised() -> None:
    def fail() -> Mapping[str, str]:
        raise LookupError("no token")

    for endpoint in (AuthEndpoint(URL, headers=fail), AuthEndpoint(URL, params=fail)):
        with pytest.raises(LookupError, match="no token"):
            request_for(endpoint, CHANNEL)


# The answer.


def read(
    body: bytes | str | dict[str, Any] = b"",
    status: int = 200,
    *,
    channel: str | None = "private-x",
    location: str | None = None,
    parse: Callable[[bytes], Any] | None = None,
) -> AuthResponse | AuthorizationError:
    if isinstance(body, dict):
        body = json.dumps(body)
    text = body.encode() if isinstance(body, str) else body
    sent = Headers([("location", location)] if location is not None else ())
    endpoint = AuthEndpoint(URL, parse=parse)
    return read_answer(endpoint, channel, HttpResponse(status, sent, text))


def failure(
    result: AuthResponse | AuthorizationError,
) -> tuple[str, str | None, int | None, str, bool]:
    assert isinstance(result, AuthorizationError)
    return str(result), result.channel, result.status, result.body, result.temporary


@pytest.mark.parametrize(
    ("channel", "fields"),
    [
        ("private-x", {"auth": TOKEN}),
        ("presence-x", {"auth": TOKEN, "channel_data": '{"user_id":"1"}'}),
        ("presence-x", {"auth": TOKEN, "channel_data": '{ "user_id": 1, "user_info": {} }'}),
        ("presence-x", {"auth": TOKEN}),  # as the user who is signed in
        ("private-encrypted-x", {"auth": TOKEN, "shared_secret": KEY}),
        (None, {"auth": TOKEN, "user_data": '{"id":"1"}'}),
        ("private-x", {"auth": TOKEN, "channel_data": None}),
        ("private-x", {"auth": TOKEN, "more": [1]}),
    ],
)
def test_an_answer_with_what_is_needed_is_an_authorization(
    channel: str | None, fields: dict[str, Any]
) -> None:
    known: dict[str, Any] = {name: fields.get(name) for name in AuthResponse.__struct_fields__}
    for status in (200, 201, 299):
        assert read(fields, status, channel=channel) == AuthResponse(**known)


def test_a_byte_order_mark_before_the_answer_is_looked_over() -> None:
    assert read(b'\xef\xbb\xbf{"auth":"%s"}' % TOKEN.encode()) == AuthResponse(TOKEN)
    page = read(b"\xef\xbb\xbf<html>")
    assert isinstance(page, AuthorizationError)
    assert str(page) == LOGIN


LOGIN = "the auth endpoint answered with a page, not with JSON: a login page? Send a session cookie or a token"


@pytest.mark.parametrize(
    ("body", "channel", "message"),
    [
        ("", "private-x",
         "the answer of the auth endpoint cannot be read: it is empty (status 200): return the authorization as JSON"),
        ("null", "private-x", "the auth endpoint answered with NoneType, not with an object that has `auth`"),
        ('["auth"]', "private-x", "the auth endpoint answered with list, not with an object that has `auth`"),
        ('"KEY:5ec2e7"', "private-x", "the auth endpoint answered with str, not with an object that has `auth`"),
        ("KEY:5ec2e7", "private-x", "the answer of the auth endpoint cannot be read: BadMessage"),
        ("[" * 100_000, "private-x", "the answer of the auth endpoint cannot be read: BadMessage"),
        (b"\xff\xfe", "private-x", "the answer of the auth endpoint cannot be read: BadMessage"),
        ({}, "private-x", "the answer of the auth endpoint has no `auth`"),
        ({"auth": ""}, "private-x", "the answer of the auth endpoint has no `auth`"),
        ({"auth": None}, "private-x", "the answer of the auth endpoint has no `auth`"),
        ({"auth": 7}, "private-x", "`auth` in the answer of the auth endpoint is not a string"),
        ({"auth": TOKEN, "channel_data": {"user_id": "1"}}, "presence-x",
         "`channel_data` in the answer of the auth endpoint is not a string: return the JSON text that was signed"),
        ({"auth": TOKEN, "shared_secret": 7}, "private-x",
         "`shared_secret` in the answer of the auth endpoint is not a string"),
        ({"auth": TOKEN, "user_data": {}}, None,
         "`user_data` in the answer of the auth endpoint is not a string: return the JSON text that was signed"),
        ({"auth": TOKEN}, None, "the authorization has no user_data with an id"),
        ({"auth": TOKEN}, "private-encrypted-x", "the authorization has no shared_secret of 32 bytes in base64"),
        ({"auth": TOKEN, "channel_data": "{}"}, "presence-x", "the authorization has no user_id in its channel_data"),
    ],
)  # fmt: skip
def test_an_answer_that_lacks_something_is_reported_with_what_it_lacks(
    body: bytes | str | dict[str, Any], channel: str | None, message: str
) -> None:
    result = read(body, channel=channel)
    text, of, _, shown, temporary = failure(result)
    assert (text, of, shown, temporary) == (message, channel, "", False)
    assert "5ec2e7" not in repr(result)


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        ('{"auth": "KEY:5ec2e7"}', "is the text of a JSON object: return the object itself"),
        ("Some(KEY:5ec2e7)", "is wrapped in Some(...)"),
        ("Bearer KEY:5ec2e7", "begins with 'Bearer '"),
        ("5ec2e7", "has no colon: is it the signature only?"),
        ("KEY:5ec2e7:x", "has spaces, quotes or more than one colon"),
        ("KEY:5ec2e7\n", "has spaces, quotes or more than one colon"),
    ],
)
def test_W21_an_auth_of_another_shape_is_not_sent_and_named(auth: str, why: str) -> None:
    message = f"the authorization has an `auth` that {why}; KEY:signature is needed"
    for result in (read({"auth": auth}), check_authorization(AuthResponse(auth), "private-x")):
        assert failure(result)[0] == message
        assert "5ec2e7" not in repr(result)


def test_W22_a_json_string_that_holds_the_answer_is_unwrapped_once() -> None:
    inner = json.dumps({"auth": TOKEN})
    assert read(json.dumps(inner)) == AuthResponse(TOKEN)
    assert "answered with str" in failure(read(json.dumps(json.dumps(inner))))[0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"status": "ok", "data": {"auth": "KEY:5ec2e7"}},
         ("has no `auth`; its keys are status, data: "
          "set AuthEndpoint(parse=...) to a function that returns an object with `auth`")),
        (b'callback({"auth":"KEY:5ec2e7"})', "cannot be read: 'callback(' precedes the JSON object"),
        (b'{"auth":"KEY:5ec2e7"}0', "cannot be read: '0' follows the JSON object"),
        (b'Notice: x in y.php on line 3 {"auth":"KEY:5ec2e7"}',
         "cannot be read: 'Notice: x in y.php on line 3 ' precedes the JSON object"),
        (b'{"auth":"KEY:5ec2e7', "cannot be read: it ends in the middle of the JSON object"),
        (b'{"auth":KEY:5ec2e7}', "cannot be read: BadMessage"),
        (b"\x1f\x8b\x08\0", "cannot be read: it is compressed (gzip), although the request did not ask for that"),
    ],
)  # fmt: skip
def test_W22_an_answer_that_is_nearly_right_is_named(
    body: bytes | dict[str, Any], why: str
) -> None:
    result = read(body)
    assert failure(result)[0] == f"the answer of the auth endpoint {why}"
    assert "5ec2e7" not in repr(result)


def test_W22_an_empty_answer_and_a_compressed_one_are_named() -> None:
    empty = read_answer(ENDPOINT, "private-x", HttpResponse(204, Headers(), b""))
    assert "it is empty (status 204)" in failure(empty)[0]
    packed = HttpResponse(200, Headers({"content-encoding": "br"}.items()), b"\x8b\x02")
    assert "it is compressed (br)" in failure(read_answer(ENDPOINT, "private-x", packed))[0]


def test_W23_a_parser_gets_status_all_headers_and_body() -> None:
    seen: list[EndpointResponse] = []

    def parse(response: EndpointResponse) -> dict[str, str]:
        seen.append(response)
        return {"auth": response.json()["token"]}

    body = json.dumps({"token": TOKEN}).encode()
    cookies = [("set-cookie", "a=1"), ("content-type", "text/plain"), ("set-cookie", "b=2")]
    answer = HttpResponse(201, Headers(cookies), body)
    result = read_answer(AuthEndpoint(URL, parse=parse), "private-x", answer)
    assert result == AuthResponse(TOKEN)
    (response,) = seen
    assert response.status == 201
    assert response.headers == {"set-cookie": ["a=1", "b=2"], "content-type": ["text/plain"]}


@pytest.mark.parametrize("reader", [json.loads, msgspec.json.decode, orjson.loads])
def test_seed_7_10_a_parser_that_takes_bytes_continues_working(reader: Any) -> None:
    def parse(body: bytes) -> Any:
        return reader(body)["data"]

    endpoint = AuthEndpoint(URL, parse=parse)
    body = json.dumps({"data": {"auth": TOKEN}}).encode()
    assert read_answer(endpoint, "private-x", HttpResponse(200, Headers(), body)) == AuthResponse(
        TOKEN
    )
    assert (
        "cannot be read"
        in failure(read_answer(endpoint, "private-x", HttpResponse(200, Headers(), b"{}")))[0]
    )


# Errors of the application's functions that may pass.


def of_package(package: str, name: str, *bases: type[BaseException]) -> BaseException:
    """Return an error as an HTTP library raises it: a subclass of the one that counts."""
    base = type(name, bases or (Exception,), {"__module__": f"{package}.exceptions"})
    error: BaseException = type("Sub", (base,), {"__module__": package})("no route")
    return error


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (of_package("httpx", "TransportError"), True),
        (of_package("aiohttp", "ClientConnectionError"), True),
        (of_package("aiohttp", "ClientPayloadError"), True),
        (of_package("urllib3", "MaxRetryError"), True),
        (of_package("requests", "ConnectionError", OSError), True),
        (of_package("requests", "InvalidURL", OSError, ValueError), False),
        (of_package("mine", "TransportError"), False),
        (TimeoutError(), True),
        (AuthorizationError("busy", status=503), True),
        (AuthorizationError("slow", status=408), True),
        (AuthorizationError("no", status=403), False),
        (AuthorizationError("once more", temporary=True), True),
        (AuthorizationError("never", status=503, temporary=False), False),
    ],
)
def test_W37_what_may_pass_is_recognized(error: BaseException, temporary: bool) -> None:
    if isinstance(error, AuthorizationError):
        assert error.temporary is temporary
    else:
        assert caused_by(error, "raised", "private-x").temporary is temporary


@pytest.mark.parametrize("body", ["<!DOCTYPE html>\n<title>Log in</title>", "\n\t <html>", "<"])
def test_a_login_page_is_called_one_and_its_start_is_shown(body: str) -> None:
    shown = "".join(c if c.isprintable() else " " for c in body)
    assert failure(read(body)) == (LOGIN, "private-x", 200, shown, False)


ANONYMOUS = "the endpoint does not know the user: send the session cookie or a bearer token in AuthEndpoint.headers"
FORBIDDEN = "the application does not allow this channel for this user, or the token is wrong"
NOT_THERE = "check the path of the auth endpoint (Laravel: /broadcasting/auth)"
FORGED = (
    "Laravel requires a CSRF token: use a route with a bearer token (Sanctum), or send X-XSRF-TOKEN"
)


@pytest.mark.parametrize(
    ("status", "message", "temporary"),
    [
        (400, "the auth endpoint answered 400", False),
        (401, f"the auth endpoint answered 401 ({ANONYMOUS})", False),
        (403, f"the auth endpoint answered 403 ({FORBIDDEN})", False),
        (404, f"the auth endpoint answered 404 ({NOT_THERE})", False),
        (419, f"the auth endpoint answered 419 ({FORGED})", False),
        (408, "the auth endpoint answered 408", True),
        (425, "the auth endpoint answered 425", True),
        (429, "the auth endpoint answered 429", True),
        (500, "the auth endpoint answered 500", True),
        (503, "the auth endpoint answered 503", True),
    ],
)  # fmt: skip
def test_a_refusal_says_its_status_what_to_do_and_the_start_of_its_body(
    status: int, message: str, temporary: bool
) -> None:
    body = "No!\n" + "x" * 1000
    assert failure(read(body, status)) == (
        message,
        "private-x",
        status,
        "No! " + "x" * 123 + "…",
        temporary,
    )


def test_what_looks_secret_in_the_body_of_a_refusal_is_masked() -> None:
    body = f"<html>no Bearer hunter2, {TOKEN.partition(':')[0]}:{'5e' * 32}"
    (*_, shown, _) = failure(read(body, 401))
    assert shown == f"<html>no Bearer ***, {TOKEN.partition(':')[0]}:***"


@tried
@given(st.integers(200, 599))
def test_only_2xx_is_an_answer_and_only_the_server_s_trouble_passes(status: int) -> None:
    result = read({"auth": TOKEN}, status)
    if status < 300:
        assert result == AuthResponse(TOKEN)
    else:
        assert isinstance(result, AuthorizationError)
        assert result.temporary == (status >= 500 or status in (408, 425, 429))


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://other.test/login", "https://other.test/login"),
        ("/login?token=hidden", "/login?***"),
        ("https://me:hidden@other.test/", "https://***@other.test/"),
        (None, "an unknown place"),
    ],
)
@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 399])
def test_a_redirect_is_an_error_that_names_the_location(
    status: int, location: str | None, shown: str
) -> None:
    text, *rest = failure(read({"auth": TOKEN}, status, location=location))
    assert text == (
        f"the auth endpoint redirects ({status}) to {shown}; redirects are not followed, because the target "
        "would get the headers: set the right URL, or send Accept: application/json when it is a login page"
    )
    assert rest[0:2] == ["private-x", status]
    assert rest[-1] is False


def test_no_answer_at_all_passes() -> None:
    result = read_answer(AuthEndpoint(URL), "private-x", HttpFailed("the answer is not HTTP"))
    message = "the auth endpoint: the answer is not HTTP"
    assert failure(result) == (message, "private-x", None, "", True)


# A parser of the application's own.


def test_a_parser_makes_a_mapping_of_any_body() -> None:
    def parse(body: bytes) -> Mapping[str, Any]:
        return {"auth": body.decode().removeprefix("<auth>").removesuffix("</auth>")}

    assert read(f"<auth>{TOKEN}</auth>", parse=parse) == AuthResponse(TOKEN)
    assert read(
        {"data": {"auth": TOKEN}}, parse=lambda body: json.loads(body)["data"]
    ) == AuthResponse(TOKEN)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("hidden", "the answer of the auth endpoint cannot be read: ZeroDivisionError"),
        ("<html>", LOGIN),
    ],
)
def test_a_parser_that_raises_concerns_this_channel_only(body: str, message: str) -> None:
    result = read(body, parse=lambda _: {"auth": 1 / 0})
    assert failure(result)[0] == message


@pytest.mark.parametrize("result", [None, TOKEN, [TOKEN], AuthResponse(TOKEN)])
def test_a_parser_that_returns_no_mapping_is_reported(result: Any) -> None:
    message = f"the auth endpoint answered with {type(result).__name__}, not with an object that has `auth`"
    assert failure(read("{}", parse=lambda _: result))[0] == message


@tried
@given(st.binary() | json_values.map(json.dumps).map(str.encode), st.integers(200, 599))
def test_any_answer_is_an_authorization_or_an_authorization_error(body: bytes, status: int) -> None:
    for channel in (None, "private-x", "presence-x", "private-encrypted-x"):
        result = read(body, status, channel=channel)
        assert isinstance(result, AuthResponse | AuthorizationError)
        if isinstance(result, AuthorizationError):
            assert len(result.body) <= 128
            assert result.body.isprintable()


# AuthRequests of all origins.


NO_KEY = "the authorization has no shared_secret of 32 bytes in base64"


@pytest.mark.parametrize(
    ("authorization", "channel", "message"),
    [
        (None, "private-x", "an authorizer returns an AuthResponse, not NoneType"),
        ({"auth": TOKEN}, "private-x",
         "an authorizer returns an AuthResponse, not dict: write AuthResponse(answer['auth'])"),
        (TOKEN, "private-x", "an authorizer returns an AuthResponse, not str"),
        (AuthResponse(""), "private-x", "the authorization has no `auth`"),
        (AuthResponse(None), "private-x", "the authorization has no `auth`"),  # type: ignore[arg-type]  # wrong on purpose
        (AuthResponse(7), "private-x", "the authorization has a `auth` of type int, not a string"),  # type: ignore[arg-type]  # wrong on purpose
        (AuthResponse("\ud800"), "private-x", "the authorization has a `auth` that is not valid Unicode"),
        (AuthResponse(TOKEN, {"user_id": 1}), "presence-x",  # type: ignore[arg-type]  # wrong on purpose
         "the authorization has a `channel_data` of type dict, not a string: return the JSON text that was signed"),
        (AuthResponse(TOKEN, '{"user_id":"\udfff"}'), "presence-x",
         "the authorization has a `channel_data` that is not valid Unicode"),
        (AuthResponse(TOKEN, "me"), "presence-x", "the authorization has no user_id in its channel_data"),
        (AuthResponse(TOKEN, "[]"), "presence-x", "the authorization has no user_id in its channel_data"),
        (AuthResponse(TOKEN, '{"user_id":null}'), "presence-x", "the authorization has no user_id in its channel_data"),
        (AuthResponse(TOKEN, '{"user_id":""}'), "presence-x", "the authorization has no user_id in its channel_data"),
        (AuthResponse(TOKEN, '{"user_id":true}'), "presence-x", "the authorization has no user_id in its channel_data"),
        (AuthResponse(TOKEN), None, "the authorization has no user_data with an id"),
        (AuthResponse(TOKEN, user_data="{}"), None, "the authorization has no user_data with an id"),
        (AuthResponse(TOKEN, user_data='{"id":{}}'), None, "the authorization has no user_data with an id"),
        (AuthResponse(TOKEN), "private-encrypted-x", NO_KEY),
        (AuthResponse(TOKEN, shared_secret="x"), "private-encrypted-x", NO_KEY),
        (AuthResponse(TOKEN, shared_secret=KEY[:-4]), "private-encrypted-cache-x", NO_KEY),
    ],
)  # fmt: skip
def test_an_authorization_that_lacks_something_is_reported_with_what_it_lacks(
    authorization: Any, channel: str | None, message: str
) -> None:
    assert failure(check_authorization(authorization, channel)) == (
        message,
        channel,
        None,
        "",
        False,
    )


texts = (
    st.none()
    | st.text(st.characters())
    | st.sampled_from(["{}", '{"user_id":"1"}', '{"id":7}', KEY])
)


@tried
@given(texts | st.integers() | st.just(TOKEN), texts | st.just({}), texts, texts)
@example(TOKEN, '{"user_id":"1"}', KEY, '{"id":"7"}')
def test_an_authorization_that_passes_can_be_sent(
    auth: Any, member: Any, key: Any, user: Any
) -> None:
    for channel in (None, "private-x", "presence-x", "private-encrypted-x"):
        authorization = check_authorization(AuthResponse(auth, member, key, user), channel)
        if isinstance(authorization, AuthResponse):
            assert encode("pusher:subscribe", {"auth": auth, "channel_data": member, "user": user})


# Several answers in one.

SEVERAL = [AuthRequest("1.1", "private-a"), AuthRequest("1.1", None)]


def test_several_answers_are_distinguished_by_their_order_or_by_their_channels() -> None:
    authorizations = [AuthResponse(TOKEN), LookupError("no")]
    assert each_of(authorizations, SEVERAL) == authorizations
    assert each_of(tuple(authorizations), SEVERAL) == authorizations
    assert (
        each_of(dict(zip(["private-a", None], authorizations, strict=True)), SEVERAL)
        == authorizations
    )
    first, second = each_of({"private-a": authorizations[0]}, SEVERAL)
    assert first == authorizations[0]
    assert repr(second) == "LookupError('authorize_many returned no answer for this channel')"


@pytest.mark.parametrize(
    "result", [None, AuthResponse(TOKEN), [], [AuthResponse(TOKEN)], iter([1, 2]), "abc"]
)
def test_too_few_answers_and_what_is_none_are_refused(result: object) -> None:
    with pytest.raises(
        ValueError, match="authorize_many has to return 2 answers, one for each request"
    ):
        each_of(result, SEVERAL)


# Exceptions of the application.


class WithResponse(Exception):
    def __init__(self, status: object) -> None:
        super().__init__("failed")
        self.response = type("Response", (), {"status_code": status})()


class WithStatus(Exception):
    def __init__(self, status: object) -> None:
        super().__init__("failed")
        self.status = status


class WithCode(Exception):
    def __init__(self, code: object) -> None:
        super().__init__("failed")
        self.code = code


@pytest.mark.parametrize(
    ("error", "status", "temporary"),
    [
        (ValueError("failed"), None, False),
        (KeyError("failed"), None, False),
        (OSError("failed"), None, True),
        (TimeoutError("failed"), None, True),
        (ConnectionResetError("failed"), None, True),
        (PermissionError("failed"), None, False),
        (WithResponse(403), 403, False),
        (WithResponse(503), 503, True),
        (WithResponse(None), None, False),
        (WithStatus(429), 429, True),
        (WithStatus("gone"), None, False),
        (WithCode(404), 404, False),
        (WithCode(1), None, False),  # of a process
        (WithCode(4009), None, False),
    ],
)
def test_what_the_application_raised_is_the_cause_and_may_pass_when_the_network_s(
    error: Exception, status: int | None, temporary: bool
) -> None:
    caused = caused_by(error, "the authorizer raised", "private-x")
    text = f"the authorizer raised: {type(error).__name__}: {error}"
    assert failure(caused) == (text, "private-x", status, "", temporary)
    assert caused.__cause__ is error


def test_a_long_text_of_an_application_s_error_is_cut() -> None:
    assert (
        str(caused_by(EOFError(), "the authorizer raised", None))
        == "the authorizer raised: EOFError"
    )
    caused = caused_by(ValueError("x" * 10_000), "the authorizer raised", None)
    assert len(str(caused)) < 200
