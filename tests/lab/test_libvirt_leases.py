"""What libvirt's own DHCP server gave to a guest: told as a lease, and trusted where frames are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.nwscan_run import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.guest import Guest
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

MAC = "52:54:00:00:07:07"
SERVER, LEASED = "198.51.100.1", "198.51.100.50"
TOLD = {"value": LEASED, "source": "lease", "trusted": True}
NETWORK = f"""\
<network>
  <name>leases</name>
  <bridge name='virbr7' stp='off' delay='0'/>
  <ip address='{SERVER}' netmask='255.255.255.0'><dhcp><range start='{LEASED}' end='{LEASED}'/></dhcp></ip>
</network>
"""
CARD = f"<interface type='network'><mac address='{MAC}'/><source network='leases'/><model type='virtio'/></interface>"


@pytest.fixture
def guest(lab: Lab) -> Iterator[Guest]:
    """vm1 with a second card, on a network of libvirt's with a DHCP server; it has asked for no lease yet."""
    network, card = f"{layout.ROOT}/leases.xml", f"{layout.ROOT}/leases-card.xml"
    lab.write(network, NETWORK)
    lab.write(card, CARD)
    guest = lab.guest("vm1")
    lab.virsh(f"net-create {network}")
    try:
        lab.virsh(f"attach-device vm1 {card} --live")
        try:
            wait_for(lambda: "eth1" in guest.shell("ls /sys/class/net"), "the guest has its second card")
            guest.shell("ip link set eth1 up")
            yield guest
        finally:
            lab.virsh(f"detach-device vm1 {card} --live")
            wait_for(lambda: MAC not in guest.domain_xml(), "the guest has let go of its second card")
    finally:
        lab.virsh("net-destroy leases")


def addresses(nwscan: Nwscan, mac: str) -> list[Json]:
    (row,) = (row for row in nwscan.run("list", "--json").document["taps"] if row["mac"] == mac)
    found: list[Json] = row["addresses"]
    return found


def test_a_lease_of_libvirts_own_network(lab: Lab, nwscan: Nwscan, guest: Guest) -> None:
    assert addresses(nwscan, MAC) == []
    assert guest.request_lease(card="eth1") == LEASED
    wait_for(lambda: TOLD in addresses(nwscan, MAC), "libvirt tells the lease")
    assert LEASED in nwscan.run("list").stdout
    with nwscan.start("capture", f"vm1:{MAC}", "--json") as capture:
        done = lab.run(["busybox", "ping", "-c", "3", "-i", "0.2", "-w", "20", LEASED])
        report = capture.interrupt().document
    assert "3 packets received" in done.stdout
    assert report["guest"]["addresses"].count(TOLD) == 1
    own = [row["frames"] for row in report["subclasses"] if row["name"] == "own_address"]
    assert own
    assert own[0] >= 3  # the echo requests; without a trusted address nobody can say so
    assert addresses(nwscan, MAC) == [TOLD]  # once, although the host's ARP table knows it too by now
    assert all(row["source"] != "lease" for row in addresses(nwscan, guest.address.mac))
