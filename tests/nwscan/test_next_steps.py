"""How every command speaks: a sentence whose figures stay whole, and in the end what to type next, which works."""

from __future__ import annotations

import io
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len
from rich.console import Console

from analyzer.classify.subclasses import SUBCLASS_TABLE
from analyzer.report.store import from_document
from nwscan.render.class_names import subclass_name
from nwscan.render.console import headline, remark
from nwscan.render.next_steps import after_report
from tests.nwscan.command import AFTER, BEFORE, CAPTURES, MAC, VLAN, nwscan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.nwscan.command import Ended


def steps(ended: Ended) -> list[str]:
    """The commands that it says come next."""
    told = ended.stdout.partition("Next:\n")[2]
    return [line.strip().partition("   # ")[0] for line in told.splitlines() if line.startswith("  nwscan ")]


LONG = "    vm1 sees 69.3 % of it: 30.0 frames/s, 115 kbit/s in 20.0 s; add --also-mac 00:00:5e:00:01:07 to it \u7db2."


@pytest.mark.parametrize("columns", range(40, 130))
def test_no_figure_parts_from_its_unit_and_no_option_from_its_value(columns: int) -> None:
    out = Console(width=columns, file=io.StringIO(), color_system=None)
    with out.capture() as taken:
        out.print(remark(LONG))
        out.print(headline(LONG.strip()))
    lines = taken.get().splitlines()
    assert " ".join(taken.get().split()) == f"{LONG.strip()} {LONG.strip()}"
    assert max(map(cell_len, lines)) <= columns
    assert not re.search(r"\d\n *(%|kbit/s|frames|s)|--also-mac\n", "\n".join(lines))
    assert lines[0].startswith("    vm1")
    further = lines[1 : next(number for number, line in enumerate(lines) if line.startswith("vm1"))]
    assert all(line.startswith("      ") for line in further)


def test_a_sentence_is_one_line_where_lines_are_not_broken() -> None:
    out = Console(width=30, file=io.StringIO(), color_system=None)
    with out.capture() as taken:
        out.print(remark(LONG), soft_wrap=True)
    assert taken.get() == f"{LONG}\n"


def test_what_comes_after_a_capture_works() -> None:
    (explain, suggest) = steps(nwscan("analyze", BEFORE))
    assert explain == "nwscan explain vm1"
    ended = nwscan(*shlex.split(suggest)[1:])
    assert ended.code == 0
    assert "would have dropped 600 of 600 foreign frames" in " ".join(ended.stdout.split())


def test_whose_frames_these_are_is_told_on_where_the_file_does_not_know(tmp_path: Path) -> None:
    spaced = tmp_path / "be fore.pcapng"
    spaced.write_bytes(BEFORE.read_bytes())
    (suggest,) = steps(nwscan("analyze", spaced, "--mac", MAC))
    assert shlex.split(suggest) == ["nwscan", "suggest", "--from", str(spaced), "--mac", MAC]
    assert nwscan(*shlex.split(suggest)[1:]).code == 0


def test_nothing_is_advised_that_cannot_be_done_or_helps_nobody(tmp_path: Path) -> None:
    assert steps(nwscan("analyze", AFTER)) == []
    assert steps(nwscan("analyze", "-", "--mac", MAC, stdin=(CAPTURES / "first_second.pcap.gz").read_bytes())) == []
    assert steps(nwscan("analyze", BEFORE, VLAN, "--mac", MAC)) == []
    assert "Next:" not in nwscan("analyze", AFTER).stdout
    hostile = tmp_path / "a\x1b[31m.pcapng"
    hostile.write_bytes(BEFORE.read_bytes())
    assert steps(nwscan("analyze", hostile)) == ["nwscan explain vm1"]


def test_after_a_window_measured_right_now_the_guest_is_asked_itself() -> None:
    report = from_document(nwscan("analyze", BEFORE, "--json").stdout.encode())
    assert [command for command, _ in after_report(report)] == ["nwscan explain vm1", "nwscan suggest vm1"]
    odd = replace(report, identity=replace(report.identity, name="a b; reboot"))
    assert [shlex.split(command)[2:] for command, _ in after_report(odd)] == [["a b; reboot"]] * 2
    hostile = replace(report, identity=replace(report.identity, name="\x1b[31m", uuid="0-1"))
    assert [command for command, _ in after_report(hostile)] == ["nwscan explain 0-1", "nwscan suggest 0-1"]


def test_two_reports_alone_name_the_proof_and_show_no_empty_columns(tmp_path: Path) -> None:
    files = tmp_path / "before.json", tmp_path / "after.json"
    for capture, file in zip((BEFORE, AFTER), files, strict=True):
        assert nwscan("analyze", capture, "--mac", MAC, "-o", file).code == 0
    ended = nwscan("verify", "--before", files[0], "--after", files[1])
    assert steps(ended) == ["nwscan verify GUEST"]
    assert "offered " not in ended.stdout


def test_every_subclass_is_told_in_a_few_words_and_none_like_another() -> None:
    for kind in {row.kind for row in SUBCLASS_TABLE}:
        names = [row.name for row in SUBCLASS_TABLE if row.kind is kind]
        told = [subclass_name(name) for name in names]
        assert len(set(told)) == len(told)
        assert max(map(len, told)) <= 26
        assert [name for name, words in zip(names, told, strict=True) if words == name.replace("_", " ")] == []
