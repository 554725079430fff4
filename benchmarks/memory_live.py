"""How much memory does a live capture of random MACs take? `python benchmarks/memory_live.py [--frames N]`.

As root, in a network namespace of its own: a tap (veth, named and addressed as libvirt does it, so that its guest is
known without libvirt) into which frames are sent as fast as one socket can, each with another random source and
destination. The real command runs, keeps frames as it does when nobody says otherwise, and is ended by SIGINT. What is
looked at is that of memory.py; the ring of the tap, up to 64 MiB of the kernel's memory, is beside it. Ends with 1
where the most of it passes the limit, or where the frames counted and those that the kernel says it dropped are not
all sent.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from memory import LIMIT_MIB, Watch

_CLONE_NEWNET: Final = 0x4000_0000
_AT_ONCE: Final = 10_000
TAP, SENDER, TAP_MAC = "vnet0", "send", "fe:54:00:00:00:01"
NWSCAN: Final = (str(Path(sys.executable).with_name("nwscan")), "--connect", "qemu+unix:///system?socket=/nonexistent")


def make_host() -> None:
    """Make the namespace with its tap; nobody in it speaks of its own accord."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        raise SystemExit("run it as root")
    lines = [
        f"link add {TAP} address {TAP_MAC} type veth peer name {SENDER}",
        *(f"link set {name} addrgenmode none" for name in (TAP, SENDER)),
        *(f"link set {name} arp off up" for name in (TAP, SENDER)),
    ]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def flood(frames: int) -> None:
    """Send so many frames of 60 octets, each with MACs of its own."""
    generator = np.random.default_rng(1)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((SENDER, 0))
        for start in range(0, frames, _AT_ONCE):
            rows = np.zeros((min(_AT_ONCE, frames - start), 60), np.uint8)
            rows[:, :12] = generator.integers(0, 256, (len(rows), 12), np.uint8)
            rows[:, [0, 6]] &= 0xFC  # unicast
            rows[:, 12:14] = 0x88, 0xB5
            for row in rows:
                sock.send(row)


def measure(frames: int) -> tuple[Watch, dict[str, Any], float]:
    """Capture while the flood lasts; give what was looked at, the report, and how long it was sent."""
    with tempfile.TemporaryDirectory() as state:
        command = [*NWSCAN, "--state", state, "capture", TAP, "-a", "duration:86400", "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if process.stdout is None or process.stderr is None:
            raise TypeError(process)
        said = [b"nothing"]
        while said[-1] and b"capturing on " not in said[-1]:
            said.append(process.stderr.readline())
        if not said[-1]:
            raise SystemExit(f"capture did not start: {b''.join(said).decode()}")
        told = threading.Thread(target=process.stderr.read)
        told.start()
        watch = Watch(process)
        watch.start()
        since = time.monotonic()
        flood(frames)
        took_s = time.monotonic() - since
        process.send_signal(signal.SIGINT)
        document = process.stdout.read()
        process.wait()
        watch.join()
        told.join()
    return watch, json.loads(document), took_s


def main() -> int:
    """Measure and print a table of one row; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000_000, help="to send [10 million]")
    frames = parser.parse_args().frames
    make_host()
    watch, report, took_s = measure(frames)
    counted = sum(row["frames"] for row in report["classes"].values())
    lost = sum(window["frames_lost"] for window in report["windows"])
    most_mib = watch.most_kib / 1024
    print(f"{platform.processor() or platform.machine()}, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}")
    print("| frames sent | frames/s | counted | dropped by the kernel | most RssAnon + RssShmem, MiB | looks |")
    print("|---|---|---|---|---|---|")
    print(f"| {frames:,} | {frames / took_s:,.0f} | {counted:,} | {lost:,} | {most_mib:.1f} | {watch.looks} |")
    return 0 if counted + lost == frames and 0 < most_mib < LIMIT_MIB else 1


if __name__ == "__main__":
    sys.exit(main())
