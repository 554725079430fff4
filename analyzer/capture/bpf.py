"""BPF programs for packet sockets, compiled by libpcap: the same expressions as in tcpdump.

What lives here: text to program. What must not: sockets. Called by the parent, before it opens one.
"""

from __future__ import annotations

import ctypes
import re
import struct
from functools import cache
from typing import Final

from analyzer.errors import HostError, UsageError
from analyzer.host.packet_socket import BpfProgram
from analyzer.model.frames import LINKTYPE_ETHERNET

NO_LIMIT: Final = 262_144
"""What a filter returns to keep whole frames: MAXIMUM_SNAPLEN of libpcap."""

_RETURN: Final = 0x06
"""BPF_RET | BPF_K."""

_UNKNOWN_NETMASK: Final = 0xFFFF_FFFF
_LIBRARIES: Final = ("libpcap.so.1", "libpcap.so.0.8")
PROTOCOL_OF_NONE: Final = 0x05FF
"""What no frame from a wire or a guest has as its protocol: below 0x0600 the kernel takes the field for a length."""
_NEEDS_TAP: Final = re.compile(r"\b(vlan|inbound|outbound|ifindex)\b")
"""What libpcap compiles another way for a live interface: the kernel keeps tags and directions beside the frame."""


class _Instructions(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("count", ctypes.c_uint), ("first", ctypes.c_void_p))


def accept_all(snaplen: int) -> BpfProgram:
    """Give the program that keeps ``snaplen`` octets of every frame; 0 keeps all."""
    return BpfProgram((struct.pack("=HBBI", _RETURN, 0, 0, snaplen or NO_LIMIT),), None)


def compile_bpf(expression: str, snaplen: int, tap: str | None = None) -> BpfProgram:
    """Give the program of ``expression`` (see pcap-filter(7)) that keeps ``snaplen`` octets; "" accepts all.

    With ``tap``, words that mean something else on a live interface (vlan, inbound, outbound) are compiled for it; this
    needs the permission to capture, though nothing is captured. Raises UsageError with libpcap's message where it is no
    expression, HostError where libpcap is missing.
    """
    if not expression.strip():
        return accept_all(snaplen)
    if "\0" in expression:
        raise UsageError("not a filter expression: it has a NUL character", "the BPF expression")
    library = _library()
    live = tap is not None and _NEEDS_TAP.search(expression) is not None
    handle = (
        _open_live(library, tap or "", snaplen)
        if live
        else library.pcap_open_dead(LINKTYPE_ETHERNET, snaplen or NO_LIMIT)
    )
    if not handle:
        raise HostError("libpcap has no memory", "compiling the BPF expression")
    program = _Instructions()
    try:
        text = expression.encode()
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, ctypes.c_uint(_UNKNOWN_NETMASK)) != 0:
            message = library.pcap_geterr(handle).decode(errors="replace")
            raise UsageError(
                f"not a filter expression: {message}", repr(expression), "see pcap-filter(7); try it with tcpdump -d"
            )
        octets = ctypes.string_at(program.first, program.count * 8)
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    return BpfProgram(tuple(octets[i : i + 8] for i in range(0, len(octets), 8)), expression)


def _open_live(library: ctypes.CDLL, tap: str, snaplen: int) -> int:
    """Give a handle on the tap to compile for.

    libpcap maps a ring with it, for as long as it is open, and this is the parent: it is bound to a protocol that no
    frame can have, whoever sends it, so that the ring stays empty. Source: eth_type_trans() of Linux.
    """
    message = ctypes.create_string_buffer(256)
    handle: int | None = library.pcap_create(tap.encode(), message)
    if not handle:
        raise HostError(f"cannot open {tap}: {message.value.decode(errors='replace')}", "compiling the BPF expression")
    library.pcap_set_snaplen(handle, snaplen or NO_LIMIT)
    library.pcap_set_protocol_linux(handle, PROTOCOL_OF_NONE)
    if library.pcap_activate(handle) < 0:
        text = library.pcap_geterr(handle).decode(errors="replace")
        library.pcap_close(handle)
        raise HostError(f"cannot open {tap}: {text}", "compiling the BPF expression", "run as root, or leave out vlan")
    return handle


@cache
def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_create.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        for function in (library.pcap_geterr, library.pcap_close, library.pcap_activate):
            function.argtypes = [ctypes.c_void_p]
        for function in (library.pcap_set_snaplen, library.pcap_set_protocol_linux):
            function.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.pcap_compile.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint,
        ]
        return library
    raise HostError("libpcap is not installed", "compiling the BPF expression", "apt-get install libpcap0.8")
