from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from analyzer.classify import classifier as compiled_classifier
from analyzer.classify import decode as compiled_decode
from analyzer.classify import network_walk as compiled_network
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network, empty_network
from analyzer.classify.table import FrameFacts, class_of
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import CaptureInterface, FrameBatch, FrameFlag, RawFrames
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.network import NetworkBatch
from tests.interpreted import is_compiled, load_interpreted
from tests.property.scapy_frames import MUTATED
from tests.raw_frames import raw_frames

MACS = st.sampled_from(
    [0x525400000001, 0x525400000002, 0xFFFFFFFFFFFF, 0x01005E000001, 0x333300000001, 0, 0x02BF00000001]
)
TYPES = st.sampled_from([0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100, 0x0026, 0x05FF, 0x0600, 0xAAAA])
CHUNKS = st.sampled_from(
    [bytes.fromhex(text) for text in ("81000064", "88a8a00a", "aaaa030000000800", "4500", "60", "4242")]
)


def headed(dst: int, src: int, kind: int, chunks: list[bytes], rest: bytes) -> bytes:
    return dst.to_bytes(6, "big") + src.to_bytes(6, "big") + kind.to_bytes(2, "big") + b"".join(chunks) + rest


HEADED = st.builds(headed, MACS, MACS, TYPES, st.lists(CHUNKS, max_size=5), st.binary(max_size=64))
CUT = st.builds(lambda frame, kept: frame[:kept], HEADED, st.integers(0, 24))
FRAMES = st.one_of(HEADED, st.binary(max_size=80), CUT, MUTATED)
INTERFACES = (CaptureInterface(), CaptureInterface(linktype=113))


@st.composite
def batches(draw: st.DrawFn) -> RawFrames:
    frames = draw(st.lists(FRAMES, max_size=12))

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=len(frames), max_size=len(frames)))

    more = column(st.sampled_from([0, 0, 1, 64, 65_000, 300_000]))
    return raw_frames(
        frames,
        original=[len(frame) + octets for frame, octets in zip(frames, more, strict=True)],
        direction=column(st.integers(0, 3)),
        tag=column(st.sampled_from([0, 0, 0x8100_0005, 0x88A8_FFFF])),
        gso_size=column(st.sampled_from([0, 1, 1448, 65_535])),
        interface=column(st.sampled_from([0, 0, 0, 1, 9])),
        interfaces=INTERFACES,
    )


IDENTITIES = st.lists(MACS, min_size=1, max_size=5).map(
    lambda macs: GuestIdentity(macs=tuple(macs), source=Provenance.COMMAND_LINE)
)
SOURCES = st.sampled_from(DirectionSource)
COLUMNS = ("dst", "src", "outer_type", "ethertype", "tags", "vlan", "network", "octets", "segments", "flags")


def columns(batch: FrameBatch) -> dict[str, list[int]]:
    return {name: getattr(batch, name).tolist() for name in COLUMNS}


@given(batches())
def test_decoding_compiled_equals_interpreted(raw: RawFrames) -> None:
    assert is_compiled(compiled_decode)
    assert columns(decode(raw)) == columns(load_interpreted("analyzer.classify.decode").decode(raw))


@given(batches())
def test_network_decoding_compiled_equals_interpreted(raw: RawFrames) -> None:
    assert is_compiled(compiled_network)
    batch = decode(raw)
    given_rows = decode_network(batch)
    twin_rows = empty_network(given_rows.rows)
    load_interpreted("analyzer.classify.network_walk").NetworkWalk(batch, twin_rows).run()
    for name in NetworkBatch.__struct_fields__:
        assert getattr(given_rows, name).tolist() == getattr(twin_rows, name).tolist(), name


@given(raw=batches(), identity=IDENTITIES, source=SOURCES, on_guest=st.booleans())
def test_classifying_compiled_equals_interpreted(
    raw: RawFrames,
    identity: GuestIdentity,
    source: DirectionSource,
    on_guest: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    assert is_compiled(compiled_classifier)
    batch = decode(raw)
    twin = load_interpreted("analyzer.classify.classifier").Classifier(identity, source, on_guest)
    assert Classifier(identity, source, on_guest).classify(batch).tolist() == twin.classify(batch).tolist()


def comes_from_guest(
    batch: FrameBatch, i: int, macs: frozenset[int], source: DirectionSource, *, on_guest: bool
) -> bool:
    direction = int(batch.raw.direction[i])
    if source is DirectionSource.SOURCE_MAC or direction not in (1, 2):
        return int(batch.src[i]) in macs
    return direction == (2 if on_guest else 1)


@given(raw=batches(), identity=IDENTITIES, source=SOURCES, on_guest=st.booleans())
def test_each_frame_has_the_class_of_the_first_row_that_applies(
    raw: RawFrames,
    identity: GuestIdentity,
    source: DirectionSource,
    on_guest: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    batch = decode(raw)
    classes = Classifier(identity, source, on_guest).classify(batch)
    macs = frozenset(identity.macs)
    expected = [
        class_of(
            FrameFacts(
                flags=FrameFlag(int(batch.flags[i])),
                from_guest=comes_from_guest(batch, i, macs, source, on_guest=on_guest),
                dst=int(batch.dst[i]),
                own_macs=macs,
            )
        )
        for i in range(len(batch))
    ]
    assert classes.tolist() == expected


@given(batches(), IDENTITIES, SOURCES)
def test_classes_partition_the_frames(raw: RawFrames, identity: GuestIdentity, source: DirectionSource) -> None:
    classes = Classifier(identity, source).classify(decode(raw))
    assert classes.dtype == np.uint8
    assert np.bincount(classes, minlength=6).sum() == len(raw)
    assert len(np.bincount(classes, minlength=6)) == 6
