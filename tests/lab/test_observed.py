"""What a real guest uses beyond its configured card is told, and trusted by nobody."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.frames import ipv4_octets
from tests.lab.nwscan_run import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.guest import Guest
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

VM1, HOSTA = layout.GUESTS["vm1"], layout.HOSTS["hosta"]
INNER_MAC, INNER_IPV4 = "02:00:00:00:00:99", "192.0.2.77"
GROUP, GROUP_MAC = "239.1.1.1", "01:00:5e:01:01:01"


@pytest.fixture
def guest(lab: Lab) -> Iterator[Guest]:
    """vm1; what a test makes inside of it is taken away again."""
    yield lab.guest("vm1")
    lab.guest("vm1").shell(
        "for card in inner eth0.100; do ip link del $card 2> /dev/null; done;"
        "killall join 2> /dev/null; rm -f /tmp/join; ip neigh flush dev eth0; true"
    )


def subclasses(report: Json, kind: str) -> dict[str, int]:
    return {row["name"]: row["frames"] for row in report["subclasses"] if row["class"] == kind}


def assert_subclasses_add_up(report: Json) -> None:
    for kind, counts in report["classes"].items():
        if kind != "unclassified":
            assert sum(subclasses(report, kind).values()) == counts["frames"], kind


def test_a_macvlan_inside_of_the_guest_is_a_second_mac(nwscan: Nwscan, guest: Guest) -> None:
    guest.shell(f"ip link add inner link eth0 address {INNER_MAC} type macvlan && ip link set inner up")
    with nwscan.start("capture", guest.tap, "--json") as capture:
        guest.shell(
            f"ip addr add {INNER_IPV4}/32 dev inner;"
            f"ip route add {HOSTA.ipv4}/32 dev inner src {INNER_IPV4}; ping -c 3 -i 0.2 {HOSTA.ipv4}"
        )
        report = capture.interrupt().document
    assert {"value": INNER_MAC, "source": "traffic", "trusted": False} in report["guest"]["macs_seen"]
    assert {"value": INNER_IPV4, "source": "traffic", "trusted": False} in report["guest"]["addresses"]
    assert report["guest"]["macs"] == [VM1.mac]
    assert subclasses(report, "from_guest")["other_mac"] >= 3
    assert subclasses(report, "foreign_unicast")["guests_other_mac"] >= 3
    assert_subclasses_add_up(report)
    assert any("ICMP" in row["text"] for row in report["samples"])


def test_a_group_that_the_guest_joins(lab: Lab, nwscan: Nwscan, guest: Guest) -> None:
    with nwscan.start("capture", guest.tap, "--json") as capture:
        octets = "".join(f"\\x{octet:02x}" for octet in joining_program(GROUP, VM1.ipv4))
        guest.shell(f"printf '{octets}' > /tmp/join; chmod +x /tmp/join; (/tmp/join > /dev/null 2>&1 &)")
        wait_for(lambda: "010101EF" in guest.shell("cat /proc/net/igmp"), "the guest has joined")
        send_group(lab, GROUP)
        send_group(lab, "239.2.2.2")
        report = capture.interrupt().document
    assert report["guest"]["groups"] == [GROUP_MAC]
    assert {row["dst"]: row["joined"] for row in report["groups"]} == {GROUP_MAC: True, "01:00:5e:02:02:02": False}
    assert subclasses(report, "multicast") == {"group_joined": 1, "group_not_reported": 1}
    assert_subclasses_add_up(report)


def joining_program(group: str, card: str) -> bytes:
    """Give an ELF program (x86-64) that joins an IPv4 group on the card with that address, and waits to be killed.

    busybox has nothing that joins a group, and the guest has no compiler.
    """
    code = bytes.fromhex(
        "bf02000000 be02000000 31d2 b829000000 0f05"  # socket(AF_INET, SOCK_DGRAM, 0)
        "89c7 31f6 ba23000000 4c8d1514000000 41b808000000 b836000000 0f05"  # setsockopt(IP_ADD_MEMBERSHIP, mreq)
        "b822000000 0f05"  # pause()
    )
    code += ipv4_octets(group) + ipv4_octets(card)  # mreq
    base, head = 0x400000, 64 + 56
    elf = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    )
    size = head + len(code)
    return elf + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code


def send_group(lab: Lab, group: str) -> None:
    """Send one datagram to a group from hosta."""
    script = (
        "import socket; door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"door.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton('{HOSTA.ipv4}'));"
        f"door.sendto(b'x', ('{group}', 9))"
    )
    lab.run(["python3", "-I", "-c", script], host="hosta", check=True)


def test_a_lease_that_the_guest_gets(lab: Lab, nwscan: Nwscan, guest: Guest) -> None:
    """The guest never uses the address beyond DHCP, so that nothing else tells it."""
    with nwscan.start("capture", guest.tap, "--json") as capture:
        with lab.host("hosta").dhcp_server("192.0.2.150", "192.0.2.150"):
            assert guest.request_lease() == "192.0.2.150"
        guest.shell("ip addr del 192.0.2.150/24 dev eth0")
        report = capture.interrupt().document
    assert {"value": "192.0.2.150", "source": "traffic", "trusted": False} in report["guest"]["addresses"]
    assert subclasses(report, "from_guest")["own_mac"] >= 2
    assert_subclasses_add_up(report)


def test_what_the_host_knows_of_its_neighbours(lab: Lab, nwscan: Nwscan, guest: Guest) -> None:
    """An address of the bridge itself makes the guest a neighbour of the host."""
    try:
        lab.run(["ip", "address", "add", "192.0.2.250/24", "dev", layout.BRIDGE], check=True)
        lab.run(["busybox", "ping", "-c", "1", "-w", "10", VM1.ipv4], check=True)
        (row,) = (row for row in nwscan.run("list", "--json").document["taps"] if row["guest"] == guest.name)
    finally:
        lab.run(["ip", "address", "del", "192.0.2.250/24", "dev", layout.BRIDGE], check=True)
        lab.run(["ip", "neigh", "flush", "dev", layout.BRIDGE], check=True)
    assert {"value": VM1.ipv4, "source": "arp_table", "trusted": False} in row["addresses"]


def test_no_agent_runs_in_the_guest(nwscan: Nwscan, guest: Guest) -> None:
    """libvirt is asked only with the flag, over a read-write connection, and its words are told."""
    without = nwscan.run("list", "--json")
    asked = nwscan.run("list", "--ask-agent", "--json")
    assert asked.document == without.document
    assert without.stderr == ""
    said = "tells no addresses: libvirt: argument unsupported: QEMU guest agent is not configured"
    assert f"note: the agent of {guest.name} {said}" in asked.stderr
    captured = nwscan.run("capture", guest.tap, "--ask-agent", "--json", duration_s=0.2)
    assert said in captured.stderr
    assert captured.document["guest"]["macs"] == [VM1.mac]
    assert said in nwscan.run("suggest", guest.name, "--ask-agent", code=1, duration_s=0.2).stderr


def test_a_vlan_of_the_guest(nwscan: Nwscan, guest: Guest) -> None:
    guest.shell("ip link add link eth0 name eth0.100 type vlan id 100 && ip link set eth0.100 up")
    with nwscan.start("capture", guest.tap, "--json") as capture:
        guest.shell("ip addr add 198.51.100.1/24 dev eth0.100; arping -q -c 2 -w 2 -I eth0.100 198.51.100.9; true")
        report = capture.interrupt().document
    assert report["guest"]["vlans"] == [100]
    (row,) = report["observed"]["vlans"]
    assert (row["vlan"], row["is_new"]) == (100, True)
    assert row["frames"] >= 2
    assert {"value": "198.51.100.1", "source": "traffic", "trusted": False} in report["guest"]["addresses"]
    assert_subclasses_add_up(report)
