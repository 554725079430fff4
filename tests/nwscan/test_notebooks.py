"""The notebooks run from their scripts, and what they claim is so."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the kernel client, not of ours
def test_a_notebook_runs_as_a_notebook(path: Path, tmp_path: Path) -> None:
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]


def run(name: str) -> dict[str, Any]:
    return runpy.run_path(str(next(path for path in NOTEBOOKS if path.stem == name)))


def test_before_and_after_say_what_they_claim() -> None:
    names = run("01_before_after")
    before, after, comparison = names["before"], names["after"], names["comparison"]
    assert list(before.by_class().set_index("class")["frames"].loc[["unicast_to_guest", "foreign_unicast"]]) == [
        160,
        600,
    ]
    assert int(after.by_class().set_index("class")["frames"]["foreign_unicast"]) == 0
    assert len(before.talkers()) > 0
    assert after.talkers().empty
    assert comparison.verdict == "inconclusive"
    assert comparison.comparison.is_consistent
    rows = comparison.by_class().set_index("class")
    assert rows.loc["foreign_unicast", "ratio"] == 0
    assert rows.loc["unicast_to_guest", "lower"] < 1 < rows.loc["unicast_to_guest", "upper"]
    assert "<b>" in before._repr_html_()
