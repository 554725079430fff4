"""The report of a capture file is the merged report of the two files that it was cut into, wherever it was cut."""

from __future__ import annotations

import functools
import gzip
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.errors import InputError
from analyzer.model.addresses import parse_mac
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.pipeline import drain
from nwscan.worker.reading import measurement_of
from tests.capture_cuts import cuts_of
from tests.capture_octets import block, epb, idb, isb, pb, pcap_header, pcap_record, read_all, shb, source_of, spb
from tests.nwscan.command import BEFORE, CAPTURES, MAC, nwscan
from tests.property.reports import MACS
from tests.shared_data import capture_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from analyzer.model.window import CaptureWindow
    from analyzer.report.report import Report
    from tests.capture_octets import Frame

GUEST = GuestIdentity(
    (parse_mac(MAC), 0x02BF00000001),
    Provenance.COMMAND_LINE,
    addresses=(Address("192.0.2.101", Provenance.COMMAND_LINE, trusted=True),),
)
LARGEST_OCTETS = 500_000
UNPACKERS: dict[bytes, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": (gzip.decompress, gzip.compress),
    b"\x28\xb5": (lambda octets: zstandard.ZstdDecompressor().decompressobj().decompress(octets), zstandard.compress),
}
"""By what packed files begin with: how they are unpacked, and packed again."""


def report_of(octets: bytes) -> Report:
    """Measure a capture as `nwscan analyze` does."""
    source = source_of(octets)
    measurement = measurement_of(source, GUEST, None)
    for _ in drain(source, measurement):
        pass
    return measurement.finish((source.window(),))


def frames_in(octets: bytes) -> list[Frame]:
    """Read the frames; the number of an interface is the file's own affair."""
    return [frame._replace(interface=0) for frame in read_all(source_of(octets))]


def assert_parts_make_the_whole(octets: bytes, at: int, pack: Callable[[bytes], bytes] = bytes) -> None:
    """Cut at one of the places, counted round and round, and compare.

    Windows are what was covered, so two files have two of them where the whole has one: side by side they hold its
    frames and its time, and the last ends as the whole does. Of frames alike in time, class, MACs and length a report
    describes one, and which of them is anybody's choice.
    """
    cuts = cuts_of(octets)
    parts = [pack(part) for part in cuts[at % len(cuts)].parts(octets)]
    whole, reports = report_of(pack(octets)), [report_of(part) for part in parts]
    assert frames_in(parts[0]) + frames_in(parts[1]) == frames_in(pack(octets))
    merged = reports[0].merge(reports[1])
    assert without_choice(merged) == without_choice(whole)
    assert len(merged.windows) == 2
    assert sum(window.frames_seen for window in merged.windows) == whole.frames_seen
    assert span_of(merged.windows) == span_of(whole.windows)
    assert reports[0].windows[0].stopped_early is None
    assert (reports[1].windows[0].stopped_early is None) == (whole.windows[0].stopped_early is None)


def without_choice(report: Report) -> Report:
    """Give all that must not depend on the cut."""
    return replace(
        report, windows=(), samples=tuple(msgspec.structs.replace(sample, text="") for sample in report.samples)
    )


def span_of(windows: tuple[CaptureWindow, ...]) -> tuple[int | None, int | None]:
    """Give the first and the last time."""
    starts = [window.start_ns for window in windows if window.start_ns is not None]
    ends = [window.end_ns for window in windows if window.end_ns is not None]
    return min(starts, default=None), max(ends, default=None)


@functools.cache
def real_files() -> list[tuple[bytes, Callable[[bytes], bytes]]]:
    """Give our own captures and those of others that can be read: what is in them, and how they are packed."""
    found = []
    for path in (*sorted(CAPTURES.glob("*.pcap*")), *capture_files()):
        octets = path.read_bytes()
        unpack, pack = UNPACKERS.get(octets[:2], (bytes, bytes))
        octets = unpack(octets)
        try:
            source_of(octets)
        except InputError:
            continue  # nothing of it can be read, cut or whole
        if len(octets) <= LARGEST_OCTETS and cuts_of(octets):
            found.append((octets, pack))
    return found


@settings(deadline=None)
@given(st.data())
def test_any_cut_of_a_real_file(data: st.DataObject) -> None:
    files = real_files()
    octets, pack = files[data.draw(st.integers(0, len(files) - 1))]
    assert_parts_make_the_whole(octets, data.draw(st.integers(0, 2**16)), pack)


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.pcap*")), ids=lambda path: path.name)
def test_the_ends_and_the_middle_of_our_own_files(path: Path) -> None:
    octets = path.read_bytes()
    unpack, pack = UNPACKERS.get(octets[:2], (bytes, bytes))
    octets = unpack(octets)
    for at in (0, len(cuts_of(octets)) // 2, -1):
        assert_parts_make_the_whole(octets, at, pack)


ETHERNET = st.builds(
    lambda dst, src, ethertype, payload: dst.to_bytes(6) + src.to_bytes(6) + ethertype + payload,
    MACS,
    MACS,
    st.sampled_from([b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00\x00\x07\x08\x00", b"\x00\x26"]),
    st.binary(max_size=64),
)
FRAMES = st.one_of(ETHERNET, st.binary(max_size=20))
ORDERS = st.sampled_from("<>")
MAGICS = st.sampled_from([(0xA1B2C3D4, b""), (0xA1B23C4D, b""), (0xA1B2CD34, bytes(8))])
RECORDS = st.lists(st.tuples(FRAMES, st.integers(0, 5), st.integers(0, 999_999), st.integers(0, 2**18)), max_size=12)
LACKING = st.integers(0, 1)


@settings(deadline=None)
@given(ORDERS, MAGICS, RECORDS, st.integers(0, 12), LACKING)
def test_any_cut_of_a_made_pcap_file(
    order: str, dialect: tuple[int, bytes], rows: list[Any], at: int, lacking: int
) -> None:
    magic, extra = dialect
    records = [
        pcap_record(octets, second, fraction, original, order, extra) for octets, second, fraction, original in rows
    ]
    octets = pcap_header(order, magic) + b"".join(records)
    assert_parts_make_the_whole(octets[: len(octets) - lacking] if records else octets, at)


@st.composite
def sections(draw: st.DrawFn) -> bytes:
    """Draw a section of a pcapng file: two interfaces, one perhaps not of Ethernet, and blocks of any kind."""
    order = draw(ORDERS)
    ticks = st.integers(0, 2_000_000)
    flags = st.sampled_from([(), ((2, struct.pack(order + "I", 1)),), ((2, struct.pack(order + "I", 2)),)])
    blocks = st.one_of(
        st.builds(
            lambda octets, found, *rest: epb(octets, order, *found, ticks=rest[0], interface=rest[1]),
            FRAMES, flags, ticks, st.integers(0, 1),
        ),
        st.builds(lambda octets, found, at: pb(octets, order, *found, ticks=at), FRAMES, flags, ticks),
        st.builds(lambda octets: spb(octets, order), FRAMES),
        st.builds(lambda count: isb(order, (5, struct.pack(order + "Q", count))), st.integers(0, 9)),
        st.sampled_from([4, 10, 0xBAD]).map(lambda kind: block(kind, bytes(8), order)),
    )  # fmt: skip
    other = idb(order, (2, b"other"), linktype=draw(st.sampled_from([1, 113, 276])))
    return shb(order) + idb(order, (2, b"eth0")) + other + b"".join(draw(st.lists(blocks, max_size=12)))


@settings(deadline=None)
@given(st.lists(sections(), min_size=1, max_size=3), st.integers(0, 60))
def test_any_cut_of_a_made_pcapng_file(parts: list[bytes], at: int) -> None:
    assert_parts_make_the_whole(b"".join(parts), at)


def test_two_files_on_the_command_line(tmp_path: Path) -> None:
    octets = BEFORE.read_bytes()
    cuts = cuts_of(octets)
    names = [tmp_path / "one.pcapng", tmp_path / "two.pcapng"]
    for name, part in zip(names, cuts[len(cuts) // 3].parts(octets), strict=True):
        name.write_bytes(part)
    documents = [nwscan("analyze", *files, "--json").document for files in ([BEFORE], names)]
    for document in documents:  # means are over the time of the windows, in which the pause between the two is not
        document["rates"] = {
            kind: {key: value for key, value in row.items() if not key.startswith("mean_")}
            for kind, row in document["rates"].items()
        }
    windows = [document.pop("windows") for document in documents]
    assert [len(each) for each in windows] == [1, 2]
    assert [sum(window["frames_seen"] for window in each) for each in windows] == 2 * [windows[0][0]["frames_seen"]]
    assert documents[0] == documents[1]
