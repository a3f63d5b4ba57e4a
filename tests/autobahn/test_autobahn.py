"""RFC 6455 by the fuzzing server of Autobahn: our WebSocket layer is its client."""

from __future__ import annotations

import os

import pytest

from autobahn import suite
from autobahn.suite import SECTIONS, Result

pytestmark = pytest.mark.timeout(400)  # the first run installs the suite

FRAMES_IN_ONE_READ = {
    *("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15")
}
"""A good message and a wrong frame behind it. Both are there when one read brings both: by the time the
application receives the message the connection has failed, so there is no echo of it, and NON-STRICT."""


@pytest.fixture(scope="module")
def autobahn() -> None:
    """The suite is installed; else the tests are skipped, or fail if PUSHER_PROTO_REQUIRE_AUTOBAHN=1."""
    reason = suite.prepare()
    if reason is None:
        return
    if os.environ.get("PUSHER_PROTO_REQUIRE_AUTOBAHN") == "1":
        pytest.fail(f"Autobahn is required here: {reason}", pytrace=False)
    pytest.skip(f"no Autobahn: {reason}")


def test_every_case_is_passed(autobahn: None) -> None:
    results = suite.run([*SECTIONS, "9"])
    assert len(results) == 301
    failed = [it for it in results if not it.passed]
    assert [it for it in failed if it.case not in FRAMES_IN_ONE_READ] == []
    assert {(it.behavior, it.close) for it in failed} <= {("NON-STRICT", "OK")}


def test_every_case_is_passed_strictly_when_bytes_are_taken_one_by_one(autobahn: None) -> None:
    results = suite.run(SECTIONS, piece=1)
    assert len(results) == 247
    assert [it for it in results if not it.passed] == []


def test_without_python_2_7_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_python", lambda: None)
    monkeypatch.setattr(suite, "_OWN_NETWORK", ())
    assert suite.prepare() == "there is no CPython 2.7"


def test_without_namespaces_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "_OWN_NETWORK", ("false",))
    reason = suite.prepare()
    assert reason is not None
    assert "network namespace" in reason


def test_what_is_neither_ok_nor_informational_is_not_passed() -> None:
    assert Result("1.1.1", "OK", "OK").passed
    assert Result("7.1.6", "INFORMATIONAL", "INFORMATIONAL").passed
    assert not Result("3.2", "NON-STRICT", "OK").passed
    assert not Result("7.3.1", "OK", "UNCLEAN").passed
