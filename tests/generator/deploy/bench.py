"""A host in a file that plans are applied to, for the tests of transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from analyzer.model.addresses import parse_mac
from generator.deploy import transaction
from generator.deploy.journal import Journal
from generator.nwfilter.xml import read_filterref, with_filterref
from tests.generator.deploy.file_door import FileDoor, HostState, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, MACS, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from generator.deploy.journal_record import JournalRecord
    from generator.deploy.plan import Plan
    from generator.deploy.transaction import Undone

MAC = MACS[0]
PARENT, CHILD = "nwscan-6e777363-0", "nwscan-6e777363-0-mac"
EXTRA = (parse_mac("52:54:00:00:00:21"),)


class Bench:
    """A host in a file, its journal and its door."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / "host.json"
        self.journal = Journal(folder / "journal")
        self.door = FileDoor(self.path)
        self.before = HOSTS[name]
        write_state(self.path, self.before)

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def change(self, act: Callable[[HostState], object]) -> None:
        state = self.now
        act(state)
        write_state(self.path, state)

    def refuse(self, *calls: str) -> None:
        self.change(lambda state: setattr(state, "refused", list(calls)))

    def plan(self, extra: tuple[int, ...] = ()) -> Plan:
        return plan_for(self.now, GUEST, extra)

    def apply(self, plan: Plan | None = None) -> JournalRecord:
        return transaction.apply(plan or self.plan(), self.door, self.journal)

    def rollback(self) -> tuple[Undone, ...]:
        return transaction.rollback(GUEST, self.door, self.journal)

    def attach(self, name: str | None, *, live: bool) -> None:
        """Let somebody else attach a filter."""

        def act(state: HostState) -> None:
            side = state.guests[GUEST].live if live else state.guests[GUEST].inactive
            assert side is not None
            ref = read_filterref(self.before.guests[OTHER].live["52:54:00:00:00:99"]) if name else None  # type: ignore[index]
            side[MAC] = with_filterref(side[MAC], ref)

        self.change(act)


everywhere = pytest.mark.parametrize("bench", HOSTS, indirect=True)
two_cards = pytest.mark.parametrize("bench", ["two cards"], indirect=True)
unfiltered = pytest.mark.parametrize("bench", ["no filter"], indirect=True)
off = pytest.mark.parametrize("bench", ["off"], indirect=True)
transient = pytest.mark.parametrize("bench", ["transient"], indirect=True)


def rolled_back(undone: tuple[Undone, ...]) -> list[str]:
    return [line for one in undone for line in one.lines]
