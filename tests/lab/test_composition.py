"""A guest that has a filter already: libvirt's clean-traffic goes on acting, and foreign unicast is dropped as well."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.lab import layout
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.test_host_doors import rules
from tests.lab.test_main_job_filter import FILTER, WINDOW_S, guards, metered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Ended, Nwscan
    from tests.lab.state import LabState

    Attach = Callable[[str], LabState]

VM1 = layout.GUESTS["vm1"]
HOST = layout.HOSTS["hosta"]
WITH_IP = f"<filterref filter='clean-traffic'><parameter name='IP' value='{VM1.ipv4}'/></filterref>"
LEARNING = "<filterref filter='clean-traffic'/>"
LIE = "192.0.2.66"
REFUSED = 1
SPEAKING = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)


@pytest.fixture
def attach(lab: Lab) -> Iterator[Attach]:
    """A function that gives vm1's card a filter, running and for the next start; in the end it has none, as before."""
    scopes = {"live": lab.guest("vm1").interface_xml(), "config": lab.guest("vm1").interface_xml(inactive=True)}

    def put(reference: str) -> LabState:
        for scope, xml in scopes.items():
            lab.write(f"{layout.ROOT}/card.xml", xml.replace("</interface>", f"{reference}</interface>"))
            lab.virsh(f"update-device vm1 {layout.ROOT}/card.xml --{scope}")
        if reference:  # libvirt's thread that learns an address makes its rules a moment later
            wait_for(lambda: bool(kernel_texts(lab)), "the tap has rules")
        return lab.state()

    yield put
    put("")


def kernel_texts(lab: Lab) -> set[tuple[str, str]]:
    """The rules of vm1's tap, each with its chain."""
    return {(rule.chain, rule.text) for rule in rules(lab, lab.guest("vm1").tap).rules}


def apply(lab: Lab, nwscan: Nwscan, *more: str, code: int = 0) -> Ended:
    with lab.sending(SPEAKING):
        return nwscan.run("suggest", "--apply", VM1.name, "--yes", *more, code=code, duration_s=WINDOW_S)


def tell_lies(lab: Lab, tap: str) -> int:
    """Let the guest send three echo requests from an address that is not its own; gives how many were dropped."""

    def dropped() -> int:
        (rule,) = (rule for rule in rules(lab, tap).rules if (rule.chain, rule.text) == (f"I-{tap}-ipv4-ip", "-j DROP"))
        return rule.packets or 0

    guest, before = lab.guest("vm1"), dropped()
    guest.shell(f"arp -s {HOST.ipv4} {HOST.mac} && ip addr add {LIE}/32 dev eth0")
    _, said = guest.try_shell(f"ping -c 3 -i 0.2 -w 2 -I {LIE} {HOST.ipv4}")
    guest.shell(f"ip addr del {LIE}/32 dev eth0 && arp -d {HOST.ipv4}")
    assert " 0 packets received" in said
    return dropped() - before


def test_clean_traffic_goes_on_acting(lab: Lab, nwscan: Nwscan, attach: Attach) -> None:
    before, tap = attach(WITH_IP), lab.guest("vm1").tap
    stock = kernel_texts(lab)
    assert tell_lies(lab, tap) >= 3
    with nwscan.start("verify", VM1.name, "--json") as verify:
        lab.send(Schedule(foreign=1000, own=400, multicast=100, broadcast=60))
        alone = verify.interrupt().document
    assert 0 < metered(alone, "delivered")["foreign_unicast"] < 1000  # it stops what is not IPv4 or ARP

    applied = apply(lab, nwscan)
    assert "Note: the filter clean-traffic stays and goes on acting" in applied.stdout
    assert f"<filterref filter='{FILTER}'>" in lab.guest("vm1").interface_xml()
    assert f"<parameter name='IP' value='{VM1.ipv4}'/>" in lab.guest("vm1").interface_xml()
    assert kernel_texts(lab) - stock == {
        (f"libvirt-O-{tap}", f"-j O-{tap}-mac-nwscan"),
        (f"O-{tap}-mac-nwscan", f"-d {VM1.mac} -j RETURN"),
        (f"O-{tap}-mac-nwscan", "-d Multicast -j RETURN"),
        (f"O-{tap}-mac-nwscan", "-j DROP"),
    }
    assert stock <= kernel_texts(lab)
    assert tell_lies(lab, tap) >= 3
    lab.settle()
    assert lab.host("hosta").ping(VM1.ipv4) == 3

    with nwscan.start("verify", VM1.name, "--json") as verify:
        lab.send(Schedule(foreign=1000, own=400, multicast=100, broadcast=60))
        both = verify.interrupt()
    assert both.code == 0, both
    offered, delivered = metered(both.document, "offered"), metered(both.document, "delivered")
    assert (offered["foreign_unicast"], delivered["foreign_unicast"]) == (1000, 0)
    for kind in ("unicast_to_guest", "multicast", "broadcast"):
        assert delivered[kind] == metered(alone, "delivered")[kind]
    assert {name for name, (sent, _) in guards(both.document).items() if sent} == {
        "own unicast",
        "multicast",
        "broadcast",
    }

    nwscan.run("rollback", VM1.name, "--yes")
    assert before.differences(lab.state()) == []
    assert kernel_texts(lab) == stock


@pytest.mark.parametrize("is_learnt", [False, True])
def test_where_libvirt_learns_the_address_it_is_refused(
    lab: Lab, nwscan: Nwscan, attach: Attach, *, is_learnt: bool
) -> None:
    before = attach(LEARNING)
    if is_learnt:
        lab.host("hosta").ping(VM1.ipv4)
        learnt = (f"I-{lab.guest('vm1').tap}-ipv4-ip", f"-p IPv4 --ip-src {VM1.ipv4} -j RETURN")
        wait_for(lambda: learnt in kernel_texts(lab), "libvirt has learnt the address")
        before = lab.state()
    refused = apply(lab, nwscan, code=REFUSED)
    said = " ".join(refused.stdout.split())
    assert "refused: the card's filter clean-traffic learns the guest's IP" in said
    assert "(--force overrules this) do: state the address first: <parameter name='IP' value='...'/>" in said
    assert "Plan for" not in said
    assert before.differences(lab.state()) == []
    assert nwscan.run("rollback", VM1.name, "--yes").stdout == "nothing to undo on vm1\n"
    document = nwscan.run("suggest", VM1.name, "--json", code=REFUSED).document
    assert [(each["kind"], each["can_force"]) for each in document["refusals"]] == [("learns_ip", True)]


def test_force_overrules_that(lab: Lab, nwscan: Nwscan, attach: Attach) -> None:
    attach(LEARNING)
    tap = lab.guest("vm1").tap
    with lab.sending(SPEAKING):
        words = ("suggest", "--apply", VM1.name, "--yes", "--force", "--json")
        # as long as the guest is silent libvirt learns nothing, and no rule for frames to the guest is there
        forced = nwscan.run(*words, code=1, duration_s=WINDOW_S)
    suggestion, verdict = forced.documents
    assert [each["kind"] for each in suggestion["refusals"]] == ["learns_ip"]
    assert verdict["verdict"] == "no_effect"
    assert forced.stderr.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    assert f"<filterref filter='{FILTER}'/>" in lab.guest("vm1").interface_xml()

    lab.guest("vm1").shell(f"ping -c 1 -w 10 {HOST.ipv4}")
    wait_for(lambda: (f"O-{tap}-mac-nwscan", "-j DROP") in kernel_texts(lab), "libvirt has learnt the address")
    lab.settle()
    with nwscan.start("verify", VM1.name, "--json") as verify:
        lab.send(Schedule(foreign=500, own=100))
        learnt = verify.interrupt().document
    assert (metered(learnt, "offered")["foreign_unicast"], metered(learnt, "delivered")["foreign_unicast"]) == (500, 0)
    nwscan.run("rollback", VM1.name, "--yes")
    assert re.search(r"<filterref filter='clean-traffic'/>", lab.guest("vm1").interface_xml())
