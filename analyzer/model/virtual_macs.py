"""MACs that several machines share, or that nobody sends from: the ranges, as data."""

from __future__ import annotations

from typing import Final, NamedTuple


class VirtualMacs(NamedTuple):
    """A range of virtual MACs: every one that begins like ``first`` in the bits of ``mask``."""

    first: int
    mask: int
    name: str


VIRTUAL_MACS: Final = (
    VirtualMacs(0x0000_5E00_0100, 0xFFFF_FFFF_FF00, "VRRP or CARP (IPv4)"),
    VirtualMacs(0x0000_5E00_0200, 0xFFFF_FFFF_FF00, "VRRP (IPv6)"),
    VirtualMacs(0x02BF_0000_0000, 0xFFFF_0000_0000, "a Network Load Balancing cluster"),
)
"""RFC 9568, 7.3 for VRRP, whose range CARP uses too; Microsoft's documents of NLB for its unicast mode."""


def virtual_kind(mac: int) -> VirtualMacs | None:
    """Give the range that ``mac`` is of, None where it is of none."""
    return next((each for each in VIRTUAL_MACS if mac & each.mask == each.first), None)
