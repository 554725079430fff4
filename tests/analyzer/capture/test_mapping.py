"""A mapped file gives what a read one gives, and one that is cut, grows or fails meanwhile ends in good order."""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.capture import mapping, page_guard, source
from analyzer.capture.mapping import MappedFeed, map_file
from analyzer.capture.source import open_capture
from analyzer.errors import InputError
from analyzer.model.columns import column
from analyzer.pipeline import drain
from analyzer.two_threads import Helper
from nwscan.worker.reading import measurement_of
from tests.capture_octets import epb, idb, pcap_header, pcap_record, shb
from tests.interpreted import load_interpreted
from tests.property.test_report_cuts import GUEST
from tests.shared_data import capture_files

if TYPE_CHECKING:
    from analyzer.capture.source import FrameSource
    from analyzer.report.report import Report

PAGE = mmap.PAGESIZE
FRAMES = 3000


@pytest.fixture
def _maps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "_LEAST_OCTETS", 1)
    monkeypatch.setattr(source, "_COARSE_OCTETS", -1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose files nobody else may write, whatever the umask."""
    os.umask(before := os.umask(0o022))
    assert not before & 0o200
    return tmp_path


def frame(number: int) -> bytes:
    head = bytes.fromhex("02aa0000000102bb00000002") + b"\x08\x00"
    return head + number.to_bytes(4, "big") * (250 + number % 120)


def octets_of(kind: str) -> bytes:
    frames = [frame(number) for number in range(FRAMES)]
    if kind == "pcap":
        return pcap_header() + b"".join(pcap_record(one, at // 7) for at, one in enumerate(frames))
    return shb() + idb() + b"".join(epb(one, ticks=at * 1000) for at, one in enumerate(frames))


def written(folder: Path, octets: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(octets)
    path.chmod(0o600)
    return path


def report_of(path: Path, helper: Helper | None = None) -> Report:
    with path.open("rb") as file:
        opened = open_capture(file, "test")
        return drained(opened, helper)


def drained(opened: FrameSource, helper: Helper | None = None) -> Report:
    measurement = measurement_of(opened, GUEST, None)
    for _ in drain(opened, measurement, helper):
        pass
    report = measurement.finish((opened.window(),))
    opened.close()
    return report


def is_mapped(opened: FrameSource) -> bool:
    return isinstance(getattr(opened, "_feed", None), MappedFeed)


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
@pytest.mark.parametrize("cut", [0, 1, 700])
def test_it_is_the_same_as_when_it_is_read(kind: str, cut: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = octets_of(kind)
    path = written(folder, octets[: len(octets) - cut])
    path.chmod(0o666)  # others may write it: it is read
    with path.open("rb") as file:
        assert not is_mapped(open_capture(file, "test"))
    read = report_of(path)
    path.chmod(0o600)
    with path.open("rb") as file:
        opened = open_capture(file, "test")
        assert is_mapped(opened)  # full-size frames, 3 MB
        assert drained(opened) == read
    helper = Helper()
    helper.start()
    monkeypatch.setattr(mapping, "_KEPT_OCTETS", PAGE)  # pages behind are given back, also while another looks at them
    assert report_of(path, helper) == read
    assert read.frames_seen == FRAMES - (cut > 0)


@pytest.mark.usefixtures("_maps_all")
def test_public_captures_are_the_same(folder: Path) -> None:
    compared = 0
    for one in capture_files():
        octets = one.read_bytes()
        if len(octets) > 200_000:
            continue
        path = written(folder, octets)
        try:
            mapped = report_of(path)
        except InputError:
            continue
        path.chmod(0o622)
        assert report_of(path) == mapped, one.name
        compared += 1
    assert compared > 30


def test_small_frames_small_files_and_those_of_others_are_read(folder: Path) -> None:
    path = written(folder, pcap_header() + pcap_record(frame(1)[:60]) * 50_000)

    def is_it_mapped() -> bool:
        with path.open("rb") as file:
            return is_mapped(open_capture(file, "test"))

    assert not is_it_mapped()
    path.write_bytes(octets_of("pcap")[:900_000])
    assert not is_it_mapped()
    path.write_bytes(octets_of("pcap"))
    os.chown(path, 1234, 1234)
    assert not is_it_mapped()
    os.chown(path, 0, 0)
    assert is_it_mapped()
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        assert map_file(pipe, 0) is None


def test_the_pages_of_one_piece_are_fetched_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    piece = 16 * PAGE
    pieces: list[tuple[int, int]] = []
    monkeypatch.setattr(mapping, "_PIECE_OCTETS", piece)
    monkeypatch.setattr(page_guard, "populate", lambda _, at, octets: pieces.append((at, octets)))
    with written(folder, octets_of("pcap")).open("rb") as file:
        feed = map_file(file, 24)
        assert feed is not None
        feed.fetch_ahead()
        feed.fetch_ahead()
        assert pieces == [(24, piece)]
        feed.at += 1
        feed.fetch_ahead()
        feed.fetch_ahead()
        assert pieces == [(24, piece), (24 + piece, piece)]
        feed.at = 10 * piece
        feed.fetch_ahead()
        assert pieces[2:] == [(10 * piece, piece)]
        feed.close()


def test_pages_far_behind_are_given_back_by_whoever_reads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(mapping, "_KEPT_OCTETS", 100 * PAGE)
    monkeypatch.setattr(page_guard, "give_back", lambda _, at, octets: given.append((at, octets)))
    with written(folder, octets_of("pcap")).open("rb") as file:
        feed = map_file(file, 24)
        assert feed is not None
        feed.at = 150 * PAGE
        feed.lend()
        assert given == []
        feed.fetch_ahead()
        assert given == [(0, 50 * PAGE)]
        feed.at = 250 * PAGE
        feed.lend()
        assert given == [(0, 50 * PAGE), (50 * PAGE, 100 * PAGE)]
        feed.close()


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_page_that_goes_while_the_last_batch_is_looked_at_is_told(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with written(folder, octets_of(kind)).open("rb") as file:
        opened = open_capture(file, "test")
        batches = opened.batches()
        while opened.octets_read < (opened.octets_total or 0):
            next(batches)
        monkeypatch.setattr(page_guard, "gone", lambda _: 2 * PAGE)
        assert next(batches, None) is None
        assert (opened.window().stopped_early or "").startswith("reading failed: Input/output error")
        opened.close()


def test_fetched_pages_need_no_fault_and_there_is_none_beyond_the_end(folder: Path) -> None:
    with written(folder, octets_of("pcap")).open("rb") as file:
        feed = map_file(file, 0)
        assert feed is not None
        page_guard.populate(column(feed.data), PAGE + 1, feed.stop)  # reaches beyond
        page_guard.populate(column(feed.data), feed.stop, PAGE)
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        assert feed.data[2 * PAGE :: PAGE].any()
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before < 10  # a fault brings sixteen of 700 pages
        feed.close()
        feed.fetch_ahead()  # by a thread that comes late


@pytest.fixture
def _batches_of_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MappedFeed, "batch_frames", 100)


@pytest.mark.usefixtures("_batches_of_100")
@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_a_file_that_is_cut_between_two_batches_ends_there(kind: str, folder: Path) -> None:
    octets = octets_of(kind)
    path, at = written(folder, octets), len(octets) // 2
    short = folder / "short"
    short.write_bytes(octets[:at])
    expected = report_of(short)
    with path.open("rb+") as file:
        opened = open_capture(file, "test")
        assert is_mapped(opened)
        measurement = measurement_of(opened, GUEST, None)
        for number, raw in enumerate(opened.batches()):
            measurement.add(raw)
            if number == 3:
                os.ftruncate(file.fileno(), at)
        report = measurement.finish((opened.window(),))
        assert report == expected
        os.ftruncate(file.fileno(), len(octets))  # what comes later is no part of it
        assert not opened._feed.require(len(octets))  # type: ignore[attr-defined]
        opened.close()
    assert "cut in the middle of a" in str(report.windows[0].stopped_early)


@pytest.mark.usefixtures("_batches_of_100")
def test_what_was_walked_as_the_file_was_cut_is_walked_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros would be records of no octets: 4 MB of them many thousand frames."""
    octets = octets_of("pcap")
    path, at = written(folder, octets), len(octets) // 2 // PAGE * PAGE
    short = folder / "short"
    short.write_bytes(octets[:at])
    expected = report_of(short)
    with path.open("rb+") as file:
        opened = open_capture(file, "test")
        walk, times = opened._walk, 0  # type: ignore[attr-defined]

        def walk_as_it_is_cut(*arguments: object) -> object:
            nonlocal times
            times += 1
            if times == 14:  # the walk that would come to the cut
                os.ftruncate(file.fileno(), at)
            return walk(*arguments)

        monkeypatch.setattr(opened, "_walk", walk_as_it_is_cut)
        report = drained(opened)
    assert times > 14
    assert replace(report, windows=()) == replace(expected, windows=())
    assert report.windows[0].frames_seen == expected.windows[0].frames_seen
    assert "cut" in str(report.windows[0].stopped_early)


def test_a_page_that_is_gone_reads_as_zeros_and_is_told(folder: Path) -> None:
    path = written(folder, b"\xff" * (16 * PAGE))
    with path.open("rb+") as file:
        feed = MappedFeed(file, 0, 16 * PAGE)
        assert not feed.was_cut()
        lent = feed.lend()
        os.ftruncate(file.fileno(), 4 * PAGE)
        assert lent[9 * PAGE] == lent[6 * PAGE + 5] == 0
        assert lent[3 * PAGE] == 0xFF
        assert feed.was_cut()
        assert not feed.was_cut()  # told once
        assert (feed.stop, feed.failure) == (4 * PAGE, "the file was cut while it was read")
        assert not feed.require(5 * PAGE)
        assert not feed.skip(5 * PAGE)
        feed.close()


def test_a_disk_that_fails_ends_the_file_at_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(folder, b"\xff" * (16 * PAGE))
    with path.open("rb") as file:
        feed = MappedFeed(file, 0, 16 * PAGE)
        monkeypatch.setattr(page_guard, "gone", lambda _: 2 * PAGE)  # the size is what it was
        assert feed.was_cut()
        assert (feed.stop, feed.failure) == (2 * PAGE, "reading failed: Input/output error")
        feed.close()


@pytest.mark.usefixtures("_batches_of_100")
def test_what_is_written_meanwhile_is_measured_as_well(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    octets = octets_of("pcap")
    path, more = written(folder, octets), octets[24:]
    for most, times in ((16, 4), (1, 2)):
        monkeypatch.setattr(mapping, "_GROWTHS_MOST", most)
        path.write_bytes(octets)
        with path.open("rb+") as file:
            opened, measurement = open_capture(file, "test"), None
            measurement = measurement_of(opened, GUEST, None)
            for raw in opened.batches():
                measurement.add(raw)
                if measurement.frames % FRAMES == 0 and measurement.frames < 4 * FRAMES:
                    os.pwrite(file.fileno(), more, os.fstat(file.fileno()).st_size)
        assert measurement.frames == times * FRAMES


def test_where_it_cannot_be_mapped_any_more_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(folder, bytes(4 * PAGE))
    with path.open("rb+") as file:
        feed = MappedFeed(file, 0, 4 * PAGE)
        os.ftruncate(file.fileno(), 8 * PAGE)

        def refuse(*_: object) -> None:
            raise OSError(12, "Cannot allocate memory")

        monkeypatch.setattr(mmap, "mmap", refuse)
        assert not feed.require(5 * PAGE)
        assert not feed.require(5 * PAGE)
        assert map_file(file, 0) is None


def test_there_is_room_for_a_thousand_and_then_files_are_read(folder: Path) -> None:
    data = np.zeros(PAGE, np.uint8)
    numbers = []
    while (number := page_guard.guard(column(data))) >= 0:
        numbers.append(number)
    try:
        assert 1000 < len(numbers) <= 1024
        with written(folder, octets_of("pcap")).open("rb") as file:
            assert not is_mapped(open_capture(file, "test"))
    finally:
        for number in numbers:
            page_guard.leave(number)


def test_uncompiled_nothing_is_guarded_and_files_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = load_interpreted("analyzer.capture.page_guard")
    assert twin.gone(twin.guard(column(np.zeros(PAGE, np.uint8)))) == -1
    twin.leave(-1)
    path = written(folder, octets_of("pcap"))
    mapped = report_of(path)
    monkeypatch.setattr(mapping, "page_guard", twin)
    with path.open("rb") as file:
        assert not is_mapped(open_capture(file, "test"))
    assert report_of(path) == mapped


def test_pages_of_others_end_a_command_as_before(folder: Path) -> None:
    """The guard is for its own mappings: a defect elsewhere must not be papered over."""
    path = written(folder, bytes(4 * PAGE))
    script = f"""
import mmap, os, resource
from analyzer.capture.mapping import MappedFeed
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
file = open({os.fspath(path)!r}, "rb+")
feed = MappedFeed(file, 0, {4 * PAGE})
other = mmap.mmap(file.fileno(), {4 * PAGE})
os.ftruncate(file.fileno(), 0)
assert feed.data[0] == 0
print("zeros", flush=True)
other[0]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("zeros\n", -signal.SIGBUS), done.stderr


def test_the_command_maps_in_its_confined_worker(folder: Path) -> None:
    path = written(folder, octets_of("pcap"))
    nwscan = Path(sys.executable).with_name("nwscan")
    documents = []
    for mode in (0o600, 0o666):
        path.chmod(mode)
        done = subprocess.run(
            [nwscan, "analyze", path, "--mac", "52:54:00:00:00:01", "--json"], capture_output=True, check=True
        )
        documents.append(json.loads(done.stdout))
    assert documents[0]["windows"] == documents[1]["windows"]
    assert documents[0]["classes"] == documents[1]["classes"]
    assert documents[0]["windows"][0]["frames_seen"] == FRAMES
