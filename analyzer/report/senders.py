"""What only its traffic tells of a guest: MACs that it sends from, addresses, groups and VLANs that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from analyzer.model.addresses import format_mac, is_group
from analyzer.model.identity import Address, Provenance

if TYPE_CHECKING:
    from analyzer.report.report import Report
    from analyzer.report.talkers import Entry

Role = Literal["own", "known", "new", "group"]
"""One of the card's own, one that its identity names, one that only the traffic tells (and that nobody may trust), or a
group address, which no frame should come from (IEEE 802.3-2022, 3.2.3) and which is nobody's."""


def senders_with_roles(report: Report) -> list[tuple[Entry, Role]]:
    """Give the source MACs of what the guest sent, most frames first."""
    known = {address.value for address in report.identity.macs_seen}
    own = set(report.identity.macs)
    rows: list[tuple[Entry, Role]] = []
    for entry in report.senders.by_size():
        role: Role = "group" if is_group(entry.first) else "known" if format_mac(entry.first) in known else "new"
        rows.append((entry, "own" if entry.first in own else role))
    return rows


def macs_seen(report: Report) -> tuple[Address, ...]:
    """Give the MACs that the guest was seen to use beyond its own: the identity's, and the new ones of the traffic."""
    new = [format_mac(entry.first) for entry, role in senders_with_roles(report) if role == "new"]
    return (*report.identity.macs_seen, *(Address(mac, Provenance.TRAFFIC, trusted=False) for mac in new))


def new_addresses(report: Report) -> tuple[Address, ...]:
    """Give the IP addresses that only the guest's traffic tells."""
    known = {address.value for address in report.identity.addresses}
    seen = (address.text for address in report.observed.addresses)
    return tuple(Address(text, Provenance.TRAFFIC, trusted=False) for text in seen if text not in known)


def new_groups(report: Report) -> tuple[int, ...]:
    """Give the groups (MACs) of which only the guest's traffic tells that it is a member."""
    return tuple(group for group in report.observed.joined if group not in report.identity.groups)


def new_vlans(report: Report) -> tuple[int, ...]:
    """Give the VLAN IDs of which only the guest's traffic tells that it uses them."""
    return tuple(vlan for vlan in report.observed.vlans_used if vlan not in report.identity.vlans)
