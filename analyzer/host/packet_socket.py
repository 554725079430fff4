"""The wire: AF_PACKET sockets on taps, and the TPACKET_V3 rings that the kernel fills with frames.

What lives here: the only place with AF_PACKET and with the mapping of a ring. The privileged parent opens the socket
and never reads from it; the worker maps the ring and never opens a socket. What must not: decoding.
Source: packet(7), Documentation/networking/packet_mmap.rst of Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import socket
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.errors import HostError
from analyzer.host import ring_walk
from analyzer.model.columns import column
from analyzer.model.frame_columns import Columns
from analyzer.model.frames import BATCH_FRAMES, CaptureInterface

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.model.columns import Column
    from analyzer.model.frames import I64, U8, RawFrames

    _WalkedColumns = tuple[Column, Column, Column, Column, Column, Column, Column]

_SOL_PACKET: Final = 263
_PACKET_RX_RING: Final = 5
_PACKET_STATISTICS: Final = 6
_PACKET_VERSION: Final = 10
_PACKET_VNET_HDR: Final = 15
_PACKET_QDISC_BYPASS: Final = 20
_TPACKET_V3: Final = 2
_SO_ATTACH_FILTER: Final = 26
_ETH_P_ALL: Final = 3
_ARPHRD_ETHERNET: Final = frozenset({1, 772})
"""ARPHRD_ETHER, and ARPHRD_LOOPBACK, whose frames have an Ethernet header as well."""

_FRAME_OCTETS: Final = 2048
"""tp_frame_size: checked by the kernel but without meaning in V3, where frames are packed."""

_NO_WORDS: Final = memoryview(b"").cast("I")
_FASTEST_OCTETS_S: Final = 4e8
"""What a flood puts into a ring in a second: 2 M frames with 128 octets of each, and their headers."""

_STATUS_USER: Final = 1
_BLOCK_STATUS: Final = 8
_BLOCK_FRAMES: Final = 12
_BLOCK_FIRST: Final = 16
"""Offsets in struct tpacket_block_desc."""


@dataclass(frozen=True, slots=True)
class BpfProgram:
    """Instructions of a classic BPF program, eight octets each, and the expression they come from, None for all."""

    instructions: tuple[bytes, ...]
    expression: str | None


@dataclass(frozen=True, slots=True)
class RingGeometry:
    """The ring of one tap: ``blocks`` of ``block_octets`` (a multiple of the page size), handed over when full.

    A block that is not full is handed over ``retire_ms`` to twice that after its first frame. The defaults hold 0.15 s
    of 1 M frames a second at 128 octets, in 32 MiB of kernel memory.
    """

    block_octets: int = 1 << 19
    blocks: int = 64
    retire_ms: int = 20


def open_packet_socket(tap: str, *, snaplen: int, ring: RingGeometry, bpf: BpfProgram | None) -> socket.socket:
    """Give a socket that captures all frames of ``tap``, both directions, into a ring, from now on.

    ``snaplen`` (0: no limit) holds where ``bpf`` is None; else the program says itself what it keeps. Needs
    CAP_NET_RAW. Raises HostError where the tap is not there, has no Ethernet header, or the kernel refuses.
    """
    where = f"AF_PACKET socket on {tap}"
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: silent until it is bound
    except PermissionError as error:
        raise HostError(
            f"cannot capture on {tap}: operation not permitted", where, "run as root, or give the service CAP_NET_RAW"
        ) from error
    except OSError as error:
        raise HostError(f"cannot capture on {tap}: {error.strerror}", where) from error
    try:
        sock.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        with contextlib.suppress(OSError):  # without it, GSO sizes are estimated from lengths
            sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        _attach(sock, bpf or BpfProgram((struct.pack("=HBBI", 6, 0, 0, snaplen or 262_144),), None))
        _make_ring(sock, ring)
        sock.bind((tap, _ETH_P_ALL))
        is_ethernet = sock.getsockname()[3] in _ARPHRD_ETHERNET
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        sock.close()
        text = error.strerror if isinstance(error, OSError) else None
        raise HostError(f"cannot capture on {tap}: {text or error}", where, _hint(error)) from error
    if not is_ethernet:
        sock.close()
        raise HostError(f"{tap} is no Ethernet interface", where, "nwscan list shows the taps that are there")
    return sock


def send_frames(interface: str, frames: Sequence[bytes]) -> None:
    """Send Ethernet frames out of an interface, past its queue and traffic control: they are out when it returns.

    Needs CAP_NET_RAW. Raises HostError where the interface is not there or the kernel refuses.
    """
    where = f"AF_PACKET socket on {interface}"
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
            sock.bind((interface, 0))
            for frame in frames:
                sock.send(frame)
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) else None
        raise HostError(f"cannot send on {interface}: {text or error}", where, _hint(error)) from error


def _hint(error: OSError | ValueError) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOMEM:
        return "take a smaller buffer"
    if number in (errno.EPERM, errno.EACCES):
        return "run as root, or give the service CAP_NET_RAW"
    return "nwscan list shows the taps that are there"


def _attach(sock: socket.socket, bpf: BpfProgram) -> None:
    program = ctypes.create_string_buffer(b"".join(bpf.instructions))
    where = ctypes.addressof(program)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(bpf.instructions), where))


def _make_ring(sock: socket.socket, ring: RingGeometry) -> None:
    """Ask for the ring: struct tpacket_req3."""
    frames = ring.block_octets // _FRAME_OCTETS * ring.blocks
    request = struct.pack("=7I", ring.block_octets, ring.blocks, _FRAME_OCTETS, frames, ring.retire_ms, 0, 0)
    sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)


class PacketRing:
    """The worker's end of a packet socket: the ring, mapped, and what it lost.

    ``geometry`` must be the one the socket was opened with. Frames are handed out where the kernel put them.
    """

    def __init__(self, sock: socket.socket, geometry: RingGeometry) -> None:
        self.frames_seen = 0
        self._socket = sock
        self._geometry = geometry
        octets = geometry.block_octets * geometry.blocks
        self._map = mmap.mmap(sock.fileno(), octets, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._octets: U8 = np.frombuffer(self._map, np.uint8)
        self._words = memoryview(self._map).cast("I")
        self._data: U8 = self._octets[:]
        self._data.flags.writeable = False
        self._vnet = _vnet_octets(sock) > 0
        self._columns = Columns(has_directions=True, has_interfaces=False, has_tags=True, has_gso=True)
        self._state: I64 = np.zeros(ring_walk.STATE_LENGTH, np.int64)
        self._walked = column(self._data), _walked(self._columns)
        self._block = 0
        self._is_held = False
        self._done = 0
        self._left = 0
        self._at = 0
        self._lost = 0
        self._interfaces = (CaptureInterface(),)

    @property
    def retire_s(self) -> float:
        """How long the kernel keeps a block that is not full, in seconds; up to twice that."""
        return self._geometry.retire_ms / 1000

    @property
    def half_s(self) -> float:
        """How long half of the ring lasts at the least, in seconds."""
        return self._geometry.block_octets * self._geometry.blocks / 2 / _FASTEST_OCTETS_S

    def fileno(self) -> int:
        """Give the descriptor to poll: readable when a block is ready, in error when the tap is gone or down."""
        return self._socket.fileno()

    def ready_batches(self) -> Iterator[RawFrames]:
        """Yield what is ready in batches of up to BATCH_FRAMES, and end where nothing is; never waits.

        A batch lies in the ring, in one block or several: it holds until the next is asked for or until ``give_back``,
        when those of its blocks that are done with go back to the kernel.
        """
        while n := self._gather():
            self.frames_seen += n
            yield self._columns.batch(self._data, n, self._interfaces)

    def discard(self) -> None:
        """Give back to the kernel all that is ready, unseen: what follows finds the ring empty."""
        while self._hold():
            self._left = 0
            self.give_back()

    def give_back(self) -> None:
        """Give the blocks back to the kernel whose frames have all been handed out."""
        geometry = self._geometry
        self._move_on()
        for behind in range(self._done, 0, -1):
            block = (self._block - behind) % geometry.blocks
            self._words[(block * geometry.block_octets + _BLOCK_STATUS) // 4] = 0
        self._done = 0

    def is_filling(self) -> bool:
        """Say whether at least a quarter of the ring waits to be read: whoever gathers more may lose it."""
        geometry = self._geometry
        block = (self._block + geometry.blocks // 4) % geometry.blocks
        return bool(len(self._words)) and self._is_ready(block * geometry.block_octets)

    def lost(self) -> int:
        """Give the frames that the kernel dropped since the socket was bound, for want of room in the ring."""
        _, drops, _ = struct.unpack("=3I", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12))
        self._lost += drops
        return self._lost

    def is_gone(self) -> bool:
        """Say whether the tap was removed; clears the socket's pending error."""
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            return not self._socket.getsockname()[0]
        except OSError:
            return True

    def close(self) -> None:
        """Unmap the ring (for good when the last batch is gone) and close the socket."""
        self._is_held = False
        self._left = self._done = 0
        self._octets = self._data = np.empty(0, np.uint8)
        self._walked = column(self._data), self._walked[1]
        self._words.release()
        self._words = _NO_WORDS
        with contextlib.suppress(BufferError):
            self._map.close()
        self._socket.close()

    @property
    def _half(self) -> int:
        """How many blocks may be held at a time: the kernel is to have the others to fill."""
        return max(1, self._geometry.blocks // 2)

    def _gather(self) -> int:
        """Index the frames of a batch, and give how many; what was done with goes back first."""
        self.give_back()
        n = 0
        while n < BATCH_FRAMES and (n == 0 or self._done < self._half) and self._hold():
            came = self._walk(n)
            self._left = self._left - came if came else 0
            n += came
        return n

    def _hold(self) -> bool:
        """Have a block with frames left, done with the one before; False where none is ready."""
        while self._left == 0 and len(self._words):
            self._move_on()
            base = self._block * self._geometry.block_octets
            if self._done == self._geometry.blocks or not self._is_ready(base):
                return False
            self._is_held = True
            self._left = int(self._words[(base + _BLOCK_FRAMES) // 4])
            self._at = base + int(self._words[(base + _BLOCK_FIRST) // 4])
        return self._left > 0

    def _move_on(self) -> None:
        """Be done with the block that has no frames left."""
        if self._is_held and self._left == 0:
            self._is_held = False
            self._block = (self._block + 1) % self._geometry.blocks
            self._done += 1

    def _is_ready(self, base: int) -> bool:
        """Say whether the kernel has handed over the block at ``base``."""
        return bool(self._words[(base + _BLOCK_STATUS) // 4] & _STATUS_USER)

    def _walk(self, row: int) -> int:
        data, columns = self._walked
        n = ring_walk.walk(
            data,
            self._at,
            (self._block + 1) * self._geometry.block_octets,
            self._left,
            sys.byteorder == "big",
            self._vnet,
            *columns,
            row,
            BATCH_FRAMES,
            column(self._state),
        )
        self._at = int(self._state[ring_walk.POSITION])
        return n


def _walked(columns: Columns) -> _WalkedColumns:
    """Give the columns that are filled, as the walk takes them."""
    return (
        column(columns.offsets),
        column(columns.captured),
        column(columns.original),
        column(columns.ts_ns),
        column(columns.direction),
        column(columns.tag),
        column(columns.gso_size),
    )


def _vnet_octets(sock: socket.socket) -> int:
    try:
        return sock.getsockopt(_SOL_PACKET, _PACKET_VNET_HDR)
    except OSError:
        return 0
