"""Prove: measure on both sides of the filter in one window, and judge it against the window before it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analyzer.capture.window_clock import WindowClock
from analyzer.compare import judge, window_counts
from analyzer.compare.agreement import agreements
from analyzer.errors import NwscanError
from analyzer.host.meter import Meter
from analyzer.model.classes import FrameClass
from generator.deploy.journal import Journal
from generator.evaluate.fields import Verdict as Decision
from generator.suggest.profiles import THINNED
from nwscan import kept
from nwscan.api import replaying
from nwscan.api.identify import cards_of
from nwscan.api.measure import CaptureOptions, Unwatched, Watcher, capture
from nwscan.api.probing import Probing
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from analyzer.compare import Comparison
    from analyzer.compare.agreement import Agreement
    from analyzer.host.meter import MeterReading
    from analyzer.host.probe import ProbeResult
    from analyzer.model.identity import GuestIdentity
    from generator.deploy.journal_record import JournalRecord
    from generator.evaluate.prediction import Counts
    from nwscan.api.changeover import Passed
    from nwscan.worker.messages import Progress


@dataclass(frozen=True, slots=True)
class Verification:
    """A judgement and the windows that it rests on; ``before`` None where there is none.

    ``probe`` is what became of frames of our own in the window, None where none were sent; ``passed`` what went to the
    card while the change was made, None where none was or nobody counted.
    """

    identity: GuestIdentity
    before: kept.KeptReport | None
    after: kept.KeptReport
    comparison: Comparison
    probe: ProbeResult | None = None
    passed: Passed | None = None

    @property
    def agreement(self) -> tuple[Agreement, ...] | None:
        """What capture and meter say of the same window, class by class; None where there was no meter."""
        metered = self.after.meter
        if metered is None:
            return None
        delivered = metered.delivered.copy()
        if self.probe is not None:  # what came through the filter was dropped before the tap
            delivered[FrameClass.FOREIGN_UNICAST, 0] -= self.probe.foreign_total.delivered
            delivered[FrameClass.UNICAST_TO_GUEST, 0] -= self.probe.own.delivered
            delivered[FrameClass.BROADCAST, 0] -= self.probe.broadcast.delivered
        return agreements(window_counts(self.after.report), delivered, self.after.metered_ns)


def capture_metered(
    cards: Sequence[GuestIdentity],
    options: CaptureOptions | None = None,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> tuple[kept.KeptReport, ...]:
    """Capture on the cards' taps while the meter counts ahead of the filter and behind it; its counts are kept, too.

    The meter's window is the capture's, but for the moment that it takes to say that one has begun or ended.
    """
    settings = settings or Settings()
    with Meter({card.tap or "": card.macs for card in cards}) as meter:
        metered = _Metered(meter, watcher or Unwatched())
        reports = capture(cards, options, settings=settings, watcher=metered)
        readings, read_ns = metered.readings(), metered.read_ns
    return tuple(
        kept.add_meter(report, readings[card.tap or ""], read_ns) for card, report in zip(cards, reports, strict=True)
    )


class _Metered:
    """Reads the meter when the windows begin and end, and tells the watcher all the same."""

    def __init__(self, meter: Meter, watcher: Watcher) -> None:
        self._meter = meter
        self._watcher = watcher
        self._first = meter.read()
        self._last: dict[str, MeterReading] | None = None
        self._clock = WindowClock()
        self.read_ns = (self._clock.now_ns(), self._clock.now_ns())

    def started(self) -> None:
        self._first = self._meter.read()
        self._clock = WindowClock()
        self.read_ns = (self._clock.now_ns(), self._clock.now_ns())
        self._watcher.started()

    def ended(self) -> None:
        self._last = self._meter.read()
        self.read_ns = (self.read_ns[0], self._clock.now_ns())
        self._watcher.ended()

    def progress(self, progress: Progress) -> None:
        self._watcher.progress(progress)

    def readings(self) -> dict[str, MeterReading]:
        """Give what was counted in between, by tap."""
        last = self._last or self._meter.read()
        return {tap: last[tap].since(first) for tap, first in self._first.items()}


def verify(
    target: str,
    options: CaptureOptions | None = None,
    *,
    before: Path | None = None,
    probe: bool = False,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> tuple[Verification, ...]:
    """Measure the cards of ``target`` again and judge each: offered and delivered, before and after.

    The window before is the report ``before``, else the last kept one from before nwscan attached its filter; there is
    none where it attached none. With ``probe`` frames of our own are offered to each filter in the window.
    """
    settings, watcher = settings or Settings(), watcher or Unwatched()
    identities = [card.identity for card in cards_of([target], settings)]
    earlier = [_baseline(identity, before, settings) for identity in identities]
    probes: tuple[ProbeResult | None, ...] = (None,) * len(identities)
    if probe:
        with Probing(identities, settings, watcher) as probing:
            later = capture_metered(identities, options, settings=settings, watcher=probing)
            probes = probing.results
    else:
        later = capture_metered(identities, options, settings=settings, watcher=watcher)
    return tuple(
        judged(identity, one, two, _profile(identity, settings), settings, probe=sent)
        for identity, one, two, sent in zip(identities, earlier, later, probes, strict=True)
    )


def judged(
    identity: GuestIdentity,
    before: kept.KeptReport | None,
    after: kept.KeptReport,
    profile: str,
    settings: Settings,
    *,
    probe: ProbeResult | None = None,
    passed: Passed | None = None,
) -> Verification:
    """Judge a window that was just measured, with the prediction beside it, and keep the verdict."""
    comparison = compare(before, after, profile, predicted_shares(identity.tap or identity.label, before, settings))
    kept.add_verdict(after, str(comparison.verdict))
    return Verification(identity, before, after, comparison, probe, passed)


def verify_reports(before: Path, after: Path) -> Verification:
    """Judge two reports on disk; without the meter's counts the most that it says is "consistent with an effect"."""
    one, two = (kept.KeptReport(path, kept.load(path)) for path in (before, after))
    return Verification(two.report.identity, one, two, compare(one, two))


def predicted_shares(guest: str, before: kept.KeptReport | None, settings: Settings) -> list[float | None] | None:
    """Give what the filter that is on a card now would have dropped of each class of the kept frames before it.

    None where no frames are kept, or nobody can tell what the filter does.
    """
    if before is None or before.frames_path is None:
        return None
    try:
        choice = replaying.choose(None, guest=guest, settings=settings)
        prediction = replaying.replay([str(before.frames_path)], choice).prediction
    except NwscanError:  # no filter, one that is not complete, frames that are gone: then there is no prediction
        return None
    return [_dropped_share(row) for row in prediction.counts]


def _dropped_share(row: Sequence[Counts]) -> float | None:
    frames = sum(cell.frames for cell in row)
    return row[Decision.DROP].frames / frames if frames else None


def compare(
    before: kept.KeptReport | None,
    after: kept.KeptReport,
    profile: str = "mac",
    predicted: Sequence[float | None] | None = None,
) -> Comparison:
    """Judge two kept windows; the meter's counts beside them are used where they are there.

    What the ``profile`` of the filter drops on purpose is no harm. ``predicted`` is shown beside what was measured.
    """
    metered, baseline = after.meter, before.meter if before else None
    return judge(
        window_counts(before.report) if before else None,
        window_counts(after.report),
        metered.offered if metered else None,
        metered.delivered if metered else None,
        baseline=(baseline.offered, baseline.delivered) if baseline else None,
        predicted=predicted,
        thinned=THINNED.get(profile, frozenset()),
    )


def attached(identity: GuestIdentity, settings: Settings) -> JournalRecord | None:
    """Give the oldest change of this guest that is in force: the one that attached our filter."""
    records = Journal(settings.journal).in_force(identity.uuid) if identity.uuid else ()
    return records[-1] if records else None


def changed_at_ns(identity: GuestIdentity, settings: Settings) -> int:
    """Give when nwscan last changed this guest or undid a change, in ns since the epoch; 0 where it never did."""
    records = Journal(settings.journal).read().records
    return max((record.touched_at_ns for record in records if record.plan.guest == identity.uuid), default=0)


def _profile(identity: GuestIdentity, settings: Settings) -> str:
    """Give the profile of what was applied to this guest last, else ``mac``: by that all else is guarded."""
    records = Journal(settings.journal).in_force(identity.uuid) if identity.uuid else ()
    return records[0].plan.profile if records else "mac"


def _baseline(identity: GuestIdentity, named: Path | None, settings: Settings) -> kept.KeptReport | None:
    if named is not None:
        return kept.KeptReport(named, kept.load(named))
    record = attached(identity, settings)
    return None if record is None else kept.latest(settings.reports, identity, before_ns=record.begun_at_ns)
