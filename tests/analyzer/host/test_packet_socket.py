"""The ring on real interfaces: veth pairs in network namespaces of the test's own."""

from __future__ import annotations

import itertools
import os
import re
import socket
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.bpf import PROTOCOL_OF_NONE, compile_bpf
from analyzer.errors import HostError
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.frames import Direction
from tests.capture_octets import Frame, frames_of
from tests.network_namespace import frame, ip, send, veth_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.host.packet_socket import BpfProgram

pytestmark = pytest.mark.lab

SMALL = RingGeometry(block_octets=1 << 16, blocks=4, retire_ms=5)
DEADLINE_S = 10.0


@pytest.fixture
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


def open_ring(snaplen: int = 0, geometry: RingGeometry = SMALL, bpf: BpfProgram | None = None) -> PacketRing:
    return PacketRing(open_packet_socket("tap0", snaplen=snaplen, ring=geometry, bpf=bpf), geometry)


def collect(ring: PacketRing, count: int) -> list[Frame]:
    """Give at least ``count`` frames, waiting for them, and whatever comes with them."""
    found: list[Frame] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} frames"
        for raw in ring.ready_batches():
            found += frames_of(raw)
        time.sleep(0.001)
    return found


@pytest.mark.usefixtures("_wire")
class TestRing:
    def test_every_frame_once_and_in_order_both_ways(self) -> None:
        ring = open_ring(geometry=RingGeometry())
        before_ns = time.time_ns()
        received = [frame(i, 60 + i % 900) for i in range(5000)]
        sent = [frame(i, 60 + i % 900) for i in range(5000, 6000)]
        send("guest0", received)
        send("tap0", sent)
        found = collect(ring, 6000)
        assert [item.octets for item in found] == received + sent
        assert [item.direction for item in found] == 5000 * [Direction.FROM_GUEST] + 1000 * [Direction.TO_GUEST]
        assert all(item.original == len(item.octets) for item in found)
        assert all(before_ns <= a.ts_ns <= b.ts_ns <= time.time_ns() for a, b in itertools.pairwise(found))
        assert ring.frames_seen == 6000
        assert ring.lost() == 0
        ring.close()

    def test_a_tag_that_the_kernel_stripped_is_told(self) -> None:
        ring = open_ring()
        head = bytes.fromhex("525400000001525400000002")
        payload = bytes.fromhex("88b5") + bytes(46)
        frames = [
            head + bytes.fromhex("8100e005") + payload,
            head + bytes.fromhex("88a82006") + bytes.fromhex("81000007") + payload,
            head + payload,
            head + bytes.fromhex("81000000") + payload,  # priority tag: VLAN 0 is a tag as well
        ]
        send("guest0", frames)
        found = collect(ring, 4)
        restored = [
            item.octets[:12] + (item.tag.to_bytes(4, "big") if item.tag else b"") + item.octets[12:] for item in found
        ]
        assert restored == frames
        assert [item.original + (4 if item.tag else 0) for item in found] == [len(octets) for octets in frames]
        assert any(item.tag for item in found), "this kernel strips no tags: nothing was tested"
        ring.close()

    @pytest.mark.parametrize("snaplen", [14, 64, 128])
    def test_snaplen_keeps_the_beginning_and_the_length(self, snaplen: int) -> None:
        ring = open_ring(snaplen=snaplen)
        frames = [frame(i, 1000) for i in range(20)]
        send("guest0", frames)
        found = collect(ring, 20)
        assert [item.octets for item in found] == [octets[:snaplen] for octets in frames]
        assert {item.original for item in found} == {1000}
        ring.close()

    def test_an_expression_selects(self) -> None:
        ring = open_ring(bpf=compile_bpf("ether proto 0x88b5 and greater 100", 64))
        send("guest0", [frame(0, 200, 0x88B6), frame(1, 64), frame(2, 200), frame(3, 200)])
        found = collect(ring, 2)
        assert [item.octets for item in found] == [frame(2, 200)[:64], frame(3, 200)[:64]]
        ring.close()

    def test_vlan_in_an_expression_sees_tags_beside_the_frame(self) -> None:
        ring = open_ring(bpf=compile_bpf("vlan 5", 64, "tap0"))
        head = bytes.fromhex("525400000001525400000002")
        send("guest0", [head + bytes.fromhex(f"8100000{vlan}88b5") + bytes(50) for vlan in (4, 5, 6)] + [frame(1)])
        (found,) = collect(ring, 1)
        assert found.tag == 0x8100_0005
        ring.close()

    def test_no_frame_has_the_protocol_that_an_expression_is_compiled_with(self) -> None:
        """Whatever a guest writes into its frames: the ring that libpcap maps meanwhile stays empty."""
        heads = (bytes.fromhex("525400000001525400000002" + tag) for tag in ("", "81000005"))
        frames = [head + ethertype.to_bytes(2, "big") + bytes(50) for head in heads for ethertype in range(1 << 16)]
        heard = {}
        for protocol in (PROTOCOL_OF_NONE, 0xFFFF):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
                sock.bind(("tap0", protocol))
                send("guest0", frames)
                sock.setblocking(False)
                try:
                    heard[protocol] = sock.recv(64)[12:14]
                except BlockingIOError:
                    heard[protocol] = b""
        assert heard == {PROTOCOL_OF_NONE: b"", 0xFFFF: b"\xff\xff"}

    def test_drops_are_counted_exactly(self) -> None:
        geometry = RingGeometry(block_octets=1 << 12, blocks=2, retire_ms=5)
        ring = open_ring(geometry=geometry)
        send("guest0", [frame(i, 1000) for i in range(500)])
        found = collect(ring, 1)
        assert 0 < len(found) < 500
        assert ring.lost() == 500 - len(found)
        assert ring.lost() == 500 - len(found), "reading the statistics clears them in the kernel, not here"
        send("guest0", [frame(i, 1000) for i in range(3)])
        again = collect(ring, 3)
        assert len(again) == 3
        assert ring.frames_seen + ring.lost() == 503
        ring.close()

    def test_a_super_frame_tells_its_segment_size(self) -> None:
        ring = open_ring(geometry=RingGeometry())
        payload = 20_000
        tcp = struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 5 << 4, 16, 1000, 0, 0)
        total = 20 + len(tcp) + payload
        ipv4 = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 6, 0, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])
        )
        super_frame = bytes.fromhex("5254000000015254000000020800") + ipv4 + tcp + bytes(payload)
        header = struct.pack("=BBHHHH", 1, 1, 54, 1448, 34, 16)  # needs checksum, TCPv4, header, size, checksum place
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.setsockopt(263, 15, 1)
            sock.bind(("tap0", 0x0800))
            sock.send(header + super_frame)
        (found, *_) = collect(ring, 1)
        assert (found.gso_size, found.original, found.direction) == (1448, len(super_frame), Direction.TO_GUEST)
        send("tap0", [frame(1)])
        assert collect(ring, 1)[-1].gso_size == 0
        ring.close()

    def test_a_block_with_more_frames_than_a_batch(self) -> None:
        ring = open_ring(snaplen=14, geometry=RingGeometry(block_octets=1 << 20, blocks=2, retire_ms=200))
        send("guest0", [frame(i, 60) for i in range(6000)])
        found = collect(ring, 6000)
        assert len(found) == 6000
        ring.close()

    def test_a_batch_left_in_the_middle_is_not_given_twice(self) -> None:
        ring = open_ring()
        send("guest0", [frame(i, 1000) for i in range(150)])
        found: list[Frame] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < 150 and time.monotonic() < deadline:
            for raw in ring.ready_batches():
                found += frames_of(raw)
                break
        assert [item.octets for item in found] == [frame(i, 1000) for i in range(150)]
        ring.close()

    def test_the_worker_needs_nothing_but_the_descriptor(self) -> None:
        sock = open_packet_socket("tap0", snaplen=0, ring=SMALL, bpf=None)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            socket.send_fds(ours, [b"x"], [sock.fileno()])
            _, (descriptor,), _, _ = socket.recv_fds(theirs, 1, 1)
        sock.close()
        ring = PacketRing(socket.socket(fileno=descriptor), SMALL)
        send("guest0", [frame(1)])
        assert collect(ring, 1)[0].octets == frame(1)
        ring.close()

    def test_a_tap_that_is_removed_is_noticed(self) -> None:
        ring = open_ring()
        assert not ring.is_gone()
        ip("link", "set", "tap0", "down")
        assert not ring.is_gone()
        ip("link", "del", "tap0")
        assert ring.is_gone()
        ring.close()

    def test_tcpdump_beside_it_sees_the_same(self) -> None:
        ring = open_ring(geometry=RingGeometry())
        command = ["tcpdump", "-i", "tap0", "-nn", "-e", "-x", "-U", "-c", "40", "--immediate-mode"]
        oracle = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert oracle.stderr is not None
        assert oracle.stdout is not None
        while "listening on" not in oracle.stderr.readline():
            assert oracle.poll() is None
        head = bytes.fromhex("525400000001525400000002")
        tagged = [head + bytes.fromhex(f"8100000{1 + i % 9}88b5") + bytes(50) for i in range(20)]
        send("guest0", tagged[:10])
        send("tap0", [frame(i, 100) for i in range(20)])
        send("guest0", tagged[10:])
        found = collect(ring, 40)
        printed = oracle.communicate(timeout=20)[0]
        lengths = [int(part) for part in re.findall(r"length (\d+):", printed) if part]
        assert lengths == [item.original + (4 if item.tag else 0) for item in found]
        ring.close()


class TestErrors:
    @pytest.mark.usefixtures("_wire")
    @pytest.mark.parametrize("tap", ["nosuchtap", "a" * 100, "", "tap\0", "../../tap0", "\x1b[31m"])
    def test_no_such_tap(self, tap: str) -> None:
        with pytest.raises(HostError) as caught:
            open_packet_socket(tap, snaplen=64, ring=SMALL, bpf=None)
        assert "cannot capture on" in caught.value.what
        assert caught.value.hint

    @pytest.mark.usefixtures("_wire")
    def test_an_interface_without_an_ethernet_header(self) -> None:
        ip("tuntap", "add", "dev", "tun0", "mode", "tun")
        ip("link", "set", "tun0", "up")
        with pytest.raises(HostError, match="no Ethernet interface"):
            open_packet_socket("tun0", snaplen=64, ring=SMALL, bpf=None)

    @pytest.mark.usefixtures("_wire")
    def test_a_ring_that_the_kernel_refuses(self) -> None:
        with pytest.raises(HostError, match="cannot capture on tap0"):
            open_packet_socket("tap0", snaplen=64, ring=RingGeometry(1000, 3, 5), bpf=None)

    @pytest.mark.usefixtures("_wire")
    def test_no_permission(self) -> None:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                open_packet_socket("tap0", snaplen=64, ring=SMALL, bpf=None)
            except HostError as error:
                status = 0 if "not permitted" in error.what and "CAP_NET_RAW" in error.hint else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
