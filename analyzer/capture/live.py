"""A tap as a source of frames: from now until a stop rule holds.

What lives here: waiting, stop rules, and where the window begins and ends. What must not: opening sockets, decoding.
Called by the worker.
"""

from __future__ import annotations

import math
import select
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec.structs import replace

from analyzer.capture.window_clock import WindowClock
from analyzer.model.frame_columns import Columns
from analyzer.model.frames import CaptureInterface
from analyzer.model.window import CaptureWindow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.host.flow_counter import FlowTables
    from analyzer.host.own_counter import OwnCounts
    from analyzer.host.packet_socket import PacketRing
    from analyzer.model.frames import I64, RawFrames
    from analyzer.model.identity import GuestIdentity

IDLE_S: Final = 0.1
"""How long a tap may be silent before an empty batch says that the source is alive."""

_DRAIN_MARGIN_S: Final = 0.02
_NONE_OWN: Final[I64] = np.zeros((2, 3), np.int64)
_NO_FLOWS: Final[I64] = np.zeros((0, 8), np.int64)
_FLOW_FRAMES: Final = 3


@dataclass(frozen=True, slots=True)
class StopRules:
    """When to end by itself: after ``duration_s`` seconds, after ``frames`` frames; None for never."""

    duration_s: float | None = None
    frames: int | None = None


class LiveSource:
    """A FrameSource over a tap. The window begins when it is made; frames from before (and after its end) are left out.

    At the end it waits for the ring to hand over its last block, so that every frame of the window is there. A tap that
    goes away ends the window in good order, with the reason in ``stopped_early``. With ``idle_s`` 0 it never waits, for
    whoever serves several taps, which share a ``clock``.

    With ``own``, what is the guest's own is counted in the kernel and is in no batch: ``take_own`` gives it. The window
    then ends when it is read, up to a look later than it was to. With ``flows``, plain frames are counted by their
    flows in the kernel and are in no batch: ``take_flows`` gives them.
    """

    identity: GuestIdentity | None = None
    has_direction = True
    octets_total: int | None = None

    def __init__(
        self,
        ring: PacketRing,
        tap: str,
        snaplen: int,
        stop: StopRules,
        *,
        idle_s: float = IDLE_S,
        clock: WindowClock | None = None,
        own: OwnCounts | None = None,
        flows: FlowTables | None = None,
    ) -> None:
        self.name = tap
        self.interfaces = (CaptureInterface(name=tap, snaplen=snaplen),)
        self.octets_read = 0
        self._ring = ring
        self._snaplen = snaplen
        self._stop = stop
        self._idle_s = idle_s
        ring.discard()  # it may have run full since it was opened, and what it then loses is not of the window
        self._lost_before = ring.lost()
        self._started_s = time.monotonic()
        self._clock = clock or WindowClock()
        self._start_ns = self._clock.now_ns()
        self._own = own
        self._own_start = self._own_told = _NONE_OWN if own is None else own.read()
        self._own_end: I64 | None = None
        is_timed = stop.duration_s is not None and own is None
        self._end_ns = self._start_ns + int((stop.duration_s or 0) * 1e9) if is_timed else None
        self._flows = flows
        if flows is not None:
            flows.begin(self._clock.offset_ns, self._end_ns)
        self._ended_s: float | None = None
        self._stop_requested = False
        self._frames = 0
        self._last_ns: int | None = None
        self._lost: int | None = None
        self._stopped_early: str | None = None

    def fileno(self) -> int:
        """Give the descriptor that is readable when frames are ready, for whoever waits for several taps."""
        return self._ring.fileno()

    def batches(self) -> Iterator[RawFrames]:
        """Yield frames as they come, and an empty batch at least every ``idle_s`` (100 ms) when none do."""
        poll = select.poll()
        poll.register(self._ring.fileno(), select.POLLIN | select.POLLERR)
        while not self._is_over():
            is_idle = True
            for raw in self._ring.ready_batches():
                is_idle = False
                yield self._within(raw)
                if self._is_over():
                    break
            if is_idle:
                yield self._nothing()
                self._wait(poll)
        if self._stop.frames is None or self._frames < self._stop.frames:
            yield from self._drain(poll)

    def window(self) -> CaptureWindow:
        """Give the window; before batches() has ended its end is now."""
        is_over = self._ended_s is not None and self._end_ns is not None
        return CaptureWindow(
            source=self.name,
            start_ns=self._start_ns,
            end_ns=self._end_ns if is_over else self._clock.now_ns(),
            frames_seen=self._frames + int((self._own_now() - self._own_start)[:, 0].sum()),
            frames_lost=self._lost if self._lost is not None else self._ring.lost() - self._lost_before,
            snaplen=self._snaplen,
            stopped_early=self._stopped_early,
        )

    def request_stop(self) -> None:
        """End the window now: batches() yields what is still to come of it and ends. Safe in a signal handler."""
        if not self._stop_requested and self._ended_s is None:
            self._end_flows()
            self._end_ns = min(self._clock.now_ns(), self._end_ns) if self._end_ns is not None else self._clock.now_ns()
            self._own_end = self._own_now()
            self._stop_requested = True

    def take_own(self) -> tuple[int, I64]:
        """Give what was counted in the kernel since the last time, as OwnCounts has it, and until when (ns)."""
        now = self._own_now()
        since, self._own_told = now - self._own_told, now
        return self._end_ns if self._end_ns is not None else self._clock.now_ns(), since

    def take_flows(self, *, is_last: bool = False) -> I64:
        """Give flows that the kernel counted, as FlowTables has them; the last ones once batches() has ended."""
        if self._flows is None:
            return _NO_FLOWS
        flows = self._flows.take_last() if is_last else self._flows.take()
        self._frames += int(flows[:, _FLOW_FRAMES].sum())
        if is_last and self._lost is not None:
            self._lost += self._flows.lost
        return flows

    def let_go(self) -> None:
        """Give back the memory of the last batch, which holds no longer."""
        self._ring.give_back()

    @property
    def half_s(self) -> float:
        """How long half of its room lasts at the least, in seconds: whoever sleeps no longer loses nothing."""
        return self._ring.half_s

    def is_filling(self) -> bool:
        """Say whether so much waits to be read that it should be read now."""
        return self._ring.is_filling()

    def close(self) -> None:
        """Let go of the ring and its socket, and of what is counted in the kernel."""
        if self._flows is not None:
            self._flows.close()
        self._ring.close()

    def _is_over(self) -> bool:
        """Say whether the window has ended, and fix its end and its losses the first time that it has."""
        if self._ended_s is not None:
            return True
        elapsed_s = time.monotonic() - self._started_s
        duration_s, frames = self._stop.duration_s, self._stop.frames
        is_full = frames is not None and self._frames >= frames
        if not (self._stop_requested or is_full or (duration_s is not None and elapsed_s >= duration_s)):
            return False
        self._end(self._last_ns if is_full else self._end_ns)
        return True

    def _own_now(self) -> I64:
        """Give what is counted in the kernel: at the end of the window, once it has ended."""
        if self._own_end is not None or self._own is None:
            return self._own_start if self._own_end is None else self._own_end
        return self._own.read()

    def _end_flows(self) -> None:
        """Have all frames go into the ring again: what is counted came before now, which can be the window's end."""
        if self._flows is not None:
            self._flows.end()

    def _end(self, end_ns: int | None) -> None:
        self._end_flows()
        self._own_end = self._own_now()
        self._end_ns = end_ns if end_ns is not None else self._clock.now_ns()
        self._ended_s = time.monotonic()
        self._lost = self._ring.lost() - self._lost_before

    def _wait(self, poll: select.poll) -> None:
        timeout_s = self._idle_s
        if self._stop.duration_s is not None:
            timeout_s = min(timeout_s, self._started_s + self._stop.duration_s - time.monotonic())
        for _, events in poll.poll(max(0, math.ceil(timeout_s * 1000))):
            if events & select.POLLERR and self._ring.is_gone():
                self._stopped_early = f"{self.name} went away"
                self._end(None)

    def _drain(self, poll: select.poll) -> Iterator[RawFrames]:
        """Yield the rest of the window: the kernel hands over the last block within two retirement times."""
        deadline_s = (self._ended_s or 0.0) + 2 * self._ring.retire_s + _DRAIN_MARGIN_S
        while True:
            for raw in self._ring.ready_batches():
                is_behind = self._end_ns is not None and int(self._clock.carried(raw.ts_ns).min()) > self._end_ns
                yield self._within(raw)
                if is_behind and time.monotonic() >= deadline_s:
                    return
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return
            if self._idle_s == 0:
                yield self._nothing()
                continue
            if any(events & ~select.POLLIN for _, events in poll.poll(math.ceil(left_s * 1000))):
                time.sleep(self._ring.retire_s / 2)  # a tap that is gone or down wakes us at once

    def _within(self, raw: RawFrames) -> RawFrames:
        """Give the frames of ``raw`` that belong to the window, under the names of this source."""
        raw = replace(raw, interfaces=self.interfaces, ts_ns=self._clock.carried(raw.ts_ns))
        first, last = int(raw.ts_ns.min()), int(raw.ts_ns.max())
        is_late = self._end_ns is not None and last > self._end_ns
        if first < self._start_ns or is_late:
            end_ns = self._end_ns if self._end_ns is not None else last
            raw = raw.take(np.flatnonzero((raw.ts_ns >= self._start_ns) & (raw.ts_ns <= end_ns)))
        if self._stop.frames is not None and self._frames + len(raw) > self._stop.frames:
            raw = raw.take(slice(self._stop.frames - self._frames))
        self._frames += len(raw)
        if len(raw):
            self._last_ns = int(raw.ts_ns[-1])
        return raw

    def _nothing(self) -> RawFrames:
        return replace(_EMPTY, interfaces=self.interfaces)


_EMPTY: Final = Columns(has_directions=False, has_interfaces=False, has_tags=False, has_gso=False).batch(
    np.empty(0, np.uint8), 0, ()
)
