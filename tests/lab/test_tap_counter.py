"""The eBPF classifier on a real bridge, by links and by filters of tc: exact counts, and nothing left or disturbed."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analyzer.errors import HostError
from analyzer.host import tap_hooks
from analyzer.host.libbpf import library, succeeded
from analyzer.host.tap_counter import TapCounter
from analyzer.host.tap_hooks import Attach, Programs, by_filter, by_link, leftovers, remove_leftovers
from analyzer.model.addresses import format_mac
from analyzer.model.classes import FrameClass
from nwscan.api import host
from tests.lab.bridge_bench import ABSENT_MAC, GUEST_MAC, HOST_MAC, TAP, BridgeBench, drop_foreign, run, wait_until
from tests.lab.test_meter import expected, frame, mixed, schedule

if os.geteuid() != 0:
    pytest.skip("loading programs needs root", allow_module_level=True)

REPOSITORY = Path(__file__).resolve().parents[2]
OWN, FOREIGN, SENT = FrameClass.UNICAST_TO_GUEST, FrameClass.FOREIGN_UNICAST, FrameClass.FROM_GUEST
FOREIGN_FILTER = ("tc", "filter", "add", "dev", TAP)
FOREIGN_MATCH = ("protocol", "all", "u32", "match", "u32", "0", "0", "flowid", "1:1")
TCX = {"ingress": 46, "egress": 47}


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


@pytest.fixture(params=[by_link, by_filter])
def attach(request: pytest.FixtureRequest) -> Attach:
    way: Attach = request.param
    return way


def settled(counter: TapCounter, frames: int) -> np.ndarray:
    wait_until(lambda: counter.read()[TAP][:, 0].sum() >= frames, f"{frames} frames on {TAP}")
    return counter.read()[TAP]


def linked(tap: str, point: str) -> int:
    """How many programs hang on a hook by links."""
    interface, count = socket.if_nametoindex(tap), ctypes.c_uint32(16)
    numbers = (ctypes.c_uint32 * 16)()
    result = library().bpf_prog_query(interface, TCX[point], 0, None, numbers, ctypes.byref(count))
    return succeeded(result, "ask for programs") or int(count.value)


def left_on(tap: str) -> str:
    """All that hangs on a tap, as the kernel tells."""
    filters = "".join(run("tc", "filter", "show", "dev", tap, point) for point in TCX)
    return run("tc", "qdisc", "show", "dev", tap, "clsact") + filters + "".join(str(linked(tap, one)) for one in TCX)


NOTHING = "00"


def test_every_class_is_counted_exactly_and_nothing_is_left(bench: BridgeBench, attach: Attach) -> None:
    frames = schedule()
    sent = [frame(HOST_MAC, *tags, src=GUEST_MAC) for tags in ((), (0x8100,), (0x88A8, 0x8100))]
    with TapCounter(attach) as counter:
        counter.change({TAP: (GUEST_MAC,)}, ())
        bench.send("eA", mixed(frames))
        bench.send("eT", sent)
        found = settled(counter, 115)
        assert left_on(TAP) != NOTHING
    assert found.tolist() == expected(frames | {SENT: sent}).tolist()
    assert left_on(TAP) == NOTHING


def test_what_a_filter_drops_is_not_counted(bench: BridgeBench, attach: Attach) -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    with TapCounter(attach) as counter:
        counter.change({TAP: (GUEST_MAC,)}, ())
        bench.send("eA", [frame(ABSENT_MAC)] * 7 + [frame(GUEST_MAC)] * 3)
        found = settled(counter, 3)
    assert found[:, 0].tolist() == [3, 0, 0, 0, 0, 0]


def test_a_tap_that_comes_back_is_counted_on(bench: BridgeBench, attach: Attach) -> None:
    with TapCounter(attach) as counter:
        counter.change({TAP: (GUEST_MAC,), "vnet9": (GUEST_MAC,)}, ())
        bench.send("eA", [frame(GUEST_MAC)] * 3)
        settled(counter, 3)
        run("ip", "link", "del", TAP)
        counter.follow()
        assert counter.read()[TAP][OWN, 0] == 3
        bench.plug(TAP, "eT")
        counter.follow()
        bench.send("eA", [frame(GUEST_MAC)] * 4)
        assert settled(counter, 7)[OWN, 0] == 7
        counter.change({TAP: (ABSENT_MAC,)}, (TAP, "vnet9"))
        bench.send("eA", [frame(GUEST_MAC)] * 2)
        assert settled(counter, 2)[:, 0].tolist() == [0, 0, 0, 2, 0, 0]
        run("ip", "link", "del", TAP)
    bench.plug(TAP, "eT")
    assert left_on(TAP) == NOTHING


def test_a_change_that_the_kernel_refuses_changes_nothing(bench: BridgeBench) -> None:
    def refuses(programs: Programs, name: str, interface: int) -> tap_hooks.Attachment:
        return by_link(programs if name == TAP else Programs(programs.from_guest, -1), name, interface)

    with TapCounter(refuses) as counter:
        counter.change({TAP: (GUEST_MAC,)}, ())
        with pytest.raises(HostError, match="cannot count on the tap"):
            counter.change({"vA": (GUEST_MAC,), "vnet1": (GUEST_MAC,)}, (TAP,))
        assert left_on("vA") == left_on("vnet1") == NOTHING
        bench.send("eA", [frame(GUEST_MAC)])
        assert settled(counter, 1)[OWN, 0] == 1


def test_two_count_beside_each_other(bench: BridgeBench) -> None:
    with TapCounter(by_link) as one, TapCounter(by_filter) as other, TapCounter(by_link) as third:
        for counter in (one, other, third):
            counter.change({TAP: (GUEST_MAC,)}, ())
        bench.send("eA", [frame(GUEST_MAC)] * 5)
        assert [settled(counter, 5)[OWN, 0] for counter in (one, other, third)] == [5, 5, 5]


def test_a_qdisc_and_filters_of_others_stay(bench: BridgeBench) -> None:
    run("tc", "qdisc", "add", "dev", TAP, "clsact")
    run(*FOREIGN_FILTER, "egress", "prio", "49000", *FOREIGN_MATCH)
    before = left_on(TAP)
    with TapCounter(by_filter) as counter:
        counter.change({TAP: (GUEST_MAC,)}, ())
        bench.send("eA", [frame(GUEST_MAC)] * 2)
        assert settled(counter, 2)[OWN, 0] == 2
    assert left_on(TAP) == before
    run("tc", "qdisc", "del", "dev", TAP, "clsact")
    with TapCounter(by_filter) as counter:
        counter.change({TAP: (GUEST_MAC,)}, ())
        run(*FOREIGN_FILTER, "ingress", "prio", "7", *FOREIGN_MATCH)
    assert "clsact" in left_on(TAP), "the qdisc was made here, and somebody else uses it by now"
    assert "u32" in left_on(TAP)
    assert "nwscan" not in left_on(TAP)


KILLED = """
import sys, time
from analyzer.host.tap_counter import TapCounter
from analyzer.host import tap_hooks
counter = TapCounter(getattr(tap_hooks, sys.argv[1]))
counter.open()
counter.change({sys.argv[2]: (0x525400000001,)}, ())
print("counting", flush=True)
time.sleep(20)
"""


def counting_process(way: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, way, TAP], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "counting\n"
    return process


@pytest.mark.usefixtures("bench")
def test_sigkill_leaves_no_link() -> None:
    with counting_process("by_link") as process:
        assert left_on(TAP) == "11"
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: left_on(TAP) == NOTHING, "the kernel has taken all of it off")
    assert leftovers() == ()


@pytest.mark.usefixtures("bench")
def test_filters_that_sigkill_leaves_are_told_from_those_in_use_and_taken_off() -> None:
    with counting_process("by_filter") as killed, counting_process("by_filter") as running:
        assert leftovers() == ()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        found = leftovers()
        assert {(one.tap, one.pid) for one in found} == {(TAP, killed.pid)}
        assert [str(one) for one in found] == [
            f"tc filter of process {killed.pid} at {point} of {TAP}" for point in ("ingress", "egress")
        ]
        assert {one.pid for one in remove_leftovers()} == {killed.pid}
        assert leftovers() == ()
        assert left_on(TAP).count(" name nwscan_") == 2, "those of the running process are its own"
        running.send_signal(signal.SIGKILL)
    (told,) = [check for check in host.doctor() if check.name == "classifier"]
    assert (told.is_fine, told.hint) == (False, "remove them with: nwscan doctor --clean")
    assert told.found.startswith(f"left over: tc filter of process {running.pid} at ingress of {TAP}, ")
    assert len(host.clean()) == 2
    assert "nwscan_" not in left_on(TAP)
