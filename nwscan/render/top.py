"""The table of ``top``: a guest a row, its classes as a bar; what it shows is what was delivered.

Values in, a rich renderable out: what it fits into is told, and nothing here knows a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from analyzer.model.classes import TO_GUEST_CLASSES, FrameClass
from nwscan.render.console import console, headline, remark
from nwscan.render.text import count, short, shortened, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nwscan.api.counting import CountedCard, HostCount, TapRate

FOREIGN: Final = FrameClass.FOREIGN_UNICAST


@dataclass(frozen=True, slots=True)
class _Look:
    """How a class is drawn: told apart by its glyph, and by its colour where there is one."""

    kind: FrameClass
    name: str
    glyph: str
    plain: str
    style: str


LOOKS: Final = (
    _Look(FOREIGN, "foreign", "█", "#", "red"),
    _Look(FrameClass.BROADCAST, "broadcast", "▓", "%", "yellow"),
    _Look(FrameClass.MULTICAST, "multicast", "▒", "=", "cyan"),
    _Look(FrameClass.UNICAST_TO_GUEST, "own", "░", "-", "green"),
)
"""The classes in the order of the bar: first what nobody asked for."""

_TAP_COLUMNS: Final = 9
_RATE_COLUMNS: Final = 9
_NAME_LEAST: Final = 10
_NAME_MOST: Final = 32
_BAR_LEAST: Final = 10
_BAR_MOST: Final = 40
_MARGIN: Final = 2 + 6 + 4 * _RATE_COLUMNS + _TAP_COLUMNS
"""Columns that are always taken: the mark and its blank, a blank between columns, rates and tap."""


def to_guest_fps(rate: TapRate) -> float:
    """Give the frames a second that the guest sees."""
    return float(sum(rate.delivered[kind, 0] for kind in TO_GUEST_CLASSES))


def _is_filtered(rate: TapRate) -> bool:
    """Say whether a filter acts on the card, by its name or by its work."""
    return rate.card.filter is not None or bool(rate.offered[FOREIGN, 0] > rate.delivered[FOREIGN, 0])


@dataclass(frozen=True, slots=True)
class SortKey:
    """What rows are sorted by; the largest first, names from A on."""

    key: str
    name: str
    value: Callable[[TapRate], float] | None


def _delivered(kind: FrameClass) -> Callable[[TapRate], float]:
    return lambda rate: float(rate.delivered[kind, 0])


SORT_KEYS: Final = (
    SortKey("f", "foreign", _delivered(FOREIGN)),
    SortKey("o", "offered", lambda rate: float(rate.offered[FOREIGN, 0])),
    SortKey("b", "broadcast", _delivered(FrameClass.BROADCAST)),
    SortKey("m", "multicast", _delivered(FrameClass.MULTICAST)),
    SortKey("u", "own", _delivered(FrameClass.UNICAST_TO_GUEST)),
    SortKey("t", "all", to_guest_fps),
    SortKey("l", "lost", lambda rate: rate.dropped_fps),
    SortKey("n", "name", None),
)


def sorted_rates(rates: Sequence[TapRate], by: SortKey) -> list[TapRate]:
    """Give the rows in order; equal ones by name and tap."""
    named = sorted(rates, key=lambda rate: (rate.card.identity.label, rate.card.identity.tap or ""))
    value = by.value
    return named if value is None else sorted(named, key=lambda rate: -value(rate))


def bar(rate: TapRate, columns: int, *, plain: bool) -> Text:
    """Give the shares of the classes in what the guest sees; what is foreign is never rounded away."""
    total = to_guest_fps(rate)
    drawn = Text()
    if total <= 0 or columns <= 0:
        return drawn
    exact = [float(rate.delivered[look.kind, 0]) / total * columns for look in LOOKS]
    cells = [int(share) for share in exact]
    by_rest = sorted(range(len(LOOKS)), key=lambda place: cells[place] - exact[place])
    for place in by_rest[: columns - sum(cells)]:
        cells[place] += 1
    if exact[0] > 0 and cells[0] == 0:
        cells[cells.index(max(cells))] -= 1
        cells[0] = 1
    for look, width in zip(LOOKS, cells, strict=True):
        drawn.append((look.plain if plain else look.glyph) * width, look.style)
    return drawn


def legend(*, plain: bool) -> Text:
    """Say which glyph is which class."""
    drawn = Text(no_wrap=True, overflow="ellipsis")
    for look in LOOKS:
        drawn.append(f"{look.plain if plain else look.glyph} ", look.style)
        drawn.append(f"{look.name}  ")
    drawn.append("shares of what came to the guest", "dim")
    return drawn


def headline_of(rates: Sequence[TapRate], cards: int) -> str:
    """Give the sentence that comes first."""
    guests = {rate.card.identity.uuid or rate.card.identity.tap for rate in rates}
    foreign = sum(float(rate.delivered[FOREIGN, 0]) for rate in rates)
    offered = sum(float(rate.offered[FOREIGN, 0]) for rate in rates)
    told = f"{count(len(guests))} guests on {count(cards)} taps see {rate_text(foreign)} foreign frames/s"
    return told if offered <= foreign else f"{told} of {rate_text(offered)} offered"


def rates_table(
    rates: Sequence[TapRate],
    uncounted: Sequence[CountedCard],
    *,
    columns: int,
    chosen: TapRate | None = None,
    plain: bool = False,
) -> Table:
    """Give the rows as they come, ``columns`` wide."""
    free = max(_NAME_LEAST + _BAR_LEAST, columns - _MARGIN)
    longest = max((len(_named(card)[0]) for card in (*(rate.card for rate in rates), *uncounted)), default=0)
    name_columns = min(_NAME_MOST, max(_NAME_LEAST, longest), free - _BAR_LEAST)
    bar_columns = min(_BAR_MOST, free - name_columns)
    built = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold", show_edge=False)
    for title, width, justify in (
        ("", 1, "left"),
        ("guest", name_columns, "left"),
        ("tap", _TAP_COLUMNS, "left"),
        ("foreign/s", _RATE_COLUMNS, "right"),
        ("offered/s", _RATE_COLUMNS, "right"),
        ("classes", bar_columns, "left"),
        ("all/s", _RATE_COLUMNS, "right"),
        ("lost/s", _RATE_COLUMNS, "right"),
    ):
        built.add_column(title, width=width, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for rate in rates:
        foreign, is_chosen = float(rate.delivered[FOREIGN, 0]), rate is chosen
        built.add_row(
            Text(">" if is_chosen else ""),
            *_fitting(rate.card, name_columns),
            Text(rate_text(foreign), "red" if foreign else ""),
            Text(rate_text(float(rate.offered[FOREIGN, 0])) if _is_filtered(rate) else ""),
            bar(rate, bar_columns, plain=plain),
            Text(rate_text(to_guest_fps(rate))),
            Text(rate_text(rate.dropped_fps), "red" if rate.dropped_fps else ""),
            style="bold" if is_chosen else "",
        )
    for card in uncounted:
        unknown = Text("-")
        built.add_row("", *_fitting(card, name_columns), unknown, unknown, Text("not counted", "dim"), unknown, unknown)
    return built


def _named(card: CountedCard) -> tuple[Text, Text]:
    identity = card.identity
    name = f"{identity.name}:{identity.card}" if identity.name and identity.card else identity.label
    return Text(visible(name)), Text(visible(identity.tap or "-"))


def _fitting(card: CountedCard, columns: int) -> tuple[Text, Text]:
    """Give its name and its tap; of a name that is too long its middle is left out."""
    name, tap = _named(card)
    return Text(shortened(name.plain, columns)), tap


def rate_text(fps: float) -> str:
    """Give a rate short enough for its column; something is never shown as nothing."""
    if 0 < fps < 0.1:  # noqa: PLR2004 one digit is shown
        return "<0.1"
    return short(fps, "").strip() if fps else "0"


def print_snapshot(rates: Sequence[TapRate], taken: HostCount, interval_s: float) -> None:
    """Print the rows once."""
    out = console()
    plain = not out.encoding.startswith("utf")
    if not taken.taps and not taken.uncounted:
        out.print(headline("no guest runs"))
        return
    out.print(headline(headline_of(rates, len(taken.taps) + len(taken.uncounted))))
    out.print(rates_table(rates, taken.uncounted, columns=out.width, plain=plain))
    out.print(legend(plain=plain))
    out.print(remark(f"Frames a second, delivered, over {interval_s:g} s; lost: not taken from the tap in time."))
    if taken.trouble is not None:
        out.print(remark(f"New guests may be missing: {taken.trouble.what}."))
    if taken.fallback is not None:
        out.print(remark(f"Counted by the nft meter, which costs more on the way of a frame: {taken.fallback}."))
