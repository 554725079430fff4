"""The bridge a tap hangs on: its settings, its ports' flags and what it has learnt (FDB), read from iproute2's JSON.

Reads only. Parsers are pure; the kernel is asked through ``ip`` and ``bridge``, which every host with a Linux bridge
has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from analyzer.errors import HostError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.programs import ProgramFailedError, run_program
from analyzer.model.addresses import is_group, parse_mac

_USER_HZ: Final = 100
"""Ticks a second of the kernel's clock_t, in which ``ip`` prints bridge times."""

# the shape of iproute2's JSON is its own affair: each reader below takes what it needs and tolerates what is missing
_Json: TypeAlias = "dict[str, Any]"


@dataclass(frozen=True, slots=True)
class PortState:
    """One port of a bridge. The flags are bridge(8)'s; None where this iproute2 does not tell."""

    name: str
    bridge: str
    mac: int
    state: str
    """``forwarding``, ``learning``, ``disabled``, ... of STP."""
    kind: str | None
    """What the device is: ``tun``, ``veth``, ``vlan``; None for a plain card."""
    learning: bool | None
    flood: bool | None
    """Unknown unicast is flooded to this port."""
    mcast_flood: bool | None
    bcast_flood: bool | None
    isolated: bool | None
    hairpin: bool | None
    locked: bool | None


@dataclass(frozen=True, slots=True)
class BridgeState:
    """The settings of a bridge that decide whether it floods. ``ageing_time_s`` 0 makes it a hub."""

    name: str
    mac: int
    ageing_time_s: float
    stp: bool
    vlan_filtering: bool
    mcast_snooping: bool
    mcast_querier: bool
    nf_call_iptables: bool
    """Bridged frames also go through iptables (br_netfilter)."""


@dataclass(frozen=True, slots=True)
class FdbEntry:
    """One entry of a bridge's forwarding database: frames to ``mac`` leave through ``port``.

    ``state`` is ``dynamic`` (learnt), ``static`` or ``permanent`` (a local address: frames to it go to the host).
    ``age_s`` is the time since the address last spoke and ``vlan`` the VLAN ID; None where they do not apply.
    """

    mac: int
    port: str
    state: str
    vlan: int | None
    age_s: float | None
    extern_learn: bool = False


def bridge_of(tap: str) -> str | None:
    """Give the bridge that the tap is a port of; None where it is none of a Linux bridge (free, Open vSwitch, bond).

    Raises HostError where there is no such interface.
    """
    link = _link(checked_interface_name(tap))
    return _master_bridge(link)


def port(tap: str) -> PortState | None:
    """Give the port that the tap is; None where it is none. Raises HostError for no such interface."""
    return _port_state(_link(checked_interface_name(tap)))


def ports(bridge: str) -> tuple[PortState, ...]:
    """Give the ports of a bridge, in the order of their names. Raises HostError where there is no such interface."""
    return parse_ports(
        _ask("ip", bridge, "-details", "-json", "link", "show", "master", checked_interface_name(bridge))
    )


def all_ports() -> tuple[PortState, ...]:
    """Give the ports of every bridge in this network namespace, in the order of their names."""
    return parse_ports(run_program("ip", "-details", "-json", "link", "show"))


def bridge_state(bridge: str) -> BridgeState:
    """Give the settings of a bridge. Raises HostError where there is none of that name."""
    link = _link(checked_interface_name(bridge))
    state = _bridge_state(link)
    if state is None:
        raise HostError(
            f"{bridge} is not a Linux bridge", f"network interface {bridge}", "name a bridge (ip link show type bridge)"
        )
    return state


def fdb(bridge: str) -> tuple[FdbEntry, ...]:
    """Give the unicast entries of a bridge's forwarding database. Raises HostError where there is no such bridge."""
    name = checked_interface_name(bridge)
    return parse_fdb(_ask("bridge", bridge, "-statistics", "-json", "fdb", "show", "br", name), name)


def received_frames(bridge: str) -> dict[str, int]:
    """Give how many frames each port of a bridge has received since it was made: what its guest or host has sent."""
    name = checked_interface_name(bridge)
    return parse_received(_ask("ip", bridge, "-statistics", "-json", "link", "show", "master", name))


def parse_received(text: str) -> dict[str, int]:
    """Read the output of ``ip -statistics -json link show``: received frames by interface, where they are told."""
    counts = ((link, (link.get("stats64") or {}).get("rx") or {}) for link in _entries(text))
    return {str(link["ifname"]): int(rx["packets"]) for link, rx in counts if "packets" in rx}


def parse_ports(text: str) -> tuple[PortState, ...]:
    """Read the output of ``ip -details -json link show``: what is a port of a Linux bridge, by name."""
    found = [state for link in _entries(text) if (state := _port_state(link)) is not None]
    return tuple(sorted(found, key=lambda state: state.name))


def parse_bridge(text: str) -> BridgeState | None:
    """Read the output of ``ip -details -json link show dev BRIDGE``; None where it is not a bridge."""
    links = _entries(text)
    return _bridge_state(links[0]) if links else None


def parse_fdb(text: str, bridge: str) -> tuple[FdbEntry, ...]:
    """Read the output of ``bridge -statistics -json fdb show br BRIDGE``: its own unicast entries, in their order."""
    entries = []
    for entry in _entries(text):
        mac = parse_mac(str(entry["mac"]))
        flags = entry.get("flags") or []
        of_bridge = entry.get("master") == bridge or (entry.get("ifname") == bridge and "self" not in flags)
        if not of_bridge or is_group(mac):
            continue
        state = str(entry.get("state") or "dynamic")
        entries.append(
            FdbEntry(
                mac,
                str(entry["ifname"]),
                state if state in {"static", "permanent"} else "dynamic",
                int(entry["vlan"]) if entry.get("vlan") is not None else None,
                float(entry["updated"]) if entry.get("updated") is not None and state != "permanent" else None,
                "extern_learn" in flags,
            )
        )
    return tuple(entries)


def _entries(text: str) -> list[_Json]:
    """Read a JSON list of objects; old iproute2 prints nothing at all for an empty one, and ``{}`` inside some."""
    if not text.strip():
        return []
    return [entry for entry in json.loads(text) if entry]


def _ask(program: str, interface: str, *arguments: str) -> str:
    try:
        return run_program(program, *arguments)
    except ProgramFailedError as error:
        if "does not exist" in error.output or "Cannot find" in error.output or "No such device" in error.output:
            raise _no_interface(interface) from error
        raise


def _no_interface(interface: str) -> HostError:
    return HostError(
        f"there is no network interface {interface}", "this network namespace", "see what there is with: nwscan list"
    )


def _link(interface: str) -> _Json:
    links = _entries(_ask("ip", interface, "-details", "-json", "link", "show", "dev", interface))
    if not links:
        raise _no_interface(interface)
    return links[0]


def _master_bridge(link: _Json) -> str | None:
    info = link.get("linkinfo") or {}
    return str(link["master"]) if info.get("info_slave_kind") == "bridge" and link.get("master") else None


def _port_state(link: _Json) -> PortState | None:
    bridge = _master_bridge(link)
    if bridge is None:
        return None
    info = link["linkinfo"]
    data = info.get("info_slave_data") or {}
    return PortState(
        name=str(link["ifname"]),
        bridge=bridge,
        mac=parse_mac(str(link["address"])),
        state=str(data.get("state") or "unknown"),
        kind=info.get("info_kind"),
        learning=data.get("learning"),
        flood=data.get("flood"),
        mcast_flood=data.get("mcast_flood"),
        bcast_flood=data.get("bcast_flood"),
        isolated=data.get("isolated"),
        hairpin=data.get("hairpin"),
        locked=data.get("locked"),
    )


def _bridge_state(link: _Json) -> BridgeState | None:
    info = link.get("linkinfo") or {}
    if info.get("info_kind") != "bridge":
        return None
    data = info.get("info_data") or {}
    return BridgeState(
        name=str(link["ifname"]),
        mac=parse_mac(str(link["address"])),
        ageing_time_s=data["ageing_time"] / _USER_HZ,
        stp=bool(data.get("stp_state")),
        vlan_filtering=bool(data.get("vlan_filtering")),
        mcast_snooping=bool(data.get("mcast_snooping")),
        mcast_querier=bool(data.get("mcast_querier")),
        nf_call_iptables=bool(data.get("nf_call_iptables")),
    )
