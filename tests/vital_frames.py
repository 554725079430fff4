"""One frame of each kind that a guest cannot do without, and some that are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from analyzer.model.addresses import format_mac
from analyzer.model.guards import GuardKind
from tests.lab.bridge_bench import ABSENT_MAC, GUEST_MAC, HOST_MAC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scapy.packet import Packet

GUEST, HOST, ABSENT = map(format_mac, (GUEST_MAC, HOST_MAC, ABSENT_MAC))
ALL, SOLICITED = "ff:ff:ff:ff:ff:ff", "33:33:ff:00:00:01"
V4, V6 = IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="fe80::1", dst="fe80::2")
FRAMES = {
    GuardKind.ARP_UNICAST: Ether(dst=GUEST, src=HOST) / ARP(op=2),
    GuardKind.ARP_BROADCAST: Ether(dst=ALL, src=HOST) / ARP(op=1),
    GuardKind.ND_UNICAST: Ether(dst=GUEST, src=HOST) / V6 / ICMPv6ND_NA(),
    GuardKind.ND_MULTICAST: Ether(dst=SOLICITED, src=HOST) / V6 / ICMPv6ND_NS(),
    GuardKind.DHCP_UNICAST: Ether(dst=GUEST, src=HOST) / V4 / UDP(sport=67, dport=68) / BOOTP() / DHCP(),
    GuardKind.DHCP_BROADCAST: Ether(dst=ALL, src=HOST) / V4 / UDP(sport=67, dport=68) / BOOTP() / DHCP(),
    GuardKind.TCP_ANSWER: Ether(dst=GUEST, src=HOST) / V4 / TCP(flags="SA"),
}
OTHERS = [
    Ether(dst=ABSENT, src=HOST) / ARP(op=2),
    Ether(dst=GUEST, src=HOST) / V4 / TCP(flags="A"),
    Ether(dst=GUEST, src=HOST) / V6 / TCP(flags="SA"),
    Ether(dst=GUEST, src=HOST) / V4 / UDP(sport=53, dport=1024),
]
"""Foreign ARP, an established connection, an answer over IPv6, DNS: own unicast but for the first."""
SENT = {
    GuardKind.ARP_SENT: Ether(dst=ALL, src=GUEST) / ARP(op=1),
    GuardKind.ND_SENT: Ether(dst=SOLICITED, src=GUEST) / V6 / ICMPv6ND_NS(),
    GuardKind.DHCP_SENT: Ether(dst=ALL, src=GUEST) / V4 / UDP(sport=68, dport=67) / BOOTP() / DHCP(),
    GuardKind.TCP_REQUEST: Ether(dst=HOST, src=GUEST) / V4 / TCP(flags="S"),
}


def repeated(frames: Mapping[GuardKind, Packet]) -> Iterator[bytes]:
    """Give one frame of the first kind, two of the second, and so on."""
    return (bytes(frame) for times, frame in enumerate(frames.values(), 1) for _ in range(times))


EXPECTED = {
    **{kind: times for times, kind in enumerate(FRAMES, 1)},
    **{kind: times for times, kind in enumerate(SENT, 1)},
    GuardKind.TCP_ANSWER: 8,
    GuardKind.OWN_UNICAST: 1 + 3 + 5 + 7 + 3,
}
"""What is counted of each kind where ``FRAMES`` and ``SENT`` are repeated and ``OTHERS`` sent once."""
