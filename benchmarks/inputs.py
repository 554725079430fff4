"""Makes the captures that benchmarks/files.py measures: `python benchmarks/inputs.py [--scale S] [NAME...]`.

Every input comes from a seed, so that anyone has the same octets; it lies in a cache folder (`.lab/bench`, or
NWSCAN_BENCH) and is made once for each scale. NumPy lays a block of frames out once and writes it again and again with
new times. The guest is 52:54:00:00:00:01.

The mix: half of the frames foreign unicast (1,000 pairs of MACs), a quarter to the guest, the rest from it, multicast
and broadcast; UDP and TCP over IPv4 and IPv6, ARP; one frame in twenty has a VLAN tag.
"""

from __future__ import annotations

import argparse
import os
import struct
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

U8 = npt.NDArray[np.uint8]

GUEST: Final = "52:54:00:00:00:01"
SEED: Final = 7
START_S: Final = 1_750_000_000
_AT_ONCE: Final = 100_000
_GAP_US: Final = 3
"""Microseconds from one frame to the next: 333,333 frames a second."""
_PCAP_HEADER: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_PCAPNG_HEADER: Final = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    "<IIHHII", 1, 20, 1, 0, 0, 20
)
_TCP, _UDP = 6, 17
_LEAST_IPV6: Final = 78  # with a TCP header, tagged
_TCP_REST: Final = struct.pack("!IIBBHHH", 1, 1, 0x50, 0x10, 512, 0, 0)
_GUEST_MAC: Final = bytes.fromhex(GUEST.replace(":", ""))
_BROADCAST: Final = b"\xff" * 6
_SHARES: Final = (("foreign", 0.50), ("to_guest", 0.25), ("from_guest", 0.15), ("multicast", 0.06), ("broadcast", 0.04))


@dataclass(frozen=True)
class Input:
    """One capture: ``frames`` at scale 1, what is kept of each, how it is laid out and packed."""

    name: str
    frames: int
    snaplen: int = 96
    is_pcapng: bool = False
    packing: str = ""
    is_flood: bool = False
    """Every frame with another random source and destination."""
    is_full: bool = False
    """Every frame of 1514 octets."""


_SMALL: Final = Input("small", 20_000_000)
_FULL: Final = Input("full", 2**31 // 1530, snaplen=1514, is_full=True)
INPUTS: Final = {
    each.name: each
    for each in (
        _SMALL,
        replace(_SMALL, name="small-ng", is_pcapng=True),
        replace(_SMALL, name="small-gz", packing="gz"),
        replace(_SMALL, name="small-zst", packing="zst"),
        _FULL,
        replace(_FULL, name="full-ng", is_pcapng=True),
        replace(_FULL, name="full-gz", packing="gz"),
        Input("random-macs", 1_000_000, is_flood=True),
        Input("thousand", 1000),
        Input("empty", 0),
    )
}


def count_of(name: str, scale: float, frames: int | None) -> int:
    """Give how many frames an input has."""
    wanted = INPUTS[name].frames
    if name in {"thousand", "empty"}:
        return wanted
    return round(wanted * scale) if frames is None else frames


def place_of(name: str, scale: float, frames: int | None) -> Path:
    """Give where an input lies, or will."""
    wanted = INPUTS[name]
    folder = Path(os.environ.get("NWSCAN_BENCH") or Path(__file__).parents[1] / ".lab" / "bench")
    ending = ("pcapng" if wanted.is_pcapng else "pcap") + (f".{wanted.packing}" if wanted.packing else "")
    return folder / f"{name}-{count_of(name, scale, frames)}.{ending}"


def path_of(name: str, scale: float = 1.0, frames: int | None = None) -> Path:
    """Give the path of an input, made where it is not there yet; ``frames`` overrides how many there are."""
    path = place_of(name, scale, frames)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".part{os.getpid()}")
        _make(made, name, count_of(name, scale, frames))
        made.rename(path)
    return path


@contextmanager
def fresh(name: str, scale: float = 1.0, frames: int | None = None) -> Iterator[Path]:
    """Give the path of an input that has just been made for the caller alone, and remove it in the end.

    The kernel keeps a file in pieces whose size depends on how it came there and on what else there was; mapping is
    cheaper the larger they are. So each run finds them alike, and memory has room for the next input.
    """
    place = place_of(name, scale, frames)
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place.parent) as folder:
        path = Path(folder) / place.name
        _make(path, name, count_of(name, scale, frames))
        yield path


def _make(path: Path, name: str, count: int) -> None:
    wanted = INPUTS[name]
    with path.open("wb") as file:
        for part in packed(parts(replace(wanted, frames=count)), wanted.packing):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())  # nothing is left to be written while somebody is measured


def packed(octets: Iterator[bytes], packing: str) -> Iterator[bytes]:
    """Yield the octets compressed: with gzip at level 1, with zstd at level 3, or as they are."""
    if not packing:
        yield from octets
        return
    packer = zlib.compressobj(1, wbits=31) if packing == "gz" else zstandard.ZstdCompressor(level=3).compressobj()
    for part in octets:
        yield packer.compress(part)
    yield packer.flush()


def parts(wanted: Input) -> Iterator[bytes]:
    """Yield the octets of a capture."""
    yield _PCAPNG_HEADER if wanted.is_pcapng else _PCAP_HEADER
    generator = np.random.default_rng(SEED)
    at_once = _AT_ONCE // 10 if wanted.is_full else _AT_ONCE
    block, starts = _lay(wanted, _frames(wanted, at_once, generator))
    words = block.view("<u4")
    at = starts[:-1] // 4
    for first in range(0, wanted.frames, at_once):
        stamps = np.arange(first, first + at_once, dtype=np.uint64) * np.uint64(_GAP_US)
        if wanted.is_pcapng:
            ticks = stamps + np.uint64(START_S * 1_000_000)
            words[at + 3], words[at + 4] = ticks >> np.uint64(32), ticks & np.uint64(0xFFFFFFFF)
        else:
            words[at], words[at + 1] = START_S + stamps // np.uint64(1_000_000), stamps % np.uint64(1_000_000)
        if wanted.is_flood:
            macs = generator.integers(0, 256, (at_once, 12), np.uint8)
            macs[:, [0, 6]] &= 0xFC
            block[starts[:-1, None] + (28 if wanted.is_pcapng else 16) + np.arange(12)] = macs
        yield block[: starts[min(at_once, wanted.frames - first)]].tobytes()


def _lay(wanted: Input, frames: list[bytes]) -> tuple[U8, npt.NDArray[np.int64]]:
    """Give records of the frames with times of 0, and where each begins and the last one ends."""
    records = []
    for frame in frames:
        kept = frame[: wanted.snaplen]
        lengths = struct.pack("<II", len(kept), len(frame))
        if wanted.is_pcapng:
            length = struct.pack("<I", 32 + (len(kept) + 3) // 4 * 4)
            records.append(struct.pack("<I", 6) + length + bytes(12) + lengths + kept + bytes(-len(kept) % 4) + length)
        else:
            records.append(bytes(8) + lengths + kept)
    starts = np.concatenate([[0], np.cumsum([len(record) for record in records])]).astype(np.int64)
    return np.frombuffer(bytearray(b"".join(records)), np.uint8), starts


def _frames(wanted: Input, count: int, generator: np.random.Generator) -> list[bytes]:
    """Give ``count`` frames; what is kept of each is a multiple of four octets long."""
    kinds = generator.choice(len(_SHARES), count, p=[share for _, share in _SHARES])
    lengths = generator.choice([60, 128, 576, 1512], count, p=[0.3, 0.2, 0.1, 0.4])
    dice = generator.integers(0, 1 << 30, (count, 4))
    noise = generator.integers(0, 256, 1 << 16, np.uint8).tobytes()
    frames = []
    for kind, length, rolled in zip(kinds.tolist(), lengths.tolist(), dice.tolist(), strict=True):
        octets = 1512 if wanted.is_full else length
        head = _headers(_SHARES[kind][0], octets, rolled)
        start = rolled[3] % (len(noise) - 1600)
        frames.append((head + noise[start : start + octets])[:octets])
    return frames


def _headers(kind: str, octets: int, dice: list[int]) -> bytes:
    neighbour, other = b"\x02\xaa\0\0\0" + bytes([dice[0] % 20]), b"\x02\xbb\0\0\0" + bytes([dice[1] % 50])
    if kind == "broadcast" and dice[2] % 2:
        request = struct.pack("!HHBBH6sI6sI", 1, 0x0800, 6, 4, 1, neighbour, 0x0A000100 | dice[0] % 20, bytes(6),
                              0x0A000000 | dice[1] % 200)  # fmt: skip
        return _BROADCAST + neighbour + b"\x08\x06" + request
    macs = {
        "foreign": other + neighbour,
        "to_guest": _GUEST_MAC + neighbour,
        "from_guest": neighbour + _GUEST_MAC,
        "multicast": b"\x01\x00\x5e\x00\x01" + bytes([dice[1] % 9]) + neighbour,
        "broadcast": _BROADCAST + neighbour,
    }[kind]
    tag = struct.pack("!HH", 0x8100, 1 + dice[2] % 4) if dice[2] % 20 == 0 else b""
    protocol = _TCP if dice[2] % 3 else _UDP
    if dice[2] % 10 == 1 and kind != "broadcast" and octets >= _LEAST_IPV6:
        ipv6 = struct.pack("!IHBB", 6 << 28, octets - 54, protocol, 64) + b"\xfd" + bytes(14) + bytes([dice[0] % 20])
        return macs + tag + b"\x86\xdd" + ipv6 + b"\xfd" + bytes(14) + bytes([dice[1] % 50]) + _ports(protocol, dice)
    source, destination = 0x0A000100 | dice[0] % 20, 0x0A000200 | dice[1] % 50
    ipv4 = struct.pack("!BBHHHBBHII", 0x45, 0, octets - 14 - len(tag), 0, 0, 64, protocol, 0, source, destination)
    return macs + tag + b"\x08\x00" + ipv4 + _ports(protocol, dice)


def _ports(protocol: int, dice: list[int]) -> bytes:
    ports = struct.pack("!HH", 1024 + dice[0] % 1000, 443 if dice[1] % 2 else 8080)
    return ports + (_TCP_REST if protocol == _TCP else struct.pack("!HH", 8, 0))


def main() -> int:
    """Make the inputs that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *INPUTS], default=[], help="which ones [all]")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the frames [1]")
    chosen = parser.parse_args()
    for name in chosen.names or INPUTS:
        path = path_of(name, chosen.scale)
        print(f"{path}  {path.stat().st_size:,} octets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
