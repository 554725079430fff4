"""Keeping and undoing by a guest's name: what is wrong with one change does not cost another guest its own."""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar, Self

import msgspec
import pytest

from analyzer.errors import HostError, InputError, RollbackIncompleteError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from generator.deploy import pending, transaction
from generator.deploy.deadline import deadline_in
from generator.deploy.journal import Journal, LockedError
from generator.deploy.journal_record import JournalRecord, State
from nwscan.api import change, changeover, host_reading, prove
from nwscan.api.measure import CaptureOptions
from nwscan.cli import applying, plans
from nwscan.cli.applying import Keeping, _settle, put_in
from nwscan.config import Settings
from nwscan.watch.mark import Mark, log_path
from tests.generator.deploy.file_door import (
    URI,
    FileDoor,
    HostState,
    bindings,
    cards,
    plan_for,
    read_state,
    write_state,
)
from tests.generator.deploy.hosts import GUEST, HOSTS, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.host.guests import Binding, GuestCard
    from generator.deploy.plan import Plan

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


class Reader:
    """The reading door to the same libvirt; lets something happen before it is read, once."""

    meanwhile: Callable[[], object] | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        act, Reader.meanwhile = Reader.meanwhile, None
        if act is not None:
            act()
        self._state = read_state(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cards(self) -> list[GuestCard]:
        return cards(self._state)

    def bindings(self) -> tuple[Binding, ...]:
        return tuple(bindings(self._state))

    def filter_names(self) -> tuple[str, ...]:
        return tuple(self._state.filters)

    def filter_xml(self, name: str) -> str:
        return self._state.filters[name]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench(tmp_path)
    monkeypatch.setattr(change, "LibvirtWriter", lambda _: nullcontext(FileDoor(found.path)))
    monkeypatch.setattr(host_reading, "LibvirtReader", lambda _: Reader(found.path))
    monkeypatch.setattr(host_reading, "kernel_rules_of", lambda _: {})
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


def test_a_name_that_is_another_guests_now_is_not_guessed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """vm1 was renamed, and another guest got its name: whoever types it means that one."""
    record, state = bench.apply(), bench.now
    state.guests[GUEST].name, state.guests[OTHER].name = "old", "vm1"
    write_state(bench.path, state)
    monkeypatch.setattr(change, "LibvirtReader", lambda _: Reader(bench.path))
    for ask in (change.is_in_force, change.rollback):
        with pytest.raises(HostError, match="another guest than the one that was changed") as caught:
            ask("vm1", bench.settings)
        assert caught.value.hint.endswith(f"nwscan rollback {GUEST}")
    assert bench.now == state
    assert len(change.rollback(GUEST, bench.settings)) == 1
    assert bench.state(record) is State.UNDONE


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


@pytest.mark.parametrize("within_s", [0, 60])
def test_a_change_that_cannot_be_judged_is_told_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], within_s: float
) -> None:
    """It is on the host: whoever reads the error alone would think that nothing was done."""

    def fail(*_: object, **__: object) -> None:
        raise HostError("the tap is gone")

    monkeypatch.setattr(changeover, "Changeover", Uncounted)
    monkeypatch.setattr(change, "start", lambda *_: None)
    monkeypatch.setattr(prove, "capture_metered", fail)
    plan = plan_for(bench.now, GUEST)
    with pytest.raises(HostError, match="the tap is gone"):
        put_in(plan, [], CaptureOptions(1.0), bench.settings, Keeping(within_s, yes=True, shape="table"))
    *_, stays, last = capsys.readouterr().err.splitlines()
    assert stays.startswith("the change of vm1 is in force and was not judged")
    assert ("; to keep it: nwscan confirm vm1" in stays) is (within_s > 0)
    assert last == "To undo it: nwscan rollback vm1"


@pytest.mark.parametrize(
    ("fate", "told"),
    [
        ("kept", "vm1 has it; to undo it: nwscan rollback vm1"),
        ("waits", "vm1 has it until 20"),
        ("undone", ""),
    ],
)
def test_where_a_later_guest_fails_those_before_are_told_of_as_they_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fate: str, told: str
) -> None:
    def apply_plan(plan: Plan, *_: object) -> int:
        if plan.guest == OTHER:
            raise HostError("the tap is gone")
        record = bench.apply()
        if fate == "kept":
            change.keep(record, bench.settings)
        elif fate == "undone":
            change.undo(record, "not kept", bench.settings)
        return 0

    monkeypatch.setattr(applying, "apply_plan", apply_plan)
    both = [plan_for(bench.now, GUEST), plan_for(bench.now, OTHER)]
    with pytest.raises(HostError, match="the tap is gone"):
        plans.apply_plans(both, CaptureOptions(1.0), bench.settings, Keeping(60, yes=True, shape="table"))
    said = capsys.readouterr().err
    assert said.startswith(told)
    assert bool(said) is bool(told)
    assert ("unless nwscan confirm vm1 keeps it; to undo it" in said) is (fate == "waits")


class Uncounted:
    """No counting while a change is made: there are no taps here."""

    passed: ClassVar[dict[str, changeover.Passed]] = {}
    obstacle = None

    def __init__(self, _: object) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


# status, while somebody is at work


def drift_of(bench: Bench) -> list[str]:
    return [sentence for card in change.status(bench.settings).cards for sentence in card.drift]


def test_a_change_that_is_kept_while_status_reads_is_as_intended(bench: Bench) -> None:
    """The process that waited for it has ended by then: that is no reason to say that nobody waits."""
    record = bench.apply()
    mark = Mark(log_path(bench.settings.state, record.path))

    def keep() -> None:
        pending.confirm(record, bench.journal, boot_clock())
        os.close(mark.descriptor)

    Reader.meanwhile = keep
    assert drift_of(bench) == []
    assert [card.state for card in change.status(bench.settings).cards if card.guest == "vm1"] == [State.CONFIRMED]


def test_a_change_that_is_undone_while_status_reads_is_no_drift(bench: Bench) -> None:
    record = bench.apply()
    change.confirm("vm1", bench.settings)
    Reader.meanwhile = lambda: transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert drift_of(bench) == []
    assert bench.state(record) is State.UNDONE


def test_what_somebody_is_applying_now_is_not_called_interrupted(bench: Bench) -> None:
    """Without a deadline no process waits for it: that somebody is at it shows by the lock."""
    bench.journal.begin(bench.journal.create(plan_for(bench.now, GUEST)), 0)
    with bench.journal.lock():
        assert "applying is going on: look again in a moment" in drift_of(bench)[0]
    assert drift_of(bench) == ["applying was interrupted: nwscan rollback vm1 restores what was there before"]


def test_nobody_is_refused_since_somebody_looked_at_the_lock(bench: Bench) -> None:
    with bench.journal.lock():
        pass
    assert not bench.journal.is_locked()
    looking = os.open(bench.settings.journal / "lock", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    ending = threading.Timer(0.01, os.close, [looking])
    ending.start()
    with bench.journal.lock():
        assert bench.journal.is_locked()
    ending.join()
