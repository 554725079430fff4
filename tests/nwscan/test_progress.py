"""Progress on a terminal: rate and loss on one line of it; in a pipe not a trace, and no colour under NO_COLOR."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from nwscan.render.progress import capture_progress
from nwscan.worker.messages import Progress
from tests.capture_octets import pcap_header, pcap_record
from tests.nwscan.command import BEFORE, MAC, NO_LIBVIRT, TOLD_BY_OTHERS, nwscan, typed

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS, LABEL_MOST = 80, 12
DEADLINE_S = 60
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FRAME = bytes.fromhex(MAC.replace(":", "") + "02aa000000510800") + bytes(46)
FRAMES = b"".join(pcap_record(FRAME) for _ in range(5000))


class Screen:
    """A terminal of 80 columns: what was written to it."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self.held = ""

    def read(self, timeout_s: float = 0.0) -> str:
        """All that was written until now, waiting a little for the first of it."""
        while select.select([self._ours], [], [], timeout_s)[0]:
            self.held += os.read(self._ours, 1 << 16).decode()
            timeout_s = 0.0
        return self.held

    def lines(self) -> list[str]:
        """Each state of each line."""
        return [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", self.read())]


@contextmanager
def terminal() -> Iterator[tuple[Screen, int]]:
    """Give a terminal and the descriptor of what writes to it."""
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, COLUMNS, 0, 0))
        yield Screen(ours), theirs
    finally:
        os.close(ours)
        os.close(theirs)


def environment(**told: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in TOLD_BY_OTHERS}
    return {**kept, "TERM": "xterm-256color", "NWSCAN_CONNECT": NO_LIBVIRT, **told}


@pytest.mark.parametrize("label", ["vm1", ", ".join(f"vnet{number}" for number in range(200)), "vm\x1b[2J\n"])
def test_loss_and_rate_stand_on_one_line_whatever_is_captured(label: str) -> None:
    with terminal() as (screen, theirs), open(theirs, "w", encoding="utf-8", closefd=False) as shown:
        with (
            mock.patch("sys.stderr", shown),
            mock.patch.dict(os.environ, environment(), clear=True),
            capture_progress(label, 60.0) as bar,
        ):
            bar.started()
            for elapsed_s in (1e-3, 0.0124, 0.1, 0.99, 1.0, 12.0, 123.0, 1234.5):
                with mock.patch("time.monotonic", return_value=time.monotonic() + elapsed_s):
                    bar.progress(Progress(123_456_789, (0, 0, 0, 99_999, 0, 0), 99_999))
        lines = screen.lines()
    assert any("123 M frames (" in line and "/s), 99,999 foreign, 99,999 lost" in line for line in lines), lines
    assert all(len(line) <= COLUMNS for line in lines)
    assert "…" not in "".join(line[LABEL_MOST:] for line in lines)
    assert screen.held.endswith("\x1b[2K")  # and is gone at the end


def test_reading_a_capture_shows_how_fast_on_the_terminal_and_nothing_of_it_in_the_pipe() -> None:
    words = typed("analyze", "-", "--mac", MAC)
    with terminal() as (screen, theirs):
        running = subprocess.Popen(
            words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=theirs
        )
        assert running.stdin is not None
        running.stdin.write(pcap_header())
        for _ in range(1000):
            running.stdin.write(FRAMES)
            if re.search(r"frames \([\d.]+ [kM]?/s\), 0 foreign", screen.read(0.05)):
                break
        printed, _ = running.communicate(timeout=DEADLINE_S)
        lines = screen.lines()
    assert running.returncode == 0
    assert any(re.search(r"[\d,.]+ (?:[kM] )?frames \([\d.]+ [kM]?/s\), 0 foreign", line) for line in lines), lines
    assert all(len(line) <= COLUMNS for line in lines)
    assert b"\x1b" not in printed
    assert printed.startswith(MAC.encode())


def test_in_a_pipe_there_is_no_progress_and_no_colour() -> None:
    ended = nwscan("analyze", BEFORE)
    assert ended.stderr == ""
    assert "\x1b" not in ended.stdout


@pytest.mark.parametrize(("told", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_colour_comes_to_a_terminal_under_no_color(told: dict[str, str], is_coloured: bool) -> None:  # noqa: FBT001
    with terminal() as (screen, theirs):
        words = typed("analyze", str(BEFORE))
        with subprocess.Popen(words, env=environment(**told), stdout=theirs, stderr=theirs) as running:
            while running.poll() is None:
                screen.read(0.05)
        held = screen.read()
    assert running.returncode == 0
    assert bool(COLOUR.search(held)) is is_coloured
    assert "69.3 %" in held
