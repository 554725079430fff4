"""``--fail-on 'foreign_share>5%'``: a condition on a figure of a report, so that a script can act on the exit code."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from analyzer.report.report import Report

EXIT_NO: Final = 1
EXIT_INCONCLUSIVE: Final = 7

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_EXAMPLE: Final = "write it as 'foreign_share>5%'"
_CONDITION: Final = re.compile(r"\s*([a-z_]+)\s*(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*", re.ASCII)


def _mean(report: Report, column: int, factor: int) -> float | None:
    duration_s = report.duration_s
    return report.class_counts[FrameClass.FOREIGN_UNICAST][column] * factor / duration_s if duration_s else None


def _unrelated_share(report: Report) -> float | None:
    seen = report.seen_by_guest[0]
    return report.unrelated[0] / seen if seen else None


FIGURES: Final[dict[str, Callable[[Report], float | None]]] = {
    "foreign_share": lambda report: report.foreign_share[0],
    "foreign_octets_share": lambda report: report.foreign_share[1],
    "unrelated_share": _unrelated_share,
    "foreign_frames": lambda report: report.class_counts[FrameClass.FOREIGN_UNICAST][0],
    "foreign_fps": lambda report: _mean(report, 0, 1),
    "foreign_bps": lambda report: _mean(report, 1, 8),
    "frames_seen": lambda report: report.frames_seen,
    "frames_lost": lambda report: report.frames_lost,
}
"""What a condition may name; None where a report does not know it. Shares are of what the guest sees, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A figure, a comparison and a limit; where it holds, the answer is no."""

    figure: str
    comparison: str
    limit: float

    def holds(self, report: Report) -> bool | None:
        """Say whether the report's figure is on the failing side; None where the report does not know the figure."""
        value = FIGURES[self.figure](report)
        return None if value is None else _COMPARISONS[self.comparison](value, self.limit)


def parse(text: str) -> Condition:
    """Give the condition that ``text`` is. Raises UsageError for anything else: ``5%`` is for shares alone."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"not a condition: {text!r}", "--fail-on", _EXAMPLE)
    figure, comparison, number, unit = match.groups()
    if figure not in FIGURES:
        raise UsageError(f"no such figure: {figure!r}", "--fail-on", f"name one of {', '.join(FIGURES)}")
    limit, is_share = float(number), figure.endswith("_share")
    if unit and not is_share:
        raise UsageError(f"{figure} is no share, so it is not counted in %", "--fail-on", "leave the % away")
    if is_share and not unit and limit > 1:
        raise UsageError(f"a share is at most 1: {text!r}", "--fail-on", _EXAMPLE)
    return Condition(figure, comparison, limit / 100 if unit else limit)


def exit_code(condition: Condition | None, reports: Iterable[Report]) -> int:
    """Give 1 where the condition holds for a report, 7 where one does not know the figure or none is there, else 0."""
    if condition is None:
        return 0
    answers = [condition.holds(report) for report in reports]
    if any(answers):
        return EXIT_NO
    return EXIT_INCONCLUSIVE if None in answers or not answers else 0
