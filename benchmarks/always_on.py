"""What `top` and `export` cost on a host with many taps: `python benchmarks/always_on.py [--taps 200] [--write]`.

As root, in a network namespace of its own: a bridge with so many taps (veth, named and addressed as libvirt does it, so
that their guests are known without libvirt) and a sender whose frames the bridge floods to all of them. The real
commands run: `export` is scraped, `top` draws on a terminal of 80 columns and 24 lines. Told is CPU time, user and
system, of the process and what it started. What is found out once a minute (rules, drift, verdicts) needs libvirt and
is not in it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import platform
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

_CLONE_NEWNET: Final = 0x4000_0000
_TICKS: Final = os.sysconf("SC_CLK_TCK")
PORT: Final = 9879
SCRAPES: Final = 40
TOP_S: Final = 40.0
SENT_FPS: Final = 100
RESULTS: Final = Path(__file__).with_name("ALWAYS_ON.md")
NWSCAN: Final = (str(Path(sys.executable).with_name("nwscan")), "--connect", "qemu+unix:///system?socket=/nonexistent")


def make_host(taps: int) -> None:
    """Make the namespace with its bridge and taps."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise SystemExit("run it as root")
    for which in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
    lines = ["link set lo up", "link add br0 type bridge mcast_snooping 0", "link set br0 up"]
    for number in range(taps):
        mac = f"fe:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        lines.append(f"link add vnet{number} address {mac} type veth peer name g{number}")
        lines += [f"link set g{number} up", f"link set vnet{number} master br0 up"]
    lines += ["link add vsend type veth peer name send", "link set vsend master br0 up", "link set send up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def flood(is_over: threading.Event) -> None:
    """Send frames to nobody the bridge knows, a hundred a second: every tap gets each."""
    frame = bytes.fromhex("02aa0000005002aa0000000a88b5").ljust(128, b"\0")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind(("send", 0))
        while not is_over.wait(1 / SENT_FPS):
            sock.send(frame)


def cpu_s(pid: int) -> float:
    """Give the CPU time of a process and of what it started and has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def measure_export() -> tuple[float, float, int, float, str]:
    """Give CPU seconds a scrape, the time it takes, its octets, the CPU share while nobody asks, and what counts."""
    with subprocess.Popen([*NWSCAN, "export", "--listen", f"127.0.0.1:{PORT}"], stderr=subprocess.PIPE) as process:
        try:
            if process.stderr is None or not process.stderr.readline():
                raise SystemExit("export did not start")
            _, first = scrape()
            time.sleep(3)
            begun, since = cpu_s(process.pid), time.monotonic()
            time.sleep(10)
            idle = (cpu_s(process.pid) - begun) / (time.monotonic() - since)
            begun, since = cpu_s(process.pid), time.monotonic()
            told = [scrape() for _ in range(SCRAPES)]
            used = cpu_s(process.pid) - begun - idle * (time.monotonic() - since)
        finally:
            process.send_signal(signal.SIGTERM)
    return used / SCRAPES, median(took for took, _ in told), len(told[-1][1]), idle, counted_by(first)


def counted_by(metrics: bytes) -> str:
    """Say how many taps are counted by what."""
    ways = re.findall(rb'^nwscan_card_info{.*counted_by="(\w+)"', metrics, re.MULTILINE)
    return ", ".join(f"{number} by the {way.decode()}" for way, number in Counter(ways).items())


def scrape() -> tuple[float, bytes]:
    """Scrape once: how long it took, and what came."""
    since = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=60) as answer:
        metrics = answer.read()
    return time.monotonic() - since, metrics


def measure_top(interval_s: float) -> float:
    """Give the CPU share of `top`, once it is up."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(NWSCAN[0], [*NWSCAN, "top", "--interval", str(interval_s)])  # noqa: S606 - no shell is wanted
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    shown = read_for(terminal, 8.0)
    if b"foreign/s" not in shown:
        raise SystemExit(f"top did not start: {shown[-500:]!r}")
    begun, since = cpu_s(pid), time.monotonic()
    read_for(terminal, TOP_S)
    share = (cpu_s(pid) - begun) / (time.monotonic() - since)
    os.write(terminal, b"q")
    read_for(terminal, 2.0)
    os.waitpid(pid, 0)
    return share


def read_for(terminal: int, seconds: float) -> bytes:
    """Read what is drawn."""
    shown, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
    return shown


def main() -> None:
    """Measure, print, and write the results where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--taps", type=int, default=200)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    make_host(chosen.taps)
    is_over = threading.Event()
    threading.Thread(target=flood, args=(is_over,), daemon=True).start()
    a_scrape, took_s, octets, idle, ways = measure_export()
    shares = {interval_s: measure_top(interval_s) for interval_s in (2.0, 1.0)}
    is_over.set()
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    load = os.getloadavg()[0]
    text = f"""\
# What counting always costs

`python benchmarks/always_on.py --taps {chosen.taps} --write`, {datetime.now(UTC):%Y-%m-%d},
Linux {platform.release()}, {os.cpu_count()} x {model}, Python {platform.python_version()}; load average {load:.1f}.
{chosen.taps} taps, each of which gets {SENT_FPS} foreign frames a second; counted: {ways}.

| what | measured | at most |
|---|--:|--:|
| CPU time of the exporter for a scrape of {octets / 1e3:.0f} kB, mean of {SCRAPES} | {a_scrape * 1e3:.0f} ms | 100 ms |
| from asking to the last octet, median | {took_s * 1e3:.0f} ms | |
| CPU of the exporter while nobody asks | {idle:.2%} of a core | |
| CPU of `top`, every 2 s (the default) | {shares[2.0]:.1%} of a core | 5 % |
| CPU of `top --interval 1` | {shares[1.0]:.1%} of a core | |
"""
    print(text)
    if chosen.write:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
