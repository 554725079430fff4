"""What iproute2 prints, of this version and of others, read without a bridge."""

import json

from analyzer.host.bridge import FdbEntry, parse_bridge, parse_fdb, parse_ports

PORT = {
    "ifname": "vnet0",
    "master": "br0",
    "address": "fe:54:00:00:00:01",
    "linkinfo": {
        "info_kind": "tun",
        "info_slave_kind": "bridge",
        "info_slave_data": {"state": "forwarding", "learning": True, "flood": False, "isolated": True},
    },
}


def test_flags_that_this_iproute2_does_not_tell_are_unknown() -> None:
    (state,) = parse_ports(json.dumps([PORT]))
    assert (state.learning, state.flood, state.isolated) == (True, False, True)
    assert (state.mcast_flood, state.bcast_flood, state.hairpin, state.locked) == (None, None, None, None)
    assert state.kind == "tun"
    assert state.mac == 0xFE5400000001


def test_ports_of_what_is_no_linux_bridge_are_left_out() -> None:
    openvswitch = PORT | {"master": "ovs-system", "linkinfo": {"info_kind": "tun", "info_slave_kind": "openvswitch"}}
    bond = PORT | {"master": "bond0", "linkinfo": {"info_slave_kind": "bond", "info_slave_data": {}}}
    alone = {"ifname": "lo", "address": "00:00:00:00:00:00"}
    assert parse_ports(json.dumps([openvswitch, bond, alone, {}])) == ()
    assert parse_ports("") == parse_ports("[]") == parse_ports("[{}]\n") == ()


def test_what_is_no_bridge_has_no_settings() -> None:
    assert parse_bridge(json.dumps([PORT])) is None
    assert parse_bridge("") is None


def test_bridge_times_are_told_in_hundredths_of_a_second() -> None:
    info = {"info_kind": "bridge", "info_data": {"ageing_time": 29999}}
    link = {"ifname": "br0", "address": "02:00:00:00:00:01", "linkinfo": info}
    state = parse_bridge(json.dumps([link]))
    assert state is not None
    assert (state.ageing_time_s, state.stp, state.nf_call_iptables) == (299.99, False, False)


def test_fdb_entries_of_every_kind() -> None:
    """After a listing with VLAN filtering, which not every kernel has."""
    times = {"used": 3, "updated": 2}
    ours: dict[str, object] = {"master": "br0", "flags": []}
    entries = [
        {"mac": "33:33:00:00:00:01", "ifname": "br0", "flags": ["self"], "state": "permanent"},
        {"mac": "52:54:00:00:00:01", "ifname": "vnet0", "vlan": 5, "state": "", **times, **ours},
        {"mac": "52:54:00:00:00:02", "ifname": "vnet1", **times, **ours, "flags": ["extern_learn"]},
        {"mac": "02:aa:00:00:00:50", "ifname": "vA", "vlan": 1, "state": "static", **times, "master": "br0"},
        {"mac": "fe:54:00:00:00:01", "ifname": "vnet0", "state": "permanent", **times, **ours},
        {"mac": "02:00:00:00:00:09", "ifname": "vnet0", "flags": ["self"], "state": "permanent"},
        {"mac": "02:00:00:00:00:0a", "ifname": "vnet9", "master": "br1", "flags": []},
    ]
    assert parse_fdb(json.dumps(entries), "br0") == (
        FdbEntry(0x525400000001, "vnet0", "dynamic", 5, 2.0),
        FdbEntry(0x525400000002, "vnet1", "dynamic", None, 2.0, extern_learn=True),
        FdbEntry(0x02AA00000050, "vA", "static", 1, 2.0),
        FdbEntry(0xFE5400000001, "vnet0", "permanent", None, None),
    )
