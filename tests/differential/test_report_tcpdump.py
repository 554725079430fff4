"""The expression that a report gives for the sceptic, against tcpdump: it shows as many frames as were counted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.frames import LINKTYPE_ETHERNET
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.pipeline import Measurement, drain
from analyzer.report.expression import tcpdump_direction, tcpdump_expression
from analyzer.report.report import Report
from analyzer.report.store import encode, from_document
from tests.shared_data import SHARED_DATA, capture_files, shared_data

BUNDLED = Path(__file__).parents[2] / "captures"
SAMPLES = ["after.pcapng", "before.pcapng", "vlan.pcap"]
MACS_TRIED = 3


@pytest.fixture(autouse=True)
def _tcpdump() -> None:
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is missing")


def report_of(path: Path, macs: tuple[int, ...]) -> Report:
    """Give the report of a file, and hold it against what its document gives back."""
    with path.open("rb") as file:
        source = open_capture(file, path.name)
        measurement = Measurement(GuestIdentity(macs, Provenance.COMMAND_LINE), DirectionSource.SOURCE_MAC)
        for _ in drain(source, measurement):
            pass
        report = measurement.finish((source.window(),))
        kinds = {interface.linktype for interface in source.interfaces}
        source.close()
    if kinds != {LINKTYPE_ETHERNET}:
        raise InputError("not Ethernet alone")
    assert from_document(encode(report)) == report
    return report


UNREAD = ("different from the snapshot length of the first interface",)
"""What libpcap does not read of pcapng; our readers do."""


def shown_by_tcpdump(path: Path, expression: str) -> int | None:
    """Give how many frames tcpdump shows, the expression being one argument; None where it cannot read it."""
    command = ["tcpdump", "--count", "-r", str(path), expression]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode and any(reason in done.stderr for reason in UNREAD):
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


def busiest(path: Path) -> list[int]:
    """Give the MACs with most to do with the unicast of the file, and one that is in no file."""
    report = report_of(path, (0x02FFFFFFFFFE,))
    macs = [mac for entry in report.talkers.by_size() for mac in (entry.second, entry.first)]
    return [*dict.fromkeys(macs[:MACS_TRIED]), 0x02FFFFFFFFFE]


def assert_tcpdump_agrees(path: Path, macs: tuple[int, ...]) -> None:
    report = report_of(path, macs)
    assert tcpdump_direction(report) is None
    shown = shown_by_tcpdump(path, tcpdump_expression(report))
    assert shown in {None, report.class_counts[FrameClass.FOREIGN_UNICAST][0]}
    assert shown is not None or path.name not in SAMPLES


@pytest.mark.parametrize("name", SAMPLES)
def test_tcpdump_shows_the_foreign_frames_of_the_samples(name: str) -> None:
    macs = busiest(BUNDLED / name)
    for mac in macs:
        assert_tcpdump_agrees(BUNDLED / name, (mac,))
    assert_tcpdump_agrees(BUNDLED / name, tuple(macs))


@pytest.mark.parametrize("path", capture_files(), ids=lambda path: str(path.relative_to(SHARED_DATA)))
def test_tcpdump_shows_the_foreign_frames_of_others_captures(path: Path) -> None:
    shared_data()
    if path.suffix in {".gz", ".zst"}:
        return  # tcpdump reads no compressed files
    try:
        macs = busiest(path)
    except InputError:
        return  # no capture, or not of Ethernet alone: tcpdump compiles an expression for one link type
    for mac in macs:
        assert_tcpdump_agrees(path, (mac,))


def test_a_live_report_leaves_the_direction_to_tcpdump() -> None:
    report = Report.empty(GuestIdentity((1, 2), Provenance.LIBVIRT_XML), DirectionSource.PACKET_TYPE)
    assert tcpdump_direction(report) == "out"
    expression = tcpdump_expression(report)
    assert expression == "not ether multicast and not ether dst 00:00:00:00:00:01 and not ether dst 00:00:00:00:00:02"
    assert subprocess.run(["tcpdump", "-d", expression], capture_output=True, timeout=60, check=False).returncode == 0
