"""What shows that a process waits for a change: it holds a lock on its own log, as long as it lives.

The log lies in the state folder, named as the change's file in the journal.
"""

from __future__ import annotations

import fcntl
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from nwscan.config import KEEP_DAYS, private_folder

if TYPE_CHECKING:
    from pathlib import Path

_FOLDER: Final = "watch"
_END_S: Final = 5.0
_LOOK_EVERY_S: Final = 0.02


def log_path(state: Path, record: Path) -> Path:
    """Give where the process that waits for the change of ``record`` writes what it does."""
    return state / _FOLDER / f"{record.stem}.log"


def is_waited_for(state: Path, record: Path) -> bool:
    """Say whether a process waits for the change of ``record`` now."""
    try:
        descriptor = os.open(log_path(state, record), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_for_end(state: Path, record: Path) -> None:
    """Wait for the process that waits for a change which is settled: it notices within a moment. Gives up in the end.

    So whoever kept or undid the change leaves nothing running behind.
    """
    end_s = time.monotonic() + _END_S
    while is_waited_for(state, record) and time.monotonic() < end_s:
        time.sleep(_LOOK_EVERY_S)


class Mark:
    """The log, held from making it to the end of the process; a line a call.

    Where another process waits for the same change, it is made when that one has ended. Raises HostError where it
    cannot be written.
    """

    def __init__(self, path: Path) -> None:
        private_folder(path.parent)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # else for the moment in which somebody looks at it
        except OSError as error:
            raise HostError(f"cannot write the log: {error.strerror}", str(path)) from error

    @property
    def descriptor(self) -> int:
        """The log's descriptor: where complaints go."""
        return self._descriptor

    def tell(self, line: str) -> None:
        """Write one line with the time; a full disk is no reason to stop waiting."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            os.write(self._descriptor, f"{at} {line}\n".encode(errors="backslashreplace"))
        except OSError:
            return


def expire(state: Path) -> None:
    """Delete logs of more than 30 days ago that nobody holds."""
    oldest_s = time.time() - KEEP_DAYS * 86400
    for path in (state / _FOLDER).glob("*.log"):
        try:
            if path.stat().st_mtime < oldest_s and not is_waited_for(state, path):
                path.unlink()
        except OSError:
            continue
