"""The meter of a guest's vital frames: what of them reached its filter, and what came out of it.

As meter.py, in a table of its own that the kernel removes with its process: two chains on postrouting for what goes to
the guest, two on prerouting for what it sends, ahead of any nwfilter and behind it. A frame may be of several kinds.
Frames with a VLAN tag are left out: their kinds are hidden behind it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.meter import new_table_name
from analyzer.host.nftables import counted_table
from analyzer.model.addresses import BROADCAST, GROUP_BIT, format_mac
from analyzer.model.guards import GuardKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.host.nft_counters import NftCounters

_AHEAD: Final = -400
_BEHIND: Final = 400
"""As the meter's: libvirt's rules are between."""

_MACS: Final = "MACS"
_OWN: Final = f"ether daddr {{ {_MACS} }}"
_ALL: Final = f"ether daddr {format_mac(BROADCAST)}"
_GROUP: Final = f"ether daddr & {format_mac(GROUP_BIT)} == {format_mac(GROUP_BIT)}"
_ARP: Final = "ether type arp"
_ND: Final = "icmpv6 type { 133, 134, 135, 136, 137 }"
"""RFC 4861, 4: router and neighbour solicitation and advertisement, redirect."""
_DHCP_TO: Final = "udp sport 67 udp dport 68"
_DHCP_FROM: Final = "udp sport 68 udp dport 67"
"""RFC 2131, 4.1."""
_SYN: Final = "tcp flags & (syn | ack) == syn"

_TO_GUEST: Final = {
    GuardKind.OWN_UNICAST: _OWN,
    GuardKind.ARP_UNICAST: f"{_OWN} {_ARP}",
    GuardKind.ARP_BROADCAST: f"{_ALL} {_ARP}",
    GuardKind.ND_UNICAST: f"{_OWN} {_ND}",
    GuardKind.ND_MULTICAST: f"{_GROUP} {_ND}",
    GuardKind.DHCP_UNICAST: f"{_OWN} {_DHCP_TO}",
    GuardKind.DHCP_BROADCAST: f"{_ALL} {_DHCP_TO}",
    GuardKind.TCP_ANSWER: f"{_OWN} tcp flags & (syn | ack) == syn | ack",
}
_FROM_GUEST: Final = {
    GuardKind.ARP_SENT: _ARP,
    GuardKind.ND_SENT: _ND,
    GuardKind.DHCP_SENT: _DHCP_FROM,
    GuardKind.TCP_REQUEST: _SYN,
}
_POINTS: Final = (
    # read in the order in which they were made: what is delivered before what was offered
    ("delivered", "postrouting", "oifname", _BEHIND, _TO_GUEST),
    ("sent", "prerouting", "iifname", _BEHIND, _FROM_GUEST),
    ("offered", "postrouting", "oifname", _AHEAD, _TO_GUEST),
    ("heard", "prerouting", "iifname", _AHEAD, _FROM_GUEST),
)

Passed = tuple[int, int]
"""Frames that reached the filter, and those that came out of it."""


class GuardMeter:
    """Counts on the taps of ``cards`` (tap name -> the guest's MACs) from entering it to leaving it.

    Raises HostError where the kernel or libnftables refuses.
    """

    def __init__(self, cards: Mapping[str, Sequence[int]]) -> None:
        self.table = new_table_name()
        self._cards = {checked_interface_name(tap): tuple(macs) for tap, macs in cards.items()}
        self._counters: NftCounters | None = None
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        table = counted_table(self.table, self._commands(), "put the guards' meter in", tuple(self._cards))
        _, self._counters = self._leave.enter_context(table)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the table out. A second call does nothing."""
        self._counters = None
        self._leave.close()

    def read(self) -> dict[str, dict[GuardKind, Passed]]:
        """Give the counts of each tap since the table was put in. Raises HostError where it is gone."""
        found = self._counters.read(self.table) if self._counters is not None else {}
        if not found:
            raise HostError("the meter's table is gone", f"nft table bridge {self.table}")
        readings: dict[str, dict[GuardKind, Passed]] = {}
        for place, tap in enumerate(self._cards):
            to_guest = {kind: _passed(found, place, "offered", "delivered", kind) for kind in _TO_GUEST}
            readings[tap] = to_guest | {kind: _passed(found, place, "heard", "sent", kind) for kind in _FROM_GUEST}
        return readings

    def _commands(self) -> Iterator[str]:
        """Give the commands that make the table; the separators are newlines where nft 1.0.6 takes nothing else."""
        yield f"add table bridge {self.table} {{ flags owner\n}}"
        for point, _, _, _, kinds in _POINTS:
            for place in range(len(self._cards)):
                for kind in kinds:
                    yield f"add counter bridge {self.table} {_counter(place, point, kind)}"
        for point, hook, key, priority, kinds in _POINTS:
            chain = f"add chain bridge {self.table} {point} {{ type filter hook {hook} priority {priority}\n}}"
            for place, (tap, macs) in enumerate(self._cards.items()):
                own, way = ", ".join(map(format_mac, macs)), f"tap{place}-{point}"
                yield f"add chain bridge {self.table} {way}"
                for kind, match in kinds.items():
                    counter = _counter(place, point, kind)
                    words = match.replace(_MACS, own)
                    yield f'add rule bridge {self.table} {way} {words} counter name "{counter}"'
                if place == 0:
                    yield chain
                yield f'add rule bridge {self.table} {point} {key} "{tap}" jump {way}'


def _counter(place: int, point: str, kind: GuardKind) -> str:
    return f"tap{place}-{point}-{kind.name.lower()}"


def _passed(found: Mapping[str, tuple[int, int]], place: int, ahead: str, behind: str, kind: GuardKind) -> Passed:
    return found.get(_counter(place, ahead, kind), (0, 0))[0], found.get(_counter(place, behind, kind), (0, 0))[0]
