"""``capture --no-keep``: plain frames are counted in the kernel, and the report is the one that the ring gives."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import tempfile
import time
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.capture.live import LiveSource, StopRules
from analyzer.capture.window_clock import WindowClock
from analyzer.errors import HostError
from analyzer.host.flow_counter import MACS_MOST, FlowFilter, FlowTables, has_own_clock
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.pipeline import Measurement
from tests.flow_vectors import mixed, pairs
from tests.lab.nwscan_run import wait_for
from tests.lab.test_live import MAC, Capture, capturing
from tests.network_namespace import frame, ip, receiving_guest, send, veth_pair
from tests.nwscan.ordinary_user import USER, as_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import I64
    from tests.lab.nwscan_run import Json

OWN = MAC.replace(":", "")
RING = RingGeometry(block_octets=1 << 16, blocks=64, retire_ms=5)
TIMES = {"first_seen", "last_seen", "example", "start", "end", "t", "query", "answer", "joined", "left"}
WITHOUT = {"rates", "windows"}
"""What follows from the windows' own times."""
BY_THE_RING = ("-c", 10**9)
"""Who asks for a number of frames has each go into the ring."""


@pytest.fixture
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


def timeless(part: object) -> object:
    """A part of a report without times: each socket has its own of a frame."""
    if isinstance(part, dict):
        return {key: timeless(value) for key, value in part.items() if key not in TIMES}
    return [timeless(one) for one in part] if isinstance(part, list) else part


def children(pid: int) -> list[int]:
    below = [
        int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()
    ]
    return [pid, *(each for one in below for each in children(one))]


def mapped(capture: Capture) -> str:
    """What the processes of a capture have mapped."""
    return "".join(Path(f"/proc/{pid}/maps").read_text() for pid in children(capture.process.pid))


def counts_in_kernel(capture: Capture) -> bool:
    """Whether the capture has tables of the kernel's mapped."""
    return "bpf-map" in mapped(capture)


def rings(capture: Capture) -> set[str]:
    """The sockets whose rings the capture has mapped."""
    return set(re.findall(r"socket:\[\d+\]", mapped(capture)))


@contextmanager
def both(folder: Path, *words: object) -> Iterator[tuple[Capture, Capture]]:
    """Two captures of the same tap that keep no frames: one as it is, and one by the ring."""
    captures = []
    try:
        for name, how in (("kernel", ()), ("ring", BY_THE_RING)):
            (folder / name).mkdir()
            captures.append(Capture(folder / name, ("tap0", *words, "--no-keep", "--json", *how), ()))
        for capture in captures:
            wait_for(partial(_is_running, capture), "it runs")
        yield captures[0], captures[1]
    finally:
        for capture in captures:
            if capture.process.poll() is None:
                capture.process.kill()
            capture.process.wait()


def _is_running(capture: Capture) -> bool:
    return "capturing on" in capture.err.read_text() or capture.process.poll() is not None


def ended(*captures: Capture) -> list[Json]:
    for capture in captures:
        capture.process.send_signal(signal.SIGINT)
    return [document for capture in captures for document in capture.end(None)]


def agree(documents: list[Json]) -> None:
    """What both reports say is the same but for times; time bins are."""
    kernel, ring = documents
    for key in kernel.keys() - WITHOUT:
        assert timeless(kernel[key]) == timeless(ring[key]), key
    assert kernel["timeline"] == ring["timeline"]
    assert [one["windows"][0]["frames_seen"] for one in documents] == [kernel["windows"][0]["frames_seen"]] * 2
    assert [one["windows"][0]["frames_lost"] for one in documents] == [0, 0]
    assert sum(one["frames"] for one in kernel["classes"].values()) == kernel["windows"][0]["frames_seen"]


@pytest.mark.usefixtures("_wire")
@pytest.mark.parametrize("addresses", [(), ("--ip", "192.0.2.2")])
def test_every_count_is_the_same_as_by_the_ring(tmp_path: Path, addresses: tuple[str, ...]) -> None:
    with both(tmp_path, "--mac", MAC, *addresses) as captures:
        assert [counts_in_kernel(capture) for capture in captures] == [True, False]
        for _ in range(3):
            for interface in ("tap0", "guest0"):
                send(interface, 3 * mixed())
                send(interface, [frame(number, 100, dst="02aa00000007") for number in range(500)])
            send("tap0", pairs(800, 4))
            time.sleep(0.7)
        documents = ended(*captures)
    agree(documents)
    assert len(documents[0]["timeline"]) > 6
    assert len({one["t"] for one in documents[0]["timeline"]}) > 1
    assert {one["class"] for one in documents[0]["samples"]} == {each.key for each in FrameClass} - {"unclassified"}


@pytest.mark.usefixtures("_wire")
def test_super_frames_count_their_segments(tmp_path: Path) -> None:
    name = f"nwscan-flows-{os.getpid()}"
    with receiving_guest(name) as (guest, transfer), both(tmp_path, "--mac", guest) as captures:
        transfer()
        time.sleep(0.3)
        documents = ended(*captures)
    agree(documents)
    assert documents[0]["segments"] > documents[0]["windows"][0]["frames_seen"]


@pytest.mark.usefixtures("_wire")
def test_a_tap_that_comes_again_is_counted_in_the_kernel_too(tmp_path: Path) -> None:
    flood = [frame(number, 100, dst="02aa00000007") for number in range(1000)]
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json", "--no-keep") as capture:
        before = rings(capture)
        send("guest0", flood)
        send("tap0", flood)
        time.sleep(0.3)  # the ring's last block: what a tap had when it is removed is not owed
        ip("link", "del", "tap0")
        ip("link", "add", "tap0", "type", "veth", "peer", "name", "guest0")
        for name in ("tap0", "guest0"):
            ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
        wait_for(lambda: bool(rings(capture) - before), "the tap that came again is captured")
        time.sleep(0.3)  # what it still has to do before its window begins
        assert counts_in_kernel(capture)
        send("tap0", flood)
        time.sleep(1)
        (report,) = capture.end()
    first, second = report["windows"]
    assert (first["frames_seen"], first["frames_lost"], first["stopped_early"]) == (2000, 0, "tap0 went away")
    assert (second["frames_seen"], second["frames_lost"]) == (1000, 0)
    assert report["classes"]["foreign_unicast"]["frames"] == 2000
    assert report["classes"]["from_guest"]["frames"] == 1000


@pytest.mark.usefixtures("_wire")
def test_without_cap_bpf_the_ring_gives_the_report() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chown(folder, USER, USER)
        with capturing(Path(folder), "tap0", "--mac", MAC, "--no-keep", "--json", prefix=as_ordinary_user()) as capture:
            assert not counts_in_kernel(capture)
            send("tap0", [frame(number, 100, dst="02aa00000007") for number in range(500)])
            (report,) = capture.end()
    assert report["classes"]["foreign_unicast"]["frames"] == 500
    assert report["notes"] == []


@pytest.mark.usefixtures("_wire")
def test_with_cap_bpf_and_no_more_the_kernel_takes_it() -> None:
    prefix = as_ordinary_user(capabilities=("net_raw", "net_admin", "bpf"))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chown(folder, USER, USER)
        with capturing(Path(folder), "tap0", "--mac", MAC, "--no-keep", "--json", prefix=prefix) as capture:
            assert counts_in_kernel(capture)
            send("tap0", [frame(number, 100, dst="02aa00000007") for number in range(500)])
            (report,) = capture.end()
    assert report["classes"]["foreign_unicast"]["frames"] == 500


@pytest.mark.usefixtures("_wire")
def test_a_time_namespace_with_a_clock_of_its_own_is_left_to_the_ring(tmp_path: Path) -> None:
    prefix = ("unshare", "-T", "--monotonic", "100000", "--fork")
    assert not has_own_clock()
    with capturing(tmp_path, "tap0", "--mac", MAC, "--no-keep", "--json", prefix=prefix) as capture:
        assert not counts_in_kernel(capture)
        send("tap0", [frame(number, 100, dst="02aa00000007") for number in range(500)])
        time.sleep(0.5)
        for pid in children(capture.process.pid)[1:2]:  # unshare waits for it
            os.kill(pid, signal.SIGINT)
        (report,) = capture.end(None)
    assert report["classes"]["foreign_unicast"]["frames"] == 500


@pytest.mark.parametrize(
    "words", [("-c", 10**9), ("-w", "f.pcapng"), ("--unrelated",), ("ether proto 0x88b5",)], ids=lambda each: each[0]
)
@pytest.mark.usefixtures("_wire")
def test_where_frames_are_wanted_they_go_into_the_ring(tmp_path: Path, words: tuple[object, ...]) -> None:
    named = [tmp_path / word if word == "f.pcapng" else word for word in words]
    with capturing(tmp_path, "tap0", "--mac", MAC, "--no-keep", "--json", *named) as capture:
        assert mapped(capture).count("bpf-map") == ("--unrelated" in words)
        capture.end()


def test_more_macs_than_it_can_tell_are_left_to_the_ring() -> None:
    with pytest.raises(HostError, match="9 MACs"):
        FlowFilter(range(2, 2 + 2 * (MACS_MOST + 1), 2), 128, "a test", slots=16)
    with pytest.raises(HostError, match="cannot read the object"):
        FlowFilter((2,), 128, "a test", slots=16, elf=b"no object")


def counted(slots: int, stop: StopRules | None = None, early_frames: int = 64) -> tuple[LiveSource, FlowTables]:
    """A window on the tap, its frames counted in the kernel; its gate is open."""
    sock = open_packet_socket("tap0", snaplen=128, ring=RING, bpf=None)
    own = FlowFilter((int(OWN, 16),), 128, "a test", slots=slots, early_frames=early_frames)
    own.attach(sock)
    tables = FlowTables(os.dup(own.tables), slots)
    own.close()
    source = LiveSource(
        PacketRing(sock, RING), "tap0", 128, stop or StopRules(), idle_s=0.0, clock=WindowClock(), flows=tables
    )
    assert len(source.take_flows()) == 0
    return source, tables


def finished(source: LiveSource) -> tuple[int, I64]:
    """The frames of the window's batches, and its flows."""
    frames = sum(len(raw) for raw in source.batches())
    return frames, source.take_flows(is_last=True)


def flooding(begin: object, interface: str, count: int) -> None:
    """Send some flows over and over, from a process and a CPU of its own."""
    frames = [frame(number, 100, dst=f"02aa000000{number % 7:02x}") for number in range(200)]
    begin.wait()  # type: ignore[attr-defined]
    for _ in range(count // 200):
        send(interface, frames)


def not_sent() -> int:
    """The frames that the wire dropped."""
    (link,) = json.loads(ip("-s", "-j", "link", "show", "guest0"))
    dropped: int = link["stats64"]["tx"]["dropped"]
    return dropped


@pytest.mark.usefixtures("_wire")
@pytest.mark.parametrize("slots", [4, 256])
def test_frames_of_several_cpus_are_counted_once_while_tables_change(slots: int) -> None:
    """Also where hardly a flow finds a slot; and each to its own pair of MACs, of those that got through."""
    count, senders = 60_000, ("tap0", "guest0", "tap0")
    context = multiprocessing.get_context("fork")
    begin = context.Event()
    source, tables = counted(slots)
    measurement = Measurement(GuestIdentity((int(OWN, 16),), Provenance.COMMAND_LINE), DirectionSource.PACKET_TYPE)
    running = [context.Process(target=flooding, args=(begin, name, count)) for name in senders]
    for each in running:
        each.start()
    begin.set()
    in_ring, flows, batches = 0, [], source.batches()
    while any(each.is_alive() for each in running):
        raw = next(batches)
        in_ring += len(raw)
        measurement.add(raw)
        source.let_go()
        flows.append(source.take_flows())
    for each in running:
        each.join()
        assert each.exitcode == 0
    source.request_stop()
    for raw in batches:
        in_ring += len(raw)
        measurement.add(raw)
    flows.append(source.take_flows(is_last=True))
    window = source.window()
    total = np.concatenate(flows)
    measurement.count_flows(total)
    lost = (window.frames_lost or 0) + not_sent()
    assert tables.lost == 0
    assert in_ring + int(total[:, 3].sum()) == window.frames_seen
    assert window.frames_seen + lost == count * len(senders)
    assert int(total[:, 4].sum()) == 100 * int(total[:, 3].sum())
    assert (total[:, 5] <= total[:, 6]).all()
    assert (total[:, 7] <= total[:, 5]).all()
    assert (total[:, 6] < total[:, 7] + 10**9).all()
    assert sum(len(one) > 0 for one in flows) > 2  # tables were changed meanwhile
    if slots > 7:
        assert window.frames_seen > 2 * in_ring
    report = measurement.finish((window,))
    talkers = {entry.second & 0xFF: entry.frames for entry in report.talkers.entries}
    wanted = {kind: 2 * count // 200 * sum(number % 7 == kind for number in range(200)) for kind in range(7)}
    assert talkers.keys() == wanted.keys()
    assert all(wanted[kind] - lost <= frames <= wanted[kind] for kind, frames in talkers.items())
    source.close()


@pytest.mark.usefixtures("_wire")
def test_what_came_before_and_after_the_window_does_not_count() -> None:
    flood = [frame(number, 100, dst="02aa00000007") for number in range(300)]
    sock = open_packet_socket("tap0", snaplen=128, ring=RING, bpf=None)
    own = FlowFilter((int(OWN, 16),), 128, "a test", slots=16, early_frames=0)
    own.attach(sock)
    tables = FlowTables(os.dup(own.tables), 16)
    own.close()
    send("tap0", flood)
    ring = PacketRing(sock, RING)
    source = LiveSource(ring, "tap0", 128, StopRules(duration_s=0.4), idle_s=0.0, clock=WindowClock(), flows=tables)
    send("tap0", flood)
    source.take_flows()
    send("tap0", flood)
    time.sleep(0.5)
    send("tap0", flood)  # behind the end, and nobody has looked yet
    in_ring, flows = finished(source)
    window = source.window()
    assert (in_ring, int(flows[:, 3].sum()), window.frames_seen, window.frames_lost) == (300, 300, 600, 0)
    assert window.start_ns is not None
    assert window.end_ns is not None
    assert window.start_ns <= flows[:, 5].min() <= flows[:, 6].max() <= window.end_ns
    source.close()


@pytest.mark.usefixtures("_wire")
def test_a_stop_ends_the_window_for_both_ways_at_once() -> None:
    flood = [frame(number, 100, dst="02aa00000007") for number in range(300)]
    source, _ = counted(16, early_frames=0)
    send("tap0", flood)
    source.request_stop()
    send("tap0", flood)
    in_ring, flows = finished(source)
    assert (in_ring, int(flows[:, 3].sum()), source.window().frames_seen) == (0, 300, 300)
    source.close()


@pytest.mark.usefixtures("_wire")
def test_a_clock_that_is_set_moves_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour forwards, in the middle of the window."""
    flood = [frame(number, 100, dst="02aa00000007") for number in range(300)]
    source, _ = counted(16, early_frames=0)
    send("tap0", flood)
    day_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: day_ns() + 3600 * 10**9)
    send("tap0", flood)
    source.request_stop()
    with closing(source):
        in_ring, flows = finished(source)
        window = source.window()
    assert (in_ring, int(flows[:, 3].sum()), window.frames_seen) == (0, 600, 600)
    assert window.start_ns is not None
    assert window.end_ns is not None
    assert window.start_ns <= flows[:, 5].min() <= flows[:, 6].max() <= window.end_ns < window.start_ns + 60 * 10**9


@pytest.mark.usefixtures("_wire")
def test_flows_lie_in_the_second_in_which_their_frames_came() -> None:
    source, _ = counted(64, early_frames=0)
    measurement = Measurement(GuestIdentity((int(OWN, 16),), Provenance.COMMAND_LINE), DirectionSource.PACKET_TYPE)
    sent: dict[int, int] = {}
    for _ in range(25):
        before = int(source.window().end_ns or 0) // 10**9
        send("tap0", [frame(number, 100, dst="02aa00000007") for number in range(20)])
        after = int(source.window().end_ns or 0) // 10**9
        if before == after:
            sent[before] = sent.get(before, 0) + 20
        measurement.count_flows(source.take_flows())
        time.sleep(0.1)
    source.request_stop()
    with closing(source):
        in_ring, flows = finished(source)
    measurement.count_flows(flows)
    assert (in_ring, measurement.frames) == (0, 500)
    found = dict(measurement.finish((source.window(),)).timeline.bins)
    assert len(sent) >= 3
    for second, frames in sent.items():
        counts = found[second]
        assert frames <= counts[2 * FrameClass.FOREIGN_UNICAST] <= frames + 20
