"""Make the sample captures and their MANIFEST.toml: `python captures/make_captures.py [FOLDER]`.

The scene: guest vm1 (52:54:00:00:00:01, 192.0.2.20) on a bridge that has forgotten where 02:aa:00:00:00:50 lives,
and so floods that host's traffic to all ports. ``after.pcapng`` is the same 20 seconds behind a filter on vm1's tap
that drops unicast to other MAC addresses, 50 seconds later. The frames come from scene.py with their classes: the
counts in the manifest are what was built, not what nwscan, or anything else, made of it.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scene import AFTER_NS, BEFORE_NS, FLOOD, GUEST, SECONDS, WANTED, cooked, scene, tagged
from synthetic import Frame, pcapng

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CLASSES: Final = (
    "unicast_to_guest",
    "multicast",
    "broadcast",
    "foreign_unicast",
    "from_guest",
    "unclassified",
)
IDENTITY: Final = {
    "nwscan.identity/1": {"macs": [GUEST], "name": "vm1", "card": 0, "tap": "vnet0", "bridge": "br0"},
}
"""Whose frames these are, as nwscan notes it in the comment of a section."""


def pcap(frames: Iterable[Frame], linktype: int = 1, snaplen: int = 262_144) -> bytes:
    """Give a classic pcap file with nanoseconds (draft-ietf-opsawg-pcap, 4), little-endian."""
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, linktype)]
    for frame in frames:
        kept = frame.octets[:snaplen]
        seconds, nanoseconds = divmod(frame.ts_ns, 1_000_000_000)
        parts += [struct.pack("<IIII", seconds, nanoseconds, len(kept), len(frame.octets)), kept]
    return b"".join(parts)


def sample_pcapng(frames: Sequence[Frame], start_ns: int, end_ns: int) -> bytes:
    """Give a pcapng file as `nwscan capture vnet0 -w` writes it."""
    return pcapng(frames, start_ns, end_ns, IDENTITY, "nwscan sample, from make_captures.py")


def gzipped(octets: bytes) -> bytes:
    """Give ``octets`` compressed, without the time and name that would make each run differ."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as file:
        file.write(octets)
    return out.getvalue()


@dataclass(frozen=True)
class Sample:
    """One sample file: its octets as stored, what it shows, and the whole frames in it."""

    file: str
    what: str
    octets: bytes
    frames: Sequence[Frame]
    linktype: int = 1
    extra: str = ""
    """Further lines of the manifest, as TOML."""


def samples() -> tuple[Sample, ...]:
    """Make all samples, in the order of the manifest."""
    before = scene(BEFORE_NS, (*WANTED, FLOOD))
    after = scene(AFTER_NS, WANTED)
    length_ns = SECONDS * 1_000_000_000
    first = [frame for frame in before if frame.ts_ns < BEFORE_NS + 1_000_000_000]
    whole = pcap(first)
    kept = first[: len(first) // 2]
    cut_at = len(pcap(kept))
    sll = cooked()
    return (
        Sample(
            "before.pcapng",
            "20 s on the tap of vm1 while the bridge floods the traffic of a silent host: the guest sees it all",
            sample_pcapng(before, BEFORE_NS, BEFORE_NS + length_ns),
            before,
            extra=window(BEFORE_NS, length_ns),
        ),
        Sample(
            "after.pcapng",
            "the same 20 s of traffic behind a filter on the tap that drops unicast to other MAC addresses",
            sample_pcapng(after, AFTER_NS, AFTER_NS + length_ns),
            after,
            extra=window(AFTER_NS, length_ns),
        ),
        Sample(
            "vlan.pcap",
            "no, one, two and three VLAN tags of TPIDs 8100, 88a8 and 9100; a runt",
            pcap(tagged()),
            tagged(),
        ),
        Sample(
            "first_second.pcap.gz", "the first second of before.pcapng as classic pcap, gzip", gzipped(whole), first
        ),
        Sample(
            "cut.pcap",
            "the first second of before.pcapng, cut 11 octets into a record's header: the frames before it count",
            whole[: cut_at + 11],
            kept,
            extra=f"cut_at_octet = {cut_at}\n",
        ),
        Sample(
            "cooked.pcap",
            "a Linux cooked capture (SLL): it holds no destination MAC address, so nothing in it can be classified",
            pcap(sll, linktype=113),
            sll,
            linktype=113,
        ),
    )


def window(start_ns: int, length_ns: int) -> str:
    """Give the lines of the manifest that say which time a capture covers."""
    return f"start_ns = {start_ns}\nend_ns = {start_ns + length_ns}\n"


def manifest(made: Iterable[Sample]) -> str:
    """Give MANIFEST.toml: what each file is, and how many frames and octets of each class were built into it."""
    parts = ["# Made by make_captures.py, which built the frames and so knows their classes. Do not edit.\n"]
    for sample in made:
        parts.append(
            f'\n[[capture]]\nfile = "{sample.file}"\nwhat = "{sample.what}"\n'
            f'origin = "captures/make_captures.py"\nlicence = "Apache-2.0"\nguest = "vm1"\nmac = "{GUEST}"\n'
            f"linktype = {sample.linktype}\nframes = {len(sample.frames)}\n{sample.extra}"
        )
        if sample.linktype != 1:
            continue
        parts.append("[capture.classes]\n")
        for name in CLASSES:
            lengths = [len(frame.octets) for frame in sample.frames if frame.frame_class == name]
            parts.append(f"{name} = {{ frames = {len(lengths)}, octets = {sum(lengths)} }}\n")
    return "".join(parts)


def main(folder: Path) -> None:
    """Write all samples and the manifest into ``folder``."""
    made = samples()
    for sample in made:
        (folder / sample.file).write_bytes(sample.octets)
        print(f"{sample.file}: {len(sample.frames)} frames, {len(sample.octets)} octets")
    (folder / "MANIFEST.toml").write_text(manifest(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
