"""The system calls that are left to a confined worker, enforced by the kernel through libseccomp.

What lives here: the list and the filter made of it. What must not: any other privilege (nwscan/worker/confine.py calls
this last). The list allows what is done with descriptors that are open already, with memory, with clocks and to end;
everything else fails with EPERM, as it does in a sandbox that Python's library is used to.
Source: seccomp(2), seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
from functools import cache
from typing import Final

from analyzer.errors import HostError

_LIBRARY: Final = "libseccomp.so.2"
_ALLOW: Final = 0x7FFF_0000
_FAIL_WITH_EPERM: Final = 0x0005_0000 | 1
_EQUAL: Final = 4
_MASKED_EQUAL: Final = 7
"""SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM), SCMP_CMP_EQ and SCMP_CMP_MASKED_EQ of seccomp.h."""

_ALL_THREADS: Final = 4
"""SCMP_FLTATR_CTL_TSYNC: the kernel filters all threads or none."""
_SIOCGIFNAME: Final = 0x8910
_AT_EMPTY_PATH: Final = 0x1000

_ON_DESCRIPTORS: Final = (
    "read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "_llseek", "close", "fstat", "fstat64",
    "ftruncate", "ftruncate64", "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64",
    "recvfrom", "recvmsg", "sendto", "sendmsg", "getsockopt", "getsockname", "shutdown",
)  # fmt: skip
_ON_MEMORY: Final = ("munmap", "mremap", "madvise", "brk", "futex", "futex_time64", "membarrier", "rseq")
_ON_ITSELF: Final = (
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_nanosleep", "clock_nanosleep_time64", "nanosleep",
    "gettimeofday", "time", "getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "sched_yield",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack", "restart_syscall", "exit",
    "exit_group",
)  # fmt: skip
_WHERE_AN_ARGUMENT_IS: Final = (
    # no memory that is written and then run
    *((name, 2, _MASKED_EQUAL, mmap.PROT_EXEC, 0) for name in ("mmap", "mmap2", "mprotect")),
    # Python copies the descriptor of what it maps; no F_SETOWN and its like, which send signals
    *((name, 1, _EQUAL, fcntl.F_DUPFD_CLOEXEC, 0) for name in ("fcntl", "fcntl64")),
    *((name, 1, _EQUAL, fcntl.F_GETFL, 0) for name in ("fcntl", "fcntl64")),
    # which interface a packet socket is bound to
    ("ioctl", 1, _EQUAL, _SIOCGIFNAME, 0),
    # fstat(3) of glibc 2.33 to 2.38; the flag does not rule out a path, whose size and owner could then be seen
    ("newfstatat", 3, _EQUAL, _AT_EMPTY_PATH, 0),
)


class _Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    for function in (library.seccomp_load, library.seccomp_release):
        function.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    return library


def is_available() -> bool:
    """Say whether libseccomp is installed."""
    return _library() is not None


def forbid_others() -> bool:
    """Leave all threads of this process the calls of the list, for good; give False where libseccomp is not installed.

    Raises HostError where the kernel refuses.
    """
    library = _library()
    if library is None:
        return False
    context = library.seccomp_init(_FAIL_WITH_EPERM)
    try:
        error = library.seccomp_attr_set(context, _ALL_THREADS, 1)
        if error:
            raise HostError(f"libseccomp cannot filter all threads (error {-error})", "seccomp")
        for name in (*_ON_DESCRIPTORS, *_ON_MEMORY, *_ON_ITSELF):
            _allow(library, context, name)
        for name, argument, operator, first, second in _WHERE_AN_ARGUMENT_IS:
            _allow(library, context, name, _Comparison(argument, operator, first, second))
        error = library.seccomp_load(context)
        if error:
            raise HostError(f"the kernel takes no system call filter (error {-error})", "seccomp")
    finally:
        library.seccomp_release(context)
    return True


def _allow(library: ctypes.CDLL, context: int, name: str, comparison: _Comparison | None = None) -> None:
    """Allow one call; a name that this machine's architecture does not have is left out."""
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        return
    given = ctypes.byref(comparison) if comparison is not None else None
    error = library.seccomp_rule_add_array(context, _ALLOW, number, 0 if given is None else 1, given)
    if error:
        raise HostError(f"libseccomp refuses to allow {name} (error {-error})", "seccomp")
