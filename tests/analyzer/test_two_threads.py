"""Two threads measure what one measures, and end as one does."""

from __future__ import annotations

import gzip
import io
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.capture import feed
from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from analyzer.pipeline import drain
from analyzer.two_threads import Helper, TwoThreads
from nwscan.worker.reading import measurement_of
from tests.capture_octets import epb, idb, pcap_header, pcap_record, shb
from tests.property.test_report_cuts import GUEST
from tests.shared_data import capture_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.capture.source import FrameSource
    from analyzer.model.frames import RawFrames
    from analyzer.report.report import Report


@pytest.fixture(scope="module")
def helper() -> Helper:
    helper = Helper()
    helper.start()
    return helper


def report_of(octets: bytes, helper: Helper | None) -> Report:
    source = open_capture(io.BytesIO(octets), "test")
    measurement = measurement_of(source, GUEST, None)
    for _ in drain(source, measurement, helper):
        pass
    return measurement.finish((source.window(),))


def frames(count: int) -> list[bytes]:
    """Frames of any length and any MACs, and of any octets above."""
    random = np.random.default_rng(3)
    macs = [bytes.fromhex("525400000001"), b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("02aa00000007")]
    types = [b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00\x00\x07\x08\x06"]
    return [
        macs[random.integers(4)] + macs[random.integers(4)] + types[random.integers(4)] + random.bytes(int(size))
        for size in random.integers(0, 90, count)
    ]


def captures() -> dict[str, bytes]:
    made = frames(3000)
    pcap = pcap_header() + b"".join(pcap_record(frame, at // 7) for at, frame in enumerate(made))
    blocks = [epb(frame, ticks=at * 1000) for at, frame in enumerate(made)]
    return {"pcap": pcap, "pcapng": shb() + idb() + b"".join(blocks), "gzip": gzip.compress(pcap), "cut": pcap[:-5]}


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "gzip", "cut"])
def test_two_threads_give_the_report_of_one(kind: str, helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = captures()[kind]
    alone = report_of(octets, None)
    assert alone.frames_seen >= 2999
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 2000)  # some hundred batches, which two windows hold in turn
    assert report_of(octets, None) == alone
    assert report_of(octets, helper) == alone


def test_two_threads_give_the_report_of_one_on_public_captures(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 700)
    for path in capture_files():
        octets = path.read_bytes()
        if len(octets) < 200_000 and measurable(octets):
            assert report_of(octets, helper) == report_of(octets, None), path.name


def measurable(octets: bytes) -> bool:
    try:
        return bool(report_of(octets, None).frames_seen)
    except InputError:
        return False


class _Failing:
    """A source that fails behind its second batch, and what counts it."""

    frames = 0

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    def fetch_ahead(self) -> None:
        """Nothing is fetched."""

    def batches(self) -> Iterator[RawFrames]:
        for number, batch in enumerate(self._source.batches()):
            yield batch
            if number == 1:
                raise ValueError("the disk is gone")

    def look(self, raw: RawFrames) -> int:
        return len(raw)

    def count(self, looked: int) -> None:
        self.frames += looked


def test_what_either_thread_meets_is_raised(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 2000)
    for _ in range(20):
        failing = _Failing(open_capture(io.BytesIO(captures()["pcap"]), "test"))
        with pytest.raises(ValueError, match="the disk is gone"):
            list(TwoThreads(failing, failing).drain(helper))  # type: ignore[arg-type]
    assert report_of(captures()["pcap"], helper).frames_seen == 3000  # and the helper goes on


def test_who_stops_early_has_counted_what_was_read(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 2000)
    source = open_capture(io.BytesIO(captures()["pcap"]), "test")
    measurement = measurement_of(source, GUEST, None)
    draining = drain(source, measurement, helper)
    assert 0 < next(draining) < 3000
    draining.close()  # type: ignore[attr-defined]
    report = measurement.finish((source.window(),))
    assert 0 < report.frames_seen == report.windows[0].frames_seen < 3000


class _OneFails:
    """Fails in the first batch, but only once the other thread has taken the second and waits for its turn."""

    def __init__(self) -> None:
        self._taken = 0
        self._second = threading.Event()
        self.counted: list[int] = []

    def fetch_ahead(self) -> None:
        """Nothing is fetched."""

    def batches(self) -> Iterator[int]:
        return iter(range(5))

    def look(self, raw: int) -> int:
        if raw == 0:
            assert self._second.wait(60)
            raise ValueError("the first batch is bad")
        self._second.set()
        return raw

    def count(self, looked: int) -> None:
        self.counted.append(looked)


def test_a_batch_behind_one_that_failed_is_not_counted(helper: Helper) -> None:
    work = _OneFails()
    with pytest.raises(ValueError, match="the first batch is bad"):
        list(TwoThreads(work, work).drain(helper))  # type: ignore[arg-type]
    assert work.counted == []
