"""Which rules each frame met, as the kernel itself tells it: the nftables trace, which `nft monitor trace` prints too.

An own chain at bridge prerouting -500, ahead of all others, sets `meta nftrace` on what comes in from given ports; the
kernel then sends a message for every rule that matches. They are read as messages, not as text: a rule is known by its
handle, whatever nft can or cannot print of it.
"""

import contextlib
import json
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

TABLE: Final = "nwscan_lab_trace"
PRIORITY: Final = -500

# <linux/netlink.h>, <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>
_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE = 12, 270, 1, 9
_MSG_TRACE: Final = (10 << 8) | 17
_ATTR_TABLE, _ATTR_CHAIN, _ATTR_HANDLE, _ATTR_TYPE, _ATTR_VERDICT = 1, 2, 3, 4, 5
_VERDICT_CODE, _TYPE_RULE, _TYPE_MASK = 1, 3, 0x3FFF
_VERDICTS: Final = {0: "DROP", 1: "ACCEPT", -1: "CONTINUE", -3: "JUMP", -5: "RETURN"}
_SO_RCVBUFFORCE: Final = 33
_BUFFER_OCTETS: Final = 16 * 1024 * 1024


class Met(NamedTuple):
    """A rule that matched a frame: its table, its chain, its handle, and what it said."""

    table: str
    chain: str
    handle: int
    verdict: str


class RuleTrace:
    """Use as a context manager, by one thread that is in the network namespace of the bridge."""

    def __init__(self, ports: Sequence[str]) -> None:
        self._ports = ports
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)

    def __enter__(self) -> Self:
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
        self._socket.bind((0, 0))  # one without an address of its own hears nothing
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
        self._socket.setblocking(False)
        ports = ", ".join(self._ports)
        chain = f"type filter hook prerouting priority {PRIORITY}; iifname {{ {ports} }} meta nftrace set 1"
        _nft(f"table bridge {TABLE} {{\nchain ahead {{\n{chain}\n}}\n}}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        _nft(f"delete table bridge {TABLE}")

    def read(self) -> list[Met] | None:
        """Give the rules that the one frame met which came in since the last time, in their order.

        None where the kernel told nothing of it: its message is lost where it cannot copy the transport header, which
        is where extension headers of IPv6 point behind the frame's end. OSError where its buffer ran over.
        """
        heard: list[Met] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                heard += _messages(self._socket.recv(1 << 16))
        ahead = [number for number, each in enumerate(heard) if each.table == TABLE]
        if ahead != [0]:
            assert not heard, heard
            return None
        return heard[1:]


def handles(table: str) -> dict[str, list[int]]:
    """Give the handles of the rules of each chain of a bridge table, in their order."""
    done = subprocess.run(["nft", "-j", "list", "table", "bridge", table], capture_output=True, text=True, check=True)
    found: dict[str, list[int]] = {}
    for each in json.loads(done.stdout)["nftables"]:
        if "rule" in each:
            found.setdefault(each["rule"]["chain"], []).append(each["rule"]["handle"])
    return found


def _nft(script: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True, capture_output=True)


def _messages(octets: bytes) -> Iterator[Met]:
    """Read the messages of matching rules out of what one read of the socket gives."""
    at = 0
    while at + 20 <= len(octets):
        length, kind = struct.unpack_from("=IH", octets, at)
        if kind == _MSG_TRACE:
            attributes = dict(_attributes(octets, at + 20, at + length))
            is_rule = int.from_bytes(attributes[_ATTR_TYPE], "big") == _TYPE_RULE
            if is_rule and _ATTR_HANDLE in attributes:  # without one it is the end of a chain
                code = dict(_attributes(attributes[_ATTR_VERDICT], 0, len(attributes[_ATTR_VERDICT])))[_VERDICT_CODE]
                yield Met(
                    attributes[_ATTR_TABLE].rstrip(b"\0").decode(),
                    attributes[_ATTR_CHAIN].rstrip(b"\0").decode(),
                    int.from_bytes(attributes[_ATTR_HANDLE], "big"),
                    _VERDICTS[int.from_bytes(code, "big", signed=True)],
                )
        at += (length + 3) & ~3


def _attributes(octets: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", octets, at)
        yield kind & _TYPE_MASK, octets[at + 4 : at + length]
        at += (length + 3) & ~3
