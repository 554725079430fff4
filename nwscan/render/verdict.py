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
from nwscan.render.console import Sentence, console, headline, remark, table
from nwscan.render.next_steps import print_next, typed_guest
from nwscan.render.text import count, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.compare import Comparison
    from analyzer.compare.comparison import ClassComparison
    from nwscan.api.prove import Verification
    from nwscan.render.next_steps import Step

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
    return f"{verification.identity.label}: {word}{comparison.why.partition('; ')[0]}"


def print_verification(verification: Verification, steps: Sequence[Step] = ()) -> None:
    """Print one judgement, and what to do next."""
    out = console()
    comparison = verification.comparison
    out.print(headline(verdict_headline(verification)))
    further = comparison.why.partition("; ")[2]
    if further:
        out.print(Sentence(f"{further[:1].upper()}{further[1:]}", ""))
    metered = () if comparison.passage is None else (">offered", ">delivered")
    columns = ("class", *metered, ">before", ">after", ">ratio (95 %)")
    rows = (_row(row, is_metered=bool(metered)) for row in comparison.classes if row.frame_class in CLASS_NAMES)
    out.print(table(columns, rows))
    if verification.probe is not None:
        out.print(remark(probe_sentence(verification.probe)))
    if verification.passed is not None:
        out.print(remark(passed_sentence(verification.passed)))
    for line in sentences(verification.agreement) if verification.agreement is not None else ():
        out.print(remark(line))
    for line in _remarks(comparison):
        out.print(remark(line))
    print_next(out, steps)
    out.print()


def next_steps(verification: Verification) -> tuple[Step, ...]:
    """Give what follows from a judgement where nothing is undone by itself."""
    verdict, guest = verification.comparison.verdict, typed_guest(verification.identity)
    if verification.comparison.passage is None:
        return ((f"nwscan verify {guest or 'GUEST'}", "on its host: counts what was offered, too"),)
    if verdict is Verdict.EFFECTIVE or guest is None:
        return ()
    if verdict is Verdict.INCONCLUSIVE:
        return ((f"nwscan verify {guest} -a duration:300", "a longer window, while there is traffic"),)
    return (
        ("nwscan status", "whether a filter is in force"),
        (f"nwscan rollback {guest}", "as it was before nwscan changed it"),
    )


def _row(row: ClassComparison, *, is_metered: bool) -> tuple[str, ...]:
    sides = (row.offered, row.delivered) if is_metered else ()
    counts = (count(side[0]) if side and row.frame_class is not FrameClass.UNCLASSIFIED else "-" for side in sides)
    return (
        CLASS_NAMES[row.frame_class],
        *counts,
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
