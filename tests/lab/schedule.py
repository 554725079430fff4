"""Schedules of traffic with ground truth, and the sender that works one off."""

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.lab import frames
from tests.lab.frames import Kind
from tests.lab.layout import GUESTS, HOSTS

BEHIND_HOSTB_IPV4, BEHIND_HOSTB_IPV6 = "203.0.113.9", "2001:db8:eeee::9"
MAX_FRAMES = 2_000_000
MAX_RATE_FPS = 50_000
_runs = itertools.count(int(time.time()) & 0xFFFFF)


@dataclass(frozen=True, slots=True)
class Schedule:
    """So many frames of each kind, evenly mixed, at a bounded rate. `run` tells its markers from other runs'.

    `own` frames go to the guest's MAC, `foreign` ones to hostb's, which the bridge has forgotten. `source` is the
    source MAC of all of them.
    """

    foreign: int = 0
    own: int = 0
    multicast: int = 0
    broadcast: int = 0
    guest: str = "vm1"
    rate_fps: float = 4000.0
    source: str = HOSTS["hosta"].mac
    foreign_mac: str = HOSTS["hostb"].mac
    run: int = field(default_factory=lambda: next(_runs))

    def __post_init__(self) -> None:
        """Keep the traffic within bounds."""
        if not (0 < self.total <= MAX_FRAMES and 0 < self.rate_fps <= MAX_RATE_FPS):
            raise ValueError(f"a schedule has 1 to {MAX_FRAMES} frames at up to {MAX_RATE_FPS} frames a second")

    @property
    def counts(self) -> dict[Kind, int]:
        """Frames by kind."""
        return {
            Kind.FOREIGN: self.foreign, Kind.OWN: self.own, Kind.MULTICAST: self.multicast,
            Kind.BROADCAST: self.broadcast,
        }  # fmt: skip

    @property
    def total(self) -> int:
        """Frames in all."""
        return sum(self.counts.values())

    def frames(self) -> Iterator[tuple[Kind, bytes]]:
        """The frames in the order in which they are sent; the same for the same schedule."""
        guest = GUESTS[self.guest]
        makers: dict[Kind, Iterator[frames.Payload]] = {
            Kind.FOREIGN: frames.unicast_frames(self.foreign_mac, self.source, BEHIND_HOSTB_IPV4, BEHIND_HOSTB_IPV6),
            Kind.OWN: frames.unicast_frames(guest.mac, self.source, guest.ipv4, guest.ipv6),
            Kind.MULTICAST: frames.multicast_frames(self.source),
            Kind.BROADCAST: frames.broadcast_frames(self.source),
        }
        numbers = dict.fromkeys(Kind, 0)
        for kind in evenly_mixed(self.counts):
            yield kind, next(makers[kind])(frames.marker(self.run, kind, numbers[kind]))
            numbers[kind] += 1


def evenly_mixed(counts: Mapping[Kind, int]) -> Iterator[Kind]:
    """Each kind as often as its count says, spread over the whole."""
    due = sorted(((number + 0.5) / count, kind) for kind, count in counts.items() for number in range(count))
    return (kind for _, kind in due)


@dataclass(frozen=True, slots=True)
class Truth:
    """What was really sent."""

    run: int
    frames: dict[Kind, int]
    octets: dict[Kind, int]


class Sending:
    """One schedule on its way through one socket."""

    def __init__(self, schedule: Schedule, door: socket.socket) -> None:
        self._schedule = schedule
        self._door = door
        self._stopped = threading.Event()
        self.begun = threading.Event()
        """Set once frames are on their way: those of a long schedule take a while to be drawn up."""
        self._frames: Counter[Kind] = Counter()
        self._octets: Counter[Kind] = Counter()

    def run(self) -> Truth:
        """Send all frames at the schedule's rate, or until stopped."""
        interval_s = 1.0 / self._schedule.rate_fps
        start = time.monotonic()
        with self._door:
            for number, (kind, frame) in enumerate(self._schedule.frames()):
                if number == 0:
                    start = time.monotonic()
                    self.begun.set()
                ahead_s = start + number * interval_s - time.monotonic()
                if self._stopped.is_set() or (ahead_s > 0.001 and self._stopped.wait(ahead_s)):
                    break
                self._send(frame)
                self._frames[kind] += 1
                self._octets[kind] += len(frame)
        return self.truth

    def _send(self, frame: bytes) -> None:
        while True:
            try:
                self._door.send(frame)
            except BlockingIOError:
                self._stopped.wait(0.001)
            else:
                return

    def stop(self) -> None:
        """End it after the frame on its way."""
        self._stopped.set()

    @property
    def truth(self) -> Truth:
        """What has been sent so far."""
        return Truth(
            self._schedule.run, *({kind: counts[kind] for kind in Kind} for counts in (self._frames, self._octets))
        )
