"""What a capture needs of the host: sockets on taps, folders and files, opened here and handed to the worker."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.identity import Provenance, trusted_numbers
from nwscan import kept
from nwscan.api import identify
from nwscan.api.ring_files import STANDARD_OUTPUT, RingFiles, standard_output
from nwscan.api.tap_watch import TapWatch
from nwscan.config import KEEP_OCTETS
from nwscan.worker.messages import Capture, CardCapture, NeedFile, NewCard, NewTap

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from analyzer.host.own_counter import OwnFilter
    from analyzer.host.packet_socket import RingGeometry
    from analyzer.model.identity import GuestIdentity
    from nwscan.api.measure import CaptureOptions
    from nwscan.config import Settings
    from nwscan.worker.messages import Progress
    from nwscan.worker.parent import Worker

_RINGS_OCTETS: Final = 256 << 20
"""Kernel memory of all rings together at the most, as long as each has its least."""
_RINGS_SHARE: Final = 64
"""They take no more than this part of the machine's memory: 64 MiB of 4 GiB."""
_RING_OCTETS: Final = 2 << 20, 64 << 20
_LARGE_BLOCK_OCTETS: Final = 1 << 19
_SMALL_BLOCK_OCTETS: Final = 1 << 17
_RETIRE_MS: Final = 50, 80
"""How long a block waits to be filled, for few taps and for many: many are emptied less often, and more at once.

Slow traffic takes a block each time, full or not: 64 of them last more than 3 s in which the worker gets no processor.
"""
_FEW_TAPS: Final = 8
_FLOW_SLOTS: Final = 2048, 256
"""What each of a tap's two tables of flows holds, for few taps and for many: 256 KiB and 32 KiB a tap."""
_MOST_COUNTED: Final = 256
"""Taps beyond have no tables: a process may usually have 1,024 descriptors, and each takes one."""


def geometry_for(taps: int) -> RingGeometry:
    """Give the ring of each of so many taps, by the machine's memory: 64 MiB for a few, never less than 2 MiB."""
    from analyzer.host.packet_socket import RingGeometry

    least, most = _RING_OCTETS
    memory_octets = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    octets = min(most, max(least, min(_RINGS_OCTETS, memory_octets // _RINGS_SHARE) // max(1, taps)))
    is_few = taps <= _FEW_TAPS
    block = _LARGE_BLOCK_OCTETS if is_few else _SMALL_BLOCK_OCTETS
    return RingGeometry(block, octets // block, _RETIRE_MS[0] if is_few else _RETIRE_MS[1])


class Taps:
    """The cards of one capture, what is open for them, and what comes and goes meanwhile."""

    def __init__(self, options: CaptureOptions, settings: Settings) -> None:
        self.folders: list[Path] = []
        self._options, self._settings = options, settings
        self._stack, self._handed = ExitStack(), ExitStack()
        self._requests: list[CardCapture] = []
        self._own: list[OwnFilter] = []
        self._ring: RingFiles | None = None
        self._watch: TapWatch | None = None

    def __enter__(self) -> Self:
        self._stack.callback(_remove_empty, self.folders)
        return self

    def __exit__(self, *_: object) -> None:
        self._handed.close()
        self._stack.close()

    def open(self, cards: Sequence[GuestIdentity]) -> tuple[Capture, list[int]]:
        """Open what the capture of these cards needs; it is closed again at the end of the with block."""
        descriptors: list[int] = []
        for card in cards:
            descriptors += self._open_card(card, geometry_for(len(cards)), self._handed)
        everything = self._options.everything
        self._watch = TapWatch(cards, self._lookup, everything=everything)
        return Capture(tuple(self._requests), self._options.duration_s, self._options.frames, everything), descriptors

    def let_go(self) -> None:
        """Close what the worker has got by now: from here on nobody else has a socket on a tap, or a capture file."""
        self._handed.close()

    def attend(self, worker: Worker, told: Progress | NeedFile) -> None:
        """Answer what the worker needs, and hand it the taps that are new."""
        if isinstance(told, NeedFile):
            if self._ring is not None:
                self._ring.answer(worker, told)
            return
        for place, card in self._watch.changes() if self._watch is not None else ():
            try:
                if place is None:
                    self._add(worker, card)
                else:
                    self._follow(worker, place, card)
            except NwscanError:  # it went away again
                continue

    def _lookup(self) -> Iterable[GuestIdentity]:
        return (card.identity for card in identify.all_cards(self._settings, running=True))

    def _add(self, worker: Worker, card: GuestIdentity) -> None:
        cards, folders = len(self._requests), len(self.folders)
        try:
            with ExitStack() as stack:
                descriptors = self._open_card(card, geometry_for(cards + 1), stack)
                worker.send(NewCard(self._requests[-1]), descriptors)
        except NwscanError:
            _remove_empty(self.folders[folders:])
            del self.folders[folders:], self._requests[cards:]
            raise

    def _follow(self, worker: Worker, place: int, card: GuestIdentity) -> None:
        from analyzer.host.packet_socket import RingGeometry

        wanted = self._requests[place]
        geometry = RingGeometry(wanted.block_octets, wanted.blocks, wanted.retire_ms)
        with ExitStack() as stack:
            sock = stack.enter_context(self._open_socket(card, geometry))
            if self._own:
                self._own[place].attach(sock)
            slots, tables = self._count_flows(card, sock, stack)
            worker.send(NewTap(place, card.tap or "", slots), [sock.fileno(), *tables])

    def _open_socket(self, card: GuestIdentity, geometry: RingGeometry) -> socket.socket:
        from analyzer.capture.bpf import accept_all, compile_bpf
        from analyzer.host.packet_socket import open_packet_socket

        if card.tap is None:
            raise UsageError(f"{card.label} has no tap", hint="start the guest, or name a tap")
        bpf, snaplen = self._options.bpf, self._options.snaplen
        program = compile_bpf(bpf, snaplen, card.tap) if bpf else accept_all(snaplen)
        return open_packet_socket(card.tap, snaplen=snaplen, ring=geometry, bpf=program)

    def _open_card(self, card: GuestIdentity, geometry: RingGeometry, stack: ExitStack) -> list[int]:
        options = self._options
        sock = stack.enter_context(self._open_socket(card, geometry))
        slots, tables = self._count_flows(card, sock, stack)
        descriptors = [sock.fileno(), *self._leave_out_own(card, sock), *tables]
        self.folders.append(kept.new_window_folder(self._settings.reports, card))
        keep = self.folders[-1] / kept.FRAMES_NAME if options.keep_frames else None
        files = [] if keep is None else [kept.create_private(keep)]
        for descriptor in files:
            stack.callback(os.close, descriptor)
        descriptors += files
        is_written = options.write is not None and not self._requests
        if is_written:
            written = self._open_written()
            stack.callback(os.close, written)
            descriptors.append(written)
        request = CardCapture(
            card,
            card.tap or "",
            options.snaplen,
            geometry.block_octets,
            geometry.blocks,
            geometry.retire_ms,
            keep_path=str(keep) if keep else None,
            keep_octets=KEEP_OCTETS,
            write=is_written,
            write_name=f"-w {options.write}",
            rotation=options.rotation.rules if options.rotation is not None else None,
            filter=options.bpf,
            notes=(*_notes(card), *((_UNRELATED_NOTE,) if options.unrelated else ())),
            counts_own=options.unrelated,
            flow_slots=slots,
        )
        self._requests.append(request)
        return descriptors

    def _count_flows(self, card: GuestIdentity, sock: socket.socket, stack: ExitStack) -> tuple[int, list[int]]:
        """Where nobody wants the frames themselves, have the kernel count plain ones if it can.

        Gives the slots of a table, 0 where all frames go into the ring, and the descriptor that the worker is to have.
        """
        from analyzer.host.flow_counter import FlowFilter

        options = self._options
        if options.keep_frames or options.write or options.frames is not None or options.bpf or options.unrelated:
            return 0, []
        if len(self._requests) >= _MOST_COUNTED:
            return 0, []
        slots = _FLOW_SLOTS[len(self._requests) >= _FEW_TAPS]
        judges_addresses = any(trusted_numbers(card))
        try:
            flows = FlowFilter(
                card.macs, options.snaplen, f"tap {card.tap}", slots=slots, judges_addresses=judges_addresses
            )
            stack.callback(flows.close)
            flows.attach(sock)
        except HostError:  # without CAP_BPF, on an older kernel, with more MACs: the ring gives the same report
            return 0, []
        return slots, [flows.tables]

    def _leave_out_own(self, card: GuestIdentity, sock: socket.socket) -> list[int]:
        """Where that is wanted, have the kernel count what is the guest's own and not copy it; gives the counts."""
        from analyzer.host.own_counter import OwnFilter

        if not self._options.unrelated:
            return []
        where = f"tap {card.tap}"
        if card.source is Provenance.GUESS:
            what = "what is unrelated cannot be told: nobody knows the guest's MAC"
            raise UsageError(what, where, "name it with --mac, or start libvirt")
        own = OwnFilter(card.macs, self._options.snaplen, where)
        self._stack.callback(own.close)
        own.attach(sock)
        del self._own[len(self._requests) :]  # of a card that could not be added
        self._own.append(own)
        return [own.counts]

    def _open_written(self) -> int:
        path, rotation = self._options.write, self._options.rotation
        if path is None:
            raise HostError("there is no file to write to", "-w")
        if path == STANDARD_OUTPUT:
            return standard_output()
        if rotation is None:
            return kept.create_private(path, replace=True)
        self._ring = RingFiles(path, rotation)
        return self._ring.open_next(time.time_ns(), by_time=True)


_UNRELATED_NOTE: Final = (
    "What is unicast to the guest, and what it sent, was counted in the kernel and not looked at (--unrelated)."
)


def _notes(card: GuestIdentity) -> tuple[str, ...]:
    if card.source is not Provenance.GUESS:
        return ()
    mac = format_mac(card.macs[0])
    return (f"libvirt does not answer: the MAC {mac} is a guess from the address of {card.tap}; name it with --mac.",)


def _remove_empty(folders: Sequence[Path]) -> None:
    """Leave no window folder behind that holds no report."""
    for folder in folders:
        if not (folder / kept.REPORT_NAME).exists():
            (folder / kept.FRAMES_NAME).unlink(missing_ok=True)
            folder.rmdir()
