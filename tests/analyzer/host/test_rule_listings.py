"""Listings recorded from real programs, and hostile ones, read for one tap."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.errors import InputError
from analyzer.host.rule_listings import Backend, HalfMade, KernelRule, half_made_chains, read_nft_table, read_save
from analyzer.host.rules import join_rules

LISTINGS = Path(__file__).parent / "listings"


def listing(name: str) -> str:
    return (LISTINGS / name).read_text()


def shown(rules: tuple[KernelRule, ...]) -> list[tuple[bool, str, str]]:
    return [(rule.to_guest, rule.chain, rule.text) for rule in rules]


def test_ebtables_save_of_a_tap_with_both_directions() -> None:
    assert shown(read_save(listing("ebtables_save_nft.txt"), "vnet0", "ebtables")) == [
        (False, "FORWARD", "-i vnet0 -o vnet1 -j ACCEPT"),
        (True, "POSTROUTING", "-o vnet0 -j libvirt-O-vnet0"),
        (True, "libvirt-O-vnet0", "-j O-vnet0-mac-nws"),
        (True, "O-vnet0-mac-nws", "-d 52:54:00:00:00:01 -j RETURN"),
        (True, "O-vnet0-mac-nws", "-d Multicast -j RETURN"),
        (True, "O-vnet0-mac-nws", "-j DROP"),
        (False, "PREROUTING", "-i vnet0 -j libvirt-I-vnet0"),
        (False, "libvirt-I-vnet0", "-j I-vnet0-mac"),
        (False, "libvirt-I-vnet0", "-p ARP -j I-vnet0-arp-ip"),
        (False, "libvirt-I-vnet0", "-p IPv4 --ip-proto udp --ip-sport 68 --ip-dport 67 -j ACCEPT"),
        (False, "libvirt-I-vnet0", "-p RARP -j ACCEPT"),
        (False, "libvirt-I-vnet0", "-p 802_1Q --vlan-id 5 -j ACCEPT"),
        (False, "I-vnet0-mac", "-s 52:54:00:00:00:01 -j RETURN"),
        (False, "I-vnet0-mac", "-j DROP"),
        (False, "I-vnet0-arp-ip", "-p ARP --arp-ip-src 192.0.2.101 -j RETURN"),
        (False, "I-vnet0-arp-ip", "-j DROP"),
    ]


def test_a_tap_whose_name_begins_like_another() -> None:
    text = listing("ebtables_save_nft.txt")
    assert shown(read_save(text, "vnet1", "ebtables")) == [
        (True, "FORWARD", "-i vnet0 -o vnet1 -j ACCEPT"),
        (True, "POSTROUTING", "-o vnet1 -j libvirt-O-vnet1"),
        (True, "libvirt-O-vnet1", "-j ACCEPT"),
    ]
    assert read_save(text, "vnet", "ebtables") == ()


def test_the_chains_that_libvirt_uses_while_it_builds_count_as_well() -> None:
    rules = read_save(listing("ebtables_save_nft.txt"), "vnet10", "ebtables")
    assert shown(rules) == [
        (True, "POSTROUTING", "-o vnet10 -j libvirt-P-vnet10"),
        (True, "libvirt-P-vnet10", "-d ! 52:54:00:00:00:03 -j DROP"),
    ]
    assert join_rules("vnet10", list(rules), []).present


def test_rules_of_iptables_by_physdev() -> None:
    rules = read_save(listing("iptables_save.txt"), "vnet0", "iptables")
    assert shown(rules) == [
        (True, "libvirt-out", "-m physdev --physdev-out vnet0 --physdev-is-bridged -g FO-vnet0"),
        (True, "FO-vnet0", "-p tcp -m tcp --dport 22 -j RETURN"),
        (True, "FO-vnet0", "-j DROP"),
        (False, "libvirt-host-in", "-m physdev --physdev-in vnet0 -g HI-vnet0"),
        (False, "libvirt-in", "-m physdev --physdev-in vnet0 -g FI-vnet0"),
        (False, "FI-vnet0", "-p tcp -m tcp --sport 22 -m conntrack --ctstate ESTABLISHED -j RETURN"),
    ]
    assert {rule.table for rule in rules} == {"iptables filter"}


@pytest.mark.parametrize(
    "line",
    [
        "[7:602] -A POSTROUTING -o vnet0 -j DROP",
        "-A POSTROUTING -o vnet0 -j DROP -c 7 602",
    ],
    ids=["ebtables-nft and iptables", "ebtables-legacy"],
)
def test_counters_in_either_form_with_the_ethernet_header(line: str) -> None:
    (rule,) = read_save(f"*nat\n:POSTROUTING ACCEPT\n{line}\n", "vnet0", "ebtables")
    assert (rule.text, rule.packets, rule.octets) == ("-o vnet0 -j DROP", 7, 700)


def test_without_counters_they_are_unknown_and_not_zero() -> None:
    (rule,) = read_save("*nat\n:POSTROUTING ACCEPT\n-A POSTROUTING -o vnet0 -j DROP\n", "vnet0", "ebtables")
    assert (rule.packets, rule.octets) == (None, None)


@pytest.mark.parametrize("words", ["-o ! vnet0", "! -o vnet0", "-o vnet0x", "-d 00:00:00:00:00:01", "-o"])
def test_rules_that_do_not_name_the_tap(words: str) -> None:
    assert read_save(f"*nat\n:POSTROUTING ACCEPT\n[0:0] -A POSTROUTING {words} -j DROP\n", "vnet0", "ebtables") == ()


def test_a_rule_for_all_interfaces_that_begin_so() -> None:
    text = "*nat\n:POSTROUTING ACCEPT\n[0:0] -A POSTROUTING -o vnet+ -j DROP\n"
    assert len(read_save(text, "vnet0", "ebtables")) == 1
    assert read_save(text, "tap0", "ebtables") == ()


def test_chains_that_lead_in_a_circle_are_read_once() -> None:
    text = "*nat\n[0:0] -A POSTROUTING -o vnet0 -j a\n[0:0] -A a -j b\n[0:0] -A b -j a\n"
    assert [rule.chain for rule in read_save(text, "vnet0", "ebtables")] == ["POSTROUTING", "a", "b"]


def test_rules_of_one_table_do_not_lead_into_another() -> None:
    text = "*nat\n[0:0] -A POSTROUTING -o vnet0 -j a\n*filter\n:a -\n[0:0] -A a -j DROP\n"
    assert [rule.text for rule in read_save(text, "vnet0", "ebtables")] == ["-o vnet0 -j a"]


def test_nothing_at_all() -> None:
    assert read_save("", "vnet0", "ebtables") == ()
    assert read_save("# Generated\n*nat\n:POSTROUTING ACCEPT\n# Completed\n", "vnet0", "ebtables") == ()


@pytest.mark.parametrize("line", ["rubbish", "[1:2 -A x", "[1:2] -B x", "[a:b] -A POSTROUTING"])
def test_a_line_that_is_no_rule_is_an_error_that_names_it(line: str) -> None:
    with pytest.raises(InputError) as caught:
        read_save(f"*nat\n{line}\n", "vnet0", "ebtables")
    assert caught.value.where == "ebtables-save, line 2"


def test_the_layout_of_the_nftables_backend() -> None:
    rules = read_nft_table(listing("libvirt_nwfilter_ethernet.nft.json"), "vnet0")
    assert shown(rules) == [
        (True, "postrouting", "oif vnet0 jump vnet0-in"),
        (True, "vnet0-in", "jump vnet0-mac-nws-in"),
        (True, "vnet0-in", "ether type ip jump vnet0-ipv4-in"),
        (True, "vnet0-mac-nws-in", 'ether daddr 52:54:00:00:00:01 return comment "priority=100"'),
        (True, "vnet0-mac-nws-in", 'drop comment "priority=900"'),
        (True, "vnet0-ipv4-in", 'ip daddr 192.0.2.0/24 accept comment "priority=500"'),
        (True, "vnet0-ipv4-in", 'ip protocol udp udp sport 67 udp dport 68-70 accept comment "priority=510"'),
        (True, "vnet0-ipv4-in", "vlan id 5 accept"),
        (True, "vnet0-ipv4-in", "ether saddr != { 52:54:00:00:00:01, 52:54:00:00:00:02 } drop"),
        (True, "vnet0-ipv4-in", "arp operation reply arp saddr ip 192.0.2.1 accept"),
        (False, "prerouting", "iif vnet0 jump vnet0-out"),
        (False, "vnet0-out", 'ether saddr != 52:54:00:00:00:01 drop comment "priority=500"'),
    ]
    assert {rule.table for rule in rules} == {"nft bridge libvirt_nwfilter_ethernet"}
    assert [rule.packets for rule in rules[3:6]] == [None, 0, 0]
    assert read_nft_table(listing("libvirt_nwfilter_ethernet.nft.json"), "vnet1") == ()


def test_ebtables_rules_through_nft_are_the_ones_that_ebtables_save_tells() -> None:
    saved = read_save(listing("ebtables_save_nft.txt").split("*nat")[1].join(["*nat", ""]), "vnet0", "ebtables")
    through_nft = read_nft_table(listing("ebtables_nat.nft.json"), "vnet0")
    policies = [rule for rule in through_nft if rule.text == "accept" and rule.chain.startswith(("libvirt", "I-vnet0"))]
    assert [(rule.to_guest, rule.chain) for rule in through_nft if rule not in policies] == [
        (rule.to_guest, rule.chain) for rule in saved
    ]


def nft(*rules: object, maps: object = ()) -> str:
    chain = {
        "chain": {"family": "bridge", "table": "t", "name": "post", "hook": "postrouting", "type": "filter", "prio": 0}
    }
    listed = [{"rule": {"family": "bridge", "table": "t", "chain": "post", "expr": rule}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, chain, {"chain": {"name": "c"}}, *maps, *listed]})  # type: ignore[misc]


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


def interface(right: object, op: str = "==") -> dict[str, object]:
    return match({"meta": {"key": "oifname"}}, right, op)


def vmap(*elements: object) -> dict[str, object]:
    return {"vmap": {"key": {"meta": {"key": "oif"}}, "data": {"set": elements}}}


@pytest.mark.parametrize(
    ("expression", "texts"),
    [
        ([interface("vnet0"), {"drop": None}], ["oifname vnet0 drop"]),
        ([interface({"set": ["vnet0", "vnet1"]}), {"drop": None}], ["oifname { vnet0, vnet1 } drop"]),
        ([interface("vnet0", "!="), {"drop": None}], []),
        ([interface("vnet1"), {"drop": None}], []),
        ([{"drop": None}], []),
        (
            [vmap(["vnet0", {"drop": None}])],
            ["oif vnet0 drop"],
        ),
        (
            [vmap([{"elem": {"val": "vnet0"}}, {"goto": {"target": "c"}}])],
            ["oif vnet0 goto c"],
        ),
        ([{"vmap": {"key": {"meta": {"key": "oif"}}, "data": "@gone"}}], []),
        (
            [interface("vnet0"), {"xt": {"type": "match", "name": "among"}}, {"drop": None}],
            ['oifname vnet0 xt {"type": "match", "name": "among"} drop'],
        ),
        (
            [interface("vnet0"), match({"ct": {"key": "state"}}, ["new", "established"], "in"), {"accept": None}],
            ["oifname vnet0 ct state new,established accept"],
        ),
        (
            [interface("vnet0"), match({"payload": {"base": "ll", "offset": 0, "len": 8}}, 1)],
            ['oifname vnet0 {"payload": {"base": "ll", "offset": 0, "len": 8}} 1'],
        ),
        ([interface("vnet0"), {"counter": "named"}, {"drop": None}], ["oifname vnet0 drop"]),
    ],
)  # fmt: skip
def test_nft_rules_of_other_makes(expression: object, texts: list[str]) -> None:
    assert [rule.text for rule in read_nft_table(nft(expression), "vnet0")] == texts


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "[" * 99999, '{"nftables": 1}'),
        *(
            f'{{"nftables": [{entry}]}}'
            for entry in ("[1]", '{"rule": {}}', '{"chain": 4}', '{"rule": {"expr": [{}]}}')
        ),
    ],
)
def test_an_answer_of_another_shape_is_an_error(text: str) -> None:
    with pytest.raises(InputError, match="cannot read nft's answer"):
        read_nft_table(text, "vnet0")


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_json_at_all_gets_another_error(document: object) -> None:
    for text in (json.dumps(document), json.dumps({"nftables": [document]}), nft([document])):
        try:
            read_nft_table(text, "vnet0")
        except InputError:
            continue


@given(st.text(alphabet="-A[]:*#! joi0123vnet\n\t+"))
def test_no_text_gets_another_error_from_a_saved_listing(text: str) -> None:
    try:
        read_save(text, "vnet0", "ebtables")
    except InputError:
        return


def test_which_backend_acts() -> None:
    saved = list(read_save(listing("ebtables_save_nft.txt"), "vnet0", "ebtables"))
    in_nft = list(read_nft_table(listing("libvirt_nwfilter_ethernet.nft.json"), "vnet0"))
    assert (join_rules("vnet0", saved, []).backend, join_rules("vnet0", [], in_nft).backend) == tuple(Backend)
    both = join_rules("vnet0", saved, in_nft)
    assert (both.backend, len(both.leftover)) == (Backend.NFTABLES, len(saved))
    only_an_administrators = join_rules("vnet0", saved[:1], [])
    assert (only_an_administrators.backend, only_an_administrators.present) == (None, False)
    assert len(only_an_administrators.rules) == 1


def test_chains_that_libvirt_has_half_made_are_named() -> None:
    """As a libvirtd that was killed amid a redefinition left them, beside the ones in force and somebody else's."""
    text = (
        "*nat\n:PREROUTING ACCEPT\n:J-vnet0-arp DROP\n:libvirt-J-vnet0 ACCEPT\n:libvirt-O-vnet0 ACCEPT\n"
        ":O-vnet0-mac-nwscan ACCEPT\n:P-vnet0-mac-nwscan ACCEPT\n:P-office ACCEPT\n-A J-vnet0-arp -j DROP\n"
    )
    found = half_made_chains(text)
    assert found == HalfMade(("J-vnet0-arp", "libvirt-J-vnet0", "P-vnet0-mac-nwscan"), ())
    assert found.removal == (
        "for chain in J-vnet0-arp libvirt-J-vnet0 P-vnet0-mac-nwscan; do ebtables -t nat -F $chain; done; "
        "for chain in J-vnet0-arp libvirt-J-vnet0 P-vnet0-mac-nwscan; do ebtables -t nat -X $chain; done"
    )
    assert half_made_chains(listing("ebtables_save_nft.txt")).chains == ("libvirt-P-vnet10",)


def test_rules_that_lead_to_half_made_chains_are_taken_away_first() -> None:
    """The root is renamed, its sub-chain not yet; a rule amid half-made chains goes with its own chain."""
    text = (
        ":libvirt-O-vnet0 ACCEPT\n:P-vnet0-mac-nwscan ACCEPT\n:P-vnet0-ipv4 ACCEPT\n"
        "-A libvirt-O-vnet0 -p ! IPv4 -j P-vnet0-mac-nwscan \n-A libvirt-O-vnet0 -j O-vnet0-arp\n"
        "-A P-vnet0-mac-nwscan -j P-vnet0-ipv4\n"
    )
    found = half_made_chains(text)
    assert found.references == ("libvirt-O-vnet0 -p ! IPv4 -j P-vnet0-mac-nwscan",)
    counted = text.replace("-A libvirt-O-vnet0 -p", "[7:420] -A libvirt-O-vnet0 -p")
    assert half_made_chains(counted) == found
    assert half_made_chains(text.replace("nwscan \n", "nwscan -c 7 420\n")) == found
    assert found.removal.startswith("ebtables -t nat -D libvirt-O-vnet0 -p '!' IPv4 -j P-vnet0-mac-nwscan; for chain")
