"""tcpdump on an interface of the lab, as the tool that nwscan is compared with."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.lab.frames import Kind, markers_in
from tests.lab.lab import Lab
from tests.lab.schedule import Truth


class TapCapture:
    """What tcpdump has written so far."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def frames(self, run: int) -> dict[Kind, int]:
        """Distinct frames of the run in the file, by kind."""
        return {kind: len(numbers) for kind, numbers in markers_in(self.file.read_bytes(), run).items()}

    def wait_for(self, truth: Truth, kinds: dict[Kind, int], timeout_s: float = 10.0) -> dict[Kind, int]:
        """The frames in the file as soon as each kind has come as often as said, or what has come by the deadline."""
        deadline = time.monotonic() + timeout_s
        while any((found := self.frames(truth.run))[kind] < count for kind, count in kinds.items()):
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return found


@contextlib.contextmanager
def tcpdump(lab: Lab, interface: str, file: Path, *arguments: str) -> Iterator[TapCapture]:
    """Capture what goes out of an interface of the lab (to the guest, on a tap) while the with block runs."""
    command = ["tcpdump", "-Z", "root", "-U", "--immediate-mode", "-B", "32768", "-Q", "out", "-i", interface]
    capture = lab.popen([*command, "-w", file, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        said = capture.stderr.readline() if capture.stderr is not None else ""
        if "listening on" not in said:
            raise OSError(f"tcpdump did not start on {interface}: {said}")
        yield TapCapture(file)
    finally:
        capture.terminate()
        capture.communicate(timeout=10)
