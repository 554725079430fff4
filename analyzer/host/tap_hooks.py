"""How the counting programs hang on a tap: by links that go with their process, or by filters of tc on older kernels.

Links (TCX, Linux 6.6) belong to whoever holds their descriptors: closed or killed, the kernel detaches the programs.
Filters of tc stay until they are taken off. Ours have a priority of our own and the PID as their handle, so that what a
killed process left can be told from what a running one needs: a running one holds the program. The clsact qdisc that
filters need goes again if it was made here and nothing else hangs on it; one that was there before is never touched.
Sources: Documentation/bpf/libbpf of the kernel, tc-bpf(8), proc(5) for fdinfo.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from analyzer.errors import HostError
from analyzer.host.libbpf import BpfRefusedError, TcFilter, TcHook, library, link, succeeded
from analyzer.host.programs import run_program

_TCX_INGRESS: Final = 46
_TCX_EGRESS: Final = 47
"""BPF_TCX_INGRESS and BPF_TCX_EGRESS of <linux/bpf.h>. Egress of a tap is to the guest."""

_INGRESS: Final = 1
_EGRESS: Final = 2
"""BPF_TC_INGRESS and BPF_TC_EGRESS of <bpf/libbpf.h>."""

_PRIORITY: Final = 0x6E77
""""nw": behind whatever others put at the low numbers, which act first."""

_NOT_THERE: Final = frozenset({errno.ENOENT, errno.ENODEV, errno.EINVAL})
"""What detaching answers where filter, qdisc or interface are gone already."""

FROM_GUEST: Final = "nwscan_from"
TO_GUEST: Final = "nwscan_to"
"""The names of the programs, at ingress and at egress; the kernel keeps 15 characters."""

_NO_INTERFACE: Final = 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Programs:
    """Descriptors of the two programs."""

    from_guest: int
    to_guest: int


class Attachment(Protocol):
    """The programs on one interface."""

    def detach(self) -> None:
        """Take them off. A second call, or an interface that is gone, does nothing."""


class Attach(Protocol):
    """Hangs the programs to an interface (name and index). Raises BpfRefusedError, and then leaves nothing there."""

    def __call__(self, programs: Programs, name: str, interface: int) -> Attachment:
        """Hang them there."""


class _Links:
    def __init__(self, programs: Programs, interface: int) -> None:
        self._descriptors = [link(programs.from_guest, interface, _TCX_INGRESS)]
        try:
            self._descriptors.append(link(programs.to_guest, interface, _TCX_EGRESS))
        except BpfRefusedError:
            self.detach()
            raise

    def detach(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


class _Filters:
    def __init__(self, programs: Programs, name: str, interface: int) -> None:
        self._name, self._interface = name, interface
        made = library().bpf_tc_hook_create(ctypes.byref(_hook(interface, _INGRESS | _EGRESS)))
        self._is_ours = made == 0
        if made != -errno.EEXIST:
            succeeded(made, f"make a clsact qdisc on {name}")
        self._points: list[int] = []
        try:
            for point, program in ((_INGRESS, programs.from_guest), (_EGRESS, programs.to_guest)):
                given = ctypes.byref(_filter(os.getpid(), program))
                succeeded(library().bpf_tc_attach(ctypes.byref(_hook(interface, point)), given), f"attach to {name}")
                self._points.append(point)
        except BpfRefusedError:
            self.detach()
            raise

    def detach(self) -> None:
        while self._points:
            _detach(self._interface, self._points.pop(), os.getpid())
        if self._is_ours:
            self._is_ours = False
            with contextlib.suppress(HostError):  # the interface is gone, or tc is: an empty qdisc does nothing
                if not _filters_of(self._name):
                    library().bpf_tc_hook_destroy(ctypes.byref(_hook(self._interface, _INGRESS | _EGRESS)))


def by_link(programs: Programs, name: str, interface: int) -> Attachment:
    """Attach by links."""
    del name
    return _Links(programs, interface)


def by_filter(programs: Programs, name: str, interface: int) -> Attachment:
    """Attach by filters of tc."""
    return _Filters(programs, name, interface)


def way_of_kernel(programs: Programs) -> Attach:
    """Give the better way that this kernel has: it is asked to attach to an interface that cannot be."""
    try:
        os.close(link(programs.to_guest, _NO_INTERFACE, _TCX_EGRESS))
    except BpfRefusedError as error:
        if error.number == errno.EINVAL:  # an attach type that it does not know
            return by_filter
    return by_link


@dataclass(frozen=True, slots=True)
class Leftover:
    """A filter of ours whose process has ended."""

    tap: str
    interface: int
    point: int
    pid: int

    def __str__(self) -> str:
        return f"tc filter of process {self.pid} at {'egress' if self.point == _EGRESS else 'ingress'} of {self.tap}"


def leftovers() -> tuple[Leftover, ...]:
    """Give the filters that ended processes left in this network namespace. Raises HostError where tc does not tell."""
    qdiscs = _listed("qdisc", "show")
    taps = dict.fromkeys(str(one.get("dev")) for one in qdiscs if one.get("kind") == "clsact")
    return tuple(found for tap in taps for found in _leftovers_of(tap))


def remove_leftovers() -> tuple[Leftover, ...]:
    """Take these filters off and give them. Their qdisc stays, since whose it is cannot be told. Raises HostError."""
    found = leftovers()
    for one in found:
        _detach(one.interface, one.point, one.pid)
    return found


def _leftovers_of(tap: str) -> list[Leftover]:
    found = []
    for point, listed in _filters_of(tap):
        options = listed.get("options") or {}
        program = options.get("prog") or {}
        is_ours = listed.get("kind") == "bpf" and listed.get("pref") == _PRIORITY
        if not is_ours or program.get("name") not in {FROM_GUEST, TO_GUEST}:
            continue
        pid = int(options["handle"], 16)
        with contextlib.suppress(OSError):  # the interface went meanwhile
            if not _holds(pid, program["id"]):
                found.append(Leftover(tap, socket.if_nametoindex(tap), point, pid))
    return found


def _filters_of(tap: str) -> list[tuple[int, dict[str, Any]]]:
    """Give the filters of an interface, each with its hook, as tc lists them."""
    words = ((_INGRESS, "ingress"), (_EGRESS, "egress"))
    return [(point, one) for point, word in words for one in _listed("filter", "show", "dev", tap, word)]


def _listed(*words: str) -> list[dict[str, Any]]:
    """Give what tc lists, as JSON. Its documents are the kernel's word and are not checked further."""
    found: list[dict[str, Any]] = json.loads(run_program("tc", "-j", *words) or "[]")
    return found


def _holds(pid: int, program: int) -> bool:
    """Say whether a process holds a program open; its PID may be another's by now."""
    wanted = f"prog_id:\t{program}\n"
    try:
        names = list(Path(f"/proc/{pid}/fdinfo").iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it may not be looked into: never taken for ended
    for name in names:
        with contextlib.suppress(OSError):
            if wanted in name.read_text(encoding="ascii", errors="replace"):
                return True
    return False


def _detach(interface: int, point: int, handle: int) -> None:
    result = library().bpf_tc_detach(ctypes.byref(_hook(interface, point)), ctypes.byref(_filter(handle)))
    if -result not in _NOT_THERE:
        succeeded(result, f"detach from interface {interface}")


def _hook(interface: int, point: int) -> TcHook:
    return TcHook(ctypes.sizeof(TcHook), interface, point, 0)


def _filter(handle: int, program: int = 0) -> TcFilter:
    return TcFilter(ctypes.sizeof(TcFilter), program, 0, 0, handle, _PRIORITY)
