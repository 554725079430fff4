"""How many branches of a folder were taken, as the run of all tests counts them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import run_tests

if TYPE_CHECKING:
    from pathlib import Path

HALF = "import sys\nif len(sys.argv) > 5:\n    print('never')\nfor each in ():\n    print(each)\n"


def test_branches_are_counted_folder_by_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("analyzer/half.py", HALF), ("generator/whole.py", "for each in (1,):\n    print(each)\n")):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text)
        words = (sys.executable, "-m", "coverage", "run", "--branch", "--append", str(path))
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    assert run_tests._taken("analyzer") == 50
    assert run_tests._taken("generator") == 100
    assert capsys.readouterr().out.splitlines() == [
        "analyzer: 50.0 % of 4 branches",
        "generator: 100.0 % of 2 branches",
    ]


def test_a_folder_that_was_never_measured_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        run_tests._taken("analyzer")


def test_a_bar_stands_for_the_trees_that_decide() -> None:
    assert set(run_tests.LEAST) == {"analyzer", "generator"}
    assert all(least >= 80 for least in run_tests.LEAST.values())
