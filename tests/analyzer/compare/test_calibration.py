"""A small calibration with a fixed seed; the full one is benchmarks/calibrate_verify.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.compare import Verdict

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[3]
PAIRS = 150


@pytest.fixture(scope="module")
def calibrate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("calibrate_verify", ROOT / "benchmarks" / "calibrate_verify.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibrate_verify"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def scenario(calibrate: ModuleType, name: str) -> object:
    return next(scenario for scenario in calibrate.SCENARIOS if scenario.name == name)


@pytest.mark.parametrize("name", ["no effect, meter", "no effect, no meter"])
def test_without_an_effect_an_effect_or_harm_is_seldom_claimed(calibrate: ModuleType, name: str) -> None:
    assert calibrate.tally(scenario(calibrate, name), PAIRS).wrong_upper <= 0.07


def test_a_real_drop_is_called_effective(calibrate: ModuleType) -> None:
    result = calibrate.tally(scenario(calibrate, "all foreign dropped, meter"), PAIRS)

    assert result.verdicts[Verdict.EFFECTIVE] > 0.95 * PAIRS


@pytest.mark.parametrize("name", ["flood stopped by itself, meter", "flood stopped by itself, no meter"])
def test_a_flood_that_stopped_by_itself_is_never_called_effective(calibrate: ModuleType, name: str) -> None:
    assert calibrate.tally(scenario(calibrate, name), PAIRS).verdicts[Verdict.EFFECTIVE] == 0


def test_the_sources_have_the_mean_and_the_periods_they_claim(calibrate: ModuleType) -> None:
    generator = np.random.default_rng(1)

    seconds = [calibrate.traffic(generator, 60).bins[:, :4] for _ in range(500)]
    periods = calibrate.periods(generator, 100_000)
    rests = np.array([calibrate.rest_of_period(generator) for _ in range(20_000)])

    assert np.mean(seconds) == pytest.approx(50.0, rel=0.05)
    assert periods.min() == pytest.approx(1 / 3, rel=1e-3)
    assert (periods > 1.0).mean() == pytest.approx((1 / 3) ** 1.5, rel=0.03)
    assert (rests > 60.0).mean() == pytest.approx(2 * (1 / 3) ** 1.5 / 60**0.5, rel=0.1)


def test_the_figures_stand_in_the_document(calibrate: ModuleType) -> None:
    text = calibrate.DOCUMENT.read_text()
    figures = text.split(calibrate.BEGIN)[1].split(calibrate.END)[0]

    assert [
        line.split(" | ")[0].removeprefix("| ") for line in figures.splitlines()[4 : 4 + len(calibrate.SCENARIOS)]
    ] == [scenario.name for scenario in calibrate.SCENARIOS]
