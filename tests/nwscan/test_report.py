"""``report``: what was measured shown again, merged, handed on; ``--fail-on``: what a script acts on."""

from __future__ import annotations

import functools
import json
import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from nwscan.api.fail_on import exit_code, parse
from tests.nwscan.command import AFTER, BEFORE, MAC, VLAN, nwscan
from tests.nwscan.kept_state import HOSTILE, UUID, keep_window

if TYPE_CHECKING:
    from pathlib import Path

NO, USAGE, INPUT, INCONCLUSIVE = 1, 2, 3, 7


@functools.cache
def document_of(capture: Path) -> str:
    ended = nwscan("analyze", capture, "--mac", MAC, "--json")
    assert ended.code == 0
    return ended.stdout


def report_of(tmp_path: Path, capture: Path, name: str = "report.json") -> Path:
    path = tmp_path / name
    path.write_text(document_of(capture))
    return path


def edited(path: Path, **keys: Any) -> Path:  # noqa: ANN401 - any JSON value
    document = json.loads(path.read_text())
    copy = path.with_name(f"edited-{path.name}")
    copy.write_text(json.dumps(document | keys))
    return copy


@pytest.mark.parametrize("shape", ["table", "json", "csv"])
def test_a_report_is_shown_as_when_it_was_made(tmp_path: Path, shape: str) -> None:
    path = report_of(tmp_path, BEFORE)
    shown = nwscan("report", path, "--format", shape)
    assert (shown.code, shown.stderr) == (0, "")
    of_capture = nwscan("analyze", BEFORE, "--mac", MAC, "--format", shape)
    assert shown.stdout.replace(f"--from {path}", f"--from {BEFORE}") == of_capture.stdout
    assert nwscan("report", path, "--csv").stdout == nwscan("report", path, "--format", "csv").stdout


def test_reports_of_one_card_become_one_and_in_any_order(tmp_path: Path) -> None:
    one, two = report_of(tmp_path, BEFORE), report_of(tmp_path, AFTER, "after.json")
    merged = nwscan("report", one, two, "--json").document
    assert merged == nwscan("report", two, one, "--json").document
    assert merged == nwscan("analyze", BEFORE, AFTER, "--mac", MAC, "--json").document
    lines = (one.read_text() + two.read_text()).encode()
    assert nwscan("report", "-", "--json", stdin=lines).document == merged


def test_reports_of_several_cards_stay_apart(tmp_path: Path) -> None:
    one = report_of(tmp_path, BEFORE)
    guest = json.loads(one.read_text())["guest"]
    other = edited(one, guest=guest | {"macs": ["52:54:00:00:00:02"], "name": "vm2"})
    both = [json.loads(line) for line in nwscan("report", other, one, "--json").stdout.splitlines()]
    assert [each["guest"]["name"] for each in both] == ["vm2", None]
    calm = edited(
        report_of(tmp_path, AFTER, "after.json"), guest=guest | {"macs": ["52:54:00:00:00:03"], "name": "calm"}
    )
    lines = nwscan("report", calm, other, one).stdout.splitlines()
    assert lines[0].startswith("Guests, the one with most foreign frames a second first")
    assert [line.split()[:2] for line in lines[4:7]] == [["vm2", "69.3"], [MAC, "69.3"], ["calm", "0.0"]]


def test_one_window_never_counts_twice(tmp_path: Path) -> None:
    path = report_of(tmp_path, BEFORE)
    assert "twice" in nwscan("report", path, path).error(USAGE)["error"]


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"", "no document"),
        (b"{}", "schema"),
        (b'{"schema": "nwscan.verdict/1"}', "not a report"),
        (b"[" * 100_000, "not a document"),
        (b"\x1b]0;owned\x07", "not a document"),
        (b'{"schema": "nwscan.report/1"}', "not a report"),
    ],
)
def test_what_is_no_report_is_refused_with_its_place(tmp_path: Path, octets: bytes, what: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(octets)
    error = nwscan("report", path).error(INPUT)
    assert what in error["error"]
    assert error["where"] == str(path)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert nwscan("report", tmp_path / "missing").error(INPUT)["error"].startswith("cannot read the report")
    assert "no kept reports" in nwscan("report", tmp_path).error(INPUT)["error"]
    assert "longer than the limit" in nwscan("report", "/dev/zero").error(INPUT)["error"]


def test_reports_that_add_up_to_too_much_are_refused(tmp_path: Path) -> None:
    path = report_of(tmp_path, VLAN)
    document, most = json.loads(path.read_text()), 2**56
    document["classes"] = {kind: {"frames": 0, "octets": 0} for kind in document["classes"]}
    document["classes"]["broadcast"] = {"frames": most, "octets": most}
    files = []
    for number in range(2):
        window = {"source": "x", "start": None, "end": None, "frames_seen": most, "frames_lost": None}
        document["windows"] = [window | {"snaplen": number}]
        document["windows"][0]["start"] = f"2026-01-01T00:00:0{number}.000000000Z"
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(document))
    assert nwscan("report", files[0]).code == 0
    assert nwscan("report", *files).error(INPUT)["where"] == "the merged report"


def test_csv_is_safe_to_open_whatever_a_guest_is_called(tmp_path: Path) -> None:
    one = report_of(tmp_path, BEFORE)
    guest = json.loads(one.read_text())["guest"]
    for name in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"):
        told = nwscan("report", "--csv", edited(one, guest=guest | {"name": name})).stdout
        cells = [line.lstrip('"') for line in told.splitlines()[1:]]
        assert cells
        assert all(cell.startswith(f"'{name[0]}") for cell in cells)
    shown = nwscan("report", edited(one, guest=guest | {"name": HOSTILE}))
    assert shown.stdout.replace("\n", "").isprintable()
    assert "\x1b" not in shown.stdout


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("foreign_share>5%", NO),
        ("foreign_share > 0.05", NO),
        ("foreign_share>=69.3%", 0),
        ("foreign_share<69.3%", NO),
        ("foreign_octets_share>50%", NO),
        ("unrelated_share>5%", NO),
        ("foreign_frames>=600", NO),
        ("foreign_frames>600", 0),
        ("foreign_fps>29.9", NO),
        ("foreign_bps<=1", 0),
        ("frames_seen<986", 0),
        ("frames_lost>0", 0),
    ],
)
def test_a_condition_decides_the_exit_code(tmp_path: Path, condition: str, code: int) -> None:
    path = report_of(tmp_path, BEFORE)
    assert nwscan("report", path, "--fail-on", condition).code == code


def test_a_condition_decides_where_it_is_measured() -> None:
    for capture, code in ((BEFORE, NO), (AFTER, 0)):
        assert nwscan("analyze", capture, "--mac", MAC, "--fail-on", "foreign_share>5%").code == code


def test_what_is_not_known_is_no_pass(tmp_path: Path) -> None:
    assert exit_code(parse("foreign_frames>0"), []) == INCONCLUSIVE
    assert exit_code(None, []) == 0
    path = report_of(tmp_path, VLAN)
    assert json.loads(path.read_text())["windows"][0]["frames_lost"] is None
    assert nwscan("report", path, "--fail-on", "frames_lost>0").code == INCONCLUSIVE


@pytest.mark.parametrize(
    "condition",
    [
        "",
        "foreign_share",
        ">5%",
        "foreign_share>5%%",
        "foreign_share=5%",
        "foreign_share>-1",
        "foreign_share>nan",
        "foreign_share>5",
        "foreign_fps>5%",
        "open('/etc/passwd')>1",
        "share>5%",
        "foreign_share>5% or 1",
        "foreign_share>\u0665",
        "foreign_share>\x1b[31m",
    ],
)
def test_what_is_no_condition_is_refused_before_anything_is_read(condition: str) -> None:
    error = nwscan("report", "/nonexistent", "--fail-on", condition).error(USAGE)
    assert error["where"] == "--fail-on"


def shark(path: Path, *fields: str) -> list[str]:
    words = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(["tshark", "-r", path, "-T", "fields", *words], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_kept_frames_of_one_class_become_a_capture(tmp_path: Path) -> None:
    kept_report = keep_window(tmp_path / "state", BEFORE)
    copy = tmp_path / "copy.json"
    copy.write_bytes(kept_report.read_bytes())  # it names the frames, which do not lie beside it
    for source in (kept_report, copy, kept_report.parent):
        file = tmp_path / "foreign.pcapng"
        told = nwscan("report", source, "--export", "foreign_unicast", file)
        assert (told.code, told.stdout) == (0, "")
        assert told.stderr.startswith("600 frames written to ")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert set(shark(file, "frame.packet_flags_reception_type", "frame.interface_name")) == {"4\tvnet0"}
        known = json.loads(kept_report.read_text())["classes"]
        again = nwscan("analyze", file, "--json").document
        assert again["classes"]["foreign_unicast"] == known["foreign_unicast"]
        assert sum(count["frames"] for count in again["classes"].values()) == 600
        assert again["guest"]["macs"] == [MAC]


def test_wireshark_says_what_an_exported_frame_is_and_whose(tmp_path: Path) -> None:
    file = tmp_path / "foreign.pcapng"
    window = keep_window(tmp_path / "state", BEFORE)
    assert nwscan("report", window, "--export", "foreign_unicast", file).code == 0
    words = ["tshark", "-r", file, "-c", "1", "-V"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for line in (
        "Interface name: vnet0",
        "Interface description: vm1",
        "= Direction: Outbound (0x2)",
        "= Reception type: Promiscuous (4)",
    ):
        assert line in shown
    told = subprocess.run(["capinfos", file], capture_output=True, text=True, check=True).stdout
    comment = next(line for line in told.splitlines() if line.startswith("Capture comment:"))
    known = json.loads(comment.partition(":")[2])
    assert known["nwscan.identity/1"]["macs"] == [MAC]
    assert known["direction"] == "tap"


def test_the_kept_frames_of_several_windows_become_one_capture(tmp_path: Path) -> None:
    state = tmp_path / "state"
    keep_window(state, BEFORE)
    keep_window(state, AFTER)
    file = tmp_path / "from.pcapng"
    told = nwscan("report", state / "reports", "--export", "from_guest", file)
    assert (told.code, told.stdout) == (0, "")
    times = [float(line) for line in shark(file, "frame.time_epoch")]
    assert len(times) == 240
    assert times == sorted(times)


def test_frames_that_are_others_than_the_report_says_are_refused(tmp_path: Path) -> None:
    report = keep_window(tmp_path / "state", BEFORE)
    file, frames = tmp_path / "out.pcapng", report.with_name("frames.pcapng")
    frames.write_bytes(AFTER.read_bytes())
    assert "SHA-256" in nwscan("report", report, "--export", "broadcast", file).error(INPUT)["error"]
    frames.unlink()
    assert "not there" in nwscan("report", report, "--export", "broadcast", file).error(INPUT)["error"]
    os.mkfifo(frames.with_name("pipe"))
    named = json.loads(report.read_text())["frames_file"] | {"path": str(frames.with_name("pipe"))}
    error = nwscan("report", edited(report, frames_file=named), "--export", "broadcast", file).error(INPUT)
    assert "no regular file" in error["error"]
    hostile = edited(report, frames_file=named | {"path": "/etc/\x00passwd"})
    assert nwscan("report", hostile, "--export", "broadcast", file).code == INPUT
    assert not file.exists()
    bare = report_of(tmp_path, BEFORE)
    assert "no frames are kept" in nwscan("report", bare, "--export", "broadcast", file).error(INPUT)["error"]


def test_an_export_never_overwrites_the_frames_themselves(tmp_path: Path) -> None:
    report = keep_window(tmp_path / "state", BEFORE)
    frames = report.with_name("frames.pcapng")
    before = frames.read_bytes()
    assert nwscan("report", report, "--export", "broadcast", frames).error(USAGE)["where"] == str(frames)
    assert frames.read_bytes() == before
    assert UUID in str(frames)
