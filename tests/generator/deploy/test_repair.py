"""Whatever drifted is put right by a plan of its own, and undone it gives way to what was there before all of it."""

from __future__ import annotations

import copy
import errno
import os
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError, RollbackIncompleteError
from analyzer.host.rules import KernelRules
from generator.deploy import transaction
from generator.deploy.door import PortLook
from generator.deploy.drift import DriftCause
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.plan import Plan, Reinstall
from generator.deploy.repair import repair_steps
from generator.deploy.status import card_mac, card_statuses, changes_of
from generator.nwfilter.xml import with_filterref
from tests.generator.deploy.file_door import (
    URI,
    FileDoor,
    HostState,
    bindings,
    bridge_looks,
    cards,
    plan_for,
    read_state,
    remedy_for,
    write_state,
)
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generator.deploy.status import CardStatus

MAC, TAP = MACS[0], "vnet01"
PARENT, CHILD = "nwscan-6e777363-0", "nwscan-6e777363-0-mac"


class Bench:
    """A host with a filter of ours and a bridge remedy on the card, then somebody who meddles."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.journal = folder / "host.json", Journal(folder / "journal")
        self.before = copy.deepcopy(HOSTS[name])
        self.name, self.flushed = name, False
        write_state(self.path, self.before)
        for make in (plan_for, remedy_for):
            transaction.apply(make(self.now, GUEST), FileDoor(self.path), self.journal)
        self.applied = self.now

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def change(self, act: Callable[[HostState], object]) -> None:
        state = self.now
        act(state)
        write_state(self.path, state)

    def statuses(self) -> tuple[CardStatus, ...]:
        now = self.now
        absent = {TAP: KernelRules(TAP, None, present=False, rules=())} if self.flushed else {}
        records = self.journal.in_force()
        return card_statuses(
            cards(now), records, bindings(now), absent, tuple(now.filters), now.filters, bridges=bridge_looks(now)
        )

    def causes(self) -> list[DriftCause]:
        return [each.cause for one in self.statuses() if one.uuid == GUEST for each in one.findings]

    def plan(self) -> Plan:
        now, records, steps = self.now, self.journal.in_force(), []
        for card in cards(now):
            (status,) = [one for one in self.statuses() if (one.uuid, one.mac) == (card.identity.uuid, card_mac(card))]
            steps += repair_steps(status, card, changes_of(card, records), now.filters, bridge_looks(now))
        return Plan("nwscan.plan/1", GUEST, "vm1", URI, tuple(steps), "mac")

    def repair(self) -> None:
        transaction.apply(self.plan(), FileDoor(self.path), self.journal)
        self.flushed = False


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    return Bench(tmp_path, getattr(request, "param", "no filter"))


def detach(state: HostState, *, live: bool) -> None:
    side = state.guests[GUEST].live if live else state.guests[GUEST].inactive
    assert side is not None
    side[MAC] = with_filterref(side[MAC], None)


def edit(state: HostState) -> None:
    state.filters[CHILD] = state.filters[CHILD].replace("drop", "accept")


def flood(state: HostState) -> None:
    state.ports[TAP] = state.ports[TAP]._replace(flood=True)


def restart(state: HostState) -> None:
    """The tap is made anew: it floods, and nothing of it is known."""
    state.ports[TAP] = PortLook(99, "br0", flood=True)
    state.fdb.pop(MAC)


MEDDLINGS: dict[str, tuple[Callable[[HostState], object], list[DriftCause]]] = {
    "a filter is edited": (edit, [DriftCause.FILTER_EDITED]),
    "a filter is removed": (lambda state: state.filters.pop(CHILD), [DriftCause.FILTER_REMOVED]),
    "the binding is deleted": (lambda state: state.unbound.append(MAC), [DriftCause.BINDING_DELETED]),
    "the running card loses it": (lambda state: detach(state, live=True), [DriftCause.CARD_CHANGED]),
    "the next start loses it": (lambda state: detach(state, live=False), [DriftCause.CARD_CHANGED]),
    "the bridge floods again": (flood, [DriftCause.PORT_CHANGED]),
    "the entry is gone": (lambda state: state.fdb.pop(MAC), [DriftCause.PORT_CHANGED]),
    "the guest was restarted": (restart, [DriftCause.GUEST_RESTARTED, DriftCause.GUEST_RESTARTED]),
    "the hook is gone": (lambda state: state.hooks.pop(min(state.hooks)), [DriftCause.HOOK_CHANGED]),
}


@pytest.mark.parametrize("bench", ["no filter", "clean-traffic"], indirect=True)
@pytest.mark.parametrize("kind", MEDDLINGS)
def test_what_drifted_is_named_put_right_and_undone(bench: Bench, kind: str) -> None:
    act, causes = MEDDLINGS[kind]
    bench.change(act)
    drifted = bench.now
    assert bench.causes() == causes
    bench.repair()
    assert bench.causes() == []
    assert bench.plan().steps == ()
    transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    after = bench.now
    if kind == "the guest was restarted":  # the new tap is as a start makes it
        assert (after.ports[TAP], after.fdb) == (PortLook(99, "br0", flood=True), {})
        after.ports, after.fdb = bench.before.ports, bench.before.fdb
    assert after.fdb in (bench.before.fdb, {})
    after.fdb = bench.before.fdb
    if "loses it" in kind:  # somebody took it away before the repair, and that is what was there before the repair
        bench.before.guests[GUEST] = drifted.guests[GUEST]
        if kind == "the running card loses it":
            bench.before.guests[GUEST].inactive = HOSTS[bench.name].guests[GUEST].inactive
        else:
            bench.before.guests[GUEST].live = HOSTS[bench.name].guests[GUEST].live
    assert strip(after) == strip(bench.before)


def strip(state: HostState) -> HostState:
    """Give it without the place of a filterref within its element, which is libvirt's affair."""
    state = copy.deepcopy(state)
    for guest in state.guests.values():
        for side in (guest.live, guest.inactive):
            for mac, text in (side or {}).items():
                (side or {})[mac] = "".join(sorted(text.split()))
    return state


def test_rules_that_are_gone_are_made_anew(bench: Bench) -> None:
    bench.flushed = True
    assert bench.causes() == [DriftCause.FIREWALL_RELOADED]
    assert [type(step) for step in bench.plan().steps] == [Reinstall]
    bench.repair()
    assert bench.now == bench.applied
    why = bench.journal.in_force(GUEST)[0].events[-1].why
    assert why is not None
    assert f"making the rules of card {MAC} anew took 0." in why


def test_a_filter_that_somebody_took_away_since_is_not_put_back(bench: Bench) -> None:
    """What a repair made anew was there before it: undoing it puts nothing on the card, whatever became of it."""
    bench.flushed = True
    bench.repair()
    for live in (True, False):
        bench.change(lambda state, live=live: detach(state, live=live))  # type: ignore[misc]
    bench.change(lambda state: [state.filters.pop(name) for name in (PARENT, CHILD)])
    door = FileDoor(bench.path)
    transaction.rollback(GUEST, door, bench.journal)
    assert [call for call in door.calls if call.startswith("update_interface")] == []
    assert strip(bench.now).guests == strip(bench.before).guests
    assert bench.journal.in_force() == ()


def test_undoing_it_again_after_the_disk_was_full_finds_nothing_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filter went with the change that defined it; the journal could say so of neither."""
    bench.flushed = True
    bench.repair()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RollbackIncompleteError, match="No space left on device"):
            transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert strip(bench.now) == strip(bench.before)
    transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert strip(bench.now) == strip(bench.before)
    assert bench.journal.in_force() == ()


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_filter_of_somebody_else_is_not_repaired(bench: Bench) -> None:
    other = "6e777363-616e-4c61-8b00-00000000dead"
    ours = bench.now.filters[CHILD].partition("<uuid>")[2].partition("<")[0]
    bench.change(lambda state: state.filters.update({CHILD: state.filters[CHILD].replace(ours, other)}))
    bench.change(edit)
    with pytest.raises(HostError, match="no longer nwscan's"):
        bench.plan()


def test_what_was_interrupted_is_not_repaired(bench: Bench) -> None:
    bench.change(edit)
    newest = bench.journal.in_force(GUEST)[0]
    bench.journal.undo(newest, 0)
    assert bench.causes() == [DriftCause.INTERRUPTED]
    assert bench.plan().steps == ()


def test_a_hook_that_somebody_edited_is_left_alone(bench: Bench) -> None:
    name = min(bench.now.hooks)
    edited = bench.now.hooks[name] + "# mine\n"
    bench.change(lambda state: state.hooks.update({name: edited}))
    assert bench.causes() == [DriftCause.HOOK_CHANGED]
    assert bench.plan().steps == ()
    undone = transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert f"left the hook {name} alone: it is not as nwscan made it" in undone[0].lines
    assert bench.now.hooks[name] == edited
    assert bench.journal.records()[0].state is State.UNDONE
