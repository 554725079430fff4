"""What a guest lives by goes on behind the filter, and a filter that was there before goes on acting."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.domain import interface_xml
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Ended, Nwscan

VM1 = layout.GUESTS["vm1"]
HOSTA = layout.HOSTS["hosta"]
TRAFFIC = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
WINDOW_S = 2.2


def apply_filter(lab: Lab, nwscan: Nwscan, code: int = 0) -> Ended:
    with lab.sending(TRAFFIC):
        return nwscan.run("suggest", "--apply", VM1.name, "--yes", code=code, duration_s=WINDOW_S)


def attach(lab: Lab, filterref: str, *scopes: str) -> None:
    """Give vm1's card this filterref, or none."""
    lab.write(f"{layout.ROOT}/card.xml", interface_xml(VM1.mac, filterref=filterref))
    lab.run(["virsh", "update-device", VM1.name, f"{layout.ROOT}/card.xml", *scopes], check=True)


@contextmanager
def clean_traffic(lab: Lab, ip: str | None) -> Iterator[None]:
    """libvirt's clean-traffic on vm1's card, live and for the next start, while the with block runs."""
    parameter = f"<parameter name='IP' value='{ip}'/>" if ip else ""
    attach(lab, f"<filterref filter='clean-traffic'>{parameter}</filterref>", "--live", "--config")
    try:
        yield
    finally:
        attach(lab, "", "--live", "--config")


@pytest.fixture
def filtered(lab: Lab, nwscan: Nwscan) -> Iterator[Lab]:
    """The lab with vm1 behind its filter."""
    apply_filter(lab, nwscan)
    yield lab
    nwscan.run("rollback", VM1.name, "--yes")


def test_what_a_guest_lives_by_works_through_the_filter(filtered: Lab) -> None:
    host, guest = filtered.host("hosta"), filtered.guest("vm1")
    host.forget_neighbours()
    guest.shell("ip neigh flush all 2>/dev/null; true")
    assert host.ping(VM1.ipv4) == 3  # ARP from cold, then echo
    assert host.echo_tcp(VM1.ipv4, "through the filter") == "through the filter"
    host.enable_ipv6()
    guest.enable_ipv6()
    try:
        host.forget_neighbours()
        assert host.ping(VM1.ipv6) == 3  # neighbour discovery from cold
    finally:
        guest.disable_ipv6()
        host.disable_ipv6()
    with host.dhcp_server():
        assert (guest.request_lease() or "").startswith("192.0.2.")


def test_a_filter_that_was_there_goes_on_acting(lab: Lab, nwscan: Nwscan) -> None:
    with clean_traffic(lab, VM1.ipv4):
        keeps_clean_traffic(lab, nwscan)


def keeps_clean_traffic(lab: Lab, nwscan: Nwscan) -> None:
    guest = lab.guest("vm1")
    before = guest.domain_xml(), guest.domain_xml(inactive=True)
    apply_filter(lab, nwscan)
    rules = lab.run(["ebtables-save"]).stdout
    assert "O-vnet0-mac-nwscan" in rules
    assert "I-vnet0-ipv4-ip" in rules  # no-ip-spoofing of clean-traffic
    host = lab.host("hosta")
    assert host.ping(VM1.ipv4) == 3
    spoofed = "192.0.2.199"
    guest.shell(f"ip address add {spoofed}/24 dev eth0")
    try:
        code, _ = guest.try_shell(f"ping -c 1 -W 1 -I {spoofed} {HOSTA.ipv4}")
    finally:
        guest.shell(f"ip address del {spoofed}/24 dev eth0")
    assert code != 0
    nwscan.run("rollback", VM1.name, "--yes")
    assert (guest.domain_xml(), guest.domain_xml(inactive=True)) == before


def test_a_filter_that_learns_its_address_is_refused(lab: Lab, nwscan: Nwscan) -> None:
    guest = lab.guest("vm1")
    with clean_traffic(lab, None):
        lab.host("hosta").ping(VM1.ipv4)
        before = guest.domain_xml(), guest.domain_xml(inactive=True), lab.virsh("nwfilter-list")
        ended = apply_filter(lab, nwscan, code=1)
        assert "learn" in ended.stdout
        assert (guest.domain_xml(), guest.domain_xml(inactive=True), lab.virsh("nwfilter-list")) == before


def test_the_filters_from_a_file_act_the_same_when_installed_by_hand(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    capture, folder = tmp_path / "vm1.pcapng", tmp_path / "filters"
    with lab.sending(TRAFFIC):
        nwscan.run("capture", VM1.name, "-w", capture, duration_s=WINDOW_S)
    offline = nwscan.run("suggest", "--from", capture, "--mac", VM1.mac, "--xml", folder)
    typed = [line.strip() for line in offline.stdout.splitlines() if line.strip().startswith("virsh nwfilter-define")]
    files = [shlex.split(line)[-1] for line in typed]
    assert len(files) == 2
    for line, file in zip(typed, files, strict=True):
        lab.run([*shlex.split(line)[:-1], str(folder / file)], check=True)
    names = [file.removesuffix(".xml") for file in files]
    attach(lab, f"<filterref filter='{names[-1]}'/>", "--live")
    try:
        with lab.sending(TRAFFIC):
            verified = nwscan.run("verify", VM1.name, "--json", duration_s=WINDOW_S)
    finally:
        attach(lab, "", "--live")
        for name in reversed(names):
            lab.run(["virsh", "nwfilter-undefine", name], check=True)
    foreign = next(row for row in verified.document["classes"] if row["class"] == "foreign_unicast")
    assert foreign["offered"]["frames"] > 0
    assert foreign["delivered"]["frames"] == 0
