from __future__ import annotations

import struct

import pytest

from analyzer.capture import feed, pcapng
from analyzer.capture.identity_comment import Note, write_comment
from analyzer.errors import InputError
from analyzer.model.identity import GuestIdentity, Provenance
from tests.capture_octets import SECOND_NS, block, epb, idb, isb, pb, read_all, shb, source_of, spb

OCTETS = bytes(range(61))
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


@ORDERS
def test_every_kind_of_frame_block(order: str) -> None:
    flags = (2, struct.pack(order + "I", 2))
    blocks = spb(OCTETS, order) + epb(OCTETS, order, flags) + pb(OCTETS, order, flags) + spb(OCTETS, order)
    octets = shb(order) + idb(order) + blocks
    found = read_all(source_of(octets))
    assert [frame.octets for frame in found] == 4 * [OCTETS]
    assert [frame.direction for frame in found] == [0, 2, 2, 0]
    assert [frame.ts_ns for frame in found] == [0, *3 * [SECOND_NS]]  # the one without a time takes that before it


def test_how_the_octets_come_does_not_change_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    octets = shb() + idb() + spb(OCTETS) + epb(OCTETS) + spb(OCTETS) + epb(OCTETS, ticks=2_000_000)
    whole = read_all(source_of(octets))
    monkeypatch.setattr(feed, "WINDOW_OCTETS", 100)
    assert read_all(source_of(octets)) == whole


@ORDERS
@pytest.mark.parametrize("kind", [4, 9, 10, 0xBAD, 0x4000_0BAD, 0x8000_0001])
def test_other_blocks_are_walked_over(order: str, kind: int) -> None:
    other = block(kind, bytes(20), order)
    octets = shb(order) + other + idb(order) + other + epb(OCTETS, order) + other + epb(OCTETS, order) + other
    source = source_of(octets)
    assert len(read_all(source)) == 2
    assert source.window().stopped_early is None


def test_a_block_larger_than_the_window_is_walked_over() -> None:
    other = block(0xBAD, bytes(50_000_000))
    assert len(read_all(source_of(shb() + idb() + other + epb(OCTETS)))) == 1
    source = source_of(shb() + idb() + other[:-4] + b"\0\0\0\0" + epb(OCTETS))
    assert read_all(source) == []
    assert "one length before and another behind" in (source.window().stopped_early or "")


@ORDERS
@pytest.mark.parametrize(
    ("resolution", "offset_s", "ticks", "expected_ns"),
    [
        (6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
        (9, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
        (3, 0, 1_700_000_000_123, 1_700_000_000_123_000_000),
        (0, 0, 17, 17 * SECOND_NS),
        (12, 0, 1_700_000_000_123_456, 1_700_000_000_123),
        (19, 0, 17_000_000_000_000_000_000, 1_700_000_000),
        (0x80 | 10, 0, 1536, 1_500_000_000),
        (0x80 | 32, 0, 3 << 31, 1_500_000_000),
        (0x80 | 63, 0, (1 << 63) + (1 << 62), 1_500_000_000),
        (6, 1_700_000_000, 5, 1_700_000_000_000_005_000),
        (6, -3, 5, -2_999_995_000),
    ],
)
def test_clocks(order: str, resolution: int, offset_s: int, ticks: int, expected_ns: int) -> None:
    found = (9, bytes([resolution])), (14, struct.pack(order + "q", offset_s))
    octets = shb(order) + idb(order, *found) + epb(OCTETS, order, ticks=ticks)
    assert [frame.ts_ns for frame in read_all(source_of(octets))] == [expected_ns]


def test_a_time_that_cannot_be_does_not_reach_the_window() -> None:
    octets = shb() + idb() + epb(OCTETS) + epb(OCTETS, ticks=2**64 - 5) + epb(OCTETS, ticks=3_000_000)
    source = source_of(octets)
    assert [frame.ts_ns // SECOND_NS for frame in read_all(source)] == [1, 1, 3]
    assert (source.window().start_ns, source.window().end_ns) == (SECOND_NS, 3 * SECOND_NS)


def test_frames_without_any_time_leave_the_window_open() -> None:
    source = source_of(shb() + idb() + spb(OCTETS) + spb(OCTETS))
    assert [frame.ts_ns for frame in read_all(source)] == [0, 0]
    assert (source.window().start_ns, source.window().end_ns, source.window().frames_seen) == (None, None, 2)


def test_interfaces_keep_their_own_clock_and_link_type() -> None:
    octets = (
        shb()
        + idb("<", (2, b"eth0"), (9, b"\x06"))
        + epb(OCTETS, ticks=1_000_000)
        + idb("<", (2, b"eth1"), (9, b"\x09"), linktype=113, snaplen=96)
        + epb(OCTETS, ticks=2 * SECOND_NS, interface=1)
        + epb(OCTETS, ticks=3_000_000)
    )
    source = source_of(octets)
    assert [(frame.ts_ns // SECOND_NS, frame.interface) for frame in read_all(source)] == [(1, 0), (2, 1), (3, 0)]
    assert [(i.name, i.linktype, i.snaplen) for i in source.interfaces] == [("eth0", 1, 0), ("eth1", 113, 96)]
    assert source.window().snaplen == 96


def test_sections_of_both_byte_orders_share_interfaces_that_are_the_same() -> None:
    octets = (
        shb("<") + idb("<") + epb(OCTETS) + shb(">") + idb(">") + epb(OCTETS, ">") + idb(">", linktype=101)
    ) + epb(OCTETS, ">", interface=1)
    source = source_of(octets)
    assert [frame.interface for frame in read_all(source)] == [0, 0, 1]
    assert [interface.linktype for interface in source.interfaces] == [1, 101]


def test_an_interface_of_an_earlier_section_is_not_known_in_the_next() -> None:
    source = source_of(shb() + idb() + epb(OCTETS) + shb() + epb(OCTETS))
    assert len(read_all(source)) == 1
    assert "not described" in (source.window().stopped_early or "")


def test_spb_is_cut_at_the_snaplen_of_its_interface() -> None:
    octets = shb() + idb(snaplen=32) + spb(OCTETS[:32], original=61)
    assert [(frame.original, frame.octets) for frame in read_all(source_of(octets))] == [(61, OCTETS[:32])]


@ORDERS
def test_drops_are_summed_over_interfaces_and_sections(order: str) -> None:
    def drops(count: int) -> tuple[int, bytes]:
        return 5, struct.pack(order + "Q", count)

    def os_drops(count: int) -> tuple[int, bytes]:
        return 7, struct.pack(order + "Q", count)

    section = shb(order) + idb(order) + idb(order, linktype=113) + epb(OCTETS, order)
    octets = section + isb(order, drops(3)) + isb(order, drops(5), os_drops(1)) + isb(order, drops(10), interface=1)
    source = source_of(octets + section + isb(order, drops(100)))
    read_all(source)
    assert source.window().frames_lost == 6 + 10 + 100


def test_drop_counts_of_frames_count_where_there_are_no_statistics() -> None:
    octets = shb() + idb() + epb(OCTETS, "<", (4, struct.pack("<Q", 4))) + epb(OCTETS, "<", (4, struct.pack("<Q", 5)))
    source = source_of(octets)
    read_all(source)
    assert source.window().frames_lost == 9


@ORDERS
def test_fcs_is_not_counted(order: str) -> None:
    with_flags = epb(OCTETS, order, (2, struct.pack(order + "I", 2 << 5)))
    octets = shb(order) + idb(order, (13, b"\x20")) + epb(OCTETS, order) + with_flags
    assert [frame.original for frame in read_all(source_of(octets))] == [57, 59]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (epb(OCTETS, interface=1), "not described"),
        (epb(OCTETS).replace(struct.pack("<I", 61), struct.pack("<I", 4000), 1), "more captured octets"),
        (struct.pack("<II", 6, 8), "length that cannot be"),
        (block(6, bytes(16)), "length that cannot be"),
        (block(1, bytes(4)), "length that cannot be"),
        (block(6, bytes(20))[:-4] + bytes(4), "another behind"),
        (struct.pack("<III", 6, 0x7FFF_0000, 0), "longer than any"),
        (struct.pack("<III", 1, 0x7FFF_0000, 0), "longer than any"),
        (struct.pack("<III", 0xBAD, 0xFFFF_FFFF, 0), "cut in the middle"),
        (struct.pack("<III", 6, 0xFFFF_FFFF, 0), "longer than any"),
        (shb(version=(2, 0)), "version 2.0"),
        (shb().replace(b"\x4d\x3c\x2b\x1a", b"nope"), "no byte-order magic"),
        (b"\x06\0\0", "cut in the middle"),
        (shb()[:4] + bytes(4) + shb()[8:], "length that cannot be"),
        (shb()[:4] + struct.pack("<I", 16) + shb()[8:], "length that cannot be"),
    ],
)
def test_what_is_wrong_is_told_with_its_offset(bad: bytes, reason: str) -> None:
    good = shb() + idb() + epb(OCTETS)
    source = source_of(good + bad.ljust(12 if len(bad) > 3 else 0, b"\0"))
    assert len(read_all(source)) == 1
    stopped = source.window().stopped_early or ""
    assert reason in stopped
    assert f"at octet {len(good)} after 1 frames" in stopped


def test_a_file_cut_anywhere_gives_the_frames_before_the_cut() -> None:
    good = shb() + idb()
    frame = epb(OCTETS)
    for cut in range(len(frame)):
        source = source_of(good + frame + frame[:cut])
        assert len(read_all(source)) == 1
        assert (source.window().stopped_early is None) == (cut == 0)


@pytest.mark.parametrize(
    "octets", [shb()[:9], shb()[:-1], shb()[:4] + bytes(20), shb(version=(3, 0)), block(0x0A0D0D0A, bytes(4))]
)
def test_a_bad_first_header_is_an_error(octets: bytes) -> None:
    with pytest.raises(InputError, match="pcapng"):
        source_of(octets)


def test_interfaces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcapng, "MAX_INTERFACES", 50)
    many = b"".join(idb("<", (2, str(i).encode())) for i in range(51))
    source = source_of(shb() + many[: len(many) // 51 * 20] + epb(OCTETS) + many)
    read_all(source)
    assert "more than 50 interfaces" in (source.window().stopped_early or "")


def test_lengths_without_padding_are_tolerated() -> None:
    body = struct.pack("<IIIII", 0, 0, 1_000_000, 61, 61) + OCTETS
    length = struct.pack("<I", len(body) + 12)
    odd = struct.pack("<I", 6) + length + body + bytes(3) + length
    source = source_of(shb() + idb() + odd + odd)
    assert [frame.octets for frame in read_all(source)] == 2 * [OCTETS]


@ORDERS
def test_malformed_options_end_the_options_and_not_the_frame(order: str) -> None:
    bad = struct.pack(order + "HH", 2, 4000)
    head = struct.pack(order + "IIIII", 0, 0, 1_000_000, 60, 60)
    octets = shb(order) + idb(order) + block(6, head + OCTETS[:60] + bad, order) + epb(OCTETS, order)
    source = source_of(octets)
    assert [frame.direction for frame in read_all(source)] == [0, 0]
    assert source.window().stopped_early is None


class TestOurs:
    identity = GuestIdentity(macs=(0x525400000001,), source=Provenance.FILE, name="vm1")
    note = ((4, b"nwscan 1"), (1, write_comment(Note(identity, has_direction=True))))

    def test_identity_and_direction_are_restored(self) -> None:
        source = source_of(shb("<", *self.note) + idb())
        assert source.identity == self.identity
        assert source.has_direction

    def test_a_comment_of_another_writer_is_not_believed(self) -> None:
        source = source_of(shb("<", (4, b"dumpcap"), self.note[1]) + idb())
        assert source.identity is None
        assert not source.has_direction

    @pytest.mark.parametrize(
        "comment",
        [
            *(b"{", b"[]", b'{"nwscan.identity/1": {"macs": ["nonsense"]}}', b"\xff", b"[" * 60000),
            b'{"nwscan.identity/1": {"macs": [], "name": "\xd0"}}',
        ],
    )
    def test_a_comment_that_is_no_identity_is_none(self, comment: bytes) -> None:
        assert source_of(shb("<", (4, b"nwscan"), (1, comment)) + idb()).identity is None

    def test_directions_of_a_section_of_others_are_not_ours(self) -> None:
        flagged = epb(OCTETS, "<", (2, struct.pack("<I", 1)))
        octets = shb("<", *self.note) + idb() + flagged + shb() + idb() + flagged
        assert [frame.direction for frame in read_all(source_of(octets))] == [1, 0]

    def test_a_section_of_another_guest_ends_reading(self) -> None:
        other = Note(GuestIdentity(macs=(2,), source=Provenance.FILE), has_direction=True)
        section = shb("<", (4, b"nwscan"), (1, write_comment(other))) + idb() + epb(OCTETS)
        source = source_of(shb("<", *self.note) + idb() + epb(OCTETS) + section)
        assert len(read_all(source)) == 1
        assert "another guest" in (source.window().stopped_early or "")

    def test_gso_size_is_read_from_our_comment_alone(self) -> None:
        gso = epb(OCTETS, "<", (1, b"nwscan.gso_size=01448"))
        wrong = epb(OCTETS, "<", (1, b"nwscan.gso_size=99999")) + epb(OCTETS, "<", (1, b"nwscan.gso_size=12x"))
        found = read_all(source_of(shb("<", *self.note) + idb() + gso + wrong))
        assert [frame.gso_size for frame in found] == [1448, 0, 0]
        assert [frame.gso_size for frame in read_all(source_of(shb() + idb() + gso))] == [0]
