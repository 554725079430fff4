"""The measuring worker's process, begun and ended; nothing is imported here that takes time.

A command that will measure files begins the worker first and imports what it needs itself meanwhile: both start at the
same time. Used by nwscan/worker/parent.py.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from analyzer.errors import HostError
from nwscan.worker import FOR_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUN: Final = "from nwscan.worker import child; child.run()"
"""What the worker's Python does; ``-m`` would have it import some 3 ms of what finds modules."""

_END_S: Final = 5.0
"""How long a worker may take to end once its socket is closed, before it is killed."""

_ONE_THREAD: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""numpy starts no threads at import: a worker must not have any before it has given up its privileges."""

_NO_CACHE: Final = {"XDG_CACHE_HOME": "/dev/null/none", "XDG_CONFIG_HOME": "/dev/null/none"}
"""scapy would read pickles from the home folder, which under sudo may be somebody else's, and write them there."""


class Begun(NamedTuple):
    """A worker that waits for its request: our end of its socket, its process, and what it complains of.

    No dataclass: what those import would keep the worker from starting for some milliseconds.
    """

    socket: socket.socket
    process: subprocess.Popen[bytes]
    complaints: IO[bytes]


def begin(*arguments: str) -> Begun:
    """Start a worker. Raises HostError where that cannot be."""
    ours, theirs = socket.socketpair()
    complaints = os.fdopen(os.memfd_create("complaints"), "w+b")  # closed by ``end``
    try:
        # -P: the folder that nwscan is called in must not lend the worker a module.
        process = subprocess.Popen(  # noqa: S603 our own interpreter and module, no input in the arguments
            [sys.executable, "-P", "-c", _RUN, "nwscan.worker.child", str(theirs.fileno()), *arguments],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **_ONE_THREAD, **_NO_CACHE},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            process_group=0,  # Ctrl-C reaches the parent alone, which says Stop
        )
    except OSError as error:
        ours.close()
        complaints.close()
        where = f"starting {sys.executable}"
        raise HostError(f"the measuring worker does not start: {error.strerror}", where) from error
    finally:
        theirs.close()
    return Begun(ours, process, complaints)


def end(begun: Begun) -> None:
    """See to it that a worker is gone: it ends where its socket is closed."""
    begun.socket.close()
    try:
        if begun.process.poll() is None and not _ends(begun.process):
            begun.process.kill()
    except BaseException:
        begun.process.kill()
        raise
    finally:
        begun.process.wait()
        begun.complaints.close()


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a process for ``_END_S`` and say whether it has ended; Popen.wait would sleep and look, in steps."""
    try:
        ended = os.pidfd_open(process.pid)
    except OSError:  # no such call before Linux 5.3, or in a sandbox, or no descriptor left
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        return process.poll() is not None
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        return bool(poll.poll(_END_S * 1000))
    finally:
        os.close(ended)


_ahead: Final[list[Begun]] = []


@contextmanager
def worker_ahead() -> Iterator[None]:
    """Have a worker for files begun, which the next measurement takes; one that nobody took is ended."""
    if not _ahead:
        with suppress(HostError):  # who takes it will try again and tell
            _ahead.append(begin(FOR_FILES))
    try:
        yield
    finally:
        while _ahead:
            end(_ahead.pop())


def take() -> Begun:
    """Give the worker that was begun ahead, or else a new one."""
    return _ahead.pop() if _ahead else begin()
