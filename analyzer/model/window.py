"""When and how a capture was taken: what a figure covers, and what it does not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class CaptureWindow:
    """One stretch of capturing, live or one file.

    Times are nanoseconds since the epoch, None where nothing was seen and nothing is known. ``frames_lost`` is what the
    kernel dropped, None where it cannot be known (most files). ``snaplen`` 0 means no limit. ``stopped_early`` says why
    reading ended before the end of the input, with the offset; None for a clean end.
    """

    source: str
    start_ns: int | None
    end_ns: int | None
    frames_seen: int
    frames_lost: int | None
    snaplen: int
    stopped_early: str | None = None

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds; 0 where its ends are not known."""
        if self.start_ns is None or self.end_ns is None:
            return 0.0
        return (self.end_ns - self.start_ns) / 1e9
