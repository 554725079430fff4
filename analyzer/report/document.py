"""The shape of ``nwscan.report/1``: structures that validate what is read and order what is written.

The keys are public (the JSON Schema generated from here is published as nwscan/schemas/report-1.json): adding one keeps
``/1``, changing one makes ``/2``. A key that came later has a default here, so that older documents stay readable.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from analyzer.model.classes import DirectionSource
from analyzer.model.identity import Provenance
from analyzer.report.times import TIME_PATTERN

SCHEMA: Final = "nwscan.report/1"

COUNT_LIMIT: Final = 2**56
"""72 petaoctets; sums of a hundred such reports still fit int64."""

Natural = Annotated[int, msgspec.Meta(ge=0, le=COUNT_LIMIT)]
Rational = Annotated[float, msgspec.Meta(ge=0)]
Mac = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Time = Annotated[str, msgspec.Meta(pattern=TIME_PATTERN, description="UTC, RFC 3339, nine digits of the second.")]
VlanId = Annotated[int, msgspec.Meta(ge=0, le=4095)]

ClassKey = Literal["unicast_to_guest", "multicast", "broadcast", "foreign_unicast", "from_guest", "unclassified"]


class Part(msgspec.Struct, frozen=True):
    """A part of the document; unknown keys of later versions are passed over."""


class Tool(Part, frozen=True):
    """What wrote the document."""

    name: str
    version: str | None


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
    macs: Annotated[list[Mac], msgspec.Meta(min_length=1)]
    addresses: list[AddressPart]
    macs_seen: list[AddressPart]
    identity_source: Provenance
    card: int | None = None
    groups: list[Mac] = []
    vlans: list[VlanId] = []


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


class Classes(Part, frozen=True):
    """The six classes; they add up to the frames seen in all windows."""

    unicast_to_guest: Count
    multicast: Count
    broadcast: Count
    foreign_unicast: Count
    from_guest: Count
    unclassified: Count


class Share(Part, frozen=True):
    """A share of the frames and of the octets; null where there are none."""

    frames: Rational | None
    octets: Rational | None


class Unrelated(Part, frozen=True):
    """What of the traffic the guest sees is demonstrably for others."""

    frames: Natural
    octets: Natural
    share: Rational | None


class SubclassPart(Part, frozen=True, rename={"kind": "class"}):
    """Frames of one class that have more in common; ``unrelated``: demonstrably for others.

    Those of a class that has any add up to it. docs/frame-classes.md defines each.
    """

    kind: ClassKey
    name: str
    unrelated: bool
    frames: Natural
    octets: Natural


class Talker(Part, frozen=True):
    """Who floods whom. There were at most ``error`` frames more; ``example`` is the time of the first, to find it."""

    src: Mac
    dst: Mac
    frames: Natural
    octets: Natural
    error: Natural
    example: Time
    last_seen: Time


class Group(Part, frozen=True):
    """A destination of multicast; ``joined`` null where no memberships of the guest are known."""

    dst: Mac
    joined: bool | None
    frames: Natural
    octets: Natural
    error: Natural
    first_seen: Time
    last_seen: Time


class Sender(Part, frozen=True):
    """A source MAC of what the guest sent: its own, one known otherwise, a group address (nobody's), or a new one.

    The new ones stand in ``macs_seen``, too.
    """

    src: Mac
    role: Literal["own", "known", "new", "group"]
    frames: Natural
    octets: Natural
    error: Natural
    first_seen: Time
    last_seen: Time


class EthertypePart(Part, frozen=True):
    """A type of what the guest sees; 0 is LLC without one."""

    ethertype: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    frames: Natural
    octets: Natural


class VlanPart(Part, frozen=True):
    """A VLAN ID (outermost tag) of what the guest sees."""

    vlan: VlanId
    frames: Natural
    octets: Natural


class RatePart(Part, frozen=True):
    """Means over the windows and percentiles over the whole time bins, in frames and bits a second."""

    mean_fps: Rational | None
    mean_bps: Rational | None
    p50_fps: Rational | None
    p95_fps: Rational | None
    p99_fps: Rational | None
    max_fps: Rational | None
    p50_bps: Rational | None
    p95_bps: Rational | None
    p99_bps: Rational | None
    max_bps: Rational | None


class Rates(Part, frozen=True):
    """The rates of each class."""

    unicast_to_guest: RatePart
    multicast: RatePart
    broadcast: RatePart
    foreign_unicast: RatePart
    from_guest: RatePart
    unclassified: RatePart


class TimelineRow(Part, frozen=True, rename={"kind": "class"}):
    """One class in one time bin that begins at ``t``."""

    t: Time
    kind: ClassKey
    frames: Natural
    octets: Natural


class CausePart(Part, frozen=True):
    """Why foreign unicast reaches the tap, how many frames that explains, and what would help at what risk."""

    name: str
    sentence: str
    evidence: list[str]
    remedy: str | None
    risk: str | None
    frames: Natural
    octets: Natural


class SamplePart(Part, frozen=True, rename={"kind": "class"}):
    """One frame, described."""

    t: Time
    kind: ClassKey
    src: Mac
    dst: Mac
    octets: Natural
    text: str


class MembershipPart(Part, frozen=True):
    """A group (its MAC), when the guest last said that it is a member, and that it is not; null: never.

    ``is_new``: only this traffic tells that the guest is a member, as ``groups`` of the guest says.
    """

    group: Mac
    joined: Time | None
    left: Time | None
    is_new: bool


class AnswersPart(Part, frozen=True):
    """The first general membership query of an IP version seen, and the guest's last answer; null: none.

    ``is_cut``: a report could not be read to its end. All groups are told where a query was answered, and none is cut.
    """

    query: Time | None = None
    answer: Time | None = None
    is_cut: bool = False


class VlanUsed(Part, frozen=True):
    """A VLAN ID (outermost tag) that the guest sends in; ``is_new``: only this traffic tells it."""

    vlan: VlanId
    frames: Natural
    octets: Natural
    is_new: bool


class AddressSeen(Part, frozen=True):
    """An IP address that the guest names as its own in ARP, neighbour discovery or DHCP, or that DHCP gives to it.

    ``is_new``: only this traffic tells it.
    """

    value: str
    frames: Natural
    first_seen: Time
    last_seen: Time
    is_new: bool


class Asked(Part, frozen=True):
    """An IPv4 address that broadcast ARP requests ask for, whoever has it."""

    address: str
    frames: Natural
    octets: Natural
    error: Natural
    first_seen: Time
    last_seen: Time


class ObservedPart(Part, frozen=True):
    """What the traffic tells of the guest: never trusted, since a guest chooses what it sends.

    ``more_groups`` and ``more_addresses``: there were more than are kept.
    """

    memberships: list[MembershipPart] = []
    igmp: AnswersPart = msgspec.field(default_factory=AnswersPart)
    mld: AnswersPart = msgspec.field(default_factory=AnswersPart)
    vlans: list[VlanUsed] = []
    addresses: list[AddressSeen] = []
    asked: list[Asked] = []
    more_groups: bool = False
    more_addresses: bool = False


class FramesPart(Part, frozen=True):
    """The kept frames: file, SHA-256, share of the window's frames."""

    path: str
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    covers: Rational


class Errors(Part, frozen=True):
    """How many frames an address may have had that is not in the table; 0: the table is complete and exact."""

    foreign_talkers: Natural
    groups: Natural
    senders: Natural
    asked: Natural = 0


class ReportDocument(Part, frozen=True):
    """What one network card of a guest saw, as nwscan measured it.

    ``octets`` are original lengths with VLAN tags and without FCS. ``seen_by_guest`` is the sum of the four classes to
    the guest; shares are of it. ``unrelated`` is what of it is demonstrably for others. ``segments`` are the frames on
    a wire that the frames stand for. ``ethertypes`` and ``vlans`` are of what the guest sees. ``tcpdump`` is the
    expression that shows the foreign unicast; where ``tcpdump_direction`` is "out", on the tap itself with -Q out.
    """

    schema: Literal["nwscan.report/1"]
    tool: Tool
    guest: GuestPart
    direction_source: DirectionSource
    windows: list[WindowPart]
    classes: Classes
    seen_by_guest: Count
    foreign_share: Share
    unrelated: Unrelated
    subclasses: list[SubclassPart]
    segments: Natural
    foreign_talkers: list[Talker]
    groups: list[Group]
    senders: list[Sender]
    errors: Errors
    ethertypes: list[EthertypePart]
    vlans: list[VlanPart]
    rates: Rates
    timeline_bin_s: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    timeline: list[TimelineRow]
    causes: list[CausePart]
    samples: list[SamplePart]
    tcpdump: str
    tcpdump_direction: Literal["out"] | None
    frames_file: FramesPart | None
    notes: list[str]
    observed: ObservedPart = msgspec.field(default_factory=ObservedPart)
