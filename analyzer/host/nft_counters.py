"""The named counters of one nft table, read straight from the kernel.

libnftables makes text of each counter, which is parsed again: 80 ms of CPU for the 4,000 counters of 200 taps, against
11 ms here. Whoever reads every second (``top``) or on each scrape (``export``) cannot pay that. Reads only, and only
counters; everything else goes through nftables.py. Source: linux/netfilter/nf_tables.h, netlink(7).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from analyzer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_NETFILTER: Final = 12
_NFPROTO_BRIDGE: Final = 7
_GET_OBJECTS: Final = (10 << 8) | 19
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_GETOBJ."""
_REQUEST_DUMP: Final = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP."""
_INTERRUPTED: Final = 0x10
"""NLM_F_DUMP_INTR: the table changed while it was read."""
_ERROR: Final = 2
_DONE: Final = 3
_OBJECT_TABLE: Final = 1
_OBJECT_NAME: Final = 2
_OBJECT_TYPE: Final = 3
_OBJECT_DATA: Final = 4
_TYPE_COUNTER: Final = 1
_TYPE_MASK: Final = 0x3FFF
"""NLA_TYPE_MASK: an attribute's type without the flags for nesting and byte order."""

_HEADER: Final = struct.Struct("=IHHII")
_FAMILY: Final = struct.Struct("=BBH")
_ATTRIBUTE: Final = struct.Struct("=HH")
_COUNTER: Final = struct.Struct(">4xQ4xQ")
"""The two attributes of a counter: octets, then packets, as nft_counter_do_dump of the kernel puts them."""

_RECEIVE_OCTETS: Final = 1 << 18
_TRIES: Final = 20
_TIMEOUT_S: Final = 10.0

Counters: TypeAlias = dict[str, tuple[int, int]]


class NftCounters:
    """A socket that reads counters of family bridge, in the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.settimeout(_TIMEOUT_S)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket. A second call does nothing."""
        self._socket.close()

    def read(self, table: str) -> Counters:
        """Give packets and octets of each named counter, in the order in which they were made.

        A listing during which the table changed is asked for again; a table that is not there has none. Raises
        HostError where the kernel refuses.
        """
        with self._lock:
            for _ in range(_TRIES):
                try:
                    found = self._dump(table)
                except OSError as error:
                    raise _refused(error, table) from error
                if found is not None:
                    return found
        raise HostError(
            "the meter's table changes faster than it can be read", f"nft table bridge {table}", "try again"
        )

    def _dump(self, table: str) -> Counters | None:
        """Give the counters; None where the table changed meanwhile."""
        self._sequence += 1
        body = (
            _FAMILY.pack(_NFPROTO_BRIDGE, 0, 0)
            + _attribute(_OBJECT_TABLE, table.encode() + b"\0")
            + _attribute(_OBJECT_TYPE, struct.pack(">I", _TYPE_COUNTER))
        )
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), _GET_OBJECTS, _REQUEST_DUMP, self._sequence, 0) + body)
        found: Counters = {}
        is_whole = True
        while True:
            octets = self._socket.recv(_RECEIVE_OCTETS)
            for kind, flags, start, end in _messages(octets, self._sequence):
                is_whole = is_whole and not flags & _INTERRUPTED
                if kind == _DONE:
                    return found if is_whole else None
                if kind == _ERROR:
                    number = -int.from_bytes(octets[start : start + 4], "little", signed=True)
                    raise OSError(number, os.strerror(number))
                _take(octets, start + _FAMILY.size, end, found)


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _messages(octets: bytes, sequence: int) -> Iterator[tuple[int, int, int, int]]:
    """Give type, flags, begin and end of the messages that answer this request; a late answer to another is none."""
    offset = 0
    while offset + _HEADER.size <= len(octets):
        length, kind, flags, answers, _ = _HEADER.unpack_from(octets, offset)
        if answers == sequence:
            yield kind, flags, offset + _HEADER.size, offset + length
        offset += max(_HEADER.size, (length + 3) & ~3)


def _take(octets: bytes, offset: int, end: int, found: Counters) -> None:
    """Add the counter that one message tells."""
    name, counts = "", (0, 0)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(octets, offset)
        kind &= _TYPE_MASK
        if kind == _OBJECT_NAME:
            name = octets[offset + 4 : offset + length - 1].decode()
        elif kind == _OBJECT_DATA:
            total, packets = _COUNTER.unpack_from(octets, offset + 4)
            counts = packets, total
        offset += max(_ATTRIBUTE.size, (length + 3) & ~3)
    if name:
        found[name] = counts


def _refused(error: OSError, table: str) -> HostError:
    what = f"cannot read the meter's counters: {error.strerror or error}"
    return HostError(what, f"nft table bridge {table}", "run as root, or give CAP_NET_ADMIN")
