"""Hostile names: of files, guests and taps. Shown in safe words, never followed out of their place, never run."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from analyzer.model.identity import GuestIdentity, Provenance
from nwscan import kept
from nwscan.render.text import csv_cell, visible
from tests.hostile.trial import bounded, judge, seeded, tried, typed_and_tried, untouched
from tests.nwscan.command import BEFORE, MAC, nwscan
from tests.nwscan.kept_state import keep_window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES: dict[str, bytes] = {
    "a title": b"\x1b]0;owned\x07",
    "a cleared screen": b"\x1b[2J\x1b[H",
    "a colour": b"\x1b[31mred",
    "one octet control": b"\x9b31m",
    "an answer-back": b"\x05\x1b[6n\x1b[c",
    "a line break": b"one\nerror: owned",
    "a carriage return": b"owned\rinnocent",
    "a backspace": b"owned\b\b\b\b\b",
    "a tab": b"a\tb",
    "turned around": "\u202egpj.exe\u2066".encode(),
    "nothing to see": "\u200b\ufeff\u2060".encode(),
    "marks on marks": ("a" + "\u0301" * 60).encode(),
    "a line of another kind": "a\u2028b\u2029c\x85d".encode(),
    "no UTF-8": b"\xff\xfe\xc3(",
    "half a letter": b"caf\xc3",
    "markup": b"<script>alert(1)<\x2fscript>".replace(b"/", b"\xe2\x88\x95"),
    "an image": b"<img src=x onerror=alert(1)>",
    "a quote": b"'\"`&amp;",
    "a formula": b"=cmd|' -C calc'!A0",
    "a sum": b"@SUM(1+1)*cmd",
    "a command": b"$(reboot)`reboot`;reboot|sh",
    "an option": b"--export",
    "an expansion": b"${HOME}*?[a-z]",
    "rich markup": b"[red]owned[bold]",
    "rich links": b"[link=http:x]click",
    "formats": b"%s%n%x{0}{self}",
    "a home": b"~root",
    "dots": b"...",
    "a blank": b" ",
    "200 octets": b"x" * 200,
}  # fmt: skip
SEEDS = 20
INPUTS = len(NAMES) + SEEDS
GUESTS = ["../../../../etc", "..", ".", "", "a/b", "\0", "/etc/passwd", "x" * 5000]


def chance(number: int) -> bytes:
    draw = seeded("names", number)
    letters = [bytes([octet]) for octet in range(1, 256) if octet != ord("/")]
    return b"".join(draw.choices([*letters, b"\x1b[", "\u202e".encode(), b"<", b"="], k=draw.randint(1, 60)))


ALL = {**NAMES, **{f"seed-names-{number}": chance(number) for number in range(SEEDS)}}


def place(folder: Path, what: str) -> bytes:
    return os.path.join(os.fsencode(folder), ALL[what] + b".pcap")  # noqa: PTH118 - a name that is no text


@pytest.mark.parametrize("what", ALL)
def test_a_file_that_is_no_capture(what: str, tmp_path: Path) -> None:
    """Its name stands in an error of a reader of XML, and in one of a reader of reports."""
    path = place(tmp_path, what)
    with open(path, "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write(b"no capture")
    assert tried("report", path, folder=tmp_path).code == 3
    assert tried("replay", BEFORE, "--mac", MAC, "--filter", path, folder=tmp_path).code in (2, 3)


@pytest.mark.parametrize("what", list(NAMES)[::5])
def test_a_file_that_is_one(what: str, tmp_path: Path) -> None:
    """Its name stands in the report, and with it in everything that is made of that."""
    path = place(tmp_path, what)
    with open(path, "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write(BEFORE.read_bytes())
    ended = typed_and_tried("analyze", path, "--json", folder=tmp_path)
    assert ended.code == 0
    (tmp_path / "report.json").write_text(ended.stdout)
    assert ended.stdout.isascii()
    assert json.loads(ended.stdout)["windows"][0]["source"] == os.fsencode(path).decode(errors="backslashreplace")
    for shape in ("table", "csv"):
        assert tried("report", tmp_path / "report.json", "--format", shape, folder=tmp_path).code == 0


@pytest.mark.parametrize("what", ALL)
def test_a_guest_with_kept_windows(what: str, tmp_path: Path) -> None:
    """The folder of a window does not bear the guest's name; what is shown of the name is safe."""
    name = ALL[what].decode(errors="surrogateescape").encode(errors="replace").decode()
    state = tmp_path / "state"
    with untouched(tmp_path, state):
        path = keep_window(state, BEFORE, name=name)
    assert {part for part in path.relative_to(state).parts if not part.isascii()} == set()
    for words in (("report", path), ("report", path, "--csv"), ("forget", name, "--yes"), ("forget", name, "--yes")):
        ended = tried(*words, folder=tmp_path, state=state)
        assert ended.code in (0, 2, 3, 4)


@pytest.mark.parametrize("uuid", GUESTS)
def test_a_guest_whose_identity_leads_out(uuid: str, tmp_path: Path) -> None:
    identity = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, uuid, uuid, 0, uuid)
    with untouched(tmp_path, tmp_path / "state"), bounded():
        folder = kept.new_window_folder(tmp_path / "state" / "reports", identity)
    assert folder.resolve().is_relative_to(tmp_path / "state" / "reports" / "no-guest")


@pytest.mark.parametrize("what", ALL)
def test_a_guest_or_a_tap_that_is_asked_for(what: str, tmp_path: Path) -> None:
    name = ALL[what].decode(errors="surrogateescape")
    for words in (("capture", "--", name), ("verify", "--", name), ("rollback", "--yes", "--", name)):
        assert tried(*words, folder=tmp_path, state=tmp_path / "state").code in (2, 4)


@pytest.mark.parametrize("what", ALL)
def test_what_is_shown_is_one_safe_line(what: str) -> None:
    name = ALL[what].decode(errors="surrogateescape")
    assert visible(name).isprintable()
    assert csv_cell(name).isprintable()
    assert not csv_cell(name).startswith(("=", "+", "-", "@"))


LINKS: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda path: path.symlink_to("target"),
    "a link to nowhere": lambda path: path.symlink_to("nowhere/at/all"),
    "a link in a circle": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("what", LINKS)
def test_a_report_takes_the_place_of_a_link_and_does_not_follow_it(what: str, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    LINKS[what](tmp_path / "out.json")
    judge(nwscan("analyze", BEFORE, "-o", tmp_path / "out.json", state=tmp_path / "state", cwd=tmp_path))
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()
