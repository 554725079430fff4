"""Results as CSV, for spreadsheets: one header, one row a thing, every cell safe to open."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from nwscan.render.text import csv_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from analyzer.report.report import Report


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Give a CSV table (RFC 4180, lines ending in a line feed); None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow("" if cell is None else csv_cell(cell) if isinstance(cell, str) else cell for cell in row)
    return buffer.getvalue()


def reports_csv(reports: Sequence[Report]) -> str:
    """Give the classes of each report, a row a class."""
    header = ("guest", "tap", "mac", "class", "frames", "octets", "duration_s", "frames_lost")
    return csv_text(
        header,
        (
            (
                report.identity.name,
                report.identity.tap,
                format_mac(report.identity.macs[0]),
                kind.key,
                *report.class_counts[kind],
                report.duration_s,
                report.frames_lost,
            )
            for report in reports
            for kind in FrameClass
        ),
    )


def top_csv(document: Mapping[str, Any]) -> str:
    """Give a snapshot of ``top``, a row a tap and class; a tap that is not counted has one without a class."""
    keys = ("guest", "tap", "mac", "bridge", "filter")
    sides = [(side, unit) for side in ("offered", "delivered") for unit in ("frames_per_s", "octets_per_s")]
    header = (*keys, "class", *(f"{side}_{unit}" for side, unit in sides), "dropped_fps", "counted_by")

    def rows() -> Iterator[tuple[object, ...]]:
        for tap in document["taps"]:
            for kind, values in (tap["classes"] or {"": None}).items():
                cells = [None if values is None else values[side][unit] for side, unit in sides]
                yield (*(tap[key] for key in keys), kind or None, *cells, tap["dropped_fps"], tap["counted_by"])

    return csv_text(header, rows())
