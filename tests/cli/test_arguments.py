"""Arguments of the command line: which are accepted, and the errors for the others."""

from __future__ import annotations

import re
import shlex
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
import trustme

from pusher_anyio.__main__ import main
from pusher_anyio.cli._arguments import UsageError
from pusher_anyio.cli._commands import program
from pusher_anyio.cli._help import EXAMPLES, STATUSES
from pusher_anyio.cli._program import parse
from pusher_anyio.cli._server import options_from, ssl_context_from
from pusher_proto import AuthEndpoint, Options, OwnKey, __version__

HOST = ["--host", "h", "--key", "k"]


def options_of(*arguments: str) -> Options:
    parsed = parse(["listen", *arguments])
    return options_from(parsed, parsed.channels)


def test_the_help_names_the_commands_and_the_exit_statuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert all(re.search(rf"\n  {name}\s", out) for name in EXAMPLES)
    text = " ".join(out.partition("Exit status:")[2].split())
    assert text == " ".join(STATUSES.split())
    for status, word in ((2, "arguments"), (3, "app"), (4, "channel"), (5, "timed out")):
        assert re.search(rf"\b{status} [^,]*{word}", text)
    assert err == ""


@pytest.mark.parametrize("command", ["", *EXAMPLES])
def test_help_fits_80_columns_and_24_rows(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"] if command else ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 24  # and the prompt
    for line in lines:  # each command and option is on one line
        assert not line.startswith(" " * 12)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_whole_help_has_every_option_and_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert main([command, "--help"]) == 0
    short = capsys.readouterr().out
    flags = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", shown, re.MULTILINE))
    options = {
        each.opts[-1]
        for each in program.commands[command].params
        if isinstance(each, click.Option) and not each.hidden
    }
    assert flags == options | {"--help"}
    assert ("--help-all" in short) == (short != shown)
    assert all(line in shown for line in re.findall(r"  --.*?  ", short))


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_help_has_the_width_of_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["serve", "--help-all"]) == 0
    text = capsys.readouterr().out.partition("Examples:")[0]
    assert columns // 2 < max(map(len, text.splitlines())) <= min(80, max(columns, 50))


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_examples_of_a_command_are_in_its_help_and_can_be_parsed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help-all"]) == 0
    text = re.split(r"^Examples?:\n", capsys.readouterr().out, flags=re.MULTILINE)[1]
    examples = text.replace("\\\n", " ").strip().splitlines()
    assert len(examples) == len(EXAMPLES[command])
    for example in examples:
        name, *line = shlex.split(example.partition(" | ")[0].partition(" > ")[0])
        assert (name, parse(line).command) == ("pusher-proto", command)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pusher-proto {__version__}\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "Missing command (see pusher-proto --help)"),
        (["dance"], "No such command 'dance' (see pusher-proto --help)"),
        (["listn"], "No such command 'listn'. Did you mean 'listen'? (see pusher-proto --help)"),
        (["listen"], "CHANNEL"),
        (["listen", "room"], "Which server? Give one of --cluster, --host, --url, --env"),
        (["listen", "--host", "h", "--cluster", "c", "room"], "Give one of --cluster, --host,"),
        (["listen", "--host", "h", "room"], "--key is missing"),
        (["listen", "--cluster", "eu", "room"], "--key is missing"),
        (["listen", "--cluster", "E U", "--key", "k", "room"], "a cluster is a short name"),
        (["listen", "--cluster", "eu", "--key", "k", "--port", "1", "room"], "--port goes with"),
        (["listen", "--cluster", "eu", "--key", "k", "--no-tls", "room"], "--no-tls goes with"),
        (["listen", "--url", "ws://h/app/k", "--path", "p", "room"], "--path goes with --host"),
        (["listen", "--url", "ws://h/nothing", "room"], "ends in /app/KEY"),
        (["listen", "--env", "room"], "neither REVERB_APP_KEY nor PUSHER_APP_KEY is set"),
        (["listen", "--env", "--key", "k", "room"], "--key does not go with --env"),
        (["listen", "--host", "ws://h", "--key", "k", "room"], "not a host name"),
        (["listen", *HOST, "--port", "0", "room"], "'--port': 0 is not in the range 1<=x<=65535"),
        (["listen", *HOST, "--port", "65536", "room"], "65536 is not in the range"),
        (["listen", *HOST, "--count", "0", "room"], "'--count': 0 is not in the range x>=1"),
        (["listen", *HOST, "--count", "x", "room"], "'--count': 'x' is not a valid integer ("),
        (["listen", *HOST, "--timeout", "0", "room"], "a positive number of seconds"),
        (["listen", *HOST, "--timeout", "soon", "room"], "a positive number of seconds"),
        (["listen", *HOST, "a room"], "the character ' ' at position 1"),
        (["listen", *HOST, "private-x"], "private-x needs --secret, or --auth-url"),
        (["listen", *HOST, "room", "presence-x"], "presence-x needs --secret, or --auth-url"),
        (["listen", *HOST, "--secret", "s", "private-encrypted-x"], "needs --auth-url"),
        (
            ["listen", *HOST, "--secret", "s", "--auth-url", "http://a/", "x"],
            "Give --secret or --auth-url, not",
        ),
        (["listen", *HOST, "--auth-url", "/auth", "private-x"], "absolute http or https URL"),
        (["listen", *HOST, "--header", "A: b", "room"], "--header is for --auth-url"),
        (
            ["listen", *HOST, "--auth-url", "http://a/", "--header", "token", "private-x"],
            "--header is written 'Name: value'",
        ),
        (
            ["listen", *HOST, "--auth-url", "http://a/", "--header", "A b: c", "private-x"],
            "the client sets it, or no header may have that name",
        ),
        (["listen", *HOST, "--ca", "/no/such/file", "room"], "--ca /no/such/file: No such file"),
        (["listen", *HOST, "--proxy", "ftp://a:hush@b", "room"], "a proxy is http://host:port or"),
        (["serve", "--port", "-1"], "--port"),
        (["serve", "--port", "many"], "'--port': 'many' is not a valid integer ("),
        (["serve", "--app", "1:key"], "--app is written ID:KEY:SECRET"),
        (["serve", "--app", "1::secret"], "--app is written ID:KEY:SECRET"),
        (["serve", "--app", "1:a:s", "--app", "1:b:s"], "two apps have the same id or key"),
        (["trigger", *HOST, "--secret", "s", "room", "client-x", "1"], "private- and presence-"),
        (["trigger", *HOST, "--secret", "s", "private-encrypted-x", "client-x", "1"], "not on"),
        (["trigger", *HOST, "--secret", "s", "private-x", "x", "1"], "starts with 'client-'"),
        (["trigger", *HOST, "--secret", "s", "private-x", "client-x", "{"], "not JSON"),
        (["trigger", *HOST, "--secret", "s", "private-x", "client-x", "text"], """'"text"'"""),
        (["trigger", *HOST, "--secret", "s", "private-x", "client-x", "NaN"], "no NaN"),
        (["trigger", *HOST, "--secret", "s", "private-x", "client-x", "[" * 99999], "deeply"),
        (["trigger", *HOST, "private-x", "client-x", "1"], "needs --secret, or --auth-url"),
        (["who", *HOST, "--secret", "s", "room"], "only presence- channels have members"),
        (["who", *HOST, "presence-x"], "presence-x needs --secret, or --auth-url"),
        (["who", *HOST, "--secret", "s", "presence-x", "presence-y"], "unexpected extra argument"),
        (["doctor", "room"], "Which server? Give one of --cluster, --host, --url, --env"),
        (["doctor", *HOST, "--timeout", "0"], "a positive number of seconds"),
        (["doctor", *HOST, "private-x"], "private-x needs --secret, or --auth-url"),
        (["doctor", *HOST, "a room"], "the character ' ' at position 1"),
        (["replay"], "FILE"),
        (["completion", "dos"], "'dos' is not one of 'bash', 'zsh', 'fish'"),
        (
            ["demo", "--kep"],
            "No such option '--kep'. (Did you mean one of: '--help', '--keep'?) (see pusher-proto demo",
        ),
        (["listen", *HOST, "--jsn", "room"], "No such option '--jsn'. (Did you mean one of: "),
        (["demo", "--port=1"], "No such option '--port' (see pusher-proto demo --help)"),
        (
            ["--verbos"],
            "No such option '--verbos'. Did you mean '--version'? (see pusher-proto --help)",
        ),
        (["demo", "now"], "unexpected extra argument (now)"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line_and_status_2(
    line: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("REVERB_APP_KEY", "PUSHER_APP_KEY", "PUSHER_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("pusher-proto: ")
    assert says in err


def test_secrets_are_not_repeated_in_messages(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in (["--secrt=hush"], ["--secrt", "hush"]):
        assert main(["trigger", *HOST, *flag, "private-x", "client-x", "1"]) == 2
    header = ["--auth-url", "http://a/", "--header", "Authorization Bearer hush"]
    assert main(["listen", *HOST, *header, "private-x"]) == 2
    assert main(["serve", "--app", "hush"]) == 2
    assert "hush" not in capsys.readouterr().err


def test_a_file_without_certificates_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.pem"
    path.write_text("nothing")
    with pytest.raises(UsageError, match=r"empty\.pem"):
        ssl_context_from(parse(["listen", *HOST, "--ca", str(path), "room"]))


def test_a_private_certificate_is_trusted_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    context = ssl_context_from(parse(["listen", *HOST, "--ca", str(path), "room"]))
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1


def test_without_a_file_the_client_makes_its_own_context() -> None:
    assert ssl_context_from(parse(["listen", *HOST, "room"])) is None


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--cluster", "eu", "--key", "k"], Options.from_cluster("eu", key="k")),
        (["--host", "h", "--key", "k"], Options.from_host("h", key="k")),
        (
            ["--host", "h", "--key", "k", "--port", "99", "--no-tls", "--path", "/p"],
            Options.from_host("h", key="k", port=99, tls=False, path="/p"),
        ),
        (["--url", "wss://h:1/p/app/k?a=b"], Options.from_url("wss://h:1/p/app/k?a=b")),
        (["--url", "wss://h/app/k", "--key", "other"], Options.from_host("h", key="other")),
        (["--env"], Options.from_cluster("mt1", key="from-env")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_server_can_be_named_in_each_way(
    arguments: list[str], options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REVERB_APP_KEY", raising=False)
    monkeypatch.delenv("PUSHER_HOST", raising=False)
    monkeypatch.delenv("PUSHER_APP_SECRET", raising=False)
    monkeypatch.delenv("PUSHER_SECRET", raising=False)
    monkeypatch.setenv("PUSHER_APP_KEY", "from-env")
    monkeypatch.setenv("PUSHER_APP_CLUSTER", "mt1")
    made = options_of(*arguments, "room")
    assert made.address() == options.address()
    assert (made.key, made.auth) == (options.key, None)


def test_names_that_pusher_would_not_take_are_taken_when_asked_for() -> None:
    assert options_of(*HOST, "room").strict_names
    assert not options_of(*HOST, "--any-name", "a room", "#room").strict_names
    with pytest.raises(UsageError, match="at position 1 of a channel name"):
        options_of(*HOST, "--any-name", "a\nroom")


@pytest.mark.parametrize(
    ("dialect", "make"),
    [
        ("pusher", Options.from_host),
        ("reverb", Options.for_reverb),
        ("soketi", Options.for_soketi),
        ("sockudo", Options.for_sockudo),
    ],
)
def test_a_dialect_brings_the_habits_of_its_server(
    dialect: str, make: Callable[..., Options]
) -> None:
    made = options_of(*HOST, "--dialect", dialect, "--no-tls", "room")
    assert made == make("h", key="k", tls=False)
    with pytest.raises(UsageError, match="--dialect goes with --host alone"):
        options_of("--cluster", "eu", "--key", "k", "--dialect", dialect, "room")


def test_a_secret_signs_for_the_app_that_the_url_names() -> None:
    auth = options_of("--url", "wss://h/app/k", "--secret", "s", "private-x").auth
    assert isinstance(auth, OwnKey)
    assert replace(auth, member=None) == OwnKey("k", "s")


def test_a_secret_of_the_environment_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVERB_APP_KEY", "k")
    monkeypatch.setenv("REVERB_APP_SECRET", "s")
    monkeypatch.setenv("REVERB_HOST", "h")
    assert isinstance(options_of("--env", "private-x").auth, OwnKey)


def test_two_listeners_on_a_presence_channel_are_two_members() -> None:
    members = []
    for _ in range(2):
        auth = options_of(*HOST, "--secret", "s", "presence-x").auth
        assert isinstance(auth, OwnKey)
        members.append(auth.member)
    assert members[0] != members[1]


def test_F11_the_origin_is_sent() -> None:
    assert options_of(*HOST, "--origin", "https://shop.test", "room").origin == "https://shop.test"
    assert options_of(*HOST, "room").origin is None


def test_the_proxy_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy.test:3128")
    proxy = options_of(*HOST, "room").parsed_proxy()
    assert proxy is not None
    assert (proxy.host, proxy.port) == ("proxy.test", 3128)
    monkeypatch.setenv("NO_PROXY", "*")
    assert options_of(*HOST, "room").proxy is None


def test_all_goes_through_a_proxy_when_there_is_one() -> None:
    options = options_of(*HOST, "--proxy", "socks5://ada:hush@proxy:1080", "room")
    proxy = options.parsed_proxy()
    assert proxy is not None
    assert (proxy.scheme, proxy.host, proxy.port) == ("socks5", "proxy", 1080)


def test_an_endpoint_is_asked_with_the_headers_that_are_given() -> None:
    headers = ["--header", "Authorization: Bearer a:b", "--header", "X-Team:tea"]
    auth = options_of(*HOST, "--auth-url", "https://a/auth", *headers, "private-x").auth
    assert auth == AuthEndpoint(
        "https://a/auth", headers={"Authorization": "Bearer a:b", "X-Team": "tea"}
    )
