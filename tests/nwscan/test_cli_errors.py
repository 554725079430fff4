"""Wrong input on the command line: one error in three fields, its exit code, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.capture_octets import pcap_header, pcap_record
from tests.nwscan.command import AFTER, BEFORE, COOKED, MAC, NO_LIBVIRT, VLAN, nwscan, typed

if TYPE_CHECKING:
    from pathlib import Path

USAGE, INPUT, HOST = 2, 3, 4

WRONG: dict[str, tuple[int, tuple[object, ...], str]] = {
    "no such command": (USAGE, ("frobnicate",), "No such command 'frobnicate'"),
    "no such option": (USAGE, ("analyze", VLAN, "--frob"), "No such option '--frob'"),
    "no file": (USAGE, ("analyze",), "Missing argument"),
    "no such format": (USAGE, ("analyze", VLAN, "--format", "xml"), "'xml' is not one of"),
    "no MAC": (USAGE, ("analyze", VLAN, "--mac", "52:54:00:00:00"), "not a MAC address: '52:54:00:00:00'"),
    "a group MAC": (USAGE, ("analyze", VLAN, "--mac", "01:00:5e:00:00:01"), "group address 01:00:5e:00:00:01"),
    "a group among MACs": (USAGE, ("analyze", VLAN, "--mac", MAC, "--mac", "ff:ff:ff:ff:ff:ff"), "group address"),
    "no MAC to suggest for": (USAGE, ("suggest", "--from", VLAN, "--mac", "zz"), "not a MAC address: 'zz'"),
    "no further MAC": (USAGE, ("suggest", "--from", VLAN, "--mac", MAC, "--also-mac", "zz"), "not a MAC address"),
    "a further group MAC": (
        USAGE,
        ("suggest", "--from", VLAN, "--mac", MAC, "--also-mac", "33:33:00:00:00:01"),
        "group address 33:33:00:00:00:01",
    ),
    "no IP address": (USAGE, ("analyze", VLAN, "--mac", MAC, "--ip", "192.0.2"), "not an IP address: '192.0.2'"),
    "addresses of nobody": (USAGE, ("analyze", VLAN, "--ip", "192.0.2.1"), "--ip needs --mac"),
    "no stop rule": (USAGE, ("capture", "vnet0", "-a", "60"), "not a stop rule: '60'"),
    "no duration": (USAGE, ("capture", "vnet0", "-a", "duration:soon"), "not a duration: 'soon'"),
    "a duration below 0": (USAGE, ("capture", "vnet0", "-a", "duration:-1"), "not a duration: '-1'"),
    "nothing to capture on": (USAGE, ("capture",), "nothing to capture on"),
    "nobody to suggest for": (USAGE, ("suggest",), "for whom?"),
    "nobody to verify": (USAGE, ("verify",), "whom to verify?"),
    "half a comparison": (USAGE, ("verify", "--after", VLAN), "--after needs --before"),
    "nobody to undo": (USAGE, ("rollback",), "whose change?"),
    "two ways to say whom": (USAGE, ("rollback", "vm1", "--all"), "whose change?"),
    "nobody to ask before applying": (USAGE, ("suggest", "--apply", "vm1"), "off a terminal nobody can be asked"),
    "whom to undo, or all": (USAGE, ("rollback",), "whose change?"),
    "a MAC that libvirt knows": (USAGE, ("suggest", "vm1", "--mac", MAC), "libvirt knows the guest's MAC"),
    "an agent of a file": (USAGE, ("suggest", "--from", BEFORE, "--ask-agent"), "whose agent?"),
    "a plan from a file": (USAGE, ("suggest", "--from", BEFORE, "-o", "plan.json"), "a plan is for a guest"),
    "a guess to suggest from": (USAGE, ("suggest", "--from", VLAN, "--guess"), "No such option '--guess'"),
    "standard input twice": (USAGE, ("analyze", "-", "-", "--mac", MAC), "standard input can be read once"),
    "no such file": (INPUT, ("analyze", "missing.pcap"), "cannot open the capture: No such file or directory"),
    "no such file to suggest from": (INPUT, ("suggest", "--from", "missing.pcap", "--mac", MAC), "cannot open"),
    "no such report": (INPUT, ("verify", "--before", "a.json", "--after", "b.json"), "cannot read the report"),
    "another link type": (INPUT, ("analyze", COOKED, "--mac", MAC), "no Ethernet frames in this capture"),
    "another link type, whosever": (INPUT, ("analyze", COOKED), "no Ethernet frames in this capture"),
    "another link type to suggest from": (INPUT, ("suggest", "--from", COOKED, "--mac", MAC), "no Ethernet frames"),
    "nothing on standard input": (INPUT, ("analyze", "-", "--mac", MAC), "an empty file is no capture"),
    "a file applied": (HOST, ("suggest", "--from", BEFORE, "--apply", "--yes"), "from a file alone is not applied"),
    "no folder for a report": (HOST, ("analyze", VLAN, "--mac", MAC, "-o", "none/r.json"), "the folder is not there"),
    "a folder as a report": (HOST, ("analyze", VLAN, "--mac", MAC, "-o", "."), "cannot write"),
    **{
        f"no libvirtd to {words[0]}": (HOST, words, "cannot reach libvirt")
        for words in (
            ("list",),
            ("capture", "vnet0"),
            ("capture", "--all"),
            ("analyze", VLAN, "--guest", "vm1"),
            ("suggest", "vm1"),
            ("suggest", "--apply", "vm1", "--yes"),
            ("verify", "vm1"),
            ("rollback", "vm1", "--yes"),
            ("status",),
        )
    },
}


@pytest.mark.parametrize("why", WRONG)
def test_wrong_input_is_one_error_and_leaves_nothing(tmp_path: Path, why: str) -> None:
    code, words, what = WRONG[why]
    state, here = tmp_path / "state", tmp_path / "here"
    here.mkdir()
    fields = nwscan(*words, state=state, cwd=here).error(code)
    assert what in fields["error"]
    assert list(here.iterdir()) == []
    assert not [path for path in state.rglob("*") if path.is_file() and path.name != "lock"]


def test_errors_say_where(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pcap"
    garbage.write_bytes(b"this is no capture")
    assert nwscan("analyze", garbage).error(INPUT)["where"] == str(garbage)
    assert nwscan("verify", "--before", garbage, "--after", garbage).error(INPUT)["where"] == str(garbage)
    assert nwscan("analyze", VLAN, "--mac", "zz").error(USAGE)["where"] == "--mac"
    assert nwscan("suggest", "--also-mac", "zz", "vm1").error(USAGE)["where"] == "--also-mac"
    assert nwscan("list").error(HOST)["where"] == NO_LIBVIRT
    assert nwscan("analyze", "--frob").error(USAGE)["where"] == "nwscan analyze"
    assert nwscan("analyze", VLAN, "--mac", MAC, "-o", tmp_path).error(HOST)["where"] == str(tmp_path)


NO_CAPTURES = {
    "text": b"No. Time Source\n",
    "one octet": b"\n",
    "nothing": b"",
    "a report": b'{"schema": "nwscan.report/1"}',
    "gzip of text": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\xcb/Q\xc8L.\xc9\xccW\xd2\x03\x00",
    "the magic of gzip": b"\x1f\x8b",
    "the magic of zstd": b"\x28\xb5\x2f\xfd",
    "half a header": pcap_header()[:11],
}


@pytest.mark.parametrize("kind", NO_CAPTURES)
@pytest.mark.parametrize("command", [("analyze",), ("suggest", "--from")])
def test_a_file_that_is_no_capture(tmp_path: Path, kind: str, command: tuple[str, ...]) -> None:
    path = tmp_path / "file.pcap"
    path.write_bytes(NO_CAPTURES[kind])
    assert nwscan(*command, path, "--mac", MAC).error(INPUT)["where"].startswith(str(path))


def test_one_of_several_files_is_wrong(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pcap"
    garbage.write_bytes(b"this is no capture")
    for files in ((BEFORE, garbage), (garbage, BEFORE), (BEFORE, "missing.pcap")):
        wrong = next(str(file) for file in files if file != BEFORE)
        assert nwscan("analyze", *files, "--mac", MAC, cwd=tmp_path).error(INPUT)["where"] == wrong
    (tmp_path / "empty").mkdir()
    assert "no captures in this folder" in nwscan("analyze", tmp_path / "empty").error(INPUT)["error"]


REPORTS = {
    "no JSON": b"report",
    "other JSON": b'{"answer": 42}',
    "another schema": b'{"schema": "nwscan.report/9"}',
    "a number": b"7",
    "deep": b"[" * 100_000,
    "another encoding": b"\xff\xfe{",
    "nothing": b"",
}


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_that_is_none(tmp_path: Path, kind: str) -> None:
    path, sound = tmp_path / "report.json", tmp_path / "sound.json"
    path.write_bytes(REPORTS[kind])
    assert nwscan("analyze", AFTER, "-o", sound).code == 0
    for before, after in ((path, sound), (sound, path)):
        fields = nwscan("verify", "--before", before, "--after", after).error(INPUT)
        assert fields["where"] == str(path)
        assert fields["do"]


def test_a_file_cut_in_the_middle_is_measured_up_to_there(tmp_path: Path) -> None:
    octets = pcap_header() + pcap_record(bytes.fromhex(MAC.replace(":", "")) + bytes(54)) * 3
    path = tmp_path / "cut.pcap"
    path.write_bytes(octets[:-7])
    ended = nwscan("analyze", path, "--mac", MAC)
    assert (ended.code, ended.stderr) == (0, "")
    assert f"{path} ended early: cut in the middle of a record" in " ".join(ended.stdout.split())
    report = nwscan("analyze", path, "--mac", MAC, "--json").document
    assert report["classes"]["unicast_to_guest"]["frames"] == 2
    assert "cut in the middle" in report["windows"][0]["stopped_early"]


def test_a_closed_standard_input() -> None:
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *typed("analyze", "-", "--mac", MAC)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == INPUT
    assert done.stderr.startswith("error: standard input is closed\n")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.pcap"
    path.write_bytes(VLAN.read_bytes())
    path.chmod(0)
    as_anybody = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []  # nothing would stop root
    command = [*as_anybody, *typed("analyze", path, "--mac", MAC)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (INPUT, "")
    assert done.stderr.startswith(f"error: cannot open the capture: Permission denied\n  where: {path}\n")


def test_the_folder_for_filters_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = nwscan("suggest", "--from", BEFORE, "--mac", MAC, "--xml", tmp_path / "file" / "inside")
    assert ended.code == HOST
    assert ended.stderr.startswith("error: cannot make the folder: Not a directory\n  where: ")
