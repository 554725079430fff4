"""What a guest needs of its network works through the filter, from cold: nobody knows anybody when it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.schedule import Schedule
from tests.lab.test_host_doors import rules
from tests.lab.test_main_job_filter import suggest_and_apply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.guest import Guest
    from tests.lab.host import Host
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

FOREIGN = 50
DROP = "-j DROP"


@pytest.fixture
def filtered(lab: Lab, nwscan: Nwscan) -> Iterator[Guest]:
    """vm1 behind the filter that nwscan suggested and applied; in the end the filter proves that it was there."""
    suggest_and_apply(lab, nwscan)
    guest = lab.guest("vm1")
    yield guest
    before = dropped(lab, guest)
    lab.send(Schedule(foreign=FOREIGN))
    assert dropped(lab, guest) - before == FOREIGN
    nwscan.run("rollback", guest.name, "--yes")


def dropped(lab: Lab, guest: Guest) -> int:
    """Frames that the last rule of the filter has dropped."""
    (rule,) = (rule for rule in rules(lab, guest.tap).rules if rule.text == DROP)
    assert rule.packets is not None
    return rule.packets


def make_cold(lab: Lab, guest: Guest, host: Host) -> None:
    """Let neither know the other's MAC."""
    lab.settle()
    host.forget_neighbours()
    guest.shell("ip neigh flush dev eth0; ip -6 neigh flush dev eth0")
    for known in (host.run("ip", "neigh", "show").stdout, guest.shell("ip neigh show dev eth0")):
        assert [line for line in known.splitlines() if "lladdr" in line] == []


def answers(guest: Guest, target: str) -> str:
    """What ping in the guest says of three echo requests."""
    return guest.try_shell(f"ping -c 3 -i 0.2 -w 10 {target}")[1]


def test_arp_from_cold_ping_and_tcp(lab: Lab, filtered: Guest) -> None:
    host = lab.host("hosta")
    make_cold(lab, filtered, host)
    assert host.ping(filtered.address.ipv4) == 3
    make_cold(lab, filtered, host)
    assert "3 packets received" in answers(filtered, host.address.ipv4)
    make_cold(lab, filtered, host)
    text = "through the filter " * 5000
    assert host.echo_tcp(filtered.address.ipv4, text) == text
    assert filtered.address.mac in host.run("ip", "neigh", "show", filtered.address.ipv4).stdout


def test_ipv6_neighbour_discovery_from_cold_and_ping(lab: Lab, filtered: Guest) -> None:
    host = lab.host("hosta")
    host.enable_ipv6()
    filtered.enable_ipv6()
    try:
        make_cold(lab, filtered, host)
        assert host.ping(filtered.address.ipv6) == 3
        make_cold(lab, filtered, host)
        assert "3 packets received" in answers(filtered, host.address.ipv6)
        assert filtered.address.mac in host.run("ip", "-6", "neigh", "show", filtered.address.ipv6).stdout
    finally:
        filtered.disable_ipv6()
        host.disable_ipv6()


def test_a_lease_from_a_dhcp_server(lab: Lab, filtered: Guest) -> None:
    host = lab.host("hosta")
    make_cold(lab, filtered, host)
    with host.dhcp_server("192.0.2.150", "192.0.2.160"):
        lease = filtered.request_lease()
    assert lease is not None
    assert lease.startswith("192.0.2.15") or lease == "192.0.2.160"
    try:
        make_cold(lab, filtered, host)
        assert host.ping(lease) == 3
    finally:
        filtered.shell(f"ip addr del {lease}/24 dev eth0")


def test_who_has_no_filter_is_reached_as_before(lab: Lab, filtered: Guest) -> None:
    other = lab.guest("vm2")
    make_cold(lab, filtered, lab.host("hosta"))
    assert "3 packets received" in answers(filtered, other.address.ipv4)
    assert "3 packets received" in answers(other, filtered.address.ipv4)
    assert layout.HOSTS["hostb"].ipv4 not in other.shell("ip neigh show dev eth0")
