from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.model.classes import DirectionSource
from analyzer.model.frames import Direction
from analyzer.model.identity import Address, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.pipeline import Measurement
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Action, Filter, Rule, RuleDirection
from generator.suggest.profiles import profile_filters
from generator.suggest.refusals import RefusalKind
from generator.suggest.suggestion import Suggestion, filters_to_predict, interface_variables, suggest, to_document
from tests.generator.suggest.cases import CARD, GUEST, measure
from tests.lab import needs
from tests.raw_frames import raw_frames

IP = "192.0.2.101"
MARK = b"suggest"
NOT_JOINED = "IPv4 multicast, not joined"
GOOD = [need.make(MARK) for need in needs.NEEDS if need.wanted and "STP" not in need.text]
OTHER = needs.udp4(needs.MAC, needs.OTHER_IPV4)(MARK)
FOREIGN = needs.udp4(needs.FAR, "203.0.113.9")(MARK)
EVERYTHING = Filter("no-other-l2-traffic", None, "root", None, (Rule(Action.DROP, RuleDirection.INOUT, 1000),))
STOCK = {
    each.name: each
    for each in (
        *(Filter(name) for name in ("no-mac-spoofing", "no-ip-spoofing", "no-arp-spoofing", "qemu-announce-self")),
        EVERYTHING,
    )
}


def tried(
    profile: str,
    octets: list[bytes],
    *addresses: tuple[str, bool],
    keep: tuple[str, ...] = (),
    library: dict[str, Filter] | None = None,
    with_frames: bool = True,
) -> Suggestion:
    known = tuple(Address(value, Provenance.LIBVIRT_XML, trusted) for value, trusted in addresses)
    identity = replace(GUEST, addresses=known)
    card = replace(CARD, identity=identity)
    filter_set = profile_filters(card, profile, keep=keep, library=library)
    tree = filters_to_predict(filter_set, library or {})
    program = instantiate(tree[0], {each.name: each for each in tree}, interface_variables(GUEST, filter_set))
    builder = PredictionBuilder(program)
    measured = Measurement(identity, DirectionSource.PACKET_TYPE, consumers=(builder,))
    measured.add(raw_frames(octets, direction=[Direction.TO_GUEST] * len(octets)))
    report = measured.finish((CaptureWindow("vnet0", 0, 60 * 10**9, len(octets), 0, 128),))
    prediction = builder.finish() if with_frames else None
    return suggest(card, report, prediction, profile=profile, keep=keep, library=library)


def kinds(suggestion: Suggestion) -> list[RefusalKind]:
    return [refusal.kind for refusal in suggestion.refusals]


@pytest.mark.parametrize("profile", ["ip", "strict"])
def test_what_a_guest_needs_is_suggested(profile: str) -> None:
    found = tried(profile, [*GOOD, FOREIGN], (IP, True), keep=(needs.JOINED,))
    assert kinds(found) == []
    drops = {each.text: each.frames for each in found.evidence if each.action is Action.DROP}
    assert drops.pop("drop unicast to any other MAC") == 1
    assert set(drops.values()) == {0}
    assert {each.wrong for each in found.evidence if each.action is Action.DROP} == {0}
    document = to_document(found)
    assert [each["name"] for each in document["filters"]][:2] == ["nwscan-6f3c1b2a-0-mac", "nwscan-6f3c1b2a-0-ip4"]
    assert document["profile"] == profile


def test_evidence_is_of_each_chain_in_the_order_in_which_it_acts() -> None:
    found = tried("strict", [*GOOD, FOREIGN], (IP, True), keep=(needs.JOINED,))
    names = list(dict.fromkeys(each.filter.rpartition("-")[2] for each in found.evidence))
    assert names == ["mac", "ip4", "ip6", "arp"]
    for name in names:
        priorities = [each.priority for each in found.evidence if each.filter.endswith(f"-{name}")]
        assert priorities == sorted(priorities)


def test_on_purpose_is_not_wrong() -> None:
    others = [need.make(MARK) for need in needs.NEEDS if need.text in {"ARP request for others", NOT_JOINED}]
    found = tried("strict", others, (IP, True), keep=(needs.JOINED,))
    assert kinds(found) == []
    dropped = {each.text: (each.frames, each.wrong) for each in found.evidence if each.action is Action.DROP}
    assert dropped["drop ARP requests for any other address"] == (1, 0)
    assert dropped["drop IPv4 multicast to any other group"] == (1, 0)


def test_without_an_address_that_can_be_trusted() -> None:
    found = tried("ip", GOOD, (IP, False))
    assert kinds(found) == [RefusalKind.NO_ADDRESSES]
    assert IP in found.refusals[0].reason
    assert found.refusals[0].hint.endswith(f"--ip {IP}")
    assert not found.can_force
    assert "--ip ADDRESS" in tried("ip", GOOD).refusals[0].hint


def test_further_addresses_that_the_guest_seems_to_use() -> None:
    found = tried("ip", GOOD, (IP, True), ("192.0.2.7", False), ("169.254.1.1", False), ("2001:db8::7", False))
    assert kinds(found) == [RefusalKind.FURTHER_ADDRESSES]
    assert found.refusals[0].hint.endswith("--ip 192.0.2.7")
    assert found.can_force
    strict = tried("strict", GOOD, (IP, True), ("169.254.1.1", False), keep=("multicast",))
    assert kinds(strict) == [RefusalKind.FURTHER_ADDRESSES]


def test_own_mac_and_an_address_that_nobody_stated() -> None:
    found = tried("ip", [*GOOD, OTHER, OTHER], (IP, True))
    assert kinds(found) == [RefusalKind.OTHER_ADDRESSES]
    assert found.refusals[0].reason.startswith("2 frames to the guest's own MAC")
    assert found.can_force
    assert kinds(tried("ip", [*GOOD, OTHER], (IP, True), (needs.OTHER_IPV4, True))) == []


def test_strict_without_groups() -> None:
    found = tried("strict", GOOD, (IP, True))
    assert kinds(found) == [RefusalKind.GROUPS_UNKNOWN]
    assert found.can_force
    assert kinds(tried("strict", GOOD, (IP, True), keep=("multicast",))) == []


@pytest.mark.parametrize("profile", ["ip", "strict"])
def test_without_kept_frames_only_mac_is_predicted(profile: str) -> None:
    found = tried(profile, GOOD, (IP, True), keep=("multicast",), with_frames=False)
    assert kinds(found) == [RefusalKind.NO_FRAMES]
    assert found.prediction is None
    assert {each.frames for each in found.evidence} == {None}
    report, _ = measure()
    assert kinds(suggest(CARD, report)) == []


def test_kept_macs_pass_in_the_counts_too() -> None:
    report, _ = measure([(0x00005E000107, 0xFEAABBCCDDEE, True)] * 3)
    assert [each.frames for each in suggest(CARD, report).evidence] == [0, 0, 3]
    kept = suggest(CARD, report, keep=("vrrp",))
    assert kept.evidence[-1].frames == 0
    assert not any("VRRP" in risk for risk in kept.risks)


def test_the_filters_of_2015_answer_for_what_libvirts_filters_drop() -> None:
    ipv4 = [need.make(MARK) for need in needs.NEEDS if need.text.startswith(("IPv4 to the", "DHCP", "IPv4 broad"))]
    assert kinds(tried("allow-ipv4", ipv4, (IP, True), library=STOCK)) == []
    ipv6 = needs.udp6(needs.MAC, needs.IPV6)(MARK)
    found = tried("allow-ipv4", [*ipv4, ipv6], (IP, True), library=STOCK)
    assert kinds(found) == [RefusalKind.DROPS_WANTED]
    assert "1 of unicast_to_guest" in found.refusals[0].reason
    assert found.can_force
