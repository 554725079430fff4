"""What we capture and write against tcpdump beside it on the same wire, and tshark on the file that we wrote."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.capture.live import LiveSource, StopRules
from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.capture.source import open_capture
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.classes import FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from tests.capture_octets import Frame, frames_of, read_all
from tests.network_namespace import frame, send, veth_pair

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab

OWN = "525400000001"
DESTINATIONS = {OWN: 1, "01005e000001": 2, "333300000001": 2, "ffffffffffff": 3, "020000000099": 4}
"""Destination MACs and the reception type that each is written with."""

CLASSES = {
    1: FrameClass.UNICAST_TO_GUEST,
    2: FrameClass.MULTICAST,
    3: FrameClass.BROADCAST,
    4: FrameClass.FOREIGN_UNICAST,
}


def traffic(count: int) -> list[bytes]:
    """Give frames of all kinds and sizes, some tagged once or twice."""
    chance = random.Random(7)  # noqa: S311 - a schedule, not a secret
    frames = []
    for i in range(count):
        octets = frame(i, chance.choice([60, 61, 128, 1000, 1500]), dst=chance.choice(list(DESTINATIONS)))
        tags = b"".join([bytes.fromhex(f"8100{i % 4096:04x}")] * chance.choice([0, 0, 1, 2]))
        frames.append(octets[:12] + tags + octets[12:])
    return frames


def capture_beside_tcpdump(received: list[bytes], sent: list[bytes], folder: Path) -> tuple[list[Frame], Path, Path]:
    """Send frames both ways while we and tcpdump capture; give our frames, our file and its file."""
    geometry = RingGeometry()
    ours, theirs = folder / "ours.pcapng", folder / "theirs.pcap"
    identity = GuestIdentity(macs=(int(OWN, 16),), source=Provenance.COMMAND_LINE, tap="tap0", name="vm1")
    count = len(received) + len(sent)
    command = ["tcpdump", "-i", "tap0", "-w", str(theirs), "-U", "-s", "0", "-B", "32768", "-c", str(count)]
    with veth_pair():
        oracle = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert oracle.stderr is not None
        while "listening on" not in oracle.stderr.readline():
            assert oracle.poll() is None
        ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=geometry, bpf=None), geometry)
        source = LiveSource(ring, "tap0", 0, StopRules(duration_s=30, frames=count))
        send("guest0", received)
        send("tap0", sent)
        found: list[Frame] = []
        with ours.open("wb") as file:
            writer = PcapngWriter(file, source.interfaces[0], identity)
            for raw in source.batches():
                found += frames_of(raw)
                writer.write(raw, classes_of(found[len(found) - len(raw) :]))
            writer.finish(source.window().frames_lost)
        oracle.communicate(timeout=30)
        source.close()
    return found, ours, theirs


def classes_of(frames: list[Frame]) -> np.typing.NDArray[np.uint8]:
    return np.array(
        [
            FrameClass.FROM_GUEST if item.direction == 1 else CLASSES[DESTINATIONS[item.octets[:6].hex()]]
            for item in frames
        ],
        np.uint8,
    )


def tshark(path: Path, *fields: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(item for field in fields for item in ("-e", field))]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in printed.splitlines()]


def test_the_file_is_the_wire(tmp_path: Path) -> None:
    received, sent = traffic(1500), traffic(700)
    found, ours, theirs = capture_beside_tcpdump(received, sent, tmp_path)
    assert len(found) == 2200

    with ours.open("rb") as file, theirs.open("rb") as oracle:
        mine, others = read_all(open_capture(file, "ours")), read_all(open_capture(oracle, "theirs"))
    assert [item.octets for item in mine] == received + sent
    assert [item.octets for item in others] == received + sent
    assert [item.original for item in mine] == [item.original for item in others]
    assert all(abs(a.ts_ns - b.ts_ns) < 1_000_000_000 for a, b in zip(mine, others, strict=True))
    assert [item.direction for item in mine] == 1500 * [1] + 700 * [2]

    rows = tshark(
        ours, "frame.len", "frame.cap_len", "frame.packet_flags_direction", "frame.packet_flags_reception_type"
    )
    assert [(int(length), int(kept)) for length, kept, _, _ in rows] == [(len(o), len(o)) for o in received + sent]
    assert [int(direction, 16) for _, _, direction, _ in rows] == 1500 * [1] + 700 * [2]
    assert [int(reception) for *_, reception in rows] == 1500 * [0] + [DESTINATIONS[o[:6].hex()] for o in sent]


def test_tshark_sees_who_it_is_and_what_was_lost(tmp_path: Path) -> None:
    _, ours, _ = capture_beside_tcpdump(traffic(10), [], tmp_path)
    with ours.open("rb") as file:
        source = open_capture(file, "ours")
        assert source.identity is not None
        assert (source.identity.name, source.identity.macs) == ("vm1", (int(OWN, 16),))
        assert source.has_direction
        read_all(source)
        assert source.window().frames_lost == 0
    printed = subprocess.run(["capinfos", str(ours)], capture_output=True, text=True, check=True).stdout
    assert "nwscan" in printed
    assert "tap0" in printed
    assert "nanoseconds" in printed


def test_losses_are_told_as_tcpdump_counts_them() -> None:
    """A ring that is too small: what was seen and what was lost is what was sent."""
    tiny = RingGeometry(block_octets=1 << 12, blocks=3, retire_ms=5)
    with veth_pair():
        ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=tiny, bpf=None), tiny)
        source = LiveSource(ring, "tap0", 0, StopRules())
        seen = 0
        deadline = time.monotonic() + 20
        for i in range(20):
            send("guest0", [frame(j, 1000) for j in range(100 * i, 100 * i + 100)])
        for raw in source.batches():
            seen += len(raw)
            if len(raw) == 0:
                source.request_stop()
            assert time.monotonic() < deadline
        assert 0 < seen < 2000
        assert seen + (source.window().frames_lost or 0) == 2000
        source.close()
