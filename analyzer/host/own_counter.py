"""A packet socket that keeps only what is unrelated to the guest: its own traffic is counted in the kernel, not copied.

The parent loads own_counter.bpf.c, shipped with its object beside this file, and attaches it to the socket that it
opens; the worker gets the counts as a descriptor, maps them and reads them without a call. The program goes with the
last of socket and parent, however they end. Kernels: 5.5 and newer, as far as this program goes.
"""

from __future__ import annotations

import mmap
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.errors import HostError, UsageError
from analyzer.host.libbpf import BpfObject
from analyzer.model.addresses import BROADCAST, is_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.frames import I64

SOURCE: Final = Path(__file__).with_name("own_counter.bpf.c")
OBJECT: Final = "own_counter.bpf.o"
MACS_MOST: Final = 8
PROGRAM: Final = "nwscan_unrelated"

_SO_ATTACH_BPF: Final = 50
_TAP: Final = np.dtype([("macs", "<u8"), ("own", "<u8", MACS_MOST), ("snaplen", "<u8")])
_CPUS: Final = 64
_KINDS: Final = 2
_ROW: Final = 8
"""Values of struct counts: frames, octets and segments of both kinds, and two without meaning."""
_OCTETS: Final = _CPUS * _ROW * 8
_NO_LIMIT: Final = 262_144


class OwnFilter:
    """The program for one card: ``macs`` are the guest's, ``snaplen`` the octets kept of the rest (0: all).

    Raises UsageError where the MACs are none that it can tell, HostError where the kernel does not take the program.
    """

    def __init__(self, macs: Sequence[int], snaplen: int, where: str, elf: bytes | None = None) -> None:
        wrong = [mac for mac in macs if not 0 <= mac <= BROADCAST or is_group(mac)]
        if wrong or not 0 < len(macs) <= MACS_MOST:
            what = f"not a card's MAC: {wrong[0]:#x}" if wrong else f"{len(macs)} MACs of the guest"
            raise UsageError(
                f"what is unrelated cannot be told: {what}", where, f"name its MACs with --mac, at most {MACS_MOST}"
            )
        self._where = where
        self._object = BpfObject(SOURCE.with_name(OBJECT).read_bytes() if elf is None else elf)
        try:
            self._object.open()
            entry = np.zeros(1, _TAP)
            entry["macs"], entry["snaplen"] = len(macs), snaplen or _NO_LIMIT
            entry["own"][0, : len(macs)] = [int.from_bytes(mac.to_bytes(6, "big"), "little") for mac in macs]
            self._object.map("taps", _TAP.itemsize).put(0, entry.tobytes())
            self.counts = self._object.map("counted", _ROW * 8).descriptor
        except HostError as error:
            self.close()
            raise HostError(
                f"the kernel cannot leave out what is the guest's own: {error.what}",
                where,
                "run as root or give CAP_BPF and CAP_NET_ADMIN as well, or capture without --unrelated",
            ) from error

    def attach(self, sock: socket.socket) -> None:
        """Have the program decide what a socket keeps, in place of the filter that it has."""
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, self._object.program(PROGRAM))
        except OSError as error:
            raise HostError(
                f"the kernel cannot leave out what is the guest's own: {error.strerror}",
                self._where,
                "capture without --unrelated",
            ) from error

    def close(self) -> None:
        """Let go of it; a socket that has it keeps it."""
        self._object.close()


class OwnCounts:
    """What was counted and not copied, by the descriptor of the counts, which is closed here."""

    def __init__(self, descriptor: int) -> None:
        try:
            self._map = mmap.mmap(descriptor, _OCTETS, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(descriptor)

    def read(self) -> I64:
        """Give the counts so far: of what is to the guest and what is from it, frames, octets and segments: (2, 3)."""
        rows = np.frombuffer(self._map, np.int64).reshape(_CPUS, _ROW)[:, : 3 * _KINDS].sum(axis=0)
        return np.ascontiguousarray(rows.reshape(3, _KINDS).T)
