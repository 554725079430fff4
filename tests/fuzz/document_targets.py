"""Documents and the journal: each target takes any octets and fails where a promise is broken.

The promises: a file is refused with one clear error that names it, or read; a report that was read survives being
written, and merging: in whatever order, with nothing, and read again from its document; a journal that was read tells
its state, and what may be undone of it is ours; a plan survives being written.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import InputError, NwscanError, UsageError
from analyzer.report.report import Report
from analyzer.report.store import encode, from_document
from generator.deploy.journal_record import JournalRecord, read_record
from generator.deploy.plan import check
from generator.deploy.plan_file import decode_plans, encode_plans
from nwscan.api import documents
from tests.fuzz.document_seeds import small_report

if TYPE_CHECKING:
    from generator.deploy.plan import Plan

_FILE: Final = "fuzzed"


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nwscan-fuzzed-")


def _file(octets: bytes) -> Path:
    path = Path(_folder().name) / _FILE
    path.touch(0o600)
    path.write_bytes(octets)
    return path


def read_documents(octets: bytes) -> None:
    """Read reports, suggestions and verdicts of a file, and merge the reports."""
    path = _file(octets)
    try:
        found = documents.read_documents([str(path)])
    except NwscanError as error:
        _clear(error)
        return
    reports = [kept.report for kept in found.reports]
    for report in reports:
        _check_report(report)
    try:
        documents.by_card(reports)
    except UsageError as error:
        _clear(error)


def _check_report(report: Report) -> None:
    assert from_document(encode(report)) == report
    empty = Report.empty(report.identity, report.direction_source)
    assert report.merge(empty) == report == empty.merge(report)
    other = replace(small_report(), identity=report.identity)
    merged = report.merge(other)
    assert merged == other.merge(report)
    assert merged.merge(report) == report.merge(report).merge(other)
    assert from_document(encode(merged)) == merged


def read_journals(octets: bytes) -> None:
    """Read the file of a change, and the same octets as the file of a plan."""
    path = _file(octets)
    try:
        record = read_record(path)
        if record is not None:
            _check_record(record)
    except InputError as error:
        _clear(error, str(path))
    try:
        plans = decode_plans(octets)
    except InputError as error:
        _clear(error)
    else:
        _check_plans(plans)


def _check_record(record: JournalRecord) -> None:
    assert record.begun <= len(record.plan.steps)
    assert record.begun_at_ns is not None
    assert record.touched_at_ns is not None
    assert record.state in type(record.state)
    assert not record.is_pending or record.deadline is not None
    if record.is_in_force:
        check(record.plan)


def _check_plans(plans: tuple[Plan, ...]) -> None:
    assert plans
    assert decode_plans(encode_plans(plans)) == plans


def _clear(error: NwscanError, where: str = "") -> None:
    assert error.what
    assert error.where.startswith(where)
