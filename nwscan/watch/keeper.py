"""Waiting for a change to be confirmed: over when it is kept or undone, and undone at the deadline or on harm.

Decides nothing by itself: generator/deploy/pending.py does, under the journal's lock. What cannot be done now (libvirt
is away, the disk is full, another nwscan is at work) is tried again until it is done or somebody else has done it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from analyzer.errors import InputError, NwscanError
from generator.deploy.journal import LockedError
from generator.deploy.journal_record import State
from generator.deploy.pending import rollback_unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from analyzer.host.boot_clock import Clock
    from generator.deploy.door import WriterDoor
    from generator.deploy.journal import Journal
    from generator.deploy.journal_record import JournalRecord

TICK_S: Final = 0.2
"""How often the journal is looked at: bounds how late the end of the wait is noticed."""

_RETRY_S: Final = 1.0, 30.0
"""How long after a failure it is tried again: at first, and at the most."""


class Guards(Protocol):
    """Who watches the guest while the change waits."""

    def look(self) -> str | None:
        """Give the harm that was measured, in a sentence, None where there is none so far. Never waits."""

    def close(self) -> None:
        """Stop watching."""


@dataclass(slots=True)
class Keeper:
    """Waits for the change in ``path``; ``open_guards`` begins to watch once it is applied."""

    path: Path
    journal: Journal
    open_door: Callable[[], AbstractContextManager[WriterDoor]]
    clock: Clock
    open_guards: Callable[[JournalRecord], Guards]
    tell: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    _guards: Guards | None = None
    _harm: str | None = None
    _is_blind: bool = False
    _is_due_told: bool = False
    _retry_s: float = _RETRY_S[0]
    _not_before_ns: int = 0

    def run(self) -> JournalRecord | None:
        """Wait until the change is kept or undone and give it; None where the journal no longer holds it.

        A file that cannot be read now, or is damaged, is tried again: whoever mends it finds the process waiting.
        """
        try:
            while True:
                try:
                    record = self.journal.record(self.path)
                except InputError as error:
                    if _is_gone(self.path):
                        self.tell(f"the journal is gone: {error}")
                        return None
                    self.sleep(self._later("the journal cannot be read", error))
                    continue
                if record.state in {State.CONFIRMED, State.UNDONE}:
                    self.tell(f"over: {record.state}{f' ({record.why})' if record.why else ''}")
                    return record
                self.sleep(self._turn(record))
        finally:
            if self._guards is not None:
                self._guards.close()

    def _look(self, record: JournalRecord) -> None:
        """Look at the guards: up before the last step is done, they count what is lost from the first look on."""
        if self._harm is not None or self._is_blind:
            return
        try:
            if self._guards is None:
                self._guards = self.open_guards(record)
            if record.state is State.APPLIED:
                self._harm = self._guards.look()
        except Exception as error:  # noqa: BLE001 - a defect of the guards must not cost the deadline
            self.tell(f"no guards any more, by a defect of nwscan: {type(error).__name__}: {error}")
            self._is_blind = True

    def _turn(self, record: JournalRecord) -> float:
        """Do what is due and give how long nothing else is."""
        left_s = None if record.deadline is None else record.deadline.left_s(self.clock)
        self._look(record)
        if record.state is State.APPLIED and self._harm is None:
            if self._harm is None and left_s is not None and left_s > 0:
                return min(TICK_S, left_s)
            if not self._is_due_told:
                self.tell(self._harm or "nobody confirmed the change in time")
                self._is_due_told = True
        if self.clock.now_ns() < self._not_before_ns:
            return TICK_S
        try:
            rollback_unconfirmed(self.path, self.open_door, self.journal, self.clock, self._harm)
        except LockedError:
            return TICK_S
        except Exception as error:  # noqa: BLE001 - a defect must not leave the change with nobody who undoes it
            self._not_before_ns = self.clock.now_ns() + int(self._later("not undone yet", error) * 1e9)
            return TICK_S
        return 0.0

    def _later(self, what: str, error: Exception) -> float:
        """Tell what failed and give after how long it is tried again, in s: twice as long each time."""
        retry_s = self._retry_s
        self._retry_s = min(retry_s * 2, _RETRY_S[1])
        said = f"{error}" if isinstance(error, NwscanError) else f"a defect of nwscan: {type(error).__name__}: {error}"
        self.tell(f"{what}, trying again in {retry_s:.0f} s: {said}")
        return retry_s


def _is_gone(path: Path) -> bool:
    """Say whether there is no such file; what cannot be looked at may be there."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
