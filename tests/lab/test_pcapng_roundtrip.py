"""What is captured to pcapng and read back is the same, for nwscan and for tshark."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import layout
from tests.lab.counted import FROM_GUEST, KEYS, RECEPTION, TO_GUEST, frames_of, tshark_frames
from tests.lab.frames import Kind
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

DIRECTION = "frame.packet_flags_direction"
VM1 = layout.GUESTS["vm1"]
TYPE = "frame.packet_flags_reception_type"


def captured(lab: Lab, nwscan: Nwscan, file: Path, *options: str) -> Json:
    """Give the report of a window in which everything happens: all classes, tags, a guest that talks."""
    host = lab.host("hosta")
    with nwscan.start("capture", "vm1", "--json", "-w", file, *options) as capture:
        lab.send(Schedule(foreign=500, own=200, multicast=70, broadcast=50))
        lab.guest("vm1").shell(f"ping -c 3 -i 0.1 {host.address.ipv4}; arping -q -c 1 -w 1 -I eth0 192.0.2.250 || true")
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    return ended.document


def parted(report: Json) -> tuple[Json, Json]:
    """Give what a report says of the frames, and the keys that say where they were read: only these may differ."""
    (window,) = report["windows"]
    origin = {key: report[key] for key in ("direction_source", "frames_file", "tcpdump", "tcpdump_direction")}
    origin |= {"source": window["source"], "identity_source": report["guest"]["identity_source"]}
    frames = {key: value for key, value in report.items() if key not in origin}
    frames["windows"] = [{key: value for key, value in window.items() if key != "source"}]
    frames["guest"] = {key: value for key, value in report["guest"].items() if key != "identity_source"}
    return frames, origin


def test_a_file_gives_the_same_report_as_the_tap(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    file = tmp_path / "frames.pcapng"
    live = captured(lab, nwscan, file)
    read = nwscan.run("analyze", file, "--json").document
    assert frames_of(live)["from_guest"] >= 4
    assert all(frames_of(live)[key] for key in KEYS.values())

    kept_file = live["frames_file"]
    assert kept_file["covers"] == 1.0
    foreign = lab.run(["tcpdump", "--count", "-nr", file, read["tcpdump"]], check=True).stdout
    assert int(foreign.split()[0]) == frames_of(live)["foreign_unicast"] == 500
    frames, origin = parted(live)
    assert origin["tcpdump"] == f"not ether multicast and not ether dst {VM1.mac}"
    for path in (file, kept_file["path"]):
        other = {
            "source": str(path),
            "direction_source": "epb_flags",
            "identity_source": "file",
            "frames_file": None,
            "tcpdump_direction": None,  # files are read without -Q, so the guest's own frames are left out by MAC
            "tcpdump": f"{origin['tcpdump']} and not ether src {VM1.mac}",
        }
        assert parted(nwscan.run("analyze", path, "--json").document) == (frames, other)


def test_the_kept_frames_of_each_class_are_exported_to_the_frame(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    live = captured(lab, nwscan, tmp_path / "frames.pcapng")
    window = Path(live["frames_file"]["path"]).parent
    for key, frames in frames_of(live).items():
        file = tmp_path / f"{key}.pcapng"
        nwscan.run("report", window, "--export", key, file)
        assert len(lab.run(["tshark", "-r", file], check=True).stdout.splitlines()) == frames
        if frames:
            assert frames_of(nwscan.run("analyze", file, "--json").document)[key] == frames


def test_tshark_shows_direction_and_reception_type(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    file = tmp_path / "frames.pcapng"
    frames = frames_of(captured(lab, nwscan, file, "-s", "2000"))
    by_type = [f"{DIRECTION} == {TO_GUEST} && {TYPE} == {RECEPTION[kind]}" for kind in Kind]
    counts = tshark_frames(lab, file, "frame", *by_type, f"{DIRECTION} == {FROM_GUEST}", f"!({TYPE} == 0)")
    classes = [frames[KEYS[kind]] for kind in Kind]
    assert counts == [sum(frames.values()), *classes, frames["from_guest"], sum(classes)]
    fields = ("frame.interface_name", "frame.interface_description", "frame.len")
    shown = lab.run(["tshark", "-r", file, "-T", "fields", *(f"-e{field}" for field in fields)], check=True)
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert {(name, description) for name, description, _ in rows} == {("vnet0", VM1.name)}
    said = lab.run(["capinfos", file], check=True).stdout
    assert f'"macs":["{VM1.mac}"]' in said
    assert "Capture application: nwscan" in said
    octets = sum(count["octets"] for count in nwscan.run("analyze", file, "--json").document["classes"].values())
    assert sum(int(length) for *_, length in rows) == octets
    malformed = lab.run(["tshark", "-r", file, "-Y", "_ws.malformed && !ptp"], check=True)  # PTP frames hold a marker
    assert malformed.stdout == ""
