"""The law of every profile: what it promises to keep it never drops, and what it is there to drop it drops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.classify.decode import decode
from analyzer.model.frames import Direction
from analyzer.model.identity import Address, Provenance
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Action, Filter, Rule, RuleDirection
from generator.nwfilter.xml import read_filter, write_filter
from generator.suggest.keeping import group_mac
from generator.suggest.profiles import FilterSet, profile_filters
from generator.suggest.suggestion import filters_to_predict, interface_variables
from tests.generator.suggest.cases import CARD, GUEST
from tests.lab import frames, needs
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STOCK = Path("/usr/share/libvirt/nwfilter")
STATED = ("192.0.2.101", "192.0.2.102", "2001:db8::101")
STRICT = (needs.JOINED, "mdns", "vrrp")
MARK = b"promise"
Frame = bytes


def filters(profile: str, *addresses: str, library: dict[str, Filter] | None = None) -> FilterSet:
    known = tuple(Address(each, Provenance.COMMAND_LINE, trusted=True) for each in addresses or STATED)
    card = replace(CARD, identity=replace(GUEST, addresses=known))
    return profile_filters(card, profile, keep=STRICT if profile == "strict" else (), library=library)


def drops(filter_set: FilterSet, octets: Sequence[Frame], library: dict[str, Filter] | None = None) -> list[bool]:
    tree = [read_filter(write_filter(each)).filter for each in filters_to_predict(filter_set, library or {})]
    program = instantiate(tree[0], {each.name: each for each in tree}, interface_variables(GUEST, filter_set))
    batch = decode(raw_frames(octets, direction=[Direction.TO_GUEST] * len(octets)))
    return [verdict == Verdict.DROP for verdict in Matcher(program).run(batch, batch.octets > 0).verdict.tolist()]


SETS = {profile: filters(profile) for profile in ("mac", "ip", "strict")}

octets = st.integers(0, 255)
ipv4s = st.builds("{}.{}.{}.{}".format, octets, octets, octets, octets)
words = st.integers(0, 0xFFFF).map("{:x}".format)
ipv6s = st.builds("{}:{}:{}:{}:{}:{}:{}:{}".format, *[words] * 8)
solicited = st.builds("33:33:ff:{:02x}:{:02x}:{:02x}".format, octets, octets, octets)
group_macs = st.integers(0, 2**48 - 1).map(lambda mac: (mac | 1 << 40).to_bytes(6).hex(":"))
other_groups = group_macs.filter(lambda mac: not mac.startswith(("01:00:5e", "33:33")))
any_macs = st.integers(0, 2**48 - 1).map(lambda mac: mac.to_bytes(6).hex(":"))
discovery = st.sampled_from((130, 131, 132, 133, 134, 135, 136, 137))
ethertypes = st.integers(0x0600, 0xFFFF).filter(lambda value: value not in {0x0800, 0x86DD, 0x8100, 0x88A8})

PROMISED: dict[str, st.SearchStrategy[Frame]] = {
    "IPv4 to own addresses": st.sampled_from(STATED[:2]).map(lambda to: needs.udp4(needs.MAC, to)(MARK)),
    "IPv6 to own addresses": st.just(needs.udp6(needs.MAC, STATED[2])(MARK)),
    "link-local IPv6": ipv6s.map(lambda low: needs.udp6(needs.MAC, f"fe80::{low.split(':', 4)[4]}")(MARK)),
    "IPv4 broadcast": ipv4s.map(lambda to: needs.udp4(frames.BROADCAST, to)(MARK)),
    "DHCP answers": st.tuples(st.sampled_from((needs.MAC, frames.BROADCAST)), ipv4s).map(
        lambda pair: needs.dhcp(*pair)(MARK)
    ),
    "neighbour discovery and MLD to the guest": st.tuples(ipv6s, discovery).map(
        lambda pair: needs.icmpv6(needs.MAC, pair[0].replace("ff", "fe"), pair[1])(MARK)
    ),
    "neighbour discovery and MLD to groups": st.tuples(group_macs, discovery).map(
        lambda pair: needs.icmpv6(pair[0], "ff02::1:3", pair[1])(MARK)
    ),
    "solicited-node groups": solicited.map(lambda mac: needs.udp6(mac, "ff02::1:ff00:1")(MARK)),
    "all nodes, all routers": st.sampled_from((1, 2)).map(
        lambda last: needs.udp6(f"33:33:00:00:00:0{last}", f"ff02::{last}")(MARK)
    ),
    "IGMP": st.just(needs.igmp_query(MARK)),
    "groups of 224.0.0.0/24": octets.map(
        lambda last: needs.udp4(f"01:00:5e:00:00:{last:02x}", f"224.0.0.{last}")(MARK)
    ),
    "joined and kept groups": st.sampled_from((needs.JOINED, "224.0.0.251")).map(
        lambda group: needs.udp4(needs.group_mac(group), group)(MARK)
    ),
    "groups of other protocols": st.tuples(other_groups, ethertypes).map(
        lambda pair: needs.plain(pair[0], pair[1])(MARK)
    ),
    "802.3": other_groups.map(lambda mac: needs.llc(mac)(MARK)),
    "ARP for own addresses": st.tuples(ipv4s, st.sampled_from(STATED[:2])).map(
        lambda pair: needs.arp(frames.BROADCAST, 1, *pair)(MARK)
    ),
    "ARP announcements": ipv4s.map(lambda who: needs.arp(frames.BROADCAST, 1, who, who)(MARK)),
    "ARP replies": st.tuples(st.sampled_from((needs.MAC, frames.BROADCAST)), ipv4s, ipv4s).map(
        lambda three: needs.arp(three[0], 2, three[1], three[2])(MARK)
    ),
    "unicast ARP": st.tuples(ipv4s, ipv4s).map(lambda pair: needs.arp(needs.MAC, 1, *pair)(MARK)),
    "own MAC, other protocols": ethertypes.map(lambda kind: needs.plain(needs.MAC, kind)(MARK)),
    "own MAC, tagged": ipv4s.map(lambda to: needs.tagged(needs.MAC, to)(MARK)),
}


@pytest.mark.parametrize("profile", SETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_profile_drops_what_it_promises_to_keep(profile: str, data: st.DataObject) -> None:
    kinds = [data.draw(made, label=name) for name, made in PROMISED.items()]
    lost = [name for name, dropped in zip(PROMISED, drops(SETS[profile], kinds), strict=True) if dropped]
    assert lost == []


@pytest.mark.parametrize("profile", SETS)
@settings(max_examples=60, deadline=None)
@given(mac=any_macs, address=ipv4s, kind=ethertypes)
def test_every_profile_drops_unicast_to_others(profile: str, mac: str, address: str, kind: int) -> None:
    made: list[Callable[[bytes], bytes]] = [
        needs.udp4(mac, address),
        needs.plain(mac, kind),
        needs.tagged(mac, address),
    ]
    kept = profile == "strict" and mac.startswith(("00:00:5e:00:01", "00:00:5e:00:02"))
    foreign = mac != needs.MAC and not int(mac[:2], 16) & 1 and not kept
    if foreign:
        assert all(drops(SETS[profile], [each(MARK) for each in made]))


@settings(max_examples=60, deadline=None)
@given(address=ipv4s, group=ipv4s)
def test_what_ip_and_strict_are_there_to_drop(address: str, group: str) -> None:
    first, second = (int(part) for part in address.split(".")[:2])
    passes = address in STATED or first >= 224 or (first, second) == (169, 254)
    if not (first >= 240 and address != "255.255.255.255"):
        assert drops(SETS["ip"], [needs.udp4(needs.MAC, address)(MARK)]) == [not passes]
    wanted = f"{224 + int(group.split('.', maxsplit=1)[0]) % 16}.{group.split('.', 1)[1]}"
    mac = needs.group_mac(wanted)
    known = {group_mac(needs.JOINED), group_mac("224.0.0.251"), group_mac("224.0.0.252")}
    kept = wanted.startswith("224.0.0.") or int(mac.replace(":", ""), 16) in known
    frame = needs.udp4(mac, wanted)(MARK)
    assert drops(SETS["ip"], [frame]) == [False]
    assert drops(SETS["strict"], [frame]) == [not kept]
    asked = needs.arp(frames.BROADCAST, 1, "192.0.2.1", address)(MARK)
    assert drops(SETS["strict"], [asked]) == [address not in STATED and address != "192.0.2.1"]


@pytest.mark.parametrize("profile", ["mac", "ip", "strict"])
def test_the_table_of_needs_without_a_kernel(profile: str) -> None:
    found = filters(profile, "192.0.2.101")
    made = [need.make(frames.marker(1, need.kind, 0)) for need in needs.NEEDS]
    lost = [need.text for need, dropped in zip(needs.NEEDS, drops(found, made), strict=True) if dropped and need.wanted]
    # IPv6 addresses are filtered only where they are stated
    assert lost == []


def test_ipv6_addresses_that_are_stated_are_complete() -> None:
    wrong = needs.udp6(needs.MAC, "2001:db8::250")(MARK)
    assert drops(filters("ip", "192.0.2.101"), [wrong]) == [False]
    assert drops(filters("ip", "192.0.2.101", "2001:db8::101"), [wrong]) == [True]


def test_the_filters_of_2015() -> None:
    if not STOCK.is_dir():
        pytest.skip(f"libvirt's own filters are not in {STOCK}")
    library = {path.stem: read_filter(path.read_text()).filter for path in STOCK.glob("*.xml")}
    found = filters("allow-ipv4", "192.0.2.101", library=library)
    kept = ["IPv4 to the guest's MAC and address", "IPv4 multicast, joined", "DHCP reply, broadcast"]
    kept += ["DHCP reply, to a new address", "IPv4 broadcast of the subnet", "ARP request for others"]
    gone = ["IPv4 to its MAC, another address", "IPv4 to a foreign MAC", "IPv6 to the guest's MAC and address", "STP"]
    made = {need.text: need.make(frames.marker(1, need.kind, 0)) for need in needs.NEEDS}
    assert drops(found, [made[text] for text in kept], library) == [False] * len(kept)
    assert drops(found, [made[text] for text in gone], library) == [True] * len(gone)


@pytest.mark.parametrize("profile", SETS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_the_filter_before_forbids_stays_forbidden(profile: str, data: st.DataObject) -> None:
    everything = Filter("old", None, "root", None, (Rule(Action.DROP, RuleDirection.IN, 1000),))
    known = tuple(Address(each, Provenance.LEASE, trusted=True) for each in STATED)  # no IPv6 rules: nobody stated them
    card = replace(CARD, identity=replace(GUEST, addresses=known), filterref=("old", ()))
    library = {"old": everything}
    composed = profile_filters(card, profile, keep=STRICT if profile == "strict" else (), library=library)
    kinds = [data.draw(made, label=name) for name, made in PROMISED.items()]
    assert all(drops(composed, kinds, library))
