"""A hostile input put to nwscan: it gets a clear error or a right answer, within bounds, and leaves nothing.

In this process where no worker is needed, through the real command where one is. What a trial holds: no traceback, at
most CPU_S seconds of processor time, at most MEMORY_OCTETS of memory a process, output that is safe on a terminal, and
no file outside the folders that were named for output.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.hostile import writing
from tests.nwscan.command import NO_LIBVIRT, Ended, nwscan, typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

CPU_S = 5.0
WALL_S = 120.0
"""No measure of time, on a machine that does other things too: what takes so long hangs."""
MEMORY_OCTETS = 300 << 20
ANSWERS, ERRORS = {0, 1, 7}, {2, 3, 4}


def seeded(kind: str, number: int) -> random.Random:
    """Give the randomness of one input; kind and number are in the test's name, and say all of it."""
    return random.Random(f"{kind} {number}")  # noqa: S311 - to be repeated, not to be unforeseen


@contextmanager
def bounded() -> Iterator[None]:
    """Hold a block of this process to the limits, also where it ends in an error; nothing is written meanwhile."""

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"more than {CPU_S} s")

    before = signal.signal(signal.SIGPROF, too_long)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    resident = _status("VmRSS")
    with writing.nothing_written():
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            taken = _status("VmHWM") - resident
            if taken > MEMORY_OCTETS:
                raise AssertionError(f"{taken >> 20} MiB")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def untouched(folder: Path, *allowed: Path) -> Iterator[None]:
    """Hold that nothing below ``folder`` is made, changed or gone meanwhile but for what is in ``allowed``."""

    def seen() -> dict[str, tuple[int, int]]:
        found = {}
        for place, _, names in os.walk(os.fsencode(folder)):
            for name in (*names, b"."):
                path = Path(os.fsdecode(os.path.join(place, name)))  # noqa: PTH118 - names that are no text
                if not any(path.is_relative_to(one) for one in allowed):
                    status = path.lstat()
                    state = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
                    found[os.fsdecode(place) + "/" + os.fsdecode(name)] = state
        return found

    before = seen()
    yield
    assert seen() == before


def judge(ended: Ended) -> Ended:
    """Hold what every end promises, and give it."""
    assert ended.code in ANSWERS | ERRORS, str(ended)
    assert "Traceback" not in ended.stderr, str(ended)
    assert "internal error" not in ended.stderr, str(ended)
    assert "ended unexpectedly" not in ended.stderr, str(ended)
    for text in (ended.stdout, ended.stderr):
        assert text.replace("\n", "").replace("\t", "").isprintable(), str(ended)
    if ended.code in ERRORS:
        assert ended.stdout == "", str(ended)
        assert ended.stderr.startswith("error: "), str(ended)
        assert "\n  do:" in ended.stderr, str(ended)
        assert len(ended.stderr) < 20_000, len(ended.stderr)
    return ended


def tried(*words: object, folder: Path, stdin: bytes = b"", state: Path | None = None) -> Ended:
    """Run a command in this process, in ``folder``, where it may write nothing."""
    with untouched(folder, *(() if state is None else (state,))), bounded():
        ended = nwscan(*words, stdin=stdin, state=state or Path("/dev/null/state"), cwd=folder)
    return judge(ended)


def typed_and_tried(*words: object, folder: Path, stdin: Path | None = None) -> Ended:
    """Run the real command, and its worker, in ``folder``, where it may write nothing."""
    given = stdin or Path(os.devnull)
    texts = [os.fsdecode(word) if isinstance(word, (bytes, Path)) else str(word) for word in words]
    environment = os.environ | {"NWSCAN_CONNECT": NO_LIBVIRT, "NWSCAN_STATE": "/dev/null/state"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder), "TMPDIR": str(folder)}
    environment = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    # only the environment of this process is that of the command: its file descriptors and its limits are its own
    with (
        untouched(folder),
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as account,
        given.open("rb") as reading,
    ):
        between = [sys.executable, "-I", "-S", "-c", ACCOUNTANT, str(account.fileno()), *typed(*texts)]
        process = subprocess.Popen(
            between,
            cwd=folder,
            env=environment,
            stdin=reading,
            stdout=out,
            stderr=err,
            process_group=0,
            pass_fds=(account.fileno(),),
        )
        _wait(process)
        for file in (out, err, account):
            file.seek(0)
        cpu_s, peak_kib = map(float, account.read().split())
        ended = Ended(tuple(texts), process.returncode, out.read().decode(), err.read().decode())
    assert cpu_s <= CPU_S, f"{cpu_s} s: {ended}"
    assert peak_kib * 1024 <= MEMORY_OCTETS, f"{peak_kib} KiB: {ended}"
    return judge(ended)


ACCOUNTANT = """\
import os, sys
account = int(sys.argv[1])
os.set_inheritable(account, False)
pid = os.fork()
if not pid:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(pid, 0)
os.write(account, f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
code = os.waitstatus_to_exitcode(status)
os._exit(code if code >= 0 else 128 - code)
"""
"""A small process between: what execve(2) replaces counts in ru_maxrss, and this process may be large by now."""


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end; AssertionError where it hangs."""
    try:
        process.wait(WALL_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError(f"it hangs: {process.args!r}") from None
