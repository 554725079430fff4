"""A sender at a chosen rate for the benchmarks of live capture: a tap in a network namespace, and frames out of it.

As root. The tap is a veth, named and addressed as libvirt does it; what is sent out of it goes to the guest, so that a
capture sees packet type OUTGOING, as on the tap of a real guest behind a bridge. Nobody else speaks there.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_CLONE_NEWNET: Final = 0x4000_0000
LIBC: Final = ctypes.CDLL(None, use_errno=True)
_BATCH: Final = 64
_FAR_S: Final = 0.002
TAP: Final = "vnet0"
GUEST_MAC: Final = "52:54:00:00:00:01"
_OWN: Final = bytes.fromhex("525400000001")
OCTETS: Final = 128


class Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Message(ctypes.Structure):
    """struct mmsghdr of <sys/socket.h>, for 64 bits."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vector", ctypes.POINTER(Vector)),
        ("vectors", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int), ("padding", ctypes.c_uint32), ("sent", ctypes.c_uint64),
    )  # fmt: skip


def enter_namespace() -> None:
    """Have a network namespace of our own, which goes with this process and those that it starts."""
    if LIBC.unshare(_CLONE_NEWNET) != 0:
        raise SystemExit("run it as root")


def make_tap(tap: str = TAP, number: int = 1) -> None:
    """Make a tap whose guest can be told without libvirt; nobody on it speaks of its own accord."""
    peer = f"g{tap}"
    lines = [
        f"link add {tap} address fe:54:00:00:00:{number:02x} type veth peer name {peer}",
        *(f"link set {name} addrgenmode none" for name in (tap, peer)),
        *(f"link set {name} arp off up" for name in (tap, peer)),
    ]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def datagram(destination: bytes, source: bytes, octets: int = OCTETS) -> bytes:
    """Give an Ethernet frame with a UDP datagram over IPv4 whose header is valid."""
    head = bytearray(bytes.fromhex("45000000000000004011 0000 c0000201 c0000202"))
    head[2:4] = (octets - 14).to_bytes(2, "big")
    total = sum(int.from_bytes(head[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    head[10:12] = (0xFFFF - (total & 0xFFFF) - (total >> 16)).to_bytes(2, "big")
    udp = b"\x04\xd2\x16\x2e" + (octets - 34).to_bytes(2, "big") + bytes(2)
    return (destination + source + b"\x08\x00" + head + udp).ljust(octets, b"\0")


def mix(own: float, pairs: int = 8) -> list[bytes]:
    """Give frames to send in turn: ``own`` is the share that goes to the guest, the rest is foreign unicast."""
    foreign = [
        datagram(bytes.fromhex(f"02aa000000{number:02x}"), bytes.fromhex(f"02bb000000{number:02x}"))
        for number in range(pairs)
    ]
    mine = datagram(_OWN, bytes.fromhex("02bb00000000"))
    frames, due = [], 0.0
    for number in range(_BATCH):
        due += own
        frames.append(mine if due >= 1 else foreign[number % pairs])
        due -= due >= 1
    return frames


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: frames, and the seconds that it took."""

    frames: int
    took_s: float

    @property
    def rate_fps(self) -> float:
        """Frames a second."""
        return self.frames / self.took_s


class Sender:
    """Sends frames out of an interface, over and over, many with one call."""

    def __init__(self, frames: Sequence[bytes], interface: str = TAP) -> None:
        self._buffers = [ctypes.create_string_buffer(frame, len(frame)) for frame in frames]
        self._vectors = [Vector(ctypes.addressof(one), len(one)) for one in self._buffers]
        self._messages = (Message * len(frames))()
        for message, vector in zip(self._messages, self._vectors, strict=True):
            message.vector, message.vectors = ctypes.pointer(vector), 1
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))

    def send(self, seconds: float, rate_fps: float | None = None) -> Sent:
        """Send for so long, at a rate or as fast as it goes; sleeps only where the next batch is some time away."""
        messages, batch, descriptor = self._messages, len(self._messages), self._socket.fileno()
        step_s = 0.0 if rate_fps is None else batch / rate_fps
        begin_s = due_s = time.perf_counter()
        end_s, frames = begin_s + seconds, 0
        while (now_s := time.perf_counter()) < end_s:
            if now_s < due_s:
                if due_s - now_s > _FAR_S:
                    time.sleep(_FAR_S / 2)
                continue
            sent = LIBC.sendmmsg(descriptor, messages, batch, 0)
            if sent < 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            frames += sent
            due_s += step_s
        return Sent(frames, time.perf_counter() - begin_s)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


def pin(core: int) -> None:
    """Keep this process, and what it starts, on one core."""
    os.sched_setaffinity(0, {core})
