"""Captures made to measure: any guest, any time, so many frames a second of each class; the same octets every time.

For notebooks and examples that need more than the samples hold. Frames are the least that Ethernet sends, with
addresses from the local range and the experimental ethertype of IEEE 802. The standard library alone.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

NS_PER_S: Final = 1_000_000_000
RECEPTION: Final = {"unicast_to_guest": 1, "multicast": 2, "broadcast": 3, "foreign_unicast": 4}
"""epb_flags bits 2-4 (draft-ietf-opsawg-pcapng, 4.3): promiscuous reception is exactly foreign unicast."""

SNAPLEN: Final = 128
_NEIGHBOUR: Final = bytes.fromhex("02aa00000051")
_DESTINATIONS: Final = {
    "multicast": bytes.fromhex("01005e0000fb"),
    "broadcast": b"\xff" * 6,
    "foreign_unicast": bytes.fromhex("02aa00000050"),
    "from_guest": _NEIGHBOUR,
}
_PAYLOAD: Final = b"\x88\xb5" + bytes(46)
"""Local experimental ethertype 1 (IEEE 802-2014, 9.2.4), and what fills a frame up to 60 octets."""


@dataclass(frozen=True)
class Frame:
    """One frame as it crossed the tap, with the class it was built for."""

    ts_ns: int
    octets: bytes
    frame_class: str


def window(mac: str, start_ns: int, rates: Mapping[str, Sequence[int]]) -> list[Frame]:
    """Give the frames of a window: for each class how many in each second, spread evenly in it."""
    guest = bytes.fromhex(mac.replace(":", ""))
    frames = []
    for frame_class, each_second in rates.items():
        source = guest if frame_class == "from_guest" else _NEIGHBOUR
        octets = _DESTINATIONS.get(frame_class, guest) + source + _PAYLOAD
        for second, count in enumerate(each_second):
            begin_ns = start_ns + second * NS_PER_S
            frames += [Frame(begin_ns + n * NS_PER_S // count, octets, frame_class) for n in range(count)]
    return sorted(frames, key=lambda frame: (frame.ts_ns, frame.frame_class))


def write_capture(
    path: Path, name: str, mac: str, start_ns: int, rates: Mapping[str, Sequence[int]], tap: str = "vnet0"
) -> None:
    """Write a window of the guest ``name`` as ``nwscan capture -w`` writes it."""
    seconds = max(map(len, rates.values()))
    identity = {"nwscan.identity/1": {"macs": [mac], "name": name, "card": 0, "tap": tap, "bridge": "br0"}}
    frames = window(mac, start_ns, rates)
    path.write_bytes(pcapng(frames, start_ns, start_ns + seconds * NS_PER_S, identity, "nwscan, made to measure"))


def option(code: int, value: bytes) -> bytes:
    """Give one pcapng option, padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes) -> bytes:
    """Give one pcapng block around ``body``, which is a multiple of 32 bits long."""
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def pcapng(
    frames: Iterable[Frame], start_ns: int, end_ns: int, identity: Mapping[str, Mapping[str, object]], writer: str
) -> bytes:
    """Give a pcapng file as nwscan writes it: identity, direction, reception type, no drops."""
    ((_, card),) = identity.items()
    end = struct.pack("<HH", 0, 0)
    comment = json.dumps({**identity, "direction": "tap"}).encode()
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + option(1, comment) + option(4, writer.encode()) + end
    mac = bytes.fromhex(str(_first(card["macs"])).replace(":", ""))
    interface = option(2, str(card["tap"]).encode()) + option(6, mac) + option(9, b"\x09") + end
    parts = [block(0x0A0D0D0A, section), block(1, struct.pack("<HHI", 1, 0, SNAPLEN) + interface)]
    for frame in frames:
        kept = frame.octets[:SNAPLEN]
        direction = 1 if frame.frame_class == "from_guest" else 2
        flags = direction | RECEPTION.get(frame.frame_class, 0) << 2
        header = struct.pack("<IIIII", 0, frame.ts_ns >> 32, frame.ts_ns & 0xFFFFFFFF, len(kept), len(frame.octets))
        body = header + kept + bytes(-len(kept) % 4) + option(2, struct.pack("<I", flags)) + end
        parts.append(block(6, body))
    first, last = (struct.pack("<II", ts_ns >> 32, ts_ns & 0xFFFFFFFF) for ts_ns in (start_ns, end_ns))
    parts.append(block(5, struct.pack("<I", 0) + last + option(2, first) + option(3, last) + option(5, bytes(8)) + end))
    return b"".join(parts)


def _first(macs: object) -> object:
    return macs[0] if isinstance(macs, list) else macs
