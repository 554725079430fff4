"""A counter of the tests' own on guests' taps, to compare with: by packet type and destination MAC and nothing else."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from tests.lab import kernel_calls
from tests.lab.frames import BROADCAST, mac_octets

if TYPE_CHECKING:
    from tests.lab.lab import Lab

IDLE_S = 0.4
"""How long nothing comes before what was sent counts as arrived."""
_SO_RCVBUFFORCE, _ETH_P_ALL = 33, 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_OUTGOING = 4
_RECEIVE_OCTETS = 64 << 20


class FrameCounter:
    """Counts while the with block runs; ``taps`` are the guests' MACs by tap."""

    def __init__(self, lab: Lab, taps: dict[str, str]) -> None:
        self._macs = {tap: mac_octets(mac) for tap, mac in taps.items()}
        self._doors = kernel_calls.call_in_network(lab.network, self._open)
        self._counts: dict[str, Counter[str]] = {tap: Counter() for tap in taps}
        self._last_s = time.monotonic()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._read, name="counting on taps")

    def _open(self) -> dict[socket.socket, str]:
        doors = {}
        for tap in self._macs:
            door = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            door.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_OCTETS)
            door.bind((tap, _ETH_P_ALL))
            doors[door] = tap
        return doors

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        for door in self._doors:
            door.close()

    def _read(self) -> None:
        while not self._ends.is_set():
            for door in select.select(list(self._doors), [], [], 0.1)[0]:
                tap = self._doors[door]
                octets, (_, _, kind, *_) = door.recvfrom(16)
                self._counts[tap][self._class_of(tap, octets, kind)] += 1
                self._last_s = time.monotonic()

    def _class_of(self, tap: str, octets: bytes, kind: int) -> str:
        target = octets[:6]
        if kind != _OUTGOING:
            return "from_guest"
        if target == mac_octets(BROADCAST):
            return "broadcast"
        if target[0] & 1:
            return "multicast"
        return "unicast_to_guest" if target == self._macs[tap] else "foreign_unicast"

    def settled(self, timeout_s: float = 30.0) -> dict[str, Counter[str]]:
        """What was counted, as soon as nothing more comes."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() - self._last_s < IDLE_S:
            assert time.monotonic() < end_s, "the taps do not become quiet"
            time.sleep(0.02)
        for door in self._doors:
            lost = int.from_bytes(door.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)[4:8], sys.byteorder)
            assert lost == 0, f"the counter itself lost {lost} frames"
        return self.counted()

    def counted(self) -> dict[str, Counter[str]]:
        """What was counted by now."""
        return {tap: Counter(counts) for tap, counts in self._counts.items()}
