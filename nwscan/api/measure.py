"""Measure: capture on taps, analyze files. Opens and writes; frames are read by the worker alone."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from analyzer.errors import InputError, UsageError
from analyzer.model.addresses import format_mac
from analyzer.report.store import from_document
from nwscan import kept
from nwscan.config import DEFAULT_SNAPLEN, KEEP_DAYS, KEEP_OCTETS, Settings, default_duration_s
from nwscan.worker import parent
from nwscan.worker.messages import Analyze, Candidate, Candidates, Capture, CardCapture, Measured, Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report


_CANDIDATES_SHOWN: Final = 10
_STDIN_NAME: Final = "standard input"


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


class Watcher(Protocol):
    """Who is told how a measurement goes."""

    def started(self) -> None:
        """Every source is open and counting."""

    def progress(self, progress: Progress) -> None:
        """How far it is."""


class Unwatched:
    """Nobody is told."""

    def started(self) -> None:
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

    Raises HostError where a tap is not there or capturing is not permitted, UsageError for a bad BPF expression.
    """
    options, settings, watcher = options or CaptureOptions(), settings or Settings(), watcher or Unwatched()
    if options.write is not None and len(cards) > 1:
        names = ", ".join(str(card.tap) for card in cards)
        raise UsageError("one file holds the frames of one card", f"-w {options.write} for {names}", "name one card")
    kept.expire(settings.reports, options.keep_days)
    with ExitStack() as stack:
        folders: list[Path] = []
        stack.callback(_remove_empty, folders)
        wanted, descriptors = [], []
        for card in cards:
            folders.append(kept.new_window_folder(settings.reports, card))
            request, some = _open_card(card, folders[-1], options, stack)
            wanted.append(request)
            descriptors += some
        reply = parent.run(
            Capture(tuple(wanted), options.duration_s, options.frames),
            descriptors,
            on_started=watcher.started,
            on_progress=watcher.progress,
            stop_on_interrupt=True,
        )
        if not isinstance(reply, Measured):
            raise TypeError(reply)
        paths = [kept.save(folder, document) for folder, document in zip(folders, reply.reports, strict=True)]
    return tuple(
        kept.KeptReport(path, from_document(document)) for path, document in zip(paths, reply.reports, strict=True)
    )


def _open_card(
    card: GuestIdentity, folder: Path, options: CaptureOptions, stack: ExitStack
) -> tuple[CardCapture, list[int]]:
    """Open what the capture of one card needs; everything is closed again with ``stack``."""
    from analyzer.capture.bpf import accept_all, compile_bpf
    from analyzer.host.packet_socket import RingGeometry, open_packet_socket

    if card.tap is None:
        raise UsageError(f"{card.label} has no tap", hint="start the guest, or name a tap")
    geometry = RingGeometry()
    bpf = compile_bpf(options.bpf, options.snaplen, card.tap) if options.bpf else accept_all(options.snaplen)
    sock = stack.enter_context(open_packet_socket(card.tap, snaplen=options.snaplen, ring=geometry, bpf=bpf))
    descriptors = [sock.fileno()]
    keep = folder / kept.FRAMES_NAME if options.keep_frames else None
    for path, replace in ((keep, False), (options.write, True)):
        if path is not None:
            descriptor = kept.create_private(path, replace=replace)
            stack.callback(os.close, descriptor)
            descriptors.append(descriptor)
    request = CardCapture(
        card,
        card.tap,
        options.snaplen,
        geometry.block_octets,
        geometry.blocks,
        geometry.retire_ms,
        keep_path=str(keep) if keep else None,
        keep_octets=KEEP_OCTETS,
        write=options.write is not None,
        filter=options.bpf,
    )
    return request, descriptors


def _remove_empty(folders: Sequence[Path]) -> None:
    """Leave no window folder behind that holds no report."""
    for folder in folders:
        if not (folder / kept.REPORT_NAME).exists():
            (folder / kept.FRAMES_NAME).unlink(missing_ok=True)
            folder.rmdir()


def open_inputs(paths: Sequence[str], stack: ExitStack) -> tuple[tuple[str, ...], list[int]]:
    """Open files, the captures in folders (by name, not deeper) and ``-``; gives names and descriptors.

    Raises InputError for the first one that cannot be opened.
    """
    names: list[str] = []
    descriptors: list[int] = []
    for path in _expand(paths):
        if path == "-":
            descriptor = _standard_input(twice=_STDIN_NAME in names)
            name = _STDIN_NAME
        else:
            descriptor, name = _open_input(path), os.fsencode(path).decode(errors="backslashreplace")
            stack.callback(os.close, descriptor)
        names.append(name)
        descriptors.append(descriptor)
    return tuple(names), descriptors


def _standard_input(*, twice: bool) -> int:
    if twice:
        raise UsageError("standard input can be read once", "-", "name it once")
    if sys.stdin is None:
        raise InputError("standard input is closed", "-", "pipe a capture into it, or name a file")
    return sys.stdin.fileno()


def _open_input(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"cannot open the capture: {error.strerror}", path, "name a pcap or pcapng file") from error


def _expand(paths: Sequence[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        if path != "-" and Path(path).is_dir():
            inside = sorted(str(file) for file in Path(path).iterdir() if file.is_file() and ".pcap" in file.name)
            if not inside:
                raise InputError(
                    "no captures in this folder", path, "captures are named *.pcap or *.pcapng, also .gz and .zst"
                )
            found += inside
        else:
            found.append(path)
    return found


def analyze(
    paths: Sequence[str],
    identity: GuestIdentity | None = None,
    *,
    captured_on: str | None = None,
    guess: bool = False,
    watcher: Watcher | None = None,
) -> Report:
    """Measure capture files into one report.

    ``captured_on`` says whose view the files' direction flags take (``tap`` or ``guest``). Raises UsageError with the
    candidates where nobody knows whose traffic it is, InputError where a file is no capture of Ethernet frames.
    """
    watcher = watcher or Unwatched()
    with ExitStack() as stack:
        names, descriptors = open_inputs(paths, stack)
        request = Analyze(names, identity, captured_on)
        reply = parent.run(request, descriptors, on_progress=watcher.progress)
        if isinstance(reply, Candidates):
            chosen = guessed(reply.candidates) if guess else None
            if chosen is None or "-" in paths:
                raise unknown_guest(reply.candidates, ", ".join(names), guess=guess)
            return analyze(paths, chosen, captured_on=captured_on, watcher=watcher)
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
