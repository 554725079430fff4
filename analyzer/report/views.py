"""A report as pandas frames, for people: fixed columns, dtypes and units, also where there is nothing to show.

What must not live here: counting. ``frames`` and ``octets`` are int64, times UTC in nanoseconds, ``class`` is a
category of the six classes in their order; what is not known is missing (NA, NaN), never 0 or "".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from analyzer.classify.subclasses import is_joined
from analyzer.model.addresses import format_mac
from analyzer.model.classes import CLASS_COUNT, TO_GUEST_CLASSES, FrameClass
from analyzer.report.rates import rates_of
from analyzer.report.split import guest_facts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.report.report import Report

_TIME: Final = pd.DatetimeTZDtype("ns", "UTC")
_CLASS: Final = pd.CategoricalDtype([kind.key for kind in FrameClass], ordered=True)
_TEXT: Final = pd.StringDtype()
_MAYBE: Final = pd.BooleanDtype()


def by_class(report: Report) -> pd.DataFrame:
    """Give one row a class: frames, octets, their shares of what the guest sees, mean frames and bits a second.

    The shares of from_guest and unclassified are missing, since the guest sees neither.
    """
    frames, octets = report.counts.T
    to_guest = np.isin(np.arange(CLASS_COUNT), TO_GUEST_CLASSES)
    rates = list(rates_of(report).values())
    return _table(
        {
            "class": ([kind.key for kind in FrameClass], _CLASS),
            "frames": (frames, "int64"),
            "octets": (octets, "int64"),
            "share_frames": (_shares(frames, to_guest), "float64"),
            "share_octets": (_shares(octets, to_guest), "float64"),
            "mean_fps": ([rate.mean_fps for rate in rates], "float64"),
            "mean_bps": ([rate.mean_bps for rate in rates], "float64"),
        }
    )


def timeline(report: Report) -> pd.DataFrame:
    """Give six rows a time bin, one a class: where it starts, how many seconds it is wide, frames, octets.

    Bins without a frame between the first and the last are there, with zeros.
    """
    starts_ns, counts = report.timeline.rows()
    return _table(
        {
            "t": (np.repeat(starts_ns, CLASS_COUNT), _TIME),
            "bin_s": (np.full(len(starts_ns) * CLASS_COUNT, report.timeline.bin_s), "int64"),
            "class": ([kind.key for kind in FrameClass] * len(starts_ns), _CLASS),
            "frames": (counts[:, :, 0].reshape(-1), "int64"),
            "octets": (counts[:, :, 1].reshape(-1), "int64"),
        }
    )


def talkers(report: Report) -> pd.DataFrame:
    """Give who floods whom with foreign unicast, most frames first; there were at most ``error`` frames more."""
    entries = report.talkers.by_size()
    return _table(
        {
            "src": ([format_mac(entry.first) for entry in entries], _TEXT),
            "dst": ([format_mac(entry.second) for entry in entries], _TEXT),
            "frames": ([entry.frames for entry in entries], "int64"),
            "octets": ([entry.octets for entry in entries], "int64"),
            "error": ([entry.error for entry in entries], "int64"),
            "first_seen": ([entry.first_ns for entry in entries], _TIME),
            "last_seen": ([entry.last_ns for entry in entries], _TIME),
        }
    )


def groups(report: Report) -> pd.DataFrame:
    """Give the destinations of multicast, most frames first; ``joined`` is missing where it is not known."""
    entries = report.groups.by_size()
    facts = guest_facts(report)
    return _table(
        {
            "dst": ([format_mac(entry.first) for entry in entries], _TEXT),
            "joined": ([is_joined(facts, entry.first) for entry in entries], _MAYBE),
            "frames": ([entry.frames for entry in entries], "int64"),
            "octets": ([entry.octets for entry in entries], "int64"),
            "error": ([entry.error for entry in entries], "int64"),
            "first_seen": ([entry.first_ns for entry in entries], _TIME),
            "last_seen": ([entry.last_ns for entry in entries], _TIME),
        }
    )


def comparison(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Give one row a class of the ``classes`` of a ``nwscan.verdict/1`` document.

    Rates before and after in frames a second, their ratio with its 95 % interval (missing: not known, or no bound), and
    the frames offered to the filter and delivered by it (missing without the meter).
    """

    def pick(key: str, part: str) -> list[Any]:
        return [row[key][part] if row[key] is not None else None for row in rows]

    return _table(
        {
            "class": ([row["class"] for row in rows], _CLASS),
            "before_fps": ([row["before_fps"] for row in rows], "float64"),
            "after_fps": ([row["after_fps"] for row in rows], "float64"),
            "ratio": ([row["ratio"] for row in rows], "float64"),
            "lower": (pick("ratio_interval", "lower"), "float64"),
            "upper": (pick("ratio_interval", "upper"), "float64"),
            "offered": (pick("offered", "frames"), "Int64"),
            "delivered": (pick("delivered", "frames"), "Int64"),
        }
    )


def _table(columns: Mapping[str, tuple[Sequence[Any] | np.ndarray[Any, Any], Any]]) -> pd.DataFrame:
    return pd.DataFrame({name: _series(values, dtype) for name, (values, dtype) in columns.items()})


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
