from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Match, Rule, RuleDirection
from tests.raw_frames import raw_frames

IN, OUT, INOUT = RuleDirection.IN, RuleDirection.OUT, RuleDirection.INOUT
MAC = {"MAC": ["52:54:00:00:00:01"]}


def rule(action: Action, priority: int, protocol: str | None = None, **values: str) -> Rule:
    match = Match(protocol, tuple(values.items())) if protocol else None
    return Rule(action, IN, priority, match)


def profile() -> tuple[Filter, dict[str, Filter]]:
    child = Filter(
        "nwscan-1-mac",
        chain="mac-nwscan",
        priority=-950,
        entries=(
            rule(Action.RETURN, 100, "mac", dstmacaddr="$MAC"),
            rule(Action.RETURN, 110, "mac", dstmacaddr="01:00:00:00:00:00", dstmacmask="$NWSCAN_GROUPMASK"),
            rule(Action.DROP, 900, "mac"),
        ),
    )
    ref = FilterRef(child.name, (("NWSCAN_GROUPMASK", "01:00:00:00:00:00"),))
    return Filter("nwscan-1", entries=(ref,)), {child.name: child}


def test_the_mac_profile_becomes_four_commands() -> None:
    assert instantiate(*profile(), MAC).ebtables("vnet0") == [
        "ebtables --concurrent -t nat -A libvirt-O-vnet0 -j O-vnet0-mac-nwscan",
        "ebtables --concurrent -t nat -A O-vnet0-mac-nwscan -d 52:54:00:00:00:01 -j RETURN",
        "ebtables --concurrent -t nat -A O-vnet0-mac-nwscan -d 01:00:00:00:00:00/01:00:00:00:00:00 -j RETURN",
        "ebtables --concurrent -t nat -A O-vnet0-mac-nwscan -j DROP",
    ]


def test_the_mac_profile_drops_foreign_unicast_only() -> None:
    macs = ("525400000001", "ffffffffffff", "01005e000001", "333300000001", "091b19000000", "02aa00000050")
    frames = [bytes.fromhex(mac + "02aa0000000188b5") + bytes(46) for mac in macs]
    tagged = [frame[:12] + bytes.fromhex("81000005") + frame[12:] for frame in frames]
    matcher = Matcher(instantiate(*profile(), MAC))
    verdicts = matcher.run(decode(raw_frames([*frames, *tagged])), np.ones(12, bool))
    assert verdicts.verdict.tolist() == [0, 0, 0, 0, 0, 1] * 2
    assert verdicts.rule.tolist() == [1, 2, 2, 2, 2, 3] * 2
    outwards = matcher.run(decode(raw_frames(frames)), np.zeros(6, bool))
    assert outwards.verdict.tolist() == [Verdict.ACCEPT] * 6
    assert outwards.rule.tolist() == [-1] * 6


def test_a_parameter_of_the_interface_overrides_that_of_the_reference() -> None:
    program = instantiate(*profile(), MAC | {"NWSCAN_GROUPMASK": ["ff:00:00:00:00:00"]})
    assert "01:00:00:00:00:00/ff:00:00:00:00:00" in program.ebtables("t")[2]


def test_jumps_stand_among_the_root_rules_by_priority() -> None:
    child = Filter("c", chain="arp-x", priority=-300, entries=(rule(Action.DROP, -900),))
    root = Filter("r", entries=(rule(Action.ACCEPT, -299, "mac"), FilterRef("c"), rule(Action.ACCEPT, -301)))
    program = instantiate(root, {"c": child}, {})
    assert [(command.chain, command.target) for command in program.commands] == [
        ("root", "ACCEPT"),
        ("root", "arp-x"),
        ("root", "ACCEPT"),
        ("arp-x", "DROP"),
    ]
    assert program.origins[-1].priority == -300


@pytest.mark.parametrize(
    ("root", "library", "error", "words"),
    [
        (Filter("r", entries=(FilterRef("x"),)), {}, InputError, "referenced filter 'x' is missing"),
        (Filter("r", entries=(FilterRef("r"),)), {"r": Filter("r", entries=(FilterRef("r"),))}, InputError, "loop"),
        (Filter("r", entries=(rule(Action.DROP, 1, "mac", dstmacaddr="$NO"),)), {}, InputError, "lacks variables: NO"),
        (
            Filter("r", entries=(Rule(Action.DROP, INOUT, 1, Match("stp", (("srcmacaddr", "$MAC"),))),)),
            {},
            UsageError,
            "cannot look in both directions",
        ),
    ],
)
def test_what_cannot_be_instantiated_says_why(
    root: Filter, library: dict[str, Filter], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        instantiate(root, library, MAC)


def test_lists_of_one_iterator_need_one_length() -> None:
    both = rule(Action.DROP, 1, "mac", srcmacaddr="$A", dstmacaddr="$B")
    values = {"A": ["02:00:00:00:00:01"], "B": ["02:00:00:00:00:01", "02:00:00:00:00:02"]}
    with pytest.raises(UsageError, match="differ in length"):
        instantiate(Filter("r", entries=(both,)), {}, values)
    apart = rule(Action.DROP, 1, "mac", srcmacaddr="$A[@1]", dstmacaddr="$B[@2]")
    assert len(instantiate(Filter("r", entries=(apart,)), {}, values).commands) == 2


def test_a_value_that_ebtables_refuses_is_refused() -> None:
    bad = Filter("r", entries=(rule(Action.DROP, 1, "mac", dstmacaddr="$X"),))
    with pytest.raises(InputError, match="'zz' is no MAC address"):
        Matcher(instantiate(bad, {}, {"X": ["zz"]}))


def test_connection_states_are_unknown_with_the_reason() -> None:
    udp = bytes.fromhex("5254000000010200000000010800450000200000000040110000") + bytes(24)
    accept = Rule(Action.ACCEPT, IN, 1, Match("udp"))
    drop = Rule(Action.DROP, IN, 2, Match("all"))
    program = instantiate(Filter("r", entries=(accept, drop)), {}, {})
    batch = decode(raw_frames([udp]))
    verdicts = Matcher(program, bridge_netfilter=True).run(batch, np.ones(1, bool))
    assert (verdicts.verdict[0], verdicts.reason[0]) == (Verdict.UNKNOWN, Reason.STATE)
    off = Matcher(program, bridge_netfilter=False).run(batch, np.ones(1, bool))
    assert off.verdict[0] == Verdict.ACCEPT
    only = instantiate(Filter("r", entries=(drop,)), {}, {})
    unknown = Matcher(only).run(batch, np.ones(1, bool))
    assert (unknown.verdict[0], unknown.reason[0]) == (Verdict.UNKNOWN, Reason.BRIDGE_NETFILTER)


def test_rules_that_never_act_are_found() -> None:
    root = Filter(
        "r",
        entries=(
            rule(Action.ACCEPT, 10, "ip", dstipaddr="10.0.0.0", dstipmask="8"),
            rule(Action.DROP, 20, "ip", dstipaddr="10.1.0.0", dstipmask="16"),
            rule(Action.DROP, 30, "mac"),
            FilterRef("c"),
        ),
    )
    child = Filter("c", chain="arp-x", priority=100, entries=(rule(Action.DROP, 100),))
    found = [finding for finding in lint_tree(root, {"c": child}, {}) if finding.effect is Effect.UNREACHABLE]
    assert [finding.where for finding in found] == ["r#2 drop in", "chain arp-x", "c#1 drop in"]


def test_the_profile_has_nothing_to_lint() -> None:
    assert lint_tree(*profile(), MAC) == ()
    assert lint_tree(*profile()) == ()


def test_trees_that_cannot_work_are_found_without_variables() -> None:
    root = Filter("r", entries=(FilterRef("x"), FilterRef("c")))
    library = {"r": root, "c": Filter("c", entries=(FilterRef("r"),))}
    found = " ".join(finding.what for finding in lint_tree(root, library))
    assert "'x' is missing" in found
    assert "in a loop" in found


def test_a_sub_chain_that_ends_openly_is_found() -> None:
    child = Filter("c", chain="ipv4-x", priority=-900, entries=(rule(Action.DROP, 1, "ip", dstipaddr="10.0.0.1"),))
    found = [finding.what for finding in lint_tree(Filter("r", entries=(FilterRef("c"),)), {"c": child}, {})]
    assert found == ["a frame to the guest that no rule of chain 'ipv4-x' decides is accepted at its end"]


def test_a_last_rule_for_all_that_comes_in_closes_a_sub_chain() -> None:
    rules = (rule(Action.RETURN, 1, "ip", dstipaddr="10.0.0.1"), rule(Action.DROP, 2, "ip"))
    child = Filter("c", chain="ipv4-x", priority=-900, entries=rules)
    assert lint_tree(Filter("r", entries=(FilterRef("c"),)), {"c": child}, {}) == ()
    other = replace(child, entries=(*rules[:1], rule(Action.DROP, 2, "arp")))
    assert len(lint_tree(Filter("r", entries=(FilterRef("c"),)), {"c": other}, {})) > 0


@pytest.mark.parametrize(
    ("entry", "variables", "words"),
    [
        (rule(Action.DROP, 1, "ip", dstipaddr="$IP"), {}, "lacks variables: IP"),
        (rule(Action.DROP, 1, "ip", dstipaddr="$IP[2]"), {"IP": ["10.0.0.1"]}, "lacks variables: IP[2]"),
        (
            rule(Action.DROP, 1, "ip", dstipaddr="$A", srcipaddr="$B"),
            {"A": ["10.0.0.1", "10.0.0.2"], "B": ["10.0.0.1"]},
            "differ in length: B has 1, A has 2",
        ),
    ],
)
def test_parameters_that_are_missing_or_lists_of_unequal_length_are_found(
    entry: Rule, variables: dict[str, list[str]], words: str
) -> None:
    child = Filter("c", chain="ipv4-x", priority=-900, entries=(entry, rule(Action.RETURN, 2)))
    found = lint_tree(Filter("r", entries=(FilterRef("c"),)), {"c": child}, variables)
    assert [each.effect for each in found] == [Effect.FAILS]
    assert words in found[0].what
