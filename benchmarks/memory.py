"""How much memory does a measurement take? `python benchmarks/memory.py [--frames N]`: any size, floods of MACs.

Streams captures that are made on the way into `nwscan analyze -` and looks, many times a second, at RssAnon + RssShmem
in /proc/PID/status of nwscan and its worker together: the memory that is nwscan's own, without what it maps of
programs and files. Ends with 1 where the most of it passes the limit, or where a report does not add up.

The captures: small frames of few talkers, a thousandth, a tenth and all of N (10 million); large frames; all of N
with another random source and destination each, in pcap and in pcapng.
"""

from __future__ import annotations

import argparse
import json
import platform
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_MIB: Final = 200.0
LOOK_EVERY_S: Final = 0.02
GUEST: Final = "52:54:00:00:00:01"
_AT_ONCE: Final = 10_000
_PCAP_HEADER: Final = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_PCAPNG_HEADER: Final = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    "<IIHHII", 1, 20, 1, 0, 0, 20
)


@dataclass(frozen=True)
class Case:
    """One capture: how many frames of how many octets, whether each has MACs of its own, and the format."""

    name: str
    frames: int
    octets: int = 60
    is_flood: bool = False
    is_pcapng: bool = False


def parts(case: Case) -> Iterator[bytes]:
    """Yield the capture in parts; the times rise by a microsecond a frame."""
    generator = np.random.default_rng(1)
    before, behind = (28, 4) if case.is_pcapng else (16, 0)
    yield _PCAPNG_HEADER if case.is_pcapng else _PCAP_HEADER
    length = before + case.octets + behind
    for start in range(0, case.frames, _AT_ONCE):
        n = min(_AT_ONCE, case.frames - start)
        rows = np.zeros((n, length), np.uint8)
        stamps = np.arange(start, start + n, dtype=np.uint64)
        head = rows[:, :before].view("<u4")
        if case.is_pcapng:
            head[:, 0], head[:, 1] = 6, length
            head[:, 4], head[:, 5], head[:, 6] = stamps, case.octets, case.octets
            rows[:, -4:].view("<u4")[:, 0] = length
        else:
            head[:, 0], head[:, 1] = stamps // 1_000_000, stamps % 1_000_000
            head[:, 2], head[:, 3] = case.octets, case.octets
        frames = rows[:, before : before + case.octets]
        if case.is_flood:
            frames[:, :12] = generator.integers(0, 256, (n, 12), np.uint8)
            frames[:, [0, 6]] &= 0xFC  # unicast
        else:
            frames[:, 5], frames[:, 11] = stamps % 7, stamps % 5
        frames[:, 12:14] = 0x88, 0xB5
        yield rows.tobytes()


def own_kib(pid: int) -> int:
    """Give RssAnon + RssShmem of a process in KiB, 0 where it is gone."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(int(found[key].split()[0]) for key in ("RssAnon", "RssShmem") if key in found)
    return 0


def family(pid: int) -> list[int]:
    """Give a process and all that it started, and those started."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


class Watch(threading.Thread):
    """Looks at the memory of a process and its children until it has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self.most_kib = 0
        self.looks = 0

    def run(self) -> None:
        """Look."""
        while self._process.poll() is None:
            self.most_kib = max(self.most_kib, sum(own_kib(pid) for pid in family(self._process.pid)))
            self.looks += 1
            time.sleep(LOOK_EVERY_S)


def feed(case: Case, pipe: IO[bytes]) -> None:
    """Write the capture and close the pipe."""
    with pipe:
        for part in parts(case):
            pipe.write(part)


def measure(case: Case) -> tuple[float, dict[str, Any], int]:
    """Analyze a capture; give the most memory in MiB, the report, and how often it was looked."""
    command = [sys.executable, "-m", "nwscan.cli.main", "analyze", "-", "--mac", GUEST, "--json"]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    if process.stdin is None or process.stdout is None:
        raise TypeError(process)
    watch = Watch(process)
    watch.start()
    writer = threading.Thread(target=feed, args=(case, process.stdin))
    writer.start()
    document = process.stdout.read()
    writer.join()
    process.wait()
    watch.join()
    return watch.most_kib / 1024, json.loads(document), watch.looks


def main() -> int:
    """Measure each case and print a table; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000, help="of the largest captures [10 million]")
    n = parser.parse_args().frames
    cases = [
        Case("few talkers", n // 1000),
        Case("few talkers", n // 10),
        Case("few talkers", n),
        Case("few talkers, pcapng", n, is_pcapng=True),
        Case("frames of 1514 octets", n // 5, octets=1514),
        Case("random MACs", n, is_flood=True),
        Case("random MACs, pcapng", n, is_flood=True, is_pcapng=True),
    ]
    print(f"{platform.processor() or platform.machine()}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}")
    print("| capture | frames | MB | most RssAnon + RssShmem, MiB | looks |\n|---|---|---|---|---|")
    is_fine = True
    for case in cases:
        most_mib, report, looks = measure(case)
        megabytes = case.frames * (case.octets + 16 + 16 * case.is_pcapng) / 1e6
        print(f"| {case.name} | {case.frames:,} | {megabytes:,.0f} | {most_mib:.1f} | {looks} |", flush=True)
        adds_up = sum(counts["frames"] for counts in report["classes"].values()) == case.frames
        is_fine &= adds_up and 0 < most_mib < LIMIT_MIB
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
