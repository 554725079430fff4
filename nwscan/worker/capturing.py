"""The worker's work on live taps: rings drained into reports, frames kept and written on the way."""

from __future__ import annotations

import os
import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from analyzer.capture.live import LiveSource, StopRules
from analyzer.capture.pcapng_writer import PcapngWriter
from analyzer.errors import HostError
from analyzer.host.packet_socket import PacketRing, RingGeometry
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import CaptureInterface
from analyzer.pipeline import Measurement
from analyzer.report.report import FramesFile
from analyzer.report.store import encode
from nwscan.worker.messages import Measured, Progress, Started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import U8, FrameBatch
    from analyzer.model.window import CaptureWindow
    from nwscan.worker.child import Link
    from nwscan.worker.messages import Capture, CardCapture

KEPT_SNAPLEN: Final = 128
"""Octets of each frame that are kept beside a report: all headers that a filter can look at."""

_TICK_MS: Final = 50
"""How long the loop sleeps at the most while nothing arrives: bounds how late a stop rule acts."""

_TURN_BATCHES: Final = 64
"""Batches of one tap before the next one has its turn: a flood on one must not starve the others' rings."""

_MAKE_ROOM: Final = "make room, or write elsewhere"
_MAKE_ROOM_TO_KEEP: Final = "make room, name another folder with --state, or keep no frames with --no-keep"


class _FrameWriter:
    """A consumer that writes what it is shown to a capture file."""

    def __init__(
        self, wanted: CardCapture, descriptor: int, snaplen: int, limit_octets: int | None, name: str, hint: str
    ) -> None:
        self._name, self._hint = name, hint
        self._file = cast("BinaryIO", os.fdopen(descriptor, "wb"))
        interface = CaptureInterface(name=wanted.tap, snaplen=snaplen, filter=wanted.filter)
        self.pcapng = PcapngWriter(self._file, interface, wanted.identity, snaplen=snaplen, limit_octets=limit_octets)

    def add(self, batch: FrameBatch, classes: U8) -> None:
        with self._named():
            self.pcapng.write(batch.raw, classes)

    def finish(self, window: CaptureWindow) -> None:
        start_ns, end_ns = window.start_ns, window.end_ns
        with self._named():
            self.pcapng.finish(window.frames_lost, None if start_ns is None or end_ns is None else (start_ns, end_ns))
            self._file.flush()
            self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say in an error which file it is about: it is known by its descriptor alone."""
        try:
            yield
        except HostError as error:
            raise HostError(error.what, self._name, self._hint) from error


class _Card:
    """One card being captured; takes its descriptors off the front of the list."""

    def __init__(self, wanted: CardCapture, descriptors: Iterator[int], stop: StopRules) -> None:
        self.wanted = wanted
        geometry = RingGeometry(wanted.block_octets, wanted.blocks, wanted.retire_ms)
        ring = PacketRing(socket.socket(fileno=next(descriptors)), geometry)
        self.source = LiveSource(ring, wanted.tap, wanted.snaplen, stop, idle_s=0.0)
        self._batches = self.source.batches()
        self._kept = (
            None
            if wanted.keep_path is None
            else _FrameWriter(
                wanted, next(descriptors), KEPT_SNAPLEN, wanted.keep_octets, wanted.keep_path, _MAKE_ROOM_TO_KEEP
            )
        )
        self._written = (
            _FrameWriter(wanted, next(descriptors), wanted.snaplen, None, f"-w for {wanted.tap}", _MAKE_ROOM)
            if wanted.write
            else None
        )
        self._writers = tuple(writer for writer in (self._kept, self._written) if writer is not None)
        self.measurement = Measurement(wanted.identity, DirectionSource.PACKET_TYPE, consumers=self._writers)

    def turn(self) -> bool:
        """Measure what is ready and give False where the window has ended."""
        for _ in range(_TURN_BATCHES):
            raw = next(self._batches, None)
            if raw is None:
                return False
            if len(raw) == 0:
                return True
            self.measurement.add(raw)
        return True

    def finish(self) -> bytes:
        """Close the files and give the report as a document."""
        window = self.source.window()
        for writer in self._writers:
            writer.finish(window)
        kept = None
        if self._kept is not None and self.wanted.keep_path is not None:
            pcapng = self._kept.pcapng
            covers = pcapng.frames_written / window.frames_seen if window.frames_seen else 1.0
            kept = FramesFile(self.wanted.keep_path, pcapng.sha256, covers)
        self.source.close()
        return encode(self.measurement.finish((window,), frames_file=kept))


def capture(request: Capture, descriptors: list[int], link: Link) -> Measured:
    """Capture on every card of the request until its stop rule holds, a Stop comes, or its tap goes."""
    stop = StopRules(request.duration_s, request.frames)
    pending = iter(descriptors)
    cards = [_Card(wanted, pending, stop) for wanted in request.cards]
    poller = select.poll()
    poller.register(link, select.POLLIN)
    for card in cards:
        poller.register(card.source, select.POLLIN)
    link.tell(Started())
    running = list(cards)
    while running:
        poller.poll(_TICK_MS)
        for card in [card for card in running if not card.turn()]:
            poller.unregister(card.source)
            running.remove(card)
        if link.progress(lambda: _progress(cards)):
            for card in running:
                card.source.request_stop()
    return Measured(tuple(card.finish() for card in cards))


def _progress(cards: list[_Card]) -> Progress:
    per_class = [sum(counts) for counts in zip(*(card.measurement.class_frames() for card in cards), strict=True)]
    lost = sum(card.source.window().frames_lost or 0 for card in cards)
    return Progress(sum(card.measurement.frames for card in cards), tuple(per_class), lost)
