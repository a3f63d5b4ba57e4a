"""The proxy that environment variables name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pusher_proto import proxy_from_env

WSS = "wss://ws.example.com/app/KEY"
WS = "ws://ws.example.com:6001/app/KEY"


@pytest.mark.parametrize(
    ("env", "url", "proxy"),
    [
        ({}, WSS, None),
        ({"HTTPS_PROXY": "http://proxy.test:3128"}, WSS, "http://proxy.test:3128"),
        ({"https_proxy": "http://lower.test", "HTTPS_PROXY": "http://upper.test"}, WSS, "http://lower.test"),
        ({"WSS_PROXY": "http://own.test", "HTTPS_PROXY": "http://web.test"}, WSS, "http://own.test"),
        ({"HTTPS_PROXY": "http://proxy.test"}, WS, None),
        ({"http_proxy": "http://proxy.test"}, WS, "http://proxy.test"),
        ({"HTTP_PROXY": "http://proxy.test"}, WS, "http://proxy.test"),
        ({"HTTP_PROXY": "http://header.test", "REQUEST_METHOD": "GET"}, WS, None),
        ({"http_proxy": "http://proxy.test", "REQUEST_METHOD": "GET"}, WS, "http://proxy.test"),
        ({"ALL_PROXY": "socks5://proxy.test:1080"}, WS, "socks5://proxy.test:1080"),
        ({"HTTPS_PROXY": "proxy.test:3128"}, WSS, "http://proxy.test:3128"),
        ({"HTTPS_PROXY": ""}, WSS, None),
    ],
)  # fmt: skip
def test_the_proxy_for_a_url(env: dict[str, str], url: str, proxy: str | None) -> None:
    assert proxy_from_env(env, url) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "url", "excluded"),
    [
        ("*", WSS, True),
        ("example.com", WSS, True),
        (".example.com", WSS, True),
        ("*.example.com", WSS, True),
        ("EXAMPLE.com", WSS, True),
        ("ample.com", WSS, False),
        ("other.test, example.com", WSS, True),
        ("other.test example.com", WSS, True),
        ("example.com:443", WSS, True),
        ("example.com:6001", WSS, False),
        ("example.com:6001", WS, True),
        ("10.0.0.0/8", "ws://10.1.2.3/app/KEY", True),
        ("10.0.0.0/8", "ws://11.1.2.3/app/KEY", False),
        ("10.1.2.3", "ws://10.1.2.3/app/KEY", True),
        ("::1", "ws://[::1]:6001/app/KEY", True),
        ("[::1]:6001", "ws://[::1]:6001/app/KEY", True),
        ("[::1]:6002", "ws://[::1]:6001/app/KEY", False),
        ("example.com", "ws://10.1.2.3/app/KEY", False),
        (".", WSS, False),
        ("", WSS, False),
        ("example.com", "wss://ws.example.com./app/KEY", True),
    ],
)
def test_no_proxy(no_proxy: str, url: str, excluded: bool) -> None:
    env = {"ALL_PROXY": "http://proxy.test", "NO_PROXY": no_proxy}
    assert (proxy_from_env(env, url) is None) == excluded


@given(st.text(max_size=30))
def test_any_text_in_no_proxy_is_taken(text: str) -> None:
    env = {"ALL_PROXY": "http://proxy.test", "NO_PROXY": text}
    assert proxy_from_env(env, WSS) in (None, "http://proxy.test")


def test_a_url_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="an absolute ws, wss, http or https URL is needed"):
        proxy_from_env({}, "ws.example.com")
