"""What of a guest's vital frames came through its older filter, in the kept window before a change.

A worker reads the frames, in a thread of this process that nobody waits for: however long it takes, the deadline holds.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from analyzer.errors import NwscanError
from analyzer.model.guards import GUARD_CLASS, GuardKind
from generator.suggest.profiles import THINNED
from nwscan.api.inputs import open_inputs
from nwscan.worker import parent
from nwscan.worker.messages import CountVital, VitalCounts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.identity import GuestIdentity
    from nwscan.kept import KeptReport


class VitalBefore:
    """The kinds that reached a card before the change, once they are known; none where no frames were kept."""

    def __init__(self, card: GuestIdentity, windows: Sequence[KeptReport], profile: str) -> None:
        self._card = card
        self._paths = [str(window.frames_path) for window in windows if window.frames_path is not None]
        self._out = THINNED.get(profile, frozenset())
        self._kinds: tuple[GuardKind, ...] | None = None
        self._is_taken = False
        threading.Thread(target=self._count, daemon=True).start()

    def taken(self) -> tuple[GuardKind, ...] | None:
        """Give the kinds, the first time that they are asked for once they are known; None at any other time."""
        if self._is_taken or self._kinds is None:
            return None
        self._is_taken = True
        return self._kinds

    def _count(self) -> None:
        found: set[GuardKind] = set()
        for path in self._paths:
            try:
                with ExitStack() as stack:
                    names, descriptors = open_inputs([path], stack)
                    reply = parent.run(CountVital(names[0], self._card), descriptors)
            except (NwscanError, OSError):
                continue  # it was deleted or cannot be read: what is not known is not watched
            if isinstance(reply, VitalCounts):
                found |= {GuardKind(kind) for kind, _ in reply.counts}
        self._kinds = tuple(kind for kind in GuardKind if kind in found and GUARD_CLASS[kind] not in self._out)
