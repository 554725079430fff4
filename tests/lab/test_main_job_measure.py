"""The first half of the main job on real taps: what nwscan reports is exactly what was sent."""

from __future__ import annotations

import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.counted import KEYS, RECEPTION, frames_of, marked, sent, tshark_frames, vlans_of, whole_schedule
from tests.lab.frames import BROADCAST, Kind, mac_octets, markers_in
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

VM1, VM2 = layout.GUESTS["vm1"], layout.GUESTS["vm2"]


def test_a_schedule_is_reported_to_the_frame(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    schedule, file = whole_schedule(), tmp_path / "frames.pcapng"
    with (
        tcpdump(lab, lab.guest("vm1").tap, tmp_path / "tcpdump.pcap") as beside,
        nwscan.start("capture", lab.guest("vm1").tap, "--json", "-w", file) as capture,
    ):
        truth = lab.send(schedule)
        assert beside.wait_for(truth, truth.frames) == truth.frames
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    report = ended.document
    assert truth.frames == {Kind.FOREIGN: 5000, Kind.OWN: 2000, Kind.MULTICAST: 500, Kind.BROADCAST: 300}
    assert frames_of(report) == sent(truth)
    assert {key: report["classes"][key]["octets"] for key in KEYS.values()} == {
        KEYS[kind]: octets for kind, octets in truth.octets.items()
    }
    (window,) = report["windows"]
    assert (window["frames_seen"], window["frames_lost"], window["stopped_early"]) == (schedule.total, 0, None)
    assert {row["vlan"]: row["frames"] for row in report["vlans"]} == vlans_of(schedule)
    assert report["foreign_share"]["frames"] == pytest.approx(5000 / 7800)
    talkers = [(row["src"], row["dst"], row["frames"], row["error"]) for row in report["foreign_talkers"]]
    assert talkers == [(layout.HOSTS["hosta"].mac, layout.HOSTS["hostb"].mac, 5000, 0)]
    assert {row["dst"][:8] for row in report["groups"]} == {"01:00:5e", "33:33:ff", "09:00:2b", "01:1b:19"}

    assert {kind: len(found) for kind, found in markers_in(file.read_bytes(), truth.run).items()} == truth.frames
    filters = [marked(truth, kind) for kind in Kind]
    counts = [schedule.total, *(truth.frames[kind] for kind in Kind)]
    assert tshark_frames(lab, file, "frame", *filters) == counts
    assert tshark_frames(lab, tmp_path / "tcpdump.pcap", "frame", *filters) == counts


def test_markers_are_counted_among_other_traffic(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    file, host = tmp_path / "frames.pcapng", lab.host("hosta")
    with nwscan.start("capture", "vm1:0", "--json", "-w", file) as capture:
        lab.settle()
        host.forget_neighbours()
        pinging = lab.popen(["busybox", "ping", "-i", "0.05", VM1.ipv4], host="hosta", stdout=subprocess.DEVNULL)
        other = lab.popen(["busybox", "ping", "-i", "0.05", VM2.ipv4], host="hosta", stdout=subprocess.DEVNULL)
        truth = lab.send(whole_schedule())
        talked = lab.guest("vm1").shell(f"ip neigh flush dev eth0; ping -c 5 -i 0.1 {host.address.ipv4}")
        for process in (pinging, other):
            process.terminate()
            process.wait(10)
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    assert "5 packets received" in talked
    report = ended.document
    frames, minimum = frames_of(report), sent(truth, from_guest=10)
    assert all(frames[key] >= minimum[key] for key in minimum), frames
    assert frames["unicast_to_guest"] >= truth.frames[Kind.OWN] + 5
    assert sum(frames.values()) == report["windows"][0]["frames_seen"]
    assert report["windows"][0]["frames_lost"] == 0
    assert {kind: len(found) for kind, found in markers_in(file.read_bytes(), truth.run).items()} == truth.frames
    by_class = (f"frame.packet_flags_reception_type == {RECEPTION[kind]} && {marked(truth, kind)}" for kind in Kind)
    assert tshark_frames(lab, file, *by_class) == [truth.frames[kind] for kind in Kind]


def test_a_frame_from_the_bridge_is_not_from_the_guest_whatever_its_source(
    lab: Lab, nwscan: Nwscan, tmp_path: Path
) -> None:
    file = tmp_path / "frames.pcapng"
    with nwscan.start("capture", VM1.name, "--json", "-w", file) as capture:
        lying = lab.send(Schedule(foreign=100, multicast=21, broadcast=15, source=VM1.mac))
        lab.settle()
        lab.guest("vm1").try_shell("arping -q -c 1 -w 1 -I eth0 192.0.2.250")
        report = capture.interrupt().document
    assert frames_of(report) == sent(lying, from_guest=1)
    assert report["direction_source"] == "packet_type"
    assert [(row["src"], row["dst"]) for row in report["foreign_talkers"]] == [(VM1.mac, layout.HOSTS["hostb"].mac)]
    assert frames_of(nwscan.run("analyze", file, "--json").document) == sent(lying, from_guest=1)
    believed = tmp_path / "believed.pcap"  # a file that says nothing of directions: there the source MAC has to do
    lab.run(["tshark", "-F", "pcap", "-r", file, "-w", believed], check=True)
    by_source = nwscan.run("analyze", believed, "--mac", VM1.mac, "--json").document
    assert frames_of(by_source) == sent(lying, from_guest=137, **dict.fromkeys(KEYS.values(), 0))


def test_several_taps_at_once(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    taps = [lab.guest(name).tap for name in ("vm1", "vm2")]
    with (
        tcpdump(lab, taps[1], tmp_path / "tcpdump.pcap") as beside,
        nwscan.start("capture", *taps, "--json") as capture,
    ):
        truth = lab.send(Schedule(foreign=500, own=200, multicast=50, broadcast=30))
        beside.wait_for(truth, truth.frames | {Kind.OWN: 0})
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    one, other = ended.documents
    assert [(report["guest"]["name"], report["guest"]["tap"]) for report in (one, other)] == [
        ("vm1", taps[0]),
        ("vm2", taps[1]),
    ]
    assert frames_of(one) == sent(truth)
    assert frames_of(other) == sent(truth, unicast_to_guest=0)


@pytest.mark.parametrize("target", ["vm1:0", f"vm1:{VM1.mac}", "vm1"])
def test_one_card_until_so_many_frames(lab: Lab, nwscan: Nwscan, target: str) -> None:
    with nwscan.start("capture", target, "-c", "60", "--json") as capture, lab.sending(Schedule(broadcast=100)):
        ended = capture.finish()
    assert ended.code == 0, str(ended)
    report = ended.document
    assert report["guest"] | {"name": "vm1", "macs": [VM1.mac], "card": 0} == report["guest"]
    assert report["windows"][0]["frames_seen"] == frames_of(report)["broadcast"] == 60


IP = {b"\x08\x00", b"\x86\xdd"}
EXPRESSIONS: dict[str, Callable[[bytes], bool]] = {
    "ether broadcast": lambda frame: frame[:6] == mac_octets(BROADCAST),
    "vlan 100": lambda frame: frame[12:16] == b"\x81\0\0\x64",
    # the outermost tag lies beside the frame, where an expression does not see it unless it asks
    "not ether multicast and udp port 9": lambda frame: not frame[0] & 1 and untagged(frame)[12:14] in IP,
}


def untagged(frame: bytes) -> bytes:
    return frame[:12] + frame[16:] if frame[12:14] in {b"\x81\x00", b"\x88\xa8"} else frame


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_only_what_an_expression_keeps_as_in_tcpdump(lab: Lab, nwscan: Nwscan, tmp_path: Path, expression: str) -> None:
    schedule, tap, words = (
        Schedule(foreign=70, own=70, multicast=70, broadcast=50),
        lab.guest("vm1").tap,
        expression.split(),
    )
    kept = Counter(kind for kind, frame in schedule.frames() if EXPRESSIONS[expression](frame))
    expected = {kind: kept[kind] for kind in Kind}
    with (
        tcpdump(lab, tap, tmp_path / "tcpdump.pcap", *words) as beside,
        nwscan.start("capture", tap, *words, "--json") as capture,
    ):
        truth = lab.send(schedule)
        assert beside.wait_for(truth, expected) == expected
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    frames = frames_of(ended.document)
    assert {kind: frames[KEYS[kind]] for kind in Kind} == expected
    assert sum(frames.values()) == sum(expected.values()) > 0


def test_a_window_ends_by_itself(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(Schedule(foreign=60_000, rate_fps=1000)):
        report = nwscan.run("capture", lab.guest("vm1").tap, "--json", duration_s=0.5).document
    frames = frames_of(report)
    assert frames["foreign_unicast"] == sum(frames.values()) > 0
