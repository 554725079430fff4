"""``suggest --from FILE``: what the frames themselves tell against a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from tests.nwscan.command import MAC, nwscan

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet

ROUTER, VIRTUAL = "02:00:00:00:00:fe", "00:00:5e:00:01:07"
NEIGHBOUR, NOBODY = "52:54:00:00:00:66", "52:54:00:00:00:99"


def capture(path: Path, *, answered: bool) -> Path:
    """Write three seconds of frames to a virtual MAC, with or without answers of the guest."""
    packets: list[Packet] = []
    for number in range(30):
        packets.append(
            Ether(dst=VIRTUAL, src=ROUTER) / IP(src="198.51.100.9", dst="192.0.2.7") / UDP(sport=4000, dport=80)
        )
        packets.append(
            Ether(dst=MAC, src=ROUTER) / IP(src="198.51.100.9", dst="192.0.2.101") / UDP(sport=5000, dport=22)
        )
        if answered:
            packets.append(
                Ether(dst=ROUTER, src=MAC) / IP(src="192.0.2.7", dst="198.51.100.9") / UDP(sport=80, dport=4000)
            )
        for packet in packets[-3:]:
            packet.time = 1_700_000_000 + number / 10
    wrpcap(str(path), packets)
    return path


def test_a_guest_that_answers_for_another_mac_gets_no_filter(tmp_path: Path) -> None:
    path = capture(tmp_path / "answered.pcap", answered=True)
    ended = nwscan("suggest", "--from", path, "--mac", MAC, "--json")
    assert ended.code == 1
    (refusal,) = ended.document["refusals"]
    assert (refusal["kind"], refusal["can_force"]) == ("uses_foreign", True)
    assert f"the guest answers 30 frames that went to {VIRTUAL}" in refusal["reason"]
    assert nwscan("suggest", "--from", path, "--mac", MAC, "--also-mac", VIRTUAL).code == 0


def provoked(path: Path) -> Path:
    """Write what keeps a guest without a filter: a neighbour's packets to it, and the same to a MAC of nobody's."""
    packets: list[Packet] = []
    for number in range(30):
        asked = IP(src="192.0.2.66", dst="192.0.2.101") / UDP(sport=4000, dport=53)
        packets += [Ether(dst=MAC, src=NEIGHBOUR) / asked, Ether(dst=NOBODY, src=NEIGHBOUR) / asked]
        packets.append(
            Ether(dst=NEIGHBOUR, src=MAC) / IP(src="192.0.2.101", dst="192.0.2.66") / UDP(sport=53, dport=4000)
        )
        for packet in packets[-3:]:
            packet.time = 1_700_000_000 + number / 10
    wrpcap(str(path), packets)
    return path


def test_what_a_neighbour_provokes_is_told_with_who_it_is_and_what_to_look_at(tmp_path: Path) -> None:
    path = provoked(tmp_path / "provoked.pcap")
    ended = nwscan("suggest", "--from", path, "--mac", MAC, "--json")
    assert ended.code == 1
    (refusal,) = ended.document["refusals"]
    assert (refusal["kind"], refusal["can_force"]) == ("uses_foreign", True)
    assert f"30 frames that went to {NOBODY}" in refusal["reason"]
    assert "30 of these may be for the same packets to its own MAC or to all" in refusal["reason"]
    assert f"a neighbour can bring this about, by sending both: they came from {NEIGHBOUR}" in refusal["hint"]
    assert f"Look inside the guest whether it has {NOBODY}: ip link, or virsh domifaddr" in refusal["hint"]
    assert refusal["hint"].endswith(f"--also-mac {NOBODY}; where it has not: --force")


def test_one_that_does_not_is_only_asked_about_it(tmp_path: Path) -> None:
    ended = nwscan("suggest", "--from", capture(tmp_path / "silent.pcap", answered=False), "--mac", MAC, "--json")
    assert (ended.code, ended.document["refusals"]) == (0, [])
    assert any(f"30 frames went to {VIRTUAL}, a MAC of VRRP" in risk for risk in ended.document["risks"])


def test_the_commands_name_the_libvirt_that_was_asked_for(tmp_path: Path) -> None:
    path = capture(tmp_path / "silent.pcap", answered=False)
    uri = "qemu+ssh://host/system"
    ended = nwscan("--connect", uri, "suggest", "--from", path, "--mac", MAC, "--json")
    commands = [line for key in ("install", "undo") for line in ended.document["by_hand"][key] if line[0] != "#"]
    assert commands
    assert all(line.startswith(f"virsh -c {uri} ") for line in commands)
    assert f"virsh -c {uri} nwfilter-define" in nwscan("--connect", uri, "suggest", "--from", path, "--mac", MAC).stdout
