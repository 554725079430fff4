"""A report as pandas frames, for people: fixed columns, dtypes and units, also where there is nothing to show.

What must not live here: counting, and what the columns are (table_columns.py). ``attrs`` of each frame has the
``units`` and ``meanings`` of its columns. ``frames`` and ``octets`` are int64, times UTC in nanoseconds, ``class`` is a
category of the six classes in their order; what is not known is missing (NA, NaN), never 0 or "".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analyzer.classify.subclasses import is_joined
from analyzer.model.addresses import format_mac
from analyzer.model.classes import CLASS_COUNT, TO_GUEST_CLASSES, FrameClass
from analyzer.report import table_columns as shapes
from analyzer.report.rates import rates_of
from analyzer.report.split import guest_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.report.report import Report
    from analyzer.report.table_columns import TableShape

_TIME: Final = pd.DatetimeTZDtype("ns", "UTC")
_CLASS: Final = pd.CategoricalDtype([kind.key for kind in FrameClass], ordered=True)
_DTYPES: Final[Mapping[str, Any]] = {
    "time": _TIME,
    "class": _CLASS,
    "text": pd.StringDtype(),
    "maybe": pd.BooleanDtype(),
}
"""Other dtypes have their own names."""


def by_class(report: Report) -> pd.DataFrame:
    """Give one row a class: frames, octets, their shares of what the guest sees, mean frames and bits a second.

    The shares of from_guest and unclassified are missing, since the guest sees neither.
    """
    frames, octets = report.counts.T
    to_guest = np.isin(np.arange(CLASS_COUNT), TO_GUEST_CLASSES)
    rates = list(rates_of(report).values())
    return _table(
        shapes.BY_CLASS,
        {
            "class": [kind.key for kind in FrameClass],
            "frames": frames,
            "octets": octets,
            "share_frames": _shares(frames, to_guest),
            "share_octets": _shares(octets, to_guest),
            "mean_fps": [rate.mean_fps for rate in rates],
            "mean_bps": [rate.mean_bps for rate in rates],
        },
    )


def timeline(report: Report) -> pd.DataFrame:
    """Give six rows a time bin, one a class: where it starts, how many seconds it is wide, frames, octets.

    Bins without a frame between the first and the last are there, with zeros.
    """
    starts_ns, counts = report.timeline.rows()
    return _table(
        shapes.TIMELINE,
        {
            "t": np.repeat(starts_ns, CLASS_COUNT),
            "bin_s": np.full(len(starts_ns) * CLASS_COUNT, report.timeline.bin_s),
            "class": [kind.key for kind in FrameClass] * len(starts_ns),
            "frames": counts[:, :, 0].reshape(-1),
            "octets": counts[:, :, 1].reshape(-1),
        },
    )


def talkers(report: Report) -> pd.DataFrame:
    """Give who floods whom with foreign unicast, most frames first; there were at most ``error`` frames more."""
    entries = report.talkers.by_size()
    return _table(
        shapes.TALKERS,
        {
            "src": [format_mac(entry.first) for entry in entries],
            "dst": [format_mac(entry.second) for entry in entries],
            "frames": [entry.frames for entry in entries],
            "octets": [entry.octets for entry in entries],
            "error": [entry.error for entry in entries],
            "first_seen": [entry.first_ns for entry in entries],
            "last_seen": [entry.last_ns for entry in entries],
        },
    )


def groups(report: Report) -> pd.DataFrame:
    """Give the destinations of multicast, most frames first; ``joined`` is missing where it is not known."""
    entries = report.groups.by_size()
    facts = guest_facts(report)
    return _table(
        shapes.GROUPS,
        {
            "dst": [format_mac(entry.first) for entry in entries],
            "joined": [is_joined(facts, entry.first) for entry in entries],
            "frames": [entry.frames for entry in entries],
            "octets": [entry.octets for entry in entries],
            "error": [entry.error for entry in entries],
            "first_seen": [entry.first_ns for entry in entries],
            "last_seen": [entry.last_ns for entry in entries],
        },
    )


def comparison(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give one row a class of the ``classes`` of a ``nwscan.verdict/1`` document.

    Rates before and after in frames a second, their ratio with its 95 % interval (missing: not known, or no bound), and
    the frames offered to the filter and delivered by it (missing without the meter).
    """

    def pick(key: str, part: str) -> list[Any]:
        return [row[key][part] if row[key] is not None else None for row in rows]

    return _table(
        shapes.COMPARISON,
        {
            "class": [row["class"] for row in rows],
            "before_fps": [row["before_fps"] for row in rows],
            "after_fps": [row["after_fps"] for row in rows],
            "ratio": [row["ratio"] for row in rows],
            "lower": pick("ratio_interval", "lower"),
            "upper": pick("ratio_interval", "upper"),
            "offered": pick("offered", "frames"),
            "delivered": pick("delivered", "frames"),
        },
    )


def _table(shape: TableShape, values: Mapping[str, Sequence[Any] | np.ndarray[Any, Any]]) -> pd.DataFrame:
    """Give the frame of a shape, with what its columns are in ``attrs``."""
    frame = pd.DataFrame(
        {each.name: _series(values[each.name], _DTYPES.get(each.dtype, each.dtype)) for each in shape.columns}
    )
    frame.attrs["units"] = {each.name: each.unit for each in shape.columns}
    frame.attrs["meanings"] = {each.name: each.meaning for each in shape.columns}
    return frame


def _series(values: Sequence[Any] | np.ndarray[Any, Any], dtype: Any) -> pd.Series[Any]:  # noqa: ANN401 - any dtype
    is_time = dtype is _TIME
    data: Any = pd.to_datetime(np.asarray(values, np.int64), unit="ns", utc=True) if is_time else values
    series: pd.Series[Any] = pd.Series(data, dtype=dtype)
    return series


def _shares(counts: np.ndarray[Any, Any], is_counted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    total = counts[is_counted].sum()
    shares = np.full(len(counts), np.nan)
    if total:
        shares[is_counted] = counts[is_counted] / total
    return shares
