"""``capture --unrelated``: the guest's own frames are counted in the kernel, and the report is as exact as without."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.errors import HostError, UsageError
from analyzer.host.own_counter import MACS_MOST, OBJECT, SOURCE, OwnCounts, OwnFilter
from analyzer.host.packet_socket import PacketRing, RingGeometry, open_packet_socket
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.store import from_document
from tests.lab.nwscan_run import Nwscan, wait_for
from tests.lab.schedule import Schedule
from tests.lab.test_live import NO_LIBVIRT, NWSCAN, ROOT, Capture, capturing
from tests.network_namespace import frame, ip, receiving_guest, send, veth_pair
from tests.nwscan.ordinary_user import USER, as_ordinary_user
from tools import tap_counter as tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
OTHERS = ("02aa00000001", "ffffffffffff", "01005e000001", "333300000001", "0180c2000000")
SAME = ("classes", "seen_by_guest", "foreign_share", "unrelated", "foreign_talkers", "groups", "segments")
TIMES = {"first_seen", "last_seen", "example"}
RING = RingGeometry(block_octets=1 << 16, blocks=8, retire_ms=5)


@pytest.fixture
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


def tagged(octets: bytes) -> bytes:
    return octets[:12] + bytes.fromhex("81000005") + octets[12:]


def mixed(count: int) -> list[bytes]:
    """Frames to the guest's two MACs and to others, some with a tag."""
    own = [mac.replace(":", "") for mac in MACS]
    frames = [frame(number, 60 + number % 900, dst=dst) for dst in (*own, *OTHERS) for number in range(count)]
    return [tagged(octets) if place % 5 == 0 else octets for place, octets in enumerate(frames)]


def both(folder: Path, *words: object) -> tuple[Capture, Capture]:
    """Begin two captures of the same, with and without --unrelated."""
    captures = []
    for name, more in (("plain", ()), ("unrelated", ("--unrelated",))):
        (folder / name).mkdir()
        captures.append(Capture(folder / name, (*words, *more, "--json"), ()))
    for capture in captures:
        wait_for(lambda one=capture: "capturing on" in one.err.read_text() or one.process.poll() is not None, "it runs")  # type: ignore[misc]
    return captures[0], captures[1]


def ended(*captures: Capture) -> list[Json]:
    """End captures at the same time."""
    for capture in captures:
        capture.process.send_signal(signal.SIGINT)
    return [document for capture in captures for document in capture.end(None)]


def timeless(part: object) -> object:
    """A part of a report without times: each socket has its own of a frame."""
    if isinstance(part, list):
        return [{key: value for key, value in row.items() if key not in TIMES} for row in part]
    return part


def agree(plain: Json, unrelated: Json) -> None:
    assert {key: timeless(unrelated[key]) for key in SAME} == {key: timeless(plain[key]) for key in SAME}
    assert unrelated["windows"][0]["frames_seen"] == plain["windows"][0]["frames_seen"]
    assert [document["windows"][0]["frames_lost"] for document in (plain, unrelated)] == [0, 0]
    unseen = {one["class"]: one["frames"] for one in unrelated["subclasses"] if one["name"] == "not_looked_at"}
    own = {kind: plain["classes"][kind]["frames"] for kind in ("unicast_to_guest", "from_guest")}
    assert unseen == {kind: frames for kind, frames in own.items() if frames}
    assert any("not looked at (--unrelated)" in note for note in unrelated["notes"])
    assert not any("--unrelated" in note for note in plain["notes"])


@pytest.mark.usefixtures("_wire")
def test_every_count_is_the_same_as_when_all_is_looked_at(tmp_path: Path) -> None:
    plain, unrelated = both(tmp_path, "tap0", "--mac", MACS[0], "--mac", MACS[1])
    for _ in range(3):
        send("tap0", mixed(100))
        send("guest0", mixed(20))
        time.sleep(0.4)
    documents = ended(plain, unrelated)
    agree(*documents)
    classes = documents[1]["classes"]
    assert [classes[kind]["frames"] for kind in ("unicast_to_guest", "from_guest", "foreign_unicast")] == [
        600,
        420,
        300,
    ]
    kept = documents[1]["frames_file"]
    assert kept["covers"] == (3 * 500) / (3 * 840)  # of its own no frame is kept


@pytest.mark.usefixtures("_wire")
def test_super_frames_count_their_segments(tmp_path: Path) -> None:
    with receiving_guest(f"nwscan-own-{os.getpid()}") as (guest, transfer):
        plain, unrelated = both(tmp_path, "tap0", "--mac", guest)
        transfer()
        time.sleep(0.3)
        documents = ended(plain, unrelated)
    agree(*documents)
    assert documents[1]["segments"] > documents[1]["windows"][0]["frames_seen"]


def test_a_guest_by_its_name(lab: Lab, tmp_path: Path) -> None:
    nwscan, schedule = Nwscan(lab, tmp_path), Schedule(foreign=300, own=500, multicast=40, broadcast=30)
    with nwscan.start("capture", "vm1", "--unrelated", "--json") as capture:
        lab.send(schedule)
        ended = capture.interrupt()
    (report,) = ended.documents
    classes = report["classes"]
    assert classes["foreign_unicast"]["frames"] == 300
    assert classes["unicast_to_guest"]["frames"] >= 500
    unseen = {one["class"]: one["frames"] for one in report["subclasses"] if one["name"] == "not_looked_at"}
    assert unseen["unicast_to_guest"] == classes["unicast_to_guest"]["frames"]
    assert sum(one["frames"] for one in report["timeline"] if one["class"] == "unicast_to_guest") == sum(
        one["frames"] for one in report["subclasses"] if one["class"] == "unicast_to_guest"
    )


@pytest.mark.usefixtures("_wire")
@pytest.mark.parametrize("is_built", [False, True])
def test_the_program_counts_what_the_classifier_calls_own(tmp_path: Path, *, is_built: bool) -> None:
    elf = SOURCE.with_name(OBJECT).read_bytes()
    if is_built:
        tool.build(tmp_path / "built.o", SOURCE)
        elf = (tmp_path / "built.o").read_bytes()
    macs = tuple(int(mac.replace(":", ""), 16) for mac in MACS)
    plain = PacketRing(open_packet_socket("tap0", snaplen=0, ring=RING, bpf=None), RING)
    sock = open_packet_socket("tap0", snaplen=0, ring=RING, bpf=None)
    own = OwnFilter(macs, 64, "tap0", elf)
    own.attach(sock)
    rest, counts = PacketRing(sock, RING), OwnCounts(os.dup(own.counts))
    own.close()  # the socket keeps the program
    send("tap0", mixed(50))
    send("guest0", mixed(10))
    classifier = Classifier(GuestIdentity(macs, Provenance.COMMAND_LINE), DirectionSource.PACKET_TYPE)
    found = {FrameClass.UNICAST_TO_GUEST: [0, 0], FrameClass.FROM_GUEST: [0, 0]}
    others = kept = 0
    deadline_s = time.monotonic() + 10
    while sum(frames for frames, _ in found.values()) + others < 420 and time.monotonic() < deadline_s:
        for raw in plain.ready_batches():
            batch = decode(raw)
            for kind, octets in zip(classifier.classify(batch).tolist(), batch.octets.tolist(), strict=True):
                if kind in found:
                    found[FrameClass(kind)][0] += 1
                    found[FrameClass(kind)][1] += octets
                else:
                    others += 1
    while kept < others and time.monotonic() < deadline_s:
        for raw in rest.ready_batches():
            kept += len(raw)
            assert raw.captured.max() <= 64
    assert counts.read()[:, :2].tolist() == list(found.values()) == [[100, found[FrameClass.UNICAST_TO_GUEST][1]],
                                                                    [70, found[FrameClass.FROM_GUEST][1]]]  # fmt: skip
    assert kept == others == 250
    plain.close()
    rest.close()


@pytest.mark.usefixtures("_wire")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mac", MACS[0], "-c", "5"), "end by -a duration:SECONDS"),
        (("--mac", MACS[0], "arp"), "leave out one of them"),
        ([word for number in range(9) for word in ("--mac", f"52:54:00:00:01:{number:02x}")], "at most 8"),
        ((), "name it with --mac"),
    ],
)
def test_what_it_cannot_do_it_refuses(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ip("link", "set", "tap0", "down")
    ip("link", "set", "tap0", "name", "vnet7")
    ip("link", "set", "vnet7", "address", "fe:54:00:00:00:01", "up")  # a guess of a guest, without libvirt
    tap, *rest = ("vnet7", *words)
    done = refused(tmp_path, tap, *rest)
    assert done.returncode in {2, 4}
    assert said in done.stderr


def refused(folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    settings = {"NWSCAN_STATE": str(folder / "state"), "NWSCAN_CONNECT": NO_LIBVIRT}
    command = [*prefix, *NWSCAN, "capture", *words, "--unrelated", "-a", "duration:1"]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.usefixtures("_wire")
def test_without_cap_bpf_it_says_what_to_do() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.chown(folder, USER, USER)
        done = refused(Path(folder), "tap0", "--mac", MACS[0], prefix=as_ordinary_user())
    assert done.returncode == 4, done.stderr
    assert "CAP_BPF" in done.stderr
    assert "without --unrelated" in done.stderr


def test_macs_that_no_card_has_are_refused() -> None:
    for macs in ((), (0x01005E000001,), (1 << 48,), tuple(range(2, 2 + 2 * (MACS_MOST + 1), 2))):
        with pytest.raises(UsageError, match="what is unrelated cannot be told"):
            OwnFilter(macs, 128, "a test")
    with pytest.raises(HostError, match="cannot leave out"):
        OwnFilter((2,), 128, "a test", b"no object")


@pytest.mark.usefixtures("_wire")
def test_such_a_window_is_not_what_suggest_begins_with(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MACS[0], "--unrelated", "--json") as capture:
        send("tap0", mixed(5))
        (document,) = capture.end()
    assert from_document(document).has_unseen
