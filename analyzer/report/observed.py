"""What the guest's own traffic tells of it: groups, addresses, VLANs. Values that merge, in bounded memory.

What lives here: the values and their laws. What must not: reading frames (observing.py), or trusting any of it: a guest
chooses what it sends. Of what is bounded by a number, the smallest keys are kept, so that merging is exact.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from analyzer.classify.subclasses import is_ipv4_group, is_ipv6_group
from analyzer.report.talkers import Hitters

if TYPE_CHECKING:
    from collections.abc import Iterable

MEMBERSHIPS_KEPT: Final = 1024
ADDRESSES_KEPT: Final = 64


class Membership(NamedTuple):
    """A group (its MAC) and when the guest last said that it is a member and that it is not, in ns; None: never."""

    group: int
    joined_ns: int | None = None
    left_ns: int | None = None

    @property
    def is_joined(self) -> bool:
        """Whether the last word is that it is a member; there is no timeout."""
        return self.joined_ns is not None and (self.left_ns is None or self.joined_ns >= self.left_ns)


class Answers(NamedTuple):
    """Whether the groups of one IP version are all told: the first general query seen, the last answer to any, in ns.

    ``is_cut``: a report could not be read to its end.
    """

    query_ns: int | None = None
    answer_ns: int | None = None
    is_cut: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether a general query was answered, and every report could be read."""
        is_answered = self.query_ns is not None and self.answer_ns is not None and self.answer_ns >= self.query_ns
        return is_answered and not self.is_cut

    def merge(self, other: Answers) -> Answers:
        """Give what both know."""
        queries = [time for time in (self.query_ns, other.query_ns) if time is not None]
        return Answers(
            min(queries, default=None), _latest(self.answer_ns, other.answer_ns), self.is_cut or other.is_cut
        )


class SeenAddress(NamedTuple):
    """An IP address (an integer) that the guest names as its own in ARP, ND or DHCP, or that DHCP gives to it."""

    version: int
    value: int
    frames: int
    first_ns: int
    last_ns: int

    @property
    def text(self) -> str:
        """The address as people write it."""
        return str(IPv4Address(self.value) if self.version == 4 else IPv6Address(self.value))  # noqa: PLR2004 - of IP


_NO_HITTERS: Final = Hitters()
_NO_ANSWERS: Final = Answers()


class Observed(msgspec.Struct, frozen=True):
    """What traffic told of the guest. ``vlans`` are the VLAN IDs (outermost tag, frames, octets) that it sends in.

    ``asked`` are the IPv4 addresses (as integers) that broadcast ARP requests ask for, whoever has them.
    ``more_groups`` and ``more_addresses`` say that there were more than are kept.
    """

    memberships: tuple[Membership, ...] = ()
    ipv4: Answers = _NO_ANSWERS
    ipv6: Answers = _NO_ANSWERS
    vlans: tuple[tuple[int, int, int], ...] = ()
    addresses: tuple[SeenAddress, ...] = ()
    asked: Hitters = _NO_HITTERS
    more_groups: bool = False
    more_addresses: bool = False

    @property
    def joined(self) -> tuple[int, ...]:
        """The groups (MACs) whose last word is that the guest is a member."""
        return tuple(one.group for one in self.memberships if one.is_joined)

    @property
    def left(self) -> tuple[int, ...]:
        """The groups (MACs) that the guest left."""
        return tuple(one.group for one in self.memberships if not one.is_joined)

    @property
    def vlans_used(self) -> tuple[int, ...]:
        """The VLANs that the guest sends in: without 0 and 4095, which are none (IEEE 802.1Q-2018, table 9-2)."""
        return tuple(vlan for vlan, _, _ in self.vlans if vlan not in {0, 4095})

    @property
    def tells_igmp(self) -> bool:
        """Whether any membership of IPv4 was told."""
        return any(is_ipv4_group(one.group) for one in self.memberships)

    @property
    def tells_mld(self) -> bool:
        """Whether any membership of IPv6 was told."""
        return any(is_ipv6_group(one.group) for one in self.memberships)

    def merge(self, other: Observed) -> Observed:
        """Give what both tell; associative and commutative, ``Observed()`` is neutral."""
        memberships, more_groups = merge_memberships((*self.memberships, *other.memberships))
        addresses, more_addresses = merge_addresses((*self.addresses, *other.addresses))
        return Observed(
            memberships=memberships,
            ipv4=self.ipv4.merge(other.ipv4),
            ipv6=self.ipv6.merge(other.ipv6),
            vlans=_merge_vlans((*self.vlans, *other.vlans)),
            addresses=addresses,
            asked=self.asked.merge(other.asked),
            more_groups=self.more_groups or other.more_groups or more_groups,
            more_addresses=self.more_addresses or other.more_addresses or more_addresses,
        )


def merge_memberships(rows: Iterable[Membership]) -> tuple[tuple[Membership, ...], bool]:
    """Give each group once, the smallest ``MEMBERSHIPS_KEPT`` of them, and whether there were more."""
    found: dict[int, Membership] = {}
    for row in rows:
        known = found.get(row.group, row)
        times = _latest(known.joined_ns, row.joined_ns), _latest(known.left_ns, row.left_ns)
        found[row.group] = Membership(row.group, *times)
    ordered = tuple(sorted(found.values(), key=lambda one: one.group))
    return ordered[:MEMBERSHIPS_KEPT], len(ordered) > MEMBERSHIPS_KEPT


def merge_addresses(rows: Iterable[SeenAddress]) -> tuple[tuple[SeenAddress, ...], bool]:
    """Give each address once, the smallest ``ADDRESSES_KEPT`` of them, and whether there were more."""
    found: dict[tuple[int, int], SeenAddress] = {}
    for row in rows:
        key = row.version, row.value
        if (known := found.get(key)) is not None:
            times = min(known.first_ns, row.first_ns), max(known.last_ns, row.last_ns)
            found[key] = SeenAddress(*key, known.frames + row.frames, *times)
        else:
            found[key] = row
    ordered = tuple(sorted(found.values()))
    return ordered[:ADDRESSES_KEPT], len(ordered) > ADDRESSES_KEPT


def _latest(one: int | None, other: int | None) -> int | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _merge_vlans(rows: Iterable[tuple[int, int, int]]) -> tuple[tuple[int, int, int], ...]:
    frames: Counter[int] = Counter()
    octets: Counter[int] = Counter()
    for vlan, some_frames, some_octets in rows:
        frames[vlan] += some_frames
        octets[vlan] += some_octets
    return tuple((vlan, frames[vlan], octets[vlan]) for vlan in sorted(frames))
