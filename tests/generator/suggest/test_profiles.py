from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import InputError, UsageError
from analyzer.model.identity import Address, GuestIdentity, Provenance
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Filter, FilterRef
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, read_filterref, validate_rng, write_filter
from generator.suggest.profiles import (
    PARTS,
    PREFIX,
    FilterSet,
    Lack,
    filter_name,
    filter_uuid,
    interface_xml,
    mac_profile,
    own_macs,
    previous_filter,
    profile_filters,
)
from generator.suggest.suggestion import filters_to_predict, interface_variables
from tests.generator.suggest.cases import BARE, CARD, CARD_WITH_OLD, EXTRA, GUEST, INTERFACE, MAC, PARAMETERS

if TYPE_CHECKING:
    from analyzer.host.guests import GuestCard

OLD = Filter("old", "0b2a0d2e-5f7c-4f5b-b1a5-7b8d0a2f0001")
STOCK = [
    Filter(name)
    for name in ("no-mac-spoofing", "no-ip-spoofing", "no-arp-spoofing", "no-other-l2-traffic", "qemu-announce-self")
]


def commands(filter_set: FilterSet, library: dict[str, Filter] | None = None) -> list[str]:
    known = {**(library or {}), **{each.name: each for each in filter_set.filters}}
    variables = {"MAC": ("52:54:00:00:00:77",), **filter_set.reference.variables}
    return instantiate(filter_set.root, known, variables).ebtables("vnet0")


def test_becomes_the_commands_it_should() -> None:
    head = "ebtables --concurrent -t nat -A"
    assert commands(mac_profile(CARD, (EXTRA,))) == [
        f"{head} libvirt-O-vnet0 -j O-vnet0-mac-nwscan",
        f"{head} O-vnet0-mac-nwscan -d 52:54:00:00:00:01 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -d 02:00:00:5e:00:01 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -d 01:00:00:00:00:00/01:00:00:00:00:00 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -j DROP",
    ]


def test_names_and_uuids_stay() -> None:
    assert (filter_name(GUEST), filter_name(GUEST, "mac")) == ("nwscan-6f3c1b2a-0", "nwscan-6f3c1b2a-0-mac")
    assert filter_name(replace(GUEST, card=3)) == "nwscan-6f3c1b2a-3"
    assert (filter_name(BARE), filter_name(BARE, "ip4")) == ("nwscan-00000001-0", "nwscan-00000001-0-ip4")
    assert filter_name(replace(GUEST, uuid="../../etc")) == filter_name(BARE)
    assert filter_uuid(GUEST) == "e0b347c7-93f4-572d-a441-685331c53928"
    assert filter_uuid(GUEST, "mac") == "640104b1-c5fc-596e-929f-5c764d24bc33"
    guests = (GUEST, BARE, replace(GUEST, macs=(EXTRA,)))
    assert len({filter_uuid(guest, part) for guest in guests for part in ("root", *PARTS)}) == 3 * (1 + len(PARTS))


def test_the_filter_on_the_card_goes_on_acting_with_its_parameters() -> None:
    found = mac_profile(CARD_WITH_OLD, library={"old": OLD})
    assert [ref.filter for ref in found.root.references] == ["nwscan-6f3c1b2a-0-mac", "old"]
    assert found.reference == FilterRef("nwscan-6f3c1b2a-0", PARAMETERS)
    assert (found.previous, found.attached) == ("old", False)
    for text in interface_xml(found, CARD_WITH_OLD):
        assert text is not None
        assert read_filterref(text) == found.reference
        assert text.replace("nwscan-6f3c1b2a-0", "old") == INTERFACE


def test_again_on_top_of_our_own_is_the_same_filter_set() -> None:
    first = mac_profile(CARD_WITH_OLD, library={"old": OLD})
    library = {"old": OLD, **{each.name: each for each in first.filters}}
    again = mac_profile(CARD, existing=first.reference, library=library)
    assert (again.filters, again.reference, again.previous) == (first.filters, first.reference, "old")
    assert again.attached
    assert previous_filter(GUEST, first.reference, library) == FilterRef("old")


def test_a_card_that_got_another_number_keeps_its_filters() -> None:
    first = mac_profile(replace(CARD, identity=replace(GUEST, card=1)))
    library = {each.name: each for each in first.filters}
    again = mac_profile(CARD, existing=first.reference, library=library)
    assert again.filters == first.filters
    assert again.previous is None


def test_our_name_that_nobody_can_read_is_an_error() -> None:
    with pytest.raises(InputError, match="nobody says what is in it"):
        mac_profile(CARD, existing=FilterRef("nwscan-6f3c1b2a-0"))


def test_existing_none_means_no_filter() -> None:
    assert mac_profile(CARD_WITH_OLD, existing=None).reference == FilterRef("nwscan-6f3c1b2a-0")


def test_macs_that_cannot_be_own() -> None:
    with pytest.raises(UsageError, match="group address"):
        mac_profile(CARD, (0x01005E000001,))
    with pytest.raises(UsageError, match="no MAC"):
        mac_profile(replace(BARE, macs=()))
    with pytest.raises(UsageError, match="as many rules"):
        own_macs(GUEST, tuple(range(2, 802)))
    assert own_macs(GUEST, (EXTRA, MAC, EXTRA)) == (MAC, EXTRA)


@pytest.mark.parametrize("count", [0, 1, 69, 70, 699])
def test_is_valid_and_every_rule_has_a_priority_of_its_own(count: int) -> None:
    found = mac_profile(CARD_WITH_OLD, tuple(0x020000000000 + number for number in range(count)), library={"old": OLD})
    priorities = [rule.priority for rule in found.filters[0].rules]
    assert priorities == sorted(set(priorities))
    assert priorities[-1] == 900
    assert found.macs[0] == MAC
    for each in found.filters:
        text = write_filter(each)
        assert read_filter(text).filter == each
        assert validate_rng(text) in ((), None)
        assert len(each.chain) <= 12


def test_libvirt_changes_nothing_in_it() -> None:
    found = mac_profile(CARD_WITH_OLD, (EXTRA,), library={"old": OLD})
    assert [finding for each in found.filters for finding in normalise(each).findings] == []
    assert [normalise(each).filter for each in found.filters] == list(found.filters)


def test_two_guests_of_the_same_first_digits_get_names_of_their_own() -> None:
    first = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, uuid="6e777363-616e-4c61-8b00-000000000001")
    second = replace(first, macs=(0x525400000002,), uuid="6e777363-616e-4c61-8b00-000000000002")
    taken = {each.name: each for each in mac_profile(first).filters}
    names = [each.name for each in mac_profile(second, library=taken).filters]
    assert names == ["nwscan-6e777363616e4c618b00000000000002-0-mac", "nwscan-6e777363616e4c618b00000000000002-0"]
    library = {**taken, **{each.name: each for each in mac_profile(second, library=taken).filters}}
    assert [each.name for each in mac_profile(first, library=library).filters] == list(taken)
    assert [each.name for each in mac_profile(second, library=library).filters] == names


def stated(*addresses: str, source: Provenance = Provenance.LIBVIRT_XML, trusted: bool = True) -> GuestCard:
    known = tuple(Address(value, source, trusted) for value in addresses)
    return replace(CARD, identity=replace(GUEST, addresses=known))


def test_ip_becomes_the_commands_it_should() -> None:
    found = profile_filters(stated("192.0.2.20", "192.0.2.3", "2001:db8::1"), "ip", keep=("carp",))
    head = "ebtables --concurrent -t nat -A"
    ip4 = f"{head} O-vnet0-ipv4-nws -p ipv4"
    by_chain = sorted(commands(found), key=lambda line: ("libvirt" not in line, "mac-nwscan " not in line))
    assert by_chain == [
        f"{head} libvirt-O-vnet0 -j O-vnet0-mac-nwscan",
        f"{head} libvirt-O-vnet0 -p 0x0800 -j O-vnet0-ipv4-nws",
        f"{head} O-vnet0-mac-nwscan -d 52:54:00:00:00:01 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -d 00:00:5e:00:01:00/ff:ff:ff:ff:ff:00 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -d 01:00:00:00:00:00/01:00:00:00:00:00 -j RETURN",
        f"{head} O-vnet0-mac-nwscan -j DROP",
        f"{ip4} --ip-destination 192.0.2.20 -j RETURN",
        f"{ip4} --ip-destination 192.0.2.3 -j RETURN",
        f"{head} O-vnet0-ipv4-nws -d 00:00:5e:00:01:00/ff:ff:ff:ff:ff:00 -p ipv4 -j RETURN",
        f"{head} O-vnet0-ipv4-nws -d 01:00:00:00:00:00/01:00:00:00:00:00 -p ipv4 -j RETURN",
        f"{ip4} --ip-destination 224.0.0.0/4 -j RETURN",
        f"{ip4} --ip-destination 255.255.255.255 -j RETURN",
        f"{ip4} --ip-destination 169.254.0.0/16 -j RETURN",
        f"{ip4} --ip-protocol 17 --ip-source-port 67 --ip-destination-port 68 -j RETURN",
        f"{ip4} -j DROP",
    ]


PROFILE_CASES = {
    "ip": profile_filters(stated("192.0.2.20", "2001:db8::1", source=Provenance.COMMAND_LINE), "ip"),
    "strict": profile_filters(
        stated("192.0.2.20", "2001:db8::1", source=Provenance.COMMAND_LINE), "strict", keep=("mdns", "239.1.2.3", "nlb")
    ),
    "allow-ipv4": profile_filters(stated("192.0.2.20"), "allow-ipv4", library={each.name: each for each in STOCK}),
}


@pytest.mark.parametrize("profile", PROFILE_CASES)
def test_profiles_are_valid_and_libvirt_changes_nothing_in_them(profile: str) -> None:
    found = PROFILE_CASES[profile]
    assert len({each.chain for each in found.filters if each.chain != "root"}) == len(found.filters) - (
        2 if profile == "allow-ipv4" else 1
    )
    assert len({each.chain_priority for each in found.filters if each.chain != "root"}) == len(
        {each.chain for each in found.filters} - {"root"}
    )
    for each in found.filters:
        text = write_filter(each)
        assert read_filter(text).filter == each
        assert validate_rng(text) in ((), None)
        assert normalise(each).findings == ()
        assert lint_filter(each) == ()
        assert len(each.chain) <= 12
        priorities = [rule.priority for rule in each.rules]
        assert len(priorities) == len(set(priorities))


@pytest.mark.parametrize("profile", PROFILE_CASES)
def test_lint_finds_nothing_in_the_tree_of_a_profile(profile: str) -> None:
    found = PROFILE_CASES[profile]
    tree = filters_to_predict(found, {each.name: each for each in STOCK})
    variables = interface_variables(stated("192.0.2.20").identity, found)
    findings = lint_tree(tree[0], {each.name: each for each in tree}, variables)
    assert [each for each in findings if PREFIX in f"{each.where}{each.what}"] == []


def test_children_stand_before_what_refers_to_them() -> None:
    for found in PROFILE_CASES.values():
        names = [each.name for each in found.filters]
        for place, each in enumerate(found.filters):
            assert all(ref.filter in names[:place] for ref in each.references if ref.filter in names)


@pytest.mark.parametrize("profile", PROFILE_CASES)
def test_another_profile_afterwards_keeps_the_filter_that_was_there(profile: str) -> None:
    library = {"old": OLD, **{each.name: each for each in STOCK}}
    card = replace(CARD_WITH_OLD, identity=stated("192.0.2.20").identity)
    first = profile_filters(card, profile, keep=("mdns",), library=library)
    library |= {each.name: each for each in first.filters}
    for again in ("mac", "ip", "strict", "allow-ipv4"):
        found = profile_filters(card, again, existing=first.reference, library=library)
        assert (found.previous, found.attached) == ("old", True)
        assert found.root.references[-1] == FilterRef("old")


def test_only_trusted_addresses_become_rules() -> None:
    card = stated("192.0.2.20", source=Provenance.ARP_TABLE, trusted=False)
    found = profile_filters(card, "ip")
    assert (found.lacks, len(found.filters), found.addresses) == ((Lack.ADDRESSES,), 2, ())
    leased = profile_filters(stated("192.0.2.20", "2001:db8::1", source=Provenance.LEASE), "ip")
    assert [each.chain for each in leased.filters] == ["mac-nwscan", "ipv4-nws", "root"]


def test_without_groups_strict_filters_no_multicast() -> None:
    found = profile_filters(stated("192.0.2.20"), "strict")
    assert found.lacks == (Lack.GROUPS,)
    assert [each.chain for each in found.filters] == ["mac-nwscan", "ipv4-nws", "arp-nws", "root"]
    everything = profile_filters(stated("192.0.2.20"), "strict", keep=("multicast",))
    assert (everything.lacks, everything.filters) == ((), found.filters)
    card = stated("192.0.2.20")
    joined = profile_filters(replace(card, identity=replace(card.identity, groups=(0x01005E010203,))), "strict")
    assert joined.lacks == ()
    assert any("-d 01:00:5e:01:02:03 -p ipv4 -j RETURN" in line for line in commands(joined))


def test_what_cannot_be_kept_or_built() -> None:
    with pytest.raises(UsageError, match="nothing is known of the kind 'vrpp'"):
        profile_filters(CARD, keep=("vrpp",))
    with pytest.raises(UsageError, match="as many rules"):
        profile_filters(CARD, keep=[f"239.1.2.{last}" for last in range(50)])
    with pytest.raises(UsageError, match="no profile 'ipv4'"):
        profile_filters(CARD, "ipv4")
    with pytest.raises(InputError, match="no-ip-spoofing"):
        profile_filters(stated("192.0.2.20"), "allow-ipv4")
    with pytest.raises(UsageError, match="rules in one chain"):
        profile_filters(stated(*(f"192.0.{number >> 8}.{number & 255}" for number in range(900))), "ip")
