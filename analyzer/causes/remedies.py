"""The remedies: for each cause which ones fit, in the order of advice, as exact commands with their way back.

Each says what it does, what may go wrong, and what becomes of it when the guest restarts or migrates. An FDB entry is
never made ``permanent``: that means an address of the host itself, and cuts off the machine that has it.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.causes.rules import CauseName
from analyzer.host.bridge_words import EntryState, entry_words, flood_words, typed_words
from analyzer.model.addresses import format_mac

if TYPE_CHECKING:
    from analyzer.causes.observation import Destination, Observation
    from analyzer.causes.rules import Finding

DEFAULT_AGEING_S: Final = 300
"""IEEE 802.1Q-2022, table 8-6: the recommended ageing time."""

LONG_AGEING_S: Final = 4 * 3600
"""Above the ARP timeout of common routers (4 h on many): an address is then asked for before it is forgotten."""

_HUNDREDTHS: Final = 100
"""ip-link(8) takes bridge times in hundredths of a second (USER_HZ)."""

_LISTED: Final = 20
"""FDB commands that are printed at the most: for more addresses this remedy is the wrong one."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to be rid of it. ``commands`` and ``undo`` are lines for a shell, as root."""

    name: str
    title: str
    commands: tuple[str, ...]
    undo: tuple[str, ...]
    effect: str
    risk: str
    migration: str
    entries: tuple[tuple[int, str], ...] = ()
    """The addresses that get a static entry, and the port of each."""
    flood_off_at: str | None = None
    """The port to which nothing unknown is flooded any more."""


Case = tuple["Destination", "Finding"]
Maker = Callable[[tuple[Case, ...], "Observation"], Remedy | None]

_NOT_KEPT: Final = "Not part of the guest's XML: gone when the guest restarts or migrates (its tap is made anew);"
_HOOK: Final = f"{_NOT_KEPT} redo it in /etc/libvirt/hooks/qemu"
_OF_BRIDGE: Final = "A setting of this bridge: a guest that migrates finds the other host's; write it where the bridge"


def remedies(name: CauseName, cases: tuple[Case, ...], seen: Observation) -> tuple[Remedy, ...]:
    """Give the remedies that fit, the advised one first; empty where none is known."""
    made = (make(cases, seen) for make in _BY_CAUSE[name])
    return tuple(remedy for remedy in made if remedy is not None)


def _filter(cases: tuple[Case, ...], seen: Observation) -> Remedy:
    target = shlex.quote(_target(seen))
    extra = " ".join(f"--also-mac {format_mac(each.mac)}" for each, _ in cases[:_LISTED] if _is_shared(cases))
    asks = f"; if the guest takes part in it: nwscan suggest --apply {target} {extra}" if extra else ""
    return Remedy(
        "filter",
        "a filter on the guest's card",
        (f"nwscan suggest --apply {target}",),
        (f"nwscan rollback {shlex.quote(seen.identity.name or seen.tap)}",),
        "Drops foreign unicast in front of this tap, whatever the bridge floods; it goes on flooding to others",
        f"A guest that uses further MACs (nested guests, macvlan, VRRP, NLB) needs them in it (--also-mac){asks}",
        "The reference travels with the guest's XML; the filters must be defined on the other host before, or the "
        "guest is refused there",
    )


def _is_shared(cases: tuple[Case, ...]) -> bool:
    return cases[0][1].name in {CauseName.VIRTUAL_MAC, CauseName.BEHIND_GUEST}


def flood_off_for(seen: Observation) -> Remedy:
    """Give the remedy that fits whatever is flooded: nothing unknown reaches the tap any more."""
    return _flood_off((), seen)


def _flood_off(_: tuple[Case, ...], seen: Observation) -> Remedy:
    macs, tap, known = seen.identity.macs, seen.tap, seen.looks[-1]
    before = {mac: next((entry for entry in known.entries(mac) if entry.port == tap), None) for mac in macs}
    learnt = tuple(mac for mac in macs if (entry := before[mac]) is None or entry.state == "dynamic")
    return flood_off(macs, tap, learnt)


def flood_off(macs: tuple[int, ...], tap: str, learnt: tuple[int, ...]) -> Remedy:
    """Give the remedy for a card of ``macs``; those ``learnt`` have no entry yet that somebody made."""
    back = tuple(_entry(mac, tap, "dynamic") for mac in learnt)
    return Remedy(
        "flood_off",
        "no flooding to this tap, with a static FDB entry for each MAC of the guest",
        (*(_entry(mac, tap, "static") for mac in macs), typed_words(flood_words(tap, is_on=False))),
        (typed_words(flood_words(tap, is_on=True)), *back),
        "Nothing unknown is flooded to this tap any more; broadcast and multicast stay",
        "The guest is cut off at any further MAC that it uses and has no entry for. The entries are static, never "
        "permanent: a permanent one would cut the guest off",
        _HOOK,
        tuple((mac, tap) for mac in macs),
        tap,
    )


def _static(cases: tuple[Case, ...], seen: Observation) -> Remedy | None:
    placed = [(each.mac, finding.port) for each, finding in cases if finding.port not in {None, seen.tap}]
    if not placed or len(placed) > _LISTED:
        return None
    pairs = [(mac, str(port)) for mac, port in placed]
    missing = len(cases) - len(placed)
    some = f" ({missing} more: their port is not known)" if missing else ""
    return Remedy(
        "static_entry",
        "a static FDB entry for the destination, on its own port",
        tuple(_entry(mac, port, "static") for mac, port in pairs),
        tuple(_entry(mac, port, None) for mac, port in pairs),
        f"The bridge sends these frames to that port alone, for all guests, although the machine is silent{some}",
        "If the machine is unplugged and goes elsewhere, frames to it still go to the old port until it speaks from "
        "the new one",
        "Gone with the port, and at the next boot; a machine that migrates away and is silent is sought here",
        tuple(pairs),
    )


def _ageing_default(_: tuple[Case, ...], seen: Observation) -> Remedy | None:
    return _ageing(
        seen,
        DEFAULT_AGEING_S,
        "ageing",
        "the usual ageing time, so that the bridge learns",
        f"{seen.bridge.name} learns again, from the next frame that each machine sends",
        "Somebody may have made it a hub on purpose (a port that watches, a container network's own forwarding)",
    )


def _ageing_longer(_: tuple[Case, ...], seen: Observation) -> Remedy | None:
    return _ageing(
        seen,
        LONG_AGEING_S,
        "ageing",
        "an ageing time above the ARP timeouts",
        f"{seen.bridge.name} remembers silent machines for {LONG_AGEING_S // 3600} h, once they have spoken again",
        "A machine that moved without a word is sought at its old port for as long; the FDB grows",
    )


def _ageing(seen: Observation, ageing_s: int, name: str, title: str, effect: str, risk: str) -> Remedy | None:
    bridge, now = shlex.quote(seen.bridge.name), round(seen.bridge.ageing_time_s * _HUNDREDTHS)
    if now >= ageing_s * _HUNDREDTHS:
        return None
    return Remedy(
        name,
        title,
        (f"ip link set dev {bridge} type bridge ageing_time {ageing_s * _HUNDREDTHS}",),
        (f"ip link set dev {bridge} type bridge ageing_time {now}",),
        effect,
        risk,
        f"{_OF_BRIDGE} is configured",
    )


def _learning_on(cases: tuple[Case, ...], _: Observation) -> Remedy:
    ports = sorted({port for _each, finding in cases for port in finding.ports})
    return Remedy(
        "learning_on",
        "learning on at the ports that do not learn",
        tuple(f"bridge link set dev {shlex.quote(port)} learning on" for port in ports),
        tuple(f"bridge link set dev {shlex.quote(port)} learning off" for port in ports),
        "What is behind these ports is known from the next frame on that it sends",
        "Somebody may have turned it off on purpose (libvirt's macTableManager, EVPN or another control plane that "
        "makes the entries): then the entries are what is missing",
        f"{_OF_BRIDGE} and its ports are configured",
    )


def _mac_table_manager(_: tuple[Case, ...], seen: Observation) -> Remedy | None:
    network = seen.network
    if network is None:
        return None
    name = shlex.quote(network)
    edit = "sed \"/macTableManager/!s/<bridge name='/<bridge macTableManager='libvirt' name='/\""
    return Remedy(
        "mac_table_manager",
        "libvirt makes the FDB entries of this network",
        (
            f"virsh net-dumpxml --inactive {name} > before.xml",
            f"{edit} before.xml > after.xml",
            "virsh net-define after.xml",
            f"virsh net-destroy {name} && virsh net-start {name}  # then restart its guests",
        ),
        ("virsh net-define before.xml", f"virsh net-destroy {name} && virsh net-start {name}"),
        "libvirt turns learning and flooding off at each tap of the network and makes a static entry for each card",
        "Restarting the network cuts its guests off until they are restarted; a guest with further MACs loses them. "
        "Not tried by nwscan's tests",
        "Kept with the network, and made anew for each tap; the other host's network needs it as well",
    )


def _isolation(cases: tuple[Case, ...], seen: Observation) -> Remedy | None:
    """Fits where other guests alone are the source."""
    macs = {mac for each, _ in cases for mac in each.sources}
    ports = {port for mac in macs for port in seen.ports_of(mac)}
    unplaced = any(not seen.ports_of(mac) for mac in macs)
    if not ports or unplaced or any(seen.guest_at(port) is None for port in ports) or seen.tap in ports:
        return None
    taps = [seen.tap, *sorted(ports)]
    return Remedy(
        "isolation",
        "isolate the ports of these guests from each other",
        tuple(f"bridge link set dev {shlex.quote(tap)} isolated on" for tap in taps),
        tuple(f"bridge link set dev {shlex.quote(tap)} isolated off" for tap in taps),
        "No frame goes from one isolated port to another",
        "These guests cannot reach each other any more, not even by broadcast",
        "<port isolated='yes'/> in the interface's XML keeps it and takes it along",
    )


def _stale_entry(cases: tuple[Case, ...], seen: Observation) -> Remedy | None:
    here = {entry.mac for entry in seen.looks[-1].fdb if entry.port == seen.tap}
    macs = [each.mac for each, _ in cases if each.mac in here][:_LISTED]
    if not macs:
        return None
    return Remedy(
        "stale_entry",
        "delete the entry that leads to this tap",
        tuple(_entry(mac, seen.tap, None) for mac in macs),
        tuple(_entry(mac, seen.tap, "dynamic") for mac in macs),
        "The bridge floods frames to the address until it speaks from its new port, and knows it from then on",
        "If the guest does use this address, it gets these frames by flooding alone until it speaks",
        "Nothing is left to carry along",
    )


def _find_mirror(cases: tuple[Case, ...], seen: Observation) -> Remedy:
    sources = {port for each, _ in cases for mac in each.sources for port in seen.ports_of(mac)}
    ports = sorted({seen.tap, *sources})
    looks = [
        f"tc filter show dev {shlex.quote(port)} {hook}" for port in ports[:_LISTED] for hook in ("ingress", "egress")
    ]
    return Remedy(
        "find_mirror",
        "find what mirrors to this tap (these commands only look)",
        (*looks, "nft list table netdev filter  # and other tables of this family: dup to, fwd to"),
        (),
        "Whoever set the mirror up ends it: tc filter del dev PORT ingress|egress",
        "A mirror is there on purpose, such as for an intrusion detection; an nwfilter does not see its frames",
        "A mirror is of this host and its taps' names",
    )


def _entry(mac: int, port: str, state: EntryState | None) -> str:
    return typed_words(entry_words(mac, port, state))


def _target(seen: Observation) -> str:
    """Give what TARGET takes for the card: its tap where the guest has several cards, else its guest's name."""
    mine = [card for card in seen.cards if card.uuid == seen.identity.uuid and card.uuid is not None]
    return seen.tap if len(mine) > 1 or seen.identity.name is None else seen.identity.name


_BY_CAUSE: Final[dict[CauseName, tuple[Maker, ...]]] = {
    CauseName.HUB: (_ageing_default, _flood_off, _filter),
    CauseName.LEARNING_OFF: (_learning_on, _static, _flood_off, _filter),
    CauseName.AGED_OUT: (_static, _ageing_longer, _filter, _flood_off, _mac_table_manager, _isolation),
    CauseName.NEVER_LEARNT: (_filter, _flood_off, _static, _mac_table_manager, _isolation),
    CauseName.FLUSHED: (_filter, _static, _flood_off, _mac_table_manager),
    CauseName.VIRTUAL_MAC: (_filter, _flood_off),
    CauseName.MOVED_MAC: (_stale_entry, _filter),
    CauseName.BEHIND_GUEST: (_filter,),
    CauseName.MIRROR: (_find_mirror,),
    CauseName.UNKNOWN: (_filter,),
}
