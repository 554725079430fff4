"""Capture and meter of one window on a real guest's tap: they agree to the frame, or it says what differs and why."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.lab.kernel_calls import call_in_network
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan


def verified(lab: Lab, nwscan: Nwscan, act: Callable[[], object], quiet_s: float = 0.0) -> dict[str, dict[str, object]]:
    """Give what capture and meter say of each class, of a window in which ``act`` was done.

    The window is quiet for ``quiet_s`` at both ends: then nothing can fall between the ends of the two.
    """
    statistics = lab.outside(f"/sys/class/net/{lab.guest('vm1').tap}/statistics/tx_packets")
    with nwscan.start("verify", "vm1", "--json") as running:
        time.sleep(quiet_s)
        act()
        seen = -1
        while seen != (seen := int(statistics.read_text())):  # until nothing more comes for a moment
            time.sleep(0.5)
        time.sleep(quiet_s)
        document = running.interrupt().document
    return {one["class"]: one for one in document["agreement"]}


def test_capture_and_meter_agree_to_the_frame(lab: Lab, nwscan: Nwscan) -> None:
    schedule = Schedule(foreign=1500, own=1200, multicast=300, broadcast=150)
    lab.settle()
    told = verified(lab, nwscan, lambda: lab.send_unsettled(schedule))
    for name, count in (("unicast_to_guest", 1200), ("multicast", 300), ("broadcast", 150), ("foreign_unicast", 1500)):
        assert told[name] == {
            "class": name, "compared_by": "frames", "delivered": count, "captured": count, "never_offered": 0,
            "missing": 0,
        }  # fmt: skip


def test_what_the_bridge_says_itself_is_listed_apart(lab: Lab, nwscan: Nwscan) -> None:
    """Its IGMP queries: no filter is ever asked about them."""
    bridge = ("ip", "link", "set", "br0", "type", "bridge")

    def query() -> None:
        lab.run([*bridge, "mcast_snooping", "1"], check=True)
        for _ in range(8):  # each time it asks at once
            lab.run([*bridge, "mcast_querier", "0"], check=True)
            lab.run([*bridge, "mcast_querier", "1"], check=True)
        lab.send_unsettled(Schedule(multicast=40, rate_fps=200))

    try:
        told = verified(lab, nwscan, query, quiet_s=3.0)
    finally:
        lab.run([*bridge, "mcast_querier", "0"], check=True)
        lab.run([*bridge, "mcast_snooping", "0"], check=True)
    delivered = int(str(told["multicast"]["delivered"]))
    assert 40 <= delivered < 45  # guests answer, and an answer is forwarded
    assert told["multicast"]["captured"] == delivered + int(str(told["multicast"]["never_offered"]))
    assert 5 <= int(str(told["multicast"]["never_offered"])) <= 30


@pytest.mark.parametrize("has_offloads", [True, False])
def test_super_frames_are_compared_and_it_says_how(lab: Lab, nwscan: Nwscan, *, has_offloads: bool) -> None:
    """A TCP transfer of 4 MiB: to a tap with offloads as it goes; to one without in segments."""
    guest, port = lab.guest("vm1"), 5001 + has_offloads
    guest.shell(f"nc -l -p {port} > /dev/null < /dev/null & sleep 0.2")

    def transfer() -> None:
        lab.run(["sh", "-c", f"head -c 4194304 /dev/zero | busybox nc {guest.address.ipv4} {port}"], host="hosta")

    with offloads(lab, guest.tap, on=has_offloads):
        told = verified(lab, nwscan, transfer)["unicast_to_guest"]
    assert int(str(told["delivered"])) > 20
    assert told["compared_by"] == ("frames" if has_offloads else "octets")
    assert told["never_offered"] == told["missing"] == 0
    captured, delivered = int(str(told["captured"])), int(str(told["delivered"]))
    assert (captured == delivered) if has_offloads else (captured > 1.5 * delivered)


@contextmanager
def offloads(lab: Lab, interface: str, *, on: bool) -> Iterator[None]:
    """Let an interface take super-frames, or not: TCP segmentation and generic segmentation (linux/ethtool.h)."""

    def put(*, value: bool) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for command in (0x1F, 0x24):
                question = ctypes.create_string_buffer(struct.pack("=II", command, value), 8)
                request = struct.pack("16sP", interface.encode(), ctypes.addressof(question)).ljust(40, b"\0")
                fcntl.ioctl(sock, 0x8946, request)

    call_in_network(lab.network, lambda: put(value=on))
    try:
        yield
    finally:
        call_in_network(lab.network, lambda: put(value=True))
