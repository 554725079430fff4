"""nwscan as it is typed in a lab: run to its end, or watched while it measures."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.lab.lab import Lab
from tests.published import check

DEADLINE_S = 40.0
WORKER = "nwscan.worker.child"
LISTENING = "capturing on "
"""What nwscan says on stderr as soon as every tap is open and counting."""
Json = dict[str, Any]


def wait_for(claim: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Return when the claim holds; AssertionError if it does not before the deadline."""
    end = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.01)


class Ended:
    """How a command ended: its exit code and what it said."""

    def __init__(self, words: tuple[str, ...], code: int, stdout: str, stderr: str) -> None:
        self.words = words
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        """Everything, for the message of an assert."""
        return f"nwscan {' '.join(self.words)} ended with {self.code}\n{self.stderr}{self.stdout}"

    @property
    def documents(self) -> list[Json]:
        """The JSON documents on stdout, one a line, each as its published schema says."""
        found = [json.loads(line) for line in self.stdout.splitlines()]
        for document in found:
            check(document)
        return found

    @property
    def document(self) -> Json:
        """The one JSON document on stdout."""
        (document,) = self.documents
        return document


class Running:
    """A command of nwscan that measures."""

    def __init__(self, lab: Lab, words: tuple[str, ...], folder: Path, env: dict[str, str]) -> None:
        self._lab = lab
        self._words = words
        number = sum(1 for _ in folder.glob("*.stderr"))
        self._files = folder / f"{number}.stdout", folder / f"{number}.stderr"
        with self._files[0].open("w") as stdout, self._files[1].open("w") as stderr:
            self.process = lab.popen(
                ["nwscan", *words], env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )

    def wait_until_capturing(self, windows: int = 1) -> None:
        """Wait until so many windows have begun: what is sent from now on is counted."""

        def has_begun() -> bool:
            said = self._files[1].read_text()
            assert self.process.poll() is None, f"nwscan {' '.join(self._words)} ended early: {said}"
            return said.count(LISTENING) >= windows

        wait_for(has_begun, f"window {windows} of nwscan {' '.join(self._words)} has begun")

    def interrupt(self) -> Ended:
        """Press Ctrl-C, and give how it ended."""
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def finish(self) -> Ended:
        """Wait for the end, and give how it ended."""
        code = self.process.wait(DEADLINE_S)
        return Ended(self._words, code, *(file.read_text() for file in self._files))

    def processes(self) -> dict[str, int]:
        """The processes of nwscan in the lab, by their PID there: ``parent`` and ``worker``."""
        found = {}
        for folder in self._lab.outside("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if WORKER in command:
                    found["worker"] = int(folder.name)
                elif any(Path(word).name == "nwscan" for word in command[:2]):
                    found["parent"] = int(folder.name)
        return found


class Nwscan:
    """nwscan in a lab, with a state folder of its own."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder
        self.state = folder / "state"

    def environment(self, duration_s: float) -> dict[str, str]:
        """Where state is kept, and how long a window is."""
        return {"NWSCAN_STATE": str(self.state), "NWSCAN_DURATION": str(duration_s)}

    def run(self, *words: object, code: int = 0, duration_s: float = 1.0, timeout_s: float = 60.0) -> Ended:
        """Run a command to its end; AssertionError with its words if its exit code is another one."""
        texts = tuple(map(str, words))
        done = self._lab.run(["nwscan", *texts], env=self.environment(duration_s), timeout_s=timeout_s)
        ended = Ended(texts, done.returncode, done.stdout, done.stderr)
        assert ended.code == code, str(ended)
        return ended

    @contextlib.contextmanager
    def start(self, *words: object, duration_s: float = 60.0) -> Iterator[Running]:
        """Run a command beside the with block, from when its first window has begun; the block's end is its end."""
        running = Running(self._lab, tuple(map(str, words)), self._folder, self.environment(duration_s))
        try:
            running.wait_until_capturing()
            yield running
        finally:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()
