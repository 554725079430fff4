"""The probe: a few marked frames of our own offered to one tap's filter, so that a quiet network answers in seconds.

They are sent by the bridge itself (AF_PACKET on the bridge device), as the host's own frames are: the bridge floods
them to its ports, since nobody has the address, and the tap's filter meets them on its way out. No port is added, no
flag is changed, nothing is learnt from them.

They never leave the bridge. An nft table of our own is in before the first frame: at priority -401 (ahead of any meter)
it drops them at every port but the tap, at +401 (behind libvirt's rules and any meter) at the tap as well, once they
are counted. So neither an uplink nor a guest ever gets one, not even the guest under test, which might bridge them on.
The table carries ``flags owner``: the kernel takes it away with the process, and a send is through the bridge when it
returns (PACKET_QDISC_BYPASS: no queue, no tc action of the bridge device), so that no frame outlives it.

Both addresses are locally administered and drawn at random; the one they go to is in no FDB and no guest's.
"""

from __future__ import annotations

import json
import secrets
import struct
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError
from analyzer.host import bridge
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.meter import new_table_name
from analyzer.host.nftables import owned_table
from analyzer.host.packet_socket import send_frames
from analyzer.model.addresses import BROADCAST, format_mac

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from analyzer.host.nftables import NftContext

FRAMES_A_KIND: Final = 8
"""Frames of each kind of foreign unicast: four kinds make 32, and 30 that all are dropped bound the share below a
tenth."""

OWN_FRAMES: Final = 8
"""Frames to the guest's own address, and as many to everybody: what must pass."""

_AHEAD: Final = -401
_BEHIND: Final = 401
_MARK: Final = b"nwscan probe"
_MINIMUM_OCTETS: Final = 60
"""IEEE 802.3, 3.2.8, without FCS."""

_KINDS: Final = {"arp": 0x0806, "ipv4": 0x0800, "ipv6": 0x86DD, "other": 0x88B5}
"""Kinds of foreign unicast with their ethertypes; 0x88b5 is IEEE 802's for local experiments."""

_OWN: Final = "own"
_BROADCAST: Final = "broadcast"


@dataclass(frozen=True, slots=True)
class ProbeCounts:
    """Frames of one kind that were offered to the filter, and those that came through it."""

    offered: int
    delivered: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What became of a probe's frames. ``mac`` is the address of nobody that the foreign ones went to.

    ``foreign`` has a count for each kind: ``arp``, ``ipv4``, ``ipv6``, ``other``. ``obstacle`` says why fewer were
    offered than sent, None where all were.
    """

    mac: int
    foreign: dict[str, ProbeCounts]
    own: ProbeCounts
    broadcast: ProbeCounts
    obstacle: str | None

    @property
    def foreign_total(self) -> ProbeCounts:
        """All foreign frames."""
        return ProbeCounts(
            sum(one.offered for one in self.foreign.values()), sum(one.delivered for one in self.foreign.values())
        )


def unused_mac(used: Collection[int]) -> int:
    """Give a random unicast address that is locally administered (IEEE 802, 8.2) and none of ``used``."""
    while True:
        mac = secrets.randbits(48) & ~(1 << 40) | (1 << 41)
        if mac not in used:
            return mac


class Probe:
    """Probes the filter of one tap, from entering it (the table is in) to leaving it (the table is gone).

    ``guest_mac`` is the card's; ``used`` are the addresses of all guests. Raises HostError where the tap is no port of
    a Linux bridge, or the kernel refuses.
    """

    def __init__(self, tap: str, guest_mac: int, used: Collection[int], ipv4: str | None = None) -> None:
        self._tap = checked_interface_name(tap)
        found = bridge.port(tap)
        if found is None:
            raise HostError(
                f"{tap} is no port of a Linux bridge", f"tap {tap}", "verify it without --probe, by its own traffic"
            )
        self._port = found
        known = {*used, guest_mac, *(entry.mac for entry in bridge.fdb(found.bridge))}
        self.mac = unused_mac(known)
        self.source = unused_mac(known | {self.mac})
        self._own = guest_mac
        self._ipv4 = bytes(map(int, ipv4.split("."))) if ipv4 else bytes(4)
        self.table = new_table_name()
        self._nft: NftContext | None = None
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        self._nft = self._leave.enter_context(owned_table(self.table, self._commands(), "probe", (self._tap,)))
        return self

    def __exit__(self, *_: object) -> None:
        self._nft = None
        self._leave.close()

    def send(self) -> None:
        """Send all frames. They are counted and gone when it returns."""
        if self._nft is None:
            raise HostError("the probe is not guarded", f"nft table bridge {self.table}", "enter it first")
        send_frames(self._port.bridge, list(self._frames()))

    def result(self) -> ProbeResult:
        """Give what became of the frames. Raises HostError where the table is gone."""
        if self._nft is None:
            raise HostError("the probe has ended", f"nft table bridge {self.table}", "ask it before leaving it")
        document = json.loads(self._nft.run(f"list counters table bridge {self.table}", json=True))
        frames = {
            str(entry["counter"]["name"]): int(entry["counter"]["packets"])
            for entry in document["nftables"]
            if "counter" in entry
        }
        counts = {
            name: ProbeCounts(frames.get(f"offered-{name}", 0), frames.get(f"delivered-{name}", 0))
            for name in (*_KINDS, _OWN, _BROADCAST)
        }
        foreign = {kind: counts[kind] for kind in _KINDS}
        is_whole = all(one.offered == FRAMES_A_KIND for one in foreign.values())
        return ProbeResult(self.mac, foreign, counts[_OWN], counts[_BROADCAST], None if is_whole else self._obstacle())

    def _obstacle(self) -> str:
        """Say why the bridge did not offer all foreign frames to the tap."""
        now = bridge.port(self._tap)
        if now is None:
            return f"{self._tap} is no longer a port of {self._port.bridge}"
        if now.state != "forwarding":
            return f"the port {self._tap} is {now.state}, not forwarding"
        if now.flood is False:
            return f"unknown unicast is not flooded to the port {self._tap}: its filter is not asked"
        if bridge.bridge_state(self._port.bridge).vlan_filtering:
            return f"{self._port.bridge} filters by VLAN, and the host's own frames are in none of {self._tap}"
        return f"{self._port.bridge} did not flood them to {self._tap}"

    def _commands(self) -> Iterator[str]:
        """Give the commands that make the table, one transaction; the hooks come with their first rules in."""
        table, marked = f"bridge {self.table}", f"ether saddr {format_mac(self.source)}"
        foreign = format_mac(self.mac)
        matches = {kind: f"ether daddr {foreign} ether type {ethertype:#06x}" for kind, ethertype in _KINDS.items()}
        matches |= {
            _OWN: f"ether daddr {format_mac(self._own)}",
            _BROADCAST: f"ether daddr {format_mac(BROADCAST)}",
        }
        yield f"add table {table} {{ flags owner\n}}"
        for point in ("offered", "delivered"):
            for name in matches:
                yield f"add counter {table} {point}-{name}"
        for point, priority in (("offered", _AHEAD), ("delivered", _BEHIND)):
            yield f"add chain {table} {point} {{ type filter hook postrouting priority {priority}\n}}"
            yield f'add rule {table} {point} {marked} oifname != "{self._tap}" drop'
            for name, match in matches.items():
                yield f'add rule {table} {point} {marked} {match} counter name "{point}-{name}"'
        yield f"add rule {table} delivered {marked} drop"

    def _frames(self) -> Iterator[bytes]:
        bodies = {"arp": self._arp(), "ipv4": _ipv4(), "ipv6": _ipv6(), "other": _MARK}
        for _ in range(FRAMES_A_KIND):
            for kind, ethertype in _KINDS.items():
                yield self._frame(self.mac, ethertype, bodies[kind])
        for _ in range(OWN_FRAMES):
            yield self._frame(self._own, _KINDS["arp"], self._arp())
            yield self._frame(BROADCAST, _KINDS["arp"], self._arp())

    def _frame(self, destination: int, ethertype: int, body: bytes) -> bytes:
        head = destination.to_bytes(6, "big") + self.source.to_bytes(6, "big") + ethertype.to_bytes(2, "big")
        return (head + body).ljust(_MINIMUM_OCTETS, b"\0")

    def _arp(self) -> bytes:
        """Give a request that teaches nobody anything: from no address (RFC 5227, 2.1.1), for the guest's if known."""
        head = struct.pack("!HHBBH", 1, _KINDS["ipv4"], 6, 4, 1)
        return head + self.source.to_bytes(6, "big") + bytes(4) + bytes(6) + self._ipv4 + _MARK


def _ipv4() -> bytes:
    """Give a packet between addresses for documentation (RFC 5737), of a protocol for experiments (RFC 3692)."""
    source, destination = bytes((192, 0, 2, 1)), bytes((203, 0, 113, 1))
    words = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(_MARK), 0, 0x4000, 1, 253, 0) + source + destination
    total = sum(struct.unpack("!10H", words))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF  # RFC 1071
    return words[:10] + struct.pack("!H", checksum) + words[12:] + _MARK


def _ipv6() -> bytes:
    """Give a packet between addresses for documentation (RFC 3849) that carries nothing (next header 59)."""
    address = bytes.fromhex("20010db8") + bytes(11)
    return struct.pack("!IHBB", 0x60000000, len(_MARK), 59, 1) + address + b"\1" + address + b"\2" + _MARK
