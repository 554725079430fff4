"""Waiting for a change to be confirmed: over when it is kept or undone, and undone at the deadline or on harm.

Decides nothing by itself: generator/deploy/pending.py does, under the journal's lock. What cannot be done now (libvirt
is away, the disk is full, another nwscan is at work) is tried again until it is done or somebody else has done it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from analyzer.errors import InputError, NwscanError
from generator.deploy.journal import LockedError, State
from generator.deploy.pending import rollback_unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from analyzer.host.boot_clock import Clock
    from generator.deploy.door import WriterDoor
    from generator.deploy.journal import Journal, JournalRecord

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
    _retry_s: float = field(default=_RETRY_S[0])

    def run(self) -> JournalRecord | None:
        """Wait until the change is kept or undone and give it; None where the journal no longer holds it."""
        try:
            while True:
                try:
                    record = self.journal.record(self.path)
                except InputError as error:
                    self.tell(f"the journal is gone: {error}")
                    return None
                if record.state in {State.CONFIRMED, State.UNDONE}:
                    self.tell(f"over: {record.state}{f' ({record.why})' if record.why else ''}")
                    return record
                self.sleep(self._turn(record))
        finally:
            if self._guards is not None:
                self._guards.close()

    def _turn(self, record: JournalRecord) -> float:
        """Do what is due and give how long nothing else is."""
        left_s = None if record.deadline is None else record.deadline.left_s(self.clock)
        if record.state is State.APPLIED and self._harm is None:
            if self._guards is None:
                self._guards = self.open_guards(record)
            self._harm = self._guards.look()
            if self._harm is None and left_s is not None and left_s > 0:
                return min(TICK_S, left_s)
            self.tell(self._harm or "nobody confirmed the change in time")
        try:
            rollback_unconfirmed(self.path, self.open_door, self.journal, self.clock, self._harm)
        except LockedError:
            return TICK_S
        except NwscanError as error:
            self.tell(f"not undone yet, trying again in {self._retry_s:.0f} s: {error}")
            retry_s, self._retry_s = self._retry_s, min(self._retry_s * 2, _RETRY_S[1])
            return retry_s
        return 0.0
