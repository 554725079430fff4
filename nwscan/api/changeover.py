"""What passed while a change was made: counted on both sides of the filter, from its first step to its last.

libvirt takes the old rules of a card away before it puts the new ones in, so frames that no filter should let pass do
so for a moment. How many did is told, and whether anything of the guest's own was lost.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from analyzer.errors import NwscanError
from analyzer.host.meter import Meter
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.host.meter import MeterReading
    from analyzer.model.identity import GuestIdentity


@dataclass(frozen=True, slots=True)
class Passed:
    """Frames of one card while a change was made, offered to its filter and delivered behind it."""

    duration_s: float
    foreign: tuple[int, int]
    own: tuple[int, int]


class Changeover:
    """Counts on the taps of ``cards`` from entering it to leaving it; ``passed`` then has each tap's frames.

    A change must not fail because it cannot be counted: ``obstacle`` says why where it was not.
    """

    def __init__(self, cards: Sequence[GuestIdentity]) -> None:
        self._meter = Meter({card.tap: card.macs for card in cards if card.tap})
        self._start_s = 0.0
        self.passed: dict[str, Passed] = {}
        self.obstacle: str | None = None

    def __enter__(self) -> Self:
        try:
            self._meter.open()
        except NwscanError as error:
            self.obstacle = error.what
        self._start_s = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.obstacle is None:
                seconds = time.monotonic() - self._start_s
                self.passed = {tap: _passed(reading, seconds) for tap, reading in self._meter.read().items()}
        except NwscanError as error:
            self.obstacle = error.what
        finally:
            self._meter.close()


def _passed(reading: MeterReading, duration_s: float) -> Passed:
    foreign, own = (
        (int(reading.offered[row, 0]), int(reading.delivered[row, 0]))
        for row in (FrameClass.FOREIGN_UNICAST, FrameClass.UNICAST_TO_GUEST)
    )
    return Passed(duration_s, foreign, own)


def passed_document(passed: Passed) -> dict[str, Any]:
    """Give it as the key ``while_applying`` of ``nwscan.verdict/1``."""
    return {
        "duration_s": round(passed.duration_s, 3),
        "foreign": {"offered": passed.foreign[0], "delivered": passed.foreign[1]},
        "own": {"offered": passed.own[0], "delivered": passed.own[1]},
    }


def passed_sentence(passed: Passed) -> str:
    """Say for people what passed."""
    lost = passed.own[0] - passed.own[1]
    own = f"all {passed.own[0]:,} of its own were delivered" if lost <= 0 else f"{lost:,} of its own were dropped"
    return (
        f"While it was put in ({passed.duration_s:.1f} s), {passed.foreign[1]:,} of {passed.foreign[0]:,} frames of "
        f"foreign unicast came through, and {own}."
    )
