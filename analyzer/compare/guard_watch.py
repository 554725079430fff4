"""Harm while a change waits to be confirmed, by what the guest's filter let through of vital frames.

The rules stand in docs/confirm.md, with how often they are wrong. Values in, a sentence out: whoever calls it has read
the counters, about once a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from analyzer.model.guards import GuardKind

MINIMUM_LOST: Final = 3
"""Frames of a kind that must be lost for certain before anything is concluded."""

MINIMUM_CUT_OFF: Final = 10
"""The same where frames of the kind may be lost without any harm, so that only a complete loss tells."""

_HALF: Final = 0.5


class LossWatch:
    """Looks for a kind of frames that reaches one card's filter and does not come out of it.

    ``kinds`` are watched; of those in ``thinned`` a part may be lost on purpose, or was before: an older filter is
    there, or the profile drops a part. The first counts are where it begins, and so are counts that have become less:
    somebody set the counters back (``nft reset counters`` does, of every table).
    """

    def __init__(self, kinds: Collection[GuardKind], thinned: Collection[GuardKind] = ()) -> None:
        self._kinds = tuple(kinds)
        self._thinned = frozenset(thinned)
        self._first: Mapping[GuardKind, tuple[int, int]] | None = None
        self._last: Mapping[GuardKind, tuple[int, int]] = {}

    def add(self, counts: Mapping[GuardKind, tuple[int, int]]) -> str | None:
        """Take the counts (offered, delivered) since any one time, and give the harm that they show, None for none.

        A frame that had been offered at the last call and is not delivered by this one is lost for certain: no skew
        between two counters takes a second.
        """
        if self._first is None or any(
            now < then for kind in self._kinds for now, then in zip(counts[kind], self._last[kind], strict=True)
        ):
            self._first = self._last = counts
        last, self._last = self._last, counts
        for kind in self._kinds:
            harm = self._harm(kind, last[kind][0] - self._first[kind][0], counts[kind][1] - self._first[kind][1])
            if harm is not None:
                return harm
        return None

    def _harm(self, kind: GuardKind, offered: int, delivered: int) -> str | None:
        lost = offered - delivered
        if kind in self._thinned:
            is_harm = lost >= MINIMUM_CUT_OFF and delivered == 0
        else:
            is_harm = lost >= MINIMUM_LOST and lost > _HALF * offered
        return f"the filter drops {kind}: at least {lost} of {offered} frames" if is_harm else None
