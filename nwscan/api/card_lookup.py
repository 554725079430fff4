"""When libvirt is asked for the host's cards while somebody counts, and what is known of it that does not answer.

It is asked after interfaces changed, several times, since it tells of a tap a while after the kernel has it; and once a
minute. Every few seconds it is only knocked at, so that it is soon known to be away, to hang, or to be back. All of it
in a thread of its own: what counts and who is shown it do not wait for libvirt.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, NwscanError
from analyzer.host.libvirt_connection import CONNECT_S, HANGS
from analyzer.host.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nwscan.api.counting import CountedCard

_AFTER_CHANGE_S: Final = (0.0, 1.0, 3.0, 7.0, 15.0)
_ASK_EVERY_S: Final = 60.0
_KNOCK_EVERY_S: Final = 3.0
_PATIENCE_S: Final = 0.2
"""How long an answer is waited for where it is asked for: most come in that time."""
SILENT_S: Final = 5.0
"""After this it is said that libvirt does not answer; it is waited for all the same."""


class CardLookup:
    """For one thread. ``trouble`` is why the last answer is not that of libvirt now, None where it is."""

    def __init__(self, lookup: Callable[[], Iterable[CountedCard]], knock: Callable[[], None]) -> None:
        self._lookup, self._knock = lookup, knock
        self._question: Question[tuple[CountedCard, ...] | None] = Question("libvirt")
        self._changed_s = self._ask_s = self._knock_s = 0.0
        self._asked = 0
        self.trouble: NwscanError | None = None

    def first(self) -> tuple[CountedCard, ...]:
        """Give the cards, waited for. Raises HostError where libvirt is away, or silent."""
        self._ask(time.monotonic())
        if not self._question.is_answered(CONNECT_S):
            self.trouble = _silence(CONNECT_S)
            raise self.trouble
        try:
            return self._question.take() or ()
        except NwscanError as error:
            self.trouble = error
            raise

    def changed(self) -> None:
        """Interfaces changed: ask now, and again for a while."""
        self._changed_s = self._ask_s = time.monotonic()
        self._asked = 0

    def look(self) -> tuple[CountedCard, ...] | None:
        """Give the cards where there is news of them. Waits for no more than a moment."""
        now_s = time.monotonic()
        if not self._question.is_asked and now_s >= self._ask_s:
            self._ask(now_s)
        elif not self._question.is_asked and now_s >= self._knock_s:
            self._knock_s = now_s + _KNOCK_EVERY_S
            self._question.ask(self._knock)
        if not self._question.is_asked:
            return None
        if not self._question.is_answered(_PATIENCE_S):
            if (self._question.out_s or 0.0) >= SILENT_S:
                self.trouble = _silence(SILENT_S)
            return None
        return self._taken()

    def _ask(self, now_s: float) -> None:
        self._asked += 1
        self._ask_s = now_s + _ASK_EVERY_S
        if self._asked < len(_AFTER_CHANGE_S):
            self._ask_s = max(now_s, self._changed_s + _AFTER_CHANGE_S[self._asked])
        self._knock_s = now_s + _KNOCK_EVERY_S
        self._question.ask(lambda: tuple(self._lookup()))

    def _taken(self) -> tuple[CountedCard, ...] | None:
        try:
            cards = self._question.take()
        except NwscanError as error:
            self.trouble = error
            self._ask_s = min(self._ask_s, time.monotonic() + _KNOCK_EVERY_S)
            return None
        if cards is not None:
            self.trouble = None
        elif self.trouble is not None:  # it is back: what happened meanwhile?
            self._ask_s = time.monotonic()
        return cards


def _silence(wait_s: float) -> HostError:
    return HostError(f"libvirt has not answered for {wait_s:.0f} s", "it was asked for the guests' cards", HANGS)
