"""The vital frames of a guest on a real bridge: each kind is counted, ahead of real rules and behind them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from analyzer.host.guard_meter import GuardMeter
from analyzer.host.meter import meter_tables
from analyzer.model.guards import GuardKind
from tests.lab.bridge_bench import GUEST_MAC, TAP, BridgeBench, run, wait_until
from tests.vital_frames import EXPECTED, FRAMES, OTHERS, SENT, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("the meter needs root, iproute2, nftables and ebtables", allow_module_level=True)


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def send_all(bench: BridgeBench, meter: GuardMeter) -> dict[GuardKind, tuple[int, int]]:
    """Send one frame of the first kind, two of the second, and so on, and give what was counted of each."""
    for frames, end in ((FRAMES, "eA"), (SENT, "eT")):
        bench.send(end, repeated(frames))
    bench.send("eA", map(bytes, OTHERS))
    last = {GuardKind.OWN_UNICAST: 19, GuardKind.TCP_REQUEST: 4}
    wait_until(lambda: all(meter.read()[TAP][kind][0] >= times for kind, times in last.items()), "all are counted")
    return meter.read()[TAP]


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
