"""Captures by the thousand on a Dask cluster: `python benchmarks/scale.py [--frames N] [--small N] [--write]`.

A real scheduler and real workers, one thread each, are started as one would by hand, on loopback. First 40 captures of
5 M frames (one file under 40 names: what is compared is work, and the disk is no part of it) with one worker and with
two, in turn, three rounds. Then 10,000 captures of a thousand frames, while the scheduler's memory is looked at. The
results are held against each other, and those of the small ones against a single process.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from inputs import GUEST, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FILES: Final = 40
ROUNDS: Final = 3
RESULTS: Final = Path(__file__).with_name("SCALE.md")
BIN: Final = Path(sys.executable).parent
QUIET: Final = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextmanager
def scheduler() -> Iterator[tuple[str, int]]:
    """Run a scheduler; gives its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    words = [BIN / "dask", "scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    with subprocess.Popen([*words, "--dashboard-address", "127.0.0.1:0"], **QUIET) as process:  # type: ignore[call-overload]
        try:
            yield address, process.pid
        finally:
            process.terminate()


@contextmanager
def worker(address: str) -> Iterator[None]:
    """Run a worker of one thread."""
    words = [BIN / "dask", "worker", address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1"]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([*words, "--local-directory", folder], **QUIET)  # type: ignore[call-overload]
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def analyzed(paths: Sequence[Path], *more: str) -> tuple[float, bytes]:
    """Give how long `nwscan analyze` takes, in seconds, and its report."""
    words = [BIN / "nwscan", "analyze", *paths, "--mac", GUEST, "--json", *more]
    begun_s = time.monotonic()
    done = subprocess.run(words, capture_output=True, check=True)
    return time.monotonic() - begun_s, done.stdout


def names(source: Path, folder: Path, count: int) -> list[Path]:
    """Give one file so many names."""
    found = [folder / f"{number:05}.pcap" for number in range(count)]
    for path in found:
        os.link(source, path)
    return found


def compare_workers(paths: Sequence[Path]) -> dict[int, list[float]]:
    """Give the times with one worker and with two."""
    times: dict[int, list[float]] = {1: [], 2: []}
    reports = set()
    for _ in range(ROUNDS):
        for count, taken in times.items():
            with ExitStack() as stack:
                address, _ = stack.enter_context(scheduler())
                for _ in range(count):
                    stack.enter_context(worker(address))
                time.sleep(4)  # they are up: what is measured is the work
                taken_s, report = analyzed(paths, "--scheduler", address)
            taken.append(taken_s)
            reports.add(report)
            print(f"{count} worker(s): {taken_s:.1f} s", flush=True)
    if len(reports) != 1:
        raise SystemExit("the reports differ")
    return times


def watch_scheduler(paths: Sequence[Path]) -> tuple[float, list[int]]:
    """Give how long many small captures take, and the scheduler's resident memory (octets) meanwhile."""
    seen: list[int] = []
    is_over = threading.Event()

    def look(pid: int) -> None:
        while not is_over.wait(0.25):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            seen.append(next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS")))

    with scheduler() as (address, pid), worker(address), worker(address):
        time.sleep(4)
        thread = threading.Thread(target=look, args=(pid,))
        thread.start()
        try:
            taken_s, report = analyzed(paths, "--scheduler", address)
        finally:
            is_over.set()
            thread.join()
    if report != analyzed(paths)[1]:
        raise SystemExit("the cluster's report is not that of one process")
    return taken_s, seen


def text_of(frames: int, times: dict[int, list[float]], small: int, taken_s: float, seen: Sequence[int]) -> str:
    """Give the results as a document."""
    one, two = median(times[1]), median(times[2])
    rounds = ", ".join(f"{a / b:.2f}" for a, b in zip(times[1], times[2], strict=True))
    tenth = max(1, len(seen) // 10)
    early, late = median(seen[tenth : 2 * tenth] or seen), median(seen[-tenth:])
    return f"""# Many captures on a cluster

`python benchmarks/scale.py --write`, {datetime.now(UTC):%Y-%m-%d}, Linux {platform.release()}, {os.cpu_count()} cores,
Python {platform.python_version()}, distributed {version("distributed")}; load average before it {LOAD:.1f}.

| what | measured | wanted |
|---|--:|--:|
| {FILES} captures of {frames:,} frames, one worker of one thread | {one:.1f} s | |
| the same, two such workers | {two:.1f} s | |
| two workers are faster by (the rounds: {rounds}) | {one / two:.2f}x | 1.5x |
| {small:,} captures of 1,000 frames, two workers | {taken_s:.1f} s | |
| the scheduler's resident memory meanwhile: at first | {early / 2**20:.0f} MiB | |
| in the end | {late / 2**20:.0f} MiB | as at first |
| at the most | {max(seen) / 2**20:.0f} MiB | |

The reports of all runs of the large captures are equal octet for octet, and that of the small ones is the report of a
single process.
"""


LOAD: Final = os.getloadavg()[0]


def main() -> int:
    """Measure; with --write put it into SCALE.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5_000_000, help="frames of each of the 40 captures [5,000,000]")
    parser.add_argument("--small", type=int, default=10_000, help="how many small captures [10,000]")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    asked = parser.parse_args()
    large, thousand = path_of("small", frames=asked.frames), path_of("thousand")
    with tempfile.TemporaryDirectory(dir=large.parent) as folder:
        times = compare_workers(names(large, Path(folder), FILES))
    with tempfile.TemporaryDirectory(dir=large.parent) as folder:
        taken_s, seen = watch_scheduler(names(thousand, Path(folder), asked.small))
    text = text_of(asked.frames, times, asked.small, taken_s, seen)
    print(text)
    if asked.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
