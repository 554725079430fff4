"""``filters`` and ``replay`` against a real libvirtd: its stock filters, a guest's, what the kernel made of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from analyzer.host.guests import LibvirtReader
from analyzer.host.rules import kernel_rules
from tests.lab import layout
from tests.lab.kernel_calls import call_in_network
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

VM1 = layout.GUESTS["vm1"]
SCHEDULE = Schedule(foreign=120, own=80, multicast=30, broadcast=20)


@pytest.fixture
def clean_traffic(lab: Lab) -> Iterator[str]:
    """The tap of vm1 behind libvirt's own clean-traffic, for as long as a test runs."""
    with LibvirtReader(lab.outside_uri) as reader:
        (card,) = reader.resolve("vm1")
    assert card.live_xml is not None
    reference = f"<filterref filter='clean-traffic'><parameter name='IP' value='{VM1.ipv4}'/></filterref>"
    lab.write(f"{layout.ROOT}/without.xml", card.live_xml)
    lab.write(f"{layout.ROOT}/with.xml", card.live_xml.replace("</interface>", f"{reference}</interface>"))
    lab.virsh(f"update-device vm1 {layout.ROOT}/with.xml --live")
    yield str(card.identity.tap)
    lab.virsh(f"update-device vm1 {layout.ROOT}/without.xml --live")


def rules_in_kernel(lab: Lab, tap: str) -> list[tuple[str, int]]:
    """Give the rules of the guest's chains as words, and what they counted."""
    found = call_in_network(lab.network, lambda: kernel_rules(tap))
    return [(f"{rule.chain} {rule.text}", rule.packets or 0) for rule in found.rules if "ROUTING" not in rule.chain]


def test_the_list_of_the_host(lab: Lab, nwscan: Nwscan, clean_traffic: str) -> None:
    rows = {row["name"]: row for row in nwscan.run("filters", "--json").document["filters"]}
    assert sorted(rows) == sorted(line.split()[1] for line in lab.virsh("nwfilter-list").splitlines() if line)
    row = rows["clean-traffic"]
    assert row["uses"] == [{"guest": "vm1", "card": 0, "tap": clean_traffic, "live": True, "inactive": False}]
    assert "no-mac-spoofing" in row["references"]
    assert "clean-traffic" in rows["no-mac-spoofing"]["referenced_by"]
    assert "clean-traffic" in nwscan.run("filters").stdout


def test_what_a_filter_becomes_is_what_the_kernel_has(lab: Lab, nwscan: Nwscan, clean_traffic: str) -> None:
    found = nwscan.run("filters", "clean-traffic", "--guest", "vm1", "--json").document
    assert found["variables"] == {"MAC": [VM1.mac], "IP": [VM1.ipv4]}
    ours = [re.sub(r".* -A (\S+).* -j (\S+)$", r"\1 \2", line) for line in found["commands"]]
    kernel = [re.sub(r"^(\S+) .*-j (\S+).*$", r"\1 \2", text) for text, _ in rules_in_kernel(lab, clean_traffic)]
    by_chain = {
        chain: [line for line in ours if line.split()[0] == chain] for chain in {one.split()[0] for one in ours}
    }
    assert by_chain == {chain: [line for line in kernel if line.split()[0] == chain] for chain in by_chain}
    assert len(kernel) == len(ours)
    assert "Frames to the guest" in nwscan.run("filters", "clean-traffic", "--guest", "vm1").stdout


def captured(lab: Lab, nwscan: Nwscan, file: Path) -> Json:
    with nwscan.start("capture", "vm1:0", "--json", "-w", file) as capture:
        lab.send(SCHEDULE)
        report: Json = capture.interrupt().document
    return report


def test_what_replay_says_is_what_the_filter_does(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    file = tmp_path / "open.pcapng"
    report = captured(lab, nwscan, file)
    words = ("replay", file, "--filter", "clean-traffic", "-p", f"IP={VM1.ipv4}", "--json")
    found = nwscan.run(*words).document
    assert found["frames"] == report["windows"][0]["frames_seen"] == SCHEDULE.total
    assert {one["place"] for one in found["filters"]} == {"libvirt"}
    assert found["classes"]["foreign_unicast"]["accept"]["frames"] > 0
    assert found["wanted_dropped"]["frames"] > 0
    refused = nwscan.run("replay", file, "--filter", "clean-traffic", code=2)
    assert "needs parameters: IP" in refused.stderr
    assert "-p IP=" in refused.stderr
    assert "vm1 has no filter now" in nwscan.run("replay", file, "--guest", "vm1", code=2).stderr


def test_the_filter_applied_now_against_the_same_frames(
    lab: Lab, nwscan: Nwscan, tmp_path: Path, clean_traffic: str
) -> None:
    sent, file = tmp_path / "sent.pcapng", tmp_path / "behind.pcapng"
    with LibvirtReader(lab.outside_uri) as reader:
        (card,) = reader.resolve("vm1")
    assert card.filterref == ("clean-traffic", (("IP", VM1.ipv4),))
    before = dict(rules_in_kernel(lab, clean_traffic))
    delivered = captured(lab, nwscan, file)
    counted = {text: packets - before[text] for text, packets in rules_in_kernel(lab, clean_traffic)}
    lab.virsh(f"update-device vm1 {layout.ROOT}/without.xml --live")
    captured(lab, nwscan, sent)
    lab.virsh(f"update-device vm1 {layout.ROOT}/with.xml --live")
    found = nwscan.run("replay", sent, "--guest", "vm1", "--json").document
    assert found["filter"] == "clean-traffic"
    assert found["variables"]["IP"] == [VM1.ipv4]
    passed = {kind: cell["accept"]["frames"] for kind, cell in found["classes"].items()}
    assert passed == {kind: cell["frames"] for kind, cell in delivered["classes"].items()}
    assert sum(passed.values()) < SCHEDULE.total == found["frames"]
    assert found["unknown"]["frames"] == 0
    matched = sorted(rule["matched"]["frames"] for rule in found["rules"] if rule["to_guest"])
    assert matched == sorted(packets for text, packets in counted.items() if f"O-{clean_traffic}" in text.split()[0])


def test_a_guest_that_libvirt_does_not_know(nwscan: Nwscan, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<filter name='x'/>")
    for words in (("filters", "clean-traffic"), ("replay", tmp_path / "x.xml", "--filter", tmp_path / "x.xml")):
        assert "no tap or guest is called nosuch" in nwscan.run(*words, "--guest", "nosuch", code=4).stderr
