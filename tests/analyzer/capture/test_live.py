from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from analyzer.capture.live import LiveSource, StopRules
from analyzer.capture.window_clock import WindowClock
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.columns import column
from tests.capture_octets import frames_of
from tests.network_namespace import frame, ip, send, veth_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import RawFrames

pytestmark = pytest.mark.lab

GEOMETRY = RingGeometry(block_octets=1 << 16, blocks=16, retire_ms=5)


@pytest.fixture(autouse=True)
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


def live(rules: StopRules, snaplen: int = 0) -> LiveSource:
    ring = PacketRing(open_packet_socket("tap0", snaplen=snaplen, ring=GEOMETRY, bpf=None), GEOMETRY)
    return LiveSource(ring, "tap0", snaplen, rules)


def test_every_frame_of_the_window_is_there() -> None:
    source = live(StopRules(duration_s=0.2))
    send("guest0", [frame(i) for i in range(1000)])
    found = [item.octets for raw in source.batches() for item in frames_of(raw)]
    window = source.window()
    assert found == [frame(i) for i in range(1000)]
    assert (window.frames_seen, window.frames_lost, window.stopped_early) == (1000, 0, None)
    assert window.duration_s == pytest.approx(0.2, abs=1e-9)
    assert source.interfaces[0].name == "tap0"
    assert source.has_direction
    source.close()


def test_frames_from_before_and_after_the_window_are_left_out() -> None:
    ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=GEOMETRY, bpf=None), GEOMETRY)
    send("guest0", [frame(i) for i in range(10)])
    source = LiveSource(ring, "tap0", 0, StopRules())
    send("guest0", [frame(i) for i in range(10, 20)])
    source.request_stop()
    send("guest0", [frame(i) for i in range(20, 30)])
    found = [item.octets for raw in source.batches() for item in frames_of(raw)]
    assert found == [frame(i) for i in range(10, 20)]
    assert source.window().frames_seen == 10
    source.close()


def test_a_ring_that_was_full_before_loses_nothing_of_the_window() -> None:
    tiny = RingGeometry(block_octets=1 << 12, blocks=4, retire_ms=5)
    ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=tiny, bpf=None), tiny)
    send("guest0", [frame(i, 1000) for i in range(100)])
    source = LiveSource(ring, "tap0", 0, StopRules(duration_s=5, frames=4))
    send("guest0", [frame(i, 1000) for i in range(4)])
    assert sum(len(raw) for raw in source.batches()) == 4
    assert source.window().frames_lost == 0
    source.close()


def test_an_idle_tap_gives_empty_batches() -> None:
    source = live(StopRules(duration_s=0.35))
    sizes = [len(raw) for raw in source.batches()]
    assert len(sizes) >= 3
    assert not any(sizes)
    assert source.window().frames_seen == 0
    source.close()


def test_stops_after_so_many_frames() -> None:
    source = live(StopRules(frames=7))
    send("guest0", [frame(i) for i in range(20)])
    found = [item for raw in source.batches() for item in frames_of(raw)]
    assert [item.octets for item in found] == [frame(i) for i in range(7)]
    assert source.window().end_ns == found[-1].ts_ns
    source.close()


def test_stop_request_ends_it_now() -> None:
    source = live(StopRules(duration_s=60))
    started_s = time.monotonic()
    for _ in source.batches():
        source.request_stop()
    assert time.monotonic() - started_s < 10
    assert source.window().duration_s < 10
    source.close()


def test_a_tap_on_which_frames_never_cease_to_come_ends_all_the_same() -> None:
    """Whoever serves several taps looks at each again when something has come: there is always something."""
    ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=GEOMETRY, bpf=None), GEOMETRY)
    source = LiveSource(ring, "tap0", 0, StopRules(duration_s=0.1), idle_s=0.0)
    batches = source.batches()
    for _ in range(200):
        send("guest0", [frame(0), frame(1)])
        time.sleep(3 * ring.retire_s)  # a block is ready
        if next(batches, None) is None:
            break
    else:
        pytest.fail("it never ends")
    window = source.window()
    assert window.frames_seen > 0
    assert window.frames_seen % 2 == 0
    assert window.duration_s == pytest.approx(0.1, abs=1e-9)
    source.close()


def test_a_tap_that_goes_away_ends_the_window() -> None:
    source = live(StopRules(duration_s=60))
    send("guest0", [frame(i) for i in range(5)])
    seen = 0
    for raw in source.batches():
        seen += len(raw)
        if seen == 5:
            ip("link", "del", "tap0")
            seen += 1
    window = source.window()
    assert (window.frames_seen, window.stopped_early) == (5, "tap0 went away")
    assert window.duration_s < 10
    source.close()


def test_a_tap_that_goes_down_and_up_is_waited_for() -> None:
    source = live(StopRules(frames=4))
    send("guest0", [frame(0), frame(1)])
    seen = 0
    for raw in source.batches():
        seen += len(raw)
        if seen == 2:
            ip("link", "set", "tap0", "down")
            ip("link", "set", "tap0", "up")
            seen += 100
            send("guest0", [frame(2), frame(3)])
    assert source.window().frames_seen == 4
    assert source.window().stopped_early is None
    source.close()


def test_losses_of_the_window_are_counted() -> None:
    tiny = RingGeometry(block_octets=1 << 12, blocks=2, retire_ms=5)
    ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=tiny, bpf=None), tiny)
    send("guest0", [frame(i, 1000) for i in range(100)])
    source = LiveSource(ring, "tap0", 0, StopRules(duration_s=0.1))
    send("guest0", [frame(i, 1000) for i in range(100)])
    seen = sum(len(raw) for raw in source.batches())
    assert seen + (source.window().frames_lost or 0) == 100
    assert source.window().frames_lost
    source.close()


class Day:
    """The time of day for a process and for the kernel that stamps frames; both are set at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.step_ns = 0
        real, ready = time.time_ns, PacketRing.ready_batches

        def batches(ring: PacketRing) -> Iterator[RawFrames]:
            for raw in ready(ring):
                yield replace(raw, ts_ns=raw.ts_ns + self.step_ns)

        monkeypatch.setattr(time, "time_ns", lambda: real() + self.step_ns)
        monkeypatch.setattr(PacketRing, "ready_batches", batches)


@pytest.mark.parametrize("step_s", [-7200.0, -0.5, 0.5, 3600.0, 1e9])
def test_a_clock_that_is_set_changes_neither_the_window_nor_its_frames(
    monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    day, clock = Day(monkeypatch), WindowClock()
    ring = PacketRing(open_packet_socket("tap0", snaplen=0, ring=GEOMETRY, bpf=None), GEOMETRY)
    source = LiveSource(ring, "tap0", 0, StopRules(), clock=clock)
    began_s, times = time.monotonic(), []
    send("guest0", [frame(i) for i in range(5)])
    for raw in source.batches():
        times += raw.ts_ns.tolist()
        if len(times) == 5 and day.step_ns == 0:
            day.step_ns = int(step_s * 1e9)
            send("guest0", [frame(i) for i in range(5, 12)])
        elif len(times) == 12:
            source.request_stop()
    window, elapsed_s = source.window(), time.monotonic() - began_s
    assert (window.frames_seen, len(times)) == (12, 12)
    assert window.start_ns is not None
    assert window.end_ns is not None
    assert window.start_ns - 1e6 <= min(times) <= max(times) <= window.end_ns
    assert 0 < window.duration_s <= elapsed_s + 1e-3
    assert clock.step_ns == pytest.approx(step_s * 1e9, abs=1e8)
    assert f"set by {step_s:+,.1f} s" in str(clock.note())
    source.close()


def test_a_clock_that_nobody_set_tells_of_no_step() -> None:
    clock = WindowClock()
    stamps = np.array([time.time_ns()], np.int64)
    assert clock.carried(stamps) is stamps
    assert (clock.step_ns, clock.note()) == (0, None)
    assert abs(clock.now_ns() - time.time_ns()) < 1e9


def test_batches_keep_their_columns_one_length() -> None:
    source = live(StopRules(frames=3), snaplen=64)
    send("guest0", [frame(i, 200) for i in range(10)])
    for raw in source.batches():
        columns = (raw.captured, raw.original, raw.ts_ns, raw.direction, raw.tag, raw.gso_size, raw.interface)
        assert {len(item) for item in columns} == {len(raw)}
        assert all(item.flags.c_contiguous and column(item) is not None for item in columns)
        assert np.all(raw.captured <= 64)
    source.close()
