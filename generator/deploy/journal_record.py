"""One change as its file tells it: the plan, then an event a line, and the state that they tell of.

Values, and the reading of one file: whoever reads it is root, so it is believed only where nobody else can have written
it, and where it says nothing that nwscan never writes. journal.py has the folder of them, and writes.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from analyzer.errors import InputError, NwscanError
from generator.deploy.deadline import Deadline
from generator.deploy.plan import Plan, check

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = "nwscan.journal/1"
SIZE_LIMIT: Final = 32 * 1024 * 1024


class State(StrEnum):
    """Where a change stands."""

    PLANNED = "planned"
    """Written down; nothing was done."""
    APPLYING = "applying"
    """Steps were begun: interrupted, unless a process is at it now."""
    APPLIED = "applied"
    CONFIRMED = "confirmed"
    UNDOING = "undoing"
    UNDONE = "undone"


class Header(msgspec.Struct, frozen=True):
    """The first line."""

    schema: Literal["nwscan.journal/1"]
    created: str
    plan: Plan


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One further line: a step about to be done or undone, the state reached, or until when it may be confirmed."""

    at: str
    event: Literal["begin", "undo", "state", "deadline"]
    step: int | None = None
    state: State | None = None
    why: str | None = None
    deadline: Deadline | None = None


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """A change as its file tells it."""

    path: Path
    created: str
    plan: Plan
    events: tuple[Event, ...]

    @property
    def state(self) -> State:
        """The state that the last events tell of."""
        for event in reversed(self.events):
            if event.state is not None:
                return event.state
            if event.event != "deadline":
                return State.APPLYING if event.event == "begin" else State.UNDOING
        return State.PLANNED

    @property
    def deadline(self) -> Deadline | None:
        """Until when it may be confirmed, as written down last; None where nobody waits for that."""
        return next((event.deadline for event in reversed(self.events) if event.deadline is not None), None)

    @property
    def is_pending(self) -> bool:
        """Say whether it is applied and waits to be confirmed: it is rolled back when nobody does."""
        return self.state is State.APPLIED and self.deadline is not None

    @property
    def why(self) -> str | None:
        """Why it was undone, None where it was not."""
        undone = (event.why for event in reversed(self.events) if event.state is State.UNDONE)
        return next(undone, None)

    @property
    def begun(self) -> int:
        """How many steps may have been done."""
        return max(
            (event.step + 1 for event in self.events if event.event == "begin" and event.step is not None), default=0
        )

    @property
    def begun_at_ns(self) -> int:
        """When it was written down, before its first step, in ns since the epoch."""
        return int(datetime.fromisoformat(self.created).timestamp() * 1e9)

    @property
    def touched_at_ns(self) -> int:
        """When its last event was written down, in ns since the epoch."""
        last = self.events[-1].at if self.events else self.created
        return int(datetime.fromisoformat(last).timestamp() * 1e9)

    @property
    def is_in_force(self) -> bool:
        """Say whether something of it may be on the host."""
        return self.begun > 0 and self.state is not State.UNDONE


HINT: Final = "it was damaged or is not nwscan's: look at it, and move it away only if nothing of it is in force"
FOLDER_HINT: Final = "see whose it is, and mend that; or name another folder with --state"


def require_private(status: os.stat_result, path: Path) -> None:
    """Raise InputError for what others may write: it says what root is to do."""
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError("the journal can be written by somebody else", str(path), FOLDER_HINT)


def read_record(path: Path) -> JournalRecord | None:
    """Read one file. None where a crash cut its very first line: then nothing was done."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InputError("the journal is no file", str(path), HINT)
            require_private(status, path)
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"cannot read the journal: {error.strerror}", str(path), HINT) from error
    if len(content) > SIZE_LIMIT:
        raise InputError(f"a journal above the limit of {SIZE_LIMIT} octets", str(path), HINT)
    lines = content.split(b"\n")
    if len(lines) == 1:
        return None
    record = _parse(path, lines)
    _check(record)
    return record


def _parse(path: Path, lines: list[bytes]) -> JournalRecord:
    number = 1
    try:
        header = msgspec.json.decode(lines[0], type=Header)
        events = []
        for number, line in enumerate(lines[1:-1], 2):  # noqa: B007 the error names the line
            events.append(msgspec.json.decode(line, type=Event))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"not a journal of {SCHEMA}: {error}", f"{path}, line {number}", HINT) from error
    return JournalRecord(path, header.created, header.plan, tuple(events))


def _check(record: JournalRecord) -> None:
    """Raise InputError where a record says what we never write: it tells root what to do."""
    where, steps = str(record.path), len(record.plan.steps)
    for number, event in enumerate(record.events, 2):
        is_step = event.step is not None and 0 <= event.step < steps
        is_whole = {
            "state": event.state is not None,
            "deadline": event.state is None and event.deadline is not None,
            "begin": event.state is None and is_step,
            "undo": event.state is None and is_step,
        }
        if not is_whole[event.event]:
            raise InputError(
                "not a journal of ours: an event without its step, state or deadline", f"{where}, line {number}", HINT
            )
    try:
        for at in (record.created, *(event.at for event in record.events)):
            if datetime.fromisoformat(at).tzinfo is None:
                raise InputError(f"a time without a zone: {at!r}")
        if record.is_in_force:
            check(record.plan)
    except (NwscanError, ValueError) as error:
        what = error.what if isinstance(error, NwscanError) else str(error)
        raise InputError(f"not a journal of ours: {what}", where, HINT) from error
