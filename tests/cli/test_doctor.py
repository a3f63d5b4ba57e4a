"""`pusher-proto doctor`, against servers that are right and servers that are wrong in one way each."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

from faults.server import FaultServer
from faults.test_proxy_net import LOGIN, HttpProxy
from pusher_anyio.__main__ import main
from pusher_anyio.cli._advice import ALL_IS_WELL
from pusher_anyio.testing import ServerInThread, serve_in_thread

from .answers import answering, unused_port
from .processes import command, end

WELL = f"\n{ALL_IS_WELL}\n"


def masked(text: str) -> str:
    """Return a report without what differs from run to run: times, ports and socket ids."""
    text = re.sub(r" +\d+\.\d ms", "  TIME", text)
    text = re.sub(r"(port |:)\d{2,5}\b", r"\1PORT", text)
    text = re.sub(r"socket id \d+\.\d+", "socket id ID", text)
    return re.sub(r"(digest of )\d+\.\d+", r"\1ID", text)


def report_of(capfd: pytest.CaptureFixture[str]) -> str:
    out, err = capfd.readouterr()
    assert err == ""
    return masked(out)


def lines(*texts: str) -> str:
    return "".join(f"{text}\n" for text in texts)


def at(port: int) -> list[str]:
    return ["--host", "127.0.0.1", "--port", str(port), "--no-tls", "--key", "demo"]


def last_step(*arguments: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str, str]:
    """Run it with --json; return exit status, and the name, detail and advice of the step that failed."""
    status = main(["doctor", *arguments, "--json"])
    report = json.loads(capfd.readouterr().out)
    assert (report["ok"], report["exit_status"]) == (False, status)
    (failed,) = (step for step in report["steps"] if step["status"] == "failed")
    assert failed["seconds"] >= 0
    return status, failed["step"], failed["detail"], failed["advice"]


OPEN = (
    "  ok      name lookup  TIME  127.0.0.1",
    "  ok      TCP  TIME  127.0.0.1 port PORT",
    "  -       TLS and certificate              not used",
)
UPGRADED = (*OPEN, "  ok      upgrade  TIME")


def test_a_good_server_is_reported_as_good(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *address]) == 0
    assert report_of(capfd) == WELL.join(
        (
            lines(
                "ws://127.0.0.1:PORT, key demo",
                *UPGRADED,
                "  ok      key and cluster  TIME  socket id ID",
            ),
            "",
        )
    )


def test_channels_are_tried_with_the_secret(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *address, "--secret", "demo-secret", "room", "presence-x", "room"]) == 0
    report = report_of(capfd).removesuffix(WELL)
    assert report.splitlines()[-2:] == [
        "  ok      subscription, room  TIME",
        "  ok      subscription, presence-x  TIME  signed here with --secret",
    ]


def test_an_authorization_of_the_endpoint_is_its_own_step(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *address, "--auth-url", running.auth_url, "private-x", "room"]) == 0
    assert len(running.auth_requests) == 1
    report = report_of(capfd).removesuffix(WELL)
    assert report.splitlines()[-3:] == [
        "  ok      auth endpoint, private-x  TIME  an authorization for this channel",
        "  ok      subscription, private-x  TIME",
        "  ok      subscription, room  TIME",
    ]


def test_a_wrong_key_is_status_3(address: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *address[:-1], "other", "room"]) == 3
    assert report_of(capfd) == lines(
        "ws://127.0.0.1:PORT, key other",
        *UPGRADED,
        "  FAILED  key and cluster  TIME  App key 'other' not in this cluster",
        "          Check --key, and --cluster or --host: a key is known in one place only.",
        "  -       subscription, room               not reached",
    )


def test_a_port_without_a_listener_is_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    with unused_port() as port:
        assert main(["doctor", *at(port)]) == 1
    assert report_of(capfd) == lines(
        "ws://127.0.0.1:PORT, key demo",
        OPEN[0],
        "  FAILED  TCP  TIME  Connection refused",
        "          Nothing listens there: start the server, or check --host and --port "
        "(Reverb: 8080, Soketi: 6001).",
        "  -       TLS and certificate              not reached",
        "  -       upgrade                          not reached",
        "  -       key and cluster                  not reached",
    )


@pytest.mark.parametrize(
    ("server", "title", "advice"),
    [
        (["--host", "nosuch.example"], "nosuch.example", "Check the host for a typing error"),
        (["--cluster", "uk"], "ws-uk.pusher.com", "Check --cluster for a typing error"),
    ],
)
def test_an_unknown_host_name_is_status_1(
    server: list[str],
    title: str,
    advice: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert main(["doctor", *server, "--key", "demo"]) == 1
    assert report_of(capfd) == lines(
        f"wss://{title}:PORT, key demo",
        "  FAILED  name lookup  TIME  Name or service not known",
        f"          {advice}, and that this machine can look up names.",
        "  -       TCP                              not reached",
        "  -       TLS and certificate              not reached",
        "  -       upgrade                          not reached",
        "  -       key and cluster                  not reached",
    )


def test_all_addresses_of_a_name_are_tried(
    running: ServerInThread, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(_host: str, port: int, *_: object, **__: object) -> list[Any]:
        kind = socket.AF_INET, socket.SOCK_STREAM, 6, ""
        return [(*kind, (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    assert main(["doctor", "--host", "two.example", *at(running.port)[2:]]) == 0
    assert report_of(capfd).splitlines()[1:3] == [
        "  ok      name lookup  TIME  127.0.0.2, 127.0.0.1",
        "  ok      TCP  TIME  127.0.0.1 port PORT",
    ]


# TLS.


class Secure:
    """A server with a certificate, and its authority as a file."""

    def __init__(self, running: ServerInThread, authority: Path) -> None:
        self.arguments = ["--host", "127.0.0.1", "--port", str(running.port), "--key", "demo"]
        self.trusted = [*self.arguments, "--ca", str(authority)]


@pytest.fixture
def secure(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name, until = getattr(request, "param", ("127.0.0.1", None))
    authority, path = trustme.CA(organization_name="tests"), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=until).configure_cert(context)
    with serve_in_thread(ssl_context=context) as running:
        yield Secure(running, path)


def test_a_certificate_is_reported_with_who_made_it_and_until_when_it_is_good(
    secure: Secure, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *secure.trusted]) == 0
    line = report_of(capfd).splitlines()[3]
    assert re.fullmatch(
        r"  ok      TLS and certificate  TIME  TLSv1\.\d, by tests, until \w{3} .\d .* GMT", line
    )


EXPIRED = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("secure", "trust", "advice"),
    [
        (
            ("127.0.0.1", None),
            False,
            "If you know who made the certificate, trust that authority with --ca FILE (PEM).",
        ),
        (
            ("127.0.0.9", None),
            True,
            "Connect by a host name that is in the certificate, or issue one for the IP address.",
        ),
        (
            ("127.0.0.1", EXPIRED),
            True,
            "Renew it at the server; is the clock of this machine right?",
        ),
    ],
    ids=["unknown authority", "other name", "expired"],
    indirect=["secure"],
)
def test_a_certificate_that_is_not_good_is_status_3(
    secure: Secure, trust: bool, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = secure.trusted if trust else secure.arguments
    status, step, detail, reported = last_step(*arguments, capfd=capfd)
    assert (status, step, reported) == (3, "TLS and certificate", advice)
    assert detail.startswith("the certificate of 127.0.0.1 is invalid: ")


def test_a_server_without_tls_is_distinguished_from_one_with_it(
    running: ServerInThread, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = [a for a in at(running.port) if a != "--no-tls"]
    status, step, _, advice = last_step(*arguments, capfd=capfd)
    assert (status, step) == (1, "TLS and certificate")
    assert advice == "The server does not speak TLS on this port: try --no-tls, or another port."


def test_a_server_that_wants_tls_is_distinguished_from_one_without_it(
    secure: Secure, capfd: pytest.CaptureFixture[str]
) -> None:
    status, step, _, advice = last_step(*secure.arguments, "--no-tls", capfd=capfd)
    assert (status, step) == (1, "upgrade")
    assert "expects TLS (leave out --no-tls)" in advice


# Proxies.


def test_a_proxy_is_its_own_step(secure: Secure, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultServer(HttpProxy()) as proxy:
        url = f"http://{LOGIN}@127.0.0.1:{proxy.port}"
        assert main(["doctor", *secure.trusted, "--proxy", url, "room"]) == 0
    report = re.sub(r"TLSv.*", "CERTIFICATE", report_of(capfd).removesuffix(WELL))
    assert report == lines(
        "wss://127.0.0.1:PORT, key demo",
        "  ok      name lookup  TIME  127.0.0.1",
        "  ok      TCP  TIME  127.0.0.1 port PORT",
        "  ok      proxy  TIME",
        "  ok      TLS and certificate  TIME  CERTIFICATE",
        "  ok      upgrade  TIME",
        "  ok      key and cluster  TIME  socket id ID",
        "  ok      subscription, room  TIME",
    )


def test_behind_a_proxy_may_be_a_server_without_tls(
    running: ServerInThread, capfd: pytest.CaptureFixture[str]
) -> None:
    with FaultServer(HttpProxy()) as proxy:
        url = f"http://{LOGIN}@127.0.0.1:{proxy.port}"
        assert main(["doctor", *at(running.port), "--proxy", url]) == 0
    assert report_of(capfd).splitlines()[3:6] == [
        "  ok      proxy  TIME",
        "  -       TLS and certificate              not used",
        "  ok      upgrade  TIME",
    ]


def test_a_proxy_that_wants_another_login_is_status_3(capfd: pytest.CaptureFixture[str]) -> None:
    with FaultServer(HttpProxy()) as proxy:
        url = f"http://ada:hush@127.0.0.1:{proxy.port}"
        status, step, detail, advice = last_step(*at(1), "--proxy", url, capfd=capfd)
    assert (status, step) == (3, "proxy")
    assert "hush" not in detail
    assert advice == "Give the login of the proxy: --proxy http://USER:PASSWORD@HOST:PORT."


def test_what_is_not_a_proxy_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n") as port:
        url = f"http://127.0.0.1:{port}"
        status, step, _, advice = last_step(*at(1), "--proxy", url, capfd=capfd)
    assert (status, step) == (1, "proxy")
    assert advice == (
        "Check --proxy (http://HOST:PORT or socks5://HOST:PORT), and what the proxy allows."
    )


def test_a_proxy_that_is_not_there_is_distinguished_from_a_server(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with unused_port() as port:
        found = last_step(*at(1), "--proxy", f"socks5://127.0.0.1:{port}", capfd=capfd)
    assert found == (1, "TCP", "Connection refused", "Nothing listens there: check --proxy.")


# Other servers than Pusher servers.

HTTP = "the upgrade was answered with HTTP"
NO_PUSHER = "A web server answers here, not a Pusher server: check --host, --port and --path."


@pytest.mark.parametrize(
    ("answer", "status", "detail", "advice"),
    [
        ("200 OK", 1, f"{HTTP} 200 OK", NO_PUSHER),
        ("404 Not Found", 3, f"{HTTP} 404 Not Found", NO_PUSHER),
        (
            "301 Moved\r\nLocation: https://example.org/app",
            1,
            f"{HTTP} 301 Moved to https://example.org/app (redirects are not followed)",
            "Redirects are not followed: give their target in --host, --port and --path.",
        ),
        (
            "400 Bad Request",
            3,
            f"{HTTP} 400 Bad Request",
            (
                "A proxy in front of the server may drop the upgrade "
                "(nginx: proxy_set_header Upgrade, Connection); if tls is False, the port may be for TLS."
            ),
        ),
        (
            "403 Forbidden",
            3,
            f"{HTTP} 403 Forbidden",
            (
                "The server, or a proxy in front of it, rejects this client: check key, headers "
                "and Origin."
            ),
        ),
        (
            "410 Gone",
            3,
            f"{HTTP} 410 Gone",
            "Check the host, the port and the path.",
        ),
        (
            "502 Bad Gateway",
            1,
            f"{HTTP} 502 Bad Gateway",
            "The server, or the proxy in front of it, failed: look at its log.",
        ),
    ],
)
def test_a_web_server_that_is_not_a_pusher_server_fails_at_the_upgrade(
    answer: str, status: int, detail: str, advice: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"
    with answering(text.encode()) as port:
        assert main(["doctor", *at(port)]) == status
    assert report_of(capfd) == lines(
        "ws://127.0.0.1:PORT, key demo",
        *OPEN,
        f"  FAILED  upgrade  TIME  {detail}",
        f"          {advice}",
        "  -       key and cluster                  not reached",
    )


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b""], ids=["ssh", "nothing"])
def test_what_speaks_no_http_fails_at_the_upgrade(
    answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with answering(answer) as port:
        status, step, _, advice = last_step(*at(port), capfd=capfd)
    assert (status, step) == (1, "upgrade")
    assert advice == (
        "This port has no WebSocket server, or expects TLS (leave out --no-tls): check the port."
    )


# Errors of the server.


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        (4000, 3, "This app accepts TLS only: set tls=True."),
        (
            4004,
            3,
            (
                "The app is over its connection quota: raise it, close other clients, or wait until the server has "
                "noticed the loss of a connection."
            ),
        ),
        (4100, 1, "Look at the server's log: it accepted the connection, then ended it."),
    ],
)
def test_the_code_of_the_server_decides(
    code: int,
    status: int,
    advice: str,
    running: ServerInThread,
    address: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    running.refuse(code=code, reason="because")
    expected = (status, "key and cluster", "because", advice)
    assert last_step(*address, capfd=capfd) == expected


PAGE = "<!DOCTYPE html><title>Log in</title>"


@pytest.mark.parametrize(
    ("answer", "detail", "advice"),
    [
        (
            (401, {"message": "Unauthenticated."}),
            (
                "the auth endpoint answered 401 (the endpoint does not know the user: send the session "
                "cookie or a bearer token in AuthEndpoint.headers); its answer begins: "
                '{"message":"Unauthenticated."}'
            ),
            "Say who you are: --header 'Authorization: Bearer TOKEN', or --header 'Cookie: ...'.",
        ),
        (
            (403, ""),
            (
                "the auth endpoint answered 403 (the application does not allow this channel for this user, "
                "or the token is wrong)"
            ),
            "Check the rule for this channel (Laravel: routes/channels.php), and whose token it is.",
        ),
        (
            (419, PAGE),
            (
                "the auth endpoint answered 419 (Laravel requires a CSRF token: use a route with a bearer "
                f"token (Sanctum), or send X-XSRF-TOKEN); its answer begins: {PAGE}"
            ),
            "Use a route with a bearer token (Laravel: auth:sanctum); this one requires a CSRF token.",
        ),
        (
            (200, PAGE),
            (
                "the auth endpoint answered with a page, not with JSON: a login page? Send a session cookie or a "
                f"token; its answer begins: {PAGE}"
            ),
            "The answer is a web page, probably a login: say who you are with --header, and check --auth-url.",
        ),
        (
            (200, {"token": "x"}),
            (
                "the answer of the auth endpoint has no `auth`; its keys are token: "
                "set AuthEndpoint(parse=...) to a function that returns an object with `auth`"
            ),
            """The endpoint must answer JSON such as {"auth": "KEY:SIGNATURE"}: look at what it answers.""",
        ),
        (
            (302, ""),
            (
                "the auth endpoint redirects (302) to an unknown place; redirects are not followed, because the "
                "target would get the headers: set the right URL, or send Accept: application/json when it is a "
                "login page"
            ),
            (
                "The redirect probably leads to a login page: say who you are with --header, or correct "
                "--auth-url."
            ),
        ),
        (
            (405, ""),
            "the auth endpoint answered 405",
            "Check --auth-url: the endpoint must take POST.",
        ),
        (
            (422, ""),
            "the auth endpoint answered 422",
            "The application refuses the request: look at its log.",
        ),
        (
            (500, ""),
            "the auth endpoint answered 500",
            "The application failed: look at its log.",
        ),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_an_endpoint_that_gives_no_authorization_is_status_4(
    answer: tuple[int, object],
    detail: str,
    advice: str,
    running: ServerInThread,
    address: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    running.auth_answer(*answer)
    assert main(["doctor", *address, "--auth-url", running.auth_url, "private-x", "room"]) == 4
    report = report_of(capfd).splitlines()
    assert report[6:] == [
        f"  FAILED  auth endpoint, private-x  TIME  {detail}",
        f"          {advice}",
        "  -       subscription, private-x               not reached",
        "  ok      subscription, room  TIME",
    ]


def test_an_endpoint_that_is_not_there_is_status_4(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with unused_port() as port:
        url = f"http://127.0.0.1:{port}/auth"
        found = last_step(*address, "--auth-url", url, "private-x", capfd=capfd)
    assert found[:2] == (4, "auth endpoint, private-x")
    assert found[2].startswith("the auth endpoint: ConnectionRefusedError")
    assert found[3] == "Check --auth-url, and that the application is running there."


def test_a_wrong_secret_is_status_4(address: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *address, "--secret", "wrong", "private-x"]) == 4
    assert report_of(capfd).splitlines()[6:] == [
        (
            "  FAILED  subscription, private-x  TIME  the server refused 'private-x': Invalid signature: "
            "Expected HMAC SHA256 hex digest of ID:private-x, but got ***"
        ),
        "          Check --secret: it must be the secret of the app with this key.",
    ]


def test_a_public_channel_that_is_refused_is_status_4(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse_channel("room", shape="soketi", message="not today")
    assert last_step(*address, "room", capfd=capfd) == (
        4,
        "subscription, room",
        "the server refused 'room': not today",
        "The server refuses every client on this channel: look at its log.",
    )


@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        (
            4009,
            "Invalid signature",
            "Check --secret: it must be the secret of the app with this key.",
        ),
        (4100, "Over capacity", "The channel is full: raise the limit of the server, or wait"),
        (
            4000,
            "Not here",
            "The signature is not the problem: see the server's message, or its log.",
        ),
    ],
)
def test_K13_only_a_refused_signature_is_about_the_secret(
    code: int,
    message: str,
    advice: str,
    running: ServerInThread,
    address: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    running.refuse_channel("presence-x", code=code, message=message)
    found = last_step(*address, "--secret", "demo-secret", "presence-x", capfd=capfd)
    assert found[:2] == (4, "subscription, presence-x")
    assert found[3].startswith(advice)


def test_F11_a_refused_origin_points_to_the_option(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse(code=4009, reason="Origin not allowed")
    status, step, _, advice = last_step(*address, capfd=capfd)
    assert (status, step) == (3, "key and cluster")
    assert advice == "Give --origin URL, with one that the server allows."


def test_an_authorization_that_the_server_does_not_take_points_to_the_endpoint(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse_channel("private-x", message="no")
    arguments = [*address, "--auth-url", running.auth_url, "private-x"]
    status, step, _, advice = last_step(*arguments, capfd=capfd)
    assert (status, step) == (4, "subscription, private-x")
    assert advice == ("Check that the auth endpoint signs with the key and the secret of this app.")


def test_a_connection_that_ends_during_the_checks_is_reported(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    running.refuse_channel("room", shape="silent")

    def drop() -> None:
        running.wait_until(
            lambda server: [each for each in server.received if each.event == "pusher:subscribe"]
        )
        running.drop(4200, "later")

    with ThreadPoolExecutor(1) as pool:
        dropped = pool.submit(drop)
        found = last_step(*address, "room", capfd=capfd)
        dropped.result(10)
    assert found == (
        1,
        "subscription, room",
        "later",
        "The connection ended during the test. A client would reconnect by itself: try again.",
    )


def test_the_first_failure_decides_and_the_other_channels_are_tried(
    address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *address, "--secret", "wrong", "private-x", "room"]) == 4
    assert report_of(capfd).splitlines()[-1] == "  ok      subscription, room  TIME"


def test_who_never_answers_is_status_5(running: ServerInThread, address: list[str]) -> None:
    running.refuse_channel("room", shape="silent")
    with answering(None) as port, contextlib.ExitStack() as stack:
        silent = at(port)
        endpoint = ["--auth-url", f"http://127.0.0.1:{port}/auth", "private-x"]
        lines = [
            [argument for argument in silent if argument != "--no-tls"],
            silent,
            [*address, *endpoint],
            [*address, "room"],
        ]
        # All at once, because it takes its time.
        every = ["--timeout", "3", "--json"]
        started = [stack.enter_context(command("doctor", *every, *line)) for line in lines]
        ended = [end(process)[:2] for process in started]
    failed = []
    for status, out in ended:
        (step,) = (each for each in json.loads(out)["steps"] if each["status"] == "failed")
        failed.append((status, step["step"], step["advice"]))
    assert failed == [
        (
            5,
            "TLS and certificate",
            "The server does not seem to speak TLS on this port: try --no-tls, or another port.",
        ),
        (
            5,
            "upgrade",
            (
                "The program on this port does not answer HTTP requests: check the host and the port. A proxy must "
                "pass the upgrade on with its Connection header, in HTTP/1.1 (nginx: proxy_http_version 1.1)."
            ),
        ),
        (
            5,
            "auth endpoint, private-x",
            "The auth endpoint does not answer in time: look at the application's log.",
        ),
        (
            5,
            "subscription, room",
            "The server does not answer for this channel: look at its log.",
        ),
    ]


# Its forms.


def test_json_is_one_object(address: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *address, "--json", "room"]) == 0
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    report = json.loads(out)
    seconds = [step.pop("seconds") for step in report["steps"]]
    assert [type(each) for each in seconds] == [float, float, type(None), float, float, float]
    port = int(address[3])
    assert re.fullmatch(r"socket id \d+\.\d+", report["steps"][4].pop("detail"))
    assert report == {
        "ok": True,
        "exit_status": 0,
        "server": {"host": "127.0.0.1", "port": port, "tls": False},
        "key": "demo",
        "steps": [
            {"step": "name lookup", "status": "ok", "detail": "127.0.0.1", "advice": ""},
            {"step": "TCP", "status": "ok", "detail": f"127.0.0.1 port {port}", "advice": ""},
            {
                "step": "TLS and certificate",
                "status": "skipped",
                "detail": "not used",
                "advice": "",
            },
            {"step": "upgrade", "status": "ok", "detail": "", "advice": ""},
            {"step": "key and cluster", "status": "ok", "advice": ""},
            {"step": "subscription, room", "status": "ok", "detail": "", "advice": ""},
        ],
    }


def test_it_leaves_no_connection_behind(
    running: ServerInThread, address: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *address, "room"]) == 0
    running.wait_until(lambda server: not server.connections)
    assert capfd.readouterr().err == ""


def test_it_ends_quietly_when_its_output_is_closed(address: list[str]) -> None:
    with command("doctor", *address, "--secret", "wrong", "private-x") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        assert end(process)[2] == ""
