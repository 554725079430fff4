"""What may happen to a capture: its tap is renamed, it is stopped for a while, and so is the worker that reads."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.nwscan_run import wait_for
from tests.lab.test_live import MAC, capturing, foreign
from tests.network_namespace import ip, send, veth_pair
from tests.nwscan.confined import is_worker, processes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.test_live import Capture

OVERFULL = 80
"""Thousands of frames of 1,400 octets: more than the 64 MiB of a ring."""
STOPPED_S = 1.0
STOPPED_FOR_S = 2.0
"""Less than the 3 s for which the ring holds what comes, however little it is."""


@pytest.fixture(autouse=True)
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT when the with block ends."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: state_of(pid) == "T", "it stands")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def worker_of(capture: Capture) -> int:
    return next(pid for pid in processes_of(capture.process.pid) if is_worker(pid))


def test_a_parent_that_was_stopped_loses_nothing(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json") as capture:
        with stopped(capture.process.pid):
            send("guest0", foreign(500))
            time.sleep(STOPPED_S)
            send("tap0", foreign(500))
        (report,) = capture.end()
    assert report["classes"]["foreign_unicast"]["frames"] == 500
    assert report["classes"]["from_guest"]["frames"] == 500
    (window,) = report["windows"]
    assert (window["frames_seen"], window["frames_lost"], window["stopped_early"]) == (1000, 0, None)


def test_a_worker_that_was_stopped_for_seconds_loses_nothing_of_a_little(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json") as capture:
        sent, end_s = 0, time.monotonic() + STOPPED_FOR_S
        with stopped(worker_of(capture)):
            while time.monotonic() < end_s:
                send("tap0", foreign(10))
                sent += 10
                time.sleep(0.025)
        (report,) = capture.end()
    (window,) = report["windows"]
    assert (window["frames_seen"], window["frames_lost"]) == (sent, 0)


def test_what_a_stopped_worker_loses_is_told(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json", "-s", "2000") as capture:
        send("tap0", foreign(100))
        with stopped(worker_of(capture)):
            for _ in range(OVERFULL):
                send("tap0", foreign(1000, 1400))
        time.sleep(0.3)
        send("tap0", foreign(100))
        (report,) = capture.end()
    (window,) = report["windows"]
    sent = 1000 * OVERFULL + 200
    assert 0 < window["frames_lost"] < sent
    assert report["classes"]["foreign_unicast"]["frames"] == window["frames_seen"] == sent - window["frames_lost"]


def test_a_tap_that_is_renamed_is_still_the_guest_s_and_its_old_name_is_not(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json") as capture:
        send("tap0", foreign(10))
        ip("link", "set", "tap0", "down")
        ip("link", "set", "tap0", "name", "tap9")
        ip("link", "set", "tap9", "up")
        ip("link", "add", "tap0", "type", "veth", "peer", "name", "other0")  # somebody else's, by the old name
        for name in ("tap0", "other0"):
            ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
        for _ in range(10):
            send("tap9", foreign(10))
            send("tap0", foreign(1))
            time.sleep(0.2)
        (report,) = capture.end()
    (window,) = report["windows"]
    assert (window["frames_seen"], window["frames_lost"], window["stopped_early"]) == (110, 0, None)
    assert report["classes"]["foreign_unicast"]["frames"] == 110
