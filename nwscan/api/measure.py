"""Measure: capture on taps, analyze files. Opens and writes; frames are read by the worker alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import format_mac
from analyzer.report.store import from_document
from nwscan import kept
from nwscan.api.inputs import expand, open_files
from nwscan.config import DEFAULT_SNAPLEN, KEEP_DAYS, Settings, default_duration_s
from nwscan.worker import parent
from nwscan.worker.messages import Analyze, Candidate, Candidates, Measured, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report
    from nwscan.api.ring_files import Rotation


_CANDIDATES_SHOWN: Final = 10
_OPEN_AT_ONCE: Final = 256
"""Files that are open at a time; a process may usually have 1,024."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How to capture. ``duration_s`` None means until interrupted (or ``frames``); octets unless the name says else."""

    duration_s: float | None = field(default_factory=default_duration_s)
    frames: int | None = None
    snaplen: int = DEFAULT_SNAPLEN
    bpf: str | None = None
    write: Path | None = None
    keep_frames: bool = True
    keep_days: float = KEEP_DAYS
    rotation: Rotation | None = None
    """Files one after the other behind ``write``; None for one file (``-`` is standard output)."""
    everything: bool = False
    """Cards that get a tap during the capture are captured, too."""
    unrelated: bool = False
    """What is the guest's own is counted in the kernel and not copied."""


class Watcher(Protocol):
    """Who is told how a measurement goes."""

    def started(self) -> None:
        """Every source is open and counting."""

    def ended(self) -> None:
        """Every window has ended; what is left is to make the reports."""

    def progress(self, progress: Progress) -> None:
        """How far it is."""


class Unwatched:
    """Nobody is told."""

    def started(self) -> None:
        """Ignore it."""

    def ended(self) -> None:
        """Ignore it."""

    def progress(self, progress: Progress) -> None:
        """Ignore it."""


def capture(
    cards: Sequence[GuestIdentity],
    options: CaptureOptions | None = None,
    *,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> tuple[kept.KeptReport, ...]:
    """Capture on the tap of each card and give the reports in the same order, kept in the state folder.

    A card that gets another tap meanwhile is followed to it. With ``options.everything`` the reports of cards that
    came during the capture follow. Raises HostError where a tap is not there or capturing is not permitted, UsageError
    for a bad BPF expression. A report that cannot be kept says so, and is given nevertheless.
    """
    from nwscan.api.taps import Taps

    options, settings, watcher = options or CaptureOptions(), settings or Settings(), watcher or Unwatched()
    if options.write is not None and len(cards) > 1:
        names = ", ".join(str(card.tap) for card in cards)
        raise UsageError("one file holds the frames of one card", f"-w {options.write} for {names}", "name one card")
    _check_unrelated(options)
    kept.expire(settings.reports, options.keep_days)
    with Taps(options, settings) as taps:
        request, descriptors = taps.open(cards)
        reply = parent.run(
            request,
            descriptors,
            on_handed_over=taps.let_go,
            on_started=watcher.started,
            on_ended=watcher.ended,
            on_progress=watcher.progress,
            attend=taps.attend,
            stop_on_interrupt=True,
        )
        if not isinstance(reply, Measured):
            raise TypeError(reply)
        return tuple(kept.keep(*pair) for pair in zip(taps.folders, reply.reports, strict=False))


def _check_unrelated(options: CaptureOptions) -> None:
    """Refuse what the kernel's filter for what is unrelated excludes."""
    if options.unrelated and options.bpf:
        raise UsageError(
            "--unrelated is a filter itself", f"the BPF expression {options.bpf!r}", "leave out one of them"
        )
    if options.unrelated and options.frames is not None:
        what = "-c counts frames one by one, which --unrelated leaves to the kernel"
        raise UsageError(what, f"-c {options.frames}", "end by -a duration:SECONDS")


def analyze(
    paths: Sequence[str],
    identity: GuestIdentity | None = None,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    threads: int = 2,
    is_part: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Measure capture files into one report.

    ``captured_on`` says whose view the files' direction flags take (``tap`` or ``guest``); ``threads`` (1 or 2) share
    the work. Raises UsageError with the candidates where nobody knows whose traffic it is, InputError where a file is
    no capture, or none has Ethernet frames (with ``is_part`` that is for whoever merges the parts: ``has_ethernet``).
    """
    watcher = watcher or Unwatched()
    files = expand(paths)
    parts = [files[at : at + _OPEN_AT_ONCE] for at in range(0, len(files), _OPEN_AT_ONCE)]
    options = Analyze((), identity, captured_on, threads, is_part or len(parts) > 1)
    report = _analyze(parts[0], options, guess=guess, watcher=watcher)
    for part in parts[1:]:
        report = report.merge(_analyze(part, options, guess=guess, watcher=watcher))
    return report if is_part else has_ethernet(report, paths)


def has_ethernet(report: Report, paths: Sequence[str]) -> Report:
    """Give a report merged of parts. Raises InputError where every file of them was left out."""
    if not report.windows:
        raise InputError("no Ethernet frames in any of these captures", ", ".join(paths), "capture on the guest's tap")
    return report


def _analyze(files: Sequence[str], options: Analyze, *, guess: bool, watcher: Watcher) -> Report:
    with ExitStack() as stack:
        names, descriptors = open_files(files, stack)
        request = msgspec.structs.replace(options, names=names)
        reply = parent.run(request, descriptors, on_handed_over=stack.close, on_progress=watcher.progress)
    if isinstance(reply, Candidates):
        chosen = guessed(reply.candidates) if guess else None
        if chosen is None or "-" in files:
            raise unknown_guest(reply.candidates, ", ".join(names), guess=guess)
        return _analyze(files, msgspec.structs.replace(options, identity=chosen), guess=False, watcher=watcher)
    if not isinstance(reply, Measured):
        raise TypeError(reply)
    return from_document(reply.reports[0])


def guessed(candidates: tuple[Candidate, ...]) -> GuestIdentity | None:
    """Give the one MAC that both sends and receives, if there is exactly one."""
    from analyzer.model.identity import GuestIdentity, Provenance

    both = [candidate.mac for candidate in candidates if candidate.sent and candidate.received]
    return GuestIdentity((both[0],), Provenance.GUESS) if len(both) == 1 else None


def unknown_guest(candidates: tuple[Candidate, ...], where: str, *, guess: bool) -> UsageError:
    """Give the error for frames of nobody known, with those whose they could be."""
    shown = [
        f"{format_mac(one.mac)} (sent {one.sent}, received {one.received})" for one in candidates[:_CANDIDATES_SHOWN]
    ]
    more = len(candidates) - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    told = "no MAC, or more than one, both sends and receives" if guess else "nobody said whose traffic this is"
    return UsageError(
        f"{told}; unicast MACs in the capture: {listed or 'none'}", where, "name the guest's card with --mac"
    )
