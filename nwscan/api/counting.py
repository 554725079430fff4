"""Count on every tap of the host for as long as somebody looks: offered and delivered, by class, nothing captured.

The kernel counts (tap_counters.py); here the taps are followed. Guests start, stop and come back, often under
the same tap: what a card was counted on a tap is carried on, so that counts only ever grow. Interfaces are listed at
each look (one cheap call); libvirt is asked after they changed, and once a minute (card_lookup.py), and then the kernel
for its rules: a tap on which a filter acts is counted ahead of it and behind it. One that begins to act is noticed
within that minute.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.host import bridge
from analyzer.host.guests import LibvirtReader
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.meter import MeterReading
from analyzer.host.rules import kernel_rules_of
from analyzer.host.tap_drops import dropped_frames
from analyzer.model.classes import CLASS_COUNT
from nwscan.api.card_lookup import CardLookup
from nwscan.api.identify import guess_of_tap
from nwscan.api.tap_counters import CountedBy, CountedTap, TapCounters
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import numpy.typing as npt

    from analyzer.model.identity import GuestIdentity

_RETIRED_MOST: Final = 4096
"""Cards that are gone whose counts are remembered, should they come back; of more, the oldest begin again at 0."""


@dataclass(frozen=True, slots=True)
class CountedCard:
    """A card with a tap, and the filter that libvirt names for it."""

    identity: GuestIdentity
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class TapCount:
    """What was counted for one card on one tap since counting began; it only ever grows.

    ``reading`` as the meter gives it, offered and delivered being the same where no filter acts; ``dropped`` are frames
    that came through and that the guest did not take.
    """

    card: CountedCard
    reading: MeterReading
    dropped: int
    counted_by: CountedBy

    @property
    def key(self) -> CardKey:
        """Tell this card on this tap from all others."""
        return _key(self.card)


@dataclass(frozen=True, slots=True)
class HostCount:
    """All taps at one moment. ``uncounted`` are cards on no Linux bridge: not measured, which is not 0.

    ``trouble`` is why the taps could not be followed when that was tried last: new ones may be missing. ``fallback`` is
    why the meter counts taps that the classifier should.
    """

    at_s: float
    taps: tuple[TapCount, ...]
    uncounted: tuple[CountedCard, ...]
    trouble: NwscanError | None = None
    fallback: str | None = None


@dataclass(frozen=True, slots=True)
class TapRate:
    """What passed a tap in a second, between two counts. Arrays are float64 of shape (6, 2): frames and octets."""

    card: CountedCard
    offered: npt.NDArray[np.float64]
    delivered: npt.NDArray[np.float64]
    dropped_fps: float
    counted_by: CountedBy

    @property
    def key(self) -> CardKey:
        """Tell this card on this tap from all others."""
        return _key(self.card)


class CardKey(NamedTuple):
    """A card of a guest on a tap."""

    guest: str
    macs: tuple[int, ...]
    tap: str


class _Drops:
    """The dropped frames of one tap, carried on from interface to interface of its name."""

    def __init__(self, interface: int, dropped: int) -> None:
        self._last = interface, dropped
        self.total = 0

    def follow(self, interface: int, dropped: int) -> None:
        before, last = self._last
        self.total += dropped - last if interface == before else dropped
        self._last = interface, dropped


class HostCounting:
    """Counts from entering it to leaving it. ``look`` every second or so; ``read`` when somebody wants to know.

    ``look`` is for one thread, ``read`` for any; neither waits for libvirt. ``lookup`` gives the cards, ``knock`` only
    whether it could. Raises HostError where nobody knows any guest's tap (no libvirt, and no tap tells its guest), or
    the kernel does not let it count.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        lookup: Callable[[], Iterable[CountedCard]] | None = None,
        knock: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings or Settings()
        self._lookup = CardLookup(self._ask_libvirt, self._knock) if lookup is None else CardLookup(lookup, knock)
        self._lock = threading.RLock()
        self._counters = TapCounters()
        self._counted: dict[CardKey, CountedCard] = {}
        self._uncounted: tuple[CountedCard, ...] = ()
        self._before: OrderedDict[CardKey, MeterReading] = OrderedDict()
        self._drops: dict[CardKey, _Drops] = {}
        self._trouble: NwscanError | None = None
        self._refusal: NwscanError | None = None
        self._interfaces: dict[str, int] = {}
        self._is_behind = False

    def __enter__(self) -> Self:
        self._interfaces = _interfaces()
        try:
            cards = list(self._lookup.first())
        except HostError as error:
            self._trouble = error
            cards = [CountedCard(guess) for tap in self._interfaces if (guess := guess_of_tap(tap)) is not None]
            if not cards:
                raise
        self._counters.open()
        try:
            self._follow(cards)
        except BaseException:
            self._counters.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._counters.close()

    def look(self) -> None:
        """Follow taps that came or went. What libvirt or the kernel refuses now is tried again with another look."""
        interfaces = _interfaces()
        if interfaces != self._interfaces:
            self._interfaces, self._is_behind = interfaces, True
            self._lookup.changed()
            self._return()
        cards = self._lookup.look()
        trouble = self._lookup.trouble
        if cards is None and trouble is not None and self._is_behind:  # libvirt is away: what is counted goes on
            cards = tuple(card for card in self._known() if (card.identity.tap or "") in interfaces)
        if cards is not None:
            try:
                self._follow(cards)
                self._is_behind = False
                self._refusal = None
            except NwscanError as error:
                self._refusal = error
        self._trouble = self._refusal or trouble

    def read(self) -> HostCount:
        """Give what was counted until now, by guest and tap. Raises HostError where the meter's table is gone."""
        with self._lock:
            readings, dropped, interfaces = self._counters.read(), dropped_frames(), _interfaces()
            taps = []
            for key, card in self._counted.items():
                if key.tap in interfaces and key.tap in dropped:
                    self._drops[key].follow(interfaces[key.tap], dropped[key.tap])
                reading = _added(self._before[key], readings[key.tap])
                taps.append(TapCount(card, reading, self._drops[key].total, self._counters.ways[key.tap]))
            ordered = tuple(sorted(taps, key=_name))
            return HostCount(time.monotonic(), ordered, self._uncounted, self._trouble, self._counters.fallback)

    @property
    def trouble(self) -> NwscanError | None:
        """Say why taps cannot be followed now, None where they can."""
        return self._trouble

    def cards(self) -> tuple[CountedCard, ...]:
        """Give the cards that are counted now."""
        with self._lock:
            return tuple(self._counted.values())

    def _known(self) -> tuple[CountedCard, ...]:
        return (*self._counted.values(), *self._uncounted)

    def _return(self) -> None:
        """Go on counting taps that came back under their names, whoever is asked about them later."""
        try:
            with self._lock:
                self._counters.follow()
        except HostError as error:
            self._refusal = error

    def _follow(self, cards: Iterable[CountedCard]) -> None:
        """Have exactly these cards counted."""
        found = [card for card in cards if card.identity.tap]
        ports = {port.name for port in bridge.all_ports()}
        by_tap = {card.identity.tap: card for card in found if _can_count(card, ports)}
        wanted = {_key(card): card for card in by_tap.values()}
        filtered = _filtered(wanted.values()) if self._counters.has_choice else set()
        with self._lock:
            self._change(wanted, filtered)
            self._counted = wanted
            self._uncounted = tuple(card for card in found if _key(card) not in wanted)
            self._forget()

    def _change(self, wanted: Mapping[CardKey, CountedCard], filtered: Collection[str]) -> None:
        taps = {key: CountedTap(key.macs, key.tap in filtered) for key in wanted}
        stay = {
            key for key in wanted
            if key in self._counted and self._counters.ways.get(key.tap) is self._counters.way(taps[key])
        }  # fmt: skip
        gone = [key for key in self._counted if key not in stay]
        new = [key for key in wanted if key not in stay]
        if not gone and not new:
            return
        last = self._counters.read()
        self._counters.change({key.tap: taps[key] for key in new}, [key.tap for key in gone])
        for key in gone:
            self._before[key] = _added(self._before[key], last[key.tap])
            self._before.move_to_end(key)
        dropped, interfaces = dropped_frames(), _interfaces()
        for key in new:
            self._before.setdefault(key, _NOTHING)
            self._drops.setdefault(key, _Drops(interfaces.get(key.tap, 0), dropped.get(key.tap, 0)))

    def _forget(self) -> None:
        """Forget the counts of cards that are gone, the oldest first, where they are too many."""
        retired = [key for key in self._before if key not in self._counted]
        for key in retired[: max(0, len(retired) - _RETIRED_MOST)]:
            del self._before[key], self._drops[key]

    def _knock(self) -> None:
        with LibvirtReader(self._settings.uri):
            pass

    def _ask_libvirt(self) -> Iterable[CountedCard]:
        with LibvirtReader(self._settings.uri, addresses=False) as libvirt:
            cards = libvirt.cards()
        return [CountedCard(card.identity, card.filterref[0] if card.filterref else None) for card in cards]


_NOTHING: Final = MeterReading(np.zeros((CLASS_COUNT, 2), np.int64), np.zeros((CLASS_COUNT, 2), np.int64))


def rates(earlier: HostCount, later: HostCount) -> tuple[TapRate, ...]:
    """Give what passed in a second between two counts, for each tap that is in both."""
    before, elapsed_s = {tap.key: tap for tap in earlier.taps}, max(later.at_s - earlier.at_s, 1e-6)
    found = []
    for tap in later.taps:
        if tap.key in before:
            passed = tap.reading.since(before[tap.key].reading)
            dropped_fps = (tap.dropped - before[tap.key].dropped) / elapsed_s
            offered, delivered = passed.offered / elapsed_s, passed.delivered / elapsed_s
            found.append(TapRate(tap.card, offered, delivered, dropped_fps, tap.counted_by))
    return tuple(found)


def _key(card: CountedCard) -> CardKey:
    return CardKey(card.identity.uuid or "", card.identity.macs, card.identity.tap or "")


def _name(tap: TapCount) -> tuple[str, str]:
    return tap.card.identity.label, tap.card.identity.tap or ""


def _added(first: MeterReading, second: MeterReading) -> MeterReading:
    return replace(first, offered=first.offered + second.offered, delivered=first.delivered + second.delivered)


def _can_count(card: CountedCard, ports: set[str]) -> bool:
    """Say whether the bridge's hooks see what passes the card's tap, and its names may stand in a rule."""
    try:
        return checked_interface_name(card.identity.tap or "") in ports and bool(card.identity.macs)
    except UsageError:
        return False


def _filtered(cards: Iterable[CountedCard]) -> set[str]:
    """Give the taps on which a filter acts, by libvirt's word or the kernel's; all of them where that does not tell."""
    filters = {card.identity.tap or "": card.filter for card in cards}
    unnamed = [tap for tap, name in filters.items() if name is None]
    try:
        rules = kernel_rules_of(unnamed)
    except HostError:
        return set(filters)
    return filters.keys() - {tap for tap in unnamed if not rules[tap].rules}


def _interfaces() -> dict[str, int]:
    return {name: index for index, name in socket.if_nameindex()}
