"""Captures and frames: each target takes any octets and fails where a promise is broken.

The promises: reading ends with frames that lie inside the buffer or with one clear error; any frame decodes; the counts
of a report add up; the report survives its document; and the compiled and the interpreted form, a wide and a narrow
window over the file give the same answer.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final
from unittest import mock

from analyzer import pipeline
from analyzer.capture import feed
from analyzer.errors import InputError
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import CaptureInterface
from analyzer.model.identity import Address, GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.report.store import encode, from_document
from tests.capture_octets import read_all, source_of
from tests.capture_promises import check_reading
from tests.fuzz.seeds import GUEST_MAC
from tests.fuzz.twins import interpreted
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from analyzer.report.report import Report
    from tests.capture_octets import Frame

    _Answer = str | tuple[list[Frame], CaptureWindow, tuple[CaptureInterface, ...]]

GUEST: Final = GuestIdentity(
    (int.from_bytes(GUEST_MAC),),
    Provenance.COMMAND_LINE,
    addresses=(
        Address("192.0.2.1", Provenance.COMMAND_LINE, trusted=True),
        Address("2001:db8::1", Provenance.COMMAND_LINE, trusted=True),
    ),
)
_PCAP_MAGICS: Final = tuple(
    struct.pack(order + "I", magic) for order in "<>" for magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
)
_PACKED: Final = {b"\x1f\x8b", b"\x28\xb5"}
_MOST_FRAMES: Final = 64
"""Enough for what one frame does to the next."""
_SMALL_WINDOW_OCTETS: Final = 100
_LINKTYPES: Final = (1, 1, 1, 113, 276, 101)


def read_pcap(octets: bytes) -> None:
    """Read a classic pcap file; the magic is mended, so that nothing is spent on files that are none."""
    _check_file(octets if octets[:4] in _PCAP_MAGICS else _PCAP_MAGICS[len(octets) % 6] + octets[4:])


def read_pcapng(octets: bytes) -> None:
    """Read a pcapng file; its magic is mended."""
    _check_file(b"\x0a\x0d\x0d\x0a" + octets[4:])


def read_packed(octets: bytes) -> None:
    """Read what is compressed; the magic is mended to one of the two."""
    is_gzip = octets[:2] == b"\x1f\x8b" or (octets[:4] != b"\x28\xb5\x2f\xfd" and len(octets) % 2)
    _check_file(b"\x1f\x8b\x08" + octets[3:] if is_gzip else b"\x28\xb5\x2f\xfd" + octets[4:])


def _check_file(octets: bytes) -> None:
    check_reading(octets)
    compiled = _answer(octets)
    with mock.patch.object(feed, "WINDOW_OCTETS", _SMALL_WINDOW_OCTETS):
        narrow = _answer(octets)
    assert narrow == compiled or (octets[:2] in _PACKED and _both_stop_early(narrow, compiled))
    with interpreted():
        assert _answer(octets) == compiled


def _both_stop_early(one: _Answer, other: _Answer) -> bool:
    """Say whether both end early, with frames of which the fewer are the first of the more.

    Where packed data are corrupt, how much of them was still unpacked depends on how much came at once.
    """
    stopped = [isinstance(each, str) or each[1].stopped_early is not None for each in (one, other)]
    frames = [[] if isinstance(each, str) else each[0] for each in (one, other)]
    return all(stopped) and all(mine == theirs for mine, theirs in zip(*frames, strict=False))


def _answer(octets: bytes) -> _Answer:
    """Give all that reading gives: frames, window and interfaces, or the error."""
    try:
        source = source_of(octets)
    except InputError as error:
        return str(error)
    return read_all(source), source.window(), source.interfaces


def decode_frames(octets: bytes) -> None:
    """Decode, classify, observe and count frames; see ``frames_of`` for what the octets mean."""
    compiled = _report(octets)
    assert sum(frames for frames, _ in compiled.class_counts) == compiled.frames_seen
    assert from_document(encode(compiled)) == compiled
    with interpreted():
        assert _report(octets) == compiled


def frames_of(octets: bytes) -> tuple[list[bytes], int, int, int]:
    """Give frames, their direction, tag and GSO size: an octet of options, 4 of tag, then lengths and frames."""
    head = octets[:5].ljust(5, b"\0")
    frames: list[bytes] = []
    at = 5
    while at + 2 <= len(octets) and len(frames) < _MOST_FRAMES:
        length = int.from_bytes(octets[at : at + 2])
        frames.append(octets[at + 2 : at + 2 + length])
        at += 2 + length
    tag = int.from_bytes(head[1:]) if head[0] & 4 else 0
    return frames, head[0] & 3 if head[0] & 3 != 3 else 0, tag, 1448 if head[0] & 8 else 0


def _report(octets: bytes) -> Report:
    frames, direction, tag, gso_size = frames_of(octets)
    n = len(frames)
    interface = CaptureInterface(_LINKTYPES[octets[0] >> 4 if octets and octets[0] >> 4 < len(_LINKTYPES) else 0])
    measurement = pipeline.Measurement(GUEST, DirectionSource.PACKET_TYPE)
    measurement.add(
        raw_frames(
            frames,
            direction=[direction] * n,
            tag=[tag] * n,
            gso_size=[gso_size] * n,
            interfaces=(interface,),
        )
    )
    return measurement.finish((CaptureWindow("fuzz", 0, n, n, None, 0),))
