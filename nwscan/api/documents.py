"""What reports hold that people name: read from files, folders and pipes, and merged by card.

The documents may have been edited by anybody: each is validated, and a merged report is checked as if it were read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import format_mac
from analyzer.report.document import SCHEMA
from analyzer.report.store import SIZE_LIMIT, encode, from_document
from nwscan import kept
from nwscan.api import shown_documents as shown
from nwscan.scale import remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction

Shape = TypeVar("Shape", shown.Suggestion, shown.Verdict)
_STDIN: Final = "standard input"
_DO: Final = "name a report that nwscan wrote, or a folder of kept ones"


class _Known(msgspec.Struct, frozen=True):
    """What every document begins with."""

    schema: str


@dataclass(frozen=True, slots=True)
class Documents:
    """Everything that was read; a suggestion comes with its prediction, None where it has none."""

    reports: tuple[kept.KeptReport, ...] = ()
    suggestions: tuple[tuple[shown.Suggestion, Prediction | None], ...] = ()
    verdicts: tuple[shown.Verdict, ...] = ()


def read_reports(paths: Sequence[str]) -> tuple[kept.KeptReport, ...]:
    """Give the reports in files (one a line, or one in all), in folders (the kept ones, at any depth) and in ``-``.

    Raises InputError for the first thing that is none.
    """
    found = []
    for where, document in _documents(paths):
        schema = _schema(document, where)
        if schema != SCHEMA:
            raise InputError(f"a document of {schema!r}, not a report", where, _DO)
        found.append(kept.KeptReport(Path(where), from_document(document, where)))
    return tuple(found)


def read_documents(paths: Sequence[str]) -> Documents:
    """Give the reports, suggestions and verdicts, found as by ``read_reports``. Raises InputError for anything else."""
    reports, suggestions, verdicts = [], [], []
    for where, document in _documents(paths):
        match _schema(document, where):
            case shown.VERDICT_SCHEMA:
                verdicts.append(_shown(document, shown.Verdict, where))
            case shown.SUGGESTION_SCHEMA:
                suggestion = _shown(document, shown.Suggestion, where)
                suggestions.append((suggestion, _prediction(suggestion, where)))
            case _:
                reports += [kept.KeptReport(Path(where), from_document(document, where))]
    return Documents(tuple(reports), tuple(suggestions), tuple(verdicts))


def _shown(document: bytes, kind: type[Shape], where: str) -> Shape:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"not a document of nwscan: {error}", where, _DO) from error


def _prediction(suggestion: shown.Suggestion, where: str) -> Prediction | None:
    from generator.evaluate.prediction_document import from_document as prediction_from

    if suggestion.prediction is None:
        return None
    try:
        return prediction_from(suggestion.prediction)
    except InputError as error:
        raise InputError(error.what, where, _DO) from error


def by_card(reports: Sequence[Report]) -> tuple[Report, ...]:
    """Give one report a card, in the order in which the cards come.

    Raises UsageError where two reports hold the same window: it would count twice.
    """
    groups: list[list[Report]] = []
    for report in sorted(reports, key=lambda one: one.identity.uuid is None):  # who is sure of its guest leads
        of_card = (group for group in groups if _is_same_card(group[0], report))
        group = next(of_card, None)
        if group is None:
            groups.append([report])
        else:
            group.append(report)
    places = {id(report): place for place, report in enumerate(reports)}
    groups.sort(key=lambda group: min(places[id(report)] for report in group))
    return tuple(_merged(group) for group in groups)


def _is_same_card(one: Report, other: Report) -> bool:
    mine, theirs = one.identity, other.identity
    return set(mine.macs) == set(theirs.macs) and (not theirs.uuid or mine.uuid == theirs.uuid)


def _merged(group: list[Report]) -> Report:
    if len(group) == 1:
        return group[0]
    windows = [(window.start_ns, window.end_ns, window.frames_seen) for report in group for window in report.windows]
    if len(set(windows)) < len(windows):
        card = group[0].identity
        where = f"reports of {card.label} ({', '.join(map(format_mac, card.macs))})"
        raise UsageError("the same window is there twice and would count twice", where, "name each report once")
    return from_document(encode(reduce(lambda one, other: one.merge(other), group)), "the merged report")


def expand_reports(paths: Sequence[str]) -> list[str]:
    """Give the files that are meant: a folder stands for the kept reports in it; InputError where it has none."""
    found: list[str] = []
    for path in map(remote.local, paths):
        if remote.is_url(path):
            found += remote.expand(path, (".json",))
        elif path != "-" and (folder := Path(path)).is_dir():
            inside = kept.reports_in(folder)
            if not inside:
                raise InputError("no kept reports in this folder", path, _DO)
            found += map(str, inside)
        else:
            found.append(path)
    return found


def _documents(paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    for path in expand_reports(paths):
        where, octets = _content(path)
        yield from ((where, document) for document in parts(octets, where))


def _content(path: str) -> tuple[str, bytes]:
    """Give the octets of a file, with its name."""
    if path == "-":
        return _STDIN, _standard_input()
    if remote.is_url(path):
        octets, where = remote.read(path, SIZE_LIMIT), remote.shown(path)
        if len(octets) > SIZE_LIMIT:
            raise InputError(f"longer than the limit of {SIZE_LIMIT} octets", where, _DO)
        return where, octets
    return path, kept.read_document(Path(path))


def _standard_input() -> bytes:
    octets = b"" if sys.stdin is None else sys.stdin.buffer.read(SIZE_LIMIT + 1)
    if len(octets) > SIZE_LIMIT:
        raise InputError(f"longer than the limit of {SIZE_LIMIT} octets", _STDIN, _DO)
    return octets


def parts(octets: bytes, where: str) -> list[bytes]:
    """Give the documents: one that may span lines, or one a line. Raises InputError where there is none."""
    lines = [line for line in octets.splitlines() if line.strip()]
    if not lines:
        raise InputError("there is no document in it", where, _DO)
    if len(lines) > 1 and lines[0].rstrip().endswith(b"}"):
        return lines
    return [octets]


def _schema(document: bytes, where: str) -> str:
    try:
        return msgspec.json.decode(document, type=_Known).schema
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"not a document of nwscan: {error}", where, _DO) from error
