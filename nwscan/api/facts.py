"""What is known of the host's cards beside their counts: rule hits, drift, the last window and the last verdict.

Costs a listing of the kernel's rules and a look into the state folder, so it is asked for now and then, by a thread of
its own, and never while somebody waits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError, NwscanError
from analyzer.host.libvirt_connection import HANGS
from analyzer.host.rule_listings import action_of
from nwscan import kept
from nwscan.api.host_reading import read_host, statuses_of
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from analyzer.host.rules import KernelRules
    from nwscan.api.counting import CountedCard
    from nwscan.kept import KeptVerdict

REFRESH_S: Final = 60.0
"""How often the facts are found out."""
_AGAIN_S: Final = 5.0
"""How soon it is tried again where they could not be."""
SILENT_S: Final = 30.0
"""After this, what is being found out counts as not found out: libvirt hangs, or a program that lists rules."""
_JOIN_S: Final = 5.0
"""How long an end waits for libvirt; the thread goes with the process."""


@dataclass(frozen=True, slots=True)
class LastWindow:
    """The newest kept window of a card."""

    end_ns: int | None
    frames_seen: int
    frames_lost: int | None


@dataclass(frozen=True, slots=True)
class CardFacts:
    """One card. ``rule_hits`` are packets by direction (``in`` is to the guest) and action; None: not known."""

    card: CountedCard
    rule_hits: Mapping[tuple[str, str], int]
    window: LastWindow | None
    verdict: KeptVerdict | None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """All of them. ``drift`` counts what is not as intended, by guest and tap (empty for a card without one).

    ``error`` is why they could not be found out; then the rest is of the time before.
    """

    at_s: float = 0.0
    cards: tuple[CardFacts, ...] = ()
    drift: Mapping[tuple[str, str], int] = field(default_factory=dict)
    error: NwscanError | None = None


def host_facts(cards: Sequence[CountedCard], settings: Settings | None = None) -> HostFacts:
    """Find out. Raises HostError where libvirt or the kernel do not tell."""
    settings = settings or Settings()
    host = read_host(settings)
    drift: Counter[tuple[str, str]] = Counter()
    for one in statuses_of(host):
        drift[one.guest, one.tap or ""] += len(one.drift)
    return HostFacts(time.time(), tuple(_facts(card, host.rules, settings) for card in cards), drift)


def _facts(card: CountedCard, rules: Mapping[str, KernelRules], settings: Settings) -> CardFacts:
    hits: Counter[tuple[str, str]] = Counter()
    known = rules.get(card.identity.tap or "")
    for rule in known.rules if known is not None else ():
        if rule.packets is not None:
            hits["in" if rule.to_guest else "out", action_of(rule)] += rule.packets
    if not card.identity.macs:
        return CardFacts(card, hits, None, None)
    return CardFacts(card, hits, _window(card, settings), kept.latest_verdict(settings.reports, card.identity))


def _window(card: CountedCard, settings: Settings) -> LastWindow | None:
    try:
        latest = kept.latest(settings.reports, card.identity)
    except NwscanError:  # a damaged one tells nothing
        return None
    if latest is None:
        return None
    report = latest.report
    ends = [window.end_ns for window in report.windows if window.end_ns is not None]
    return LastWindow(max(ends, default=None), report.frames_seen, report.frames_lost)


class FactsWatch:
    """Finds the facts out every minute, in a thread of its own, from entering it to leaving it."""

    def __init__(self, cards: Callable[[], Sequence[CountedCard]], settings: Settings | None = None) -> None:
        self._cards, self._settings = cards, settings
        self._facts = HostFacts()
        self._asked_s: float | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="facts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(_JOIN_S)

    def current(self) -> HostFacts:
        """Give what was found out last."""
        facts, asked_s = self._facts, self._asked_s
        if asked_s is not None and time.monotonic() - asked_s >= SILENT_S:
            what = f"the host has not told its facts for {SILENT_S:.0f} s"
            return replace(facts, error=HostError(what, "libvirt and the kernel's rules were asked", HANGS))
        return facts

    def _watch(self) -> None:
        wait_s = 0.0
        while not self._end.wait(wait_s):
            self._asked_s = time.monotonic()
            try:
                self._facts, wait_s = host_facts(self._cards(), self._settings), REFRESH_S
            except NwscanError as error:
                self._facts, wait_s = replace(self._facts, error=error), _AGAIN_S
            self._asked_s = None
