"""What was done and what was there before, on disk before it happens.

One file a change, in a folder of its own: first line the plan, then one line an event, each written and flushed to
the disk before the next thing happens. A line that was cut by a crash is no event. The file says at any point what may
have been done, and what undoes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.errors import HostError, InputError
from generator.deploy.journal_record import (
    FOLDER_HINT,
    HINT,
    SIZE_LIMIT,
    Event,
    Header,
    JournalRecord,
    State,
    read_record,
    require_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator.deploy.deadline import Deadline
    from generator.deploy.plan import Plan

_CHUNK: Final = 65536
_STAMP: Final = "%Y%m%dT%H%M%S%fZ"
_NAME = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{8}\.journal")
_LOCK: Final = "lock"
HOST_LOCK: Final = Path("/run/nwscan/lock")
"""The second lock, of root's: two state folders of one host are two journals, and change the same guests."""
_LOOK_EVERY_S: Final = 0.02
_AT_LEAST_S: Final = 0.1
"""How long the lock is tried for: whoever only looks whether somebody has it has it for a moment."""


class LockedError(HostError):
    """Another process is changing guests."""


@dataclass(frozen=True, slots=True)
class JournalReading:
    """Every change that can be read, oldest first, and an error for each file that cannot."""

    records: tuple[JournalRecord, ...]
    errors: tuple[InputError, ...]


class Journal:
    """The journal in a folder, readable by its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def lock(self, wait_s: float = 0.0) -> Iterator[None]:
        """Be the only one on this host that changes guests.

        Raises HostError where another process is at it, for longer than ``wait_s``.
        """
        self._make_folder()
        if os.geteuid() == 0:
            with self._writing(HOST_LOCK.parent):
                HOST_LOCK.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = [self._folder / _LOCK, *([HOST_LOCK] if os.geteuid() == 0 else [])]
        with ExitStack() as stack:
            for path in paths:  # in this order, everywhere
                with self._writing(path):
                    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                    stack.callback(os.close, descriptor)
                    _take(descriptor, path, wait_s)
            yield

    def is_locked(self) -> bool:
        """Say whether somebody is changing guests now. To look takes the lock for a moment, which nobody notices."""
        try:
            descriptor = os.open(self._folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def create(self, plan: Plan) -> JournalRecord:
        """Write down a plan; nothing of it has been done yet."""
        self._make_folder()
        now = _now()
        path = self._folder / f"{self._stamp(now)}-{os.urandom(4).hex()}.journal"
        header = msgspec.json.encode(Header("nwscan.journal/1", now, plan)) + b"\n"
        with self._writing(path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, header)
                _sync_folder(self._folder)
            except OSError:
                path.unlink()  # nothing was done: no half plan stays behind
                raise
            finally:
                os.close(descriptor)
        return JournalRecord(path, now, plan, ())

    def _stamp(self, now: str) -> str:
        """Give the time for a file's name, later than every other's: the names say what came after what.

        The clock may have been set back since.
        """
        time_now = datetime.fromisoformat(now)
        last = max((_stamped(path) for path in self._paths()), default=time_now)
        return (time_now if last < time_now else last + timedelta(microseconds=1)).strftime(_STAMP)

    def begin(self, record: JournalRecord, step: int) -> JournalRecord:
        """Write down that a step is about to be done."""
        return self._append(record, Event(_now(), "begin", step=step))

    def undo(self, record: JournalRecord, step: int) -> JournalRecord:
        """Write down that a step is about to be undone."""
        return self._append(record, Event(_now(), "undo", step=step))

    def reach(
        self, record: JournalRecord, state: State, why: str | None = None, deadline: Deadline | None = None
    ) -> JournalRecord:
        """Write down the state reached, and until when it may be confirmed."""
        return self._append(record, Event(_now(), "state", state=state, why=why, deadline=deadline))

    def expect(self, record: JournalRecord, deadline: Deadline) -> JournalRecord:
        """Write down until when the change may be confirmed."""
        return self._append(record, Event(_now(), "deadline", deadline=deadline))

    def doubt(self, record: JournalRecord) -> JournalRecord:
        """Take back that a change was applied, or kept: what is there now is what somebody began.

        The file is cut behind the last step begun, which needs no room on the disk.
        """
        kept = max((number for number, event in enumerate(record.events, 1) if event.event == "begin"), default=0)
        with self._writing(record.path):
            descriptor = os.open(record.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                lines = os.pread(descriptor, SIZE_LIMIT, 0).split(b"\n")
                os.ftruncate(descriptor, sum(len(line) + 1 for line in lines[: kept + 1]))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return JournalRecord(record.path, record.created, record.plan, record.events[:kept])

    def records(self) -> tuple[JournalRecord, ...]:
        """Give every change, oldest first. Raises InputError for a file that is no journal."""
        reading = self.read()
        if reading.errors:
            raise reading.errors[0]
        return reading.records

    def read(self) -> JournalReading:
        """Give every change that can be read, and the errors of those that cannot."""
        records, errors = [], []
        for path in self._paths():
            try:
                record = read_record(path)
            except InputError as error:
                errors.append(error)
                continue
            if record is not None:
                records.append(record)
        return JournalReading(tuple(records), tuple(errors))

    def record(self, path: Path) -> JournalRecord:
        """Give one change as it is on the disk now. Raises InputError where the file is no journal or is gone."""
        record = read_record(path)
        if record is None:
            raise InputError("nothing was ever written into this file of the journal", str(path), HINT)
        return record

    def _paths(self) -> list[Path]:
        try:
            require_private(self._folder.stat(), self._folder)
            return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"cannot read the journal: {error.strerror}", str(self._folder), FOLDER_HINT) from error

    def in_force(self, guest: str | None = None) -> tuple[JournalRecord, ...]:
        """Give the changes of a guest (by uuid; None: of all) that are on the host or may be, newest first."""
        records = [record for record in self.records() if record.is_in_force]
        return tuple(reversed([record for record in records if guest is None or record.plan.guest == guest]))

    def interrupted(self) -> tuple[JournalRecord, ...]:
        """Give the changes that were neither finished nor undone."""
        return tuple(record for record in self.in_force() if record.state in {State.APPLYING, State.UNDOING})

    def _append(self, record: JournalRecord, event: Event) -> JournalRecord:
        with self._writing(record.path):
            descriptor = os.open(record.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                _end_at_line(descriptor)
                _write_all(descriptor, msgspec.json.encode(event) + b"\n")
            finally:
                os.close(descriptor)
        return JournalRecord(record.path, record.created, record.plan, (*record.events, event))

    def _make_folder(self) -> None:
        with self._writing(self._folder):
            if not self._folder.exists():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync_folder(self._folder.parent)
            require_private(self._folder.stat(), self._folder)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HostError(
                f"cannot write the journal: {error.strerror}",
                str(path),
                "make room, or name another folder with --state",
            ) from error


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="microseconds")


def _write_all(descriptor: int, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _stamped(path: Path) -> datetime:
    """Give the time in a file's name; one that is no time is as old as can be."""
    try:
        return datetime.strptime(path.name.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _take(descriptor: int, path: Path, wait_s: float) -> None:
    end_s = time.monotonic() + max(wait_s, _AT_LEAST_S)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end_s:
                raise LockedError(
                    "another nwscan is changing guests", str(path), "wait for it to end, then try again"
                ) from error
            time.sleep(_LOOK_EVERY_S)
        else:
            return


def _end_at_line(descriptor: int) -> None:
    """Go to the end of the last whole line and cut what a crash left behind it."""
    end = size = os.fstat(descriptor).st_size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        start = max(end - _CHUNK, 0)
        end = start + os.pread(descriptor, end - start, start).rfind(b"\n") + 1
    if end < size:
        os.ftruncate(descriptor, end)
    os.lseek(descriptor, end, os.SEEK_SET)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
