"""A change that waits: kept before its deadline, undone after it, never both, whoever is faster."""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest import mock

import msgspec
import pytest

from analyzer.errors import HostError, RollbackIncompleteError, RolledBackError
from analyzer.host.boot_clock import boot_clock
from generator.deploy import journal as journal_module
from generator.deploy import pending, transaction
from generator.deploy.deadline import deadline_in
from generator.deploy.journal import Journal, LockedError
from generator.deploy.journal_record import State
from tests.generator.deploy.file_door import FileDoor, HostState, plan_for, read_state, write_state
from tests.generator.deploy.hosts import GUEST, HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from generator.deploy.journal_record import JournalRecord


@dataclass
class HandClock:
    """A clock that a test turns by hand."""

    boot_id: str = "this boot"
    at_s: float = 1000.0
    day_s: float = 1.8e9

    def now_ns(self) -> int:
        return int(self.at_s * 1e9)

    def wall_ns(self) -> int:
        return int(self.day_s * 1e9)


class Bench:
    """A host in a file, where a change was applied that waits for ten seconds."""

    def __init__(self, folder: Path, *, within_s: float = 10.0) -> None:
        self.path = folder / "host.json"
        self.journal = Journal(folder / "journal")
        self.clock = HandClock()
        self.before = HOSTS["clean-traffic"]
        self.started: list[JournalRecord] = []
        write_state(self.path, self.before)
        confirmation = transaction.Confirmation(lambda: deadline_in(within_s, self.clock), self.started.append)
        self.record = transaction.apply(plan_for(self.before, GUEST), FileDoor(self.path), self.journal, confirmation)

    @property
    def now(self) -> HostState:
        return read_state(self.path)

    def confirm(self) -> JournalRecord:
        return pending.confirm(self.record, self.journal, self.clock)

    def undo(self, harm: str | None = None) -> State:
        path, clock = self.record.path, self.clock
        door = FileDoor(self.path)
        return pending.rollback_unconfirmed(path, lambda: nullcontext(door), self.journal, clock, harm).record.state


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_waited_for_before_anything_is_done(bench: Bench) -> None:
    (started,) = bench.started
    assert (started.state, started.begun) == (State.PLANNED, 0)
    assert started.deadline is not None
    assert bench.record.is_pending
    assert bench.journal.record(bench.record.path) == bench.record


def test_nothing_is_done_where_nobody_can_wait(tmp_path: Path) -> None:
    def fail(_: JournalRecord) -> None:
        raise HostError("no process can be started")

    write_state(tmp_path / "host.json", HOSTS["clean-traffic"])
    door, journal = FileDoor(tmp_path / "host.json"), Journal(tmp_path / "journal")
    confirmation = transaction.Confirmation(lambda: deadline_in(10, HandClock()), fail)
    with pytest.raises(HostError, match="no process can be started"):
        transaction.apply(plan_for(HOSTS["clean-traffic"], GUEST), door, journal, confirmation)
    assert read_state(door.path) == HOSTS["clean-traffic"]
    assert [record.state for record in journal.records()] == [State.UNDONE]


def test_a_confirmation_in_time_keeps_it_for_good(bench: Bench) -> None:
    bench.clock.at_s += 9.9
    assert bench.undo() is State.APPLIED
    assert bench.confirm().state is State.CONFIRMED
    bench.clock.at_s += 100
    assert bench.undo("harm") is State.CONFIRMED
    assert bench.now != bench.before


def test_a_confirmation_after_the_deadline_loses(bench: Bench) -> None:
    bench.clock.at_s += 10
    with pytest.raises(RolledBackError, match="too late to keep the change of vm1: the deadline was 2027"):
        bench.confirm()
    assert bench.undo() is State.UNDONE
    assert bench.now == bench.before
    with pytest.raises(RolledBackError, match="was rolled back: nobody confirmed it: the deadline was 2027"):
        bench.confirm()


def test_harm_undoes_it_while_there_is_time(bench: Bench) -> None:
    assert bench.undo("the filter drops ARP") is State.UNDONE
    assert bench.journal.records()[0].why == "the filter drops ARP"
    assert bench.now == bench.before


@pytest.mark.parametrize("step_s", [-1e7, 1e7])
def test_a_wall_clock_that_is_set_changes_nothing(bench: Bench, step_s: float) -> None:
    bench.clock.day_s += step_s
    bench.clock.at_s += 9.9
    assert bench.undo() is State.APPLIED
    bench.clock.at_s += 0.1
    assert bench.undo() is State.UNDONE


def test_after_a_reboot_it_is_too_late(bench: Bench) -> None:
    bench.clock.boot_id, bench.clock.at_s = "another boot", 5.0
    with pytest.raises(RolledBackError, match="the host was started anew"):
        bench.confirm()
    assert bench.undo() is State.UNDONE
    assert bench.now == bench.before


def test_the_definite_deadline_counts_from_when_it_is_set(bench: Bench) -> None:
    bench.clock.at_s += 9
    record = pending.expect(bench.record, bench.journal, bench.clock, 10)
    bench.clock.at_s += 9
    assert record.deadline is not None
    assert record.deadline.left_s(bench.clock) == pytest.approx(1)
    assert bench.undo() is State.APPLIED
    bench.clock.at_s += 1
    with pytest.raises(RolledBackError):
        pending.expect(bench.record, bench.journal, bench.clock, 10)


def test_tries_without_end_do_not_make_the_journal_grow(bench: Bench) -> None:
    """Above its limit nobody could read it any more, and nothing would undo the change."""
    state = bench.now
    state.refused = ["undefine_filter"]
    write_state(bench.path, state)
    sizes = set()
    for _ in range(3):
        with pytest.raises(RollbackIncompleteError):
            bench.undo("harm")
        sizes.add(bench.record.path.stat().st_size)
    assert len(sizes) == 1
    state = bench.now
    state.refused = []
    write_state(bench.path, state)
    assert bench.undo() is State.UNDONE
    assert bench.now == bench.before


@pytest.mark.parametrize("is_kept", [False, True])
def test_what_was_undone_on_a_full_disk_cannot_be_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_kept: bool
) -> None:
    """The guest is restored and nothing can be written down: there is room again, and somebody confirms."""

    def fail(_: int, __: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if is_kept:
        bench.confirm()
    with monkeypatch.context() as full:
        full.setattr(journal_module, "_write_all", fail)
        with pytest.raises(RollbackIncompleteError, match="No space left on device"):
            transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert bench.now == bench.before
    with pytest.raises(HostError, match="there is nothing to keep: the change of vm1 is applying"):
        bench.confirm()
    assert bench.undo("the filter drops ARP") is State.UNDONE
    assert bench.journal.record(bench.record.path).why == "the filter drops ARP"
    assert bench.now == bench.before


def test_a_defect_in_one_step_does_not_keep_the_others_from_being_undone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(self: FileDoor, guest: str, xml: str, *, live: bool) -> None:
        if not live:
            raise KeyError(guest)
        restore(self, guest, xml, live=live)

    restore = FileDoor.update_interface
    monkeypatch.setattr(FileDoor, "update_interface", defective)
    with pytest.raises(RollbackIncompleteError, match=r"a defect of nwscan: KeyError"):
        bench.undo("harm")
    assert bench.now.guests[GUEST].live == bench.before.guests[GUEST].live
    monkeypatch.setattr(FileDoor, "update_interface", restore)
    assert bench.undo() is State.UNDONE
    assert bench.now == bench.before


def test_a_second_change_waits_for_the_first(bench: Bench) -> None:
    plan = msgspec.structs.replace(bench.record.plan, steps=bench.record.plan.steps[:1])
    with pytest.raises(HostError, match="an earlier change of vm1 waits to be confirmed"):
        transaction.apply(plan, FileDoor(bench.path), bench.journal)


def test_nobody_decides_while_another_changes_guests(bench: Bench) -> None:
    bench.clock.at_s += 20
    with bench.journal.lock(), pytest.raises(LockedError):
        bench.undo()
    assert bench.undo() is State.UNDONE


def test_a_change_whose_process_ended_amid_it_is_undone_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    record = bench.journal.create(plan_for(bench.before, GUEST))
    bench.record = bench.journal.begin(bench.journal.expect(record, deadline_in(60, bench.clock)), 0)
    assert bench.undo() is State.UNDONE
    assert bench.journal.records()[-1].why == "whoever applied it ended before it was done"


RACES = 100
AHEAD_S = 0.12
OFFSETS_MS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30)
"""When a person confirms, from the deadline on; the outer ones tell on a host under load, too."""


def sleep_until(boottime_ns: int) -> None:
    clock = boot_clock()
    while (left_ns := boottime_ns - clock.now_ns()) > 0:
        time.sleep(left_ns / 1e9)


def wait_and_undo(path: Path, go: int) -> None:
    """Do as the process that waits does, once it is told that the deadline is set."""
    os.read(go, 1)
    path_of_host, journal, clock = path.parents[1] / "host.json", Journal(path.parent), boot_clock()
    deadline = journal.record(path).deadline
    assert deadline is not None
    door = FileDoor(path_of_host)
    sleep_until(deadline.boottime_ns)
    while True:
        try:
            undone = pending.rollback_unconfirmed(path, lambda: nullcontext(door), journal, clock)
        except LockedError:
            continue
        if undone.record.state is not State.APPLIED:
            return


@contextmanager
def timer(path: Path) -> Iterator[int]:
    """A process that waits, from when something is written to what is given."""
    go, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            wait_and_undo(path, go)
        except BaseException:  # noqa: BLE001 - nothing may come back into pytest from here
            os._exit(70)
        os._exit(0)
    os.close(go)
    try:
        yield tell
    finally:
        os.close(tell)
        _, status = os.waitpid(child, 0)
    assert os.WEXITSTATUS(status) == 0


def test_of_a_confirmation_and_the_timer_one_wins(tmp_path: Path) -> None:
    """Two processes at the same deadline, on the real clock: what the confirmation said is what is there."""
    bench, clock, outcomes = Bench(tmp_path), boot_clock(), []
    transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    plan = msgspec.structs.replace(bench.record.plan, steps=bench.record.plan.steps[:1])
    for number in range(RACES):
        with mock.patch("os.fsync"):  # the race is for the lock: what the disk does takes its time alone
            record = bench.journal.begin(bench.journal.create(plan), 0)
            FileDoor(bench.path).define_filter(plan.steps[0].after)  # type: ignore[union-attr]
            with timer(record.path) as tell:
                deadline = deadline_in(AHEAD_S, clock)
                record = bench.journal.reach(record, State.APPLIED, deadline=deadline)
                os.write(tell, b"!")
                sleep_until(deadline.boottime_ns + OFFSETS_MS[number % len(OFFSETS_MS)] * 1_000_000)
                try:
                    outcomes.append(pending.confirm(record, bench.journal, clock).state is State.CONFIRMED)
                except RolledBackError:
                    outcomes.append(False)
        state = bench.journal.record(record.path).state
        assert state is (State.CONFIRMED if outcomes[-1] else State.UNDONE)
        assert (read_state(bench.path) == bench.before) is not outcomes[-1]
        transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    assert set(outcomes) == {True, False}


def test_what_was_kept_meanwhile_is_waited_for_no_more(bench: Bench) -> None:
    kept = bench.confirm()
    assert pending.expect(bench.record, bench.journal, bench.clock, 60) == kept
    assert bench.confirm() == kept


def test_a_change_of_which_nothing_was_begun_is_undone_without_libvirt(bench: Bench) -> None:
    """The command was killed between writing the plan down and its first step."""
    planned = bench.journal.create(plan_for(bench.now, GUEST))
    expecting = bench.journal.expect(planned, deadline_in(10, bench.clock))
    bench.clock.at_s += 20

    def unreachable() -> None:
        raise AssertionError

    undone = pending.rollback_unconfirmed(expecting.path, unreachable, bench.journal, bench.clock)  # type: ignore[arg-type]
    assert (undone.record.state, undone.lines) == (State.UNDONE, ())
    assert undone.record.why == "whoever applied it ended before it was done"
