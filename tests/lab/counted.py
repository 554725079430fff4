"""What nwscan and tshark counted, in the terms of a schedule."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

from tests.lab.frames import Kind, marker
from tests.lab.lab import Lab
from tests.lab.schedule import Schedule, Truth

KEYS = {
    Kind.FOREIGN: "foreign_unicast",
    Kind.OWN: "unicast_to_guest",
    Kind.MULTICAST: "multicast",
    Kind.BROADCAST: "broadcast",
}
RECEPTION = {Kind.OWN: 1, Kind.MULTICAST: 2, Kind.BROADCAST: 3, Kind.FOREIGN: 4}
"""The reception type in epb_flags of pcapng."""
TO_GUEST, FROM_GUEST = 2, 1
"""The direction in epb_flags, as seen from the tap: outbound, inbound."""


def whole_schedule() -> Schedule:
    """The schedule of the main job."""
    return Schedule(foreign=5000, own=2000, multicast=500, broadcast=300)


def frames_of(report: dict[str, Any]) -> dict[str, int]:
    """Frames by class, from a report's document."""
    return {key: count["frames"] for key, count in report["classes"].items()}


def sent(truth: Truth, **others: int) -> dict[str, int]:
    """Frames by class as they were sent, for a guest that sees all of it; `others` are classes that differ."""
    counted = {key: truth.frames[kind] for kind, key in KEYS.items()}
    return {**counted, "from_guest": 0, "unclassified": 0, **others}


def vlans_of(schedule: Schedule) -> Counter[int]:
    """Frames by the VLAN of their outermost tag."""
    tags = (struct.unpack_from("!HH", frame, 12) for _, frame in schedule.frames())
    return Counter(vlan for tpid, vlan in tags if tpid in {0x8100, 0x88A8})


def tshark_frames(lab: Lab, file: Path, *filters: str) -> list[int]:
    """How many frames of the file pass each display filter."""
    statistics = ",".join(["io,stat,0", *filters])
    said = lab.run(["tshark", "-q", "-r", file, "-z", statistics], check=True).stdout
    (row,) = (line for line in said.splitlines() if "<>" in line)
    return [int(cell) for cell in row.split("|")[2::2] if cell.strip()]


def marked(truth: Truth, kind: Kind) -> str:
    """Display filter: the frames of a run that are of this kind, by their marker."""
    return "frame contains " + marker(truth.run, kind, 0)[:-4].hex(":")
