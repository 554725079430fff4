"""The probe on a real bridge: its frames meet the filter of one tap, are counted, and never get anywhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from analyzer.host.meter import Meter, meter_tables
from analyzer.host.packet_socket import send_frames
from analyzer.host.probe import FRAMES_A_KIND, OWN_FRAMES, Probe, ProbeCounts, unused_mac
from analyzer.model.addresses import format_mac, is_group
from analyzer.model.classes import FrameClass
from tests.lab.bridge_bench import (
    BRIDGE,
    GUEST_MAC,
    OTHER_GUEST_MAC,
    OTHER_TAP,
    TAP,
    BridgeBench,
    drop_foreign,
    run,
    wait_until,
)
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "ebtables"))):
    pytest.skip("the probe needs root, iproute2, nftables and ebtables", allow_module_level=True)

REPOSITORY = Path(__file__).resolve().parents[2]
FOREIGN = 4 * FRAMES_A_KIND
MARK = b"nwscan probe"


@pytest.fixture
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


class Ears:
    """Sockets at every port of the bridge, at the far ends of all, and at the bridge itself."""

    def __init__(self, stack: ExitStack) -> None:
        self._sockets = {}
        for interface in ("eA", "eT", "eU", "vA", TAP, OTHER_TAP, BRIDGE):
            sock = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
            sock.bind((interface, 3))
            sock.setblocking(False)
            self._sockets[interface] = sock

    def heard(self) -> dict[str, int]:
        """Give how many frames of a probe came to each."""
        return {name: sum(MARK in frame for frame in _all_of(sock)) for name, sock in self._sockets.items()}


def _all_of(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(2048)
        except BlockingIOError:
            return


@contextmanager
def listening() -> Iterator[Ears]:
    with ExitStack() as stack:
        yield Ears(stack)


def ports() -> str:
    """The ports with their flags, the FDB, the bridge without its timers."""
    bridge = re.sub(r"_timer +[0-9.]+", "", run("ip", "-d", "link", "show", BRIDGE))
    return run("bridge", "-d", "link", "show") + run("bridge", "fdb", "show") + bridge


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("is_filtered", [True, False])
def test_the_filter_answers_and_no_frame_gets_anywhere(*, is_filtered: bool) -> None:
    if is_filtered:
        drop_foreign(TAP, format_mac(GUEST_MAC))
    before = ports()
    with listening() as ears, Probe(TAP, GUEST_MAC, ()) as probe:
        probe.send()
        result = probe.result()
        assert ears.heard() == dict.fromkeys(("eA", "eT", "eU", "vA", TAP, OTHER_TAP, BRIDGE), 0)
    assert result.foreign_total == ProbeCounts(FOREIGN, 0 if is_filtered else FOREIGN)
    assert result.own == result.broadcast == ProbeCounts(OWN_FRAMES, OWN_FRAMES)
    assert result.obstacle is None
    assert ports() == before
    assert meter_tables() == ()


@pytest.mark.usefixtures("bench")
def test_without_its_table_they_would_be_heard_everywhere() -> None:
    """What the table is for, and that the ears are good."""
    probe = Probe(TAP, GUEST_MAC, ())
    with listening() as ears:
        send_frames(BRIDGE, list(probe._frames()))
        heard = ears.heard()
    assert heard["eA"] == heard["eT"] == heard["eU"] == FOREIGN + 2 * OWN_FRAMES


@pytest.mark.usefixtures("bench")
def test_the_meter_counts_them_at_the_tap_and_at_no_other() -> None:
    drop_foreign(TAP, format_mac(GUEST_MAC))
    cards = {TAP: (GUEST_MAC,), OTHER_TAP: (OTHER_GUEST_MAC,)}
    with Meter(cards) as meter, Probe(TAP, GUEST_MAC, ()) as probe:
        probe.send()
        readings = meter.read()
    assert readings[TAP].offered[:, 0].tolist() == [OWN_FRAMES, 0, OWN_FRAMES, FOREIGN, 0, 0]
    assert readings[TAP].delivered[FrameClass.FOREIGN_UNICAST, 0] == 0
    assert readings[OTHER_TAP].offered.sum() == 0


@pytest.mark.usefixtures("bench")
def test_a_filter_that_lets_one_kind_pass_is_told_so() -> None:
    """As clean-traffic does: it drops what it does not know, and no foreign IPv4 or ARP."""
    run("ebtables", "-t", "nat", "-A", "POSTROUTING", "-o", TAP, "-p", "IPv6", "-j", "DROP")
    run("ebtables", "-t", "nat", "-A", "POSTROUTING", "-o", TAP, "-p", "0x88b5", "-j", "DROP")
    with Probe(TAP, GUEST_MAC, ()) as probe:
        probe.send()
        result = probe.result()
    assert {kind: counts.delivered for kind, counts in result.foreign.items()} == {
        "arp": FRAMES_A_KIND, "ipv4": FRAMES_A_KIND, "ipv6": 0, "other": 0,
    }  # fmt: skip


OBSTACLES = {
    "unknown unicast is not flooded": ("bridge", "link", "set", "dev", TAP, "flood", "off"),
    "is disabled, not forwarding": ("bridge", "link", "set", "dev", TAP, "state", "0"),
}


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_where_the_bridge_does_not_offer_them_it_says_why(obstacle: str) -> None:
    run(*OBSTACLES[obstacle])
    with listening() as ears, Probe(TAP, GUEST_MAC, ()) as probe:
        probe.send()
        result = probe.result()
        assert not any(ears.heard().values())
    assert result.foreign_total.offered == 0
    assert result.obstacle is not None
    assert obstacle in result.obstacle


@pytest.mark.usefixtures("bench")
def test_a_firewall_that_reloads_lets_none_out() -> None:
    with listening() as ears, Probe(TAP, GUEST_MAC, ()) as probe:
        run("nft", "flush", "ruleset")
        probe.send()
        assert not any(ears.heard().values())
        assert probe.result().foreign_total.offered == FOREIGN


def test_a_tap_that_is_no_port_is_refused(bench: BridgeBench) -> None:
    with pytest.raises(HostError, match="eA is no port of a Linux bridge"):
        Probe("eA", GUEST_MAC, ())
    assert meter_tables() == ()
    del bench


SENDER = """
from analyzer.host.probe import Probe
with Probe("vnet0", 0x525400000001, ()) as probe:
    print(flush=True)
    while True:
        probe.send()
"""


@pytest.mark.usefixtures("bench")
def test_killed_amid_sending_it_leaves_nothing_and_lets_none_out() -> None:
    with listening() as ears:
        for _ in range(10):
            with subprocess.Popen([sys.executable, "-c", SENDER], stdout=subprocess.PIPE, cwd=REPOSITORY) as process:
                assert process.stdout is not None
                process.stdout.readline()
                process.send_signal(signal.SIGKILL)
            wait_until(lambda: meter_tables() == (), "the table of the killed process is gone")
        assert not any(ears.heard().values())


def test_its_addresses_are_nobodys() -> None:
    known = {unused_mac(()) for _ in range(1000)}
    assert len(known) == 1000
    assert not any(map(is_group, known))
    assert all(mac >> 41 & 1 for mac in known)


# As it is typed


def test_a_quiet_network_gets_its_answer_in_seconds(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    """Nobody speaks. No without a filter, yes with one; and tcpdump on the ports and in the guest sees none of it."""
    files = [tmp_path / f"{port}.pcap" for port in ("vhosta", "vhostb", "vnet0", "vnet1", "br0")]
    with ExitStack() as stack:
        for file in files:
            stack.enter_context(tcpdump(lab, file.stem, file))
        no = nwscan.run("verify", "vm1", "--probe", "--json", code=1).document
        assert no["verdict"] == "no_effect"
        assert no["probe"]["foreign"] == {"offered": FOREIGN, "delivered": FOREIGN}
        with lab.sending(Schedule(own=4000, foreign=4000, rate_fps=400)):
            nwscan.run("suggest", "vm1", "--apply", "--yes", "--force")
        lab.settle()
        yes = nwscan.run("verify", "vm1", "--probe", "--json").document
        shown = nwscan.run("verify", "vm1", "--probe").stdout
        nwscan.run("rollback", "vm1", "--yes")
    assert (yes["verdict"], yes["guards"][0]["state"]) == ("effective", "held")
    assert yes["probe"]["foreign"] == {"offered": FOREIGN, "delivered": 0}
    assert yes["meter"]["foreign_offered"] >= FOREIGN
    assert f"of {FOREIGN} frames to" in shown
    assert not any(MARK in file.read_bytes() for file in files)
