"""The charts: the same octets every time, text beside them, and nothing in them that a page could not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

import nwscan
from analyzer.compare.document import to_document
from analyzer.errors import HostError
from analyzer.model.classes import FrameClass
from analyzer.report.report import Report
from analyzer.report.timeline import COUNTS, Timeline
from nwscan.api.reports import LoadedReport
from nwscan.render import plots
from nwscan.render.spans import pace_of
from tests.nwscan.command import AFTER, BEFORE

if TYPE_CHECKING:
    from pathlib import Path

    from nwscan.render.plots import Picture

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def before() -> LoadedReport:
    return LoadedReport(nwscan.analyze([str(BEFORE)]))


@pytest.fixture(scope="module")
def after() -> LoadedReport:
    return LoadedReport(nwscan.analyze([str(AFTER)]))


@pytest.fixture(scope="module")
def pictures(before: LoadedReport, after: LoadedReport) -> dict[str, Picture]:
    both = before.merge(after)
    return {
        "classes": before.plot.classes(),
        "timeline": before.plot.timeline(),
        "with a gap": both.plot.timeline(),
        "comparison": nwscan.compare(before, after).plot(),
        "nothing": LoadedReport(Report.empty(before.report.identity, before.report.direction_source)).plot.timeline(),
        "none of a class": LoadedReport(
            Report.empty(before.report.identity, before.report.direction_source)
        ).plot.classes(),
        "nothing to compare": plots.comparison([]),
    }


NAMES = ["classes", "timeline", "with a gap", "comparison", "nothing", "none of a class", "nothing to compare"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width_px", [plots.WIDE, plots.NARROW])
def test_a_chart_stands_in_a_page_by_itself(pictures: dict[str, Picture], name: str, width_px: int) -> None:
    picture = pictures[name]
    text = picture.svg(width_px)
    assert text == picture.svg(width_px)
    root = ET.fromstring(text)  # noqa: S314 - our own words
    assert (root.tag, root.get("role"), root.get("viewBox", "").split()[2]) == (f"{SVG}svg", "img", str(width_px))
    title, description = root[0], root[1]
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert (title.text, description.text) == (picture.title, picture.description)
    identifiers = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(identifiers) == len(set(identifiers))
    references = set(re.findall(r"#([\w-]+-[\w-]+)", " ".join(v for e in root.iter() for v in e.attrib.values())))
    assert references <= set(identifiers)
    assert not [element for element in root.iter() if element.get("style") or element.tag == f"{SVG}style"]
    assert "metadata" not in text
    colours = re.findall(r'(?:fill|stroke)="(#[0-9a-f]{6})"', text)
    assert colours == [], "every colour is the page's to change"


def test_charts_are_the_same_in_another_process(before: LoadedReport) -> None:
    code = (
        "import nwscan, sys\nfrom nwscan.api.reports import LoadedReport\n"
        f"report = LoadedReport(nwscan.analyze([{str(BEFORE)!r}]))\n"
        "sys.stdout.write(report.plot.timeline().svg() + report.plot.classes().svg())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == before.plot.timeline().svg() + before.plot.classes().svg()


def test_the_text_of_a_chart_has_its_figures(pictures: dict[str, Picture]) -> None:
    assert "foreign unicast 600 (69.3 %)" in pictures["classes"].description
    assert "foreign unicast 7.0 to 55.0" in pictures["timeline"].description
    assert "2026-01-01T00:00:00Z to 2026-01-01T00:00:20Z" in pictures["timeline"].description
    change = pictures["comparison"].description
    assert "foreign unicast 30.0 frames/s before, 0 frames/s after, ratio 0.00 (0.00..0.01)" in change
    assert "unclassified" not in change
    assert pictures["nothing"].description == "Nothing was measured over time."


def test_what_was_not_measured_is_not_drawn(before: LoadedReport, after: LoadedReport) -> None:
    pace = pace_of(before.merge(after).report)
    assert [run.stop - run.start for run in pace.runs()] == [20, 20]
    few = pace.at_most(10)
    assert len(few.start_ns) <= 12
    assert len(few.runs()) == 2
    for each in (pace, few):
        seconds = (each.end_ns - each.start_ns) / 1e9
        assert (each.fps * seconds[:, None]).sum(0).astype(int).tolist() == [320, 120, 92, 600, 240, 0]


def test_windows_far_apart_are_shown_each_by_itself(before: LoadedReport) -> None:
    week_ns = 7 * 86400 * 10**9
    windows, bins = [], []
    for number in range(3):
        (window,) = before.report.windows
        shift_ns = number * week_ns
        windows.append(replace(window, start_ns=window.start_ns + shift_ns, end_ns=window.end_ns + shift_ns))
        bins += [(at + shift_ns // 10**9, counts) for at, counts in before.report.timeline.bins]
    report = replace(before.report, windows=tuple(windows), timeline=Timeline(1, tuple(bins)))
    pace = pace_of(report)
    assert pace.is_scattered
    assert len(pace.start_ns) == 3
    assert pace.fps[:, FrameClass.FOREIGN_UNICAST].tolist() == [30.0] * 3
    assert "one value a window" in plots.timeline(report).description
    assert plots.timeline(report).svg()


def test_times_at_the_ends_of_the_calendar_are_drawn(before: LoadedReport) -> None:
    counts = (1,) * COUNTS
    for bin_s, bins in (
        (1, ((-(2**63) // 10**9, counts), (2**63 // 10**9, counts))),
        (2**32, ((-3, counts), (2, counts))),
        (1, ((2**63 // 10**9, counts),)),
    ):
        for windows in ((), before.report.windows):
            report = replace(before.report, windows=windows, timeline=Timeline(bin_s, bins))
            assert plots.timeline(report).svg(plots.NARROW)


def test_a_chart_is_saved_in_the_format_of_its_name(before: LoadedReport, tmp_path: Path) -> None:
    before.plot.classes().save(tmp_path / "classes.png")
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(HostError, match=r"classes\.frob"):
        before.plot.classes().save(tmp_path / "classes.frob")


def test_without_matplotlib_a_chart_says_what_to_install(before: LoadedReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HostError, match=r"nwscan\[html\]"):
        before.plot.classes().svg()


def test_objects_of_a_notebook_show_what_they_are(before: LoadedReport, after: LoadedReport) -> None:
    hostile = replace(before.report, identity=replace(before.report.identity, name="\x1b[31m<script>alert(1)</script>"))
    for shown in (LoadedReport(hostile), nwscan.compare(before, LoadedReport(hostile)), before.plot.classes()):
        html: Any = shown._repr_html_()
        assert repr(shown).isprintable()
        assert "<script" not in html
    assert "<svg" in before.plot.classes()._repr_html_()
    assert "&lt;script&gt;" in LoadedReport(hostile)._repr_html_()
    rows = to_document(nwscan.compare(before, after).comparison)["classes"]
    assert plots.ratio_words({**rows[0], "ratio": 0.5, "ratio_interval": {"lower": 0.1, "upper": None}}) == (
        "0.50 (0.10..any)"
    )
