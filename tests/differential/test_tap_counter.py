"""The eBPF classifier, run by the kernel on frames of any kind, against the classifier that reports are made by.

The shipped object and one that Debian's clang makes of its source are held to the same.
"""

from __future__ import annotations

import ctypes
import shutil
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.errors import HostError, UsageError
from analyzer.host.libbpf import BpfRefusedError, library, succeeded
from analyzer.host.tap_counter import MACS_MOST, OBJECT, SOURCE, TapCounter
from analyzer.model.addresses import BROADCAST
from analyzer.model.classes import CLASS_COUNT, DirectionSource, FrameClass
from analyzer.model.frames import Direction
from analyzer.model.identity import GuestIdentity, Provenance
from tests.network_namespace import need_root, new_namespace
from tests.raw_frames import raw_frames
from tools import tap_counter as tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from analyzer.host.tap_hooks import Attachment, Programs
    from analyzer.model.frames import I64

LOOPBACK = "lo"
"""The kernel runs programs as if the frame were on it."""
OWN = st.lists(st.sampled_from([0x525400000001, 0x525400000101, 0x5254FF000001, 0x02AA00000001, 0x0A0000000000]),
               min_size=1, max_size=MACS_MOST)  # fmt: skip
MAC = st.one_of(
    st.sampled_from([BROADCAST, 0x525400000001, 0x525400000101, 0x5254FF000001, 0x01005E000001, 0x3333FF000001]),
    st.integers(0, BROADCAST),
)
TAGS = st.lists(st.sampled_from([b"\x81\x00\x00\x05", b"\x88\xa8\x20\x01", b"\x91\x00\x00\x07"]), max_size=3)


class _Run(ctypes.Structure):
    """struct bpf_test_run_opts of <bpf/bpf.h>."""

    _fields_ = (
        ("size", ctypes.c_size_t), ("data", ctypes.c_char_p), ("out", ctypes.c_void_p), ("octets", ctypes.c_uint32),
        ("out_octets", ctypes.c_uint32), ("context", ctypes.c_void_p), ("context_out", ctypes.c_void_p),
        ("context_octets", ctypes.c_uint32), ("context_out_octets", ctypes.c_uint32), ("answer", ctypes.c_int32),
        ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32),
        ("batch", ctypes.c_uint32),
    )  # fmt: skip


class Unattached:
    """Hangs the programs nowhere: the kernel is asked to run them."""

    def __init__(self) -> None:
        self.programs: Programs | None = None

    def __call__(self, programs: Programs, name: str, interface: int) -> Attachment:
        assert (name, interface) == (LOOPBACK, socket.if_nametoindex(LOOPBACK))
        self.programs = programs
        return self

    def detach(self) -> None:
        self.programs = None


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """From the shortest that the kernel runs a program on to jumbo frames."""
    head = draw(MAC).to_bytes(6, "big") + draw(MAC).to_bytes(6, "big") + b"".join(draw(TAGS))
    return head + draw(st.binary(min_size=2, max_size=200)) + bytes(draw(st.sampled_from([0, 0, 0, 1400, 3000])))


@pytest.fixture(scope="module", params=["shipped", "rebuilt"])
def elf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    need_root()
    if request.param == "shipped":
        return SOURCE.with_name(OBJECT).read_bytes()
    if not all(map(shutil.which, ("clang", "llvm-strip"))):
        pytest.skip("clang or llvm is not installed")
    rebuilt: Path = tmp_path_factory.mktemp("ebpf") / OBJECT
    tool.build(rebuilt)
    return rebuilt.read_bytes()


@contextmanager
def counting(elf: bytes, macs: Sequence[int]) -> Iterator[tuple[TapCounter, Programs]]:
    unattached = Unattached()
    with TapCounter(unattached, elf) as counter:
        counter.change({LOOPBACK: macs}, ())
        assert unattached.programs is not None
        yield counter, unattached.programs
    assert unattached.programs is None


def ran(program: int, frame: bytes) -> int:
    """What the kernel does with the frame, by the program."""
    run = _Run(ctypes.sizeof(_Run), frame, None, len(frame), repeat=1)
    succeeded(library().bpf_prog_test_run_opts(program, ctypes.byref(run)), "run it")
    return int(run.answer)


def expected(macs: Sequence[int], sent: Sequence[bytes], direction: Direction) -> I64:
    raw = raw_frames(sent, direction=[int(direction)] * len(sent))
    identity = GuestIdentity(tuple(macs), Provenance.COMMAND_LINE)
    classes = Classifier(identity, DirectionSource.PACKET_TYPE).classify(decode(raw))
    counts = np.zeros((CLASS_COUNT, 2), np.int64)
    for kind, frame in zip(classes.tolist(), sent, strict=True):
        counts[kind] += (1, len(frame))
    return counts


@settings(max_examples=60, deadline=None)
@given(macs=OWN, to_guest=st.lists(frames(), max_size=12), from_guest=st.lists(frames(), max_size=4))
def test_the_kernel_counts_as_reports_do(
    elf: bytes, macs: list[int], to_guest: list[bytes], from_guest: list[bytes]
) -> None:
    with counting(elf, macs) as (counter, programs):
        answers = {ran(programs.to_guest, frame) for frame in to_guest}
        answers |= {ran(programs.from_guest, frame) for frame in from_guest}
        found = counter.read()[LOOPBACK]
    assert answers <= {-1}, "every frame goes on: TC_ACT_UNSPEC"
    wanted = expected(macs, to_guest, Direction.TO_GUEST) + expected(macs, from_guest, Direction.FROM_GUEST)
    assert found.tolist() == wanted.tolist()


def test_whatever_macs_pass_nothing_grows_and_a_tap_that_is_not_counted_is_let_pass(elf: bytes) -> None:
    with counting(elf, [0x525400000001]) as (counter, programs):
        for number in range(5000):
            ran(programs.to_guest, (0x020000000000 + number * 0x1000193).to_bytes(6, "big").ljust(60, b"\0"))
        assert counter.read()[LOOPBACK][FrameClass.FOREIGN_UNICAST].tolist() == [5000, 300_000]
        (key,) = keys_of(counter)
        assert key == socket.if_nametoindex(LOOPBACK)
        counter.change({}, [LOOPBACK])
        assert keys_of(counter) == []


def keys_of(counter: TapCounter) -> list[int]:
    """The interfaces that the map has entries for, of the first ones that there can be."""
    assert counter._entries is not None
    found = []
    for key in range(64):
        try:
            counter._entries.get(key)
        except BpfRefusedError:
            continue
        found.append(key)
    return found


def test_octets_that_are_no_object_are_refused() -> None:
    need_root()
    with pytest.raises(HostError, match="cannot read the object"):
        TapCounter(elf=b"\x7fELF but no more").open()


def test_what_is_no_tap_or_no_mac_is_refused_and_changes_nothing(elf: bytes) -> None:
    with new_namespace(), counting(elf, [0x525400000001]) as (counter, _):
        for tap, macs in (("a b", [1 << 41]), ("t0", []), ("t0", [BROADCAST]), ("t0", list(range(0, 18, 2)))):
            with pytest.raises(UsageError):
                counter.change({tap: macs}, [LOOPBACK])
        with pytest.raises(UsageError, match="counted already"):
            counter.change({LOOPBACK: [0x525400000001]}, ())
        assert list(counter.read()) == [LOOPBACK]
