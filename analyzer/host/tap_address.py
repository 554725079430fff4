"""What the address of a tap tells about its guest, where nobody else can tell.

libvirt gives a tap the MAC of the guest's card with 0xfe as its first octet, so that the bridge never takes its own
address from it (virNetDevTapCreateInBridgePort). With QEMU's prefix 52:54:00 the first octet is known, and so is the
card: a guess, since nothing keeps anybody from giving a tap such an address.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final

_SIOCGIFHWADDR: Final = 0x8927
_TAP_PREFIX: Final = 0xFE5400
_GUEST_PREFIX: Final = 0x525400
_NAME_OCTETS: Final = 15
"""IFNAMSIZ without the NUL."""


def tap_address(tap: str) -> int | None:
    """Give the MAC of an interface of this network namespace, None where there is no such interface."""
    name = tap.encode()
    if not name or len(name) > _NAME_OCTETS or b"\0" in name:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            told = fcntl.ioctl(sock, _SIOCGIFHWADDR, struct.pack("16s24x", name))
        except OSError:
            return None
    return int.from_bytes(told[18:24], "big")


def guessed_guest_mac(address: int) -> int | None:
    """Give the MAC of the guest's card behind a tap with this address, None where it is none of libvirt's for QEMU."""
    return _GUEST_PREFIX << 24 | address & 0xFFFFFF if address >> 24 == _TAP_PREFIX else None
