"""The one place where the measuring worker gives up its privileges, before its first frame and for good.

A worker is started with whatever its parent may do. Behind ``confine`` it is a user that owns nothing, in no group,
without a capability and without a way to get one, and the kernel takes a short list of system calls from it: no file,
process or socket can be had any more, only what is open and what the parent sends. All modules must be imported by
then: the new user may not be able to read them. Only the worker calls this; library callers keep what they have.
Sources: capabilities(7), credentials(7), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from nwscan.worker import system_calls

if TYPE_CHECKING:
    from analyzer.two_threads import Helper

_CAP_SETGID: Final = 6
_CAP_SETUID: Final = 7
_CAP_SETPCAP: Final = 8
_CAPABILITIES: Final = 64
"""More than any kernel has; what it does not know it refuses with EINVAL."""

_CAPABILITY_VERSION_3: Final = 0x2008_0522
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_DYNAMIC_USERS: Final = range(61184, 65520)
"""What systemd keeps for users that exist only while a service runs (systemd's UIDS-GIDS document)."""
_TAKEN_USERS: Final = Path("/run/systemd/dynamic-uid")
_NOBODY: Final = 65534
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    """struct __user_cap_header_struct; PID 0 is the caller."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    """struct __user_cap_data_struct: 32 capabilities of each set."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def confine(helper: Helper | None = None) -> None:
    """Give up user, groups, capabilities and system calls for good.

    A ``helper`` is started where nothing is left but system calls, so that its thread is born without the rest, and the
    list of calls is then laid upon both threads at once.

    A caller that is not root keeps its user and its groups, since nobody may change them for it, and the bounding set,
    which means nothing once no_new_privs is set. Raises HostError where the kernel refuses what it has to grant.
    """
    _require_one_thread()
    effective = _effective()
    try:
        if effective >> _CAP_SETPCAP & 1:
            _empty_bounding_set()
        _prctl("clearing the ambient set", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        user = _other_user() if effective >> _CAP_SETUID & 1 and effective >> _CAP_SETGID & 1 else None
        if user is not None:
            os.setgroups(())
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        _drop_capabilities()
        _prctl("setting no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
        _prctl("forbidding to be traced", _PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # frames belong on no disk
        if helper is not None:
            helper.start()
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    except (OSError, ValueError) as error:
        raise HostError(
            f"the measuring worker cannot give up its privileges: {error}", "before its first frame", "report it"
        ) from error
    system_calls.forbid_others()


def lacks() -> tuple[str, ...]:
    """Say what of the confinement a worker of this process would not get, and why."""
    effective = _effective()
    found = [] if system_calls.is_available() else ["no system call filter: libseccomp2 is not installed"]
    if os.geteuid() == 0:
        names = {"CAP_SETUID": _CAP_SETUID, "CAP_SETGID": _CAP_SETGID, "CAP_SETPCAP": _CAP_SETPCAP}
        missing = [name for name, number in names.items() if not effective >> number & 1]
        found += [f"root lacks {', '.join(missing)}"] if missing else []
        found += ["no other user is mapped in this user namespace"] if _other_user() is None else []
    return tuple(found)


def _require_one_thread() -> None:
    """Refuse to go on with threads: what is given up here is given up by one alone."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise HostError(f"the measuring worker has {threads} threads before it is confined", "before its first frame")


def _effective() -> int:
    """Give the effective capabilities as a bit mask."""
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    if _LIBC.capget(ctypes.byref(header), sets) != 0:
        raise HostError(f"cannot read capabilities: {os.strerror(ctypes.get_errno())}", "capget")
    return int(sets[0].effective) | int(sets[1].effective) << 32


def _empty_bounding_set() -> None:
    for number in range(_CAPABILITIES):
        if _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            return  # EINVAL: the kernel has no capability of this number, nor of a higher one


def _drop_capabilities() -> None:
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    if _LIBC.capset(ctypes.byref(header), sets) != 0:
        raise OSError(ctypes.get_errno(), f"dropping capabilities: {os.strerror(ctypes.get_errno())}")


def _prctl(doing: str, option: int, argument: int) -> None:
    if _LIBC.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"{doing}: {os.strerror(ctypes.get_errno())}")


def _other_user() -> int | None:
    """Give a user (and group) of nobody else, drawn anew by each worker, so that two of them share nothing.

    In a user namespace that does not map it, nobody; None where it maps no one.
    """
    drawn = _draw()
    while (_TAKEN_USERS / str(drawn)).exists():
        drawn = _draw()
    return next((user for user in (drawn, _NOBODY) if all(_is_mapped(user, kind) for kind in "ug")), None)


def _draw() -> int:
    """Draw a user by the kernel's random octets, 64 bits for a choice of 4,000: the module ``secrets`` takes 3 ms."""
    return _DYNAMIC_USERS[int.from_bytes(os.urandom(8)) % len(_DYNAMIC_USERS)]


def _is_mapped(number: int, kind: str) -> bool:
    lines = Path(f"/proc/self/{kind}id_map").read_text(encoding="ascii").splitlines()
    spans = [tuple(map(int, line.split())) for line in lines]
    return any(first <= number < first + count for first, _, count in spans)
