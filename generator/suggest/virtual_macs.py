"""MACs that several machines share: who takes part in such a group needs frames that are not to its own MAC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from analyzer.model.addresses import format_mac

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.report.talkers import Hitters


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

_NAMED: Final = 20


def virtual_mac_risks(talkers: Hitters, passes: Callable[[int], bool]) -> list[str]:
    """Name the virtual MACs that foreign unicast went to and that the filter does not let pass, most frames first."""
    frames: dict[int, int] = {}
    for entry in talkers.entries:
        frames[entry.second] = frames.get(entry.second, 0) + entry.frames
    risks = []
    for mac in sorted(frames, key=lambda each: (-frames[each], each)):
        kind = next((each.name for each in VIRTUAL_MACS if mac & each.mask == each.first), None)
        if kind is not None and not passes(mac):
            text = format_mac(mac)
            risks.append(
                f"{frames[mac]} frames went to {text}, a MAC of {kind}: if the guest takes part, add --also-mac {text}"
            )
    return risks[:_NAMED]
