"""What a program drops in tcpdump's words: for simple rules, and the reason where there are no such words."""

from __future__ import annotations

import pytest

from analyzer.capture.bpf import compile_bpf
from analyzer.errors import NwscanError
from generator.evaluate.expression import Expression, expression_of
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection

MAC = 0x525400000001
OWN = "ether src 52:54:00:00:00:01"
IN, OUT, INOUT = RuleDirection.IN, RuleDirection.OUT, RuleDirection.INOUT


def rule(action: Action, direction: RuleDirection, priority: int, element: str = "mac", **values: str) -> Rule:
    return Rule(action, direction, priority, Match(element, tuple(values.items())))


def expression(*rules: Rule) -> Expression:
    found = expression_of(instantiate(Filter("f", entries=rules), {}, {}), (MAC,))
    if found.text is not None:
        compile_bpf(found.text, 128)
    return found


DROP_IN = rule(Action.DROP, IN, 900)


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ((rule(Action.DROP, IN, 1, dstmacaddr="02:00:00:00:00:05"),), "ether dst 02:00:00:00:00:05"),
        ((rule(Action.ACCEPT, IN, 1, dstmacaddr="02:00:00:00:00:05"), DROP_IN), "not ether dst 02:00:00:00:00:05"),
        ((rule(Action.DROP, IN, 1, protocolid="0x88b5"),), "ether[12:2] = 0x88b5"),
        (
            (rule(Action.DROP, IN, 1, dstmacaddr="02:aa:00:00:00:00", dstmacmask="ff:ff:00:00:00:00"),),
            "ether[0:4] & 0xffff0000 = 0x02aa0000",
        ),
        (
            (rule(Action.DROP, IN, 1, "ip", dstipaddr="192.0.2.0", dstipmask="24"),),
            "ether[12:2] = 0x0800 and greater 34 and ether[30:4] & 0xffffff00 = 0xc0000200",
        ),
        (
            (rule(Action.DROP, IN, 1, "vlan", vlanid="7"),),
            "ether[12:2] = 0x8100 and greater 18 and ether[14:2] & 0x0fff = 0x0007",
        ),
    ],
)
def test_what_comes_to_the_guest(rules: tuple[Rule, ...], text: str) -> None:
    found = expression(*rules)
    assert found.text is not None
    assert found.text.startswith(f"not {OWN} and ")
    expected = f"not {OWN} and {text}"
    assert found.text.replace(" and (ether[12:2] = 0x8100 or ether[12:2] = 0x88a8)", "") == expected


def test_both_ways() -> None:
    found = expression(rule(Action.DROP, INOUT, 1, protocolid="ipv6"))
    assert found.text == f"(not {OWN} and ether[12:2] = 0x86dd) or ({OWN} and ether[12:2] = 0x86dd)"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((), "it drops nothing"),
        ((rule(Action.ACCEPT, INOUT, 1), rule(Action.DROP, INOUT, 2)), "it drops nothing"),
        ((rule(Action.DROP, INOUT, 1),), "it drops every frame"),
        (
            (rule(Action.DROP, OUT, 1, srcmacaddr="02:00:00:00:00:05"),),
            "it drops what the guest sends under other MACs, which a file does not tell from others",
        ),
        (
            (rule(Action.DROP, IN, 1, "ip", protocol="udp", dstportstart="67"),),
            "none says exactly what f#1 drop in matches: a comparison of dport with a range",
        ),
        (
            (rule(Action.DROP, IN, 1, "tcp", dstportstart="67"),),
            "it has rules of iptables, which look at packets and not at frames",
        ),
    ],
)
def test_where_there_are_no_words(rules: tuple[Rule, ...], why: str) -> None:
    assert expression(*rules) == Expression(None, why)


def test_an_expression_nobody_could_read_is_none() -> None:
    many = [
        rule(Action.ACCEPT, IN, number, dstmacaddr=f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}")
        for number in range(300)
    ]
    found = expression(*many, DROP_IN)
    assert found.text is None
    assert "longer than" in found.why


def test_rules_that_say_the_same_are_said_once() -> None:
    try:
        found = expression(*[rule(Action.DROP, IN, number, protocolid="arp") for number in range(50)])
    except NwscanError as error:  # pragma: no cover - the message is what is wanted then
        raise AssertionError(error) from error
    assert found.text == f"not {OWN} and ether[12:2] = 0x0806"


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (
            (rule(Action.DROP, IN, 1, "ipv6", dstipaddr="2001:db8::", dstipmask="32"),),
            "ether[12:2] = 0x86dd and greater 54 and ether[38:4] = 0x20010db8",
        ),
        (
            (rule(Action.CONTINUE, IN, 1, protocolid="arp"), rule(Action.DROP, IN, 2, protocolid="arp")),
            "ether[12:2] = 0x0806",
        ),
        ((rule(Action.DROP, IN, 1, protocolid="arp"), rule(Action.ACCEPT, IN, 2)), "ether[12:2] = 0x0806"),
    ],
)
def test_what_is_said_shortly(rules: tuple[Rule, ...], text: str) -> None:
    assert expression(*rules).text == f"not {OWN} and {text}"


def test_a_sub_chain_is_said_with_what_it_returns() -> None:
    chain = Filter(
        "c",
        chain="mac-c",
        priority=-500,
        entries=(
            rule(Action.RETURN, IN, 1, dstmacaddr="02:00:00:00:00:05"),
            rule(Action.DROP, IN, 2, dstmacaddr="02:00:00:00:00:06"),
        ),
    )
    root = Filter("f", entries=(FilterRef("c"), rule(Action.DROP, IN, 500, protocolid="arp")))
    found = expression_of(instantiate(root, {"c": chain}, {}), (MAC,))
    assert found.text == (
        f"not {OWN} and ((ether dst 02:00:00:00:00:05 and ether[12:2] = 0x0806) or "
        "(not ether dst 02:00:00:00:00:05 and ether dst 02:00:00:00:00:06))"
    )
    compile_bpf(found.text, 128)


def test_a_field_without_a_fixed_place_has_no_words() -> None:
    found = expression(rule(Action.DROP, IN, 1, "stp", type="0x80"))
    assert found.text is None
    assert found.why.endswith("stp_type lies at no fixed place")


def test_without_macs_of_the_guest_all_frames_come_to_it() -> None:
    program = instantiate(Filter("f", entries=(rule(Action.DROP, IN, 1, protocolid="arp"),)), {}, {})
    assert expression_of(program, ()).text == "ether[12:2] = 0x0806"


def test_the_bit_of_groups_is_said_by_name() -> None:
    masked = rule(Action.DROP, IN, 1, dstmacaddr="01:00:00:00:00:00", dstmacmask="$MASK")
    program = instantiate(Filter("f", entries=(masked,)), {}, {"MASK": ["01:00:00:00:00:00"]})
    assert expression_of(program, (MAC,)).text == f"not {OWN} and ether multicast"
