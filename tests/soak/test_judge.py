"""The judge of the soak sees a leak and passes noise: drawn curves with known growth."""

from __future__ import annotations

import numpy as np
import pytest

from tests.soak.judge import judge

SECONDS = np.arange(0.0, 1800.0, 5.0)


def curve(mean: float, noise: float, leak_per_s: float, seed: int) -> list[float]:
    drawn = np.random.default_rng(seed).normal(mean, noise, len(SECONDS)) + leak_per_s * SECONDS
    return [float(value) for value in drawn]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_flat(seed: int) -> None:
    assert judge(SECONDS.tolist(), curve(120.0, 3.0, 0.0, seed)).is_flat
    assert judge(SECONDS.tolist(), curve(24.0, 2.0, 0.0, seed)).is_flat


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_not(seed: int) -> None:
    assert not judge(SECONDS.tolist(), curve(120.0, 3.0, 10 / 1800, seed)).is_flat  # 10 MiB in half an hour
    assert not judge(SECONDS.tolist(), curve(24.0, 2.0, 3 / 1800, seed)).is_flat  # three descriptors


def test_the_start_is_not_judged() -> None:
    values = [200.0 if time < 300 else 120.0 for time in SECONDS]
    found = judge(SECONDS.tolist(), values)
    assert found.is_flat
    assert found.growth == pytest.approx(0, abs=1e-9)


def test_a_curve_that_cannot_be_told_does_not_pass() -> None:
    assert not judge(SECONDS.tolist(), curve(10.0, 20.0, 0.0, 1)).is_flat
    with pytest.raises(ValueError, match="too few samples"):
        judge([0.0, 1.0, 2.0], [1.0, 1.0, 1.0])
