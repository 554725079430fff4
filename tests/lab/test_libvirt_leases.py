"""What libvirt's own DHCP server gave to a guest: told as a lease, and trusted where frames are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.lab import Lab
from tests.lab.nwscan_run import Nwscan, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.conftest import LabKeeper
    from tests.lab.guest import Guest
    from tests.lab.nwscan_run import Json

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
def own_lab(lab_keeper: LabKeeper) -> Iterator[Lab]:
    """A lab for this test alone: libvirt leaves traces of a network, and a guest of a card that was taken from it."""
    del lab_keeper  # it skips where no lab can be
    with Lab("leases") as lab:
        yield lab


@pytest.fixture
def guest(own_lab: Lab) -> Guest:
    """vm1 with a second card, on a network of libvirt's with a DHCP server; it has asked for no lease yet."""
    network, card = f"{layout.ROOT}/leases.xml", f"{layout.ROOT}/leases-card.xml"
    own_lab.write(network, NETWORK)
    own_lab.write(card, CARD)
    own_lab.virsh(f"net-create {network}; attach-device vm1 {card} --live")
    guest = own_lab.guest("vm1")
    wait_for(lambda: "eth1" in guest.shell("ls /sys/class/net"), "the guest has its second card")
    guest.shell("ip link set eth1 up")
    return guest


def addresses(nwscan: Nwscan, mac: str) -> list[Json]:
    (row,) = (row for row in nwscan.run("list", "--json").document["taps"] if row["mac"] == mac)
    found: list[Json] = row["addresses"]
    return found


def test_a_lease_of_libvirts_own_network(own_lab: Lab, guest: Guest, tmp_path: Path) -> None:
    nwscan = Nwscan(own_lab, tmp_path)
    assert addresses(nwscan, MAC) == []
    assert guest.request_lease(card="eth1") == LEASED
    wait_for(lambda: TOLD in addresses(nwscan, MAC), "libvirt tells the lease")
    assert LEASED in nwscan.run("list").stdout
    with nwscan.start("capture", f"vm1:{MAC}", "--json") as capture:
        done = own_lab.run(["busybox", "ping", "-c", "3", "-i", "0.2", "-w", "20", LEASED])
        report = capture.interrupt().document
    assert "3 packets received" in done.stdout
    assert report["guest"]["addresses"].count(TOLD) == 1
    own = [row["frames"] for row in report["subclasses"] if row["name"] == "own_address"]
    assert own
    assert own[0] >= 3  # the echo requests; without a trusted address nobody can say so
    assert addresses(nwscan, MAC) == [TOLD]  # once, although the host's ARP table knows it too by now
    assert all(row["source"] != "lease" for row in addresses(nwscan, guest.address.mac))
