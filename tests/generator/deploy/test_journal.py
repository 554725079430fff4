"""The journal on disk: what was written is read back, what was cut is cut off, what is not ours is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from analyzer.errors import HostError, InputError
from generator.deploy.journal import Journal, LockedError
from generator.deploy.journal_record import SIZE_LIMIT, JournalRecord, State
from tests.generator.deploy.file_door import plan_for
from tests.generator.deploy.hosts import GUEST, HOSTS, OTHER

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = plan_for(HOSTS["no filter"], GUEST)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal"


@pytest.fixture
def journal(folder: Path) -> Journal:
    return Journal(folder)


@pytest.fixture
def record(journal: Journal) -> JournalRecord:
    return journal.begin(journal.begin(journal.create(PLAN), 0), 1)


def test_there_is_nothing_before_the_first_change(journal: Journal, folder: Path) -> None:
    assert journal.records() == journal.in_force() == journal.interrupted() == ()
    assert not folder.exists()


def test_what_was_written_is_read_back(journal: Journal, record: JournalRecord) -> None:
    record = journal.reach(record, State.UNDONE, "since it's over\n")
    assert journal.records() == (record,)
    assert journal.record(record.path) == record
    assert record.plan == PLAN
    assert record.events[-1].why == "since it's over\n"


def test_only_the_owner_reads_it(folder: Path, record: JournalRecord) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600


def test_the_state_follows_the_events(journal: Journal) -> None:
    record = journal.create(PLAN)
    seen = [(record.state, record.begun, record.is_in_force)]
    advances: tuple[Callable[[JournalRecord], JournalRecord], ...] = (
        lambda one: journal.begin(one, 0),
        lambda one: journal.begin(one, 1),
        lambda one: journal.reach(one, State.APPLIED),
        lambda one: journal.reach(one, State.CONFIRMED),
        lambda one: journal.undo(one, 1),
        lambda one: journal.reach(one, State.UNDONE),
    )
    for advance in advances:
        record = advance(record)
        seen.append((record.state, record.begun, record.is_in_force))
        assert journal.records() == (record,)
    assert seen == [
        (State.PLANNED, 0, False),
        (State.APPLYING, 1, True),
        (State.APPLYING, 2, True),
        (State.APPLIED, 2, True),
        (State.CONFIRMED, 2, True),
        (State.UNDOING, 2, True),
        (State.UNDONE, 2, False),
    ]


def test_changes_in_force_are_newest_first_and_of_one_guest(journal: Journal) -> None:
    first, second = journal.begin(journal.create(PLAN), 0), journal.begin(journal.create(PLAN), 0)
    other = journal.begin(journal.create(msgspec.structs.replace(PLAN, guest=OTHER)), 0)
    journal.create(PLAN)
    first = journal.reach(first, State.APPLIED)
    assert journal.in_force() == (other, second, first)
    assert journal.in_force(GUEST) == (second, first)
    assert journal.interrupted() == (other, second)


def test_a_clock_set_back_does_not_change_what_came_first(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    first = journal.begin(journal.create(PLAN), 0)
    for time_s in (1_700_000_000.0, 0.0):
        monkeypatch.setattr(time, "time", lambda time_s=time_s: time_s)
        journal.begin(journal.create(PLAN), 0)
    paths = [record.path for record in journal.in_force()]
    assert paths == sorted(paths, reverse=True)
    assert len(set(paths)) == 3
    assert paths[-1] == first.path


def test_the_time_before_the_first_step_is_known(journal: Journal) -> None:
    record = journal.create(PLAN)
    assert record.begun_at_ns == pytest.approx(datetime.fromisoformat(record.created).timestamp() * 1e9, abs=1000)


# Torn lines


def test_every_cut_leaves_the_events_that_were_whole(journal: Journal, record: JournalRecord) -> None:
    whole = record.path.read_bytes()
    ends = [at + 1 for at, octet in enumerate(whole) if octet == ord("\n")]
    for cut in sorted({*range(0, len(whole), 101), *ends[:-1], *(end - 1 for end in ends)}):
        record.path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        expected = (JournalRecord(record.path, record.created, PLAN, record.events[: complete - 1]),)
        assert journal.records() == (expected if complete else ()), cut


@pytest.mark.parametrize("torn", [b'{"torn', b'{"at":"torn', b"\xff" * 100_000 + b"torn"])
def test_what_is_appended_replaces_a_torn_line(journal: Journal, record: JournalRecord, torn: bytes) -> None:
    with record.path.open("ab") as file:
        file.write(torn)
    (again,) = journal.records()
    assert again == record
    again = journal.undo(again, 1)
    assert journal.records() == (again,)
    assert b"torn" not in record.path.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="the lock of the host is root's")
def test_two_state_folders_of_one_host_change_guests_one_after_the_other(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generator.deploy.journal.HOST_LOCK", tmp_path / "run" / "lock")
    other = Journal(tmp_path / "elsewhere")
    with journal.lock(), pytest.raises(LockedError, match="another nwscan"), other.lock():
        pass
    with other.lock(), pytest.raises(LockedError, match="another nwscan"), journal.lock():
        pass


# A disk that is full


def full(*_: object) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("call", ["write", "fsync", "open"])
def test_a_full_disk_is_told_and_leaves_no_plan(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with journal.lock():
        pass
    monkeypatch.setattr(os, call, full)
    with pytest.raises(HostError, match="cannot write the journal: No space left on device"):
        journal.create(PLAN)
    monkeypatch.undo()
    assert [path.name for path in folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_an_event_that_cannot_be_written_is_told(
    journal: Journal, record: JournalRecord, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(os, call, full)
    with pytest.raises(HostError, match="No space left on device"):
        journal.reach(record, State.APPLIED)


def test_a_short_write_is_gone_on_with(
    journal: Journal, record: JournalRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, octets: write(descriptor, bytes(octets[:3])))
    record = journal.reach(record, State.APPLIED)
    assert journal.records() == (record,)


def test_an_event_needs_its_file(journal: Journal, record: JournalRecord) -> None:
    record.path.unlink()
    with pytest.raises(HostError, match="cannot write the journal"):
        journal.undo(record, 0)
    assert not record.path.exists()


# What is not ours


def damage(change: Callable[[list[bytes]], object]) -> Callable[[Path], object]:
    def act(path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        change(lines)
        path.write_bytes(b"".join(lines))

    return act


def header(**changes: object) -> Callable[[Path], object]:
    def change(lines: list[bytes]) -> None:
        lines[0] = msgspec.json.encode(msgspec.json.decode(lines[0]) | changes) + b"\n"

    return damage(change)


def event(text: bytes) -> Callable[[Path], object]:
    return damage(lambda lines: lines.insert(1, text + b"\n"))


def replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(path: Path) -> None:
        path.unlink()
        make(path)

    return act


AT = b'{"at":"2026-01-01T00:00:00+00:00",'
DAMAGES = {
    "no JSON": (damage(lambda lines: lines.insert(0, b"garbage\n")), "not a journal"),
    "another schema": (header(schema="nwscan.journal/2"), "not a journal"),
    "no time": (header(created="yesterday"), "not a journal"),
    "a time without a zone": (header(created="2026-01-01T00:00:00"), "a time without a zone"),
    "an event of no kind": (event(AT + b'"event":"dance"}'), "line 2"),
    "an event without a step": (event(AT + b'"event":"begin"}'), "line 2"),
    "a step that the plan lacks": (event(AT + b'"event":"begin","step":4}'), "line 2"),
    "a negative step": (event(AT + b'"event":"undo","step":-1}'), "line 2"),
    "a state without its name": (event(AT + b'"event":"state"}'), "line 2"),
    "no event": (event(b"[" * 100_000), "line 2"),
    "octets that are no text": (event(b'{"at":"\xff\xfe"}'), "line 2"),
    "an empty line": (event(b""), "line 2"),
    "writable by all": (lambda path: path.chmod(0o666), "written by somebody else"),
    "writable by the group": (lambda path: path.chmod(0o620), "written by somebody else"),
    "too big": (lambda path: os.truncate(path, SIZE_LIMIT + 1), "above the limit"),
    "a symbolic link": (replaced(lambda path: path.symlink_to("/dev/zero")), "cannot read"),
    "a pipe": (replaced(lambda path: os.mkfifo(path, 0o600)), "is no file"),
    "a folder": (replaced(lambda path: path.mkdir(mode=0o700)), "is no file|cannot read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_not_ours_is_refused_and_hides_nothing_else(journal: Journal, record: JournalRecord, name: str) -> None:
    act, complaint = DAMAGES[name]
    other = journal.begin(journal.create(PLAN), 0)
    act(record.path)
    with pytest.raises(InputError, match=complaint) as caught:
        journal.in_force()
    assert str(record.path) in str(caught.value)
    reading = journal.read()
    assert reading.records == (other,)
    assert len(reading.errors) == 1


def test_a_journal_may_not_change_what_is_not_ours(journal: Journal) -> None:
    steps = (msgspec.structs.replace(PLAN.steps[0], name="clean-traffic"),)
    journal.begin(journal.create(msgspec.structs.replace(PLAN, steps=steps)), 0)
    with pytest.raises(InputError, match="not one of nwscan's"):
        journal.in_force()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(journal: Journal, record: JournalRecord) -> None:
    os.chown(record.path, 65534, 65534)
    with pytest.raises(InputError, match="written by somebody else"):
        journal.records()


def test_a_folder_that_others_write_is_refused(journal: Journal, folder: Path, record: JournalRecord) -> None:
    folder.chmod(0o777)
    for read in (journal.records, journal.in_force, lambda: journal.create(PLAN), lambda: journal.lock().__enter__()):
        with pytest.raises(InputError, match="written by somebody else"):
            read()
    folder.chmod(0o755)
    assert journal.in_force() == (record,)


def test_other_files_are_nobodys_business(journal: Journal, folder: Path, record: JournalRecord) -> None:
    for name in ("README", "x.journal", f"{record.path.name}~", ".swp"):
        (folder / name).write_text("?")
    assert journal.records() == (record,)


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    journal = Journal(tmp_path / "journal")
    with pytest.raises(InputError, match="cannot read the journal"):
        journal.records()
    for change in (lambda: journal.create(PLAN), lambda: journal.lock().__enter__()):
        with pytest.raises((HostError, InputError), match=r"cannot .* the journal"):
            change()


# The lock


HOLD = """
import sys
from pathlib import Path
from generator.deploy.journal import Journal
with Journal(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_change_guests_at_once(journal: Journal, folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(HostError, match="another nwscan is changing guests"), journal.lock():
            pass
        holder.kill()
    with journal.lock():
        pass


def test_the_lock_excludes_within_a_process_and_ends_with_its_block(journal: Journal) -> None:
    with journal.lock(), pytest.raises(HostError, match="another nwscan"), journal.lock():
        pass
    with pytest.raises(ZeroDivisionError), journal.lock():
        _ = 1 / 0
    with journal.lock():
        pass


def test_a_lock_that_is_a_link_is_not_followed(journal: Journal, folder: Path, tmp_path: Path) -> None:
    with journal.lock():
        pass
    (folder / "lock").unlink()
    (folder / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="cannot write the journal"), journal.lock():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_whether_somebody_is_at_it_can_be_asked_without_being_in_the_way(journal: Journal) -> None:
    assert not journal.is_locked()  # there is no folder yet
    with journal.lock():
        assert journal.is_locked()
        assert Journal(journal._folder).is_locked()
    assert not journal.is_locked()


def test_an_empty_file_is_told_of_when_it_is_asked_for(journal: Journal, record: JournalRecord) -> None:
    record.path.write_bytes(b"")
    assert journal.records() == ()
    with pytest.raises(InputError, match="nothing was ever written"):
        journal.record(record.path)


def test_a_name_that_is_no_time_comes_before_every_other(journal: Journal, record: JournalRecord) -> None:
    odd = record.path.with_name("99999999T999999999999Z-00000000.journal")
    record.path.rename(odd)
    assert journal.create(PLAN).path.name < odd.name
    assert len(journal.records()) == 2


def test_when_it_was_touched_is_when_its_last_event_was_written(journal: Journal) -> None:
    created = journal.create(PLAN)
    assert created.touched_at_ns == created.begun_at_ns
    begun = journal.begin(created, 0)
    assert begun.touched_at_ns >= begun.begun_at_ns
    assert begun.touched_at_ns == int(datetime.fromisoformat(begun.events[-1].at).timestamp() * 1e9)


def test_whoever_is_not_root_takes_the_journals_lock_alone(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("generator.deploy.journal.HOST_LOCK", tmp_path / "host" / "lock")
    journal.create(PLAN)
    os.chown(journal._folder, 1000, 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with journal.lock():
        assert journal.is_locked()
    assert not (tmp_path / "host").exists()
