"""A packet socket whose plain frames are counted by their flows in the kernel: the rest is copied into the ring.

The parent loads flow_counter.bpf.c, shipped with its object beside this file, and attaches it to the socket that it
opens (FlowFilter); the worker gets a descriptor, maps it, and reads flows without a call (FlowTables). The program
goes with the last of socket and parent, however they end. Kernels: 5.12 and newer on x86-64, where the instructions
that claim a slot came in; 5.18 on 64-bit ARM.
"""

from __future__ import annotations

import mmap
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.errors import HostError
from analyzer.host.libbpf import BpfObject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.frames import I64

SOURCE: Final = Path(__file__).with_name("flow_counter.bpf.c")
OBJECT: Final = "flow_counter.bpf.o"
PROGRAM: Final = "nwscan_flows"
MACS_MOST: Final = 8
EARLY_FRAMES: Final = 64
"""So many plain frames of each class go into the ring: what is kept of the earliest are the samples."""

_SO_ATTACH_BPF: Final = 50
_TAP: Final = np.dtype([
    ("macs", "<u8"), ("own", "<u8", MACS_MOST), ("snaplen", "<u8"), ("judges_addresses", "<u8"), ("early", "<u8"),
    ("slots", "<u8"), ("shift", "<u8"), ("seed", "<u8", 4),
])  # fmt: skip
_NO_LIMIT: Final = 262_144
_OFFSETS: Final = Path("/proc/self/timens_offsets")
_ROW: Final = 8
"""Values of a slot, of the control and of a CPU's row, each of 64 bits: struct slot, struct control, struct row."""
_CPUS: Final = 64
_FIRST_SLOT: Final = 1 + 2 * _CPUS
_FRAMES, _SECOND = 3, 7
_GATE, _END_NS, _OFFSET_NS = range(3)
_CLOSED: Final = 0
_BEING_WRITTEN: Final = 1
_NEVER_NS: Final = 2**63 - 1
_PATIENCE_S, _STEP_S = 1.0, 0.001
_NO_FLOWS: Final[I64] = np.zeros((0, _ROW), np.int64)


class FlowFilter:
    """The program for one tap: ``macs`` are the guest's, ``snaplen`` the octets kept of what is not counted (0: all).

    ``slots`` (a power of two, at most 16,384) is what one of its two tables holds; each takes 64 octets. Raises
    HostError where the kernel does not take the program, or where there are more MACs than it can tell.
    """

    def __init__(
        self,
        macs: Sequence[int],
        snaplen: int,
        where: str,
        *,
        slots: int,
        judges_addresses: bool = False,
        early_frames: int = EARLY_FRAMES,
        elf: bytes | None = None,
    ) -> None:
        if not 0 < len(macs) <= MACS_MOST:
            raise HostError(f"{len(macs)} MACs of the guest cannot be told in the kernel", where)
        if has_own_clock():
            raise HostError("the kernel counts by another clock than this time namespace's", where)
        self._where = where
        self._object = BpfObject(SOURCE.with_name(OBJECT).read_bytes() if elf is None else elf)
        try:
            self._object.open(shared=_FIRST_SLOT + 2 * slots)
            entry = np.zeros(1, _TAP)
            entry["macs"], entry["own"][0, : len(macs)] = len(macs), list(macs)
            entry["snaplen"], entry["early"] = snaplen or _NO_LIMIT, early_frames
            entry["judges_addresses"] = judges_addresses
            entry["slots"], entry["shift"] = slots, 65 - slots.bit_length()
            entry["seed"] = np.frombuffer(os.urandom(32), np.uint64)
            self._object.map("taps", _TAP.itemsize).put(0, entry.tobytes())
            self.tables = os.dup(self._object.map("shared", 8 * _ROW).descriptor)
        except (HostError, OSError) as error:
            self._object.close()
            raise HostError(f"the kernel cannot count frames: {error}", where) from error

    def attach(self, sock: socket.socket) -> None:
        """Have the program decide what a socket keeps, in place of the filter that it has: once, of one socket."""
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, self._object.program(PROGRAM))
        except OSError as error:
            raise HostError(f"the kernel cannot count frames: {error.strerror}", self._where) from error
        finally:
            self._object.close()

    def close(self) -> None:
        """Let go of it; a socket that has it keeps it."""
        self._object.close()
        os.close(self.tables)


def has_own_clock() -> bool:
    """Say whether CLOCK_MONOTONIC is another one here than in the kernel's programs: time_namespaces(7)."""
    try:
        lines = _OFFSETS.read_text(encoding="ascii").splitlines()
    except OSError:
        return False  # a kernel without time namespaces
    return any(line.startswith("monotonic") and line.split()[1:] != ["0", "0"] for line in lines)


class FlowTables:
    """What the program counts, by the descriptor that FlowFilter has for it, which is closed here.

    Nothing is counted before ``take`` is called for the first time. A table is let be written to, then left, then read
    and emptied, each in a call of its own: so each finds done what the one before did, in whatever order CPUs see it.
    """

    def __init__(self, descriptor: int, slots: int) -> None:
        self.lost = 0
        """Frames that began to be counted and were not seen to end, once ``take_last`` was called."""
        try:
            rows = _FIRST_SLOT + 2 * slots
            mapped = np.frombuffer(mmap.mmap(descriptor, rows * 8 * _ROW), np.int64).reshape(rows, _ROW)
        finally:
            os.close(descriptor)
        self._control: I64 = mapped[:_FIRST_SLOT]
        self._tables: I64 = mapped[_FIRST_SLOT:].reshape(2, slots, _ROW)
        self._done = [0, 0]
        self._open = 0
        self._is_begun = False
        self._is_retired_full = False
        self._is_ended = False

    def begin(self, offset_ns: int, end_ns: int | None) -> None:
        """Say what makes the time of the window of the monotonic clock's, and when it ends, if that is known."""
        self._control[0, _OFFSET_NS] = offset_ns
        self._control[0, _END_NS] = _NEVER_NS if end_ns is None else end_ns

    def end(self) -> None:
        """Have nothing more counted here, from now on, but of frames that are on their way: all goes into the ring."""
        self._is_ended = True
        self._control[0, _GATE] = _CLOSED

    def take(self) -> I64:
        """Do the next step, and give the flows of a table that was read: int64[n, 8], as flows.py has them.

        The eighth value is the second that all frames of the flow lie in, as the time at which it begins, in ns.
        """
        if self._is_ended:
            return _NO_FLOWS
        if not self._is_begun:
            self._is_begun = True
            self._control[0, _GATE] = 1 + self._open
        elif not self._is_retired_full:
            if self._begun(self._open):
                self._open = 1 - self._open
                self._is_retired_full = True
                self._control[0, _GATE] = 1 + self._open
        elif self._is_quiet(1 - self._open):
            self._is_retired_full = False
            return self._emptied(1 - self._open)
        return _NO_FLOWS

    def take_last(self) -> I64:
        """Give all flows that are left, some time after ``end``; waits for a frame that is still being counted."""
        give_up_s = time.monotonic() + _PATIENCE_S
        while not (self._is_quiet(0) and self._is_quiet(1)) and time.monotonic() < give_up_s:
            time.sleep(_STEP_S)
        self.lost += sum(self._begun(table) - self._counted(table) for table in (0, 1))
        return np.concatenate([self._emptied(table) for table in (0, 1)])

    def close(self) -> None:
        """Let go of the tables; what was given stays."""
        self._control, self._tables = np.zeros((_FIRST_SLOT, _ROW), np.int64), np.zeros((2, 0, _ROW), np.int64)

    def _is_quiet(self, table: int) -> bool:
        """Say that no frame is in a table any more whose gate has been closed for a while."""
        return self._begun(table) == self._counted(table)

    def _begun(self, table: int) -> int:
        return int(self._control[1 + table * _CPUS :][:_CPUS, 0].sum()) - self._done[table]

    def _counted(self, table: int) -> int:
        return int(self._tables[table, :, _FRAMES].sum())

    def _emptied(self, table: int) -> I64:
        slots = self._tables[table]
        used = np.flatnonzero(slots[:, _SECOND] > _BEING_WRITTEN)
        flows: I64 = slots[used]
        slots[used] = 0
        self._done[table] += int(flows[:, _FRAMES].sum())
        return flows
