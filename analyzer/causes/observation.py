"""What was observed around a window: the report, the looks at the bridge, who spoke from which port, who is who.

Values and questions to them. What must not be here: the kernel (nwscan.api.explaining asks it) and any decision
(rules.py).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analyzer.host.bridge import BridgeState, FdbEntry, PortState
    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report


AGE_STEP_S: Final = 1.0
"""bridge(8) tells ages in whole seconds, rounded down: an entry is less than a second older than it says."""


@dataclass(frozen=True, slots=True)
class Look:
    """The bridge at one moment: settings, port flags and FDB, read one after the other.

    ``at_ns`` is the clock just before the FDB was read, which took ``took_ns``.
    """

    at_ns: int
    bridge: BridgeState
    ports: tuple[PortState, ...]
    fdb: tuple[FdbEntry, ...]
    took_ns: int = 0

    def entries(self, mac: int) -> tuple[FdbEntry, ...]:
        """Give the entries of one address (several on a bridge that knows VLANs)."""
        return tuple(entry for entry in self.fdb if entry.mac == mac)

    def port(self, name: str) -> PortState | None:
        """Give a port by its name."""
        return next((port for port in self.ports if port.name == name), None)


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a decision may rest on.

    ``looks`` are in order of time, the first from before the window, the last from behind it; at least one.
    ``speakers`` are the (source MAC, port) pairs of all that came into the bridge meanwhile, None where nobody
    listened. ``cards`` are the cards of all running guests that libvirt knows on this bridge. ``received`` counts what
    each port ever received. ``metered_foreign`` is what the meter saw of foreign unicast on its way to the tap behind
    the filter, ``offered_foreign`` ahead of it; None where it did not count. ``network`` is libvirt's, where the
    card is of one.
    """

    identity: GuestIdentity
    report: Report
    looks: tuple[Look, ...]
    speakers: frozenset[tuple[int, str]] | None = None
    cards: tuple[GuestIdentity, ...] = ()
    received: Mapping[str, int] | None = None
    metered_foreign: int | None = None
    offered_foreign: int | None = None
    network: str | None = None

    @property
    def tap(self) -> str:
        """The tap that is explained."""
        return self.identity.tap or ""

    @property
    def bridge(self) -> BridgeState:
        """The bridge as it was last seen."""
        return self.looks[-1].bridge

    @property
    def foreign(self) -> tuple[int, int]:
        """Frames and octets of foreign unicast in the window."""
        return self.report.class_counts[FrameClass.FOREIGN_UNICAST]

    @property
    def bypassed(self) -> int | None:
        """Captured foreign frames that did not come through the bridge's forwarding, at the least.

        The meter counts from before the capture until after it, so it misses none that the bridge forwarded; but a
        super-frame that the kernel segments for the tap counts once there. None where it did not count.
        """
        return None if self.metered_foreign is None else max(self.foreign[0] - self.metered_foreign, 0)

    def ports_of(self, mac: int) -> tuple[str, ...]:
        """Give the ports from which an address spoke in the window: heard, or by the age of its FDB entries."""
        heard = {port for speaker, port in self.speakers or () if speaker == mac}
        start_ns = self.looks[0].at_ns + self.looks[0].took_ns
        for look in self.looks[1:]:
            for entry in look.entries(mac):
                is_new = entry.age_s is not None and entry.age_s + AGE_STEP_S < (look.at_ns - start_ns) / 1e9
                if entry.state == "dynamic" and is_new:
                    heard.add(entry.port)
        return tuple(sorted(heard))

    def owner_of(self, mac: int) -> GuestIdentity | None:
        """Give the running guest on this bridge whose card has the address, by libvirt; never the one explained."""
        others = (card for card in self.cards if card.tap != self.identity.tap)
        return next((card for card in others if mac in card.macs), None)

    def guest_at(self, port: str) -> GuestIdentity | None:
        """Give the guest whose tap the port is."""
        return next((card for card in self.cards if card.tap == port), None)

    def at_s(self, at_ns: int) -> float:
        """Give a time as seconds since the window began."""
        starts = [window.start_ns for window in self.report.windows if window.start_ns is not None]
        return (at_ns - (min(starts) if starts else self.looks[0].at_ns)) / 1e9


@dataclass(frozen=True, slots=True)
class Destination:
    """One address that foreign unicast went to. Times in ns; ``sources`` are who sent it, most frames first."""

    mac: int
    frames: int
    octets: int
    first_ns: int
    last_ns: int
    sources: tuple[int, ...]


def destinations(observation: Observation) -> tuple[Destination, ...]:
    """Give the destinations of the report's foreign unicast, most frames first."""
    by_mac = defaultdict(list)
    for entry in observation.report.talkers.by_size():
        by_mac[entry.second].append(entry)
    found = [
        Destination(
            mac,
            sum(entry.frames for entry in entries),
            sum(entry.octets for entry in entries),
            min(entry.first_ns for entry in entries),
            max(entry.last_ns for entry in entries),
            tuple(entry.first for entry in entries),
        )
        for mac, entries in by_mac.items()
    ]
    return tuple(sorted(found, key=lambda each: (-each.frames, each.mac)))


def ports_at(entries: Iterable[FdbEntry]) -> frozenset[str]:
    """Give the ports that entries name."""
    return frozenset(entry.port for entry in entries)
