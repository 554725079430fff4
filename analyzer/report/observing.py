"""Look at frames as deep as it takes to tell their subclass and what the guest uses: once per batch, few of its frames.

What lives here: the counting. What must not: what the counts mean (split.py). Part of the report's builder.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.classify.lease_walk import ADDRESSES_PER_FRAME, walk_leases
from analyzer.classify.looks import looks_of
from analyzer.classify.membership_walk import EVENTS_PER_FRAME, Event, walk_memberships
from analyzer.classify.network import decode_network
from analyzer.model.classes import FrameClass, Look
from analyzer.model.columns import column
from analyzer.model.identity import trusted_numbers
from analyzer.model.network import NetworkFlag, Service
from analyzer.report.aside import FramesAside
from analyzer.report.findings import Subclass
from analyzer.report.first_look import FirstLook
from analyzer.report.hitter_table import HitterTable
from analyzer.report.observed import (
    ADDRESSES_KEPT,
    MEMBERSHIPS_KEPT,
    Answers,
    Membership,
    Observed,
    SeenAddress,
    merge_addresses,
    merge_memberships,
)
from analyzer.report.sampling import SampleKeeper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from analyzer.model.frames import I64, U8, U64, FrameBatch
    from analyzer.model.identity import GuestIdentity
    from analyzer.model.network import NetworkBatch
    from analyzer.report.findings import Sample
    from analyzer.report.report import Tally
    from analyzer.report.sampling import Describe

    Mask = npt.NDArray[np.bool_]

_FRAMES_AT_ONCE: Final = 64
_SOLICITATION, _ADVERTISEMENT = 135, 136  # RFC 4861, 4.3 and 4.4
_TARGET = slice(8, 24)
_COUNTED: Final = {
    Look.ARP_REQUEST: (FrameClass.BROADCAST, "arp_request"),
    Look.ARP_ANNOUNCEMENT: (FrameClass.BROADCAST, "arp_announcement"),
    Look.ARP_OTHER: (FrameClass.BROADCAST, "arp_other"),
    Look.DHCP: (FrameClass.BROADCAST, "dhcp"),
    Look.OWN_ADDRESS: (FrameClass.UNICAST_TO_GUEST, "own_address"),
    Look.OTHER_ADDRESS: (FrameClass.UNICAST_TO_GUEST, "other_address"),
}


class Observer:
    """Counts what a deeper look tells, in memory that no input makes grow."""

    def __init__(self, identity: GuestIdentity) -> None:
        ipv4, ipv6 = trusted_numbers(identity)
        self._ipv4: U64 = np.array(sorted(ipv4), np.uint64)
        self._macs: U64 = np.array(identity.macs, np.uint64)
        self._ipv6: U64 = np.array([half for one in sorted(ipv6) for half in divmod(one, 2**64)], np.uint64)
        self._counts: I64 = np.zeros((len(Look), 2), np.int64)
        self._asked = HitterTable(FrameClass.BROADCAST, "dst")
        self._aside = FramesAside()
        self._samples = SampleKeeper()
        self._memberships: tuple[Membership, ...] = ()
        self._answers = {4: Answers(), 6: Answers()}
        self._addresses: tuple[SeenAddress, ...] = ()
        self._more_groups = False
        self._more_addresses = False

    @property
    def limits(self) -> I64:
        """Frames of a class whose time is not behind this one are looked at, for the samples."""
        return self._samples.limits

    @property
    def judges_addresses(self) -> bool:
        """Say whether own unicast is told apart by the address that it goes to."""
        return bool(len(self._ipv4) or len(self._ipv6))

    def first_look(self) -> FirstLook:
        """Give room for a first look, which chooses for this observer."""
        return FirstLook(self._samples.limits, self._ipv4, self._ipv6)

    def add(self, batch: FrameBatch, classes: U8, look: FirstLook) -> None:
        """Look at those of n frames with their n classes that the first look chose.

        Those that need a deeper look are set aside until they are worth one.
        """
        early, deep = look.early, look.deep
        if len(early):
            self._samples.offer(batch, classes, early)
        if len(deep):
            for aside in self._aside.add(batch, classes, deep):
                self._look(*aside)

    def _look_at_rest(self) -> None:
        for aside in self._aside.empty():
            self._look(*aside)

    def _look(self, batch: FrameBatch, classes: U8, rows: I64) -> None:
        network = decode_network(batch, rows)
        kinds = classes[rows]
        octets, ts_ns = batch.octets[rows].astype(np.int64), batch.raw.ts_ns[rows]
        looks = looks_of(network, kinds)
        self._counts[:, 0] += np.bincount(looks, minlength=len(Look))
        self._counts[:, 1] += np.bincount(looks, weights=octets, minlength=len(Look)).astype(np.int64)
        is_request = looks == Look.ARP_REQUEST
        if is_request.any():
            self._asked.add_columns(
                np.flatnonzero(is_request),
                (network.arp_tpa.astype(np.uint64),),
                batch.octets[rows],
                ts_ns,
            )
        is_sent: Mask = kinds == FrameClass.FROM_GUEST
        self._hear(batch, network, is_sent)
        if is_sent.any():
            self._take_addresses(addresses_of(batch, network, is_sent), ts_ns)
        is_lease = (network.service == Service.DHCP) | (network.service == Service.DHCPV6)
        if is_lease.any():
            self._take_addresses(leases_of(batch, network, kinds, np.flatnonzero(is_lease), self._macs), ts_ns)

    def _hear(self, batch: FrameBatch, network: NetworkBatch, is_sent: Mask) -> None:
        """Follow the memberships that the frames tell."""
        rows = np.flatnonzero((network.service == Service.IGMP) | (network.service == Service.MLD))
        told: list[tuple[U64, U8, I64]] = []
        for start in range(0, len(rows), _FRAMES_AT_ONCE):
            some = rows[start : start + _FRAMES_AT_ONCE]
            groups: U64 = np.zeros(len(some) * EVENTS_PER_FRAME, np.uint64)
            events: U8 = np.zeros(len(groups), np.uint8)
            event_rows: I64 = np.zeros(len(groups), np.int64)
            count = walk_memberships(
                column(batch.raw.data),
                column(batch.raw.offsets),
                column(batch.raw.captured),
                column(np.ascontiguousarray(network.rows[some])),
                column(network.service[some]),
                column(network.upper[some]),
                column(network.icmp_type[some]),
                column(is_sent[some].astype(np.uint8)),
                0,
                len(some),
                column(groups),
                column(events),
                column(event_rows),
            )
            kept = np.flatnonzero(self._may_keep(groups[:count]))
            told.append((groups[kept], events[kept], batch.raw.ts_ns[event_rows[kept]]))
        if told:
            groups, events, ts_ns = (np.concatenate(column) for column in zip(*told, strict=True))
            self._follow(groups, events, ts_ns)

    def _may_keep(self, groups: U64) -> Mask:
        """Say which groups need be looked at: beyond the largest kept none would stay."""
        if len(self._memberships) < MEMBERSHIPS_KEPT:
            return np.ones(len(groups), np.bool_)
        found: Mask = groups <= self._memberships[-1].group
        self._more_groups |= not found.all()
        return found

    def _follow(self, groups: U64, events: U8, ts_ns: I64) -> None:
        told = [
            *(Membership(group, joined_ns=time) for group, time in latest(groups, ts_ns, events == Event.JOIN)),
            *(Membership(group, left_ns=time) for group, time in latest(groups, ts_ns, events == Event.LEAVE)),
        ]
        if told:
            merged, more = merge_memberships((*self._memberships, *told))
            self._memberships = merged
            self._more_groups |= more
        for version, answer in ((4, Event.ANSWER_IPV4), (6, Event.ANSWER_IPV6)):
            queries, answers = ts_ns[events == answer + 4], ts_ns[events == answer]
            heard = Answers(
                int(queries.min()) if len(queries) else None,
                int(answers.max()) if len(answers) else None,
                bool((events == answer + 2).any()),
            )
            self._answers[version] = self._answers[version].merge(heard)

    def _take_addresses(self, found: Iterable[tuple[int, U64, U64, I64]], ts_ns: I64) -> None:
        for version, high, low, at in found:
            if not len(at):
                continue
            is_kept = self._may_stay(version, high, low)
            order = np.flatnonzero(is_kept)[np.lexsort((low[is_kept], high[is_kept]))]
            is_new = np.ones(len(order), np.bool_)
            is_new[1:] = (low[order[1:]] != low[order[:-1]]) | (high[order[1:]] != high[order[:-1]])
            starts = np.flatnonzero(is_new)
            self._more_addresses |= len(starts) > ADDRESSES_KEPT
            rows = []
            for start, stop in itertools.pairwise([*starts[: ADDRESSES_KEPT + 1].tolist(), len(order)]):
                times = ts_ns[at[order[start:stop]]]
                value = int(high[order[start]]) << 64 | int(low[order[start]])
                rows.append(SeenAddress(version, value, stop - start, int(times.min()), int(times.max())))
            merged, more = merge_addresses((*self._addresses, *rows))
            self._addresses = merged
            self._more_addresses |= more

    def _may_stay(self, version: int, high: U64, low: U64) -> Mask:
        """Say which addresses need be looked at: beyond the largest kept none would stay."""
        if len(self._addresses) < ADDRESSES_KEPT:
            return np.ones(len(high), np.bool_)
        last = self._addresses[-1]
        upper, lower = divmod(last.value, 2**64)
        found: Mask = (high < upper) | ((high == upper) & (low <= lower))
        if version != last.version:
            found = np.full(len(high), version < last.version)
        self._more_addresses |= not found.all()
        return found

    def finish(self, looks: Sequence[FirstLook]) -> Observed:
        """Give what was seen, by the first looks as well."""
        self._look_at_rest()
        return Observed(
            memberships=self._memberships,
            ipv4=self._answers[4],
            ipv6=self._answers[6],
            vlans=nonzero(look.sent_vlans for look in looks),
            addresses=self._addresses,
            asked=self._asked.finish(),
            more_groups=self._more_groups,
            more_addresses=self._more_addresses,
        )

    def subclasses(self, looks: Sequence[FirstLook]) -> tuple[Subclass, ...]:
        """Give the subclasses that single frames tell, those that the first looks counted too."""
        self._look_at_rest()
        counts = self._counts + sum(look.looks.reshape(-1, 2) for look in looks)
        rows = [
            Subclass(*named, is_unrelated=False, frames=int(counts[look, 0]), octets=int(counts[look, 1]))
            for look, named in _COUNTED.items()
        ]
        return tuple(sorted(row for row in rows if row.frames))

    def sample_heads(self) -> list[bytes]:
        """Give what of the samples is to be described."""
        return self._samples.heads()

    def samples(self, describe: Describe) -> tuple[Sample, ...]:
        """Give the sample frames, described."""
        return self._samples.finish(describe)


def latest(groups: U64, ts_ns: I64, is_wanted: Mask) -> list[tuple[int, int]]:
    """Give each group with its latest time; no more than the smallest that may be kept and one that says so."""
    macs, which = np.unique(groups[is_wanted], return_inverse=True)
    times: I64 = np.full(len(macs), np.iinfo(np.int64).min)
    np.maximum.at(times, which, ts_ns[is_wanted])
    kept = slice(0, MEMBERSHIPS_KEPT + 1)
    return list(zip(macs[kept].tolist(), times[kept].tolist(), strict=True))


def addresses_of(batch: FrameBatch, network: NetworkBatch, is_sent: Mask) -> list[tuple[int, U64, U64, I64]]:
    """Give the addresses that the guest names as its own: version, upper and lower 64 bits, indices into ``network``.

    ARP: the sender's (RFC 826). Neighbour discovery: the source, the target of an advertisement (RFC 4861, 4.4), the
    target of a solicitation without a source (RFC 4862, 5.4: an address that it is about to take).
    """
    is_arp = is_sent & (network.service == Service.ARP) & network.has(NetworkFlag.HAS_ARP) & (network.arp_plen == 4)  # noqa: PLR2004 - octets of IPv4
    ipv4 = np.flatnonzero(is_arp & is_unicast_ipv4(network.arp_spa))
    low = network.arp_spa[ipv4].astype(np.uint64)
    is_nd = is_sent & ((network.service == Service.NEIGHBOUR_DISCOVERY) | (network.service == Service.MLD))
    has_source = (network.src_hi != 0) | (network.src_lo != 0)
    sources = np.flatnonzero(is_nd & has_source & is_unicast_ipv6(network.src_hi))
    kind = network.icmp_type
    tells_target = (kind == _ADVERTISEMENT) | ((kind == _SOLICITATION) & ~has_source)
    is_target = is_sent & (network.service == Service.NEIGHBOUR_DISCOVERY) & tells_target
    is_target &= ~network.has(NetworkFlag.UPPER_MALFORMED) & (network.upper >= 0)
    target_hi, target_lo, targets = targets_of(batch, network, np.flatnonzero(is_target))
    return [
        (4, np.zeros_like(low), low, ipv4),
        (6, network.src_hi[sources], network.src_lo[sources], sources),
        (6, target_hi, target_lo, targets),
    ]


def leases_of(
    batch: FrameBatch, network: NetworkBatch, kinds: U8, rows: I64, macs: U64
) -> list[tuple[int, U64, U64, I64]]:
    """Give the addresses in DHCP and DHCPv6 to and from the guest: version, upper and lower 64 bits, indices.

    ``rows`` are the indices into ``network`` of the frames to look at, ``kinds`` the classes of all of its frames.
    """
    count = len(rows) * ADDRESSES_PER_FRAME
    versions: U8 = np.zeros(count, np.uint8)
    high, low = np.zeros((2, count), np.uint64)
    places: I64 = np.zeros(count, np.int64)
    found = walk_leases(
        column(batch.raw.data),
        column(batch.raw.offsets),
        column(batch.raw.captured),
        column(np.ascontiguousarray(network.rows[rows])),
        column(network.service[rows]),
        column(network.upper[rows]),
        column((kinds[rows] == FrameClass.FROM_GUEST).astype(np.uint8)),
        column((kinds[rows] == FrameClass.UNICAST_TO_GUEST).astype(np.uint8)),
        column(macs),
        0,
        len(rows),
        column(versions),
        column(high),
        column(low),
        column(places),
    )
    versions, high, low, at = versions[:found], high[:found], low[:found], rows[places[:found]]
    ipv4 = (versions == 4) & is_unicast_ipv4(low.astype(np.uint32))  # noqa: PLR2004 - of IP
    ipv6 = (versions == 6) & is_unicast_ipv6(high) & ((high != 0) | (low != 0))  # noqa: PLR2004 - of IP
    return [(4, high[ipv4], low[ipv4], at[ipv4]), (6, high[ipv6], low[ipv6], at[ipv6])]


def targets_of(batch: FrameBatch, network: NetworkBatch, rows: I64) -> tuple[U64, U64, I64]:
    """Give the targets of neighbour discovery of those rows where they were captured and are unicast."""
    raw = batch.raw
    frames = network.rows[rows]
    at = network.upper[rows].astype(np.int64) + _TARGET.start
    end = raw.offsets[frames] + at + 16
    is_kept = (at + 16 <= raw.captured[frames]) & (end <= len(raw.data)) & (raw.offsets[frames] >= 0)
    kept = rows[is_kept]
    octets = raw.data[(end[is_kept] - 16)[:, None] + np.arange(16)]
    words = np.ascontiguousarray(octets).view(">u8").astype(np.uint64).reshape(-1, 2)
    is_good = is_unicast_ipv6(words[:, 0]) & words.any(axis=1)
    return words[is_good, 0], words[is_good, 1], kept[is_good]


def is_unicast_ipv4(values: npt.NDArray[np.uint32]) -> Mask:
    """Say which IPv4 addresses a host can have: not 0/8, 127/8, 224/3 (RFC 6890, 2.2.2)."""
    first = values >> np.uint32(24)
    found: Mask = (first != 0) & (first != 127) & (first < 224)  # noqa: PLR2004 - as said
    return found


def is_unicast_ipv6(high: U64) -> Mask:
    """Say which IPv6 addresses are no multicast, by their upper 64 bits: RFC 4291, 2.7."""
    found: Mask = high >> np.uint64(56) != 0xFF  # noqa: PLR2004 - as said
    return found


def nonzero(counted: Iterable[I64]) -> Tally:
    """Give the numbers that any frames were counted of, from tables of (frames, octets) whose place is the number."""
    counts = sum(counted)
    if isinstance(counts, int):
        return ()
    pairs = counts.reshape(-1, 2)
    numbers = np.flatnonzero(pairs[:, 0])
    return tuple(zip(numbers.tolist(), *pairs[numbers].T.tolist(), strict=True))
