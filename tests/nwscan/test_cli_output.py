"""What comes out: documents alone for JSON, plain text in a pipe, 80 columns, nothing raw from outside."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.nwscan.command import AFTER, BEFORE, CAPTURES, CUT, MAC, VLAN, nwscan, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST, BROKEN_PIPE, INTERRUPTED = 4, 141, 130
ROOT = CAPTURES.parent

TABLES = {
    "a report": ("analyze", BEFORE),
    "a report of a cut file": ("analyze", CUT, "--mac", MAC),
    "a report of many": ("analyze", BEFORE, AFTER, VLAN, "--mac", MAC),
    "a suggestion": ("suggest", "--from", BEFORE, "--mac", MAC),
    "a demonstration": ("demo",),
}
AS_IT_STANDS = ("<", "  ", "$", "#")
"""How lines begin that are to be copied: XML and commands, which are never broken."""


@pytest.mark.parametrize("what", TABLES)
def test_tables_fit_80_columns_and_hold_no_escapes(what: str) -> None:
    ended = nwscan(*TABLES[what])
    assert (ended.code, ended.stderr) == (0, ""), str(ended)
    lines = ended.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and not line.startswith(AS_IT_STANDS)] == []
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("columns", ["", "0", "7", "-1", "wide", "80", "٣٣"])
def test_what_columns_says_is_taken_where_it_makes_sense(columns: str) -> None:
    ended = nwscan("analyze", VLAN, "--mac", MAC, env={"COLUMNS": columns})
    assert (ended.code, ended.stdout) == (0, nwscan("analyze", VLAN, "--mac", MAC).stdout)
    wide = nwscan("analyze", VLAN, "--mac", MAC, env={"COLUMNS": "200"}).stdout
    assert max(map(len, wide.splitlines())) > 80


JSON = {
    "analyze": ("analyze", BEFORE),
    "analyze a cut file": ("analyze", CUT, "--mac", MAC),
    "suggest": ("suggest", "--from", BEFORE, "--mac", MAC),
    "doctor": ("doctor",),
}


@pytest.mark.parametrize("command", JSON)
def test_json_is_one_document_a_line_and_nothing_else(command: str) -> None:
    ended = nwscan(*JSON[command], "--json")
    assert ended.stderr == ""
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["schema"].startswith("nwscan.")


def test_csv_is_one_table() -> None:
    rows = [line.split(",") for line in nwscan("analyze", BEFORE, "--format", "csv").stdout.splitlines()]
    assert rows[0][:5] == ["guest", "tap", "mac", "class", "frames"]
    counted = nwscan("analyze", BEFORE, "--json").document["classes"]
    assert {row[3]: int(row[4]) for row in rows[1:]} == {kind: count["frames"] for kind, count in counted.items()}
    assert {len(row) for row in rows} == {len(rows[0])}


def on_a_terminal(*words: object, env: Mapping[str, str]) -> bytes:
    """What a command prints where stdout is a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        known = {
            name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}
        }
        process = subprocess.Popen(
            typed(*words), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=known | {"TERM": "xterm", **env}
        )
        os.close(theirs)
        said = b""
        try:
            while octets := screen.read(65536):
                said += octets
        except OSError:
            pass  # how a terminal says that the other end is closed
        assert process.wait() == 0
    return said


def test_colour_on_a_terminal_and_none_where_none_is_wanted() -> None:
    words = ("analyze", VLAN, "--mac", MAC)
    assert b"\x1b[1m" in on_a_terminal(*words, env={})
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert b"\x1b" not in on_a_terminal(*words, env=env)


def test_a_hostile_file_name_is_shown_escaped(tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b]0;owned\x07\x1b[31m\nerror: fake\u202e.pcap"
    hostile.write_bytes(CUT.read_bytes())
    shown = r"a\x1b]0;owned\x07\x1b[31m\nerror: fake\u202e.pcap"
    for ended in (
        nwscan("analyze", hostile, "--mac", MAC, env={"COLUMNS": "400"}),
        nwscan("suggest", "--from", hostile, "--mac", MAC, env={"COLUMNS": "400"}),
        nwscan("analyze", hostile),
        nwscan("analyze", hostile.with_name(hostile.name + "2")),
        nwscan("analyze", VLAN, "--mac", MAC, "-o", hostile / "report.json"),
        nwscan("verify", "--before", hostile, "--after", hostile),
        nwscan("--state", hostile, "--connect", hostile, "list"),
    ):
        assert (ended.stdout + ended.stderr).replace("\n", "").isprintable(), str(ended)
        assert "\nerror: fake" not in ended.stdout + ended.stderr
        assert shown in ended.stdout + ended.stderr, str(ended)
    document = nwscan("analyze", hostile, "--mac", MAC, "--json").document
    assert document["windows"][0]["source"] == str(hostile)
    hostile_word = "frob\x1b[31m"
    for words in (
        (hostile_word,),
        ("analyze", VLAN, "--mac", hostile_word),
        ("analyze", VLAN, "--format", hostile_word),
    ):
        assert nwscan(*words).error(2)["error"].isprintable()


@pytest.mark.parametrize(
    "words", [("analyze", VLAN, "--mac", MAC), ("analyze", VLAN, "--mac", MAC, "--json"), ("demo",)]
)
def test_whoever_reads_has_enough(words: tuple[object, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(typed(*words), stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


@pytest.mark.parametrize("shape", ["table", "json", "csv"])
def test_a_full_disk_behind_standard_output(shape: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            typed("analyze", VLAN, "--mac", MAC, "--format", shape), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == HOST
    assert done.stderr.decode().splitlines() == [
        "error: cannot write the output: No space left on device",
        "  where: standard output",
        "  do:    make room for it",
    ]


def test_a_report_in_a_file_is_the_document_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("what was there")
    path.chmod(0o644)
    assert nwscan("analyze", BEFORE, "-o", path).code == 0
    assert path.read_text() == nwscan("analyze", BEFORE, "--json").stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_devices_and_pipes_are_written_to_and_never_replaced(tmp_path: Path) -> None:
    assert nwscan("analyze", VLAN, "--mac", MAC, "-o", "/dev/full").error(HOST)["where"] == "/dev/full"
    assert Path("/dev/full").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        assert nwscan("analyze", VLAN, "--mac", MAC, "-o", pipe).code == 0
        assert reader.stdout is not None
        assert json.loads(reader.stdout.read())["schema"] == "nwscan.report/1"
    assert pipe.is_fifo()
    target, link = tmp_path / "device", tmp_path / "link"
    link.symlink_to("/dev/null")
    assert nwscan("analyze", VLAN, "--mac", MAC, "-o", link).code == 0
    assert link.is_symlink()
    assert not target.exists()


def test_the_files_for_virsh_are_those_that_are_printed(tmp_path: Path) -> None:
    ended = nwscan("suggest", "--from", BEFORE, "--mac", MAC, "--xml", tmp_path / "deep" / "folder")
    assert ended.code == 0
    files = list((tmp_path / "deep" / "folder").iterdir())
    assert len(files) == 2
    for file in files:
        text = file.read_text()
        assert text in ended.stdout
        assert ET.fromstring(text).get("name") == file.stem  # noqa: S314 - our own words
        assert f"virsh nwfilter-define --validate {file.name}\n" in ended.stdout
    assert "virsh edit GUEST\n" in ended.stdout
    assert "would have dropped 600 of 600 foreign frames and 0 others" in " ".join(ended.stdout.split())
    assert "drop unicast to any other MAC" in ended.stdout


BLOCKED = "import sys\nsys.modules['libvirt'] = None\n"


def test_files_need_no_libvirt(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKED)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}", "NWSCAN_STATE": str(tmp_path)}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(typed(*words), env=env, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (
        run("suggest", "--from", BEFORE, "--mac", MAC).stdout
        == nwscan("suggest", "--from", BEFORE, "--mac", MAC).stdout
    )
    assert run("analyze", BEFORE).stdout == nwscan("analyze", BEFORE).stdout
    assert run("demo").returncode == 0
    refused = run("list")
    assert (refused.returncode, refused.stdout) == (HOST, "")
    for word in ("libvirt-dev", "pkg-config", "gcc", "pip install 'nwscan[libvirt]'"):
        assert word in refused.stderr
