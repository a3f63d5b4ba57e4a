"""The addresses that users configure.

For any text as URL, host, path, key or cluster: it is accepted, or refused with a ValueError or a
PusherError whose text is short and shows no password and no value of a query. An accepted address gives a valid HTTP
request and a host without white space, and parsing the URL of the address gives the same address.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import h11

from fuzz.source import Source
from pusher_proto import AuthEndpoint, Options, PusherError
from pusher_proto._base.urls import Address, address_of, credentials_of, shown_url
from pusher_proto._wire.websocket import UpgradeRequest, WebSocket

__all__ = ["fuzz_one"]

HIDDEN = "hunter2"


def fuzz_one(data: bytes) -> None:
    """Check the invariant on one input: a byte that chooses what to make, then its texts, separated by 0xFF."""
    source = Source(data)
    kind = source.number() % 6
    parts = [part.decode("utf-8", "replace") for part in source.rest().split(b"\xff")]
    first, second, third = (*parts, "", "", "")[:3]
    match kind:
        case 0:
            _options(lambda: Options.from_url(first))
        case 1:
            user = quote(first, safe="")
            url = f"wss://u{user}:{HIDDEN}@{second}/app/{third}?x={HIDDEN}"
            if not any(HIDDEN in part for part in parts):
                assert HIDDEN not in shown_url(url)
                assert not _options(lambda: Options.from_url(url), hidden=True)
        case 2:
            _options(lambda: Options.from_host(first, key=second or "k", path=third))
        case 3:
            _options(lambda: Options.from_cluster(first, key=second or "k"))
        case 4:
            env = {"PUSHER_APP_KEY": first, "PUSHER_HOST": second, "PUSHER_PORT": third}
            env["PUSHER_APP_SECRET"] = HIDDEN
            _options(lambda: Options.from_env(env), hidden=not any(HIDDEN in p for p in parts))
        case _:
            _endpoint(first)


def _options(make: Callable[[], Options], *, hidden: bool = False) -> bool:
    """Make options and check them; return whether they were accepted. With `hidden` they contain a secret."""
    try:
        options = make()
    except (ValueError, PusherError) as error:
        assert not hidden or HIDDEN not in str(error)
        assert len(str(error)) < 500
        return False
    assert not hidden or HIDDEN not in repr(options)
    address = options.address()
    _check(address)
    if options.key.isascii() and "%" not in address.host:
        again = Options.from_url(_url(address), metadata=False)
        found = again.address()
        assert (found.host.lower(), *found[1:3]) == (address.host.lower(), *address[1:3])
        assert again.key == options.key
    return True


def _endpoint(url: str) -> None:
    try:
        endpoint = AuthEndpoint(url)
    except (ValueError, PusherError) as error:
        assert len(str(error)) < 500
        return
    address = address_of(url)
    _check(address)
    credentials_of(url)
    assert len(repr(endpoint)) < 300
    assert address_of(_url(address)) == address


def _url(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'wss' if address.tls else 'ws'}://{host}:{address.port}{address.target}"


def _check(address: Address) -> None:
    assert address.host
    assert address.host.isascii()
    assert not any(c.isspace() or c in "/?#@" for c in address.host)
    assert 0 < address.port < 65536
    websocket = WebSocket(UpgradeRequest(address.authority, address.target))
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    server.receive_data(websocket.open())
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert request.target.decode("ascii") == address.target
    assert isinstance(server.next_event(), h11.EndOfMessage)
