"""The few calls of the kernel that Python 3.11 has no function for: namespaces, mounts, death signals."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# <linux/mount.h>
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
# <linux/prctl.h>
PR_SET_PDEATHSIG = 1

T = TypeVar("T")
_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Give the calling process new namespaces; CLONE_NEWPID counts from its next child on."""
    _checked(_LIBC.unshare(flags), "unshare")


def enter_namespace(path: str | Path) -> None:
    """Move the calling thread into the namespace that the file stands for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_LIBC.setns(descriptor, 0), f"setns {path}")
    finally:
        os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2) as it stands in the manual."""
    _checked(
        _LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()),
        f"mount {source} on {target}",
    )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends."""
    _checked(_LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl")


def call_in_network(namespace: str | Path, function: Callable[[], T]) -> T:
    """What the function gives when a thread of this process calls it inside the network namespace.

    Sockets that it opens stay in that namespace; the thread ends with the call and no other thread ever moved.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def visit() -> None:
        try:
            enter_namespace(namespace)
            results.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=visit, name=f"in {namespace}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
