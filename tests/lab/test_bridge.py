"""The bridge reader against a real bridge: flags, settings and what it has learnt."""

import os
import shutil
from collections.abc import Iterator

import pytest

from analyzer.errors import HostError, UsageError
from analyzer.host import bridge
from analyzer.model.addresses import format_mac
from tests.lab.bridge_bench import (
    ABSENT_MAC,
    BRIDGE,
    GUEST_MAC,
    HOST_MAC,
    OTHER_TAP,
    TAP,
    BridgeBench,
    run,
    wait_until,
)
from tests.lab.frames import ETHERTYPE_EXPERIMENTAL

if os.geteuid() != 0 or shutil.which("ip") is None:
    pytest.skip("a bridge of one's own needs root and iproute2", allow_module_level=True)


@pytest.fixture(autouse=True)
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def hello(src: int) -> bytes:
    """A frame by which the bridge learns where `src` is."""
    head = ABSENT_MAC.to_bytes(6, "big") + src.to_bytes(6, "big") + ETHERTYPE_EXPERIMENTAL.to_bytes(2, "big")
    return head.ljust(60, b"\0")


def learnt(mac: int) -> bridge.FdbEntry | None:
    return next((entry for entry in bridge.fdb(BRIDGE) if entry.mac == mac and entry.state != "permanent"), None)


def test_which_bridge_a_tap_is_on() -> None:
    assert bridge.bridge_of(TAP) == BRIDGE
    assert bridge.bridge_of("eT") is None
    assert bridge.bridge_of(BRIDGE) is None


def test_a_port_as_the_kernel_made_it() -> None:
    state = bridge.port(TAP)
    assert state is not None
    assert (state.name, state.bridge, state.state, state.kind) == (TAP, BRIDGE, "forwarding", "veth")
    assert (state.learning, state.flood, state.mcast_flood, state.bcast_flood) == (True, True, True, True)
    assert (state.isolated, state.hairpin, state.locked) == (False, False, False)
    assert bridge.port("eT") is None


@pytest.mark.parametrize("flag", ["learning", "flood", "mcast_flood", "bcast_flood", "isolated", "hairpin", "locked"])
@pytest.mark.parametrize("value", [True, False])
def test_each_flag_is_what_was_set(flag: str, value: bool) -> None:  # noqa: FBT001 - parametrized
    run("bridge", "link", "set", "dev", TAP, flag, "on" if value else "off")
    state = bridge.port(TAP)
    assert getattr(state, flag) is value
    others = bridge.port(OTHER_TAP)
    assert others is not None
    assert (others.learning, others.flood, others.isolated) == (True, True, False)


def test_the_ports_of_one_bridge_and_of_all() -> None:
    run("ip", "link", "add", "br1", "type", "bridge")
    run("ip", "link", "add", "a1", "type", "veth", "peer", "name", "b1")
    run("ip", "link", "set", "a1", "master", "br1")
    assert [port.name for port in bridge.ports(BRIDGE)] == ["vA", TAP, OTHER_TAP]
    assert [port.name for port in bridge.ports("br1")] == ["a1"]
    assert {(port.name, port.bridge) for port in bridge.all_ports()} == {
        ("vA", BRIDGE), (TAP, BRIDGE), (OTHER_TAP, BRIDGE), ("a1", "br1"),
    }  # fmt: skip
    run("ip", "link", "del", "a1")
    assert bridge.ports("br1") == ()


def test_the_settings_of_a_bridge() -> None:
    state = bridge.bridge_state(BRIDGE)
    assert (state.name, state.ageing_time_s, state.stp, state.vlan_filtering) == (BRIDGE, 300.0, False, False)
    assert (state.mcast_snooping, state.mcast_querier) == (False, False)
    run("ip", "link", "set", BRIDGE, "type", "bridge", "ageing_time", "0", "stp_state", "1", "mcast_querier", "1")
    state = bridge.bridge_state(BRIDGE)
    assert (state.ageing_time_s, state.stp, state.mcast_querier) == (0.0, True, True)


def test_the_fdb_tells_who_spoke_and_what_was_set(bench: BridgeBench) -> None:
    run("bridge", "fdb", "add", format_mac(ABSENT_MAC), "dev", "vA", "master", "static")
    bench.send("eT", [hello(GUEST_MAC)])
    bench.send("eA", [hello(HOST_MAC)])
    wait_until(lambda: learnt(GUEST_MAC) is not None and learnt(HOST_MAC) is not None, "both are learnt")
    guest, host, absent = learnt(GUEST_MAC), learnt(HOST_MAC), learnt(ABSENT_MAC)
    assert guest is not None
    assert host is not None
    assert absent is not None
    assert (guest.port, guest.state, guest.vlan, guest.extern_learn) == (TAP, "dynamic", None, False)
    assert guest.age_s is not None
    assert 0 <= guest.age_s < 60
    assert (host.port, host.state) == ("vA", "dynamic")
    assert (absent.port, absent.state) == ("vA", "static")
    local = [entry for entry in bridge.fdb(BRIDGE) if entry.state == "permanent"]
    assert {entry.port for entry in local} >= {TAP, OTHER_TAP, "vA"}
    assert all(entry.age_s is None for entry in local)


def test_learning_off_and_entries_gone(bench: BridgeBench) -> None:
    run("bridge", "link", "set", "dev", TAP, "learning", "off")
    bench.send("eT", [hello(GUEST_MAC)])
    bench.send("eA", [hello(HOST_MAC)])
    wait_until(lambda: learnt(HOST_MAC) is not None, "the host is learnt")
    assert learnt(GUEST_MAC) is None


@pytest.mark.parametrize(
    "ask", [bridge.bridge_of, bridge.port, bridge.ports, bridge.bridge_state, bridge.fdb], ids=lambda ask: ask.__name__
)
def test_no_such_interface(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(HostError, match="there is no network interface nosuch0"):
        ask("nosuch0")
    with pytest.raises(UsageError, match="not the name of a network interface"):
        ask("-batch /etc/passwd")


def test_a_port_is_no_bridge() -> None:
    with pytest.raises(HostError, match="is not a Linux bridge"):
        bridge.bridge_state(TAP)
    assert bridge.ports(TAP) == ()
