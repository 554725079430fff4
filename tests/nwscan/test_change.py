"""Keeping and undoing by a guest's name: what is wrong with one change does not cost another guest its own."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import InputError, RollbackIncompleteError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from generator.deploy import transaction
from generator.deploy.deadline import deadline_in
from generator.deploy.journal import Journal, JournalRecord, LockedError, State
from nwscan.api import change
from nwscan.cli.applying import Keeping, _settle
from nwscan.config import Settings
from tests.generator.deploy.file_door import URI, FileDoor, HostState, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS, OTHER

if TYPE_CHECKING:
    from pathlib import Path

EXTRA = (0x525400000055,)


class Bench:
    """Two guests of one host, whose libvirt is a file."""

    def __init__(self, folder: Path) -> None:
        self.path, self.settings = folder / "host.json", Settings(URI, folder)
        self.journal = Journal(self.settings.journal)
        self.before = HOSTS["clean-traffic"]
        write_state(self.path, self.before)

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def apply(self, guest: str = GUEST, *, within_s: float = 600, macs: tuple[int, ...] = ()) -> JournalRecord:
        waited = transaction.Confirmation(lambda: deadline_in(within_s, boot_clock()), lambda _: None)
        return transaction.apply(plan_for(self.now, guest, macs), FileDoor(self.path), self.journal, waited)

    def damage(self) -> None:
        """Leave a file in the journal, of a guest that is neither of the two, that nobody can read."""
        plan = msgspec.structs.replace(plan_for(self.now, GUEST), guest="6e777363-616e-4c61-8b00-00000000dead")
        self.journal.create(plan).path.write_text("?\n")

    def state(self, record: JournalRecord) -> State:
        return self.journal.record(record.path).state


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench(tmp_path)
    monkeypatch.setattr(change, "LibvirtWriter", lambda _: nullcontext(FileDoor(found.path)))
    return found


def test_a_damaged_file_of_another_guest_keeps_nobody_from_confirming(bench: Bench) -> None:
    record = bench.apply()
    bench.damage()
    assert [one.state for one in change.confirm("vm1", bench.settings)] == [State.CONFIRMED]
    with pytest.raises(InputError, match="not a journal"):
        change.confirm(None, bench.settings)  # nothing waits that can be read
    assert bench.state(record) is State.CONFIRMED


def test_a_damaged_file_of_another_guest_keeps_nobody_from_going_back(bench: Bench) -> None:
    bench.apply()
    bench.damage()
    assert change.is_in_force("vm1", bench.settings)
    assert len(change.rollback("vm1", bench.settings)) == 1
    assert bench.now == bench.before


def test_a_guest_that_only_a_damaged_file_may_know_is_not_called_unknown(bench: Bench) -> None:
    bench.damage()
    with pytest.raises(InputError, match="not a journal"):
        change.rollback("gone", bench.settings)


def test_of_several_changes_those_that_can_be_kept_are(bench: Bench) -> None:
    late, early = bench.apply(within_s=-1), bench.apply(OTHER)
    with pytest.raises(RolledBackError, match="kept: vm2; too late to keep the change of vm1"):
        change.confirm(None, bench.settings)
    assert (bench.state(late), bench.state(early)) == (State.APPLIED, State.CONFIRMED)


def test_a_guest_of_another_libvirt_keeps_nobody_from_going_back(bench: Bench) -> None:
    record = bench.apply()
    other = bench.journal.create(msgspec.structs.replace(plan_for(bench.now, OTHER), uri="qemu+ssh://far/system"))
    other = bench.journal.begin(other, 0)
    with pytest.raises(RollbackIncompleteError, match="1 undone, and the change of vm2 belongs to the libvirt at"):
        change.rollback_all(bench.settings)
    assert (bench.state(record), bench.state(other)) == (State.UNDONE, State.APPLYING)
    assert bench.now == bench.before


def test_while_another_changes_guests_nothing_is_begun(bench: Bench) -> None:
    record = bench.apply()
    with bench.journal.lock(), pytest.raises(LockedError):
        change.rollback_all(bench.settings)
    assert bench.state(record) is State.APPLIED


def test_a_filter_that_was_there_is_kept_whatever_was_undone_since(bench: Bench) -> None:
    """The guest's last change was rolled back; the one below it was confirmed long ago, and proves effective."""
    kept = bench.apply()
    change.confirm("vm1", bench.settings)
    later = bench.apply(macs=EXTRA)
    change.undo(later, "nobody confirmed it", bench.settings)
    plan = msgspec.structs.replace(kept.plan, steps=())
    assert _settle(plan, None, [], bench.settings, 0, Keeping(120, yes=True, shape="table")) == 0
    assert (bench.state(kept), bench.state(later)) == (State.CONFIRMED, State.UNDONE)
