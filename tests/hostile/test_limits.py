"""The limits of a trial hold: what takes too long, too much, or writes, does not pass, whether it ends well or not."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hostile import trial
from tests.hostile.trial import bounded, untouched

if TYPE_CHECKING:
    from collections.abc import Callable

OUTSIDE = Path(__file__).parent / "written-by-a-test"


def last_for_long() -> None:
    while True:
        pass


def take_much() -> None:
    bytearray(trial.MEMORY_OCTETS + (64 << 20))


def write_outside() -> None:
    OUTSIDE.write_text("x")


def make_a_folder_outside() -> None:
    OUTSIDE.mkdir()


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the checkout itself may lie in the usual one
    yield
    if OUTSIDE.is_dir():
        shutil.rmtree(OUTSIDE)
    OUTSIDE.unlink(missing_ok=True)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("breach", "why"),
    [
        (last_for_long, "more than"),
        (take_much, "MiB"),
        (write_outside, "written: .*written-by-a-test"),
        (make_a_folder_outside, "written: .*written-by-a-test"),
    ],
)
def test_a_breach_is_noticed(
    breach: Callable[[], None], why: str, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    if breach is last_for_long:
        monkeypatch.setattr(trial, "CPU_S", 0.2)
    with pytest.raises(AssertionError, match=why):
        breached(breach, fails=fails)


def breached(breach: Callable[[], None], *, fails: bool) -> None:
    with bounded():
        breach()
        if fails:
            raise ValueError("as a reader refuses what it reads")


def test_what_is_changed_below_the_folder_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError), untouched(tmp_path):
        (tmp_path / "one").touch()
    with untouched(tmp_path, tmp_path / "allowed"):
        (tmp_path / "allowed").touch()
