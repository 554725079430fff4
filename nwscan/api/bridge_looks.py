"""Look at the bridges of the cards that are measured: around a window, and while it goes on."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.causes.observation import Look, Observation
from analyzer.errors import HostError
from analyzer.host import bridge as bridges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.host.guests import GuestCard
    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report
    from nwscan.api.measure import Watcher
    from nwscan.worker.messages import Progress

LOOK_EVERY_S: Final = 1.0
"""Time between looks at a bridge; longer where a look takes long: at most a tenth of the time is spent on looking."""

_BUSY_SHARE: Final = 0.1
_LOOKS_KEPT: Final = 600
"""Looks at the most; beyond, every second one is dropped and they are taken half as often."""


class LookingWatcher:
    """Looks at the bridges when the capture starts and while it goes on, and tells another watcher what it is told."""

    def __init__(self, names: Sequence[str], watcher: Watcher) -> None:
        self._watcher = watcher
        self._every_s = LOOK_EVERY_S
        self._due_s = 0.0
        self.looks: dict[str, list[Look]] = {name: [] for name in names}

    def look(self) -> None:
        """Look at each bridge now. Raises HostError where one is not there."""
        begun_s = time.monotonic()
        for name, looks in self.looks.items():
            looks.append(look_at(name))
            if len(looks) > _LOOKS_KEPT:
                looks[:] = looks[::2]
                self._every_s *= 2
        now_s = time.monotonic()
        self._due_s = now_s + max(self._every_s, (now_s - begun_s) / _BUSY_SHARE)

    def started(self) -> None:
        """Tell the other one."""
        self._watcher.started()

    def ended(self) -> None:
        """Pass it on."""
        self._watcher.ended()

    def progress(self, progress: Progress) -> None:
        """Look again where it is time to; a bridge that went away is no reason to end the capture."""
        self._watcher.progress(progress)
        if time.monotonic() >= self._due_s:
            with suppress(HostError):
                self.look()


def look_at(name: str) -> Look:
    """Look at a bridge: settings and ports first, then the FDB between two looks at the clock."""
    state, ports = bridges.bridge_state(name), bridges.ports(name)
    at_ns = time.time_ns()
    fdb = bridges.fdb(name)
    return Look(at_ns, state, ports, fdb, max(time.time_ns() - at_ns, 0))


class BridgeLooks:
    """Looks for who is no better off without them: a bridge that cannot be looked at is left out."""

    def __init__(self, cards: Sequence[GuestIdentity], watcher: Watcher) -> None:
        self._bridges: dict[str, str] = {}
        for card in cards:
            with suppress(HostError):
                name = bridges.bridge_of(card.tap or "")
                if name is not None:
                    self._bridges[card.tap or ""] = name
        self.watcher = LookingWatcher(list(dict.fromkeys(self._bridges.values())), watcher)

    def look(self) -> None:
        """Look at each bridge now."""
        with suppress(HostError):
            self.watcher.look()

    def seen(self, card: GuestCard, report: Report, everybody: Sequence[GuestIdentity]) -> Observation | None:
        """Give what was observed of a card's bridge; None where nothing was.

        Of a window that was over before the first look, one look says all there is to say: how the bridge is now.
        """
        name = self._bridges.get(card.identity.tap or "")
        looks = tuple(self.watcher.looks.get(name or "", ()))
        if name is None or not looks:
            return None
        starts_ns = [window.start_ns or 0 for window in report.windows]
        is_around = bool(starts_ns) and looks[0].at_ns <= min(starts_ns)
        ports = {port.name for port in looks[-1].ports}
        received: dict[str, int] = {}
        with suppress(HostError):
            received = bridges.received_frames(name)
        return Observation(
            identity=replace(card.identity, bridge=name),
            report=report,
            looks=looks if is_around else looks[-1:],
            cards=tuple(one for one in everybody if one.tap in ports),
            received=received,
            network=card.network,
        )
