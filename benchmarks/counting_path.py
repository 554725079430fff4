"""What counting adds to the way of a frame: `python benchmarks/counting_path.py [--rounds 12] [--write]`.

As root, in a network namespace of its own: a sender, a bridge, and a guest's tap (veth) that gets every frame since the
bridge knows nobody. The sender sends as fast as it can, with a real-time priority on core 0, so that the time a frame
takes is its way through the kernel; readers run on core 1. Each round measures the path alone, with the meter (all four
counting points), with the eBPF classifier as `top` and `export` hang it on a tap (by links, and by filters of tc as on
kernels before 6.6) and with ``tcpdump -s 64 -w /dev/null``, one after the other; told are medians over the rounds of
what each adds.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from flood import LIBC, Message, Vector, enter_namespace

from analyzer.host.meter import Meter
from analyzer.host.tap_counter import TapCounter
from analyzer.host.tap_hooks import by_filter, by_link
from analyzer.model.classes import FrameClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.host.tap_hooks import Attach

BATCH: Final = 64
FRAMES: Final = 250_000
OCTETS: Final = 128
GUEST_MAC: Final = 0x525400000001
RESULTS: Final = Path(__file__).with_name("COUNTING_PATH.md")
PRIORITY: Final = 20


def make_host() -> None:
    """Make the namespace with bridge, sender and tap."""
    enter_namespace()
    for which in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
    lines = ["link add br0 type bridge mcast_snooping 0", "link set br0 up"]
    for port, end in (("vsend", "send"), ("vnet0", "guest")):
        lines += [f"link add {port} type veth peer name {end}", f"link set {end} up", f"link set {port} master br0 up"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


class Sender:
    """Sends the same frame over and over, many with one call."""

    def __init__(self) -> None:
        self._frame = ctypes.create_string_buffer(bytes.fromhex("02aa0000005002aa0000000a88b5").ljust(OCTETS, b"\0"))
        self._vector = Vector(ctypes.addressof(self._frame), OCTETS)
        self._messages = (Message * BATCH)()
        for message in self._messages:
            message.vector, message.vectors = ctypes.pointer(self._vector), 1
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind(("send", 0))

    def frame_ns(self) -> float:
        """Send, and give the time that a frame took."""
        left, descriptor, since = FRAMES, self._socket.fileno(), time.perf_counter_ns()
        while left > 0:
            sent = LIBC.sendmmsg(descriptor, self._messages, min(BATCH, left), 0)
            left -= max(sent, 0)
        return (time.perf_counter_ns() - since) / FRAMES


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Add nothing."""
    yield


@contextlib.contextmanager
def metered() -> Iterator[None]:
    """Have the meter count, and see that it did."""
    with Meter({"vnet0": (GUEST_MAC,)}) as meter:
        yield
        seen = int(meter.read()["vnet0"].delivered[FrameClass.FOREIGN_UNICAST, 0])
    if seen < FRAMES:
        raise SystemExit(f"the meter counted {seen} of {FRAMES} frames")


@contextlib.contextmanager
def captured() -> Iterator[None]:
    """Have tcpdump capture 64 octets of each frame."""
    command = ["tcpdump", "-i", "vnet0", "-s", "64", "-w", "/dev/null"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=on_core_one) as process:  # noqa: PLW1509
        if process.stderr is None or not any(b"listening" in line for line in process.stderr):
            raise SystemExit("tcpdump did not start")
        yield
        process.terminate()


def on_core_one() -> None:
    """Keep a reader off the sender's core, and let nothing else keep it from reading."""
    os.sched_setaffinity(0, {max(os.cpu_count() or 1, 1) - 1})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))


@contextlib.contextmanager
def classified(attach: Attach) -> Iterator[None]:
    """Have the classifier count, and see that it did."""
    with TapCounter(attach) as counter:
        counter.change({"vnet0": (GUEST_MAC,)}, ())
        yield
        seen = int(counter.read()["vnet0"][FrameClass.FOREIGN_UNICAST, 0])
    if seen < FRAMES:
        raise SystemExit(f"the classifier counted {seen} of {FRAMES} frames")


def measure(
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[None]]], rounds: int
) -> dict[str, list[float]]:
    """Give the time of a frame for each way and round, the ways in turn."""
    sender, found = Sender(), {name: list[float]() for name in ways}
    os.sched_setaffinity(0, {0})
    sender.frame_ns()  # warm
    for _ in range(rounds):
        for name, way in ways.items():
            with way():
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
                try:
                    found[name].append(sender.frame_ns())
                finally:
                    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return found


def main() -> None:
    """Measure, print, and write the results where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    chosen = parser.parse_args()
    make_host()
    ways: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
        "alone": alone,
        "meter": metered,
        "links": lambda: classified(by_link),
        "filters": lambda: classified(by_filter),
        "tcpdump": captured,
    }
    text = told(measure(ways, chosen.rounds))
    print(text)
    if chosen.write:
        RESULTS.write_text(text, encoding="utf-8")


NAMES: Final = {
    "meter": "the nft meter: offered, delivered, and both for what the guest sends",
    "links": "the eBPF classifier, by links: delivered, and what the guest sends",
    "filters": "the same by filters of tc",
    "tcpdump": "`tcpdump -s 64 -w /dev/null`",
}


def told(found: dict[str, list[float]]) -> str:
    """Give the results as a document."""
    added = {
        name: [with_it - without for with_it, without in zip(times, found["alone"], strict=True)]
        for name, times in found.items()
        if name != "alone"
    }
    reference = median(added["tcpdump"])
    rows = []
    for name, values in added.items():
        low, _, high = quantiles(values, n=4)
        rows.append(
            f"| {NAMES[name]} | {median(values):.0f} ns | {low:.0f} to {high:.0f} | {median(values) / reference:.2f} |"
        )
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    return f"""\
# What counting adds to the way of a frame

`python benchmarks/counting_path.py --rounds {len(found["alone"])} --write`, {datetime.now(UTC):%Y-%m-%d},
Linux {platform.release()}, {os.cpu_count()} x {model}; load average {os.getloadavg()[0]:.1f}.
{OCTETS} octets a frame, {FRAMES:,} frames a round; the path alone takes {median(found["alone"]):.0f} ns a frame.

| what | adds to a frame | middle half of the rounds | of tcpdump's |
|---|--:|--:|--:|
{chr(10).join(rows)}
"""


if __name__ == "__main__":
    main()
