"""Options: the URL that follows from each, what is refused at once, and what is never shown."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto import __version__
from pusher_proto._base.secret import Secret
from pusher_proto._base.urls import Address
from pusher_proto._more_options import MoreOptions
from pusher_proto._wire.envelope import encode
from pusher_proto.auth import AuthEndpoint, AuthResponse, OwnKey
from pusher_proto.options import CLIENT, PROTOCOL, Metadata, Options

META = f"?client=pusher-proto-python&version={__version__}&protocol=7"


def url_of(options: Options) -> str:
    address = options.address()
    scheme = "wss" if address.tls else "ws"
    return f"{scheme}://{address.authority}{address.target}"


def host(name: str = "ws.test", **more: Any) -> Options:
    return Options.from_host(name, key="KEY", **more)


# Where a connection goes.


@pytest.mark.parametrize(
    ("options", "url"),
    [
        # Clusters.
        (Options.from_cluster("eu", key="KEY"), f"wss://ws-eu.pusher.com/app/KEY{META}"),
        (Options.from_cluster("mt1", key="KEY", tls=False), f"ws://ws-mt1.pusher.com/app/KEY{META}"),
        (Options.from_cluster("a-1", key="KEY", domain="staging.test"), f"wss://ws-a-1.staging.test/app/KEY{META}"),
        (Options.from_cluster("us2", key="KEY", port=8443), f"wss://ws-us2.pusher.com:8443/app/KEY{META}"),
        # Hosts.
        (host(), f"wss://ws.test/app/KEY{META}"),
        (host(tls=False), f"ws://ws.test/app/KEY{META}"),
        (host(port=443), f"wss://ws.test/app/KEY{META}"),
        (host(port=80, tls=False), f"ws://ws.test/app/KEY{META}"),
        (host(port=80), f"wss://ws.test:80/app/KEY{META}"),
        (host(port=443, tls=False), f"ws://ws.test:443/app/KEY{META}"),
        (host("127.0.0.1", port=6001, tls=False), f"ws://127.0.0.1:6001/app/KEY{META}"),
        (host("::1"), f"wss://[::1]/app/KEY{META}"),
        (host("[::1]", port=6001, tls=False), f"ws://[::1]:6001/app/KEY{META}"),
        (host("bücher.example"), f"wss://xn--bcher-kva.example/app/KEY{META}"),
        # Paths.
        (host(path=""), f"wss://ws.test/app/KEY{META}"),
        (host(path="/"), f"wss://ws.test/app/KEY{META}"),
        (host(path="pre/fix"), f"wss://ws.test/pre/fix/app/KEY{META}"),
        (host(path="/pre/fix/"), f"wss://ws.test/pre/fix/app/KEY{META}"),
        (host(path="/a%20b"), f"wss://ws.test/a%20b/app/KEY{META}"),
        (host(path="/a#b"), f"wss://ws.test/a%23b/app/KEY{META}"),
        # Keys.
        (Options.from_host("ws.test", key="a/b?c#é"), f"wss://ws.test/app/a%2Fb%3Fc%23%C3%A9{META}"),
        # Queries.
        (host(query={"a": "b c", "d": "&"}), f"wss://ws.test/app/KEY{META}&a=b+c&d=%26"),
        (host(query={"protocol": "5"}), f"wss://ws.test/app/KEY{META.replace('=7', '=5')}"),
        (host(metadata=False), "wss://ws.test/app/KEY"),
        (host(metadata=False, query={"a": "b"}), "wss://ws.test/app/KEY?a=b"),
        # URLs.
        (Options.from_url("wss://ws.test/app/KEY"), f"wss://ws.test/app/KEY{META}"),
        (Options.from_url("https://ws.test/app/KEY"), f"wss://ws.test/app/KEY{META}"),
        (Options.from_url("ws://ws.test:6001/pre/app/KEY/"), f"ws://ws.test:6001/pre/app/KEY{META}"),
        (Options.from_url("ws://[::1]:6001/app/KEY"), f"ws://[::1]:6001/app/KEY{META}"),
        (Options.from_url("wss://ws.test/app/a%2Fb"), f"wss://ws.test/app/a%2Fb{META}"),
        (Options.from_url("wss://ws.test/app/KEY?a=1&b="), f"wss://ws.test/app/KEY{META}&a=1&b="),
        (Options.from_url("wss://ws.test/app/KEY?a=1", query={"a": "2", "c": "3"}), f"wss://ws.test/app/KEY{META}&a=2&c=3"),
        (Options.from_url("wss://ws.test/app/KEY", key="OTHER"), f"wss://ws.test/app/OTHER{META}"),
        (Options.from_url(f"wss://ws.test/app/KEY{META}"), f"wss://ws.test/app/KEY{META}"),
        # A function.
        (Options(resolve_url=lambda _: "wss://ws.test/app/KEY?x=1"), "wss://ws.test/app/KEY?x=1"),
        (Options(resolve_url=lambda _: "ws://[::1]:6001/any/thing"), "ws://[::1]:6001/any/thing"),
        (Options(resolve_url=lambda m: f"wss://{m.key}.test/?{m.protocol}&{m.client}&{m.version}", key="k"),
         f"wss://k.test/?{PROTOCOL}&{CLIENT}&{__version__}"),
    ],
)  # fmt: skip
def test_the_url_that_options_lead_to(options: Options, url: str) -> None:
    assert url_of(options) == url


@pytest.mark.parametrize(
    ("env", "url", "secret"),
    [
        (
            {"PUSHER_APP_KEY": "KEY", "PUSHER_APP_SECRET": "S", "PUSHER_APP_CLUSTER": "eu"},
            f"wss://ws-eu.pusher.com/app/KEY{META}",
            "S",
        ),
        # As Laravel writes it, with the host left empty.
        (
            {
                "PUSHER_APP_KEY": "KEY",
                "PUSHER_APP_CLUSTER": "mt1",
                "PUSHER_HOST": "",
                "PUSHER_PORT": "443",
                "PUSHER_SCHEME": "https",
            },
            f"wss://ws-mt1.pusher.com/app/KEY{META}",
            None,
        ),
        (
            {"PUSHER_KEY": "KEY", "PUSHER_SECRET": "S", "PUSHER_CLUSTER": "us2"},
            f"wss://ws-us2.pusher.com/app/KEY{META}",
            "S",
        ),
        (
            {
                "PUSHER_APP_KEY": "KEY",
                "PUSHER_APP_CLUSTER": "mt1",
                "PUSHER_HOST": "soketi",
                "PUSHER_PORT": "6001",
                "PUSHER_SCHEME": "http",
                "PUSHER_PATH": "/pre",
            },
            f"ws://soketi:6001/pre/app/KEY{META}",
            None,
        ),
        ({"PUSHER_APP_KEY": "KEY", "PUSHER_HOST": "soketi"}, f"wss://soketi/app/KEY{META}", None),
        (
            {
                "REVERB_APP_ID": "1",
                "REVERB_APP_KEY": "KEY",
                "REVERB_APP_SECRET": "S",
                "REVERB_HOST": "localhost",
                "REVERB_PORT": "8080",
                "REVERB_SCHEME": "http",
            },
            f"ws://localhost:8080/app/KEY{META}",
            "S",
        ),
        # Reverb wins, and takes nothing of Pusher's.
        (
            {
                "REVERB_APP_KEY": "KEY",
                "REVERB_HOST": "ws.test",
                "REVERB_SCHEME": "wss",
                "PUSHER_APP_KEY": "OTHER",
                "PUSHER_APP_SECRET": "S",
                "PUSHER_APP_CLUSTER": "eu",
            },
            f"wss://ws.test/app/KEY{META}",
            None,
        ),
        (
            {"REVERB_APP_KEY": "", "PUSHER_APP_KEY": "KEY", "PUSHER_HOST": "h", "PUSHER_SCHEME": "ws"},
            f"ws://h/app/KEY{META}",
            None,
        ),
    ],
)  # fmt: skip
def test_options_from_the_variables_that_laravel_names(
    env: Mapping[str, str], url: str, secret: str | None
) -> None:
    options = Options.from_env(env)
    assert url_of(options) == url
    assert options.auth == (OwnKey("KEY", secret) if secret else None)


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (Options.for_reverb(key="KEY"), "ws://localhost:8080/app/KEY"),
        (Options.for_reverb("127.0.0.1", key="KEY", port=9000), "ws://127.0.0.1:9000/app/KEY"),
        (Options.for_reverb("ws.test", key="KEY"), "wss://ws.test/app/KEY"),
        (Options.for_reverb("ws.test", key="KEY", tls=False), "ws://ws.test:8080/app/KEY"),
        (Options.for_reverb("ws.test", key="KEY", path="/ws"), "wss://ws.test/ws/app/KEY"),
        (Options.for_reverb("localhost", key="KEY", tls=True), "wss://localhost/app/KEY"),
        (Options.for_soketi(key="KEY"), "ws://localhost:6001/app/KEY"),
        (Options.for_soketi("::1", key="KEY"), "ws://[::1]:6001/app/KEY"),
        (Options.for_soketi("soketi.test", key="KEY", port=443), "wss://soketi.test/app/KEY"),
        (
            Options.for_soketi("s.test", key="KEY", tls=False, path="p"),
            "ws://s.test:6001/p/app/KEY",
        ),
    ],
)
def test_options_for_a_server_by_its_name(options: Options, url: str) -> None:
    assert url_of(options) == url + META


def test_options_for_a_server_know_its_limits_and_give_way_to_what_is_given() -> None:
    reverb = Options.for_reverb(key="KEY", origin="https://shop.test")
    assert (reverb.origin, reverb.strict_names, reverb.max_client_event) == (
        "https://shop.test",
        False,
        9500,
    )
    # The largest message of such an event, its names as long as they may be, is one that Reverb takes.
    frame = encode("client-" + "e" * 193, "x" * 9498, channel="private-" + "c" * 192)
    assert len(frame) <= 10_000
    soketi = Options.for_soketi(key="KEY")
    assert (soketi.strict_names, soketi.max_client_event) == (True, 102_400)
    assert Options.for_soketi(key="KEY", max_client_event=5).max_client_event == 5
    assert Options.for_reverb(key="KEY", strict_names=True).strict_names
    env = {"REVERB_APP_KEY": "KEY", "REVERB_HOST": "h.test", "REVERB_SERVER_PATH": "/ws"}
    from_env = Options.from_env(env, origin="https://shop.test")
    assert from_env == Options.for_reverb(
        "h.test", key="KEY", path="/ws", origin="https://shop.test"
    )


def test_variables_are_completed_by_keywords() -> None:
    env = {"PUSHER_APP_KEY": "KEY", "PUSHER_APP_SECRET": "S", "PUSHER_APP_CLUSTER": "eu"}
    endpoint = AuthEndpoint("https://app.test/auth")
    options = Options.from_env(env, auth=endpoint, pong_timeout=3.0)
    assert (options.auth, options.pong_timeout) == (endpoint, 3.0)
    assert Options.from_env(env, auth=None).auth is None


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "neither REVERB_APP_KEY nor PUSHER_APP_KEY is set"),
        ({"PUSHER_APP_SECRET": "hidden"}, "neither REVERB_APP_KEY nor PUSHER_APP_KEY is set"),
        ({"PUSHER_APP_KEY": "KEY"}, "PUSHER_APP_KEY is set, but PUSHER_APP_CLUSTER or PUSHER_HOST is not"),
        ({"REVERB_APP_KEY": "KEY", "PUSHER_APP_CLUSTER": "eu"}, "REVERB_APP_KEY is set, but REVERB_HOST is not"),
        ({"PUSHER_APP_KEY": "KEY", "PUSHER_HOST": "h", "PUSHER_SCHEME": "tcp"},
         "PUSHER_SCHEME is http or https, not 'tcp'"),
        ({"REVERB_APP_KEY": "KEY", "REVERB_HOST": "h", "REVERB_PORT": "80a"}, "REVERB_PORT is a number, not '80a'"),
        ({"REVERB_APP_KEY": "KEY", "REVERB_HOST": "h", "REVERB_PORT": "70000"},
         "a port is a number from 1 to 65535, not 70000"),
        ({"REVERB_APP_KEY": "KEY", "REVERB_HOST": "h", "REVERB_PORT": "-1"}, "REVERB_PORT is a number, not '-1'"),
        ({"PUSHER_APP_KEY": "KEY", "PUSHER_APP_CLUSTER": "e.u"},
         "a cluster is a short name such as 'eu' or 'mt1', not 'e.u'"),
    ],
)  # fmt: skip
def test_variables_that_do_not_say_enough_are_refused(env: Mapping[str, str], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Options.from_env(env)
    assert str(raised.value) == message


REVERB = {"REVERB_APP_KEY": "KEY", "REVERB_HOST": "ws.test"}
PUSHER = {"PUSHER_APP_KEY": "OTHER", "PUSHER_APP_CLUSTER": "eu"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"REVERB_APP_KEY": '"KEY"'}, "REVERB_APP_KEY is in quotes, which are part of the value here"),
        ({"REVERB_HOST": "'ws.test'"}, "REVERB_HOST is in quotes"),
        ({"REVERB_HOST": "ws.test'"}, "REVERB_HOST has a quote at one end"),
        ({"REVERB_APP_SECRET": '"S"'}, "REVERB_APP_SECRET is in quotes"),
        ({"REVERB_HOST": "${APP_HOST}"}, "REVERB_HOST refers to another variable, which was not expanded: ${APP_HOST}"),
        ({"REVERB_APP_SECRET": "${SECRET}"}, "REVERB_APP_SECRET refers to another variable, which was not expanded"),
        ({"REVERB_HOST": "$HOST"}, "REVERB_HOST refers to another variable"),
        ({"REVERB_PORT": "%PORT%"}, "REVERB_PORT refers to another variable"),
        ({"REVERB_HOST": "*.example.com"}, "REVERB_HOST is one host, not the pattern '*.example.com'"),
        ({"REVERB_HOST": "null"}, "REVERB_HOST is 'null': leave the variable unset"),
        ({"REVERB_PORT": "null"}, "REVERB_PORT is 'null': leave the variable unset"),
        ({"REVERB_APP_KEY": "null"}, "REVERB_APP_KEY is 'null'"),
        ({"REVERB_HOST": "https://ws.test"}, "REVERB_HOST is a host name alone, without scheme, port or path"),
        ({"REVERB_HOST": "ws.test/app"}, "REVERB_HOST is a host name alone"),
        ({"REVERB_HOST": "0.0.0.0"}, "REVERB_HOST is 0.0.0.0, where a server listens"),
        ({"REVERB_SERVER_PATH": "/app/abc"}, "REVERB_SERVER_PATH is the part before /app/KEY, which is added here"),
        ({"REVERB_APP_KEY": "KEY\n"}, "REVERB_APP_KEY begins or ends with a space or a newline: strip() it"),
        ({"BROADCAST_CONNECTION": "redis"} | PUSHER, "BROADCAST_CONNECTION is 'redis': set it to reverb or pusher"),
    ],
)  # fmt: skip
def test_W25_values_of_a_broken_env_file_are_refused_by_the_name_of_the_variable(
    variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError) as raised:
        Options.from_env(REVERB | variables)
    assert message in str(raised.value)


def test_W25_the_host_of_the_http_api_is_not_the_host_of_the_websocket() -> None:
    with pytest.raises(
        ValueError, match=r"the host of Pusher's HTTP API: .* set PUSHER_APP_CLUSTER"
    ):
        Options.from_env(PUSHER | {"PUSHER_HOST": "api-eu.pusher.com"})


@pytest.mark.parametrize(
    ("chosen", "host"),
    [
        ({}, "ws.test"),
        ({"BROADCAST_CONNECTION": "reverb"}, "ws.test"),
        ({"BROADCAST_CONNECTION": "pusher"}, "ws-eu.pusher.com"),
        ({"BROADCAST_DRIVER": "pusher"}, "ws-eu.pusher.com"),
    ],
)
def test_W25_broadcast_connection_decides_where_both_are_set(
    chosen: dict[str, str], host: str
) -> None:
    assert Options.from_env(REVERB | PUSHER | chosen).host == host


def test_the_app_of_a_sockudo_on_this_machine_is_read() -> None:
    env = {"SOCKUDO_DEFAULT_APP_KEY": "KEY", "SOCKUDO_DEFAULT_APP_SECRET": "S"}
    options = Options.from_env(env)
    assert (options.host, options.key, options.tls, options.auth) == (
        "localhost", "KEY", False, OwnKey("KEY", "S"),
    )  # fmt: skip
    assert (options.port, options.answers_in_order) == (6001, True)


@pytest.mark.parametrize(
    ("host", "given", "port", "tls"),
    [
        ("localhost", {}, 6001, False),
        ("push.example.com", {}, None, True),
        ("push.example.com", {"tls": False}, 6001, False),
        ("localhost", {"port": 9000}, 9000, False),
    ],
)
def test_for_sockudo_knows_its_port_and_that_it_answers_in_order(
    host: str, given: dict[str, Any], port: int | None, tls: bool
) -> None:
    options = Options.for_sockudo(host, key="KEY", **given)
    assert (options.port, options.tls) == (port, tls)
    assert (options.answers_in_order, options.strict_names) == (True, False)
    assert options.max_frame is None
    assert Options.for_sockudo(key="KEY", answers_in_order=False).answers_in_order is False


def test_for_reverb_knows_that_it_answers_in_order_and_what_it_takes() -> None:
    options = Options.for_reverb(key="KEY")
    assert (options.answers_in_order, options.max_frame) == (True, 10_000)
    assert Options.from_host("push.example.com", key="KEY").answers_in_order is False


NAMES = ("APP_KEY", "HOST", "PORT", "SCHEME", "PATH")
VARIABLES = [f"{prefix}_{name}" for prefix in ("REVERB", "PUSHER") for name in NAMES]


@given(
    st.dictionaries(
        st.sampled_from(VARIABLES),
        st.sampled_from(["KEY", "h.test", "443", "https", "", "null", '"x"', "${X}", "a b", "/p", "ws://h", "*.h"]),
    )
)  # fmt: skip
def test_W25_any_variables_make_options_or_a_value_error(env: dict[str, str]) -> None:
    try:
        options = Options.from_env(env)
    except ValueError as error:
        raised = str(error)
        named = (*env, "APP_KEY", "HOST", "port", "path", "key of an app", "host name")
    else:
        raised, named = options.url, ("ws://", "wss://")
    assert any(name in raised for name in named)


def test_the_url_shows_where_the_next_attempt_connects_to() -> None:
    options = Options.from_host("h.test", key="KEY", port=8443, query={"a": "b"})
    assert options.url == f"wss://h.test:8443/app/KEY{META}&a=b"
    chosen = Options(key="KEY", resolve_url=lambda metadata: f"ws://r.test/x/app/{metadata.key}")
    assert chosen.url == "ws://r.test/x/app/KEY"
    assert Options.from_url("wss://h.test/app/KEY").url == f"wss://h.test/app/KEY{META}"
    assert Options.from_url("wss://h.test:443/app/KEY").url == f"wss://h.test:443/app/KEY{META}"
    assert Options(resolve_url=lambda _: "https://r.test:443/x").url == "wss://r.test:443/x"


def test_W19_the_dot_of_an_absolute_name_is_for_the_lookup_alone() -> None:
    options = Options.from_host("reverb.default.svc.cluster.local.", key="KEY")
    address = options.address()
    assert (address.host, address.authority) == (
        "reverb.default.svc.cluster.local.",
        "reverb.default.svc.cluster.local",
    )


def test_a_url_is_requested_before_each_attempt() -> None:
    asked: list[Metadata] = []

    def resolve(metadata: Metadata) -> str:
        asked.append(metadata)
        return f"wss://host-{len(asked)}.test/"

    options = Options(resolve_url=resolve, key="KEY")
    assert [options.address().host for _ in range(2)] == ["host-1.test", "host-2.test"]
    assert asked == [Metadata("KEY", 7, "pusher-proto-python", __version__)] * 2


def test_errors_and_wrong_results_of_resolve_url_are_raised() -> None:
    def fail(_: Metadata) -> str:
        raise LookupError("no server")

    with pytest.raises(LookupError, match="no server"):
        Options(resolve_url=fail).address()
    with pytest.raises(ValueError, match="an absolute ws, wss, http or https URL is needed"):
        Options(resolve_url=lambda _: "localhost").address()
    with pytest.raises(TypeError, match="a URL is a str, not NoneType"):
        Options(resolve_url=lambda _: None).address()  # type: ignore[arg-type, return-value]  # wrong on purpose


# Headers.


def test_the_headers_of_the_upgrade_are_ours_with_the_origin_at_the_end() -> None:
    options = host(headers={"X-Tenant": "7", "Cookie": "a=b; c=d"}, origin="https://app.test")
    assert options.upgrade_headers() == [
        ("X-Tenant", "7"),
        ("Cookie", "a=b; c=d"),
        ("Origin", "https://app.test"),
        ("User-Agent", f"{CLIENT}/{__version__}"),
    ]
    assert host().upgrade_headers() == [("User-Agent", f"{CLIENT}/{__version__}")]


def test_the_application_may_name_another_user_agent() -> None:
    options = host(headers={"user-agent": "mine/1"})
    assert options.upgrade_headers() == [("user-agent", "mine/1")]


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Tenant": "7", "x-tenant": "8"}},
        {"headers": {"origin": "https://a.test"}, "origin": "https://b.test"},
        {"headers": {"User-Agent": "a", "user-agent": "b"}},
    ],
)
def test_a_header_of_the_upgrade_is_given_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^the header '.*' is given twice, also as '"):
        host(**options)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Host": "x"}, "the header 'Host' cannot be set: the client sets it, or no header may have that name"),
        ({"X-A": "hidden\n"}, "the value of the header 'X-A' ends in a newline: strip() it"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_set_is_refused(headers: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        host(headers=headers)
    assert str(raised.value) == message
    with pytest.raises(ValueError, match="the value of the header 'Origin' ends in a newline"):
        host(origin="https://app.test\r\n")


# Refusals.


def made(**more: Any) -> Callable[[], Options]:
    return lambda: Options(**{"host": "ws.test", "key": "KEY", **more})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Options, "Options needs a host (or a cluster, or a URL): use Options.from_cluster or the like"),
        (lambda: Options(key="KEY"),
         "Options needs a host (or a cluster, or a URL): use Options.from_cluster or the like"),
        (made(resolve_url=lambda _: ""), "set either resolve_url, or a host, cluster or URL"),
        (made(host="localhost:8080"),
         "not a host name: 'localhost:8080' (a name or an address, without scheme, port or path)"),
        (made(host="a\r\nb"), "not a host name: 'a  b' (a name or an address, without scheme, port or path)"),
        (made(key=""), "not a valid key of an app: ''"),
        (made(key="a b"), "not a valid key of an app: 'a b'"),
        (made(key="KEY\n"), "not a valid key of an app: 'KEY '"),
        (made(key="\ud800"), "not a valid key of an app: ' '"),
        (made(port=0), "a port is a number from 1 to 65535, not 0"),
        (made(port=-1), "a port is a number from 1 to 65535, not -1"),
        (made(port=65536), "a port is a number from 1 to 65535, not 65536"),
        (made(path="/a b"), "not a valid path of a URL: '/a b'"),
        (made(path="/a?b"), "not a valid path of a URL: '/a?b'"),
        (made(path="/ä"), "not a valid path of a URL: '/ä'"),
        (made(path="/a\n"), "not a valid path of a URL: '/a '"),
        (made(query={"a": "\ud800"}), "Options(query=...) contains text that is not valid Unicode"),
        (made(subprotocols=("a b",)), "not a valid subprotocol: 'a b'"),
        (made(subprotocols=("a\r\nX-Evil: 1",)), "not a valid subprotocol: 'a  X-Evil: 1'"),
        (made(subprotocols=("",)), "not a valid subprotocol: ''"),
        (lambda: Options.from_cluster("", key="KEY"), "a cluster is a short name such as 'eu' or 'mt1', not ''"),
        (lambda: Options.from_cluster("EU", key="KEY"), "a cluster is a short name such as 'eu' or 'mt1', not 'EU'"),
        (lambda: Options.from_cluster("eu\n", key="KEY"), "a cluster is a short name such as 'eu' or 'mt1', not 'eu '"),
        (lambda: Options.from_cluster("eu.evil.test/", key="KEY"),
         "a cluster is a short name such as 'eu' or 'mt1', not 'eu.evil.test/'"),
        (lambda: Options.from_url("wss://ws.test/"), "a URL that ends in /app/KEY is needed, not 'wss://ws.test/'"),
    ],
)  # fmt: skip
def test_a_wrong_value_gets_an_error_that_says_what_is_wrong(
    make: Callable[[], Options], message: str
) -> None:
    with pytest.raises(ValueError) as raised:
        make()
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("host", 7, "Options(host=...) is a str, not int"),
        ("host", None, "Options(host=...) is a str, not NoneType"),
        ("key", 7, "Options(key=...) is a str, not int"),
        ("key", None, "Options(key=...) is a str, not NoneType"),
        ("path", None, "Options(path=...) is a str, not NoneType"),
        ("port", "80", "Options(port=...) is a number, not str"),
        ("port", 80.5, "Options(port=...) is a number, not float"),
        ("port", True, "Options(port=...) is a number, not bool"),
        ("tls", "false", "Options(tls=...) is True or False, not str"),
        ("reconnect", None, "Options(reconnect=...) is True or False, not NoneType"),
        ("metadata", 1, "Options(metadata=...) is True or False, not int"),
        ("strict_names", "no", "Options(strict_names=...) is True or False, not str"),
        ("headers", ["X-A"], "Options(headers=...) is a mapping, not list"),
        ("headers", None, "Options(headers=...) is a mapping, not NoneType"),
        ("query", "a=b", "Options(query=...) is a mapping, not str"),
        ("query", {"a": 1}, "Options(query=...): the value of 'a' is not a string"),
        ("query", {1: "a"}, "Options(query=...): 1 is not a string"),
        ("subprotocols", "soap", "Options(subprotocols=...) is a tuple, not str"),
        ("subprotocols", (7,), "Options(subprotocols=...): 7 is not a string"),
        ("resolve_url", "wss://ws.test/", "Options(resolve_url=...) is a function, not str"),
        ("decrypted_text", "utf-8", "Options(decrypted_text=...) is a function, not str"),
        ("auth", "KEY:hidden",
         "Options(auth=...) is an OwnKey, an AuthEndpoint, an AuthResponse or a function, not str"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_gets_an_error_that_names_the_needed_one(
    name: str, value: Any, message: str
) -> None:
    with pytest.raises(TypeError) as raised:
        Options(**({"host": "ws.test", "key": "KEY"} | {name: value}))
    assert str(raised.value) == message


NUMBERS = {
    spec.name: (spec.type, spec.default)
    for spec in dataclasses.fields(Options)
    if spec.type in ("int", "float", "int | None") and spec.name != "port"
}
MAY_BE_ZERO = {
    *("retry_base", "retry_cap", "retry_floor"),
    *("auth_idle", "backlog_limit", "close_timeout"),
}
numbers = pytest.mark.parametrize("name", NUMBERS)


def test_the_defaults_are_the_documented_ones() -> None:
    assert {name: default for name, (_, default) in NUMBERS.items()} == {
        "connect_timeout": 15.0,
        "activity_timeout": 120.0,
        "pong_timeout": 30.0,
        "close_timeout": 2.0,
        "auth_timeout": 10.0,
        "auth_attempts": 3,
        "subscribe_timeout": 30.0,
        "signin_timeout": 10.0,
        "key_refresh": 10.0,
        "catch_up_timeout": 60.0,
        "catch_up_buffer": 1000,
        "catch_up_window": 10_000,
        "unavailable_after": 10.0,
        "max_attempts": None,
        "first_attempts": 3,
        "retry_base": 1.0,
        "retry_cap": 30.0,
        "retry_floor": 0.0,
        "stable_after": 30.0,
        "max_message_size": 1024 * 1024,
        "max_fragments": 65536,
        "control_frame_rate": 10_000,
        "max_head": 16 * 1024,
        "max_auth_body": 64 * 1024,
        "max_channels": 10_000,
        "max_members": 100_000,
        "encrypted_backlog_limit": 1000,
        "max_client_event": 10 * 1024,
        "client_event_rate": None,
        "max_frame": None,
        "backlog_limit": 1000,
        "outbox_limit": 1024 * 1024,
        "receive_buffer": 64 * 1024 * 1024,
        "max_authorizing": 8,
        "auth_connections": 6,
        "auth_idle": 15.0,
    }


@numbers
@pytest.mark.parametrize("value", ["1", b"1", True, [1], 1j])
def test_what_is_not_a_number_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError) as raised:
        made(**{name: value})()
    assert str(raised.value) == f"Options({name}=...) is a number, not {type(value).__name__}"


@numbers
@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_invalid_is_refused(name: str, value: float) -> None:
    whole = "int" in str(NUMBERS[name][0])
    error = TypeError if whole and isinstance(value, float) else ValueError
    with pytest.raises(
        error, match=rf"^Options\({name}=.*(a positive number is needed|is a number)"
    ):
        made(**{name: value})()


@numbers
def test_none_and_zero_are_taken_where_they_mean_something(name: str) -> None:
    type_, _ = NUMBERS[name]
    if "None" in str(type_):
        assert getattr(made(**{name: None})(), name) is None
    else:
        with pytest.raises(TypeError):
            made(**{name: None})()
    if name in MAY_BE_ZERO:
        assert getattr(made(**{name: 0})(), name) == 0
    else:
        with pytest.raises(ValueError, match=rf"^Options\({name}=0\): a positive number is needed"):
            made(**{name: 0})()


@numbers
def test_whole_numbers_are_taken_for_seconds_and_fractions_only_for_them(name: str) -> None:
    assert getattr(made(**{name: 7})(), name) == 7
    if NUMBERS[name][0] == "float":
        assert getattr(made(**{name: 0.25})(), name) == 0.25
    else:
        with pytest.raises(TypeError, match=rf"^Options\({name}=...\) is a number, not float"):
            made(**{name: 7.0})()


# Stored values.


def test_options_are_frozen_and_keep_what_they_were_given() -> None:
    headers, query = {"X-A": "1"}, {"a": "1"}
    options = host(headers=headers, query=query)
    headers["X-B"], query["b"] = "2\r\n", "2"
    assert (options.headers, options.query) == ({"X-A": "1"}, {"a": "1"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.host = "other.test"  # type: ignore[misc]  # frozen: this must raise


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("give_up", "sometimes", "one of at_first, never, at_refusal is needed"),
        ("give_up", None, "one of at_first, never, at_refusal is needed"),
        ("slow_retry", (), "at least one number is needed"),
        ("refused_retry", (1.0, -1.0), "a positive number is needed"),
        ("capacity_retry", (0,), "a positive number is needed"),
        ("retry_floor", 31, "retry_floor=31) is more than retry_cap=30.0"),
    ],
)
def test_invalid_reconnect_delays_are_refused(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        host(**{option: value})
    assert message in str(raised.value)


@pytest.mark.parametrize("value", [30.0, [30.0], ("30",), (True,)])
def test_slow_delays_are_a_tuple_of_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Options\(slow_retry=...\) is a"):
        host(slow_retry=value)


def test_options_may_be_replaced_one_by_one_and_are_checked_again() -> None:
    options = host(path="/pre", auth=OwnKey("KEY", "S"), headers={"X-A": "1"})
    other = dataclasses.replace(options, host="other.test", tls=False)
    assert url_of(other) == f"ws://other.test/pre/app/KEY{META}"
    assert (other.auth, other.headers) == (options.auth, options.headers)
    assert dataclasses.replace(other, host="ws.test", tls=True) == options
    with pytest.raises(ValueError, match="a positive number is needed"):
        dataclasses.replace(options, pong_timeout=0)


def test_all_is_by_keyword_but_the_place() -> None:
    assert [p.kind for p in inspect.signature(Options).parameters.values()] == [
        inspect.Parameter.KEYWORD_ONLY
    ] * len(dataclasses.fields(Options))
    for make in (Options.from_cluster, Options.from_host, Options.from_url, Options.from_env):
        first, *rest = inspect.signature(make).parameters.values()
        assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert all(
            p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD) for p in rest
        )


@pytest.mark.parametrize(
    "auth", [None, OwnKey("K", "S"), AuthEndpoint("https://a.test"), AuthResponse("K:s"), print]
)
def test_any_way_to_get_an_authorization_is_taken(auth: Any) -> None:
    assert host(auth=auth).auth == auth


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (host(), "Options('wss://ws.test', key='KEY')"),
        (host(tls=False, port=6001), "Options('ws://ws.test:6001', key='KEY')"),
        (host("::1", port=6001), "Options('wss://[::1]:6001', key='KEY')"),
        (Options(resolve_url=str), "Options('resolve_url=...', key='')"),
        (
            host(path="/pre", pong_timeout=3, reconnect=False, subprotocols=("a",)),
            "Options('wss://ws.test', key='KEY', path='/pre', subprotocols=('a',), pong_timeout=3, reconnect=False)",
        ),
        (
            host(headers={"Authorization": "Bearer hidden", "Cookie": "hidden"}, query={"token": "hidden"}),
            "Options('wss://ws.test', key='KEY', headers={'Authorization': ***, 'Cookie': ***}, query={'token': ***})",
        ),
        (host(auth=OwnKey("K", "hidden")), "Options('wss://ws.test', key='KEY', auth=OwnKey(key='K'))"),
        (
            host(auth=AuthEndpoint("https://me:hidden@app.test/", headers={"A": "hidden"})),
            "Options('wss://ws.test', key='KEY', auth=AuthEndpoint(url='https://***@app.test/', body='form'))",
        ),
        (
            host(proxy="http://me:hidden@proxy.test:3128"),
            "Options('wss://ws.test', key='KEY', proxy='http://***@proxy.test:3128')",
        ),
        (host(auth=AuthResponse("K:hidden")), "Options('wss://ws.test', key='KEY', auth=AuthResponse(auth='K:***'))"),
    ],
)  # fmt: skip
def test_a_repr_shows_what_was_set_and_nothing_that_is_secret(options: Options, shown: str) -> None:
    assert repr(options) == shown


def test_a_proxy_is_kept_as_a_secret_and_read_when_it_is_needed() -> None:
    options = host(proxy="http://me:hidden@proxy.test:3128")
    assert options.proxy == Secret("http://me:hidden@proxy.test:3128")
    assert str(options.parsed_proxy()) == "the proxy at proxy.test:3128"
    assert dataclasses.replace(options).proxy == options.proxy
    assert host().parsed_proxy() is None
    with pytest.raises(ValueError, match="a proxy is http://host:port"):
        host(proxy="https://proxy.test")
    with pytest.raises(TypeError, match=r"Options\(proxy=...\) is a str, not int"):
        host(proxy=5)


def test_an_address_has_a_host_a_port_and_tls() -> None:
    assert host().address() == Address("ws.test", 443, True, f"/app/KEY{META}")


def test_every_way_to_make_options_takes_all_of_them_by_their_type() -> None:
    named = {"key", "host", "port", "tls", "path", "resolve_url"}  # which server is meant
    more = {name: hint.__forward_arg__ for name, hint in MoreOptions.__annotations__.items()}
    assert more == {it.name: it.type for it in dataclasses.fields(Options) if it.name not in named}


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Options.from_cluster, "cluster"),
        (Options.from_host, "host"),
        (Options.for_reverb, "host"),
        (Options.for_soketi, "host"),
        (Options.for_sockudo, "host"),
    ],
)
def test_a_variable_that_is_not_set_is_named(make: Callable[..., Options], name: str) -> None:
    with pytest.raises(TypeError, match=rf"^Options\({name}=...\) is a str, not NoneType$"):
        make(dict[str, str]().get("PUSHER_APP_CLUSTER"), key="k")
