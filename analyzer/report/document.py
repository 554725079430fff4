"""The shape of ``nwscan.report/1``: structures that validate what is read and order what is written.

The keys are public (docs/report-schema.md, schemas/report-1.json): adding one keeps ``/1``, changing one makes ``/2``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from analyzer.model.classes import DirectionSource
from analyzer.model.identity import Provenance

SCHEMA: Final = "nwscan.report/1"

Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Time = Annotated[str, msgspec.Meta(pattern=r"^-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")]
"""UTC, RFC 3339 with nine digits of the second."""

ClassKey = Literal["unicast_to_guest", "multicast", "broadcast", "foreign_unicast", "from_guest", "unclassified"]


class Part(msgspec.Struct, frozen=True):
    """A part of the document; unknown keys of later versions are passed over."""


class Tool(Part, frozen=True):
    """What wrote the document."""

    name: str
    version: str


class AddressPart(Part, frozen=True):
    """An address, where it was learnt, and whether that source can be trusted."""

    value: str
    source: Provenance
    trusted: bool


class GuestPart(Part, frozen=True):
    """Whose card it is. Unknown is null."""

    name: str | None
    uuid: str | None
    tap: str | None
    bridge: str | None
    macs: list[Mac]
    addresses: list[AddressPart]
    macs_seen: list[AddressPart]
    identity_source: Provenance
    card: int | None = None
    groups: list[Mac] = []
    vlans: list[int] = []


class WindowPart(Part, frozen=True):
    """One stretch of capturing. ``frames_lost`` null: it cannot be known; ``snaplen`` 0: no limit."""

    source: str
    start: Time | None
    end: Time | None
    frames_seen: Natural
    frames_lost: Natural | None
    snaplen: Natural
    stopped_early: str | None = None


class Count(Part, frozen=True):
    """Frames, and their octets with VLAN tags and without FCS."""

    frames: Natural
    octets: Natural


class Share(Part, frozen=True):
    """A share of the frames and of the octets; null where there are none."""

    frames: float | None
    octets: float | None


class Unrelated(Part, frozen=True):
    """What of the traffic the guest sees is demonstrably for others."""

    frames: Natural
    octets: Natural
    share: float | None


class Talker(Part, frozen=True):
    """Who floods whom: frames are at most ``error`` too low; ``example`` is the time of one, to find it in the frames."""

    src: Mac
    dst: Mac
    frames: Natural
    octets: Natural
    error: Natural
    example: Time
    last_seen: Time


class Group(Part, frozen=True):
    """A destination of multicast; ``joined`` null where the guest's memberships are not known."""

    dst: Mac
    joined: bool | None
    frames: Natural
    octets: Natural
    first_seen: Time
    last_seen: Time


class Sender(Part, frozen=True):
    """A source MAC of what the guest sent."""

    src: Mac
    frames: Natural
    octets: Natural
    first_seen: Time
    last_seen: Time


class EthertypePart(Part, frozen=True):
    """A type of what the guest sees; 0 is LLC without one."""

    ethertype: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    frames: Natural
    octets: Natural


class VlanPart(Part, frozen=True):
    """A VLAN ID (outermost tag) of what the guest sees."""

    vlan: Annotated[int, msgspec.Meta(ge=0, le=4095)]
    frames: Natural
    octets: Natural


class Rate(Part, frozen=True):
    """Means over the windows, and percentiles over the bins of the timeline, in frames a second."""

    mean_fps: float | None
    mean_bps: float | None
    p50_fps: float | None
    p95_fps: float | None
    max_fps: float | None


class TimelineRow(Part, frozen=True, rename={"kind": "class"}):
    """One class in one time bin that begins at ``t``."""

    t: Time
    kind: ClassKey
    frames: Natural
    octets: Natural


class FramesPart(Part, frozen=True):
    """The kept frames: file, SHA-256, share of the window's frames."""

    path: str
    sha256: str
    covers: float


class Errors(Part, frozen=True):
    """By how many frames the counts of the bounded tables may be too low; 0 is exact."""

    foreign_talkers: Natural
    groups: Natural
    senders: Natural


class ReportDocument(Part, frozen=True):
    """The document as a whole, in the order in which it is written."""

    schema: Literal["nwscan.report/1"]
    tool: Tool
    guest: GuestPart
    direction_source: DirectionSource
    windows: list[WindowPart]
    classes: dict[ClassKey, Count]
    seen_by_guest: Count
    foreign_share: Share
    unrelated: Unrelated
    subclasses: list[dict[str, object]]
    segments: Natural
    foreign_talkers: list[Talker]
    groups: list[Group]
    senders: list[Sender]
    errors: Errors
    ethertypes: list[EthertypePart]
    vlans: list[VlanPart]
    rates: dict[ClassKey, Rate]
    timeline_bin_s: Annotated[int, msgspec.Meta(ge=1, le=2**34)]
    timeline: list[TimelineRow]
    causes: list[dict[str, object]]
    samples: list[dict[str, object]]
    tcpdump: str
    frames_file: FramesPart | None
    notes: list[str]
