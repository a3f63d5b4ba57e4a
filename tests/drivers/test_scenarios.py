"""The list of scenarios, on every driver."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .runners import MORE_RUNNERS, RUNNERS, play
from .scenarios import SCENARIOS


@pytest.mark.parametrize("runner", [*RUNNERS, *MORE_RUNNERS])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_that(scenario: Callable[..., Any], runner: str, tmp_path: Path) -> None:
    if "tmp_path" in inspect.signature(scenario).parameters:
        scenario = partial(scenario, tmp_path=tmp_path)
    play(scenario, runner)
