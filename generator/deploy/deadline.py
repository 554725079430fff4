"""Until when a change waits to be confirmed: a time of the boot's own clock, and what that is for people.

Values only; the clock is handed in. After a reboot the clock counts anew, so nobody can say how much time is left:
whoever did not confirm before it is too late.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from analyzer.host.boot_clock import Clock


class Deadline(msgspec.Struct, frozen=True):
    """``boottime_ns`` on the clock of the boot ``boot_id``; ``at``, the time of day (UTC), is for people alone."""

    boot_id: str
    boottime_ns: int
    at: str

    def left_s(self, clock: Clock) -> float | None:
        """Give the seconds that are left, negative once it has passed; None where another boot set it."""
        if self.boot_id != clock.boot_id:
            return None
        return (self.boottime_ns - clock.now_ns()) / 1e9

    def has_passed(self, clock: Clock) -> bool:
        """Say whether it is too late to confirm."""
        left_s = self.left_s(clock)
        return left_s is None or left_s <= 0


def deadline_in(seconds: float, clock: Clock) -> Deadline:
    """Give the deadline that is so far away from now."""
    ahead_ns = int(seconds * 1e9)
    at = datetime.fromtimestamp((clock.wall_ns() + ahead_ns) / 1e9, UTC)
    return Deadline(clock.boot_id, clock.now_ns() + ahead_ns, at.strftime("%Y-%m-%dT%H:%M:%SZ"))
