"""Taps that come and go while they are captured: the same card on a new tap, and with ``--all`` new cards.

The interfaces of the host are listed at every progress (one cheap call); libvirt is asked only after they changed, and
then at most once a second, in a thread of its own: one that hangs must not keep the parent from its worker, which
ends, and asks for files. Run by the parent, beside the worker.
"""

from __future__ import annotations

import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from analyzer.errors import NwscanError
from analyzer.host.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from analyzer.model.identity import GuestIdentity

_LOOK_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 0.2
"""How long libvirt's answer is waited for at a progress; a later one is taken at a later progress."""
_LOOK_FOR_S: Final = 30.0
"""How long after the last change libvirt is asked for a tap: it tells of one a while after the kernel has it."""


class TapWatch:
    """Knows on which tap each card is. ``lookup`` gives the cards that run now; None where nobody can be asked."""

    def __init__(
        self,
        cards: Sequence[GuestIdentity],
        lookup: Callable[[], Iterable[GuestIdentity]] | None,
        *,
        everything: bool,
    ) -> None:
        self._lookup = lookup
        self._everything = everything
        self._interfaces = _interfaces()
        self._cards = list(cards)
        self._taps = [(card.tap or "", self._interfaces.get(card.tap or "")) for card in cards]
        self._look_until_s = self._next_look_s = 0.0
        self._question: Question[list[GuestIdentity]] = Question("libvirt")

    def changes(self) -> list[tuple[int | None, GuestIdentity]]:
        """Give the cards that have a new tap, by their place; None stands for a card that is new itself."""
        now_s, interfaces = time.monotonic(), _interfaces()
        if interfaces != self._interfaces:
            self._interfaces, self._look_until_s, self._next_look_s = interfaces, now_s + _LOOK_FOR_S, now_s
        if not self._question.is_asked and not self._next_look_s <= now_s < self._look_until_s:
            return []
        names = {index: name for name, index in interfaces.items()}
        self._taps = [(tap if index is None else names.get(index, tap), index) for tap, index in self._taps]
        lost = [place for place, (_, index) in enumerate(self._taps) if index not in names]
        if not lost and not self._everything:
            return []
        self._next_look_s = max(self._next_look_s, now_s + _LOOK_EVERY_S)
        asks = self._everything or any(self._cards[place].uuid for place in lost)
        running = self._running(now_s) if asks else ()
        return [] if running is None else self._found(lost, running, interfaces)

    def _found(
        self, lost: Sequence[int], running: Sequence[GuestIdentity], interfaces: Mapping[str, int]
    ) -> list[tuple[int | None, GuestIdentity]]:
        found: list[tuple[int | None, GuestIdentity]] = []
        for place in lost:
            now = self._now(self._cards[place], running)
            if now is not None and now.tap in interfaces:
                found.append((place, now))
                self._taps[place] = now.tap or "", interfaces[now.tap or ""]
        if self._everything:
            known = {_key(card) for card in self._cards}
            for card in running:
                if _key(card) not in known and card.tap in interfaces:
                    found.append((None, card))
                    self._cards.append(card)
                    self._taps.append((card.tap or "", interfaces[card.tap or ""]))
        return found

    def _now(self, card: GuestIdentity, running: Sequence[GuestIdentity]) -> GuestIdentity | None:
        """Give the card as it runs now; one that libvirt did not name is known by its tap's name alone."""
        if card.uuid is None:
            return card
        return next((one for one in running if _key(one) == _key(card)), None)

    def _running(self, now_s: float) -> Sequence[GuestIdentity] | None:
        """Give the cards that run, None where nobody tells now: then it is asked again until somebody does."""
        if self._lookup is None:
            return ()
        if not self._question.is_asked:
            self._question.ask(partial(_list, self._lookup))
        if not self._question.is_answered(_PATIENCE_S):
            self._look_until_s = now_s + _LOOK_FOR_S
            return None
        try:
            return self._question.take()
        except NwscanError:  # libvirt is away: what is captured goes on
            self._look_until_s = now_s + _LOOK_FOR_S
            return None


def _list(lookup: Callable[[], Iterable[GuestIdentity]]) -> list[GuestIdentity]:
    return list(lookup())


def _key(card: GuestIdentity) -> tuple[str | None, int]:
    return card.uuid, card.macs[0] if card.macs else 0


def _interfaces() -> dict[str, int]:
    return {name: index for index, name in socket.if_nameindex()}
