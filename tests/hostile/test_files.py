"""Hostile capture files: one clear error, or the frames that can be read, counted to the last."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.pipeline import Measurement, drain
from analyzer.report.store import encode, from_document
from tests.hostile.captures import LYING, MUTATED, NO_CAPTURES, mutated
from tests.hostile.trial import bounded, typed_and_tried
from tests.nwscan.command import MAC

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = len(NO_CAPTURES) + len(LYING) + MUTATED
CARD = GuestIdentity((0x525400000001,), Provenance.COMMAND_LINE)
TYPED = (
    "nothing", "escapes", "a zip", "half a header", "a gzip bomb of no capture", "a zstd bomb of no capture",
    "zstd with a window of 2 GiB", "a section without an end", "a record of 4 GiB", "20,000 interfaces",
    "a guest of many names", "a gzip bomb of a block", "gzip cut off", "an interface named by an attacker",
)  # fmt: skip
"""Those that the real command is given as well, with its worker."""


def measured(octets: bytes) -> int | None:
    """Read octets as a worker does, and give the frames counted; None where they are refused."""
    try:
        with bounded():
            source = open_capture(io.BytesIO(octets), "hostile")
            measurement = Measurement(CARD, DirectionSource.SOURCE_MAC)
            for _ in drain(source, measurement):
                pass
            report = measurement.finish((source.window(),))
            source.close()
            document = encode(report)
    except InputError as error:
        problem = error
    else:
        assert from_document(document) == report
        assert sum(frames for frames, _ in report.class_counts) == report.frames_seen == source.window().frames_seen
        return report.frames_seen
    assert problem.what.isprintable()
    assert "hostile" in problem.where
    return None


@pytest.mark.parametrize("what", NO_CAPTURES)
def test_what_is_no_capture_is_refused(what: str) -> None:
    octets = NO_CAPTURES[what]()
    if what.endswith(("a cooked link", "a link of nobody")):
        assert measured(octets) in (0, 1)  # counted, and refused by whoever reads for a report
    else:
        assert measured(octets) is None


@pytest.mark.parametrize("what", LYING)
def test_what_lies_is_refused_or_counted(what: str) -> None:
    frames = measured(LYING[what]())
    assert frames is None or frames <= 20_000


@pytest.mark.parametrize("number", range(MUTATED), ids=lambda number: f"seed-files-{number}")
def test_what_was_changed_is_refused_or_counted(number: int) -> None:
    octets = mutated(number)
    assert (measured(octets) or 0) <= len(octets)


@pytest.mark.parametrize("what", TYPED)
def test_the_command_is_given_it(what: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pcap"
    path.write_bytes({**NO_CAPTURES, **LYING}[what]())
    ended = typed_and_tried("analyze", path, "--mac", MAC, "--json", folder=tmp_path)
    assert ended.code in ((3,) if what in NO_CAPTURES else (0, 3))


def test_devices_and_folders(tmp_path: Path) -> None:
    (tmp_path / "loop.pcap").symlink_to("loop.pcap")
    (tmp_path / "folder.pcap").mkdir()
    for place in ("/dev/zero", "/dev/null", "/proc/self/mem", tmp_path, tmp_path / "loop.pcap", "/proc/kmsg/x"):
        assert typed_and_tried("analyze", place, "--mac", MAC, folder=tmp_path).code == 3
