"""Counting for as long as somebody looks, on a real bridge: taps that come, go and come back, and what taps drop."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.errors import HostError
from analyzer.host import tap_hooks
from analyzer.host.meter import meter_tables
from analyzer.host.tap_counter import TapCounter
from analyzer.host.tap_drops import dropped_frames, parse_dropped
from analyzer.model.classes import FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from nwscan.api import counting
from nwscan.api.counting import CountedCard, HostCount, HostCounting, TapCount, rates
from nwscan.api.tap_counters import CountedBy
from tests.lab.bridge_bench import (
    ABSENT_MAC,
    BRIDGE,
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
from tests.lab.test_tap_counter import counting_process, left_on

if os.geteuid() != 0:
    pytest.skip("counting needs root", allow_module_level=True)

OWN, FOREIGN, SENT = FrameClass.UNICAST_TO_GUEST, FrameClass.FOREIGN_UNICAST, FrameClass.FROM_GUEST
_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x1002


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


def frames(dst: int, count: int, src: int = HOST_MAC) -> list[bytes]:
    head = dst.to_bytes(6, "big") + src.to_bytes(6, "big") + b"\x88\xb5"
    return [head.ljust(60, b"\0")] * count


def card(name: str, mac: int, tap: str, filter_name: str | None = None) -> CountedCard:
    return CountedCard(
        GuestIdentity((mac,), Provenance.LIBVIRT_XML, name=name, uuid=f"uuid-of-{name}", tap=tap), filter_name
    )


VM1, VM2 = card("vm1", GUEST_MAC, TAP), card("vm2", OTHER_GUEST_MAC, OTHER_TAP)


class Host:
    """What libvirt would say."""

    def __init__(self, *cards: CountedCard) -> None:
        self.cards = list(cards)
        self.is_away = False

    def __call__(self) -> list[CountedCard]:
        if self.is_away:
            raise HostError("libvirt is away")
        return self.cards


def of(count: HostCount, name: str) -> TapCount:
    (found,) = (tap for tap in count.taps if tap.card.identity.name == name)
    return found


def offered(count: HostCount, name: str) -> list[int]:
    return [int(frames) for frames in of(count, name).reading.offered[:, 0]]


def counted(host: HostCounting, name: str, frames: int) -> HostCount:
    wait_until(lambda: sum(offered(host.read(), name)) >= frames, f"{frames} frames at {name}")
    return host.read()


def look_until(host: HostCounting, names: set[str]) -> None:
    def looked() -> bool:
        host.look()
        return {tap.card.identity.name for tap in host.read().taps} == names

    wait_until(looked, f"{names} are counted")


def look_until_counted_by(host: HostCounting, way: CountedBy) -> None:
    def looked() -> bool:
        host.look()
        return of(host.read(), "vm1").counted_by is way

    wait_until(looked, f"the {way} counts")


def add_interface(name: str) -> None:
    """One that is on no bridge."""
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}e")


def test_every_tap_is_counted_offered_and_delivered(bench: BridgeBench) -> None:
    drop_foreign(TAP, "52:54:00:00:00:01")
    with HostCounting(lookup=Host(VM2, VM1)) as host:
        before = host.read()
        bench.send("eA", frames(ABSENT_MAC, 7) + frames(GUEST_MAC, 3))
        bench.send("eT", frames(HOST_MAC, 2, GUEST_MAC))
        counted(host, "vm1", 12)
        count = counted(host, "vm2", 10)
    assert [tap.card.identity.name for tap in count.taps] == ["vm1", "vm2"]
    vm1, vm2 = of(count, "vm1").reading, of(count, "vm2").reading
    assert (vm1.offered[FOREIGN, 0], vm1.delivered[FOREIGN, 0], vm1.delivered[OWN, 0]) == (7, 0, 3)
    assert vm1.offered[SENT].tolist() == [2, 120]
    assert vm2.delivered[FOREIGN].tolist() == [10, 600]
    (one, two) = rates(before, count)
    assert one.card == VM1
    assert two.delivered[FOREIGN, 0] == pytest.approx(10 / (count.at_s - before.at_s))
    assert (of(count, "vm1").counted_by, of(count, "vm2").counted_by) == (CountedBy.METER, CountedBy.CLASSIFIER)
    assert meter_tables() == ()


def test_a_tap_is_metered_while_a_filter_acts_and_its_counts_never_fall(bench: BridgeBench) -> None:
    known = Host(VM1, VM2)
    with HostCounting(lookup=known) as host:
        bench.send("eA", frames(GUEST_MAC, 3) + frames(ABSENT_MAC, 2))
        assert of(counted(host, "vm1", 5), "vm1").counted_by is CountedBy.CLASSIFIER
        assert meter_tables() == (), "no hook of the meter costs frames while no filter acts"
        known.cards = [replace(VM1, filter="nwscan-mac"), VM2]
        drop_foreign(TAP, "52:54:00:00:00:01")
        add_interface("tell0")
        look_until_counted_by(host, CountedBy.METER)
        assert len(meter_tables()) == 1
        bench.send("eA", frames(GUEST_MAC, 4) + frames(ABSENT_MAC, 6))
        vm1 = of(counted(host, "vm1", 15), "vm1").reading
        assert (vm1.offered[OWN, 0], vm1.offered[FOREIGN, 0], vm1.delivered[FOREIGN, 0]) == (7, 8, 2)
        known.cards = [VM1, VM2]
        run("ebtables", "-t", "nat", "-F", "POSTROUTING")
        add_interface("tell1")
        look_until_counted_by(host, CountedBy.CLASSIFIER)
        assert meter_tables() == ()
        bench.send("eA", frames(ABSENT_MAC, 1))
        assert offered(counted(host, "vm1", 16), "vm1") == [7, 0, 0, 9, 0, 0]


def test_where_a_tap_takes_no_more_programs_the_meter_counts_and_says_why(bench: BridgeBench) -> None:
    with ExitStack() as others:
        fill(TAP, others)
        host = others.enter_context(HostCounting(lookup=Host(VM1, VM2)))
        bench.send("eA", frames(ABSENT_MAC, 5))
        count = counted(host, "vm1", 5)
        assert (of(count, "vm1").counted_by, of(count, "vm2").counted_by) == (CountedBy.METER, CountedBy.CLASSIFIER)
        assert count.fallback is not None
        assert count.fallback.startswith("cannot count on the tap: cannot attach to interface")


def test_without_links_filters_count_and_the_start_takes_off_what_a_killed_process_left(
    bench: BridgeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_hooks, "way_of_kernel", lambda _: tap_hooks.by_filter)  # as on kernels before 6.6
    with counting_process("by_filter") as killed:
        killed.kill()
    assert len(tap_hooks.leftovers()) == 2
    with HostCounting(lookup=Host(VM1)) as host:
        assert tap_hooks.leftovers() == ()
        bench.send("eA", frames(GUEST_MAC, 3))
        assert of(counted(host, "vm1", 3), "vm1").counted_by is CountedBy.CLASSIFIER
        assert left_on(TAP).count(" name nwscan_") == 2
    assert "nwscan_" not in left_on(TAP)


def fill(tap: str, stack: ExitStack) -> None:
    """Hang programs on a tap until it takes no more: 64 or so (linux/bpf_mprog.h)."""
    for _ in range(100):
        counter = stack.enter_context(TapCounter())
        try:
            counter.change({tap: (GUEST_MAC,)}, ())
        except HostError:
            return
    pytest.fail("the tap takes any number of programs")


def test_a_tap_that_comes_back_counts_on_and_its_counts_never_fall(bench: BridgeBench) -> None:
    known = Host(VM1, VM2)
    with HostCounting(lookup=known) as host:
        bench.send("eA", frames(GUEST_MAC, 3))
        counted(host, "vm1", 3)
        run("ip", "link", "del", TAP)
        known.cards = [VM2]
        look_until(host, {"vm2"})
        bench.send("eA", frames(GUEST_MAC, 50))
        bench.plug(TAP, "eT")
        known.cards = [VM1, VM2]
        look_until(host, {"vm1", "vm2"})
        assert offered(host.read(), "vm1")[OWN] == 3
        bench.send("eA", frames(GUEST_MAC, 4))
        assert offered(counted(host, "vm1", 7), "vm1")[OWN] == 7


def rename(tap: str, name: str) -> None:
    run("ip", "link", "set", tap, "down")
    run("ip", "link", "set", tap, "name", name)
    run("ip", "link", "set", name, "up")
    wait_until(lambda: " state forwarding " in run("bridge", "link", "show", "dev", name), f"{name} forwarding")


@pytest.mark.parametrize("way", list(CountedBy))
def test_a_tap_that_is_renamed_is_told_as_uncounted_until_it_has_its_name_again(
    bench: BridgeBench, way: CountedBy
) -> None:
    """libvirt knows it by its name, and so do its rules: what has another one is counted as nobody's."""
    known = Host(VM1, VM2)
    if way is CountedBy.METER:
        drop_foreign(TAP, "52:54:00:00:00:01")
    with HostCounting(lookup=known) as host:
        bench.send("eA", frames(GUEST_MAC, 3))
        assert of(counted(host, "vm1", 3), "vm1").counted_by is way
        rename(TAP, "moved0")
        look_until(host, {"vm2"})
        assert [one.identity.name for one in host.read().uncounted] == ["vm1"]
        bench.send("eA", frames(GUEST_MAC, 50))
        rename("moved0", TAP)
        look_until(host, {"vm1", "vm2"})
        assert host.read().uncounted == ()
        assert offered(host.read(), "vm1")[OWN] == 3
        bench.send("eA", frames(GUEST_MAC, 4))
        assert offered(counted(host, "vm1", 7), "vm1")[OWN] == 7


def test_a_tap_of_another_guest_now_is_another_count(bench: BridgeBench) -> None:
    known = Host(VM1)
    with HostCounting(lookup=known) as host:
        bench.send("eA", frames(GUEST_MAC, 3))
        counted(host, "vm1", 3)
        known.cards = [card("vm9", OTHER_GUEST_MAC, TAP)]
        add_interface("tell0")  # libvirt is asked when interfaces changed
        look_until(host, {"vm9"})
        bench.send("eA", frames(GUEST_MAC, 2))
        assert offered(counted(host, "vm9", 2), "vm9") == [0, 0, 0, 2, 0, 0]


def test_new_guests_are_found_although_libvirt_tells_of_them_late(bench: BridgeBench) -> None:
    known = Host(VM1)
    with HostCounting(lookup=known) as host:
        bench.plug("vnet7", "e7")
        host.look()
        known.cards = [VM1, card("vm7", 0x525400000007, "vnet7")]
        look_until(host, {"vm1", "vm7"})


def test_while_libvirt_is_away_counting_goes_on_and_says_so(bench: BridgeBench) -> None:
    known = Host(VM1, VM2)
    with HostCounting(lookup=known) as host:
        assert host.read().trouble is None
        known.is_away = True
        run("ip", "link", "del", OTHER_TAP)
        look_until(host, {"vm1"})
        bench.send("eA", frames(GUEST_MAC, 2))
        count = counted(host, "vm1", 2)
    assert count.trouble is not None
    assert count.trouble.what == "libvirt is away"


def test_no_more_gone_cards_are_remembered_than_agreed(bench: BridgeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_RETIRED_MOST", 2)
    known = Host(VM1)
    with HostCounting(lookup=known) as host:
        for n in range(6):
            known.cards = [VM1, card(f"guest{n}", 0x525400001000 + n, OTHER_TAP)]
            add_interface(f"tell{n}")
            look_until(host, {"vm1", f"guest{n}"})
            bench.send("eA", frames(ABSENT_MAC, 1))
            counted(host, f"guest{n}", 1)
        assert len(host._before) == len(host._drops) == 4


@pytest.mark.usefixtures("bench")
def test_a_card_on_no_bridge_is_not_counted_rather_than_counted_as_nothing() -> None:
    add_interface("macvtap0")
    aside, odd = card("vm3", 0x525400000003, "macvtap0"), card("vm4", 0x525400000004, "a b")
    with HostCounting(lookup=Host(VM1, aside, odd)) as host:
        count = host.read()
    assert [tap.card for tap in count.taps] == [VM1]
    assert count.uncounted == (aside, odd)


@pytest.mark.usefixtures("bench")
def test_without_libvirt_taps_tell_their_guests_or_the_error_stands() -> None:
    known = Host()
    known.is_away = True
    with pytest.raises(HostError, match="libvirt is away"), HostCounting(lookup=known):
        pass
    assert meter_tables() == ()
    run("ip", "link", "set", TAP, "address", "fe:54:00:00:00:01")
    with HostCounting(lookup=known) as host:
        (tap,) = host.read().taps
    assert (tap.card.identity.tap, tap.card.identity.macs) == (TAP, (GUEST_MAC,))
    assert tap.card.identity.source is Provenance.GUESS


def open_tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP_NO_PI))
    run("ip", "link", "set", name, "txqueuelen", "5", "up")
    run("ip", "link", "set", name, "master", BRIDGE)
    wait_until(lambda: " state forwarding " in run("bridge", "link", "show", "dev", name), f"{name} forwarding")
    return descriptor


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no /dev/net/tun")
def test_what_a_guest_does_not_take_is_told_as_dropped_and_carried_on(bench: BridgeBench) -> None:
    slow = card("slow", 0x525400000005, "vnet5")
    descriptor = open_tap("vnet5")  # and nobody reads from it
    with HostCounting(lookup=Host(slow)) as host:
        bench.send("eA", frames(0x525400000005, 20))
        counted(host, "slow", 20)
        wait_until(lambda: of(host.read(), "slow").dropped == 15, "all but what the queue holds is dropped")
        os.close(descriptor)  # the tap goes with it
        descriptor = open_tap("vnet5")
        host.look()
        bench.send("eA", frames(0x525400000005, 12))
        wait_until(lambda: of(host.read(), "slow").dropped == 22, "the new tap's are added")
    os.close(descriptor)


def test_the_table_of_interfaces_is_read_as_the_kernel_writes_it() -> None:
    head = "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo\n"
    assert parse_dropped(head + "  a:b0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n") == {"a:b0": 12}
    assert parse_dropped(head + "vnet0: 1 2 3\nvnet1: a b c d e f g h i j k l m n o p\n\xff\n") == {}
    assert dropped_frames()["lo"] >= 0
