"""The tables that people get, column by column: name, dtype, unit, meaning. Data; views.py and parquet.py follow it.

``unit`` None is for names and truths, which have none. docs/tables.md is generated from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DtypeName = Literal["time", "class", "text", "maybe", "int64", "Int64", "float64"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``dtype`` is named as views.py knows it; ``time`` is UTC in nanoseconds."""

    name: str
    dtype: DtypeName
    unit: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class TableShape:
    """One table and what a row of it is."""

    name: str
    row: str
    columns: tuple[Column, ...]


_CLASS: Final = Column("class", "class", None, "one of the six classes, in their order")
_FRAMES: Final = Column("frames", "int64", "frames", "how many")
_OCTETS: Final = Column("octets", "int64", "octets", "original length with VLAN tags, without FCS")
_ERROR: Final = Column("error", "int64", "frames", "there were at most so many more; 0: exact")
_FIRST: Final = Column("first_seen", "time", "UTC", "when the first of these frames was seen")
_LAST: Final = Column("last_seen", "time", "UTC", "when the last of these frames was seen")

BY_CLASS: Final = TableShape(
    "by_class",
    "a class",
    (
        _CLASS,
        _FRAMES,
        _OCTETS,
        Column("share_frames", "float64", "1", "share of the frames that the guest sees; missing for what it does not"),
        Column("share_octets", "float64", "1", "share of the octets that the guest sees; missing for what it does not"),
        Column("mean_fps", "float64", "frames/s", "mean over the windows; missing where their length is not known"),
        Column("mean_bps", "float64", "bit/s", "mean over the windows; missing where their length is not known"),
    ),
)

TIMELINE: Final = TableShape(
    "timeline",
    "a class in a time bin; bins without a frame between the first and the last are there, with zeros",
    (
        Column("t", "time", "UTC", "when the bin begins"),
        Column("bin_s", "int64", "s", "how wide the bin is"),
        _CLASS,
        _FRAMES,
        _OCTETS,
    ),
)

TALKERS: Final = TableShape(
    "talkers",
    "a source and a destination of foreign unicast, most frames first",
    (
        Column("src", "text", None, "source MAC address"),
        Column("dst", "text", None, "destination MAC address"),
        _FRAMES,
        _OCTETS,
        _ERROR,
        _FIRST,
        _LAST,
    ),
)

GROUPS: Final = TableShape(
    "groups",
    "a destination of multicast, most frames first",
    (
        Column("dst", "text", None, "the group's MAC address"),
        Column("joined", "maybe", None, "whether the guest is a member; missing where that is not known"),
        _FRAMES,
        _OCTETS,
        _ERROR,
        _FIRST,
        _LAST,
    ),
)

COMPARISON: Final = TableShape(
    "comparison",
    "a class, before and after",
    (
        _CLASS,
        Column("before_fps", "float64", "frames/s", "mean rate before; missing where nothing was measured"),
        Column("after_fps", "float64", "frames/s", "mean rate after"),
        Column("ratio", "float64", "1", "after / before; missing where it has no meaning"),
        Column("lower", "float64", "1", "lower end of the ratio's 95 % interval; missing where it is not known"),
        Column("upper", "float64", "1", "upper end of the ratio's 95 % interval; missing where there is none"),
        Column("offered", "Int64", "frames", "ahead of the filter in the window after; missing without the meter"),
        Column("delivered", "Int64", "frames", "behind the filter in the window after; missing without the meter"),
    ),
)

TABLES: Final = (BY_CLASS, TIMELINE, TALKERS, GROUPS, COMPARISON)
