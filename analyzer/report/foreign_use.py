"""Whether a guest makes use of foreign unicast: it answers such a frame, or sends the same packet on.

A guest that merely gets flooded frames drops them; one that answers or forwards them has taken them in, so that it
needs them (a virtual address, a router on a stick, a bridge or a cluster inside it). What lives here: the counting.
What must not: what is done about it. A consumer of a measurement, in bounded memory.

A packet is known by its addresses, its protocol and its ports, hashed to 64 bits; an ARP packet by the two IP
addresses that it names. An answer has both ends swapped.

A neighbour can send the same packet to the guest's own MAC, or to all, and to one of nobody's: the guest answers the
first, which looks like an answer to the second. So it is counted how much of what was answered came both ways, and who
sent what went to the foreign MAC is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.classify.network import decode_network
from analyzer.model.classes import FrameClass
from analyzer.model.network import NetworkFlag
from analyzer.report.findings import UsedMac

if TYPE_CHECKING:
    from analyzer.model.frames import I64, U8, U64, FrameBatch
    from analyzer.model.network import NetworkBatch

FLOWS_KEPT: Final = 65_536
"""Foreign packets of different flows that are remembered, and as many others; answers to those beyond go unseen."""

_ARP: Final = 0x0806 << 8
_MEANT: Final = (FrameClass.UNICAST_TO_GUEST, FrameClass.BROADCAST, FrameClass.MULTICAST)
_MIX: Final = (np.uint64(0x9E37_79B9_7F4A_7C15), np.uint64(0xBF58_476D_1CE4_E5B9), np.uint64(0x94D0_49BB_1331_11EB))
"""The constants of splitmix64 (Steele, Lea, Flood 2014)."""


@dataclass(slots=True)
class _Flow:
    """A foreign packet: the MAC that it went to, who sent it, the number of its frame, and how it was used."""

    mac: int
    sender: int
    number: int
    answered: int = 0
    forwarded: int = 0


class ForeignUse:
    """Looks for frames of the guest that answer foreign unicast, or send it on."""

    def __init__(self) -> None:
        self._offered: dict[int, _Flow] = {}
        """By a foreign packet's hash."""
        self._known: U64 = np.zeros(0, np.uint64)
        self._own: set[int] = set()
        """The hashes of packets that reached the guest as they should."""
        self._frames = 0

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Look at n frames with their n classes."""
        is_foreign = np.flatnonzero(classes == FrameClass.FOREIGN_UNICAST)
        if len(is_foreign):
            self._offer(batch, is_foreign)
        if len(self._own) < FLOWS_KEPT:
            own = np.flatnonzero(np.isin(classes, _MEANT))
            if len(own):
                self._own.update(_keys(decode_network(batch, own), reverse=False)[1].tolist()[: self._room()])
        if len(self._known):
            sent = np.flatnonzero(classes == FrameClass.FROM_GUEST)
            if len(sent):
                self._compare(batch, sent)
        self._frames += len(batch)

    def finish(self) -> tuple[UsedMac, ...]:
        """Give the foreign MACs whose frames the guest used, those with most frames first."""
        found: dict[int, UsedMac] = {}
        for key, flow in self._offered.items():
            uses = flow.answered + flow.forwarded
            if uses:
                both_ways = uses if key in self._own else 0
                one = UsedMac(flow.mac, flow.answered, flow.forwarded, both_ways, (flow.sender,))
                found[flow.mac] = found[flow.mac].merge(one) if flow.mac in found else one
        return tuple(sorted(found.values(), key=lambda each: (-each.answered - each.forwarded, each.mac)))

    def _room(self) -> int:
        return FLOWS_KEPT - len(self._own)

    def _offer(self, batch: FrameBatch, rows: I64) -> None:
        network = decode_network(batch, rows)
        there, keys = _keys(network, reverse=False)
        unique, first = np.unique(keys, return_index=True)
        places = rows[there[first]]
        before = len(self._offered)
        ends = (batch.dst[places].tolist(), batch.src[places].tolist())
        for key, place, mac, sender in zip(unique.tolist(), places.tolist(), *ends, strict=True):
            if key in self._offered:
                continue
            if len(self._offered) >= FLOWS_KEPT:
                break
            self._offered[key] = _Flow(mac, sender, self._frames + place)
        if len(self._offered) != before:
            self._known = np.fromiter(self._offered, np.uint64, len(self._offered))

    def _compare(self, batch: FrameBatch, rows: I64) -> None:
        network = decode_network(batch, rows)
        for reverse in (True, False):
            there, keys = _keys(network, reverse=reverse)
            for at in np.flatnonzero(np.isin(keys, self._known, kind="sort")).tolist():
                flow = self._offered[int(keys[at])]
                if self._frames + int(rows[there[at]]) > flow.number:
                    flow.answered, flow.forwarded = flow.answered + reverse, flow.forwarded + (not reverse)


def _keys(network: NetworkBatch, *, reverse: bool) -> tuple[I64, U64]:
    """Give which of the packets have addresses, and the hash of each; with ``reverse`` that of what it answers."""
    is_arp = network.has(NetworkFlag.HAS_ARP) & (network.arp_plen == 4)  # noqa: PLR2004 - IPv4 addresses
    there = np.flatnonzero(is_arp | (network.ip_version != 0))
    arp = is_arp[there]
    ends = []
    for high, low, port, arp_address in (
        (network.src_hi, network.src_lo, network.sport, network.arp_spa),
        (network.dst_hi, network.dst_lo, network.dport, network.arp_tpa),
    ):
        address = np.where(arp, arp_address[there].astype(np.uint64), low[there])
        ends.append((high[there], address, port[there].astype(np.uint64)))
    if reverse:
        ends.reverse()
    keys = np.where(arp, np.uint64(_ARP), network.protocol[there].astype(np.uint64))
    for part in (*ends[0], *ends[1]):
        keys = _mixed(keys, part)
    return there, keys


def _mixed(keys: U64, part: U64) -> U64:
    """Give ``keys`` with one more part in them, each 64 bits."""
    with np.errstate(over="ignore"):
        mixed = (keys ^ part) + _MIX[0]
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX[1]
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX[2]
        found: U64 = mixed ^ (mixed >> np.uint64(31))
    return found
