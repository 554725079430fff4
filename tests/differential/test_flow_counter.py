"""The eBPF program that counts plain frames, frame by frame on a wire, against the code that gathers them in the ring.

The shipped object and one that Debian's clang makes of its source are held to the same.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing, contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.classify.classifier import Classifier
from analyzer.host.flow_counter import OBJECT, SOURCE, FlowFilter, FlowTables
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.classes import CLASS_COUNT, DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.plain_frames import PlainFrames
from tests.capture_octets import frames_of
from tests.flow_vectors import MACS, NETWORKS, OWN, octets
from tests.network_namespace import frame, ip, need_root, send, veth_pair
from tools import tap_counter as tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.model.frames import I64

RING = RingGeometry(block_octets=1 << 14, blocks=256, retire_ms=5)
WAIT_S = 10
QUIET_S = 0.2
SLOTS = 4096
HEADER = 14
"""A packet socket sends nothing shorter."""
FAR = "far0"
"""Behind a bridge that the tap is on: what comes from there has its tag beside the frame."""
TAG = bytes.fromhex("8100a005")
TAGS = b"\x81\x00", b"\x88\xa8"
SHORTEST_TAGGED = 64
IDENTITIES = [GuestIdentity(tuple(int(mac, 16) for mac in macs), Provenance.COMMAND_LINE) for macs in (
    (OWN,), (MACS[1], OWN), (*MACS[:3], "0a0000000000"))]  # fmt: skip


class Told(NamedTuple):
    """The frames that went into the ring, in order, and what was counted of the others: MACs, kind, frames, octets."""

    ring: list[tuple[bytes, int]]
    flows: list[list[int]]


@pytest.fixture(scope="module", params=["shipped", "rebuilt"])
def elf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_root()
    if request.param == "shipped":
        return SOURCE.with_name(OBJECT)
    if not all(map(shutil.which, ("clang", "llvm-strip"))):
        pytest.skip("clang or llvm is not installed")
    rebuilt: Path = tmp_path_factory.mktemp("ebpf") / OBJECT
    tool.build(rebuilt, SOURCE)
    return rebuilt


@pytest.fixture
def _wire() -> Iterator[None]:
    with veth_pair():
        for which in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1", encoding="ascii")
        ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        ip("link", "add", FAR, "type", "veth", "peer", "name", "near0")
        for name in (FAR, "near0", "br0"):
            ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
        for port in ("tap0", "near0"):
            ip("link", "set", port, "master", "br0")
            ip("link", "set", port, "type", "bridge_slave", "learning", "off")
        with closing(PacketRing(open_packet_socket("tap0", snaplen=0, ring=RING, bpf=None), RING)) as ring:
            for name in (FAR, "guest0", "tap0"):  # each may stay silent for a second after it was set up
                deadline_s = time.monotonic() + WAIT_S
                while not any(map(len, ring.ready_batches())) and time.monotonic() < deadline_s:
                    send(name, [frame(0)])
                    time.sleep(4 * ring.retire_s)
            while drained(ring, 1, QUIET_S):  # what was sent is all there
                pass
        yield


@contextmanager
def counting(own: FlowFilter, slots: int, snaplen: int) -> Iterator[tuple[PacketRing, FlowTables]]:
    """A ring on the tap with the program, whose gate is open."""
    sock = open_packet_socket("tap0", snaplen=snaplen, ring=RING, bpf=None)
    own.attach(sock)
    tables = FlowTables(os.dup(own.tables), slots)
    own.close()  # the socket keeps the program
    ring = PacketRing(sock, RING)
    tables.begin(time.time_ns() - time.monotonic_ns(), None)
    tables.take()
    try:
        yield ring, tables
    finally:
        ring.close()
        tables.close()


def sent_from(name: str, octets: bytes) -> bytes:
    """A frame as it is put on an interface: a bridge forwards none from a group, nobody a tag with little behind."""
    if name == FAR:
        octets = octets[:6] + b"\x02" + octets[7:12] + TAG + octets[12:]
    return octets if octets[12:14] not in TAGS else octets.ljust(SHORTEST_TAGGED, b"\0")


def drained(ring: PacketRing, count: int, wait_s: float = WAIT_S) -> list[tuple[bytes, int]]:
    """The next frames of a ring, with the octets that each had on the wire."""
    found: list[tuple[bytes, int]] = []
    deadline_s = time.monotonic() + wait_s
    while len(found) < count and time.monotonic() < deadline_s:
        for raw in ring.ready_batches():
            found += zip((one.octets for one in frames_of(raw)), raw.original.tolist(), strict=True)
        time.sleep(0.001)
    return found


def summed(flows: I64) -> list[list[int]]:
    """Flows without their times and seconds, those of one kind as one, in order."""
    found: dict[tuple[int, ...], list[int]] = {}
    for source, destination, kind, frames, size, *_ in flows.tolist():
        entry = found.setdefault((source, destination, kind), [0, 0])
        entry[0] += frames
        entry[1] += size
    return [[*key, *entry] for key, entry in sorted(found.items())]


def gathered(ring: PacketRing, count: int, identity: GuestIdentity, *, judges_addresses: bool) -> Told:
    """What the ring's own way takes for plain of up to ``count`` next frames, and what it leaves."""
    never: I64 = np.full(CLASS_COUNT, -1, np.int64)
    plain = PlainFrames(Classifier(identity, DirectionSource.PACKET_TYPE), never, judges_addresses=judges_addresses)
    left: list[tuple[bytes, int]] = []
    flows = [np.zeros((0, 8), np.int64)]
    deadline_s = time.monotonic() + WAIT_S
    while count > 0 and time.monotonic() < deadline_s:
        for raw in ring.ready_batches():
            deadline_s = time.monotonic() + 2 * QUIET_S  # the kernel forwards not every odd frame
            flows += [told.flows.copy() for told in plain.gather(raw, 1)]
            rest = raw.take(plain.rest)
            left += zip((one.octets for one in frames_of(rest)), rest.original.tolist(), strict=True)
            count -= len(raw)
        flows += [told.flows.copy() for told in plain.take()]
        time.sleep(0.001)
    return Told(left, summed(np.concatenate(flows)))


@pytest.mark.usefixtures("_wire")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(st.tuples(st.sampled_from(["tap0", "guest0", FAR]), octets()), min_size=1, max_size=60),
    identity=st.sampled_from(IDENTITIES),
    snaplen=st.sampled_from([0, 128, 38, 37, 21, 20, 14, 13]),
    judges=st.booleans(),
)
def test_the_kernel_counts_what_the_ring_s_own_way_calls_plain(
    elf: Path, sent: list[tuple[str, bytes]], identity: GuestIdentity, snaplen: int, *, judges: bool
) -> None:
    agree(elf, [(name, each) for name, each in sent if len(each) >= HEADER], identity, snaplen, judges_addresses=judges)


def agree(
    elf: Path, sent: list[tuple[str, bytes]], identity: GuestIdentity, snaplen: int, *, judges_addresses: bool
) -> Told:
    """Send frames past both ways, which are to tell the same; gives what."""
    every = PacketRing(open_packet_socket("tap0", snaplen=snaplen, ring=RING, bpf=None), RING)
    own = FlowFilter(
        identity.macs,
        snaplen,
        "a test",
        slots=SLOTS,
        judges_addresses=judges_addresses,
        early_frames=0,
        elf=elf.read_bytes(),
    )
    with closing(every), counting(own, SLOTS, snaplen) as (ring, tables):
        for name, some in groupby(sent, itemgetter(0)):
            send(name, [sent_from(name, each) for _, each in some])
        wanted = gathered(every, len(sent), identity, judges_addresses=judges_addresses)
        tables.end()
        found = Told(drained(ring, len(wanted.ring)), summed(tables.take_last()))
        assert [tables.lost, every.lost(), ring.lost()] == [0, 0, 0]
        assert found == wanted
        arrived = sum(flow[3] for flow in found.flows) + len(found.ring)
        assert len(sent) - sum(name == FAR for name, _ in sent) <= arrived <= len(sent)
        return found


def edges() -> list[bytes]:
    """What stands behind the MACs where a rule about it ends: on either side of each."""
    ip4, ip6 = (bytearray.fromhex(network) for network in (NETWORKS[0], NETWORKS[7]))
    found = [bytes.fromhex(network) for network in NETWORKS]
    for at, values in ((2, (0x44, 0x45, 0x46, 0x55)), (8, (0x80, 0x40, 0x20, 0x1F, 1)), (9, (1,)), (11, (6, 17, 1))):
        found += [bytes(ip4[:at] + bytes([value]) + ip4[at + 1 :]) for value in values]
    ip4[11] = 17
    found += [bytes(ip4[:24] + port.to_bytes(2, "big") + ip4[26:]) for port in (0, 67, 68, 69, 255, 256, 0x4400)]
    found += [bytes(ip6[:8] + bytes([value]) + ip6[9:]) for value in (6, 17, 58, 0)]
    types = 0, 0x05FF, 0x0600, 0x0601, 0x0805, 0x0807, 0x88B5, 0x9100, 0x9200, 0x9300, 0x88A8, 0xFFFF
    return found + [kind.to_bytes(2, "big") + bytes(46) for kind in types]


@pytest.mark.usefixtures("_wire")
@pytest.mark.parametrize("judges", [False, True])
def test_they_agree_at_the_edges_of_every_rule(elf: Path, *, judges: bool) -> None:
    """To each of the guest's MACs, to another one and from the guest, whole and cut where something is looked at."""
    identity, other = IDENTITIES[2], "02aa00000009"
    heads = [("tap0", f"{mac:012x}" + other) for mac in identity.macs]
    heads += [("tap0", "02aa00000008" + other), ("tap0", "03aa00000008" + other), ("guest0", other + OWN)]
    lengths = [14, 20, 21, 37, 38]
    for snaplen in (0, *lengths):
        cut = [None, *lengths] if snaplen == 0 else [None]
        sent = [
            (name, (bytes.fromhex(head) + each)[:length]) for name, head in heads for each in edges() for length in cut
        ]
        told = agree(elf, sent, identity, snaplen, judges_addresses=judges)
        assert len(told.flows) > 20
        assert len(told.ring) > len(sent) / 10


@pytest.mark.usefixtures("_wire")
def test_it_counts_a_flood_and_not_the_first_of_it(elf: Path) -> None:
    own = FlowFilter((int(OWN, 16),), 64, "a test", slots=256, elf=elf.read_bytes())
    with counting(own, 256, 64) as (ring, tables):
        send("tap0", [frame(number, 100, dst=MACS[2]) for number in range(500)])
        tables.end()
        first = drained(ring, 64)
        assert [octets[20:24] for octets, _ in first] == [number.to_bytes(4, "big") for number in range(64)]
        assert {(len(octets), size) for octets, size in first} == {(64, 100)}
        flows = tables.take_last()
        assert [told[3:] for told in summed(flows)] == [[436, 43_600]]
        for flow in flows.tolist():
            assert 0 < flow[7] <= flow[5] <= flow[6] < flow[7] + 10**9
            assert flow[7] % 10**9 == 0


@pytest.mark.usefixtures("_wire")
def test_a_full_table_sends_frames_into_the_ring_and_loses_none(elf: Path) -> None:
    """MACs of nobody's, many more than there are slots: each frame is counted once, in the one way or the other."""
    own = FlowFilter((int(OWN, 16),), 64, "a test", slots=16, early_frames=0, elf=elf.read_bytes())
    with counting(own, 16, 64) as (ring, tables):
        macs = [f"02{number:04x}{number * 7919 % 65536:04x}00" for number in range(400)]
        time.sleep((0.5 - time.time()) % 1)  # not over two seconds
        send("tap0", [frame(number, 100, dst=macs[number % 400]) for number in range(1200)])
        tables.end()
        flows = tables.take_last()
        assert tables.lost == 0
        assert 8 <= len(flows) <= 16  # eight probes find most of them
        in_ring = drained(ring, 1200 - 3 * len(flows))
        assert [flow[3] for flow in flows.tolist()] == [3] * len(flows)
        sent = {octets[:6].hex() for octets, _ in in_ring} | {f"{flow[1]:012x}" for flow in flows.tolist()}
        assert sent == set(macs)
        assert len(in_ring) == 1200 - 3 * len(flows)


@pytest.mark.usefixtures("_wire")
def test_which_flows_meet_is_another_matter_with_each_capture(elf: Path) -> None:
    """The same frames, twice: whoever had learnt which of them fill the table would have learnt nothing."""
    found = []
    for _ in range(2):
        own = FlowFilter((int(OWN, 16),), 64, "a test", slots=256, early_frames=0, elf=elf.read_bytes())
        with counting(own, 256, 64) as (_, tables):
            send(
                "tap0",
                [frame(number, 100, dst=f"02{number:04x}{number * 7919 % 65536:04x}00") for number in range(400)],
            )
            tables.end()
            found.append(set(tables.take_last()[:, 1].tolist()))
    assert found[0] != found[1]
