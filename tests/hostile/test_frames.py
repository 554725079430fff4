# ruff: noqa: E501 - a frame is one line of octets
"""Hostile frames: each is counted in one class, described in safe words, and the report of it is read back the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.source import open_capture
from analyzer.classify.description import TEXT_LIMIT
from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.pipeline import Measurement, drain
from analyzer.report.store import encode, from_document
from tests.capture_octets import pcap_header, pcap_record
from tests.hostile.trial import bounded, seeded

if TYPE_CHECKING:
    from random import Random

GUEST, OTHER, GROUP = (bytes.fromhex(mac) for mac in ("525400000001", "02aa00000050", "01005e010203"))
ALL = b"\xff" * 6
CARD = GuestIdentity((0x525400000001,), Provenance.COMMAND_LINE)
UDP = bytes.fromhex("00430044ffff0000")
KINDS = {
    "cut at each octet": lambda: [GUEST + OTHER + b"\x08\x00\x45" + bytes(n) for n in range(120)]
    + [(GUEST + OTHER + b"\x08")[:n] for n in range(14)],
    "tags upon tags": lambda: [GUEST + OTHER + b"\x81\x00\x00\x05" * n + b"\x08\x00" + bytes(46) for n in range(80)],
    "tags of all kinds, cut": lambda: [OTHER + GUEST + b"\x88\xa8\x0f\xff\x91\x00\x81\x00"[: 2 * n] for n in range(5)],
    "headers of no length": lambda: [GUEST + OTHER + b"\x08\x00" + bytes([low]) + bytes(60) for low in range(256)],
    "headers that are all options": lambda: [
        ALL + OTHER + b"\x08\x00\x4f\x00\xff\xff" + bytes(14) + bytes([kind, length]) * 20
        for kind in (0, 1, 7, 68, 131, 255)
        for length in (0, 1, 2, 255)
    ],
    "fragments of nothing": lambda: [
        GUEST + OTHER + b"\x08\x00\x45\x00\x00\x1c\x00\x01" + flags.to_bytes(2, "big") + b"\x40\x11\x00\x00" + bytes(16)
        for flags in (0x2000, 0x1FFF, 0x3FFF, 0xFFFF)
    ],
    "IPv6 headers in a circle": lambda: [
        GUEST + OTHER + b"\x86\xdd\x60\0\0\0\xff\xff" + bytes([kind]) + b"\xff" * 33 + bytes([kind, 0, 0, 0, 0, 0, 0, 0]) * n
        for kind in (0, 43, 44, 51, 60, 135, 139, 140)
        for n in (1, 30, 180)
    ],
    "a jumbogram": lambda: [GUEST + OTHER + b"\x86\xdd\x60\0\0\0\0\0\0\x40" + bytes(32) + b"\x3b\0\xc2\4\xff\xff\xff\xff"],
    "ARP of other kinds": lambda: [
        ALL + OTHER + b"\x08\x06" + bytes([0, 1, 8, 0, hardware, protocol, 0, 9]) + b"\xff" * 40
        for hardware in (0, 1, 6, 255)
        for protocol in (0, 4, 16, 255)
    ],
    "memberships without an end": lambda: [
        GROUP + GUEST + b"\x08\x00\x46\xc0\x05\xdc" + bytes(3) + b"\x01\x02" + bytes(13)
        + b"\x22\x00\x00\x00\x00\x00\xff\xff" + b"\x04\xff\xff\xff\xef\x01\x02\x03" * 180
    ],
    "listeners without an end": lambda: [
        b"\x33\x33\0\0\0\x16" + GUEST + b"\x86\xdd\x60\0\0\0\x05\x00\x00\x01" + bytes(32)
        + b"\x3a\0\5\2\0\0\1\0" + b"\x8f\0\0\0\0\0\xff\xff" + (b"\x04\xff\xff\xff\xff\x02" + bytes(14)) * 60
    ],
    "DHCP options that are too long": lambda: [
        ALL + OTHER + b"\x08\x00\x45\0\2\0\0\0\0\0\x40\x11\0\0" + bytes(8) + UDP + b"\x02\x01\x06\0" + bytes(232)
        + b"\x63\x82\x53\x63" + bytes([option, 255]) * 40
        for option in (0, 1, 12, 53, 81, 255)
    ],
    "a host named by an attacker": lambda: [
        ALL + GUEST + b"\x08\x00\x45\0\2\0\0\0\0\0\x40\x11\0\0" + bytes(8) + UDP + b"\x01\x01\x06\0" + bytes(232)
        + b"\x63\x82\x53\x63\x35\x01\x01\x0c\x20\x1b]0;owned\x07<script>alert(1)</script>\xff"
    ],
    "TCP of options alone": lambda: [
        GUEST + OTHER + b"\x08\x00\x45\0\2\0\0\0\0\0\x40\x06\0\0" + bytes(8) + bytes(12) + b"\xf0" + bytes(7)
        + bytes([kind, length]) * 20
        for kind in (2, 3, 5, 8, 34, 253)
        for length in (0, 1, 255)
    ],
    "DNS that points at itself": lambda: [
        GUEST + OTHER + b"\x08\x00\x45\0\0\x40\0\0\0\0\x40\x11\0\0" + bytes(8) + b"\0\x35\0\x35\0\x2c\0\0"
        + b"\0\1\x81\x80\xff\xff\xff\xff\xff\xff\xff\xff" + b"\xc0\x0c" * 30
    ],
    "LLC of all lengths": lambda: [ALL + OTHER + n.to_bytes(2, "big") + b"\xaa\xaa\x03\0\0\0\x08\x00" for n in range(0, 1536, 7)],
    "VRRP that is forged": lambda: [
        b"\x01\0\x5e\0\0\x12" + b"\0\0\x5e\0\1" + bytes([n]) + b"\x08\x00\x45\0\0\x28\0\0\0\0\xff\x70\0\0" + b"\xff" * 28
        for n in range(256)
    ],
    "spoofed sources": lambda: [GUEST + mac + b"\x08\x00" + bytes(46) for mac in (GUEST, ALL, GROUP, bytes(6))],
    "a frame of 256 KiB": lambda: [GUEST + OTHER + b"\x08\x00\x45" + b"\xff" * (262_144 - 15)],
    "a flood of 60,000 MACs": lambda: [
        OTHER[:2] + (n * 7919 % 65536).to_bytes(4, "big") + b"\x02\x01" + n.to_bytes(4, "big") + b"\x88\xb5" for n in range(60_000)
    ],
    "a flood of 20,000 groups": lambda: [b"\x01\0\x5e" + n.to_bytes(3, "big") + OTHER + b"\x08\x00" + bytes(46) for n in range(20_000)],
    "a flood of ethertypes": lambda: [ALL + OTHER + n.to_bytes(2, "big") + bytes(46) for n in range(1536, 65536, 3)],
    "a flood of VLANs": lambda: [ALL + OTHER + b"\x81\0" + n.to_bytes(2, "big") + b"\x88\xb5" for n in range(0, 65536, 5)],
}  # fmt: skip
"""What a guest may send, by kind."""
SEEDS = 60
INPUTS = len(KINDS) + SEEDS


def measured(frames: list[bytes]) -> None:
    octets = pcap_header(snaplen=262_144) + b"".join(pcap_record(one, n // 1000) for n, one in enumerate(frames))
    with bounded():
        source = open_capture(io.BytesIO(octets), "hostile")
        measurement = Measurement(CARD, DirectionSource.SOURCE_MAC)
        for _ in drain(source, measurement):
            pass
        report = measurement.finish((source.window(),))
        source.close()
        document = encode(report)
    assert sum(count for count, _ in report.class_counts) == len(frames)
    assert len(document) < 4 << 20
    assert from_document(document) == report
    for sample in report.samples:
        assert len(sample.text) <= TEXT_LIMIT
        assert sample.text.isprintable()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_a_kind(kind: str) -> None:
    measured(KINDS[kind]())


@pytest.mark.parametrize("number", range(SEEDS), ids=lambda number: f"seed-frames-{number}")
def test_frames_of_chance(number: int) -> None:
    draw = seeded("frames", number)
    measured([_frame(draw) for _ in range(200)])


def _frame(draw: Random) -> bytes:
    head = draw.choice([GUEST, OTHER, GROUP, ALL, b"\x33\x33\xff\0\0\1"]) + draw.choice([GUEST, OTHER])
    kind = draw.choice(
        [b"\x08\x00\x45", b"\x08\x06\0\1\x08\0\6\4", b"\x86\xdd\x60", b"\x81\0\0\5\x08\0\x45", draw.randbytes(2)]
    )
    return (head + kind + draw.randbytes(draw.randrange(300)))[: draw.choice([300, 60, 30, 14, 5])]
