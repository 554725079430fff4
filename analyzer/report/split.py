"""The frames of each class split into its subclasses, from what the report counted. Nothing here looks at a frame.

What is known of the guest may come late in a capture or from another one, so that the split is made of the counts when
it is asked for: the split of merged reports is that of the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.classify.subclasses import SUBCLASS_TABLE, Family, GuestFacts, SubclassFacts, remainder, subclass_of
from analyzer.model.classes import FrameClass, Look
from analyzer.model.identity import trusted_numbers
from analyzer.report.findings import UNSEEN, Subclass, merge_subclasses
from analyzer.report.senders import senders_with_roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from analyzer.classify.subclasses import SubclassRow
    from analyzer.report.report import Report
    from analyzer.report.talkers import Entry

FROM_TABLES: Final = {"arp_for_guest": "arp_request", "arp_for_others": "arp_request"}
"""Subclasses that are split off what was counted under another name."""

_IPV6: Final = 6
_OF_FRAMES: Final = {"own_address", "other_address", "arp_announcement", "arp_request", "arp_other", "dhcp", UNSEEN}
_DERIVED: Final = {(row.kind, row.name) for row in SUBCLASS_TABLE if row.name not in _OF_FRAMES}


def guest_facts(report: Report) -> GuestFacts:
    """Give what is known of the guest of a report: its identity, and what its traffic told."""
    identity, observed = report.identity, report.observed
    ipv4, ipv6 = trusted_numbers(identity)
    seen = observed.addresses
    local = {mac & 0xFFFFFF for mac in identity.macs}  # of the link-local address made of it: RFC 4291, appendix A
    own_ipv6 = ipv6 | {one.value for one in seen if one.version == _IPV6}
    is_all = not observed.more_groups
    return GuestFacts(
        own_macs=frozenset(identity.macs),
        other_macs=frozenset(entry.first for entry, role in senders_with_roles(report) if role in {"known", "new"}),
        ipv4=ipv4 | {one.value for one in seen if one.version != _IPV6},
        knows_ipv4=bool(ipv4) and not observed.more_addresses,
        solicited=frozenset(0x3333FF000000 | address & 0xFFFFFF for address in own_ipv6 | local),
        knows_ipv6=bool(ipv6) and not observed.more_addresses and is_all,
        joined=frozenset((*identity.groups, *observed.joined)),
        left=frozenset(observed.left) - set(identity.groups),
        igmp=Family(observed.tells_igmp or bool(identity.groups), is_all and observed.ipv4.is_whole),
        mld=Family(observed.tells_mld or bool(identity.groups), is_all and observed.ipv6.is_whole),
    )


def split_subclasses(report: Report) -> tuple[Subclass, ...]:
    """Give the subclasses of a report; of each class that has any they add up to it."""
    guest = guest_facts(report)
    found = [*_counted(report, guest), *_of_tables(report, guest)]
    rest = []
    for kind in FrameClass:
        row, (frames, octets) = remainder(kind), report.class_counts[kind]
        frames -= sum(one.frames for one in found if one.kind is kind)
        octets -= sum(one.octets for one in found if one.kind is kind)
        if row is not None and frames > 0:
            rest.append(_subclass(row, frames, max(octets, 0)))
    return merge_subclasses((*found, *rest))


def join_subclasses(split: Iterable[Subclass]) -> tuple[Subclass, ...]:
    """Give what ``split_subclasses`` began with: without what other counts tell, ARP requests as one."""
    kept: list[Subclass] = []
    for one in split:
        if one.kind is FrameClass.BROADCAST and one.name in FROM_TABLES:
            kept.append(
                Subclass(one.kind, FROM_TABLES[one.name], is_unrelated=False, frames=one.frames, octets=one.octets)
            )
        elif (one.kind, one.name) not in _DERIVED:
            kept.append(one)
    return merge_subclasses(kept)


def unrelated(report: Report, split: Iterable[Subclass]) -> tuple[int, int]:
    """Give frames and octets that are demonstrably for others: foreign unicast, and such multicast and broadcast."""
    frames, octets = report.class_counts[FrameClass.FOREIGN_UNICAST]
    groups = (FrameClass.MULTICAST, FrameClass.BROADCAST)
    rows = [one for one in split if one.is_unrelated and one.kind in groups]
    return frames + sum(one.frames for one in rows), octets + sum(one.octets for one in rows)


def _subclass(row: SubclassRow, frames: int, octets: int) -> Subclass:
    return Subclass(row.kind, row.name, row.is_unrelated, frames, octets)


def _counted(report: Report, guest: GuestFacts) -> Iterator[Subclass]:
    """Give what single frames told; ARP requests split by whom they ask for."""
    asked = [(entry, _asked_row(guest, entry)) for entry in report.observed.asked.entries]
    named = [_subclass(row, entry.frames, entry.octets) for entry, row in asked if row.name in FROM_TABLES]
    for one in report.subclasses:
        if (one.kind, one.name, one.is_unrelated) != (FrameClass.BROADCAST, "arp_request", False):
            yield one
            continue
        frames = one.frames - sum(part.frames for part in named)
        octets = one.octets - sum(part.octets for part in named)
        if frames < 0 or octets < 0:  # a document that contradicts itself: what is counted goes before what is named
            yield one
            continue
        yield from named
        if frames:
            yield Subclass(one.kind, one.name, one.is_unrelated, frames, octets)


def _asked_row(guest: GuestFacts, entry: Entry) -> SubclassRow:
    return subclass_of(FrameClass.BROADCAST, SubclassFacts(guest, look=Look.ARP_REQUEST, asked=entry.first))


def _of_tables(report: Report, guest: GuestFacts) -> Iterator[Subclass]:
    """Give what the addresses tell that are counted one by one."""
    for entry in report.groups.entries:
        row = subclass_of(FrameClass.MULTICAST, SubclassFacts(guest, dst=entry.first))
        yield _subclass(row, entry.frames, entry.octets)
    for entry in report.talkers.entries:
        row = subclass_of(FrameClass.FOREIGN_UNICAST, SubclassFacts(guest, src=entry.first, dst=entry.second))
        yield _subclass(row, entry.frames, entry.octets)
    for entry in report.senders.entries:
        row = subclass_of(FrameClass.FROM_GUEST, SubclassFacts(guest, src=entry.first))
        yield _subclass(row, entry.frames, entry.octets)
