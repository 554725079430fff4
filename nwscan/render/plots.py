"""Charts: the one place that touches matplotlib. The same figures give the same octets, on any day.

Each chart comes in two widths, wide and narrow, with the same text beside it. No text from outside is drawn.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analyzer.errors import HostError
from analyzer.model.classes import TO_GUEST_CLASSES, FrameClass
from analyzer.report.times import format_time
from nwscan.render.class_names import CLASS_NAMES
from nwscan.render.spans import Pace, pace_of
from nwscan.render.svg import page_svg
from nwscan.render.text import count, percent, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from analyzer.report.report import Report

WIDE: Final = 680
NARROW: Final = 340
"""Widths in CSS pixels."""

INK: Final = "#1f2933"
MUTED: Final = "#5b6773"
GRID: Final = "#dde2e7"
CLASS_COLOURS: Final = {
    FrameClass.FOREIGN_UNICAST: "#c2410c",
    FrameClass.UNICAST_TO_GUEST: "#1d5fa6",
    FrameClass.MULTICAST: "#5f97c9",
    FrameClass.BROADCAST: "#a3c4e0",
    FrameClass.FROM_GUEST: "#7d8896",
    FrameClass.UNCLASSIFIED: "#b4bcc5",
}
VARIABLES: Final = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    **{colour: kind.key.replace("_", "-") for kind, colour in CLASS_COLOURS.items()},
}
"""The name of each colour as a variable of a page."""

_STACKED: Final = (
    FrameClass.FOREIGN_UNICAST,
    FrameClass.UNICAST_TO_GUEST,
    FrameClass.MULTICAST,
    FrameClass.BROADCAST,
)
"""From the bottom: what the report is about has the even ground."""

_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}
_LONG: Final = 10_000_000
"""From here on a count is written with its SI prefix in a chart; the table beside it has all digits."""

_NO_METADATA: Final[Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart with its text. ``draw`` gives the figure at a width in CSS pixels."""

    name: str
    title: str
    description: str
    draw: Callable[[int], Figure]

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, wide."""
        return self.draw(WIDE)

    def svg(self, width_px: int = WIDE, name: str = "") -> str:
        """Give an ``<svg>`` element for a page; ``name`` makes its ids unique where the chart stands there twice."""
        unique = f"{name or self.name}-{width_px}"
        buffer = io.BytesIO()
        with _style({"svg.hashsalt": unique}):
            self.draw(width_px).savefig(buffer, format="svg", transparent=True, metadata=_NO_METADATA)
        return page_svg(buffer.getvalue(), unique, self.title, self.description, VARIABLES)

    def save(self, path: str | Path) -> None:
        """Write the chart to a file, in the format that its suffix names. Raises HostError where that cannot be."""
        path, drawn = Path(path), io.BytesIO()
        try:
            with _style({"svg.hashsalt": self.name}):
                self.figure.savefig(drawn, format=path.suffix.removeprefix("."), facecolor="white", dpi=144)
        except ValueError as error:
            raise HostError(f"cannot write the chart: {error}", str(path), "name a .svg, .png or .pdf file") from error
        try:
            path.write_bytes(drawn.getvalue())
        except OSError as error:
            with contextlib.suppress(OSError):
                if path.is_file():  # half a chart looks like one
                    path.unlink()
            hint = "check the folder and its free space"
            raise HostError(f"cannot write the chart: {error.strerror}", str(path), hint) from error

    def __repr__(self) -> str:
        """Give what the chart shows."""
        return f"{self.title}: {self.description}"

    def _repr_html_(self) -> str:
        """Give the chart for a notebook, on white whatever the notebook is."""
        return f'<div style="max-width:{WIDE}px;background:#fff;font-family:sans-serif">{self.svg()}</div>'


def classes(report: Report) -> Picture:
    """Give the frames of each class as bars, with their share of what the guest sees."""
    seen = report.seen_by_guest[0]
    rows = [(kind, report.class_counts[kind][0]) for kind in CLASS_NAMES]
    told = [
        f"{CLASS_NAMES[kind]} {count(frames)}"
        + (f" ({percent(frames / seen)})" if seen and kind in TO_GUEST_CLASSES else "")
        for kind, frames in rows
    ]
    description = f"Frames by class, with their share of what the guest sees: {', '.join(told)}."

    def draw(width_px: int) -> Figure:
        figure, axes = _empty(width_px, 30 * len(rows) + 14)
        most = max(*(frames for _, frames in rows), 1)
        for place, (kind, frames) in enumerate(rows):
            axes.barh(place, frames, height=0.62, color=CLASS_COLOURS[kind])
            share = f" ({percent(frames / seen)})" if seen and kind in TO_GUEST_CLASSES else ""
            axes.annotate(f"{_room(frames)}{share}", (frames, place), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(rows)), [CLASS_NAMES[kind] for kind, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, most * (1.9 if width_px <= NARROW else 1.3))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        return figure

    return Picture("classes", "Frames by class", description, draw)


def timeline(report: Report) -> Picture:
    """Give frames a second over time, by class; nothing is drawn where nothing was measured."""
    pace = pace_of(report)
    if not len(pace.start_ns):
        description = "Nothing was measured over time."
    else:
        told = [f"{CLASS_NAMES[kind]} {_range(pace.fps[:, kind])}" for kind in _STACKED]
        description = f"Frames a second, {pace.words}: {', '.join(told)}."

    def draw(width_px: int) -> Figure:
        if not len(pace.start_ns):
            return _blank(width_px)
        figure, axes = _empty(width_px, 230)
        thinner = pace.at_most(width_px // 4)
        if pace.is_scattered:
            _dots(axes, thinner)
        else:
            _areas(axes, thinner)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("frames/s")
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        _clock(axes, thinner, 2 if width_px <= NARROW else 6)
        columns = 2 if width_px <= NARROW else 4
        figure.legend(loc="outside upper left", ncols=columns, handlelength=1, columnspacing=1.2, borderaxespad=0.1)
        return figure

    return Picture("timeline", "Frames a second over time", description, draw)


def comparison(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Give the rates before and after, of the ``classes`` of a ``nwscan.verdict/1`` document; whiskers are intervals.

    A class without a frame, before and after, is left out.
    """
    by_key = {row["class"]: row for row in rows if row["after_fps"] is not None and _has_frames(row)}
    known = [(name, CLASS_COLOURS[kind], by_key[kind.key]) for kind, name in CLASS_NAMES.items() if kind.key in by_key]
    told = "; ".join(_change(name, row) for name, _, row in known)
    description = f"Frames a second before and after: {told or 'nothing was measured'}."
    most = max((row[key] or 0.0 for _, _, row in known for key in ("before_fps", "after_fps")), default=0.0) or 1.0

    def draw(width_px: int) -> Figure:
        if not known:
            return _blank(width_px)
        figure, axes = _empty(width_px, 44 * len(known) + 66)
        for place, (_, colour, row) in enumerate(known):
            if row["before_fps"] is not None:
                axes.barh(place - 0.19, row["before_fps"], 0.34, facecolor="none", edgecolor=colour, linewidth=1.2)
            axes.barh(place + 0.19, row["after_fps"], height=0.34, color=colour)
            _whisker(axes, place + 0.19, row, most * 1.1)
        axes.set_yticks(range(len(known)), [name for name, _, _ in known])
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.set_xlim(0, most * 1.12)
        axes.locator_params(axis="x", nbins=3 if width_px <= NARROW else 6)
        axes.set_xlabel("frames/s")
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        _legend_of_change(figure, width_px)
        return figure

    return Picture("comparison", "Before and after", description, draw)


def _empty(width_px: int, height_px: int) -> tuple[Figure, Axes]:
    """Give a figure whose units are CSS pixels, and its axes. Raises HostError where matplotlib is not installed."""
    with _style({}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width_px / 72, height_px / 72), layout="constrained")
        return figure, figure.subplots()


def _blank(width_px: int) -> Figure:
    """Give a figure that says that there is nothing to show."""
    figure, axes = _empty(width_px, 60)
    axes.text(0.5, 0.5, "nothing was measured", color=MUTED, ha="center", va="center")
    axes.set_axis_off()
    return figure


def _style(more: dict[str, Any]) -> Any:  # noqa: ANN401 - matplotlib's own context
    try:
        import matplotlib as mpl
    except ImportError as error:
        hint = "install it: pip install 'nwscan[html]'"
        raise HostError("charts need matplotlib, which is not installed", hint=hint) from error
    known: dict[Any, Any] = {
        key: mpl.rcParamsDefault[key] for key in mpl.rcParamsDefault if not key.startswith("backend")
    }
    known.update(_STYLE, **more)
    return mpl.rc_context(known)


def _areas(axes: Axes, pace: Pace) -> None:
    """Draw the classes on top of each other, each stretch that was measured by itself."""
    for number, rows in enumerate(pace.runs()):
        edges = np.append(pace.start_ns[rows], pace.end_ns[rows][-1]) / _DAY_NS
        floor = np.zeros(len(edges))
        for kind in _STACKED:
            top = floor + np.append(pace.fps[rows, kind], pace.fps[rows, kind][-1])
            label = CLASS_NAMES[kind] if number == 0 else None
            axes.fill_between(edges, floor, top, step="post", color=CLASS_COLOURS[kind], linewidth=0, label=label)
            floor = top


def _dots(axes: Axes, pace: Pace) -> None:
    """Draw each window as dots at its time: there is little between them that was measured."""
    middle = (pace.start_ns / 2 + pace.end_ns / 2) / _DAY_NS
    for kind in reversed(_STACKED):
        rates = pace.fps[:, kind]
        axes.plot(middle, rates, "o", color=CLASS_COLOURS[kind], markersize=4, label=CLASS_NAMES[kind])
    axes.vlines(middle, 0, pace.fps[:, FrameClass.FOREIGN_UNICAST], color=CLASS_COLOURS[FrameClass.FOREIGN_UNICAST])


_DAY_NS: Final = 86_400 * 1_000_000_000
_HOURS_TOLD: Final = 48 * 3600 * 1_000_000_000
_SECONDS_TOLD: Final = 900 * 1_000_000_000
_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
_DAYS: Final = (1, 2, 7, 14, 30, 90, 365, 3650, 36500)


def _clock(axes: Axes, pace: Pace, ticks: int) -> None:
    """Tell the time below the axis, in UTC."""
    first, last = int(pace.start_ns[0]), int(pace.end_ns[-1])
    span = last - first
    steps_ns = [*(step * 1_000_000_000 for step in _STEPS_S), *(days * _DAY_NS for days in _DAYS)]
    step_ns = next((step for step in steps_ns if span <= step * ticks), steps_ns[-1])
    at = range(-(-first // step_ns) * step_ns, last + 1, step_ns)
    letters = slice(11, 19) if span <= _SECONDS_TOLD else slice(11, 16) if span <= _HOURS_TOLD else slice(0, 10)
    axes.set_xticks([time_ns / _DAY_NS for time_ns in at], [format_time(time_ns)[letters] for time_ns in at])
    axes.set_xlabel("UTC" if span > _HOURS_TOLD else f"UTC, {format_time(first)[:10]}")
    axes.margins(x=0.01)


def _has_frames(row: Mapping[str, Any]) -> bool:
    return bool(row["before_fps"] or row["after_fps"])


def _whisker(axes: Axes, place: float, row: Mapping[str, Any], limit: float) -> None:
    """Draw where the rate after may lie by the interval of the ratio; one without an upper end goes to the limit."""
    before, interval = row["before_fps"], row["ratio_interval"]
    if not before or interval is None or interval["lower"] is None:
        return
    left = min(before * interval["lower"], limit)
    right = limit if interval["upper"] is None else min(before * interval["upper"], limit)
    axes.plot([left, right], [place, place], color=INK, linewidth=1.1)
    for end in (left, right):
        axes.plot([end, end], [place - 0.09, place + 0.09], color=INK, linewidth=1.1)


def _legend_of_change(figure: Figure, width_px: int) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: Sequence[Any] = (
        Patch(facecolor="none", edgecolor=MUTED, label="before"),
        Patch(facecolor=MUTED, label="after"),
        Line2D([], [], color=INK, label="95 %" if width_px <= NARROW else "95 % interval of the change"),
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handlelength=1, columnspacing=1.2)


def _change(name: str, row: Mapping[str, Any]) -> str:
    before = "not measured" if row["before_fps"] is None else short(row["before_fps"], "frames/s")
    ratio = "" if row["ratio"] is None else f", ratio {ratio_words(row)}"
    return f"{name} {before} before, {short(row['after_fps'], 'frames/s')} after{ratio}"


def ratio_words(row: Mapping[str, Any]) -> str:
    """Give the ratio of a class with its interval: ``0.98 (0.80..1.20)``; an end that is not known is ``any``."""
    if row["ratio"] is None:
        return "-"
    if row["ratio_interval"] is None:
        return _ratio(row["ratio"])
    ends = (
        "any" if end is None else f"{end:.2f}" for end in (row["ratio_interval"][key] for key in ("lower", "upper"))
    )
    return f"{_ratio(row['ratio'])} ({'..'.join(ends)})"


def _ratio(number: float) -> str:
    return f"{number:.2f}" if number < _LONG else f"{number:.2g}"


def _room(frames: int) -> str:
    """Give a count in the room that there is behind a bar."""
    return count(frames) if frames < _LONG else short(frames, "").strip()


def _range(rates: np.ndarray[Any, Any]) -> str:
    return f"{short(float(rates.min()), '').strip()} to {short(float(rates.max()), '').strip()}"
