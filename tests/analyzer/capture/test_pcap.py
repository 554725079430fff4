from __future__ import annotations

import struct

import pytest

from analyzer.capture import feed
from analyzer.errors import InputError
from analyzer.model.frames import FILE_BATCH_FRAMES
from tests.capture_octets import SECOND_NS, pcap_header, pcap_record, read_all, source_of

OCTETS = bytes(range(60))
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


@ORDERS
@pytest.mark.parametrize(("magic", "fraction_ns"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_byte_order_and_resolution(order: str, magic: int, fraction_ns: int) -> None:
    source = source_of(pcap_header(order, magic) + pcap_record(OCTETS, 17, 5, original=1500, order=order))
    assert [frame[:3] for frame in read_all(source)] == [(17 * SECOND_NS + 5 * fraction_ns, 1500, OCTETS)]
    assert source.window().stopped_early is None
    assert source.window().frames_lost is None


@ORDERS
def test_modified_pcap_has_longer_records(order: str) -> None:
    records = 3 * pcap_record(OCTETS, order=order, extra=bytes(8))
    source = source_of(pcap_header(order, 0xA1B2CD34) + records)
    assert [frame.octets for frame in read_all(source)] == 3 * [OCTETS]


@pytest.mark.parametrize(("version", "swapped"), [((2, 2), True), ((2, 3), True), ((2, 3), False), ((543, 0), True)])
def test_old_versions_swap_the_lengths(version: tuple[int, int], swapped: bool) -> None:  # noqa: FBT001
    lengths = (100, 60) if swapped else (60, 100)
    octets = pcap_header(version=version) + struct.pack("<IIII", 1, 2, *lengths) + OCTETS
    assert [frame[1:3] for frame in read_all(source_of(octets + octets[24:]))] == 2 * [(100, OCTETS)]


def test_upper_bits_of_the_link_type_word_are_not_the_link_type() -> None:
    fcs_of_4 = 2 << 28 | 1 << 26  # length in 16-bit words, and the bit that says it is there
    source = source_of(pcap_header(link=fcs_of_4 | 1) + pcap_record(OCTETS) + pcap_record(OCTETS[:50], original=60))
    assert source.interfaces[0].linktype == 1
    assert [frame[1:3] for frame in read_all(source)] == [(56, OCTETS[:56]), (56, OCTETS[:50])]
    assert source_of(pcap_header(link=0x0300_0071)).interfaces[0].linktype == 113


@pytest.mark.parametrize(("snaplen", "stated"), [(0, 0), (128, 128), (0xFFFF_FFFF, 0), (262_144, 262_144)])
def test_bogus_snaplen_is_no_limit(snaplen: int, stated: int) -> None:
    source = source_of(pcap_header(snaplen=snaplen) + pcap_record(OCTETS))
    assert len(read_all(source)) == 1
    assert source.window().snaplen == stated


def test_a_file_without_frames_is_a_capture_of_nothing() -> None:
    source = source_of(pcap_header())
    assert read_all(source) == []
    window = source.window()
    assert (window.frames_seen, window.start_ns, window.end_ns, window.stopped_early) == (0, None, None, None)


def test_a_cut_record_is_told_with_its_offset() -> None:
    whole = pcap_header() + 3 * pcap_record(OCTETS)
    for cut in range(24 + 2 * 76 + 1, len(whole)):
        source = source_of(whole[:cut])
        assert len(read_all(source)) == 2
        assert source.window().stopped_early == "cut in the middle of a record at octet 176 after 2 frames"


@pytest.mark.parametrize("window_octets", [feed.WINDOW_OCTETS, 102])
def test_a_lying_length_stops_reading_and_is_told(window_octets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "WINDOW_OCTETS", window_octets)  # with 102, the lying header comes in two parts
    bogus = struct.pack("<IIII", 1, 2, 0x4000_0000, 60)
    source = source_of(pcap_header() + pcap_record(OCTETS) + bogus + 5 * pcap_record(OCTETS))
    assert len(read_all(source)) == 1
    assert "corrupt" in (source.window().stopped_early or "")
    assert "octet 100" in (source.window().stopped_early or "")


def test_an_original_length_that_cannot_be_is_passed_on_for_decoding_to_flag() -> None:
    assert read_all(source_of(pcap_header() + pcap_record(OCTETS, original=3)))[0].original == 3


@pytest.mark.parametrize("octets", [pcap_header()[:10], pcap_header(version=(7, 0))])
def test_a_bad_header_is_an_error(octets: bytes) -> None:
    with pytest.raises(InputError, match="pcap"):
        source_of(octets)


def test_batches_are_bounded_and_in_order() -> None:
    count = 2 * FILE_BATCH_FRAMES + 10
    octets = pcap_header() + b"".join(pcap_record(i.to_bytes(4, "big") * 20, second=i) for i in range(count))
    source = source_of(octets)
    seen = 0
    for raw in source.batches():
        assert 0 < len(raw) <= FILE_BATCH_FRAMES
        assert raw.ts_ns[0] == seen * SECOND_NS + 2000
        at = int(raw.offsets[-1])
        assert bytes(raw.data[at : at + 4]) == (seen + len(raw) - 1).to_bytes(4, "big")
        seen += len(raw)
    assert seen == count == source.window().frames_seen
    assert source.window().end_ns == (count - 1) * SECOND_NS + 2000
