"""Our readers against tshark, capinfos and the descriptions beside the files, frame by frame, on every capture."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pytest

from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from tests.capture_octets import frames_of
from tests.shared_data import SHARED_DATA, capture_files, shared_data

if TYPE_CHECKING:
    from pathlib import Path

    from analyzer.model.window import CaptureWindow

SUITE = sorted((SHARED_DATA / "captures/pcapng-suite").rglob("*.txt"))
LINKTYPES = {1: 1, 7: 101, 15: 0, 25: 113, 129: 228, 130: 229, 210: 276}
"""Wiretap's encapsulations (frame.encap_type) to link types: Ethernet, raw IP, null, SLL, IPv4, IPv6, SLL2."""


class Row(NamedTuple):
    """One frame as both sides see it."""

    epoch: str
    original: int
    captured: int
    linktype: int


def paths() -> list[pytest.ParameterSet]:
    return [pytest.param(path, id=str(path.relative_to(SHARED_DATA / "captures"))) for path in capture_files()]


@cache
def tshark_rows(path: Path) -> tuple[Row, ...]:
    """Give what tshark sees, but for the records that are no frames (custom blocks): they have no encapsulation."""
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.encap_type", "frame.file_off")
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", *(item for field in fields for item in ("-e", field))]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = [line.split("\t") for line in printed.splitlines()]
    return tuple(
        Row(epoch, int(length), int(kept), LINKTYPES[int(encapsulation)])
        for epoch, length, kept, encapsulation, _ in rows
        if encapsulation
    )


@cache
def our_rows(path: Path) -> tuple[tuple[Row, ...], CaptureWindow, int]:
    with path.open("rb") as file:
        source = open_capture(file, path.name)
        rows = [
            Row(
                f"{f.ts_ns // 10**9}.{f.ts_ns % 10**9:09d}",
                f.original,
                len(f.octets),
                raw.interfaces[f.interface].linktype,
            )
            for raw in source.batches()
            for f in frames_of(raw)
        ]
        return tuple(rows), source.window(), len(source.interfaces)


@pytest.mark.parametrize("path", paths())
def test_frames_are_those_of_tshark(path: Path) -> None:
    shared_data("captures")
    try:
        ours, window, _ = our_rows(path)
    except InputError as error:
        assert "snoop" in error.what  # noqa: PT017 - the one format that is named and refused
        assert path.suffix == ".snoop"
        return
    theirs = tshark_rows(path)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[1:] == other[1:]
        if other.epoch and float(other.epoch) < 2**33:  # else: an SPB without a time, or a time in the year 584,542
            assert mine.epoch == other.epoch
    assert window.stopped_early is None
    assert window.frames_seen == len(theirs)


@pytest.mark.parametrize("path", paths())
def test_figures_are_those_of_capinfos(path: Path) -> None:
    shared_data("captures")
    if path.suffix == ".snoop":
        return
    command = ["capinfos", "-T", "-r", "-S", "-M", "-c", "-d", "-a", "-e", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.rstrip("\n").split("\t")
    ours, window, _ = our_rows(path)
    assert int(printed[1]) == len(ours)
    times = [row.epoch for row in tshark_rows(path)]
    if times and all(time and float(time) < 2**33 for time in times):
        assert (window.start_ns, window.end_ns) == tuple(_nanoseconds(part) for part in printed[-2:])
        assert int(printed[2]) == sum(row.original for row in ours)


def _nanoseconds(text: str) -> int:
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))


@pytest.mark.parametrize("path", SUITE, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_the_pcapng_suite_is_what_its_descriptions_say(path: Path) -> None:
    """Frames are the EPBs and SPBs; interfaces that are the same count once, so they are at most the IDBs."""
    described = Counter(
        {kind: int(count) for kind, count in re.findall(r"^\s+([A-Z]+): (\d+)$", path.read_text(), re.MULTILINE)}
    )
    rows, window, interfaces = our_rows(path.with_suffix(".pcapng"))
    assert len(rows) == described["EPB"] + described["SPB"] + described["PB"]
    assert interfaces <= described["IDB"]
    assert (interfaces > 0) == (described["IDB"] > 0)
    assert window.stopped_early is None
    if not described["ISB"]:
        assert window.frames_lost is None or window.frames_lost > 0


def test_the_suite_is_there() -> None:
    shared_data("captures", "pcapng-suite")
    assert len(SUITE) == 48


@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "modpcap", "pcapng"])
@pytest.mark.parametrize("pack", [None, "gzip", "zstd"])
def test_what_editcap_writes_is_the_same(kind: str, pack: str | None, tmp_path: Path) -> None:
    original = shared_data("captures", "zeek", "vlan-collisions.pcap")
    written = tmp_path / f"copy.{kind}"
    subprocess.run(["editcap", "-F", kind, str(original), str(written)], check=True, capture_output=True)
    if pack == "gzip":
        subprocess.run(["gzip", str(written)], check=True)
        written = written.with_name(written.name + ".gz")
    elif pack == "zstd":
        if subprocess.run(["which", "zstd"], capture_output=True, check=False).returncode:
            pytest.skip("zstd is not installed")
        subprocess.run(["zstd", "-q", str(written)], check=True)
        written = written.with_name(written.name + ".zst")
    assert our_rows(written)[0] == our_rows(original)[0]
