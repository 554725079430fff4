"""How does the cost grow with taps and rules? `python benchmarks/growth.py [--write]`: tables, and a picture of them.

As root, in a network namespace of its own, which goes with it. Frames: benchmarks/files.py.

Taps: a bridge that floods every frame to 1, 2, 5, ... 200 taps (veth, named and addressed as libvirt does it). All taps
together get the same number of frames a second, so that what grows is what a tap costs. `top`, `export` (scraped every
second) and `capture --no-keep` of all of them run one after the other. CPU is what the whole process tree ran in a
window of it; memory is RssAnon + RssShmem of all of it (a capture's rings are the kernel's, and beside it).

Rules: an nwfilter of so many rules none of which holds, as libvirt makes ebtables commands of it. The evaluator:
`replay` of a capture, CPU of the whole process less that of the same with 1,000 frames. The kernel: the way of a frame
through a bridge to a tap with these commands, rounds interleaved.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from always_on import read_for
from flood import Sender, enter_namespace, mix, pin
from inputs import GUEST, path_of
from live import NWSCAN, ran_s
from memory import family, own_kib
from results import machine, versions

from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FOLDER: Final = Path(__file__).parent
TAPS: Final = (1, 2, 5, 10, 20, 50, 100, 200)
RULES: Final = (0, 10, 20, 50, 100, 200)
COMMANDS: Final = ("top", "export", "capture")
TOTAL_FPS: Final = 20_000
WINDOW_S: Final = 4.0
PORT: Final = 9881
REPLAYED: Final = 500_000
REPLAYS, KERNEL_ROUNDS, KERNEL_S = 3, 8, 0.2
_PR_SET_PDEATHSIG: Final = 1
_PRIORITY: Final = 20
"""Real-time, so that what a frame takes is its way and not the wait for a core."""

TapRow = tuple[int, dict[str, tuple[float, float]]]
RuleRow = tuple[int, float, float]


def add_taps(before: int, taps: int) -> None:
    """Add taps to the bridge until there are so many."""
    lines = []
    for number in range(before, taps):
        mac = f"fe:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        lines += [f"link add vnet{number} address {mac} type veth peer name g{number}"]
        lines += [f"link set g{number} up", f"link set vnet{number} master br0 up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def make_bridge() -> None:
    """Make a bridge with the sender's port; nobody on it speaks of its own accord."""
    enter_namespace()
    for which in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
    lines = ["link set lo up", "link add br0 type bridge mcast_snooping 0", "link set br0 up"]
    lines += ["link add vsend type veth peer name send", "link set vsend master br0 up", "link set send up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


@contextmanager
def flooding(rate_fps: float) -> Iterator[None]:
    """Have a process on core 0 send foreign unicast out of ``send`` meanwhile."""
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends when this process does, however that ends
        pin(0)
        Sender(mix(0.0), "send").send(3600, rate_fps)
        os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def watched(pid: int, wait: Callable[[], None]) -> tuple[float, float]:
    """Give the CPU, in ms a second, and the most memory, in MiB, of a process tree while ``wait`` lasts."""
    begun_s, since_s = ran_s(pid), time.monotonic()
    wait()
    share = (ran_s(pid) - begun_s) / (time.monotonic() - since_s)
    return share * 1e3, sum(own_kib(one) for one in family(pid)) / 1024


def measure_top() -> tuple[float, float]:
    """Measure the live view on a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(NWSCAN[0], [*NWSCAN, "top"])  # noqa: S606 - no shell is wanted
    shown, until_s = b"", time.monotonic() + 60
    while b"foreign/s" not in shown and time.monotonic() < until_s:
        shown += read_for(terminal, 0.5)
    if b"foreign/s" not in shown:
        raise SystemExit(f"top did not start: {shown[-500:]!r}")
    read_for(terminal, 1.0)
    found = watched(pid, lambda: _read(terminal))
    os.write(terminal, b"q")
    read_for(terminal, 1.0)
    os.waitpid(pid, 0)
    return found


def _read(terminal: int) -> None:
    read_for(terminal, WINDOW_S)


def measure_export() -> tuple[float, float]:
    """Measure the exporter, scraped every second."""

    def scrape() -> None:
        for _ in range(round(WINDOW_S)):
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=60) as answer:
                answer.read()
            time.sleep(1.0)

    return _measured("export", "--listen", f"127.0.0.1:{PORT}", wait=scrape)


def measure_capture(taps: int) -> tuple[float, float]:
    """Measure a capture of all taps, by their names: --all would ask libvirt."""
    with tempfile.TemporaryDirectory() as state:
        names = [f"vnet{number}" for number in range(taps)]
        words = ("--state", state, "capture", *names, "-a", "duration:3600", "--no-keep", "--json")
        return _measured(*words, wait=lambda: time.sleep(WINDOW_S))


def _measured(*words: str, wait: Callable[[], None]) -> tuple[float, float]:
    with subprocess.Popen([*NWSCAN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            if process.stderr is None or not process.stderr.readline():
                raise SystemExit(f"{words} did not start")
            time.sleep(1.0)
            if process.poll() is not None:
                raise SystemExit(f"{words} ended with {process.returncode}")
            return watched(process.pid, wait)
        finally:
            process.send_signal(signal.SIGINT)
            if process.stderr is not None:
                process.stderr.read()


def measure_taps() -> list[TapRow]:
    """Give CPU and memory of each command by the number of taps."""
    rows: list[TapRow] = []
    before = 0
    for taps in TAPS:
        add_taps(before, taps)
        before = taps
        with flooding(TOTAL_FPS / taps):
            rows.append(
                (taps, dict(zip(COMMANDS, (measure_top(), measure_export(), measure_capture(taps)), strict=True)))
            )
        print(rows[-1], file=sys.stderr)
    return rows


def filter_text(rules: int) -> str:
    """Give an nwfilter that passes all, behind so many rules none of which holds."""
    lines = [
        f"<rule action='drop' direction='in' priority='{number}'>"
        f"<mac dstmacaddr='02:cc:00:00:{number >> 8:02x}:{number & 255:02x}'/></rule>"
        for number in range(1, rules + 1)
    ]
    return f"<filter name='growth' chain='mac'>{''.join(lines)}</filter>"


def replay_s(path: Path, filter_path: Path) -> float:
    """Give the CPU of a whole replay."""
    command = [
        NWSCAN[0],
        "replay",
        str(path),
        "--filter",
        str(filter_path),
        "--library",
        str(filter_path),
        "--mac",
        GUEST,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"replay ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def measure_replay() -> dict[int, float]:
    """Give the evaluator's nanoseconds a frame by the number of rules."""
    many, few = path_of("small", frames=REPLAYED), path_of("small", frames=1000)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for rules in RULES:
            file = Path(folder) / "growth.xml"
            file.write_text(filter_text(rules))
            times = [replay_s(many, file) - replay_s(few, file) for _ in range(REPLAYS)]
            found[rules] = median(times) / (REPLAYED - 1000) * 1e9
    return found


def install(rules: int, tap: str) -> None:
    """Put in what libvirt makes of the filter, in place of what was there."""
    reading = read_filter(filter_text(rules))
    if reading.filter is None:
        raise SystemExit(f"not a filter: {reading.findings}")
    program = instantiate(reading.filter, {}, {})
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    lines = [line.removeprefix("ebtables --concurrent -t nat ") for line in program.ebtables(tap)]
    chains = dict.fromkeys(line.split()[1] for line in lines)
    text = ["*nat", ":PREROUTING ACCEPT", ":OUTPUT ACCEPT", ":POSTROUTING ACCEPT", *(f"-N {chain}" for chain in chains)]
    text += [*lines, f"-A POSTROUTING -o {tap} -j libvirt-O-{tap}", "COMMIT", ""]
    if rules:
        subprocess.run(["ebtables-restore", "--noflush"], input="\n".join(text), text=True, check=True)


def measure_kernel() -> dict[int, float]:
    """Give the nanoseconds that a frame takes through the bridge to a tap, by the number of rules."""
    found: dict[int, list[float]] = {rules: [] for rules in RULES}
    sender = Sender(mix(0.0), "send")
    home = os.sched_getaffinity(0)
    pin(0)
    sender.send(KERNEL_S)
    for _ in range(KERNEL_ROUNDS):
        for rules, times in found.items():
            install(rules, "vnet0")
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
            try:
                times.append(1e9 / sender.send(KERNEL_S).rate_fps)
            finally:
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    sender.close()
    os.sched_setaffinity(0, home)
    return {rules: median(times) for rules, times in found.items()}


def lines(
    taps: Sequence[TapRow], rules: Sequence[RuleRow], loads: tuple[Sequence[float], Sequence[float]]
) -> list[str]:
    """Give the results as a document."""
    before, after = (" ".join(f"{one:.1f}" for one in load) for load in loads)
    text = ["# How the cost grows with taps and rules", ""]
    text += [f"`python benchmarks/growth.py --write`, {time.strftime('%Y-%m-%d')}, {machine()}.", f"{versions()}."]
    text += [f"Load averages before: {before}; after: {after}. Frames: [RESULTS.md](RESULTS.md).", ""]
    text += ["![CPU and memory by taps, time a frame by rules](growth.svg)", "", "## Taps", ""]
    text += [f"All taps together get {TOTAL_FPS:,} frames of foreign unicast a second.", ""]
    text += ["| taps | " + " | ".join(f"`{name}`, CPU ms a second | MiB" for name in COMMANDS) + " |"]
    text += ["|--:|" + "--:|" * 2 * len(COMMANDS)]
    for count, found in taps:
        cells = (f"{cpu_ms:.1f} | {memory_mib:.0f}" for cpu_ms, memory_mib in found.values())
        text.append(f"| {count} | {' | '.join(cells)} |")
    text += ["", "## Rules", "", f"`replay` of {REPLAYED:,} frames, and the way of a frame through the bridge.", ""]
    text += ["| rules | evaluator, ns a frame | kernel, ns a frame |", "|--:|--:|--:|"]
    text += [f"| {count} | {replayed:.0f} | {kernel:.0f} |" for count, replayed, kernel in rules]
    return text


def draw(taps: Sequence[TapRow], rules: Sequence[RuleRow], path: Path) -> None:
    """Draw the tables."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where a picture is made

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    (cpu, memory), (evaluator, kernel) = figure.subplots(2, 2)
    counts = [count for count, _ in taps]
    for name in COMMANDS:
        cpu.plot(counts, [found[name][0] for _, found in taps], "o-", label=name)
        memory.plot(counts, [found[name][1] for _, found in taps], "o-", label=name)
    evaluator.plot([row[0] for row in rules], [row[1] for row in rules], "o-", label="replay")
    kernel.plot([row[0] for row in rules], [row[2] for row in rules], "o-", label="bridge, ebtables")
    for axes, below, beside in (
        (cpu, "taps", "CPU, ms a second"),
        (memory, "taps", "memory, MiB"),
        (evaluator, "rules", "ns a frame"),
        (kernel, "rules", "ns a frame"),
    ):
        axes.set(xlabel=below, ylabel=beside, xlim=(0, None), ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print, and write the results where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write GROWTH.md and growth.svg")
    chosen = parser.parse_args()
    before = os.getloadavg()
    replayed = measure_replay()
    make_bridge()
    add_taps(0, 1)
    kernel = measure_kernel()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    rules = [(count, replayed[count], kernel[count]) for count in RULES]
    print(rules, file=sys.stderr)
    subprocess.run(["ip", "link", "del", "vnet0"], check=True)
    taps = measure_taps()
    text = "\n".join(lines(taps, rules, (before, os.getloadavg()))) + "\n"
    print(text)
    if chosen.write:
        (FOLDER / "GROWTH.md").write_text(text, encoding="utf-8")
        draw(taps, rules, FOLDER / "growth.svg")


if __name__ == "__main__":
    main()
