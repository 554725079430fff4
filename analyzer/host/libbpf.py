"""libbpf, the kernel's own library for eBPF: loads an object, fills its maps, hangs its programs to interfaces.

The only door to it, by ctypes; Debian has it wherever ``ip`` is (iproute2 depends on libbpf1). What lives here knows
nothing of taps or counts: tap_counter.py does. Every descriptor that the kernel gives for eBPF is closed in programs
that this process starts (O_CLOEXEC is forced). Sources: <bpf/bpf.h> and <bpf/libbpf.h> of libbpf 1.1, bpf(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Final, Self

from analyzer.errors import HostError

_LIBRARY: Final = "libbpf.so.1"
_WHERE: Final = "eBPF"
_HINT: Final = "run as root, or give CAP_BPF and CAP_NET_ADMIN; the kernel needs CONFIG_BPF_SYSCALL"


class BpfRefusedError(HostError):
    """The kernel or the library refused; ``number`` is the error number."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"{what}: {os.strerror(number)}", _WHERE, _HINT)
        self.number = number


class TcHook(ctypes.Structure):
    """struct bpf_tc_hook: an interface, and one of its two hooks or both."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("interface", ctypes.c_int),
        ("point", ctypes.c_uint),
        ("parent", ctypes.c_uint32),
    )


class TcFilter(ctypes.Structure):
    """struct bpf_tc_opts: a program as a filter at a hook."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("program", ctypes.c_int),
        ("flags", ctypes.c_uint32),
        ("program_id", ctypes.c_uint32),
        ("handle", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
    )


@cache
def library() -> ctypes.CDLL:
    """Give the library, its functions declared, silent. Raises HostError without it."""
    try:
        found = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError:
        raise HostError("libbpf is not installed", _WHERE, "install libbpf1") from None
    pointer, number, octets = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    hook, options = ctypes.POINTER(TcHook), ctypes.POINTER(TcFilter)
    signatures: dict[str, tuple[list[type], type | None]] = {
        "libbpf_set_print": ([pointer], pointer),
        "libbpf_num_possible_cpus": ([], number),
        "bpf_object__open_mem": ([octets, ctypes.c_size_t, pointer], pointer),
        "bpf_object__load": ([pointer], number),
        "bpf_object__close": ([pointer], None),
        "bpf_object__find_map_fd_by_name": ([pointer, octets], number),
        "bpf_object__find_map_by_name": ([pointer, octets], pointer),
        "bpf_map__set_max_entries": ([pointer, ctypes.c_uint32], number),
        "bpf_object__find_program_by_name": ([pointer, octets], pointer),
        "bpf_program__fd": ([pointer], number),
        "bpf_map_update_elem": ([number, pointer, pointer, ctypes.c_uint64], number),
        "bpf_map_lookup_elem": ([number, pointer, pointer], number),
        "bpf_map_delete_elem": ([number, pointer], number),
        "bpf_link_create": ([number, number, ctypes.c_uint, pointer], number),
        "bpf_tc_hook_create": ([hook], number),
        "bpf_tc_hook_destroy": ([hook], number),
        "bpf_tc_attach": ([hook, options], number),
        "bpf_tc_detach": ([hook, options], number),
        "bpf_tc_query": ([hook, options], number),
        "bpf_prog_test_run_opts": ([number, pointer], number),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(found, name)
        function.argtypes, function.restype = arguments, result
    found.libbpf_set_print(None)  # what it would print on standard error is said by our errors
    return found


def succeeded(result: int, doing: str) -> int:
    """Give what a function gave. Raises BpfRefusedError where that is a negative error number."""
    if result < 0:
        raise BpfRefusedError(f"cannot {doing}", -result)
    return result


class BpfMap:
    """A map, with a value for each CPU or one for all. Keys are uint32; a value's size in octets is a multiple of 8."""

    def __init__(self, descriptor: int, value_octets: int) -> None:
        self.descriptor = descriptor
        self._cpus = succeeded(library().libbpf_num_possible_cpus(), "count this machine's CPUs")
        self._value = ctypes.create_string_buffer(value_octets * self._cpus)

    def put(self, key: int, value: bytes) -> None:
        """Set the value of a key on all CPUs."""
        number = ctypes.c_uint32(key)
        result = library().bpf_map_update_elem(self.descriptor, ctypes.byref(number), value * self._cpus, 0)
        succeeded(result, "put an entry into a map")

    def get(self, key: int) -> bytes:
        """Give the values of a key, those of all CPUs one behind the other."""
        number = ctypes.c_uint32(key)
        succeeded(library().bpf_map_lookup_elem(self.descriptor, ctypes.byref(number), self._value), "read a map")
        return self._value.raw

    def remove(self, key: int) -> None:
        """Remove a key; it may be gone already."""
        number = ctypes.c_uint32(key)
        result = library().bpf_map_delete_elem(self.descriptor, ctypes.byref(number))
        if result != -errno.ENOENT:
            succeeded(result, "remove an entry of a map")


class BpfObject:
    """An object, loaded from entering it to leaving it: its programs and maps go when nothing holds them any more.

    Raises BpfRefusedError where the kernel does not load it.
    """

    def __init__(self, elf: bytes) -> None:
        self._elf = elf
        self._object: int | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, **entries: int) -> None:
        """Load it: the kernel verifies its programs. ``entries`` says by a map's name how many it is to have."""
        found = library().bpf_object__open_mem(self._elf, len(self._elf), None)
        if not found:
            raise BpfRefusedError("cannot read the object", ctypes.get_errno())
        self._object = found
        try:
            for name, count in entries.items():
                made = library().bpf_object__find_map_by_name(found, name.encode())
                succeeded(library().bpf_map__set_max_entries(made, count) if made else -errno.ENOENT, f"size {name}")
            succeeded(library().bpf_object__load(found), "load the programs into the kernel")
        except BpfRefusedError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of it. A second call does nothing."""
        held, self._object = self._object, None
        if held is not None:
            library().bpf_object__close(held)

    def program(self, name: str) -> int:
        """Give the descriptor of a program, which is the object's."""
        found = library().bpf_object__find_program_by_name(self._object, name.encode())
        if not found:
            raise BpfRefusedError(f"the object has no program {name}", errno.ENOENT)
        return succeeded(library().bpf_program__fd(found), f"use the program {name}")

    def map(self, name: str, value_octets: int) -> BpfMap:
        """Give a map of the object."""
        descriptor = library().bpf_object__find_map_fd_by_name(self._object, name.encode())
        return BpfMap(succeeded(descriptor, f"find the map {name}"), value_octets)


def link(program: int, interface: int, attach_type: int) -> int:
    """Attach a program by a link, whose descriptor is given: the kernel detaches it when that is closed."""
    result: int = library().bpf_link_create(program, interface, attach_type, None)
    return succeeded(result, f"attach to interface {interface}")
