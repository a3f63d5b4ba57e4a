"""The list of scenarios, on every driver."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .runners import MESSAGE_RUNNERS, MORE_RUNNERS, RUNNERS, play
from .scenarios import ABOUT_STREAMS, SCENARIOS

OVER_MESSAGES = [each for each in SCENARIOS if each.__name__ not in ABOUT_STREAMS]


def name_of(scenario: Callable[..., Any]) -> str:
    return scenario.__name__


@pytest.mark.parametrize("runner", [*RUNNERS, *MORE_RUNNERS])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=name_of)
def test_that(scenario: Callable[..., Any], runner: str, tmp_path: Path) -> None:
    if "tmp_path" in inspect.signature(scenario).parameters:
        scenario = partial(scenario, tmp_path=tmp_path)
    play(scenario, runner)


@pytest.mark.parametrize("runner", MESSAGE_RUNNERS)
@pytest.mark.parametrize("scenario", OVER_MESSAGES, ids=name_of)
def test_over_messages_that(scenario: Callable[..., Any], runner: str, tmp_path: Path) -> None:
    test_that(scenario, runner, tmp_path)


def test_all_scenarios_but_those_about_streams_are_played_over_messages() -> None:
    assert len(OVER_MESSAGES) == len(SCENARIOS) - len(ABOUT_STREAMS)
