from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import requires_all
from tests.fuzz import seeds
from tests.fuzz.targets import TARGETS
from tests.shared_data import shared_data

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 2
REPEATABLE = ("--seconds", "60", "--seed", "7", "--runs", "1000")
"""Where a change is judged: the same inputs each time, those of the kept corpus among them."""
each_target = pytest.mark.parametrize("target", sorted(TARGETS))


@each_target
def test_the_kept_inputs_keep_every_promise(target: str) -> None:
    kept = seeds.kept(target)
    assert len(kept) > 20
    for octets in kept.values():
        TARGETS[target](octets)


@each_target
def test_a_short_run_finds_nothing(target: str, tmp_path: Path) -> None:
    """The long runs are `make fuzz`; this one shows that they would work."""
    shared_data("captures")
    bounds = REPEATABLE if requires_all() else ("--seconds", str(SECONDS))
    command = [sys.executable, "-m", "tests.fuzz", target, *bounds, "--found", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert "stat::number_of_executed_units" in run.stderr
    assert not list(tmp_path.glob("failed-*"))
