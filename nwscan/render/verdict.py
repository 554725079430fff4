"""A judgement on the terminal: the verdict first, then offered and delivered, before and after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from analyzer.compare import Verdict
from analyzer.compare.agreement import sentences
from analyzer.model.classes import FrameClass
from nwscan.api.changeover import passed_sentence
from nwscan.api.probing import probe_sentence
from nwscan.render.class_names import CLASS_NAMES
from nwscan.render.console import console, headline, remark, table
from nwscan.render.text import count, short

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.compare import Comparison
    from analyzer.compare.comparison import ClassComparison
    from nwscan.api.prove import Verification

_WORDS: Final = {
    Verdict.EFFECTIVE: "effective",
    Verdict.NO_EFFECT: "not effective",
    Verdict.HARMFUL: "harmful",
    Verdict.INCONCLUSIVE: "inconclusive",
}


def verdict_headline(verification: Verification) -> str:
    """Give the verdict in one sentence."""
    comparison = verification.comparison
    word = "" if comparison.is_consistent else f"{_WORDS[comparison.verdict]}: "
    return f"{verification.identity.label}: {word}{comparison.why}"


def print_verification(verification: Verification) -> None:
    """Print one judgement."""
    out = console()
    comparison = verification.comparison
    out.print(headline(verdict_headline(verification)))
    columns = ("class", ">offered", ">delivered", ">before", ">after", ">ratio (95 %)")
    out.print(table(columns, [_row(row) for row in comparison.classes if row.frame_class in CLASS_NAMES]))
    if verification.probe is not None:
        out.print(remark(probe_sentence(verification.probe)))
    if verification.passed is not None:
        out.print(remark(passed_sentence(verification.passed)))
    for line in sentences(verification.agreement) if verification.agreement is not None else ():
        out.print(remark(line))
    for line in _remarks(comparison):
        out.print(remark(line))
    out.print()


def _row(row: ClassComparison) -> tuple[str, ...]:
    metered = row.frame_class is not FrameClass.UNCLASSIFIED
    return (
        CLASS_NAMES[row.frame_class],
        count(row.offered[0]) if row.offered and metered else "-",
        count(row.delivered[0]) if row.delivered and metered else "-",
        _rate(row.before_fps),
        _rate(row.after_fps),
        _ratio(row),
    )


def _rate(fps: float | None) -> str:
    return "-" if fps is None else short(fps, "/s")


def _ratio(row: ClassComparison) -> str:
    if row.ratio is None or row.interval is None:
        return "-"
    upper = f"{row.interval.upper:.2f}" if math.isfinite(row.interval.upper) else "any"
    return f"{row.ratio:.2f} ({row.interval.lower:.2f}..{upper})"


def _remarks(comparison: Comparison) -> Iterator[str]:
    if comparison.passage is not None:
        yield "Offered and delivered: frames ahead of the filter and behind it, in one window. Rates: at the tap."
    for row in comparison.classes:
        predicted, dropped = row.predicted_share, row.dropped_share
        if predicted is not None and dropped is not None and (predicted or dropped) and row.frame_class in CLASS_NAMES:
            yield (
                f"Of {CLASS_NAMES[row.frame_class]} {100 * predicted:.1f} % were predicted to be dropped (from the "
                f"frames before), {100 * dropped:.1f} % were."
            )
    for reason in comparison.refusals:
        yield f"Before and after are not compared: {reason}."
    yield from comparison.remarks
