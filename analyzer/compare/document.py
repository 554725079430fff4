"""The comparison as a document, ``nwscan.verdict/1``.

Unknown is null, never 0; a bound that is infinite is null too, since JSON has no infinity.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from analyzer.compare.judgement import DELIVERED_LIMIT, MINIMUM_OFFERED
from analyzer.compare.side_by_side import MINIMUM_BINS

if TYPE_CHECKING:
    from analyzer.compare.agreement import Agreement
    from analyzer.compare.comparison import ClassComparison, Comparison, Guard, Passage
    from analyzer.compare.statistics import Interval

SCHEMA: Final = "nwscan.verdict/1"


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Give ``comparison`` as JSON values."""
    return {
        "schema": SCHEMA,
        "verdict": str(comparison.verdict),
        "why": comparison.why,
        "consistent_with_effect": comparison.is_consistent if comparison.passage is None else None,
        "rules": {
            "minimum_offered": MINIMUM_OFFERED,
            "delivered_limit": DELIVERED_LIMIT,
            "minimum_bins": MINIMUM_BINS,
            "confidence": 0.95,
        },
        "meter": None if comparison.passage is None else _passage(comparison.passage),
        "guards": [_guard(guard) for guard in comparison.guards],
        "classes": [_class(row) for row in comparison.classes],
        "not_compared": list(comparison.refusals),
        "remarks": list(comparison.remarks),
    }


def agreement_document(agreement: Agreement) -> dict[str, Any]:
    """Give one class of capture and meter as JSON values, for the key ``agreement``."""
    return {
        "class": agreement.frame_class.key,
        "compared_by": agreement.compared_by,
        "delivered": agreement.delivered,
        "captured": agreement.captured,
        "never_offered": agreement.never_offered,
        "missing": agreement.missing,
    }


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "foreign_offered": passage.offered,
        "foreign_delivered": passage.delivered,
        "foreign_bypassed": passage.bypassed,
        "delivered_share": passage.share,
        "delivered_share_bounds": _interval(passage.bounds) if passage.share is not None else None,
    }


def _guard(guard: Guard) -> dict[str, Any]:
    counts = guard.counts
    return {
        "name": counts.name,
        "state": str(guard.state),
        "why": guard.why,
        "offered": counts.offered,
        "delivered": counts.delivered,
        "offered_before": counts.offered_before,
        "delivered_before": counts.delivered_before,
    }


def _class(row: ClassComparison) -> dict[str, Any]:
    return {
        "class": row.frame_class.key,
        "before": _counts(row.before),
        "after": _counts(row.after),
        "before_fps": row.before_fps,
        "after_fps": row.after_fps,
        "ratio": row.ratio,
        "ratio_interval": None if row.interval is None else _interval(row.interval),
        "offered": _counts(row.offered),
        "delivered": _counts(row.delivered),
        "dropped_share": row.dropped_share,
        "predicted_share": row.predicted_share,
    }


def _counts(pair: tuple[int, int] | None) -> dict[str, int] | None:
    return None if pair is None else {"frames": pair[0], "octets": pair[1]}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"lower": interval.lower, "upper": None if math.isinf(interval.upper) else interval.upper}
