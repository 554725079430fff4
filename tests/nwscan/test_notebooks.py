"""The notebooks run from their scripts, and what they claim is so."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import tools.notebooks
from tools.notebooks import executed, scripts

CLAIMS = {
    "01_first_look": """
        assert list(classes["frames"]) == [160, 60, 46, 600, 120, 0]
        assert classes.attrs["units"]["mean_bps"] == "bit/s"
        assert int(seconds.loc[busiest, "foreign_unicast"]) == 55
        assert 0.94 < share_of_first < 0.95
        assert report.groups()["joined"].isna().all()
    """,
    "02_before_and_after": """
        was = before.by_class().set_index("class")["frames"]
        assert (was["unicast_to_guest"], was["foreign_unicast"]) == (160, 600)
        assert int(after.by_class().set_index("class")["frames"]["foreign_unicast"]) == 0
        assert len(before.talkers()) > 0
        assert after.talkers().empty
        assert comparison.verdict == "inconclusive"
        assert comparison.comparison.is_consistent
        rows = comparison.by_class().set_index("class")
        assert rows.loc["foreign_unicast", "ratio"] == 0
        assert rows.loc["unicast_to_guest", "lower"] < 1 < rows.loc["unicast_to_guest", "upper"]
    """,
    "03_a_week_of_one_guest": """
        assert len(week.report.windows) == 168
        assert (hours, quiet_days) == ([1, 2, 3], ["Sun"])
        assert by_hour.shape == (7, 24)
        assert by_hour.loc["Mon", 2] == sum(rates(MONDAY + pd.Timedelta(hours=2))["foreign_unicast"]) / SECONDS
        assert len(week.talkers()) == 1
    """,
    "04_which_guests_suffer_most": """
        assert worst == "build"
        assert by_share.index[0] == "old"
        assert list(ranking["mean_fps"]) == sorted((foreign for _, foreign in GUESTS.values()), reverse=True)
        assert list(reach) == [6]
    """,
    "05_how_the_filter_was_chosen": """
        assert list(profiles["refused"]) == [False, True, True]
        assert (profiles.loc["mac", "foreign dropped"], profiles.loc["mac", "others dropped"]) == (600, 0)
        assert prediction.loc["foreign_unicast"].to_dict() == {"accept": 0, "drop": 600, "unknown": 0}
        assert prediction.drop(index="foreign_unicast")["drop"].sum() == 0
        assert evidence["wrong share at most"].max() == 0.005
        assert sum("virtual" in risk or "VRRP" in risk for risk in chosen.risks) == 1
    """,
}


def test_every_notebook_has_its_claims() -> None:
    assert [script.stem for script in scripts()] == list(CLAIMS)


def test_the_extra_names_all_that_notebooks_import() -> None:
    wanted = metadata.requires("nwscan") or []
    of_extra = [line for line in wanted if "extra" not in line or re.search(r"extra == .notebook", line)]
    extra = {re.split(r"[^\w-]", line)[0] for line in of_extra}
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (*scripts(), Path(tools.notebooks.__file__))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in named} - sys.stdlib_module_names
    assert {"jupytext", "nbclient", "nwscan", "pandas"} <= roots
    assert roots - {"nwscan", "analyzer", "generator"} <= extra


@pytest.mark.slow
@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the kernel client, not of ours
def test_a_notebook_runs_as_a_notebook_and_its_claims_hold(script: Path) -> None:
    claims = "\n".join(line.strip() for line in CLAIMS[script.stem].strip().splitlines())
    notebook = executed(script, claims)
    *shown, last = notebook.cells
    assert last.source == claims
    outputs = [output for cell in shown for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.output_type == "stream" and output.name == "stderr"] == []
    values = [output.data for output in outputs if output.output_type == "execute_result"]
    assert any("<table" in value.get("text/html", "") for value in values)
