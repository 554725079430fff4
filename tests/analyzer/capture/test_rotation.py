"""When ring files end and what they are called, compared with what dumpcap and tcpdump do."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.capture.rotation import DumpcapNames, FileProgress, RotationRules, TcpdumpNames

SECOND = 1_000_000_000
NOON_NS = int(time.mktime((2026, 3, 1, 12, 0, 0, 0, 0, -1))) * SECOND
"""Noon where the test runs: names are in local time."""


def test_dumpcap_numbers_its_files_and_keeps_the_newest() -> None:
    names = DumpcapNames(Path("/x/ring.a.pcapng"), files=2)
    first, second, third = (names.next(NOON_NS + i * SECOND) for i in range(3))
    assert first == (Path("/x/ring.a_00001_20260301120000.pcapng"), None)
    assert second == (Path("/x/ring.a_00002_20260301120001.pcapng"), None)
    assert third == (Path("/x/ring.a_00003_20260301120002.pcapng"), first[0])


def tcpdump_names(names: TcpdumpNames, reasons: str) -> list[str]:
    """The names as files end by time (t) or by size (s), a second after each other."""
    return [str(names.next(NOON_NS + i * SECOND, by_time=reason == "t")[0]) for i, reason in enumerate(reasons)]


@pytest.mark.parametrize(
    ("options", "files", "name", "reasons", "expected"),
    [
        ("C", None, "f", "tsss", ["f", "f1", "f2", "f3"]),
        ("CW", 3, "f", "tsss", ["f0", "f1", "f2", "f0"]),
        ("CW", 11, "f", "ts", ["f00", "f01"]),
        ("G", None, "f-%H%M%S", "tt", ["f-120000", "f-120001"]),
        ("GW", 5, "f", "tt", ["f", "f"]),
        ("CG", None, "f-%S-", "tsts", ["f-00-", "f-00-1", "f-02-", "f-02-1"]),
    ],
)
def test_tcpdump_names_its_files(options: str, files: int | None, name: str, reasons: str, expected: list[str]) -> None:
    assert tcpdump_names(TcpdumpNames(Path(name), "C" in options, "G" in options, files), reasons) == expected


def test_stretches_follow_each_other_without_a_gap_and_silence_makes_no_files() -> None:
    progress = FileProgress(RotationRules(duration_s=10), 100 * SECOND, 0)
    assert not progress.is_past(110 * SECOND - 1)
    assert progress.is_past(110 * SECOND)
    assert progress.next_start_ns(113 * SECOND) == 110 * SECOND
    assert progress.next_start_ns(500 * SECOND) == 500 * SECOND


@given(
    sizes=st.lists(st.integers(44, 300), min_size=1, max_size=60),
    octets=st.none() | st.integers(1, 3000),
    frames=st.none() | st.integers(1, 20),
)
def test_a_file_takes_frames_until_one_fills_it(sizes: list[int], octets: int | None, frames: int | None) -> None:
    rules, row, header = RotationRules(octets=octets, frames=frames), 0, 200
    while row < len(sizes):
        progress = FileProgress(rules, 0, header)
        assert not progress.is_full()
        fit = progress.fitting(np.zeros(len(sizes) - row, np.int64), np.array(sizes[row:], np.int64))
        assert fit >= 1
        before_last = header + sum(sizes[row : row + fit - 1])
        assert octets is None or before_last < octets or fit == 1
        assert frames is None or fit <= frames
        progress.octets += sum(sizes[row : row + fit])
        progress.frames += fit
        row += fit
        assert progress.is_full() or row == len(sizes)


def test_frames_fit_until_the_first_that_is_of_a_later_stretch() -> None:
    progress = FileProgress(RotationRules(duration_s=10, frames=4), 100 * SECOND, 0, 1)
    sizes = np.full(5, 60)
    times = np.array([101, 109, 110, 111, 105]) * SECOND
    assert progress.fitting(times, sizes) == 2
    assert progress.fitting(np.full(5, 101) * SECOND, sizes) == 3
    assert progress.fitting(np.full(5, 110) * SECOND, sizes) == 0
