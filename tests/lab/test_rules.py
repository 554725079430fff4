"""The kernel's rules for a tap, read back from real tables with real counters."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.host.meter import Meter
from analyzer.host.rules import Backend, kernel_rules
from analyzer.model.addresses import format_mac
from tests.lab.bridge_bench import (
    ABSENT_MAC,
    GUEST_MAC,
    HOST_MAC,
    OTHER_TAP,
    TAP,
    BridgeBench,
    drop_foreign,
    run,
    wait_until,
)
from tests.lab.frames import ETHERTYPE_EXPERIMENTAL

LISTINGS = Path(__file__).resolve().parents[1] / "analyzer" / "host" / "listings"

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("rules of one's own need root, iproute2, nftables and ebtables", allow_module_level=True)


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def frames(dst: int, count: int, size: int) -> list[bytes]:
    head = dst.to_bytes(6, "big") + HOST_MAC.to_bytes(6, "big") + ETHERTYPE_EXPERIMENTAL.to_bytes(2, "big")
    return [head.ljust(size, b"\0")] * count


@pytest.mark.usefixtures("bench")
def test_a_tap_without_rules() -> None:
    rules = kernel_rules(TAP)
    assert (rules.backend, rules.present, rules.rules, rules.leftover) == (None, False, (), ())


def test_ebtables_rules_and_their_counters(bench: BridgeBench) -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    bench.send("eA", frames(ABSENT_MAC, 7, 100) + frames(GUEST_MAC, 3, 60))
    wait_until(lambda: kernel_rules(TAP).rules[0].packets == 10, "ten frames at the tap's rules")
    rules = kernel_rules(TAP)
    assert (rules.backend, rules.present, rules.leftover) == (Backend.EBTABLES, True, ())
    assert [(rule.chain, rule.text, rule.packets, rule.octets, rule.to_guest) for rule in rules.rules] == [
        ("POSTROUTING", "-o vnet0 -j libvirt-O-vnet0", 10, 880, True),
        ("libvirt-O-vnet0", "-j O-vnet0-mac-nws", 10, 880, True),
        ("O-vnet0-mac-nws", "-d 52:54:00:00:00:01 -j RETURN", 3, 180, True),
        ("O-vnet0-mac-nws", "-d Multicast -j RETURN", 0, 0, True),
        ("O-vnet0-mac-nws", "-j DROP", 7, 700, True),
    ]
    assert not kernel_rules(OTHER_TAP).present


@pytest.mark.usefixtures("bench")
def test_the_same_rules_through_nft_where_ebtables_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    monkeypatch.setattr("analyzer.host.rules.program_path", lambda name: None if name.endswith("-save") else name)
    rules = kernel_rules(TAP)
    assert (rules.backend, rules.present) == (Backend.EBTABLES, True)
    assert [(rule.chain, rule.text) for rule in rules.rules] == [
        ("POSTROUTING", "oifname vnet0 jump libvirt-O-vnet0"),
        ("libvirt-O-vnet0", "jump O-vnet0-mac-nws"),
        ("libvirt-O-vnet0", "accept"),
        ("O-vnet0-mac-nws", "ether daddr 52:54:00:00:00:01 return"),
        ("O-vnet0-mac-nws", "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 return"),
        ("O-vnet0-mac-nws", "drop"),
    ]


def test_rules_in_the_layout_of_the_nftables_backend(bench: BridgeBench) -> None:
    """Made by hand after libvirt's source: that backend itself was not there to be tried."""
    run("nft", "-f", str(LISTINGS / "libvirt_nwfilter.nft"))
    bench.send("eA", frames(ABSENT_MAC, 7, 100) + frames(GUEST_MAC, 3, 60))
    wait_until(lambda: kernel_rules(TAP).rules[4].packets == 7, "seven frames dropped")
    rules = kernel_rules(TAP)
    assert (rules.backend, rules.present, rules.leftover) == (Backend.NFTABLES, True, ())
    assert [(rule.chain, rule.text, rule.packets, rule.octets) for rule in rules.rules if rule.to_guest][:5] == [
        ("postrouting", "oif vnet0 jump vnet0-in", None, None),
        ("vnet0-in", "jump vnet0-mac-nws-in", None, None),
        ("vnet0-in", "ether type ip jump vnet0-ipv4-in", None, None),
        ("vnet0-mac-nws-in", 'ether daddr 52:54:00:00:00:01 return comment "priority=100"', None, None),
        ("vnet0-mac-nws-in", 'drop comment "priority=900"', 7, 700),
    ]


@pytest.mark.usefixtures("bench")
def test_a_running_meter_does_not_get_in_the_way_of_reading() -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        rules = kernel_rules(TAP)
        assert rules.present
        assert not any(meter.table in rule.table for rule in rules.rules)


@pytest.mark.usefixtures("bench")
def test_what_a_switch_of_backends_left_behind_is_told() -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    run("nft", "-f", str(LISTINGS / "libvirt_nwfilter.nft"))
    rules = kernel_rules(TAP)
    assert rules.backend is Backend.NFTABLES
    assert "-j DROP" in {rule.text for rule in rules.leftover}
