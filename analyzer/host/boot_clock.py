"""The clock of this boot: it goes on while the host sleeps, and nobody can set it.

A wall clock that is stepped would end a wait too early or never. What it says is for people alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
"""random(4): the same until the next boot."""


class Clock(Protocol):
    """What whoever waits asks for the time; tests have one of their own."""

    @property
    def boot_id(self) -> str:
        """Name the boot that ``now_ns`` counts from."""

    def now_ns(self) -> int:
        """Give the time since the boot in ns, sleep included."""

    def wall_ns(self) -> int:
        """Give the time of day, in ns since the epoch."""


@dataclass(frozen=True, slots=True)
class BootClock:
    """The kernel's own, CLOCK_BOOTTIME."""

    boot_id: str

    def now_ns(self) -> int:
        """Give the time since the boot in ns, sleep included."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        """Give the time of day, in ns since the epoch."""
        return time.time_ns()


def boot_clock() -> BootClock:
    """Give the clock of this boot."""
    try:
        return BootClock(_BOOT_ID.read_text(encoding="ascii").strip())
    except OSError:  # no /proc: every boot is taken for the same one
        return BootClock("unknown")
