"""Classes and columns, frame by frame, against tshark on every capture that nobody on this project wrote.

The captures and the MACs are generated, not chosen: every file that our readers read, every unicast MAC that tshark
sees in it, and one that is in none.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from functools import cache
from itertools import takewhile
from typing import Any

import numpy as np
import pytest

from analyzer.capture.source import open_capture
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network
from analyzer.errors import InputError
from analyzer.model.addresses import BROADCAST, is_group, parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.frames import FrameBatch, FrameFlag, RawFrames
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.network import NetworkBatch, NetworkFlag
from tests.raw_frames import raw_frames
from tests.shared_data import SHARED_DATA, capture_files, shared_data

FIELDS = (
    *("frame.len", "frame.encap_type", "frame.packet_flags_direction", "frame.protocols"),
    *("eth.dst", "eth.src", "vlan.id", "ip.src", "ip.dst", "ip.proto", "ip.frag_offset", "ipv6.src", "ipv6.dst"),
    *("tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport"),
    *("arp.opcode", "arp.src.hw_mac", "arp.dst.proto_ipv4"),
)
OPTIONS = ("-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-E", "separator=|")
ETHERNET = "1"  # WTAP_ENCAP_ETHERNET
ABSENT = 0x02_0000_0000_99
UNSOUND = NetworkFlag.NETWORK_CUT | NetworkFlag.NETWORK_MALFORMED | NetworkFlag.UPPER_CUT | NetworkFlag.UPPER_MALFORMED
SNOOP = "pcapplusplus/solaris.snoop"
"""The one capture of a format that is refused by name."""

CAPTURES = [str(path.relative_to(SHARED_DATA / "captures")) for path in capture_files()]
FILES = [path for path in CAPTURES if path != SNOOP]
Frame = dict[str, list[str]]


@cache
def tshark(name: str) -> list[Frame]:
    """Give the frames of a file as tshark sees them, each field with all its occurrences.

    tshark also lists pcapng blocks that are no packets (custom blocks, journal entries); those have no encapsulation.
    """
    fields = [part for field in FIELDS for part in ("-e", field)]
    command = ["tshark", "-r", str(shared_data("captures", name)), "-T", "fields", *OPTIONS, *fields]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    rows = [[cell.split(",") if cell else [] for cell in line.split("|")] for line in run.stdout.splitlines()]
    return [frame for row in rows if (frame := dict(zip(FIELDS, row, strict=True)))["frame.encap_type"]]


@cache
def ours(name: str) -> tuple[FrameBatch, NetworkBatch]:
    """Give all frames of a file as one batch; its octets are gone, since they hold only while the file is read."""
    found: list[tuple[RawFrames, FrameBatch, NetworkBatch]] = []
    with shared_data("captures", name).open("rb") as file:
        source = open_capture(file, name)
        for raw in source.batches():
            batch = decode(raw)
            found.append((without_octets(raw), batch, decode_network(batch)))
        source.close()
    raw = joined(RawFrames, [part for part, _, _ in found], data=np.empty(0, np.uint8), interfaces=())
    batch = joined(FrameBatch, [part for _, part, _ in found], raw=raw)
    return batch, joined(NetworkBatch, [part for _, _, part in found])


def without_octets(raw: RawFrames) -> RawFrames:
    copies = {name: getattr(raw, name).copy() for name in RawFrames.__slots__ if name not in {"data", "interfaces"}}
    return RawFrames(data=np.empty(0, np.uint8), interfaces=(), **copies)


def joined(kind: Any, parts: list[Any], **fixed: Any) -> Any:  # noqa: ANN401 - any of the three kinds of batch
    columns = [name for name in kind.__slots__ if name not in fixed]
    if not parts:
        parts = [empty(kind)]
    return kind(**fixed, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in columns})


def empty(kind: Any) -> Any:  # noqa: ANN401 - as above
    batch = decode(raw_frames([]))
    return {RawFrames: batch.raw, FrameBatch: batch, NetworkBatch: decode_network(batch)}[kind]


def mac_of(frame: Frame, field: str) -> int | None:
    """Give the outermost MAC that tshark shows; None where the frame has no Ethernet header that could be read."""
    return parse_mac(frame[field][0]) if frame["frame.encap_type"] == [ETHERNET] and frame[field] else None


def expected_class(frame: Frame, mac: int, *, by_flags: bool) -> FrameClass:
    """Give the class by tshark's columns: the order of classes, written down a second time."""
    dst, src = mac_of(frame, "eth.dst"), mac_of(frame, "eth.src")
    if dst is None:
        return FrameClass.UNCLASSIFIED
    direction = int(frame["frame.packet_flags_direction"][0], 0) if frame["frame.packet_flags_direction"] else 0
    if direction == 1 if by_flags and direction in (1, 2) else src == mac:
        return FrameClass.FROM_GUEST
    if dst == BROADCAST:
        return FrameClass.BROADCAST
    if is_group(dst):
        return FrameClass.MULTICAST
    return FrameClass.UNICAST_TO_GUEST if dst == mac else FrameClass.FOREIGN_UNICAST


def macs_of(frames: list[Frame]) -> list[int]:
    seen = {mac for frame in frames for field in ("eth.dst", "eth.src") if (mac := mac_of(frame, field)) is not None}
    return [*sorted(mac for mac in seen if not is_group(mac)), ABSENT]


@pytest.fixture(params=FILES or ["(no captures)"])
def name(request: pytest.FixtureRequest) -> str:
    shared_data("captures")
    if shutil.which("tshark") is None and os.environ.get("CI") != "true":
        pytest.skip("tshark is missing")
    found: str = request.param
    return found


def test_captures_of_another_format_are_refused_by_name() -> None:
    path = shared_data("captures", SNOOP)
    with path.open("rb") as file, pytest.raises(InputError, match="snoop"):
        open_capture(file, path.name)


@pytest.mark.parametrize("source", [DirectionSource.SOURCE_MAC, DirectionSource.EPB_FLAGS])
def test_each_frame_has_the_class_that_tshark_implies(name: str, source: DirectionSource) -> None:
    frames = tshark(name)
    batch, _ = ours(name)
    by_flags = source is DirectionSource.EPB_FLAGS
    for mac in macs_of(frames):
        classifier = Classifier(GuestIdentity(macs=(mac,), source=Provenance.COMMAND_LINE), source)
        expected = [expected_class(frame, mac, by_flags=by_flags) for frame in frames]
        assert classifier.classify(batch).tolist() == expected, f"{mac:012x}"


LINK_LAYERS = {"eth", "ethertype", "vlan", "ieee8021ad", "llc"}
VLAN_LAYERS = {"vlan", "ieee8021ad"}


def link_layers(frame: Frame) -> list[str]:
    """Give tshark's names of the layers up to the network layer: what lies in a tunnel or behind VN-Tag is not ours."""
    return list(takewhile(LINK_LAYERS.__contains__, frame["frame.protocols"][0].split(":")))


def layers_above_the_link(frame: Frame) -> list[str]:
    """Give tshark's names of the network layer and what follows, without those of IPv6 extension headers."""
    above = frame["frame.protocols"][0].split(":")[len(link_layers(frame)) :]
    return [layer for layer in above if not layer.startswith("ipv6.")]


def test_each_frame_has_the_addresses_tags_and_octets_that_tshark_shows(name: str) -> None:
    frames = tshark(name)
    batch, _ = ours(name)
    assert len(batch) == len(frames)
    for i, frame in enumerate(frames):
        assert (int(batch.dst[i]), int(batch.src[i])) == (mac_of(frame, "eth.dst") or 0, mac_of(frame, "eth.src") or 0)
        if not batch.flags[i] & FrameFlag.IMPOSSIBLE_LENGTH:
            assert [str(batch.octets[i])] == frame["frame.len"]
        if not batch.flags[i] and frame["frame.encap_type"] == [ETHERNET]:
            assert int(batch.tags[i]) == sum(layer in VLAN_LAYERS for layer in link_layers(frame))
            assert not batch.tags[i] or int(batch.vlan[i]) & 0xFFF == int(frame["vlan.id"][0])


def test_each_sound_frame_has_the_network_columns_that_tshark_shows(name: str) -> None:
    frames = tshark(name)
    batch, network = ours(name)
    for i, frame in enumerate(frames):
        if batch.flags[i] or network.flags[i] & UNSOUND or frame["frame.encap_type"] != [ETHERNET]:
            continue
        network_layer, upper_layer, *_ = [*layers_above_the_link(frame), "", ""]
        assert int(network.ip_version[i]) == {"ip": 4, "ipv6": 6}.get(network_layer, 0)
        if network_layer == "ip":
            assert str(ipaddress.IPv4Address(int(network.src_lo[i]))) == frame["ip.src"][0]
            assert str(ipaddress.IPv4Address(int(network.dst_lo[i]))) == frame["ip.dst"][0]
            assert str(network.protocol[i]) == frame["ip.proto"][0]
            assert str(network.fragment[i]) == frame["ip.frag_offset"][0]
        if network_layer == "ipv6":
            for side in ("src", "dst"):
                value = int(getattr(network, f"{side}_hi")[i]) << 64 | int(getattr(network, f"{side}_lo")[i])
                assert str(ipaddress.IPv6Address(value)) == frame[f"ipv6.{side}"][0]
        if upper_layer in {"tcp", "udp"}:
            ports = (frame[f"{upper_layer}.srcport"][0], frame[f"{upper_layer}.dstport"][0])
            assert (str(network.sport[i]), str(network.dport[i])) == ports
        if network_layer == "arp":
            assert str(network.arp_op[i]) == frame["arp.opcode"][0]
            assert int(network.arp_sha[i]) == parse_mac(frame["arp.src.hw_mac"][0])
            assert str(ipaddress.IPv4Address(int(network.arp_tpa[i]))) == frame["arp.dst.proto_ipv4"][0]
