"""``nwscan suggest --from REPORT.json``: from the counts of a report, and from the frames that are kept with it."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.report.report import FramesFile
from analyzer.report.store import encode
from nwscan import kept
from nwscan.api.measure import analyze
from tests.nwscan.command import BEFORE, nwscan

if TYPE_CHECKING:
    from pathlib import Path


def foreign_dropped(document: dict[str, object]) -> object:
    prediction = document["prediction"]
    assert isinstance(prediction, dict)
    return prediction["classes"]["foreign_unicast"]["drop"]["frames"]


def test_the_counts_of_a_report_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "vm1.json"
    nwscan("analyze", BEFORE, "-o", path)
    suggested = nwscan("suggest", "--from", path, "--json").document
    assert suggested["prediction_basis"] == "class_counts"
    assert foreign_dropped(suggested) == 600
    of_frames = nwscan("suggest", "--from", BEFORE, "--json").document
    assert suggested["filters"] == of_frames["filters"]
    assert foreign_dropped(of_frames) == 600


def test_the_frames_that_are_kept_with_it_are_tried(tmp_path: Path) -> None:
    report = analyze([str(BEFORE)])
    beside, elsewhere = tmp_path / "beside", tmp_path / "elsewhere.pcapng"
    beside.mkdir()
    shutil.copy(BEFORE, beside / kept.FRAMES_NAME)
    shutil.copy(BEFORE, elsewhere)
    for name, place in ((beside / "report.json", "/nonexistent"), (tmp_path / "moved.json", str(elsewhere))):
        name.write_bytes(encode(replace(report, frames_file=FramesFile(place, "0" * 64, 1.0))))
        suggested = nwscan("suggest", "--from", name, "--json").document
        assert suggested["prediction_basis"] == "frames"
        assert foreign_dropped(suggested) == 600


def test_what_report_says_next_can_be_typed(tmp_path: Path) -> None:
    path = tmp_path / "vm1.json"
    nwscan("analyze", BEFORE, "-o", path)
    lines = [line.strip() for line in nwscan("report", path).stdout.splitlines()]
    (line,) = (line for line in lines if line.startswith("nwscan suggest"))
    assert nwscan(*shlex.split(line)[1:]).code == 0


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vm1.json"
    path.write_text("{}")
    assert nwscan("suggest", "--from", path).error(3)["where"] == str(path)
    assert nwscan("suggest", "--from", tmp_path / "absent.json").error(3)["where"] == str(tmp_path / "absent.json")
