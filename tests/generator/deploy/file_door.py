"""A libvirt whose whole state is one file, so that it outlives a process that is killed while it uses it.

It does what the transaction relies on in the way in which libvirt 9 does it: texts in its own spelling, one UUID a name
and one name a UUID, no filter removed that acts on a running card, no live reference to a filter that is not there, a
reference in a definition to anything at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from analyzer.errors import HostError
from analyzer.host.domain_xml import interfaces
from analyzer.host.guests import Binding, GuestCard
from analyzer.model.addresses import format_mac, parse_mac
from analyzer.model.identity import GuestIdentity, Provenance
from generator.deploy.door import EntryLook, PortLook
from generator.deploy.drift import BridgeLooks
from generator.deploy.hook import hook_text
from generator.deploy.plan import (
    Attach,
    DefineFilter,
    InstallHook,
    Plan,
    Reinstall,
    SetFdbEntry,
    SetPortFlag,
    Step,
    digest,
)
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, write_filter
from generator.suggest.profiles import interface_xml, mac_profile
from tests.generator.deploy.killing import Killer

if TYPE_CHECKING:
    from pathlib import Path

    from generator.nwfilter.model import FilterRef

URI = "test+file:///system"


class GuestState(msgspec.Struct):
    """One guest: its cards' elements by MAC, None for a side that is not there (off, transient)."""

    name: str
    live: dict[str, str] | None
    inactive: dict[str, str] | None


class HostState(msgspec.Struct):
    """All of it.

    ``unbound`` are cards whose rules somebody took away, ``stray`` those with rules that libvirt does not know of;
    ``refused`` are calls that fail. ``ports`` are those of bridges by name, ``fdb`` their entries by address, ``hooks``
    libvirt's by file name.
    """

    filters: dict[str, str]
    guests: dict[str, GuestState]
    unbound: list[str] = []
    stray: list[str] = []
    refused: list[str] = []
    ports: dict[str, PortLook] = {}
    fdb: dict[str, EntryLook] = {}
    hooks: dict[str, str] = {}


def read_state(path: Path) -> HostState:
    return msgspec.json.decode(path.read_bytes(), type=HostState)


def write_state(path: Path, state: HostState) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(path)


class FileDoor:
    """The door that the transaction uses."""

    uri = URI

    def __init__(self, path: Path, killer: Killer | None = None) -> None:
        self.path = path
        self.killer = killer or Killer()
        self.calls: list[str] = []

    @property
    def bridge(self) -> FileBridge:
        return FileBridge(self)

    def _enter(self, call: str) -> HostState:
        self.calls.append(call)
        self.killer.point()
        state = read_state(self.path)
        if any(call.startswith(refused) for refused in state.refused):
            raise HostError(f"libvirt: refused: {call}", URI, "a fault of the test")
        return state

    def _leave(self, state: HostState) -> None:
        write_state(self.path, state)
        self.killer.point()

    def filter_xml(self, name: str) -> str | None:
        return self._enter(f"filter_xml {name}").filters.get(name)

    def filter_users(self, name: str) -> tuple[str, ...]:
        state = self._enter(f"filter_users {name}")
        users = [f"filter {other}" for other, text in state.filters.items() if name in _references(text)]
        for guest in state.guests.values():
            for how, cards in (("running", guest.live), ("next start", guest.inactive)):
                refs = [read_filterref(text) for text in (cards or {}).values()]
                users += [f"guest {guest.name} ({how})" for ref in refs if ref and ref.filter == name]
        return tuple(users)

    def define_filter(self, xml: str) -> None:
        wanted = normalise(read_filter(xml).filter).filter
        state = self._enter(f"define_filter {wanted.name}")
        known = {name: read_filter(text).filter.uuid for name, text in state.filters.items()}
        if known.get(wanted.name, wanted.uuid) != wanted.uuid:
            raise HostError(f"libvirt: filter '{wanted.name}' already exists with uuid {known[wanted.name]}", URI)
        if any(uuid == wanted.uuid and name != wanted.name for name, uuid in known.items()):
            raise HostError("libvirt: filter with same UUID but different name already exists", URI)
        missing = [ref.filter for ref in wanted.references if ref.filter not in state.filters]
        if missing and wanted.name in _acting(state):
            raise HostError(f"libvirt: referenced filter '{missing[0]}' is missing", URI)
        state.filters[wanted.name] = write_filter(wanted)
        self._leave(state)

    def undefine_filter(self, name: str) -> None:
        state = self._enter(f"undefine_filter {name}")
        if name in _acting(state):
            raise HostError("libvirt: Requested operation is not valid: nwfilter is in use", URI)
        state.filters.pop(name, None)
        self._leave(state)

    def interface_xml(self, guest: str, mac: str, *, live: bool) -> str | None:
        side = _side(self._enter(f"interface_xml {mac} {live}"), guest, live=live)
        return None if side is None else side.get(mac)

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        mac = _mac(xml)
        state = self._enter(f"update_interface {mac} {live}")
        side, ref = _side(state, guest, live=live), read_filterref(xml)
        if side is None or mac not in side:
            raise HostError("libvirt: device not found", URI)
        if live and ref is not None and not _complete(state, ref.filter):
            raise HostError("libvirt: failed to add new filter rules - attempting to restore old rules", URI)
        if live and read_filterref(side[mac]) != ref and mac in state.unbound:
            state.unbound.remove(mac)  # what is attached anew is installed anew
        side[mac] = xml
        if live and mac in state.stray and ref is not None:  # cleared where rules are built anew, and nowhere else
            state.stray.remove(mac)
        self._leave(state)

    def bound_filter(self, guest: str, mac: str) -> str | None:
        state = self._enter(f"bound_filter {mac}")
        side = _side(state, guest, live=True)
        ref = read_filterref(side[mac]) if side and mac in side else None
        return ref.filter if ref and mac not in state.unbound else None

    def has_stray_rules(self, guest: str, mac: str) -> bool:
        state = self._enter(f"has_stray_rules {mac}")
        return guest in state.guests and mac in state.stray


class FileBridge:
    """The door to the bridges of the same file."""

    def __init__(self, door: FileDoor) -> None:
        self._door = door

    def port(self, name: str) -> PortLook | None:
        return self._door._enter(f"port {name}").ports.get(name)

    def entry(self, bridge: str, mac: int) -> EntryLook | None:
        state = self._door._enter(f"entry {format_mac(mac)}")
        found = state.fdb.get(format_mac(mac))
        return found if found and state.ports[found.port].bridge == bridge else None

    def set_flood(self, port: str, *, is_on: bool) -> None:
        state = self._door._enter(f"set_flood {port} {is_on}")
        state.ports[port] = state.ports[port]._replace(flood=is_on)
        self._door._leave(state)

    def set_entry(self, mac: int, port: str, state: str | None) -> None:
        now = self._door._enter(f"set_entry {format_mac(mac)} {state}")
        if state is None:
            del now.fdb[format_mac(mac)]
        else:
            now.fdb[format_mac(mac)] = EntryLook(port, state)
        self._door._leave(now)

    def hook(self, name: str) -> str | None:
        return self._door._enter(f"hook {name}").hooks.get(name)

    def write_hook(self, name: str, text: str) -> None:
        state = self._door._enter(f"write_hook {name}")
        assert name not in state.hooks
        state.hooks[name] = text
        self._door._leave(state)

    def remove_hook(self, name: str) -> None:
        state = self._door._enter(f"remove_hook {name}")
        state.hooks.pop(name, None)
        self._door._leave(state)


def _side(state: HostState, guest: str, *, live: bool) -> dict[str, str] | None:
    found = state.guests.get(guest)
    return None if found is None else found.live if live else found.inactive


def _references(xml: str) -> set[str]:
    return {ref.filter for ref in read_filter(xml).filter.references}


def _tree(state: HostState, name: str) -> set[str]:
    found, todo = set(), [name]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += _references(state.filters[each]) if each in state.filters else ()
    return found


def _complete(state: HostState, name: str) -> bool:
    return _tree(state, name) <= state.filters.keys()


def _acting(state: HostState) -> set[str]:
    refs = [read_filterref(text) for guest in state.guests.values() for text in (guest.live or {}).values()]
    return {name for ref in refs if ref for name in _tree(state, ref.filter)}


def _mac(xml: str) -> str:
    (card,) = interfaces(f"<domain><devices>\n{xml}\n</devices></domain>")
    assert card.mac is not None
    return format_mac(card.mac)


def cards(state: HostState) -> list[GuestCard]:
    """Give the cards as the reading door does."""
    found = []
    for uuid, guest in state.guests.items():
        both = dict.fromkeys((*(guest.live or {}), *(guest.inactive or {})))
        for index, mac in enumerate(both):
            live, inactive = (guest.live or {}).get(mac), (guest.inactive or {}).get(mac)
            (read,) = interfaces(f"<domain><devices>\n{live or inactive}\n</devices></domain>")
            identity = GuestIdentity(
                (read.mac or 0,), Provenance.LIBVIRT_XML, name=guest.name, uuid=uuid, card=index, tap=read.tap
            )
            found.append(
                GuestCard(
                    identity=identity,
                    interface_type=read.type,
                    model=read.model,
                    filterref=read.filterref,
                    persistent=guest.inactive is not None,
                    running=live is not None,
                    live_xml=live,
                    inactive_xml=inactive,
                    inactive_filterref=_pair(read_filterref(inactive)) if inactive else None,
                )
            )
    return found


def bindings(state: HostState) -> list[Binding]:
    """Give the bindings as the reading door does."""
    return [
        Binding(card.identity.tap or "", *card.filterref)
        for card in cards(state)
        if card.running and card.filterref and format_mac(card.identity.macs[0]) not in state.unbound
    ]


def _pair(ref: FilterRef | None) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    return None if ref is None else (ref.filter, ref.parameters)


def plan_for(state: HostState, guest: str, extra_macs: tuple[int, ...] = ()) -> Plan:
    """Give the plan that puts the ``mac`` profile on every card of a guest."""
    library = {name: read_filter(text).filter for name, text in state.filters.items()}
    steps: list[Step] = []
    for card in (one for one in cards(state) if one.identity.uuid == guest):
        wanted = mac_profile(card, extra_macs, library=library)
        for each in wanted.filters:
            before = state.filters.get(each.name)
            if before is None or normalise(read_filter(before).filter).filter != normalise(each).filter:
                steps.append(DefineFilter(each.name, each.uuid or "", before, write_filter(each)))
        live, inactive = interface_xml(wanted, card)
        mac = format_mac(card.identity.macs[0])
        for is_live, before, after in ((True, card.live_xml, live), (False, card.inactive_xml, inactive)):
            if before is not None and after is not None and before != after:
                steps.append(Attach(mac, is_live, before, after))
    return Plan("nwscan.plan/1", guest, state.guests[guest].name, URI, tuple(steps), "mac")


def bridge_looks(state: HostState) -> BridgeLooks:
    """Give the bridges as the writing door sees them."""
    entries = {(state.ports[one.port].bridge, parse_mac(mac)): one for mac, one in state.fdb.items()}
    return BridgeLooks(state.ports, entries, state.hooks)


def remedy_for(state: HostState, guest: str, *, hook: bool = True) -> Plan:
    """Give the plan that stops the flooding to every card of a running guest."""
    steps: list[Step] = []
    for card in (one for one in cards(state) if one.identity.uuid == guest and one.running):
        mac, tap = format_mac(card.identity.macs[0]), card.identity.tap or ""
        port, entry = state.ports[tap], state.fdb.get(mac)
        if hook:
            text = hook_text(guest, mac, port.bridge, (mac,))
            steps.append(InstallHook(mac, port.bridge, (mac,), digest(text)))
        before = entry.state if entry else None
        assert before in {None, "dynamic", "static"}
        steps.append(SetFdbEntry(mac, tap, port.ifindex, port.bridge, mac, before))  # type: ignore[arg-type]
        steps.append(SetPortFlag(mac, tap, port.ifindex, port.bridge, before=True, after=False))
    return Plan("nwscan.plan/1", guest, state.guests[guest].name, URI, tuple(steps), "flood_off")


def repair_for(state: HostState, guest: str) -> Plan:
    """Give the plan that makes the rules of every running card anew."""
    live = state.guests[guest].live or {}
    steps = tuple(Reinstall(mac, text) for mac, text in live.items())
    return Plan("nwscan.plan/1", guest, state.guests[guest].name, URI, steps, "mac")
