"""The meter on a real bridge: exact counts per class ahead of real rules and behind them, and what is left of it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from analyzer.errors import HostError, UsageError
from analyzer.host.meter import Meter, MeterReading, meter_tables, remove_table, stale_tables
from analyzer.host.rules import kernel_rules
from analyzer.model.addresses import BROADCAST, format_mac
from analyzer.model.classes import FrameClass
from tests.lab.bridge_bench import (
    ABSENT_MAC,
    GUEST_MAC,
    HOST_MAC,
    OTHER_GUEST_MAC,
    OTHER_TAP,
    TAP,
    BridgeBench,
    drop_foreign,
    run,
    wait_until,
)
from tests.lab.frames import ETHERTYPE_EXPERIMENTAL

REPOSITORY = Path(__file__).resolve().parents[2]

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("the meter needs root, iproute2, nftables and ebtables", allow_module_level=True)

GROUPS = (0x01005E000001, 0x3333FF000001, 0x09002B000005, 0x011B19000000, 0x01005E7FFFFA)
TAGS = ((), (0x8100,), (0x88A8,), (0x88A8, 0x8100), (0x9100,))
"""Tags from the outermost on; of TPIDs beyond IEEE 802.1Q the kernel knows nothing and leaves them in the frame."""


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def frame(dst: int, *tpids: int, src: int = HOST_MAC, size: int = 60) -> bytes:
    tags = b"".join(tpid.to_bytes(2, "big") + b"\x00\x05" for tpid in tpids)
    head = dst.to_bytes(6, "big") + src.to_bytes(6, "big") + tags + ETHERTYPE_EXPERIMENTAL.to_bytes(2, "big")
    return head.ljust(size, b"\0")


def schedule(own: int = GUEST_MAC) -> dict[FrameClass, list[bytes]]:
    """Frames for each class, of every depth of tags and several lengths; no two counts are the same."""
    counts = {
        FrameClass.FOREIGN_UNICAST: ((ABSENT_MAC, 0x00005E000101, 0x02BF00000001), 47),
        FrameClass.UNICAST_TO_GUEST: ((own,), 31),
        FrameClass.MULTICAST: (GROUPS, 23),
        FrameClass.BROADCAST: ((BROADCAST,), 11),
    }
    return {
        kind: [
            frame(destinations[n % len(destinations)], *TAGS[n % len(TAGS)], size=60 + 97 * (n % 15))
            for n in range(count)
        ]
        for kind, (destinations, count) in counts.items()
    }


def expected(frames: Mapping[FrameClass, list[bytes]]) -> np.ndarray:
    counts = np.zeros((6, 2), np.int64)
    for kind, those in frames.items():
        counts[kind] = (len(those), sum(map(len, those)))
    return counts


def mixed(frames: dict[FrameClass, list[bytes]]) -> list[bytes]:
    return sorted((one for those in frames.values() for one in those), key=zlib.crc32)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def settled(meter: Meter, tap: str, frames: int) -> MeterReading:
    """Read when the number of frames has come to the tap; a frame passes both ends of a hook in one go."""
    wait_until(lambda: meter.read()[tap].offered[:, 0].sum() >= frames, f"{frames} frames on {tap}")
    return meter.read()[tap]


def test_every_class_is_counted_exactly_ahead_and_behind(bench: BridgeBench) -> None:
    frames = schedule()
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eA", mixed(frames))
        reading = settled(meter, TAP, 112)
    assert reading.offered.tolist() == expected(frames).tolist()
    assert reading.delivered.tolist() == expected(frames).tolist()


def test_what_ebtables_drops_is_offered_but_not_delivered(bench: BridgeBench) -> None:
    frames = schedule()
    drop_foreign(TAP, format_mac(GUEST_MAC))
    with Meter({TAP: (GUEST_MAC,), OTHER_TAP: (OTHER_GUEST_MAC,)}) as meter:
        bench.send("eA", mixed(frames))
        reading = settled(meter, TAP, 112)
        other = settled(meter, OTHER_TAP, 112)
        dropped = next(rule for rule in kernel_rules(TAP).rules if rule.text == "-j DROP")
    kept: dict[FrameClass, list[bytes]] = {
        kind: those for kind, those in frames.items() if kind is not FrameClass.FOREIGN_UNICAST
    }
    assert reading.offered.tolist() == expected(frames).tolist()
    assert reading.delivered.tolist() == expected(kept).tolist()
    assert dropped.packets == 47
    unfiltered = expected(
        {
            FrameClass.FOREIGN_UNICAST: frames[FrameClass.FOREIGN_UNICAST] + frames[FrameClass.UNICAST_TO_GUEST],
            FrameClass.MULTICAST: frames[FrameClass.MULTICAST],
            FrameClass.BROADCAST: frames[FrameClass.BROADCAST],
        }
    )
    assert other.offered.tolist() == other.delivered.tolist() == unfiltered.tolist()


def test_several_macs_count_as_the_guests_own(bench: BridgeBench) -> None:
    own = (GUEST_MAC, 0x00005E000101, OTHER_GUEST_MAC)
    with Meter({TAP: own}) as meter:
        bench.send("eA", [frame(mac) for mac in (*own, ABSENT_MAC)])
        reading = settled(meter, TAP, 4)
    assert reading.offered[FrameClass.UNICAST_TO_GUEST, 0] == 3
    assert reading.offered[FrameClass.FOREIGN_UNICAST, 0] == 1


def test_a_frame_with_the_guests_own_source_from_the_bridge_is_not_from_the_guest(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eA", [frame(ABSENT_MAC, src=GUEST_MAC)] * 5)
        reading = settled(meter, TAP, 5)
    assert reading.offered[:, 0].tolist() == [0, 0, 0, 5, 0, 0]


def test_what_the_guest_sends_is_counted_ahead_of_its_rules_and_behind_them(bench: BridgeBench) -> None:
    sent = [
        frame(HOST_MAC, src=GUEST_MAC),
        frame(BROADCAST, 0x8100, src=GUEST_MAC),
        frame(ABSENT_MAC, src=0x020000000007),
    ]
    run("ebtables", "-t", "nat", "-N", f"libvirt-I-{TAP}")
    run("ebtables", "-t", "nat", "-A", f"libvirt-I-{TAP}", "-s", "!", format_mac(GUEST_MAC), "-j", "DROP")
    run("ebtables", "-t", "nat", "-A", "PREROUTING", "-i", TAP, "-j", f"libvirt-I-{TAP}")
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eT", sent)
        reading = settled(meter, TAP, 3)
    assert reading.offered.tolist() == expected({FrameClass.FROM_GUEST: sent}).tolist()
    assert reading.delivered.tolist() == expected({FrameClass.FROM_GUEST: sent[:2]}).tolist()


def test_two_meters_at_once_count_the_same(bench: BridgeBench) -> None:
    frames = schedule()
    with Meter({TAP: (GUEST_MAC,)}) as first, Meter({TAP: (GUEST_MAC,)}) as second:
        assert first.table != second.table
        bench.send("eA", mixed(frames))
        one, two = settled(first, TAP, 112), settled(second, TAP, 112)
    assert one.offered.tolist() == two.offered.tolist() == expected(frames).tolist()
    assert meter_tables() == ()


def test_windows_are_differences_of_readings(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eA", [frame(GUEST_MAC)] * 3)
        before = settled(meter, TAP, 3)
        bench.send("eA", [frame(GUEST_MAC, size=100)] * 2)
        window = settled(meter, TAP, 5).since(before)
    assert window.offered[FrameClass.UNICAST_TO_GUEST].tolist() == [2, 200]
    assert window.delivered[FrameClass.UNICAST_TO_GUEST].tolist() == [2, 200]


def test_a_tap_that_vanishes_keeps_its_counts_and_one_that_comes_back_is_counted_on(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,), OTHER_TAP: (OTHER_GUEST_MAC,)}) as meter:
        bench.send("eA", [frame(GUEST_MAC)] * 3)
        settled(meter, TAP, 3)
        run("ip", "link", "del", TAP)
        bench.send("eA", [frame(GUEST_MAC)] * 4)
        settled(meter, OTHER_TAP, 7)
        assert meter.read()[TAP].offered[FrameClass.UNICAST_TO_GUEST, 0] == 3
        bench.plug(TAP, "eT")
        bench.send("eA", [frame(GUEST_MAC)] * 5)
        assert settled(meter, TAP, 8).delivered[FrameClass.UNICAST_TO_GUEST, 0] == 8


def test_a_tap_that_is_not_there_yet_may_come(bench: BridgeBench) -> None:
    with Meter({"vnet7": (GUEST_MAC,)}) as meter:
        assert meter.read()["vnet7"].offered.sum() == 0
        bench.plug("vnet7", "e7")
        bench.send("eA", [frame(GUEST_MAC)] * 2)
        assert settled(meter, "vnet7", 2).offered[FrameClass.UNICAST_TO_GUEST, 0] == 2


def test_taps_are_put_in_and_taken_out_while_it_counts(bench: BridgeBench) -> None:
    with Meter({}) as meter:
        assert meter.read() == {}
        bench.send("eA", [frame(GUEST_MAC)] * 3)
        meter.change({TAP: (GUEST_MAC,), OTHER_TAP: (OTHER_GUEST_MAC,)}, ())
        bench.send("eA", mixed(schedule()))
        assert settled(meter, TAP, 112).offered.tolist() == expected(schedule()).tolist()
        settled(meter, OTHER_TAP, 112)
        meter.change({}, (TAP,))
        bench.send("eA", [frame(ABSENT_MAC)] * 2)
        assert settled(meter, OTHER_TAP, 114).delivered[:, 0].sum() == 114
        assert set(meter.read()) == {OTHER_TAP}
        left = run("nft", "list", "table", "bridge", meter.table)
        assert TAP not in left
        assert "tap0-" not in left


def test_a_tap_that_another_guest_has_now_counts_from_zero_by_its_new_address(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eA", [frame(GUEST_MAC)] * 3)
        settled(meter, TAP, 3)
        meter.change({TAP: (OTHER_GUEST_MAC,)}, (TAP,))
        bench.send("eA", [frame(GUEST_MAC)] * 2 + [frame(OTHER_GUEST_MAC)])
        counted = settled(meter, TAP, 3).offered[:, 0]
    assert (counted[FrameClass.UNICAST_TO_GUEST], counted[FrameClass.FOREIGN_UNICAST]) == (1, 2)


@pytest.mark.usefixtures("bench")
def test_a_change_that_cannot_be_changes_nothing() -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        before = run("nft", "list", "table", "bridge", meter.table)
        with pytest.raises(UsageError, match="metered already"):
            meter.change({TAP: (GUEST_MAC,)}, ())
        with pytest.raises(UsageError, match="no MAC"):
            meter.change({OTHER_TAP: ()}, (TAP,))
        assert run("nft", "list", "table", "bridge", meter.table) == before
    with pytest.raises(HostError, match="not counting"):
        meter.change({}, ())


def test_many_changes_leave_no_more_than_the_taps_there_are(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        size = len(run("nft", "list", "table", "bridge", meter.table))
        for n in range(40):
            meter.change({f"vnet{100 + n}": (OTHER_GUEST_MAC,)}, ())
            meter.change({TAP: (GUEST_MAC,)}, (f"vnet{100 + n}", TAP))
        bench.send("eA", [frame(GUEST_MAC)])
        assert settled(meter, TAP, 1).offered[:, 0].sum() == 1
        assert len(run("nft", "list", "table", "bridge", meter.table)) < size + 200  # longer numbers in its names


@pytest.mark.usefixtures("bench")
def test_a_table_that_is_gone_is_told_and_not_counted_as_nothing() -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        assert meter._nft is not None
        meter._nft.run(f"delete table bridge {meter.table}")
        with pytest.raises(HostError, match="table is gone"):
            meter.read()


def test_many_taps_with_many_macs(bench: BridgeBench) -> None:
    cards = {f"tap{n}": tuple(0x525400000000 + 256 * n + k for k in range(20)) for n in range(60)} | {TAP: (GUEST_MAC,)}
    with Meter(cards) as meter:
        bench.send("eA", [frame(GUEST_MAC)])
        assert settled(meter, TAP, 1).offered[FrameClass.UNICAST_TO_GUEST, 0] == 1
        assert set(meter.read()) == set(cards)


def test_reading_from_several_threads(bench: BridgeBench) -> None:
    totals: list[int] = []
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        bench.send("eA", [frame(GUEST_MAC)] * 9)
        settled(meter, TAP, 9)
        threads = [
            threading.Thread(target=lambda: totals.extend(int(meter.read()[TAP].offered[0, 0]) for _ in range(20)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert totals == [9] * 80


@pytest.mark.usefixtures("bench")
def test_nothing_is_left_after_it() -> None:
    before = run("nft", "list", "ruleset")
    descriptors = open_descriptors()
    for _ in range(20):
        with Meter({TAP: (GUEST_MAC,)}) as meter:
            assert meter_tables() == (meter.table,)
            assert stale_tables() == ()
    with pytest.raises(ZeroDivisionError), Meter({TAP: (GUEST_MAC,)}):
        raise ZeroDivisionError
    assert run("nft", "list", "ruleset") == before
    assert open_descriptors() == descriptors


def test_a_firewall_that_reloads_leaves_it(bench: BridgeBench) -> None:
    with Meter({TAP: (GUEST_MAC,)}) as meter:
        run("nft", "flush", "ruleset")
        bench.send("eA", [frame(GUEST_MAC)])
        assert settled(meter, TAP, 1).offered[FrameClass.UNICAST_TO_GUEST, 0] == 1


HOLDER = """
import os, subprocess, sys, time
from analyzer.host.meter import Meter
meter = Meter({"vnet0": (0x525400000001,)})
meter.open()
if "fork" in sys.argv and os.fork() == 0:
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)
if "program" in sys.argv:
    print(subprocess.Popen(["sleep", "600"], close_fds=False, stdout=subprocess.DEVNULL).pid)
sys.stdout.flush()
os.write(1, f"{meter.table}\\n".encode())  # in one piece: the child writes to the same pipe
time.sleep(600)
"""


def held_by_a_process(*words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)


@pytest.mark.usefixtures("bench")
def test_sigkill_of_its_process_leaves_no_table() -> None:
    with held_by_a_process() as process:
        assert process.stdout is not None
        table = process.stdout.readline().strip()
        assert meter_tables() == (table,)
        assert stale_tables() == ()
        with pytest.raises(HostError, match="not permitted"):
            remove_table(table)
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: meter_tables() == (), "the table of a killed process is gone")


@pytest.mark.usefixtures("bench")
def test_a_table_that_a_child_of_the_dead_owner_holds_is_told_as_stale() -> None:
    with held_by_a_process("fork") as process:
        assert process.stdout is not None
        lines = sorted(process.stdout.readline().strip() for _ in range(2))
        child, table = int(lines[0]), lines[1]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert stale_tables() == (table,)
        os.kill(child, signal.SIGKILL)
    wait_until(lambda: meter_tables() == (), "the table is gone with the child")


@pytest.mark.usefixtures("bench")
def test_a_program_that_its_process_started_does_not_hold_the_table() -> None:
    with held_by_a_process("program") as process:
        assert process.stdout is not None
        child, _ = int(process.stdout.readline()), process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            wait_until(lambda: meter_tables() == (), "the table is gone before the program")
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.usefixtures("bench")
def test_a_table_without_an_owner_can_be_removed() -> None:
    run("nft", "add", "table", "bridge", "nwscan-1-1-1")
    run("nft", "add", "table", "bridge", "nwscan-notes")
    assert stale_tables() == ("nwscan-1-1-1",)
    remove_table("nwscan-1-1-1")
    assert meter_tables() == ()
    assert "nwscan-notes" in run("nft", "list", "tables")


@pytest.mark.usefixtures("bench")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_without_permission_it_says_so_and_leaves_nothing() -> None:
    script = "from analyzer.host.meter import Meter; Meter({'vnet0': (2,)}).open()"
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_admin", sys.executable, "-c", script],
        check=False, capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode != 0
    assert "cannot put the meter in" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr
    assert meter_tables() == ()
