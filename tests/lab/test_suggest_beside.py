"""``nwscan suggest`` beside the filter: remedies that do what was predicted, faults of the bridge first, marks."""

import pytest

from tests.lab.lab import Lab
from tests.lab.layout import BRIDGE, GUESTS, HOSTS
from tests.lab.nwscan_run import Ended, Nwscan
from tests.lab.test_explain import DEFAULT_AGEING, SENT, delivered, do, remedy_of

VM1 = GUESTS["vm1"]
MARK = "urn:nwscan:keep:1"


def suggested(lab: Lab, nwscan: Nwscan, *words: str, code: int = 0) -> Ended:
    """How a suggestion ends from a window in which the schedule is sent."""
    with nwscan.start("suggest", "vm1", "-a", "duration:4", *words) as running:
        lab.send_unsettled(SENT)
        ended = running.finish()
    assert ended.code == code, str(ended)
    return ended


def test_less_flooding_takes_away_what_was_predicted(lab: Lab, nwscan: Nwscan) -> None:
    document = suggested(lab, nwscan, "--json").document
    assert document["bridge"] == {
        "name": BRIDGE,
        "at_fault": False,
        "fault": None,
        "behind_the_tap": [],
        "virtual_macs": [],
    }
    remedy = remedy_of(document, "flood_off")
    assert remedy["removes"]["at_least"]["frames"] == remedy["removes"]["at_most"]["frames"] == SENT.foreign
    do(lab, *remedy["commands"])
    try:
        assert delivered(lab, nwscan) == (0, SENT.own)
    finally:
        do(lab, *remedy["undo"])


def test_a_hub_is_said_first(lab: Lab, nwscan: Nwscan) -> None:
    do(lab, f"ip link set dev {BRIDGE} type bridge ageing_time 0")
    try:
        said = suggested(lab, nwscan).stdout
        again = nwscan.run("suggest", "vm1", "--json", "-a", "duration:4").document  # from the window that was kept
    finally:
        do(lab, f"ip link set dev {BRIDGE} type bridge ageing_time {DEFAULT_AGEING}")
    assert said.startswith(f"The bridge is at fault: {BRIDGE} is a hub: its ageing time is 0")
    assert f"ip link set dev {BRIDGE} type bridge ageing_time {DEFAULT_AGEING}" in said
    assert "What else would help, on the same frames" in said
    assert again["bridge"]["at_fault"]
    assert again["remedies"][0]["name"] == "ageing"
    assert again["remedies"][0]["removes"]["of"]["frames"] == SENT.foreign


def test_a_marked_guest_gets_no_filter_and_the_printed_command_ends_that(lab: Lab, nwscan: Nwscan) -> None:
    mark = "<keep>intrusion detection</keep>"
    words = ["virsh", "metadata", "vm1", "--uri", MARK, "--key", "nwscan", "--set", mark, "--config", "--live"]
    lab.run(words, check=True)
    try:
        refused = suggested(lab, nwscan, "--json", "--force", code=1).document["refusals"]
        (marked,) = [each for each in refused if each["kind"] == "marked_keep"]
        assert "intrusion detection" in marked["reason"]
        command = "virsh metadata " + marked["hint"].partition("virsh metadata ")[2]
    finally:
        lab.run(["virsh", "metadata", "vm1", "--uri", MARK, "--remove", "--config", "--live"], check=True)
    lab.run(words, check=True)
    do(lab, command)
    assert "marked_keep" not in nwscan.run("suggest", "vm1", "--json", "-a", "duration:4").stdout


@pytest.mark.parametrize("mac", [HOSTS["hostb"].mac[:-2] + "77"])
def test_a_further_mac_that_the_bridge_has_learnt_at_the_tap(lab: Lab, nwscan: Nwscan, mac: str) -> None:
    do(lab, f"bridge fdb replace {mac} dev {lab.guest('vm1').tap} master dynamic")
    try:
        document = suggested(lab, nwscan, "--json", code=1).document
    finally:
        do(lab, f"bridge fdb del {mac} dev {lab.guest('vm1').tap} master")
    assert [each["kind"] for each in document["refusals"]] == ["further_macs"]
    assert f"{mac} (learnt by the bridge)" in document["refusals"][0]["reason"]
    assert document["bridge"]["behind_the_tap"] == [mac]
