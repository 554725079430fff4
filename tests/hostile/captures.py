"""Capture files that lie, that are cut, that blow up, or that are none: by name, each made when it is asked for."""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import zstandard

from tests.capture_octets import block, epb, idb, isb, options, pb, pcap_header, pcap_record, shb, spb
from tests.hostile.trial import seeded
from tests.nwscan.command import AFTER, BEFORE, CUT, FIRST_SECOND, VLAN

if TYPE_CHECKING:
    from collections.abc import Callable

Made = dict[str, "Callable[[], bytes]"]
FRAME = bytes.fromhex("525400000001 020000000001 0800") + bytes(46)
HEADER = pcap_header()
COMMENT, NAME, TSRESOL, TSOFFSET = 1, 2, 9, 14
MUTATED = 40


def record(captured: int, original: int, octets: bytes = FRAME) -> bytes:
    """A pcap record that says other lengths than it has."""
    return struct.pack("<IIII", 1, 2, captured & 0xFFFFFFFF, original & 0xFFFFFFFF) + octets


def sized(kind: int, length: int, body: bytes = bytes(8)) -> bytes:
    """A pcapng block that says another length than it has."""
    return struct.pack("<II", kind, length & 0xFFFFFFFF) + body + struct.pack("<I", length & 0xFFFFFFFF)


def said(comment: object) -> bytes:
    """A capture whose comment looks like nwscan's own."""
    text = comment if isinstance(comment, bytes) else f"nwscan: {json.dumps(comment)}".encode()
    return shb("<", (COMMENT, text)) + idb("<", (COMMENT, text), (NAME, text[:60])) + epb(FRAME, "<", (COMMENT, text))


@functools.cache
def zeros_in_gzip(mebibytes: int, head: bytes = b"") -> bytes:
    """So many MiB of zeros behind ``head``, 1,000 times smaller: the same member again and again."""
    member = gzip.compress(bytes(1 << 20), 9, mtime=0)
    return gzip.compress(head, mtime=0) + member * mebibytes


def zeros_in_zstd(mebibytes: int, head: bytes = b"") -> bytes:
    """So many MiB of zeros behind ``head``, 10,000 times smaller."""
    pack = zstandard.ZstdCompressor(level=3)
    return pack.compress(head) + pack.compress(bytes(1 << 20)) * mebibytes


def zipped() -> bytes:
    """A zip of a capture."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../before.pcapng", BEFORE.read_bytes())
    return archive.getvalue()


NO_CAPTURES: Made = {
    "nothing": lambda: b"",
    "one octet": lambda: b"\x0a",
    "zeros": lambda: bytes(100_000),
    "ones": lambda: b"\xff" * 100_000,
    "text": lambda: b"Ethernet II, Src: 52:54:00:00:00:01\n" * 1000,
    "escapes": lambda: b"\x1b]0;owned\x07\x1b[2J" * 1000,
    "markup": lambda: b"<?xml version='1.0'?><packet/>",
    "a program": lambda: b"\x7fELF\x02\x01\x01" + bytes(5000),
    "a zip": zipped,
    "a report": lambda: b'{"schema": "nwscan.report/1"}',
    "a snoop file": lambda: b"snoop\0\0\0\0\0\0\2\0\0\0\4" + bytes(100),
    "half a magic": lambda: HEADER[:3],
    "half a header": lambda: HEADER[:23],
    "a magic of its own": lambda: pcap_header(magic=0xA1B2C3D5) + record(60, 60),
    "a version to come": lambda: pcap_header(version=(99, 0)) + record(60, 60),
    "pcapng of a version to come": lambda: shb(version=(9, 9)) + idb() + epb(FRAME),
    "a cooked link": lambda: pcap_header(link=113) + record(60, 60),
    "a link of nobody": lambda: pcap_header(link=0x0FFFFFFF) + record(60, 60),
    "gzip of nothing": lambda: gzip.compress(b"", mtime=0),
    "half a gzip header": lambda: b"\x1f\x8b\x08",
    "gzip that is none": lambda: b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 500,
    "gzip in gzip in gzip": lambda: functools.reduce(lambda one, _: gzip.compress(one, mtime=0), range(3), HEADER),
    "zstd that is none": lambda: b"\x28\xb5\x2f\xfd" + b"\xff" * 500,
    "zstd of a dictionary": lambda: b"\x28\xb5\x2f\xfd\x23\xff\xff\xff\xff" + bytes(50),
    "zstd with a window of 2 GiB": lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + b"\x01\x00\x00" + bytes(20),
    "a gzip bomb of no capture": lambda: zeros_in_gzip(2048),
    "a zstd bomb of no capture": lambda: zeros_in_zstd(2048),
    "a section without an end": lambda: sized(0x0A0D0D0A, 0xFFFFFFFC, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
    "a section of no octets": lambda: sized(0x0A0D0D0A, 0, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
    "a section of another order": lambda: sized(0x0A0D0D0A, 28, struct.pack("<IHHq", 0xDEADBEEF, 1, 0, -1)),
}
"""Nothing of it can be read."""

LYING: Made = {
    "a record of 4 GiB": lambda: HEADER + record(0xFFFFFFFF, 0xFFFFFFFF),
    "a record of 2 GiB": lambda: HEADER + record(0x80000000, 60),
    "a record above the limit": lambda: HEADER + record(262_145, 262_145, bytes(262_145)),
    "a record longer than the file": lambda: HEADER + record(1000, 1000),
    "a record that kept more than there was": lambda: HEADER + record(60, 3),
    "a record of nothing": lambda: HEADER + record(0, 0, b"") * 1000,
    "a time beyond all": lambda: HEADER + struct.pack("<IIII", 0xFFFFFFFF, 0xFFFFFFFF, 60, 60) + FRAME,
    "a snaplen of -1": lambda: pcap_header(snaplen=0xFFFFFFFF) + record(60, 60),
    "a snaplen of 0": lambda: pcap_header(snaplen=0) + record(60, 60),
    "an extended record of another file": lambda: pcap_header(magic=0xA1B2CD34) + record(60, 60),
    "a block of 12 octets": lambda: shb() + idb() + block(6, b""),
    "a block of 13 octets": lambda: shb() + idb() + sized(6, 13),
    "a block of 16 MiB and more": lambda: shb() + idb() + sized(6, (1 << 24) + 4),
    "a block of 4 GiB": lambda: shb() + idb() + sized(6, 0xFFFFFFFC),
    "a block whose lengths differ": lambda: shb() + idb() + epb(FRAME)[:-4] + bytes(4) + epb(FRAME),
    "a packet of no interface": lambda: shb() + epb(FRAME),
    "a packet of interface 99": lambda: shb() + idb() + epb(FRAME, interface=99),
    "a packet of interface 4294967295": lambda: shb() + idb() + epb(FRAME, interface=0xFFFFFFFF),
    "a packet longer than its block": lambda: shb() + idb() + block(6, struct.pack("<5I", 0, 0, 0, 9999, 60) + FRAME),
    "a simple packet of no interface": lambda: shb() + spb(FRAME),
    "a simple packet that says more": lambda: shb() + idb() + spb(FRAME, original=0xFFFFFFFF),
    "an obsolete packet of no interface": lambda: shb() + pb(FRAME, interface=7),
    "statistics of no interface": lambda: shb() + idb() + isb(interface=12) + epb(FRAME),
    "a clock of 2^-127 s": lambda: shb() + idb("<", (TSRESOL, b"\xff")) + epb(FRAME),
    "a clock of 10^-127 s": lambda: shb() + idb("<", (TSRESOL, b"\x7f")) + epb(FRAME),
    "a clock of no length": lambda: shb() + idb("<", (TSRESOL, b"")) + epb(FRAME),
    "a clock at the end of time": lambda: shb() + idb("<", (TSOFFSET, b"\xff" * 7 + b"\x7f")) + epb(FRAME),
    "a time before all": lambda: shb() + idb("<", (TSOFFSET, b"\0" * 7 + b"\x80")) + epb(FRAME, ticks=0),
    "an option that is too long": lambda: shb() + block(1, struct.pack("<HHIHH", 1, 0, 0, 2, 65535)) + epb(FRAME),
    "options without an end": lambda: shb() + block(1, bytes((1, *[0] * 7)) + b"\2\0\4\0abcd" * 500) + epb(FRAME),
    "20,000 options": lambda: shb() + idb("<", *[(2, b"a")] * 20_000) + epb(FRAME),
    "20,000 interfaces": lambda: shb() + idb() * 20_000 + epb(FRAME, interface=19_999),
    "20,000 sections": lambda: (shb() + idb() + epb(FRAME)) * 20_000,
    "100,000 blocks of nobody": lambda: shb() + idb() + block(0x0BAD, b"") * 100_000 + epb(FRAME),
    "names for addresses": lambda: shb() + block(4, b"\1\0\xff\xff" + b"\x1b[31m" * 99) + idb() + epb(FRAME),
    "secrets": lambda: shb() + block(10, struct.pack("<II", 0x544C534B, 0xFFFFFFFF)) + idb() + epb(FRAME),
    "an interface named by an attacker": lambda: shb() + idb("<", (NAME, b"\x1b]0;owned\x07<script>")) + epb(FRAME),
    "a guest of nobody": lambda: said({"schema": "nwscan.identity/999", "macs": ["zz"]}),
    "a guest of many names": lambda: said({"name": "\x1b[2J<b>" * 2000, "macs": ["52:54:00:00:00:01"] * 500}),
    "a guest nested deep": lambda: said(b"nwscan: " + b"[" * 50_000),
    "a guest in no encoding": lambda: said(b"nwscan: \xff\xfe\xfd" * 100),
    "options behind a packet": lambda: shb() + idb() + epb(FRAME, "<", (2, b"\xff\xff\xff\xff"), (5, b"\xff" * 8)),
    "a gzip bomb of one record": lambda: zeros_in_gzip(300, HEADER + struct.pack("<IIII", 1, 1, 1 << 30, 1 << 30)),
    "a gzip bomb of a block": lambda: zeros_in_gzip(300, shb() + idb() + struct.pack("<II", 0x0BAD, 0xFFFFFFFC)),
    "a zstd bomb of a block": lambda: zeros_in_zstd(300, shb() + idb() + struct.pack("<II", 0x0BAD, 0x10000000)),
    "gzip cut off": lambda: gzip.compress(BEFORE.read_bytes(), mtime=0)[:-100],
    "gzip with a wrong sum": lambda: gzip.compress(BEFORE.read_bytes(), mtime=0)[:-8] + bytes(8),
    "gzip with rubbish behind": lambda: gzip.compress(HEADER + record(60, 60), mtime=0) + b"\xff" * 5000,
    "zstd cut off": lambda: zstandard.ZstdCompressor().compress(BEFORE.read_bytes())[:-100],
    "deflate alone": lambda: zlib.compress(BEFORE.read_bytes()),
    "pcap behind pcapng": lambda: shb() + idb() + epb(FRAME) + HEADER + record(60, 60),
    "both orders": lambda: shb() + idb() + epb(FRAME) + shb(">") + idb(">") + epb(FRAME, ">"),
    "options of an epoch": lambda: shb("<", *[(COMMENT, b"\xff" * 65000)] * 200) + idb() + epb(FRAME),
    "an empty section": lambda: shb() + options("<", (COMMENT, b"x")),
    "times in no order": lambda: HEADER + b"".join(pcap_record(FRAME, n * 7919 % 99991) for n in range(2000)),
}  # fmt: skip
"""Part of it can be read, or all of it, and something in it is not as it says."""


def mutated(number: int) -> bytes:
    """One of the sample captures with a few octets changed, gone, or doubled."""
    draw = seeded("files", number)
    octets = bytearray(draw.choice([BEFORE, AFTER, CUT, VLAN, FIRST_SECOND]).read_bytes())
    for _ in range(draw.randint(1, 12)):
        at, how = draw.randrange(len(octets)), draw.randrange(5)
        if how == 0:
            octets[at : at + 4] = draw.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40001]).to_bytes(4, "little")
        elif how == 1:
            octets[at] = draw.randrange(256)
        elif how == 2:
            del octets[at : at + draw.randint(1, 300)]
        elif how == 3:
            octets[at:at] = octets[at : at + draw.randint(1, 300)]
        else:
            octets[at : at + 16] = draw.randbytes(16)
    return bytes(octets)
