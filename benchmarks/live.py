"""What does a live capture cost beside other tools? `python benchmarks/live.py [--seconds S] [--rounds N] [--write]`.

As root, in a network namespace of its own, which goes with it. A sender on core 0 puts foreign unicast of 128 octets
out of a tap (veth) at 0.3, 0.6 and 0.9 of what it was measured to send at the most with nobody listening; one tool at a
time captures on core 1. Each round goes through all tools at one rate, then at the next, so that what else the machine
does meets them all.

CPU is what the tool's whole process tree ran (its CPU clocks) from just before the first frame until
0.3 s after the last one, when all is read: start-up and report are not in it, waiting is. What a whole run takes from
start to end (user and system, by wait4) stands apart, for a window in which nothing is sent.
Lost is what a tool says that it lost; missing is what was sent and is neither in its count nor in its loss.

Last, nwscan with and without --unrelated while ever more of the same number of frames are the guest's own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from flood import GUEST_MAC, TAP, Sender, Sent, enter_namespace, make_tap, mix, pin
from memory import family
from results import machine, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS: Final = Path(__file__).with_name("LIVE.md")
SHARES: Final = (0.0, 0.3, 0.6, 0.9)
OWN_SHARES: Final = (0.0, 0.5, 0.9, 1.0)
SENDER_CORE, READER_CORE = 0, 1
_SETTLE_S: Final = 0.3
_IDLE_ROUNDS: Final = 4
_CPU_CLOCK: Final = 2
"""CPUCLOCK_SCHED: beside a PID it makes the number of that process's clock, as clock_getcpuclockid(3) gives it."""
NWSCAN: Final = (str(Path(sys.executable).with_name("nwscan")), "--connect", "qemu+unix:///system?socket=/nonexistent")
OURS, KEEPING, UNRELATED = "nwscan capture --no-keep", "nwscan capture", "nwscan capture --no-keep --unrelated"
TCPDUMP, DUMPCAP = "tcpdump -s 128 -w /dev/null", "dumpcap -s 128 -w /dev/null"
TOOLS: Final = (OURS, KEEPING, TCPDUMP, DUMPCAP)


@dataclass(frozen=True, slots=True)
class Run:
    """One tool while frames were sent: CPU of the window and of all, in seconds, what it counted and says it lost."""

    sent: Sent
    cpu_s: float
    whole_s: float
    counted: int
    lost: int


@dataclass
class Series:
    """The runs of one tool at one rate."""

    runs: list[Run] = field(default_factory=list)

    def frame_ns(self) -> list[float]:
        """Give the CPU a frame of each run, in nanoseconds."""
        return [run.cpu_s / run.sent.frames * 1e9 for run in self.runs]

    def middle_s(self, name: str) -> float:
        """Give the median of a time of the runs."""
        return median(getattr(run, name) for run in self.runs)

    def total(self, name: str) -> int:
        """Give the sum of a count over all runs."""
        return sum(getattr(run, name) for run in self.runs)

    @property
    def sent(self) -> int:
        """Frames sent in all runs."""
        return sum(run.sent.frames for run in self.runs)


def command_of(tool: str, state: str) -> list[str]:
    """Give the command line of a tool."""
    name, *options = tool.split()
    if name != "nwscan":
        return [name, "-i", TAP, *options]
    return [*NWSCAN, "--state", state, *options, TAP, "--mac", GUEST_MAC, "-a", "duration:3600", "--json"]


def run(tool: str, sender: Sender, seconds: float, rate_fps: float) -> Run:
    """Have a tool capture while the sender sends, end it by SIGINT, and give what it took and told."""
    with tempfile.TemporaryDirectory() as state:
        command = ["taskset", "-c", str(READER_CORE), *command_of(tool, state)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if process.stdout is None or process.stderr is None:
            raise TypeError(process)
        said = b""
        while not re.search(rb"capturing on|listening on|File:", said):
            line = process.stderr.readline()
            if not line:
                raise SystemExit(f"{tool} did not start: {said.decode()}")
            said += line
        time.sleep(_SETTLE_S)
        before_s = ran_s(process.pid)
        sent = sender.send(seconds, rate_fps) if rate_fps else _nothing(seconds)
        time.sleep(_SETTLE_S)
        cpu_s = ran_s(process.pid) - before_s
        process.send_signal(signal.SIGINT)
        told, also = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    counted, lost = counts_of(tool, told, (said + also).decode())
    return Run(sent, cpu_s, usage.ru_utime + usage.ru_stime, counted, lost)


def ran_s(pid: int) -> float:
    """Give how long a process (with threads that have ended) and its children have run, in seconds."""
    total = 0.0
    for one in family(pid):
        with suppress(OSError):  # it has just ended
            total += time.clock_gettime(~one << 3 | _CPU_CLOCK)
    return total


def _nothing(seconds: float) -> Sent:
    time.sleep(seconds)
    return Sent(0, seconds)


def counts_of(tool: str, told: bytes, said: str) -> tuple[int, int]:
    """Give the frames that a tool counted and those that it says it lost."""
    if tool.startswith("nwscan"):
        windows = json.loads(told)["windows"]
        return sum(one["frames_seen"] for one in windows), sum(one["frames_lost"] for one in windows)
    patterns = (
        (r"(\d+) packets captured", r"(\d+) packets dropped by kernel")
        if tool == TCPDUMP
        else (r"Packets captured: (\d+)", r"Packets received/dropped on interface '\w+': \d+/(\d+)")
    )
    found = [re.search(pattern, said) for pattern in patterns]
    if None in found:
        raise SystemExit(f"{tool} did not tell its counts: {said}")
    counted, lost = (int(one.group(1)) for one in found if one is not None)
    return counted, lost


def measure(most_fps: float, rounds: int, seconds: float) -> dict[float, dict[str, Series]]:
    """Give the runs of each tool by the share of the most that was sent."""
    found = {share: {tool: Series() for tool in TOOLS} for share in SHARES}
    sender = Sender(mix(0.0))
    for number in range(rounds):
        for share, by_tool in found.items():
            for tool, series in by_tool.items():
                if share or number < _IDLE_ROUNDS:
                    series.runs.append(run(tool, sender, seconds, most_fps * share))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    sender.close()
    return found


def measure_own(rate_fps: float, rounds: int, seconds: float) -> dict[float, dict[str, Series]]:
    """Give the runs with and without --unrelated, by the share of the frames that are the guest's own."""
    found = {own: {tool: Series() for tool in (OURS, UNRELATED)} for own in OWN_SHARES}
    for _ in range(rounds):
        for own, by_tool in found.items():
            sender = Sender(mix(own))
            for tool, series in by_tool.items():
                series.runs.append(run(tool, sender, seconds, rate_fps))
            sender.close()
    return found


def main() -> None:
    """Measure, print, and write the results where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run [1.5]")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    before = os.getloadavg()
    enter_namespace()
    make_tap()
    pin(SENDER_CORE)
    sender = Sender(mix(0.0))
    sender.send(0.3)
    most_fps = max(sender.send(0.5).rate_fps for _ in range(5))
    sender.close()
    beside = measure(most_fps, chosen.rounds, chosen.seconds)
    own = measure_own(most_fps * 0.3, max(1, chosen.rounds // 3), chosen.seconds)
    text = "\n".join(lines(chosen, most_fps, beside, own, (before, os.getloadavg()))) + "\n"
    print(text)
    if chosen.write:
        RESULTS.write_text(text, encoding="utf-8")


def lines(
    chosen: argparse.Namespace,
    most_fps: float,
    beside: dict[float, dict[str, Series]],
    own: dict[float, dict[str, Series]],
    loads: tuple[Sequence[float], Sequence[float]],
) -> list[str]:
    """Give the results as a document."""
    before, after = (" ".join(f"{one:.1f}" for one in load) for load in loads)
    text = [
        "# Live capture beside other tools",
        "",
        f"`python benchmarks/live.py --rounds {chosen.rounds} --seconds {chosen.seconds:g} --write`.",
        f"{time.strftime('%Y-%m-%d')}, {machine()}.",
        f"{versions()}.",
        f"Load averages before: {before}; after: {after}.",
        "",
        f"The sender alone sends at most {most_fps:,.0f} frames a second. What a tool takes in the sender's own path",
        "slows it down, so that the rate reached may be below the one asked for. CPU a frame is what the whole process",
        "tree ran while frames came, waiting included, start-up and report not: medians of all rounds, with the least",
        "and the most. Frames lost and missing are added up. A ratio of at most 0.50 is what is aimed at.",
        "",
        "| of the most | tool | frames/s | CPU, ns a frame | least | most | of tcpdump's | lost | missing |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for share, by_tool in beside.items():
        if share:
            reference = median(by_tool[TCPDUMP].frame_ns())
            text += [row(share, tool, series, reference) for tool, series in by_tool.items()]
    text += [
        "",
        "## Idle",
        "",
        "Nothing is sent: CPU of a whole run, from start to end, and of a second of its window; medians.",
        "",
    ]
    text += ["| tool | all, ms | a second, ms |", "|---|--:|--:|"]
    text += [
        f"| `{tool}` | {series.middle_s('whole_s') * 1e3:.0f} "
        f"| {series.middle_s('cpu_s') / (chosen.seconds + _SETTLE_S) * 1e3:.1f} |"
        for tool, series in beside[0.0].items()
    ]
    text += [
        "",
        "## With more and more of the guest's own",
        "",
        "The same rate throughout (0.3 of the most). With `--unrelated` the kernel counts the guest's own frames.",
        "",
        "| own | frames/s | ns of each frame sent | with `--unrelated` | missing | with `--unrelated` |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for share, by_tool in own.items():
        plain, only = by_tool[OURS], by_tool[UNRELATED]
        rate = median(run.sent.rate_fps for run in plain.runs)
        text.append(
            f"| {share:.0%} | {rate:,.0f} | {median(plain.frame_ns()):.1f} | {median(only.frame_ns()):.1f} "
            f"| {missing(plain):,} | {missing(only):,} |"
        )
    return text


def row(share: float, tool: str, series: Series, reference_ns: float) -> str:
    """Give the row of one tool at one rate."""
    times = series.frame_ns()
    rate = median(run.sent.rate_fps for run in series.runs)
    return (
        f"| {share} | `{tool}` | {rate:,.0f} | {median(times):.1f} | {min(times):.1f} | {max(times):.1f} "
        f"| {median(times) / reference_ns:.2f} | {series.total('lost'):,} | {missing(series):,} |"
    )


def missing(series: Series) -> int:
    """Give the frames that were sent and are neither counted nor lost."""
    return series.sent - series.total("counted") - series.total("lost")


if __name__ == "__main__":
    main()
