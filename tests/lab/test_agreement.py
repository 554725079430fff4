"""Capture and meter of one window on a real guest's tap: they agree to the frame, or it says what differs and why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.lab import layout
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_what_the_bridge_says_of_its_tree_is_listed_apart(lab: Lab, nwscan: Nwscan) -> None:
    """Its BPDUs (IEEE 802.1D), and whatever the neighbours say meanwhile."""
    tree = ("ip", "link", "set", layout.BRIDGE, "type", "bridge", "stp_state")
    tap = lab.guest("vm1").tap
    until_three_are_said = ("timeout", "60", "tcpdump", "-ni", tap, "-c", "3", "ether dst 01:80:c2:00:00:00")

    def say() -> None:
        lab.run([*tree, "1"], check=True)
        lab.run(until_three_are_said, check=True)
        end_tree()

    def end_tree() -> None:
        lab.run([*tree, "0"], check=True)
        lab.run([*tree[:-1], "forward_delay", "0"], check=True)  # no tree allows less than 2 s
        wait_for(lambda: is_forwarding(lab, tap), "the port forwards again", 60.0)

    try:
        told = verified(lab, nwscan, say)["multicast"]
    finally:
        end_tree()
    assert told["compared_by"] == "frames"
    assert int(str(told["never_offered"])) >= 3
    assert told["captured"] == int(str(told["delivered"])) + int(str(told["never_offered"]))


def is_forwarding(lab: Lab, port: str) -> bool:
    return " state forwarding " in lab.run(["bridge", "link", "show", "dev", port], check=True).stdout


def transferred(lab: Lab, nwscan: Nwscan, port: int) -> dict[str, object]:
    """Give what is told of a TCP transfer of 4 MiB to the guest."""
    guest = lab.guest("vm1")
    is_listening = f"cat /proc/net/tcp /proc/net/tcp6 2> /dev/null | grep -q ':{port:04X} .* 0A '"
    quiet = "sleep 60"  # at the end of its input nc would close its half, and the sender take that for the end of all
    guest.shell(f"{quiet} | nc -l -p {port} > /dev/null & until {is_listening}; do sleep 0.1; done")

    def transfer() -> None:
        lab.run(["sh", "-c", f"head -c 4194304 /dev/zero | busybox nc {guest.address.ipv4} {port}"], host="hosta")

    return verified(lab, nwscan, transfer)["unicast_to_guest"]


def test_super_frames_agree_to_the_frame(lab: Lab, nwscan: Nwscan) -> None:
    """A TCP transfer of 4 MiB to a tap that takes super-frames: both count each as one."""
    told = transferred(lab, nwscan, 5001)
    assert 20 < int(str(told["delivered"])) < 4194304 // 1448
    assert told["captured"] == told["delivered"]
    assert (told["compared_by"], told["never_offered"], told["missing"]) == ("frames", 0, 0)
