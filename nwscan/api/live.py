"""Look at a host that runs: a snapshot of all taps as a document, and who floods one guest, for a moment."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import HostError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import TO_GUEST_CLASSES, FrameClass
from nwscan.api.counting import HostCounting, rates
from nwscan.api.measure import CaptureOptions, Unwatched, capture
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report
    from nwscan.api.counting import CountedCard, HostCount, TapRate
    from nwscan.worker.messages import Progress

TOP_SCHEMA: Final = "nwscan.top/1"

_PEEK_FRAMES: Final = 200_000
"""A look at a guest's talkers ends after this many frames: it is to be short on the busiest tap, too."""

FOREIGN: Final = FrameClass.FOREIGN_UNICAST
_CLASSES: Final = (*TO_GUEST_CLASSES, FrameClass.FROM_GUEST)
"""What counting tells apart; what is malformed is in the class of its destination."""


def snapshot(interval_s: float, settings: Settings | None = None) -> tuple[tuple[TapRate, ...], HostCount, float]:
    """Count for so long; give the rates, most foreign frames first, the count at the end and the time that it took."""
    with HostCounting(settings) as counting:
        first = counting.read()
        end_s = time.monotonic() + interval_s
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(1.0, left_s))
            counting.look()
        last = counting.read()
    found = rates(first, last)
    return tuple(sorted(found, key=lambda rate: -rate.delivered[FOREIGN, 0])), last, last.at_s - first.at_s


class _Unwanted(Unwatched):
    """Ends a capture that nobody waits for any more."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self._is_wanted = is_wanted

    def progress(self, progress: Progress) -> None:  # noqa: ARG002 - only that it goes on matters
        if not self._is_wanted():
            raise HostError("nobody waits for this capture any more")


def talkers(
    card: GuestIdentity,
    seconds: float,
    settings: Settings | None = None,
    is_wanted: Callable[[], bool] = lambda: True,
) -> Report:
    """Capture on one card's tap for a moment and give the report; nothing of it is kept.

    Raises as ``measure.capture``, and HostError soon after it is not wanted any more.
    """
    with tempfile.TemporaryDirectory(prefix="nwscan-") as folder:
        aside = replace(settings or Settings(), state=Path(folder))
        options = CaptureOptions(seconds, frames=_PEEK_FRAMES, keep_frames=False)
        (kept,) = capture([card], options, settings=aside, watcher=_Unwanted(is_wanted))
        return kept.report


def top_document(found: tuple[TapRate, ...], count: HostCount, interval_s: float) -> dict[str, Any]:
    """Give a snapshot as ``nwscan.top/1``: frames and octets a second; null for a tap that is not counted.

    ``interval_s`` is how long was counted really: a rate times it is the count.
    """
    taps = [{**_card(rate.card), **_rates(rate)} for rate in found]
    uncounted = [{**_card(card), "classes": None, "dropped_fps": None, "counted_by": None} for card in count.uncounted]
    trouble = None if count.trouble is None else count.trouble.what
    return {
        "schema": TOP_SCHEMA,
        "interval_s": interval_s,
        "trouble": trouble,
        "fallback": count.fallback,
        "taps": [*taps, *uncounted],
    }


def _card(card: CountedCard) -> dict[str, Any]:
    identity = card.identity
    return {
        "guest": identity.name,
        "uuid": identity.uuid,
        "card": identity.card,
        "mac": format_mac(identity.macs[0]) if identity.macs else None,
        "tap": identity.tap,
        "bridge": identity.bridge,
        "filter": card.filter,
    }


def _rates(rate: TapRate) -> dict[str, Any]:
    classes = {
        kind.key: {
            side: {"frames_per_s": float(values[kind, 0]), "octets_per_s": float(values[kind, 1])}
            for side, values in (("offered", rate.offered), ("delivered", rate.delivered))
        }
        for kind in _CLASSES
    }
    return {"classes": classes, "dropped_fps": rate.dropped_fps, "counted_by": str(rate.counted_by)}
