"""What ``top`` shows on a terminal, and what its keys do: values and keys in, renderables out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from nwscan.render.keyboard import QUIT
from nwscan.render.report import report_headline, talker_table
from nwscan.render.text import count, visible
from nwscan.render.top import SORT_KEYS, headline_of, legend, rates_table, sorted_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from analyzer.errors import NwscanError
    from analyzer.report.report import Report
    from nwscan.api.counting import CardKey, HostCount, TapRate

_KEYS: Final = f"sort: {' '.join(f'{one.key} {one.name}' for one in SORT_KEYS)}"
_MOVES: Final = "up, down: choose  enter: its talkers  p: pause  r: reverse  q: quit"
_BACK: Final = "escape: back to all guests  q: quit"
_FURNITURE: Final = 7
"""Lines that are no rows: headline, state, titles, the line for what is not shown, legend, keys, moves."""


@dataclass(slots=True)
class TopScreen:
    """The state of the view."""

    interval_s: float
    sort: int = 0
    is_reversed: bool = False
    is_paused: bool = False
    is_done: bool = False
    chosen: CardKey | None = None
    first_row: int = 0
    looking_at: TapRate | None = None
    """The row whose talkers are asked for; ``found`` is what came of it."""
    found: Report | NwscanError | None = None
    _rates: list[TapRate] = field(default_factory=list)
    _count: HostCount | None = None

    def update(self, rates: Sequence[TapRate], count: HostCount) -> None:
        """Take new values, but for a view that is paused."""
        if not self.is_paused:
            self._rates, self._count = list(rates), count
            self._order()

    def press(self, key: str) -> None:
        """Do what a key asks for."""
        sorts = {one.key: place for place, one in enumerate(SORT_KEYS)}
        if key in {"q", "Q", QUIT}:
            self.is_done = True
        elif self.looking_at is not None:
            if key == "escape":
                self.looking_at, self.found = None, None
        elif key in sorts:
            self.sort = sorts[key]
        elif key == "r":
            self.is_reversed = not self.is_reversed
        elif key in {"p", " "}:
            self.is_paused = not self.is_paused
        elif key == "enter":
            self.looking_at = self._chosen_rate()
        else:
            self._move(key)
        self._order()

    def _order(self) -> None:
        self._rates = sorted_rates(self._rates, SORT_KEYS[self.sort])
        if self.is_reversed:
            self._rates.reverse()

    def _place(self) -> int:
        """Give the row that is chosen; the first where the chosen one is gone."""
        return next((place for place, rate in enumerate(self._rates) if rate.key == self.chosen), 0)

    def _chosen_rate(self) -> TapRate | None:
        return self._rates[self._place()] if self._rates else None

    def _move(self, key: str) -> None:
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, "home": -(10**6), "end": 10**6}
        if key in steps and self._rates:
            place = min(len(self._rates) - 1, max(0, self._place() + steps[key]))
            self.chosen = self._rates[place].key

    def renderable(self, columns: int, lines: int, *, plain: bool) -> RenderableType:
        """Give what is to be seen on a terminal of this size."""
        if self.looking_at is not None:
            return Group(*self._talker_lines(self.looking_at, lines))
        return Group(*self._guest_lines(columns, lines, plain=plain))

    def _guest_lines(self, columns: int, lines: int, *, plain: bool) -> list[RenderableType]:
        uncounted = self._count.uncounted if self._count is not None else ()
        room = max(1, lines - _FURNITURE)
        place = self._place()
        self.first_row = min(max(self.first_row, place - room + 1), place, max(0, len(self._rates) - room))
        rows = self._rates[self.first_row : self.first_row + room]
        chosen = self._chosen_rate() if self.chosen is not None else None
        aside = uncounted[: max(0, room - len(rows))]
        hidden = len(self._rates) - len(rows) + len(uncounted) - len(aside)
        cards = len(self._rates) + len(uncounted)
        return [
            _line(headline_of(self._rates, cards) if self._count is not None else "counting", "bold"),
            _line(self._state(), "dim"),
            rates_table(rows, aside, columns=columns, chosen=chosen, plain=plain),
            _line(f"and {count(hidden)} more" if hidden else "", "dim"),
            legend(plain=plain),
            _line(_KEYS, "dim"),
            _line(_MOVES, "dim"),
        ]

    def _state(self) -> str:
        words = [f"frames a second, over {self.interval_s:g} s", f"sorted by {SORT_KEYS[self.sort].name}"]
        if self.is_reversed:
            words.append("reversed")
        if self.is_paused:
            words.append("PAUSED")
        if self._count is not None and self._count.trouble is not None:
            words.append(visible(self._count.trouble.what))
        elif self._count is not None and self._count.fallback is not None:
            words.append(f"by the nft meter: {visible(self._count.fallback)}")
        return ", ".join(words)

    def _talker_lines(self, rate: TapRate, lines: int) -> list[RenderableType]:
        who = f"{visible(rate.card.identity.label)} on {visible(rate.card.identity.tap or '-')}"
        if self.found is None:
            return [_line(f"{who}: listening for {PEEK_S:g} s", "bold"), _line(_BACK, "dim")]
        if isinstance(self.found, Exception):
            told = [visible(text) for text in (self.found.what, self.found.where, self.found.hint) if text]
            return [_line(f"{who}: {told[0]}", "bold"), *(_line(text, "") for text in told[1:]), _line(_BACK, "dim")]
        report = self.found
        lost = f"{count(report.frames_lost)} frames were lost: these counts are too low" if report.frames_lost else ""
        return [
            _line(report_headline(report), "bold"),
            _line(f"{count(report.frames_seen)} frames captured on {visible(rate.card.identity.tap or '-')}", "dim"),
            talker_table(report, max(1, lines - _FURNITURE - 2)) or _line("nobody sends it foreign unicast now", ""),
            _line(lost, "red"),
            _line(_BACK, "dim"),
        ]


PEEK_S: Final = 3.0
"""How long the talkers of a guest are listened for."""


def _line(text: str, style: str) -> Text:
    return Text(visible(text), style=style, no_wrap=True, overflow="ellipsis")
