from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report import views
from analyzer.report.builder import ReportBuilder
from analyzer.report.parquet import CARD_COLUMNS
from analyzer.report.report import Report
from analyzer.report.table_columns import TABLES, TableShape
from tests.frame_batches import GUEST, Row, frame_batch

if TYPE_CHECKING:
    from collections.abc import Callable

S = 1_000_000_000
IDENTITY = GuestIdentity((GUEST,), Provenance.COMMAND_LINE)
COLUMNS = {
    views.by_class: "class frames octets share_frames share_octets mean_fps mean_bps",
    views.timeline: "t bin_s class frames octets",
    views.talkers: "src dst frames octets error first_seen last_seen",
    views.groups: "dst joined frames octets error first_seen last_seen",
}
DTYPES = {
    "class": pd.CategoricalDtype([kind.key for kind in FrameClass], ordered=True),
    "t": pd.DatetimeTZDtype("ns", "UTC"),
    "first_seen": pd.DatetimeTZDtype("ns", "UTC"),
    "last_seen": pd.DatetimeTZDtype("ns", "UTC"),
    "src": pd.StringDtype(),
    "dst": pd.StringDtype(),
    "joined": pd.BooleanDtype(),
    "share_frames": np.dtype("float64"),
    "share_octets": np.dtype("float64"),
    "mean_fps": np.dtype("float64"),
    "mean_bps": np.dtype("float64"),
}


def report_of(*rows: Row, groups: tuple[int, ...] = ()) -> Report:
    builder = ReportBuilder(
        GuestIdentity((GUEST,), Provenance.COMMAND_LINE, groups=groups), DirectionSource.PACKET_TYPE
    )
    builder.add(*frame_batch(rows))
    return builder.finish((CaptureWindow("vnet0", 0, 4 * S, len(rows), 0, 0),))


FULL = report_of(
    Row(octets=300, ts_ns=S),
    Row(kind=FrameClass.BROADCAST, dst=0xFFFFFFFFFFFF, octets=100, ts_ns=3 * S),
    Row(kind=FrameClass.MULTICAST, dst=0x01005E000001, octets=0, ts_ns=3 * S + 7),
    Row(kind=FrameClass.FROM_GUEST, ts_ns=3 * S),
)


@pytest.mark.parametrize("view", COLUMNS)
@pytest.mark.parametrize("report", [FULL, Report.empty(IDENTITY, DirectionSource.SOURCE_MAC)], ids=["full", "empty"])
def test_columns_and_dtypes_are_fixed(view: Callable[[Report], pd.DataFrame], report: Report) -> None:
    frame = view(report)
    assert list(frame.columns) == COLUMNS[view].split()
    assert dict(frame.dtypes) == {name: DTYPES.get(name, np.dtype("int64")) for name in frame.columns}


def test_by_class_has_shares_of_what_the_guest_sees() -> None:
    frame = views.by_class(FULL).set_index("class")
    assert frame.loc["foreign_unicast", ["frames", "octets"]].tolist() == [1, 300]
    assert frame.loc["foreign_unicast", "share_octets"] == 0.75
    assert frame.loc["foreign_unicast", "mean_bps"] == 600.0
    assert frame["share_frames"].isna().tolist() == [False] * 4 + [True] * 2
    assert views.by_class(Report.empty(IDENTITY, DirectionSource.SOURCE_MAC))["share_frames"].isna().all()


def test_timeline_has_a_row_for_each_bin_and_class() -> None:
    frame = views.timeline(FULL)
    assert len(frame) == 3 * 6
    wide = frame.pivot_table(index="t", columns="class", values="frames", observed=False)
    assert wide["foreign_unicast"].tolist() == [1, 0, 0]
    assert str(wide.index[0]) == "1970-01-01 00:00:01+00:00"


def test_groups_say_whether_they_were_joined_only_where_it_is_known() -> None:
    rows = [Row(kind=FrameClass.MULTICAST, dst=dst) for dst in (0x01005E000001, 0x01005E000002)]
    assert views.groups(report_of(*rows))["joined"].isna().all()
    assert views.groups(report_of(*rows, groups=(0x01005E000001,)))["joined"].tolist() == [True, False]


def test_talkers_name_both_ends() -> None:
    row = views.talkers(FULL).iloc[0]
    assert (row["src"], row["dst"], row["frames"]) == ("52:54:00:00:00:03", "52:54:00:00:00:02", 1)
    assert row["first_seen"] == pd.Timestamp(S, unit="ns", tz="UTC")


def test_times_beyond_the_calendar_of_pandas_do_not_fail() -> None:
    report = report_of(Row(ts_ns=-(2**63)), Row(ts_ns=2**63 - 1))
    assert len(views.timeline(report)) >= 12
    assert len(views.talkers(report)) == 1


@pytest.mark.parametrize("n", [0, 1])
def test_a_comparison_has_its_dtypes_where_nothing_is_known(n: int) -> None:
    nothing = dict.fromkeys(("before_fps", "after_fps", "ratio", "ratio_interval", "offered", "delivered"))
    frame = views.comparison([{"class": "multicast", **nothing}] * n)
    assert [str(dtype) for dtype in frame.dtypes[1:]] == ["float64"] * 5 + ["Int64"] * 2
    assert frame.iloc[:, 1:].isna().all(axis=None)


EVERY = (*COLUMNS, views.comparison)


@pytest.mark.parametrize("view", EVERY)
def test_every_column_tells_its_unit_and_meaning(view: Callable[..., pd.DataFrame]) -> None:
    empty = Report.empty(IDENTITY, DirectionSource.SOURCE_MAC)
    frame = view([] if view is views.comparison else empty)
    shape = next(shape for shape in TABLES if shape.name == view.__name__)
    assert list(frame.columns) == [each.name for each in shape.columns]
    assert frame.attrs["units"] == {each.name: each.unit for each in shape.columns}
    assert all(frame.attrs["meanings"].values())


HEAD = """\
# The tables

Generated from analyzer/report/table_columns.py (`make docs`); a test holds it. These are the pandas frames of a report
in Python, and the tables of `nwscan report --parquet`. Columns and dtypes are the same where a table is empty. What is
not known is missing, never 0. `frame.attrs` has the `units` and `meanings`.

`report --parquet DIR` writes `DIR/TABLE/host=HOST/guest=GUEST/date=DATE/`, a file a report; the date is that on which
its first window began (UTC), or `unknown`. There `class` is plain text, and each table begins with the card's columns.
Units and meanings are in the metadata of each field, and as JSON in the file's `nwscan.columns`.
"""


def tables_document() -> str:
    parts = [HEAD]
    for shape in (
        *TABLES,
        TableShape(
            "card", "what is the same in every row of a Parquet file, before the table's own columns", CARD_COLUMNS
        ),
    ):
        rows = [
            f"| `{each.name}` | {NAMED.get(each.dtype, each.dtype)} | {each.unit or ''} | {each.meaning} |"
            for each in shape.columns
        ]
        head = "| column | dtype | unit | meaning |\n|---|---|---|---|"
        parts.append("\n".join([f"## `{shape.name}`\n\nA row is {shape.row}.\n", head, *rows, ""]))
    return "\n".join(parts)


NAMED = {
    "time": "datetime64[ns, UTC]",
    "class": "category, ordered",
    "text": "string",
    "maybe": "boolean",
}
DOCUMENT = Path(__file__).parents[3] / "docs/tables.md"


def test_the_generated_document_of_the_tables_is_up_to_date() -> None:
    if os.environ.get("NWSCAN_REGENERATE") == "1":
        DOCUMENT.write_text(tables_document(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == tables_document()
