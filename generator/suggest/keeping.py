"""What a person asks to keep (``--keep``): kinds of traffic by name, or single addresses, as ranges of MACs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.model.addresses import is_group, parse_mac

if TYPE_CHECKING:
    from collections.abc import Iterable

Range = tuple[int, int]
"""An address and a mask of leading ones: every MAC that begins like the address in the bits of the mask."""

_EXACT: Final = 0xFFFF_FFFF_FFFF
_KEPT_LIMIT: Final = 40
"""Ranges kept at most; each is a rule in each chain, with a priority of its own."""

MULTICAST: Final = "multicast"
"""The kind that keeps every group: then no multicast is dropped at all."""

KINDS: Final[dict[str, tuple[Range, ...]]] = {
    "vrrp": ((0x0000_5E00_0100, 0xFFFF_FFFF_FF00), (0x0000_5E00_0200, 0xFFFF_FFFF_FF00)),
    "carp": ((0x0000_5E00_0100, 0xFFFF_FFFF_FF00),),
    "nlb": ((0x02BF_0000_0000, 0xFFFF_0000_0000),),
    MULTICAST: (),
    "mdns": ((0x0100_5E00_00FB, _EXACT), (0x3333_0000_00FB, _EXACT)),
    "llmnr": ((0x0100_5E00_00FC, _EXACT), (0x3333_0001_0003, _EXACT)),
    "ssdp": ((0x0100_5E7F_FFFA, _EXACT), (0x3333_0000_000C, _EXACT)),
    "ptp": ((0x0100_5E00_0181, _EXACT), (0x3333_0000_0181, _EXACT)),
    "ospf": ((0x3333_0000_0005, _EXACT), (0x3333_0000_0006, _EXACT)),
}
"""RFC 9568 (7.3), Microsoft's documents of NLB, RFC 6762, RFC 4795, UPnP 2.0, IEEE 1588 annexes C and D, RFC 5340.

Groups of 224.0.0.0/24 pass anyway, and so do groups that carry neither IPv4 nor IPv6.
"""


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept: ``unicast`` MACs of others, ``groups``, with ``all_groups`` every group.

    ``names_groups`` says that groups were named one by one, so that the rest may go.
    """

    unicast: tuple[Range, ...] = ()
    groups: tuple[Range, ...] = ()
    all_groups: bool = False

    @property
    def names_groups(self) -> bool:
        """Say whether groups are named."""
        return bool(self.groups)

    def passes(self, mac: int) -> bool:
        """Say whether unicast to ``mac`` is kept."""
        return any(mac & mask == address for address, mask in self.unicast)

    def ranges(self, prefix: int, bits: int) -> tuple[Range, ...]:
        """Give the kept groups whose MACs begin with the ``bits`` bits of ``prefix``."""
        return tuple(each for each in self.groups if each[0] >> 48 - bits == prefix)


NOTHING: Final = Keeping()


def parse_keep(words: Iterable[str]) -> Keeping:
    """Give what ``words`` name: kinds of ``KINDS``, MACs, or IP groups. Raises UsageError for anything else."""
    ranges: dict[Range, None] = {}
    all_groups = False
    for word in words:
        if word == MULTICAST:
            all_groups = True
        ranges.update(dict.fromkeys(KINDS[word] if word in KINDS else (_address(word),)))
    if len(ranges) > _KEPT_LIMIT:
        raise UsageError(f"{len(ranges)} addresses to keep would be as many rules", "--keep", "keep whole kinds")
    unicast = tuple(each for each in ranges if not is_group(each[0]))
    return Keeping(unicast, tuple(each for each in ranges if is_group(each[0])), all_groups)


def group_mac(address: str) -> int:
    """Give the MAC of an IP group (RFC 1112, 6.4; RFC 2464, 7). Raises ValueError where it is none."""
    group = ipaddress.ip_address(address)
    if not group.is_multicast:
        raise ValueError(address)
    if isinstance(group, ipaddress.IPv4Address):
        return 0x0100_5E00_0000 | int(group) & 0x7F_FFFF
    return 0x3333_0000_0000 | int(group) & 0xFFFF_FFFF


def _address(word: str) -> Range:
    try:
        return group_mac(word), _EXACT
    except ValueError:
        pass
    try:
        mac = parse_mac(word)
    except UsageError as error:
        raise UsageError(
            f"nothing is known of the kind {word!r}", "--keep", f"name one of {', '.join(KINDS)}, a MAC or an IP group"
        ) from error
    return mac, _EXACT
