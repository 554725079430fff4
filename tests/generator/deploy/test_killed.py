"""Killed with SIGKILL at any point, a change can be seen and undone: what was there before is there again."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.model.addresses import format_mac, parse_mac
from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.status import CardStatus, card_statuses
from generator.deploy.transaction import apply, rollback
from tests.generator.deploy.file_door import (
    FileDoor,
    HostState,
    bindings,
    bridge_looks,
    cards,
    plan_for,
    read_state,
    remedy_for,
    repair_for,
    write_state,
)
from tests.generator.deploy.hosts import GUEST, HOSTS
from tests.generator.deploy.killing import killed_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from generator.deploy.plan import Plan

EXTRA = (parse_mac("52:54:00:00:00:21"),)


class Bench:
    """A host in a file and a journal, both put back to a starting point for each fault."""

    def __init__(self, folder: Path, state: HostState) -> None:
        self.state = folder / "state.json"
        self.journal = folder / "journal"
        self._kept = folder / "kept"
        write_state(self.state, state)

    def keep(self) -> None:
        """Make what is there now the starting point."""
        shutil.rmtree(self._kept, ignore_errors=True)
        self._kept.mkdir()
        shutil.copy(self.state, self._kept / "state.json")
        if self.journal.exists():
            shutil.copytree(self.journal, self._kept / "journal")

    def reset(self) -> None:
        shutil.copy(self._kept / "state.json", self.state)
        shutil.rmtree(self.journal, ignore_errors=True)
        if (self._kept / "journal").exists():
            shutil.copytree(self._kept / "journal", self.journal)

    def read(self) -> HostState:
        return read_state(self.state)

    def door(self) -> FileDoor:
        return FileDoor(self.state)

    def apply(self, plan: Plan) -> None:
        apply(plan, self.door(), Journal(self.journal))

    def rollback(self) -> int:
        return len(rollback(GUEST, self.door(), Journal(self.journal)))

    def apply_killed_at(self, target: int, plan: Plan) -> bool:
        return killed_at(target, lambda killer: apply(plan, FileDoor(self.state, killer), Journal(self.journal)))

    def rollback_killed_at(self, target: int) -> bool:
        return killed_at(target, lambda killer: rollback(GUEST, FileDoor(self.state, killer), Journal(self.journal)))

    def killed_applying(self, plan: Plan) -> Iterator[int]:
        """Give each point of applying the plan, the process having been killed at it."""
        target = 0
        while self.apply_killed_at(target, plan):
            yield target
            target += 1
            self.reset()

    def killed_rolling_back(self) -> Iterator[int]:
        """Give each point of rolling back, the process having been killed at it."""
        target = 0
        while self.rollback_killed_at(target):
            yield target
            target += 1
            self.reset()


@pytest.fixture(params=list(HOSTS))
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a killed process loses nothing that it wrote
    bench = Bench(tmp_path, HOSTS[request.param])
    bench.keep()
    return bench


def statuses(bench: Bench) -> tuple[CardStatus, ...]:
    now, records = bench.read(), Journal(bench.journal).in_force(GUEST)
    return card_statuses(cards(now), records, bindings(now), {}, tuple(now.filters), now.filters, bridge_looks(now))


def check_status(bench: Bench, before: HostState) -> None:
    """What is otherwise than before is told, and what is told is so."""
    now = bench.read()
    records, told_now = Journal(bench.journal).in_force(GUEST), statuses(bench)
    mine = [one for one in told_now if one.uuid == GUEST]
    if now != before:
        assert records, "something was changed and the journal does not know"
        assert mine
    for one in mine:
        if one.state is State.APPLIED:
            assert not one.drift
        elif one.state is not None:
            assert any("rollback" in line for line in one.drift)
    for card in cards(now):
        for told in told_now:
            if (told.uuid, told.mac) == (card.identity.uuid, format_mac(card.identity.macs[0])):
                assert told.live == (card.filterref[0] if card.running and card.filterref else None)


def check_undone(bench: Bench, before: HostState) -> None:
    bench.rollback()
    assert bench.read() == before
    assert bench.rollback() == 0
    assert Journal(bench.journal).in_force() == ()


def test_apply_and_roll_back(bench: Bench) -> None:
    before = bench.read()
    plan = plan_for(before, GUEST)
    bench.apply(plan)
    assert bench.read() != before
    assert plan_for(bench.read(), GUEST).steps == ()
    check_status(bench, before)
    check_undone(bench, before)


def test_killed_while_applying(bench: Bench) -> None:
    before = bench.read()
    plan = plan_for(before, GUEST)
    faults = 0
    for _ in bench.killed_applying(plan):
        check_status(bench, before)
        check_undone(bench, before)
        if faults % 5 == 0:  # and it can be done again
            bench.apply(plan)
            check_undone(bench, before)
        faults += 1
    assert faults > 5 * len(plan.steps)


def test_killed_while_rolling_back(bench: Bench) -> None:
    before = bench.read()
    bench.apply(plan_for(before, GUEST))
    bench.keep()
    faults = 0
    for _ in bench.killed_rolling_back():
        check_status(bench, before)
        check_undone(bench, before)
        faults += 1
    assert faults > 15


def test_killed_while_redefining(bench: Bench) -> None:
    """A second change on top of the first: undone, it gives way to the first, and then to what was before both."""
    before = bench.read()
    bench.apply(plan_for(before, GUEST))
    first = bench.read()
    plan = plan_for(first, GUEST, EXTRA)
    assert {type(step).__name__ for step in plan.steps} == {"DefineFilter"}
    bench.keep()
    for _ in bench.killed_applying(plan):
        check_status(bench, first)
        check_undone(bench, before)


def test_killed_twice(bench: Bench) -> None:
    """Killed while applying, then while undoing that, then left alone."""
    before = bench.read()
    plan = plan_for(before, GUEST)
    outer = list(bench.killed_applying(plan))
    for target in outer[3 :: len(outer) // 5]:
        bench.reset()
        bench.apply_killed_at(target, plan)
        shutil.copytree(bench.journal, bench.journal.with_name("half"))
        half = bench.read()
        inner = 0
        while bench.rollback_killed_at(inner):
            check_status(bench, before)
            check_undone(bench, before)
            write_state(bench.state, half)
            shutil.rmtree(bench.journal)
            shutil.copytree(bench.journal.with_name("half"), bench.journal)
            inner += 5
        shutil.rmtree(bench.journal.with_name("half"))


RUNNING = ("clean-traffic", "transient", "two cards")


@pytest.mark.parametrize("bench", RUNNING, indirect=True)
def test_killed_while_a_bridge_remedy_is_applied_or_undone(bench: Bench) -> None:
    before = bench.read()
    plan = remedy_for(before, GUEST)
    faults = 0
    for _ in bench.killed_applying(plan):
        check_status(bench, before)
        check_undone(bench, before)
        faults += 1
    assert faults > 5 * len(plan.steps)
    assert bench.read() != before
    bench.keep()
    for _ in bench.killed_rolling_back():
        check_status(bench, before)
        check_undone(bench, before)


@pytest.mark.parametrize("bench", RUNNING, indirect=True)
def test_killed_while_a_filter_and_a_remedy_are_there(bench: Bench) -> None:
    before = bench.read()
    bench.apply(plan_for(before, GUEST))
    first = bench.read()
    bench.keep()
    for _ in bench.killed_applying(remedy_for(first, GUEST)):
        check_status(bench, first)
        check_undone(bench, before)


@pytest.mark.parametrize("bench", RUNNING, indirect=True)
def test_killed_while_rules_are_made_anew(bench: Bench) -> None:
    """Killed between the two halves of it, the card is without its filter: undoing puts it right."""
    before = bench.read()
    bench.apply(plan_for(before, GUEST))
    applied = bench.read()
    live = applied.guests[GUEST].live
    assert live is not None
    write_state(bench.state, msgspec.structs.replace(applied, unbound=list(live)))
    bench.keep()
    repair, halves = repair_for(applied, GUEST), 0
    for _ in bench.killed_applying(repair):
        now = bench.read().guests[GUEST].live
        halves += now != live
        assert bench.read() == applied or all(one.drift for one in statuses(bench) if one.uuid == GUEST)
        bench.rollback()
        assert msgspec.structs.replace(bench.read(), unbound=[]) == before
        assert Journal(bench.journal).in_force() == ()
    assert halves
    assert bench.read() == applied
