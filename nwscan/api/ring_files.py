"""The files behind ``-w``: one, standard output, or a ring of them. Opened, named and removed here, by the parent."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.capture.rotation import DumpcapNames, RotationRules, TcpdumpNames
from analyzer.errors import NwscanError, UsageError
from nwscan import kept

if TYPE_CHECKING:
    from nwscan.worker.messages import NeedFile
    from nwscan.worker.parent import Worker

STANDARD_OUTPUT: Final = Path("-")


@dataclass(frozen=True, slots=True)
class Rotation:
    """When files of a ring end, how many there are, and whose names they bear (``dumpcap`` or ``tcpdump``)."""

    rules: RotationRules
    files: int | None = None
    tool: str = "dumpcap"

    def names(self, path: Path) -> DumpcapNames | TcpdumpNames:
        """Give the names that files at ``path`` get, one after the other."""
        if self.tool == "dumpcap":
            return DumpcapNames(path, self.files)
        return TcpdumpNames(path, self.rules.octets is not None, self.rules.duration_s is not None, self.files)


class RingFiles:
    """Opens one file after the other, and removes those that the ring has no room for."""

    def __init__(self, path: Path, rotation: Rotation) -> None:
        self._names = rotation.names(path)

    def open_next(self, start_ns: int, *, by_time: bool) -> int:
        """Open the file that begins at ``start_ns`` and give its descriptor. Raises HostError where that cannot be."""
        path, gone = self._names.next(start_ns, by_time=by_time)
        if gone is not None:
            gone.unlink(missing_ok=True)
        return kept.create_private(path, replace=True)

    def answer(self, worker: Worker, wanted: NeedFile) -> None:
        """Send the worker the file that it waits for, or why there is none."""
        from nwscan.worker.messages import File

        try:
            descriptor = self.open_next(wanted.start_ns, by_time=wanted.by_time)
        except NwscanError as error:
            worker.send(File(f"{error.what}: {error.where}"))
            return
        except OSError as error:
            worker.send(File(f"cannot write: {error.strerror}"))
            return
        try:
            worker.send(File(), [descriptor])
        finally:
            os.close(descriptor)


def standard_output() -> int:
    """Give a descriptor of standard output for frames. Raises UsageError where that is a terminal."""
    if sys.stdout is None or sys.stdout.isatty():
        raise UsageError("frames are not written to a terminal", "-w -", "pipe them into a program, or name a file")
    sys.stdout.flush()
    return os.dup(sys.stdout.fileno())
