"""A report as Parquet: its tables with the unit and meaning of every column. The one place that touches pyarrow.

What lives here: octets and where in a dataset they belong. What must not: writing them. A dataset of each table is
partitioned by host, guest and date (Hive's ``key=value`` folders), the same report always giving the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from analyzer.errors import HostError
from analyzer.model.addresses import format_mac
from analyzer.report import views
from analyzer.report.store import encode
from analyzer.report.table_columns import BY_CLASS, GROUPS, TALKERS, TIMELINE, Column, TableShape
from analyzer.report.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from analyzer.report.report import Report

CARD_COLUMNS: Final = (
    Column("mac", "text", None, "the card's first MAC address"),
    Column("uuid", "text", None, "the guest's UUID; missing where it is not known"),
    Column("tap", "text", None, "the tap; missing where it is not known"),
    Column("begin", "time", "UTC", "when the first window began; missing where it is not known"),
    Column("end", "time", "UTC", "when the last window ended; missing where it is not known"),
)
"""What every table of a dataset begins with: of which card, and of when."""

_VIEWS: Final[tuple[tuple[TableShape, Callable[[Report], pd.DataFrame]], ...]] = (
    (BY_CLASS, views.by_class),
    (TIMELINE, views.timeline),
    (TALKERS, views.talkers),
    (GROUPS, views.groups),
)
_NAME_LIMIT: Final = 120
"""Octets of a folder's value; names are written with % and at most 255 octets are allowed."""

_NOTHING: Final = "unknown"
"""A folder's value that is not known; Hive's own word for it is one that pyarrow cannot read beside others."""


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """One file of a dataset: its folders from the dataset on, its name, and what is in it."""

    folders: tuple[str, ...]
    name: str
    octets: bytes


def parquet_files(report: Report, host: str) -> Iterator[ParquetFile]:
    """Give the files of a report that was measured on ``host``, one a table.

    Raises HostError where pyarrow is not installed.
    """
    begin = min((window.start_ns for window in report.windows if window.start_ns is not None), default=None)
    end = max((window.end_ns for window in report.windows if window.end_ns is not None), default=None)
    date = _NOTHING if begin is None else format_time(begin)[:10]
    folders = (f"host={_value(host)}", f"guest={_value(report.identity.label)}", f"date={date}")
    name = f"{hashlib.sha256(encode(report)).hexdigest()[:32]}.parquet"
    identity = report.identity
    card = (format_mac(identity.macs[0]), identity.uuid, identity.tap, begin, end)
    for shape, view in _VIEWS:
        yield ParquetFile((shape.name, *folders), name, _octets(shape, view(report), card))


def _value(text: str) -> str:
    """Give a folder's value as Hive writes it; one that is too long becomes its beginning and its hash."""
    octets = text.encode(errors="replace")
    written = quote(octets, safe="")
    if len(written) <= _NAME_LIMIT:
        return written or _NOTHING
    beginning = text[:12].encode(errors="replace")
    return f"{quote(beginning, safe='')}-{hashlib.sha256(octets).hexdigest()[:16]}"


def _octets(shape: TableShape, frame: pd.DataFrame, card: tuple[str | int | None, ...]) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, for whoever asks for it
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError as error:
        hint = "install it: pip install 'nwscan[parquet]'"
        raise HostError("Parquet needs pyarrow, which is not installed", hint=hint) from error
    kinds: dict[str, Any] = {
        "time": pa.timestamp("ns", tz="UTC"),
        "class": pa.string(),
        "text": pa.string(),
        "maybe": pa.bool_(),
        "int64": pa.int64(),
        "Int64": pa.int64(),
        "float64": pa.float64(),
    }
    columns = (*CARD_COLUMNS, *shape.columns)
    fields = [pa.field(each.name, kinds[each.dtype], metadata=_metadata(each)) for each in columns]
    told = {each.name: {"unit": each.unit, "meaning": each.meaning} for each in columns}
    schema = pa.schema(
        fields, {"nwscan.table": shape.name, "nwscan.row": shape.row, "nwscan.columns": json.dumps(told)}
    )
    fixed = [pa.array([value] * len(frame), type=field.type) for value, field in zip(card, fields, strict=False)]
    plain = frame.astype({each.name: "string" for each in shape.columns if each.dtype == "class"})
    measured = pa.Table.from_pandas(plain, schema=pa.schema(fields[len(fixed) :]), preserve_index=False)
    table = pa.Table.from_arrays([*fixed, *measured.columns], schema=schema)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _metadata(column: Column) -> dict[str, str]:
    return {"meaning": column.meaning} | ({} if column.unit is None else {"unit": column.unit})
