"""The worker's capture files: written through, one after the other, until the disk is full.

A file is known by its descriptor; later ones are asked for, since the worker opens nothing. What cannot be written
ends the writing with one note, never the measurement.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import numpy as np

from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.capture.rotation import FileProgress, RotationRules
from analyzer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture.window_clock import WindowClock
    from analyzer.model.frames import U8, CaptureInterface, FrameBatch
    from analyzer.model.identity import GuestIdentity

    AskForFile = Callable[[int, bool], int]
    """Gives the descriptor of the file that begins at a time (ns); the flag says that time ended the one before."""

_GRACE_NS: Final = 250_000_000
"""How long after its end a file waits for frames of its time that are still in the ring."""


class FrameFiles:
    """A consumer that writes what it is shown to a capture file, or to one after the other.

    Every batch is handed to the kernel at once, so that a file can be followed. ``lost`` gives the frames that the
    kernel has dropped so far. ``ends_capture`` says that the rules, or whoever read the pipe, want no more;
    ``is_headed`` that ``pcapng``, the writer of the file that is open or was the last, is there.
    """

    def __init__(
        self,
        descriptor: int,
        identity: GuestIdentity,
        interface: CaptureInterface,
        *,
        name: str,
        hint: str,
        lost: Callable[[], int],
        clock: WindowClock,
        limit_octets: int | None = None,
        rules: RotationRules | None = None,
        ask: AskForFile | None = None,
    ) -> None:
        self.note: str | None = None
        self.files = 0
        self.ends_capture = False
        self.is_headed = False
        self._is_over = False
        self._frames_before = 0
        self._identity, self._interface = identity, interface
        self._name, self._hint = name, hint
        self._lost, self._lost_before = lost, lost()
        self._clock = clock
        self._limit_octets = limit_octets
        self._rules, self._ask = rules or RotationRules(), ask
        with self._noted():
            self._open(descriptor, self._clock.now_ns())

    @property
    def frames_written(self) -> int:
        """How many frames are in the files, those that are gone again among them."""
        return self._frames_before + (self.pcapng.frames_written if self.is_headed else 0)

    @property
    def wants_frames(self) -> bool:
        """Say whether a frame that comes now is written."""
        return not self._is_over and not (self.is_headed and self.pcapng.full)

    def _open(self, descriptor: int, start_ns: int) -> None:
        self._file = cast("BinaryIO", os.fdopen(descriptor, "wb", buffering=0))
        self._start_ns = start_ns
        self.files += 1
        interface = self._interface
        self.pcapng = PcapngWriter(
            self._file, interface, self._identity, snaplen=interface.snaplen, limit_octets=self._limit_octets
        )
        self.is_headed = True
        self._progress = FileProgress(self._rules, start_ns, self.pcapng.octets)

    def add(self, batch: FrameBatch, classes: U8) -> None:
        """Write one batch, into as many files as its frames belong to."""
        if self._is_over:
            return
        raw, row = batch.raw, 0
        sizes = self.pcapng.sizes(raw) if self._rules.octets is not None else raw.ts_ns
        with self._noted():
            while row < len(raw) and not self._is_over:
                ts_ns = int(raw.ts_ns[row])
                if self._progress.is_past(ts_ns):
                    self._next(ts_ns, by_time=True)
                    continue
                if self._progress.is_full():
                    self._next(ts_ns, by_time=False)
                    continue
                end = row + self._progress.fitting(raw.ts_ns[row:], sizes[row:])
                mask = np.zeros(len(raw), np.bool_)
                mask[row:end] = True
                self.pcapng.write(raw, classes, mask)
                self._progress.octets, self._progress.frames = self.pcapng.octets, self._progress.frames + end - row
                row = end

    def tick(self) -> None:
        """Begin the next file where it is time to, though no frame comes."""
        now_ns = self._clock.now_ns()
        if not self._is_over and self._progress.is_past(now_ns - _GRACE_NS):
            with self._noted():
                self._next(now_ns, by_time=True)

    def finish(self, start_ns: int | None, end_ns: int | None) -> None:
        """End the last file; the window's start is of the first one alone."""
        if self._is_over:
            return
        with self._noted():
            self._finish(start_ns if self.files == 1 and start_ns is not None else self._start_ns, end_ns)
        self._is_over = True

    def _next(self, now_ns: int, *, by_time: bool) -> None:
        """End this file and begin the next: there is one, or the capture ends."""
        progress = self._progress
        start_ns = progress.next_start_ns(now_ns) if by_time else now_ns
        self._finish(self._start_ns, start_ns)
        if self._ask is None or (self._rules.last is not None and self.files >= self._rules.last):
            self._is_over = self.ends_capture = True
            return
        self._frames_before += self.pcapng.frames_written
        self.is_headed = False
        self._open(self._ask(start_ns, by_time), start_ns)
        if not by_time and not self._rules.restarts:
            self._progress.start_ns = progress.start_ns

    def _finish(self, start_ns: int, end_ns: int | None) -> None:
        lost = self._lost()
        window_ns = None if end_ns is None else (start_ns, max(start_ns, end_ns))
        self.pcapng.finish(lost - self._lost_before, window_ns)
        self._lost_before = lost
        self._file.close()

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """Turn what cannot be written into a note, and leave a file that holds whole blocks only."""
        try:
            yield
        except HostError as error:
            self._is_over = True
            self.ends_capture = isinstance(error.__cause__, BrokenPipeError)
            hint = f"; {self._hint}" if self._hint else ""
            self.note = f"Writing {self._name} ended after {self.frames_written} frames: {error.what}{hint}."
            with contextlib.suppress(OSError, ValueError):
                os.ftruncate(self._file.fileno(), self.pcapng.octets if self.is_headed else 0)
            with contextlib.suppress(OSError):
                self._file.close()
