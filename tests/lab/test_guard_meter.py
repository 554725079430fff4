"""The vital frames of a guest on a real bridge: each kind is counted, ahead of real rules and behind them."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from analyzer.host.guard_meter import GuardMeter
from analyzer.host.meter import meter_tables
from analyzer.model.guards import GuardKind
from generator.deploy.journal_record import JournalRecord
from nwscan.config import Settings
from nwscan.watch import guarding
from tests.generator.deploy.file_door import cards, plan_for
from tests.generator.deploy.hosts import GUEST as GUEST_UUID
from tests.generator.deploy.hosts import HOSTS
from tests.lab.bridge_bench import GUEST_MAC, TAP, BridgeBench, run, wait_until
from tests.vital_frames import EXPECTED, FRAMES, GUEST, HOST, OTHERS, SENT, V4, repeated

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


def test_what_the_host_itself_refuses_is_heard_and_not_sent(bench: BridgeBench) -> None:
    """An IPv4 header that is wrong: br_netfilter drops it between the two counters, whatever the filter does."""
    packet = V4.copy() / TCP(flags="S")
    packet.chksum = 0x1234
    with GuardMeter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eT", [bytes(Ether(dst=HOST, src=GUEST) / packet)] * 3)
        wait_until(lambda: meter.read()[TAP][GuardKind.TCP_REQUEST][0] == 3, "all are heard")
        refused = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        is_refused = refused.exists() and refused.read_text().strip() == "1"
        assert meter.read()[TAP][GuardKind.TCP_REQUEST][1] == (0 if is_refused else 3)


def test_a_guest_that_is_started_anew_is_watched_on_its_new_tap(
    bench: BridgeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libvirt gives it a tap of another name; the old one is gone and counts nothing any more."""
    plan = plan_for(HOSTS["no filter"], GUEST_UUID)
    record, taps = JournalRecord(Path("none"), "", plan, ()), [TAP]
    told: list[str] = []
    found: list[str | None] = []
    card = next(one.identity for one in cards(HOSTS["no filter"]) if one.identity.uuid == GUEST_UUID)
    monkeypatch.setattr(guarding, "_cards", lambda *_: [replace(card, tap=taps[0])])
    monkeypatch.setattr(guarding, "_OPEN_AGAIN_S", 0.1)
    guards = guarding.open_guards(record, Settings(), told.append)
    try:
        wait_until(lambda: guards._meter is not None and guards.look() is None, "it is watched")
        run("ip", "link", "del", TAP)
        taps[0] = "vnet7"
        bench.plug("vnet7", "eT")
        run("ebtables", "-t", "nat", "-A", "POSTROUTING", "-o", "vnet7", "-p", "ARP", "-j", "DROP")
        wait_until(lambda: guards.look() is None and told[-1] == "guards are up on vnet7", "the new one is watched")
        time.sleep(guarding.LOOK_EVERY_S)
        assert guards.look() is None  # where it begins
        bench.send("eA", [bytes(FRAMES[GuardKind.ARP_UNICAST])] * 5)

        def is_found() -> bool:
            found.append(guards.look())
            return found[-1] is not None

        wait_until(is_found, "the harm is found")
    finally:
        guards.close()
    assert "the filter drops" in str(found[-1])
    assert "vnet0 was made anew or is gone: looking for the guest's taps again" in told
