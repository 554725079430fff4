from __future__ import annotations

import pytest

from analyzer.classify import classifier as compiled
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.errors import UsageError
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from tests.interpreted import is_compiled
from tests.raw_frames import raw_frames

OWN = 0x525400000001
OTHER = 0x525400000002
IPV4_GROUP = 0x01005E0000FB
ALL = 0xFFFFFFFFFFFF


def identity(*macs: int) -> GuestIdentity:
    return GuestIdentity(macs=macs, source=Provenance.COMMAND_LINE)


def frame(dst: int, src: int) -> bytes:
    return dst.to_bytes(6, "big") + src.to_bytes(6, "big") + b"\x88\xb5" + bytes(46)


def class_of(
    octets: bytes,
    direction: int,
    source: DirectionSource,
    *,
    captured_on_guest: bool = False,
    macs: tuple[int, ...] = (OWN,),
) -> FrameClass:
    classifier = Classifier(identity(*macs), source, captured_on_guest)
    return FrameClass(classifier.classify(decode(raw_frames([octets], direction=[direction])))[0])


def test_is_compiled() -> None:
    assert is_compiled(compiled)


@pytest.mark.parametrize(
    ("dst", "expected"),
    [
        (OWN, FrameClass.UNICAST_TO_GUEST),
        (OTHER, FrameClass.FOREIGN_UNICAST),
        (0, FrameClass.FOREIGN_UNICAST),
        (ALL, FrameClass.BROADCAST),
        (IPV4_GROUP, FrameClass.MULTICAST),
        (0x333300000001, FrameClass.MULTICAST),
        (0x09002B000004, FrameClass.MULTICAST),
        (0x011B19000000, FrameClass.MULTICAST),
        (0x03BF00000001, FrameClass.MULTICAST),
        (0x02BF00000001, FrameClass.FOREIGN_UNICAST),
    ],
)
def test_class_by_destination(dst: int, expected: FrameClass) -> None:
    assert class_of(frame(dst, OTHER), 2, DirectionSource.PACKET_TYPE) is expected


@pytest.mark.parametrize("dst", [OWN, OTHER, ALL, IPV4_GROUP])
@pytest.mark.parametrize("src", [OWN, OTHER])
def test_what_the_tap_says_comes_from_the_guest_does(dst: int, src: int) -> None:
    assert class_of(frame(dst, src), 1, DirectionSource.PACKET_TYPE) is FrameClass.FROM_GUEST


def test_own_source_that_comes_from_the_bridge_is_not_from_the_guest() -> None:
    assert class_of(frame(OTHER, OWN), 2, DirectionSource.PACKET_TYPE) is FrameClass.FOREIGN_UNICAST


@pytest.mark.parametrize("direction", [0, 3])
@pytest.mark.parametrize("source", list(DirectionSource))
def test_without_a_direction_the_source_mac_decides(direction: int, source: DirectionSource) -> None:
    assert class_of(frame(OTHER, OWN), direction, source) is FrameClass.FROM_GUEST
    assert class_of(frame(OTHER, OTHER), direction, source) is FrameClass.FOREIGN_UNICAST


@pytest.mark.parametrize("direction", range(4))
def test_by_source_mac_the_direction_does_not_count(direction: int) -> None:
    assert class_of(frame(OTHER, OWN), direction, DirectionSource.SOURCE_MAC) is FrameClass.FROM_GUEST
    assert class_of(frame(OWN, OTHER), direction, DirectionSource.SOURCE_MAC) is FrameClass.UNICAST_TO_GUEST


def test_captured_on_the_guest_inbound_is_to_the_guest() -> None:
    def given(direction: int) -> FrameClass:
        return class_of(frame(OWN, OWN), direction, DirectionSource.EPB_FLAGS, captured_on_guest=True)

    assert given(1) is FrameClass.UNICAST_TO_GUEST
    assert given(2) is FrameClass.FROM_GUEST


@pytest.mark.parametrize("direction", range(4))
def test_too_short_comes_before_all_else(direction: int) -> None:
    assert class_of(frame(OWN, OWN)[:13], direction, DirectionSource.EPB_FLAGS) is FrameClass.UNCLASSIFIED


def test_frame_cut_within_its_tag_still_has_its_class() -> None:
    assert class_of(frame(OWN, OTHER)[:12] + b"\x81\x00", 2, DirectionSource.PACKET_TYPE) is FrameClass.UNICAST_TO_GUEST


def test_thousand_macs() -> None:
    macs = tuple(range(OWN + 2000, OWN, -2))
    for mac in macs:
        assert class_of(frame(mac, OTHER - 1), 2, DirectionSource.PACKET_TYPE, macs=macs) is FrameClass.UNICAST_TO_GUEST
        assert (
            class_of(frame(mac + 1, OTHER - 1), 2, DirectionSource.PACKET_TYPE, macs=macs) is FrameClass.FOREIGN_UNICAST
        )


def test_guest_without_a_mac_is_refused() -> None:
    with pytest.raises(UsageError, match="no MAC is known"):
        Classifier(identity(), DirectionSource.SOURCE_MAC)
