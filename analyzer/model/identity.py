"""Who the guest is, and how we know.

Values only. What was learnt from traffic carries ``trusted=False``: a guest chooses what it sends, so nothing that
it sends may choose its identity or a rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from analyzer.model.addresses import format_mac


class Provenance(StrEnum):
    """Where a piece of an identity was learnt."""

    LIBVIRT_XML = "libvirt_xml"
    LEASE = "lease"
    ARP_TABLE = "arp_table"
    AGENT = "agent"
    TRAFFIC = "traffic"
    COMMAND_LINE = "command_line"
    FILE = "file"
    GUESS = "guess"


class Address(msgspec.Struct, frozen=True, order=True):
    """One address with its source; ``value`` is canonical text (a MAC, an IPv4 or an IPv6 address)."""

    value: str
    source: Provenance
    trusted: bool


@dataclass(frozen=True, slots=True)
class GuestIdentity:
    """One network card of one guest, the unit that is measured and filtered.

    ``macs`` are the addresses that count as the guest's own (first the card's configured one); ``macs_seen`` are
    further ones that were seen in use and are merely told. ``groups`` are MAC addresses of the groups joined,
    ``vlans`` the VLAN IDs in use. ``card`` is the index of the interface in the domain XML, from 0.
    """

    macs: tuple[int, ...]
    source: Provenance
    name: str | None = None
    uuid: str | None = None
    card: int | None = None
    tap: str | None = None
    bridge: str | None = None
    addresses: tuple[Address, ...] = ()
    macs_seen: tuple[Address, ...] = ()
    groups: tuple[int, ...] = ()
    vlans: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """What people call it: the guest's name, else its tap, else its first MAC."""
        return self.name or self.tap or (format_mac(self.macs[0]) if self.macs else "nobody")

    def with_macs(self, extra: tuple[int, ...]) -> GuestIdentity:
        """Give the same guest with ``extra`` addresses counted as its own, each once, order kept."""
        return replace(self, macs=tuple(dict.fromkeys((*self.macs, *extra))))


def trusted_numbers(identity: GuestIdentity) -> tuple[frozenset[int], frozenset[int]]:
    """Give the trusted IPv4 and IPv6 addresses of a guest as integers."""
    found: list[IPv4Address | IPv6Address] = []
    for address in identity.addresses:
        if address.trusted:
            try:
                found.append(ip_address(address.value))
            except ValueError:
                continue  # no IP address: none that a packet could name
    ipv4 = frozenset(int(one) for one in found if isinstance(one, IPv4Address))
    return ipv4, frozenset(int(one) for one in found if isinstance(one, IPv6Address))
