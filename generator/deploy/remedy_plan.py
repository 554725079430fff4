"""From a bridge remedy to the steps of a plan, and what stands against it on this bridge.

The remedy is analyzer.causes.remedies', whose commands people are shown; these steps run the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from analyzer.model.addresses import format_mac
from generator.deploy.hook import hook_name, hook_text
from generator.deploy.plan import BridgeStep, InstallHook, SetFdbEntry, SetPortFlag, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.causes.observation import Observation
    from analyzer.causes.remedies import Remedy
    from generator.deploy.door import BridgeDoor


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands against a remedy, what to do about it, and whether ``--force`` may overrule it."""

    reason: str
    hint: str
    can_force: bool = False


def obstacles(remedy: Remedy, seen: Observation, *, with_hook: bool, libvirt_version: str) -> tuple[Obstacle, ...]:
    """Give what stands against the remedy on this bridge."""
    return tuple(_obstacles(remedy, seen, with_hook=with_hook, libvirt_version=libvirt_version))


def _obstacles(remedy: Remedy, seen: Observation, *, with_hook: bool, libvirt_version: str) -> Iterator[Obstacle]:
    if seen.bridge.vlan_filtering:
        reason = f"{seen.bridge.name} filters VLANs: an entry there is of one VLAN, and that was never tried"
        yield Obstacle(reason, "use a filter instead: nwscan suggest (without --remedy)")
    port = seen.looks[-1].port(seen.tap)
    if remedy.flood_off_at is not None and (port is None or port.flood is not True):
        reason = f"{seen.bridge.name} does not flood to {seen.tap} as it is, or this iproute2 does not tell"
        yield Obstacle(reason, "somebody else looks after this port (libvirt's macTableManager, another nwscan)")
    for mac, at in remedy.entries:
        yield from _entry_obstacles(mac, at, seen)
    if with_hook and remedy.flood_off_at is None:
        yield Obstacle("a hook does what is of a guest's own tap", f"leave --hook out: {remedy.migration}")
    if with_hook and tuple(int(part) for part in libvirt_version.split(".")[:2]) < (6, 5):
        reason = f"libvirt {libvirt_version} runs no hooks from a folder (6.5 and later do)"
        yield Obstacle(reason, "leave --hook out, and do it again after each start of the guest")


def _entry_obstacles(mac: int, port: str, seen: Observation) -> Iterator[Obstacle]:
    for entry in seen.looks[-1].entries(mac):
        if entry.state == "permanent":
            reason = f"{format_mac(mac)} is an address of the host itself (permanent at {entry.port})"
            yield Obstacle(reason, "see: bridge fdb show")
        elif entry.extern_learn:
            reason = f"the entry of {format_mac(mac)} is kept by a control plane (extern_learn)"
            yield Obstacle(reason, "that is where to change it")
        elif entry.port != port:
            reason = f"{seen.bridge.name} knows {format_mac(mac)} at {entry.port}, not at {port}"
            yield Obstacle(reason, "it moved, or two machines have this address: see nwscan explain")


def remedy_steps(
    remedy: Remedy, seen: Observation, door: BridgeDoor, *, also_macs: tuple[int, ...] = (), with_hook: bool = False
) -> tuple[BridgeStep, ...]:
    """Give the steps, those that keep the guest reachable first: entries before the flooding is turned off.

    ``also_macs`` are further addresses of the guest's own, which get an entry at its tap as well.
    """
    own, bridge, uuid = format_mac(seen.identity.macs[0]), seen.bridge.name, seen.identity.uuid or ""
    entries = list(remedy.entries)
    if remedy.flood_off_at is not None:
        entries += [(mac, seen.tap) for mac in also_macs if mac not in dict(entries)]
    steps: list[BridgeStep] = []
    if with_hook:
        macs = tuple(format_mac(mac) for mac, _ in entries)
        text = hook_text(uuid, own, bridge, macs)
        if door.hook(hook_name(uuid, own)) != text:
            steps.append(InstallHook(own, bridge, macs, digest(text)))
    for mac, port in entries:
        look, entry = door.port(port), door.entry(bridge, mac)
        before: Literal["dynamic", "static"] | None = None
        if entry is not None:
            before = "static" if entry.state == "static" else "dynamic"
        if look is not None and before != "static":
            card = own if port == seen.tap else None
            steps.append(SetFdbEntry(card, port, look.ifindex, bridge, format_mac(mac), before))
    look = None if remedy.flood_off_at is None else door.port(remedy.flood_off_at)
    if look is not None and remedy.flood_off_at is not None and look.flood:
        steps.append(SetPortFlag(own, remedy.flood_off_at, look.ifindex, bridge, before=True, after=False))
    return tuple(steps)
