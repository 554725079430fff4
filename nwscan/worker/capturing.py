"""The worker's work on live taps: rings drained into reports, frames kept and written on the way."""

from __future__ import annotations

import math
import select
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from analyzer.capture.live import LiveSource, StopRules
from analyzer.capture.window_clock import WindowClock
from analyzer.errors import HostError
from analyzer.host.flow_counter import FlowTables
from analyzer.host.own_counter import OwnCounts
from analyzer.host.packet_socket import PacketRing, RingGeometry
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import BATCH_FRAMES, CaptureInterface
from analyzer.pipeline import Measurement
from analyzer.report.report import FramesFile
from analyzer.report.store import encode
from nwscan.worker.describing import describer
from nwscan.worker.messages import Ended, File, Measured, NeedFile, NewCard, NewTap, Progress, Started, Stop
from nwscan.worker.writing import FrameFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import RawFrames
    from analyzer.model.window import CaptureWindow
    from analyzer.report.sampling import Describe
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Capture, CardCapture

KEPT_SNAPLEN: Final = 128
"""Octets of each frame that are kept beside a report: all headers that a filter can look at."""

_TICK_S: Final = 0.1
"""How often a card is looked at that writes files or whose own frames the kernel counts: so late may a file follow."""
_REST_S: Final = 0.3
"""How often others are, and how long their frames gather after a turn unless a ring is filling.

To wake up costs as much as some ten thousand frames.
"""
_DRAIN_S: Final = 0.02
"""How often, once the window has ended and its last frames are awaited."""

_TURN_BATCHES: Final = 8
"""Batches of one tap before the next one has its turn: a flood on one must not starve the others' rings."""

_GATHER_STEPS: Final = 4
"""How often it is looked meanwhile, at the most, whether one is filling."""

_MAKE_ROOM: Final = "make room, or write elsewhere"
_MAKE_ROOM_TO_KEEP: Final = "make room, name another folder with --state, or keep no frames with --no-keep"


class _Tap:
    """One tap of a card, as long as it is there."""

    def __init__(self, source: LiveSource) -> None:
        self.source = source
        self.batches: Iterator[RawFrames] = source.batches()


class _Card:
    """One card being captured, on one tap after the other; takes its descriptors off the front of the list."""

    def __init__(
        self,
        number: int,
        wanted: CardCapture,
        descriptors: Iterator[int],
        stop: StopRules,
        link: Link,
        clock: WindowClock,
    ) -> None:
        self.wanted = wanted
        self._clock = clock
        self.taps: list[_Tap] = []
        self._number, self._link = number, link
        self._stop = stop
        self._deadline_s = None if stop.duration_s is None else time.monotonic() + stop.duration_s
        self._is_stopped = False
        self._windows: list[CaptureWindow] = []
        descriptor = next(descriptors)
        self._own = OwnCounts(next(descriptors)) if wanted.counts_own else None
        self.add_tap(wanted.tap, descriptor, _flow_tables(wanted, descriptors))
        self._kept = None
        if wanted.keep_path is not None:
            self._kept = FrameFiles(
                next(descriptors),
                wanted.identity,
                CaptureInterface(name=wanted.tap, snaplen=KEPT_SNAPLEN, filter=wanted.filter),
                name=wanted.keep_path,
                hint=_MAKE_ROOM_TO_KEEP,
                lost=self.lost,
                clock=clock,
                limit_octets=wanted.keep_octets,
            )
        self._written = None
        if wanted.write:
            self._written = FrameFiles(
                next(descriptors),
                wanted.identity,
                CaptureInterface(name=wanted.tap, snaplen=wanted.snaplen, filter=wanted.filter),
                name=wanted.write_name,
                hint=_MAKE_ROOM,
                lost=self.lost,
                clock=clock,
                rules=wanted.rotation,
                ask=None if wanted.rotation is None else self._next_file,
            )
        self._files = tuple(files for files in (self._kept, self._written) if files is not None)
        self.measurement = Measurement(
            wanted.identity,
            DirectionSource.PACKET_TYPE,
            consumers=self._files,
            counts_flows=lambda: not any(files.wants_frames for files in self._files),
        )

    def add_tap(self, tap: str, descriptor: int, flows: FlowTables | None) -> _Tap | None:
        """Go on, on a tap whose socket is handed over; gives None where the card's window has ended already."""
        wanted, sock = self.wanted, socket.socket(fileno=descriptor)
        if self._is_stopped or self._left_s() == 0 or self._left_frames() == 0:
            sock.close()
            return None
        ring = PacketRing(sock, RingGeometry(wanted.block_octets, wanted.blocks, wanted.retire_ms))
        is_first = not self.taps and not self._windows
        rules = self._stop if is_first else StopRules(self._left_s(), self._left_frames())
        source = LiveSource(ring, tap, wanted.snaplen, rules, idle_s=0.0, clock=self._clock, own=self._own, flows=flows)
        added = _Tap(source)
        self.taps.append(added)
        return added

    def turn(self, tap: _Tap) -> bool:
        """Measure what is ready on one tap and give False where its window has ended."""
        for _ in range(_TURN_BATCHES):
            raw = next(tap.batches, None)
            if raw is None:
                self._count_in_kernel(tap, is_last=True)
                self._windows.append(tap.source.window())
                self.taps.remove(tap)
                return False
            if len(raw) == 0:
                break
            self.measurement.add(raw)
            if len(raw) < BATCH_FRAMES // 2:  # what comes now gathers for the next turn
                break
        tap.source.let_go()
        self._count_in_kernel(tap)
        return True

    def _count_in_kernel(self, tap: _Tap, *, is_last: bool = False) -> None:
        """Count what the kernel has counted: plain frames by their flows, or the guest's own."""
        flows = tap.source.take_flows(is_last=is_last)
        if len(flows):
            self.measurement.count_flows(flows)
        if self._own is not None:
            ts_ns, own = tap.source.take_own()
            if own.any():
                self.measurement.count_unseen(ts_ns, own)

    @property
    def needs_ticks(self) -> bool:
        """Say whether something is due at this card also where nothing arrives."""
        return self._written is not None or self._own is not None

    def tick(self) -> bool:
        """Do what is due though nothing arrives, and give False where the card's window has ended."""
        if self._written is not None:
            self._written.tick()
            if self._written.ends_capture:
                self.stop()
        return bool(self.taps) or not (self._is_stopped or self._left_s() == 0 or self._left_frames() == 0)

    def stop(self) -> None:
        """End the card's window now."""
        self._is_stopped = True
        for tap in self.taps:
            tap.source.request_stop()

    def lost(self) -> int:
        """Give the frames that the kernel has dropped so far."""
        windows = (*self._windows, *(tap.source.window() for tap in self.taps))
        return sum(window.frames_lost or 0 for window in windows)

    def finish(self, describe: Describe) -> bytes:
        """Close the files and give the report as a document, its samples described by ``describe``."""
        windows = sorted(self._windows, key=lambda window: window.start_ns or 0)
        for files in self._files:
            files.finish(windows[0].start_ns if windows else None, windows[-1].end_ns if windows else None)
        kept, seen = None, sum(window.frames_seen for window in windows)
        if self._kept is not None and self._kept.is_headed and self.wanted.keep_path is not None:
            covers = self._kept.frames_written / seen if seen else 1.0
            kept = FramesFile(self.wanted.keep_path, self._kept.pcapng.sha256, covers)
        told = (self._clock.note(), *(files.note for files in self._files))
        notes = (*self.wanted.notes, *(note for note in told if note is not None))
        return encode(self.measurement.finish(tuple(windows), frames_file=kept, notes=notes, describe=describe))

    def _left_s(self) -> float | None:
        return None if self._deadline_s is None else max(0.0, self._deadline_s - time.monotonic())

    def _left_frames(self) -> int | None:
        if self._stop.frames is None or not (self.taps or self._windows):
            return self._stop.frames
        return max(0, self._stop.frames - self.measurement.frames)

    def _next_file(self, start_ns: int, by_time: bool) -> int:  # noqa: FBT001 - as AskForFile
        answer, descriptors = self._link.ask(NeedFile(self._number, start_ns, by_time), File)
        if answer.error is not None or not descriptors:
            raise HostError(answer.error or "there is no file to go on with", self.wanted.write_name)
        return descriptors[0]


class _Capturing:
    """All cards of a request, and who of them has something ready."""

    def __init__(self, request: Capture, descriptors: list[int], link: Link) -> None:
        self._stop = StopRules(request.duration_s, request.frames)
        self._link, self._clock = link, WindowClock()
        self._poller = select.poll()
        self._poller.register(link, select.POLLIN)
        self._cards: list[_Card] = []
        self._by_descriptor: dict[int, tuple[_Card, _Tap]] = {}
        self._waits_for_cards = request.more
        self._is_stopped = False
        self._look_s = 0.0
        self._end_s = None if request.duration_s is None else time.monotonic() + request.duration_s
        pending = iter(descriptors)
        for wanted in request.cards:
            self._add(wanted, pending, self._stop)

    def run(self) -> Measured:
        """Capture until every card's window has ended."""
        self._link.tell(Started())
        running, turned_s = self._cards, 0.0
        while running or self._may_come():
            left_s = max(0.0, self._look_s - time.monotonic())
            ready = {descriptor for descriptor, _ in self._poller.poll(math.ceil(left_s * 1000))}
            self._gather(ready, turned_s)
            turned_s = time.monotonic()
            if turned_s >= self._look_s:  # stop rules, and taps that are gone or have nothing
                self._look_s = self._next_look_s(turned_s)
                ready |= set(self._by_descriptor)
            for descriptor in ready & self._by_descriptor.keys():
                card, tap = self._by_descriptor[descriptor]
                if not card.turn(tap):
                    self._drop(descriptor, tap)
            self._link.tell_progress(self._progress)
            self._hear()
            running = [card for card in self._cards if card.tick()]
        self._link.tell(Ended())
        heads = [head for card in self._cards for head in card.measurement.sample_heads()]
        texts = dict(zip(heads, describer(self._link)(heads), strict=True))  # asked for all cards at once
        return Measured(tuple(card.finish(lambda some: [texts[head] for head in some]) for card in self._cards))

    def _gather(self, ready: set[int], turned_s: float) -> None:
        """Let frames gather since the last turn, as far as there is room for them."""
        sources = [self._by_descriptor[descriptor][1].source for descriptor in ready & self._by_descriptor.keys()]
        if not sources:
            return
        step_s = min(source.half_s for source in sources)
        until_s = min(turned_s + _REST_S, turned_s + _GATHER_STEPS * step_s, self._look_s)
        while (left_s := until_s - time.monotonic()) > 0 and not any(source.is_filling() for source in sources):
            if select.select([self._link], [], [], min(left_s, step_s))[0]:
                break

    def _next_look_s(self, now_s: float) -> float:
        """Give when all taps are looked at next, whatever arrives: at the end of the window at the latest."""
        if self._is_stopped or (self._end_s is not None and now_s >= self._end_s):
            return now_s + _DRAIN_S
        next_s = now_s + (_TICK_S if any(card.needs_ticks for card in self._cards) else _REST_S)
        return next_s if self._end_s is None else min(next_s, self._end_s)

    def _may_come(self) -> bool:
        """Say whether a card that is not here yet may still be measured."""
        return (
            self._waits_for_cards
            and not self._is_stopped
            and self._stop.frames is None
            and (self._end_s is None or time.monotonic() < self._end_s)
        )

    def _hear(self) -> None:
        """Do what the parent says."""
        for request, descriptors in self._link.incoming():
            match request:
                case Stop():
                    self._is_stopped, self._look_s = True, 0.0
                    for card in self._cards:
                        card.stop()
                case NewTap():
                    card = self._cards[request.card]
                    pending = iter(descriptors)
                    added = card.add_tap(request.tap, next(pending), _flow_tables(request, pending))
                    if added is not None:
                        self._register(card, added)
                case NewCard():
                    left_s = None if self._end_s is None else max(0.001, self._end_s - time.monotonic())
                    self._add(request.card, iter(descriptors), replace(self._stop, duration_s=left_s))
                case _:
                    raise ConnectionResetError

    def _add(self, wanted: CardCapture, descriptors: Iterator[int], stop: StopRules) -> None:
        card = _Card(len(self._cards), wanted, descriptors, stop, self._link, self._clock)
        self._cards.append(card)
        if self._is_stopped:
            card.stop()
        for tap in card.taps:
            self._register(card, tap)

    def _register(self, card: _Card, tap: _Tap) -> None:
        self._poller.register(tap.source, select.POLLIN)
        self._by_descriptor[tap.source.fileno()] = card, tap

    def _drop(self, descriptor: int, tap: _Tap) -> None:
        self._poller.unregister(descriptor)
        del self._by_descriptor[descriptor]
        tap.source.close()

    def _progress(self) -> Progress:
        counts = [card.measurement.class_frames() for card in self._cards]
        frames = sum(card.measurement.frames for card in self._cards)
        return Progress(frames, tuple(map(sum, zip(*counts, strict=True))), sum(card.lost() for card in self._cards))


def _flow_tables(wanted: CardCapture | NewTap, descriptors: Iterator[int]) -> FlowTables | None:
    """Map the tables that the kernel counts plain frames of a tap into, where it does; takes their descriptor."""
    return FlowTables(next(descriptors), wanted.flow_slots) if wanted.flow_slots else None


def capture(request: Capture, descriptors: list[int], link: Link) -> Measured:
    """Capture on every card of the request until its stop rule holds or a Stop comes.

    A card whose tap goes is waited for: it may get another one.
    """
    return _Capturing(request, descriptors, link).run()
