"""How fast is `nwscan analyze` beside the tools people use? `python benchmarks/files.py [--scale S] [--rounds N]`.

nwscan is measured as pip installs it (benchmarks/installed.py). Each tool is a whole process on the same input
(benchmarks/inputs.py makes it), one round of all after another, so that what else the machine does meets them all. The
slow ones get the first part of the input and are compared per frame. Writes benchmarks/RESULTS.md, with machine,
versions, date and load; a run at a smaller scale prints it instead.

The expression that tcpdump gets is what nwscan looks for: foreign unicast. "To /dev/null" can be read in two ways, so
that both are measured: `-w /dev/null` (frames copied) and `> /dev/null` (frames printed).
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import installed
from inputs import GUEST, INPUTS, fresh
from memory import Watch
from results import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).parents[1]
FOREIGN: Final = f"not multicast and not ether dst {GUEST} and not ether src {GUEST}"
_SCAPY: Final = """
import sys
from scapy.layers import dhcp, inet, inet6, l2
from scapy.utils import PcapReader
with PcapReader(sys.argv[1]) as frames:
    print(sum(1 for frame in frames if l2.Ether in frame))
"""
_DPKT: Final = """
import sys, dpkt
with open(sys.argv[1], "rb") as file:
    print(sum(len(dpkt.ethernet.Ethernet(octets)) > 0 for _, octets in dpkt.pcap.Reader(file)))
"""


@dataclass
class Tool:
    """A program and what it was measured to take; ``share`` is the part of the input that it gets."""

    name: str
    command: Callable[[str], list[str]]
    share: float = 1.0
    prints: bool = False
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def middle_s(self) -> float:
        """The median of the wall times."""
        return median(self.wall_s)


@dataclass
class Trial:
    """Tools on one input; ``frames`` is how many the whole of it has."""

    input: str
    frames: int
    tools: list[Tool]
    most_mib: float = 0.0

    def tool(self, name: str) -> Tool:
        """Give a tool by its name."""
        return next(tool for tool in self.tools if tool.name == name)

    def per_frame_ns(self, name: str) -> float:
        """Give what a tool takes for a frame, start-up and all."""
        tool = self.tool(name)
        return tool.middle_s / max(self.frames * tool.share, 1) * 1e9


def nwscan(path: str) -> list[str]:
    """Give the command line that is measured: all of the report, with talkers, groups and timeline."""
    return [installed.nwscan(), "analyze", path, "--mac", GUEST, "--json"]


NWSCAN: Final = "nwscan analyze"
CAT: Final = "cat"
TCPDUMP_W: Final = "tcpdump -r FILE -w /dev/null FOREIGN"
TCPDUMP: Final = "tcpdump -nn -r FILE FOREIGN > /dev/null"
TSHARK: Final = "tshark -q -z endpoints,eth"
SCAPY: Final = "scapy, dissection"


def tools(name: str) -> list[Tool]:
    """Give the tools that are measured on an input."""
    found = [Tool(NWSCAN, nwscan), Tool(CAT, lambda path: ["cat", path])]
    if name in {"small", "full"}:
        found += [
            Tool(TCPDUMP_W, lambda path: ["tcpdump", "-r", path, "-w", "/dev/null", FOREIGN]),
            Tool(TCPDUMP, lambda path: ["tcpdump", "-nn", "-r", path, FOREIGN], share=0.1, prints=True),
        ]
    if name == "small":
        found += [
            Tool(TSHARK, lambda path: ["tshark", "-n", "-r", path, "-q", "-z", "endpoints,eth"], share=0.01),
            Tool("capinfos", lambda path: ["capinfos", path], share=0.1),
            Tool(SCAPY, lambda path: [sys.executable, "-c", _SCAPY, path], share=0.0025),
            Tool("dpkt, Ethernet(octets)", lambda path: [sys.executable, "-c", _DPKT, path], share=0.01),
        ]
    if name in {"small-gz", "full-gz"}:
        found.append(Tool("gzip -dc", lambda path: ["gzip", "-dc", path]))
    if name == "small-zst":
        found.append(Tool("zstd -dc", lambda path: ["zstd", "-dc", path]))
    if name == "thousand":
        found.append(Tool("nwscan --version", lambda _path: [installed.nwscan(), "--version"]))
        found.append(Tool("python -c pass", lambda _path: [sys.executable, "-c", "pass"]))
    return found


def run(command: Sequence[str]) -> tuple[float, float]:
    """Run a whole process, its output to /dev/null; gives wall and CPU seconds, those of its children too."""
    before, begin_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall_s, after = time.perf_counter() - begin_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(name: str, scale: float, rounds: int) -> Trial:
    """Measure the tools on an input, round by round."""
    frames = INPUTS[name].frames if name in {"thousand", "empty"} else round(INPUTS[name].frames * scale)
    trial = Trial(name, frames, tools(name))
    with ExitStack() as stack:
        shares = {tool.share for tool in trial.tools}
        paths = {
            share: str(stack.enter_context(fresh(name, scale, round(frames * share) if share < 1 else None)))
            for share in shares
        }
        for path in paths.values():
            run(["cat", path])  # into the cache of the kernel
        for number in range(rounds):
            for tool in trial.tools:
                if number >= 3 and tool.share < 1:
                    continue  # the slow ones have enough with three
                wall_s, cpu_s = run(tool.command(paths[tool.share]))
                tool.wall_s.append(wall_s)
                tool.cpu_s.append(cpu_s)
            print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr)
        trial.most_mib = memory_mib(nwscan(paths[1]))
    return trial


def memory_mib(command: Sequence[str]) -> float:
    """Run a command and give the most of RssAnon + RssShmem, it and its children together."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watch = Watch(process)
    watch.start()
    process.wait()
    watch.join()
    return watch.most_kib / 1024


def linear(counts: Sequence[int], rounds: int) -> list[tuple[int, list[float], float]]:
    """Measure how the cost grows: frames, wall seconds, and the most memory in MiB."""
    found = []
    for count in counts:
        with fresh("small", frames=count) as path:
            run(["cat", str(path)])
            walls = [run(nwscan(str(path)))[0] for _ in range(rounds)]
            found.append((count, walls, memory_mib(nwscan(str(path)))))
        print(f"{count} frames", file=sys.stderr)
    return found


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the frames; below 1 nothing is written [1]")
    parser.add_argument("--rounds", type=int, default=5, help="how often each tool runs [5]")
    parser.add_argument("--largest", type=int, default=100_000_000, help="frames of the largest file of the series")
    parser.add_argument("--only", nargs="*", choices=list(INPUTS), help="these inputs alone; nothing is written")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md whatever part was measured")
    chosen = parser.parse_args()
    load = os.getloadavg()
    names = chosen.only or list(INPUTS)
    trials = [measure(name, chosen.scale, chosen.rounds) for name in names]
    series = {*(10**power for power in range(3, 9)), chosen.largest}
    counts = sorted(
        round(count * chosen.scale) for count in series if count * chosen.scale >= 1000 and count <= chosen.largest
    )
    growth = [] if chosen.only and not chosen.write else linear(counts, max(3, chosen.rounds // 2))
    is_kept = chosen.write or (chosen.scale == 1 and not chosen.only)
    write(trials, growth, (load, os.getloadavg()), ROOT / "benchmarks" if is_kept else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
