"""Reports as documents of ``nwscan.report/1``, and back: ``from_document(to_document(report)) == report``.

What is read may come from anywhere: it is validated, and refused with the place that is wrong. Its shape
stands in document.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from analyzer.errors import InputError, UsageError
from analyzer.report.document import SCHEMA, ReportDocument
from analyzer.report.reading import read
from analyzer.report.senders import macs_seen
from analyzer.report.writing import write

if TYPE_CHECKING:
    from analyzer.report.report import Report

__all__ = ["encode", "from_document", "macs_seen", "schema", "to_document"]

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Octets of a document at the most: one with every table full, from many merged reports, is below 20 MiB."""


def to_document(report: Report) -> dict[str, Any]:
    """Give the report as JSON values."""
    built: dict[str, Any] = msgspec.to_builtins(write(report))
    return built


def encode(report: Report) -> bytes:
    """Give the report as one line of JSON."""
    return msgspec.json.encode(write(report))


def from_document(document: bytes | dict[str, Any], where: str = "the report") -> Report:
    """Give the report of a document. Raises InputError where it is none, or one of another schema."""
    if isinstance(document, bytes) and len(document) > SIZE_LIMIT:
        raise InputError(f"a report of {len(document)} octets is above the limit of {SIZE_LIMIT}", where)
    try:
        if isinstance(document, bytes):
            parsed = msgspec.json.decode(document, type=ReportDocument)
        else:
            parsed = msgspec.convert(document, ReportDocument)
        return read(parsed)
    except (msgspec.MsgspecError, UsageError, ValueError, RecursionError) as error:
        raise InputError(f"not a report of {SCHEMA}: {error}", where, "name a report that nwscan wrote") from error


def schema() -> dict[str, Any]:
    """Give the JSON Schema of ``nwscan.report/1``."""
    built: dict[str, Any] = _one_line_descriptions(msgspec.json.schema(ReportDocument))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA, **built}


def _one_line_descriptions(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Give a schema with the line breaks of docstrings taken out of its descriptions."""
    if isinstance(value, list):
        return [_one_line_descriptions(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: " ".join(item.split()) if key == "description" and isinstance(item, str) else _one_line_descriptions(item)
        for key, item in value.items()
    }
