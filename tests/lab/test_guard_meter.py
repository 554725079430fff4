"""The vital frames of a guest on a real bridge: each kind is counted, ahead of real rules and behind them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Ether

from analyzer.host.guard_meter import GuardMeter
from analyzer.host.meter import meter_tables
from analyzer.model.addresses import format_mac
from analyzer.model.guards import GuardKind
from tests.lab.bridge_bench import ABSENT_MAC, GUEST_MAC, HOST_MAC, TAP, BridgeBench, run, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("the meter needs root, iproute2, nftables and ebtables", allow_module_level=True)

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


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def send_all(bench: BridgeBench, meter: GuardMeter) -> dict[GuardKind, tuple[int, int]]:
    """Send one frame of the first kind, two of the second, and so on, and give what was counted of each."""
    for frames, end in ((FRAMES, "eA"), (SENT, "eT")):
        bench.send(end, (bytes(frame) for times, frame in enumerate(frames.values(), 1) for _ in range(times)))
    bench.send("eA", map(bytes, OTHERS))
    last = {GuardKind.OWN_UNICAST: 19, GuardKind.TCP_REQUEST: 4}
    wait_until(lambda: all(meter.read()[TAP][kind][0] >= times for kind, times in last.items()), "all are counted")
    return meter.read()[TAP]


EXPECTED = {
    **{kind: times for times, kind in enumerate(FRAMES, 1)},
    **{kind: times for times, kind in enumerate(SENT, 1)},
    GuardKind.TCP_ANSWER: 8,
    GuardKind.OWN_UNICAST: 1 + 3 + 5 + 7 + 3,
}


def test_each_kind_is_counted(bench: BridgeBench) -> None:
    with GuardMeter({TAP: (GUEST_MAC,)}) as meter:
        counts = send_all(bench, meter)
        assert meter.table in meter_tables()
    assert counts == {kind: (times, times) for kind, times in EXPECTED.items()}
    assert meter_tables() == ()


def test_what_a_rule_drops_is_offered_and_not_delivered(bench: BridgeBench) -> None:
    run("ebtables", "-t", "nat", "-A", "POSTROUTING", "-o", TAP, "-p", "ARP", "-j", "DROP")
    run("ebtables", "-t", "nat", "-A", "PREROUTING", "-i", TAP, "-p", "IPv4", "-j", "DROP")
    cut = {GuardKind.ARP_UNICAST, GuardKind.ARP_BROADCAST, GuardKind.DHCP_SENT, GuardKind.TCP_REQUEST}
    with GuardMeter({TAP: (GUEST_MAC,)}) as meter:
        counts = send_all(bench, meter)
    own = EXPECTED[GuardKind.OWN_UNICAST]
    assert counts == {
        **{kind: (times, 0 if kind in cut else times) for kind, times in EXPECTED.items()},
        GuardKind.OWN_UNICAST: (own, own - EXPECTED[GuardKind.ARP_UNICAST]),
    }
