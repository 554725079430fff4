"""What the tests of applying and undoing need of the lab: the texts that must come back, doors with faults, guests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from analyzer.host.guests import Binding, LibvirtReader
from analyzer.host.rules import half_made, kernel_rules
from analyzer.model.addresses import parse_mac
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.hook import HOOKS, hook_text
from generator.deploy.journal import Journal
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.plan import InstallHook, Plan, SetFdbEntry, SetPortFlag, digest
from generator.deploy.repair import repair_steps
from generator.deploy.status import card_statuses
from generator.deploy.transaction import apply, rollback
from generator.suggest.profiles import profile_filters
from nwscan.api.host_reading import bridge_looks
from nwscan.api.planning import make_plan, read_library
from tests.generator.deploy.killing import Killer
from tests.lab import layout
from tests.lab.kernel_calls import call_in_network
from tests.lab.paused_guest import MACS, NAME, UUID, cards, filterref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from analyzer.host.rules import KernelRules
    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.status import CardStatus
    from generator.deploy.transaction import Undone
    from tests.lab.lab import Lab

ADDRESSES = (("IP", "192.0.2.108"), ("IP", "192.0.2.109"))
CLEAN = filterref("clean-traffic", ADDRESSES)
QUICK = filterref("no-mac-broadcast")
"""A stock filter of one rule: it is attached in a moment."""
ADDRESSED = filterref("no-ip-multicast", ADDRESSES)
"""Another one, with parameters that it does not use."""
EXTRA = (parse_mac("52:54:00:00:08:77"),)
PORT = re.compile(r" portid='[0-9a-f-]+'")
"""libvirt gives a card on a network a new port at each change."""
MUTATING = frozenset(
    {"define_filter", "undefine_filter", "update_interface", "set_flood", "set_entry", "write_hook", "remove_hook"}
)


@dataclass(frozen=True)
class Texts:
    """All that a change may touch, as libvirt prints it."""

    live: Mapping[str, str]
    inactive: Mapping[str, str]
    filters: Mapping[str, str]
    bindings: tuple[Binding, ...]


class LabBridge:
    """The door to the lab's bridges for this process, whose network is another one; each change is two points."""

    def __init__(self, lab: Lab, killer: Killer | None = None) -> None:
        self._door = BridgeWriter(lab.outside(HOOKS))
        self._network = lab.network
        self._killer = killer or Killer()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the door has
        found = getattr(self._door, name)

        def call(*arguments: object, **options: object) -> object:
            if name in MUTATING:
                self._killer.point()
            result = call_in_network(self._network, partial(found, *arguments, **options))
            if name in MUTATING:
                self._killer.point()
            return result

        return call


class LabWriter(LibvirtWriter):
    """The writing door to the lab's libvirt for this process, whose network is another one."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.outside_uri, LabBridge(lab))
        self._network = lab.network

    def rules_of(self, tap: str) -> KernelRules:
        return call_in_network(self._network, partial(kernel_rules, tap))


class Bench:
    """The lab's libvirt and a journal of the test's own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.uri = lab.outside_uri
        self.folder = folder
        self.journal = Journal(folder)

    def texts(self) -> Texts:
        with LibvirtReader(self.uri) as reader:
            found = {card.identity.name or "": card for card in reader.cards()}
            return Texts(
                {name: PORT.sub("", reader.domain_xml(name)) for name, card in found.items() if card.running},
                {name: reader.domain_xml(name, inactive=True) for name, card in found.items() if card.persistent},
                {name: reader.filter_xml(name) for name in reader.filter_names()},
                reader.bindings(),
            )

    def plan(self, target: str = NAME, extra: tuple[int, ...] = (), profile: str = "mac") -> Plan:
        with LibvirtReader(self.uri) as reader:
            library = read_library(reader)
            found = reader.resolve(target, need_tap=False)
            changes = [(card, profile_filters(card, profile, extra, library=library)) for card in found]
            return make_plan(changes, reader, profile=profile)

    def apply(self, plan: Plan) -> JournalRecord:
        with LabWriter(self.lab) as door:
            return apply(plan, door, self.journal)

    def rollback(self, guest: str = UUID) -> tuple[Undone, ...]:
        with LabWriter(self.lab) as door:
            return rollback(guest, door, self.journal)

    def status(self, name: str = NAME) -> CardStatus | None:
        with LibvirtReader(self.uri) as reader:
            found, bindings = reader.cards(), reader.bindings()
            texts = {filter_name: reader.filter_xml(filter_name) for filter_name in reader.filter_names()}
        rules = self.kernel(card.identity.tap for card in found)
        records = self.journal.in_force()
        looks = bridge_looks(records, [card.identity.tap for card in found], LabBridge(self.lab))
        told = card_statuses(found, records, bindings, rules, tuple(texts), texts, looks)
        return next((one for one in told if one.guest == name), None)

    def repair_plan(self) -> Plan:
        """Give the plan that puts right what has drifted on the guest's card."""
        status = self.status()
        assert status is not None
        with LibvirtReader(self.uri) as reader:
            (card,) = reader.resolve(NAME)
            texts = {name: reader.filter_xml(name) for name in reader.filter_names()}
        steps = repair_steps(status, card, self.journal.in_force(UUID), texts, None)
        return Plan("nwscan.plan/1", UUID, NAME, self.uri, steps)

    def kernel(self, taps: Iterable[str | None]) -> dict[str, KernelRules]:
        """Give what the kernel has for the taps."""
        return {tap: call_in_network(self.lab.network, partial(kernel_rules, tap)) for tap in taps if tap}

    def rules(self, name: str = NAME) -> dict[str, tuple[str, ...]]:
        """Give the rules for the taps of a guest, without their counters."""
        with LibvirtReader(self.uri) as reader:
            taps = [card.identity.tap for card in reader.cards() if card.identity.name == name]
        found = self.kernel(taps)
        return {tap: tuple(f"{rule.chain} {rule.text}" for rule in known.rules) for tap, known in found.items()}

    def interface(self, xml: str, *, live: bool) -> None:
        """Do what another administrator would do."""
        with LabWriter(self.lab) as door:
            door.update_interface(UUID, xml, live=live)


def remedy_plan(lab: Lab, tap: str) -> Plan:
    """Give the plan of a bridge remedy of every kind of step, for the paused guest."""
    mac, bridge = MACS[0], LabBridge(lab)
    port, entry = bridge.port(tap), bridge.entry(layout.BRIDGE, parse_mac(mac))
    steps = (
        InstallHook(mac, layout.BRIDGE, (mac,), digest(hook_text(UUID, mac, layout.BRIDGE, (mac,)))),
        SetFdbEntry(mac, tap, port.ifindex, layout.BRIDGE, mac, entry.state if entry else None),
        SetPortFlag(mac, tap, port.ifindex, layout.BRIDGE, before=True, after=False),
    )
    return Plan("nwscan.plan/1", UUID, NAME, lab.outside_uri, steps, "flood_off")


NETWORKS = {
    "lab-bridge": "<forward mode='bridge'/><bridge name='br0'/>",
    "lab-own": "<bridge name='virbr8'/><ip address='198.51.100.1' netmask='255.255.255.0'/>",
}


def on_network(name: str) -> str:
    source = f"<source network='{name}'/>"
    return f"<interface type='network'><mac address='{MACS[0]}'/>{source}<model type='virtio'/>{QUICK}</interface>"


ETHERNET = f"<interface type='ethernet'><mac address='{MACS[0]}'/><model type='virtio'/>{QUICK}</interface>"
KINDS: dict[str, tuple[str | None, str | None]] = {
    "no filter": (cards(), cards()),
    "clean-traffic with addresses": (cards(reference=CLEAN), cards(reference=CLEAN)),
    "only what runs is filtered": (cards(reference=ADDRESSED), cards()),
    "only the next start is filtered": (cards(), cards(reference=QUICK)),
    "two filters": (cards(reference=ADDRESSED), cards(reference=QUICK)),
    "transient": (cards(reference=QUICK), None),
    "off": (None, cards(reference=ADDRESSED)),
    "two cards": (cards(MACS, QUICK), cards(MACS, QUICK)),
    "of type ethernet": (ETHERNET, ETHERNET),
    **{f"on {name}": (on_network(name), on_network(name)) for name in NETWORKS},
}


class Meddler:
    """A door at which somebody else is faster: ``act`` is done before the n-th change."""

    def __init__(self, door: LibvirtWriter, number: int, act: Callable[[], object]) -> None:
        self._door, self._left, self._act = door, number, act

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the door has
        if name in MUTATING:
            self._left -= 1
            if self._left == 0:
                self._act()
        return getattr(self._door, name)


def kill_libvirtd(lab: Lab) -> None:
    script = f"pid=$(cat {layout.LIBVIRTD_PID}); kill -9 $pid; while kill -0 $pid 2> /dev/null; do sleep 0.01; done"
    lab.run(["sh", "-c", script], check=True)


def start_libvirtd(lab: Lab) -> None:
    """Start it again and wait until it answers.

    One that was killed amid redefining a filter may leave chains that libvirt names on the way: it says that they are
    there already, and does not start until somebody takes them away (libvirt 9.0.0).
    """
    if not is_started(lab):
        log = lab.outside(layout.LIBVIRTD_LOG).read_text()[-2000:]
        assert "Chain already exists" in log, log
        take_half_made(lab)
        assert is_started(lab), lab.outside(layout.LIBVIRTD_LOG).read_text()[-2000:]


def is_started(lab: Lab) -> bool:
    """Start libvirtd and say whether it answers, rather than ends."""
    command = f"libvirtd -f {layout.ROOT}/libvirtd.conf -p {layout.LIBVIRTD_PID} < /dev/null >> {layout.LIBVIRTD_LOG}"
    look = f"timeout 5 virsh -c {layout.URI} version > /dev/null 2>&1"
    wait = f"while kill -0 $!; do {look} && exit 0; sleep 0.02; done"
    return lab.run(["sh", "-c", f"setsid {command} 2>&1 & {wait} 2> /dev/null; exit 1"]).returncode == 0


def take_half_made(lab: Lab) -> None:
    """Do what nwscan doctor says."""
    lab.run(["sh", "-ec", call_in_network(lab.network, half_made).removal], check=True)


def take_chains_of(lab: Lab, tap: str) -> None:
    """Do what a rollback says where libvirt cannot remove what it has left of a tap."""
    saved = lab.run(["ebtables-save"], check=True).stdout
    chains = re.findall(rf"^:((?:libvirt-)?[IOJP]-{tap}(?:-\S+)?) ", saved, re.MULTILINE)
    for name in chains:
        lab.run(["ebtables", "-t", "nat", "-F", name], check=True)
    for rule in re.findall(rf"^-A ((?:PRE|POST)ROUTING .*-j libvirt-[IOJP]-{tap})$", saved, re.MULTILINE):
        lab.run(["ebtables", "-t", "nat", "-D", *rule.split()], check=True)
    for name in chains:
        lab.run(["ebtables", "-t", "nat", "-X", name], check=True)
