"""The clock of a live capture: the time of day at its start, carried on by a clock that nobody sets.

A window is as long as it took, its frames lie in it, and one rate can be compared with the next, also where somebody
or NTP sets the host's clock meanwhile. The kernel stamps frames by the time of day: stamps from behind such a step are
put back by it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from analyzer.model.frames import I64

STEP_NS: Final = 50_000_000
"""What is less is not taken for a step."""
_TRIES: Final = 5
_AT_ONCE_NS: Final = 1_000_000
"""Both clocks are read at once where no more passes meanwhile."""


class WindowClock:
    """Begins when it is made; ``step_ns`` is the furthest that the time of day was set since, 0 where it was not."""

    def __init__(self) -> None:
        self._start_ns, self._started_ns = _both_clocks_ns()
        self.step_ns = 0

    def now_ns(self) -> int:
        """Give the time, ns since the epoch by the clock of the start."""
        return time.monotonic_ns() + self.offset_ns

    @property
    def offset_ns(self) -> int:
        """What makes this time of CLOCK_MONOTONIC: one and the same throughout."""
        return self._start_ns - self._started_ns

    def carried(self, ts_ns: I64) -> I64:
        """Give times that the kernel stamped until now (int64[n], ns since the epoch) by the clock of the start.

        Each is taken as it is or put back by the step, whichever is nearer to now: frames are read soon.
        """
        step_ns = self._step_now_ns()
        if step_ns == 0:
            return ts_ns
        if abs(step_ns) > abs(self.step_ns):
            self.step_ns = step_ns
        put_back, now_ns = ts_ns - step_ns, self.now_ns()
        return np.where(np.abs(put_back - now_ns) < np.abs(ts_ns - now_ns), put_back, ts_ns)

    def note(self) -> str | None:
        """Say how far the time of day was set, None where it was not."""
        if self.step_ns == 0:
            return None
        seconds = f"{self.step_ns / 1e9:+,.1f}"
        return f"The host's clock was set by {seconds} s during the capture; times here are by the clock of its start."

    def _step_now_ns(self) -> int:
        day_ns, monotonic_ns = _both_clocks_ns()
        step_ns = day_ns - monotonic_ns - (self._start_ns - self._started_ns)
        return step_ns if abs(step_ns) > STEP_NS else 0


def _both_clocks_ns() -> tuple[int, int]:
    """Read the time of day and the monotonic clock at once: again where this process was kept waiting in between."""
    for _ in range(_TRIES):
        earlier_ns, day_ns, later_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if later_ns - earlier_ns < _AT_ONCE_NS:
            break
    return day_ns, later_ns
