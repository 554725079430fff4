"""The compiled engine and its twin judge alike: every condition, every protocol, frames whole, cut and hostile."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import Program, instantiate
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.protocols import PROTOCOLS, Family
from tests.interpreted import load_interpreted
from tests.nwfilter_values import LAYER2, VARIABLES, every_single_condition, frame
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

IN, INOUT = RuleDirection.IN, RuleDirection.INOUT
UDP4 = bytes.fromhex("5254000000010200000000010800 4500002000000000401100000a0000010a000002 00350035000c0000 00000000")
"""A UDP datagram between the ports 53."""
FIRST_FRAGMENT = UDP4[:20] + b"\x20\0" + UDP4[22:]
ECHO6 = bytes.fromhex("525400000001 020000000001 86dd 600000000008 3a40") + bytes(15) + b"\1" + bytes(15) + b"\2"
ECHO6 += bytes.fromhex("8000000000000000")
FRAGMENT6 = bytes.fromhex("525400000001 020000000001 86dd 600000000010 2c40") + bytes(15) + b"\1" + bytes(15) + b"\2"
FRAGMENT6 += bytes.fromhex("1100000100000005 0035003500080000")


def rule(action: Action, priority: int, element: str | None = None, **values: str) -> Rule:
    return Rule(action, IN, priority, Match(element, tuple(values.items())) if element else None)


def program(*rules: Rule, library: dict[str, Filter] | None = None, refs: Sequence[str] = ()) -> Program:
    return instantiate(Filter("f", entries=(*rules, *map(FilterRef, refs))), library or {}, VARIABLES)


def judged(
    made: Program,
    frames: list[bytes],
    tag: list[int] | None = None,
    *,
    original: list[int] | None = None,
    bridge_netfilter: bool | None = None,
) -> list[tuple[int, ...]]:
    """Give verdict, rule and reason of each frame, which both forms give alike."""
    batch = decode(raw_frames(frames, tag=tag, original=original))
    to_guest = np.array([number % 5 != 4 for number in range(len(frames))])
    twin = load_interpreted("generator.evaluate.engine").Engine
    both = []
    for engine in ({}, {"engine": twin}):
        matcher = Matcher(made, bridge_netfilter=bridge_netfilter, **engine)
        found = matcher.run(batch, to_guest)
        rows = zip(found.verdict.tolist(), found.rule.tolist(), found.reason.tolist(), strict=True)
        both.append((list(rows), matcher.hits.tolist()))
    assert both[0] == both[1]
    return both[0][0]


def frames_of(seed: int, count: int) -> tuple[list[bytes], list[int], list[int]]:
    """Give frames, a third of them cut somewhere, the lengths that they had, and the tags kept beside some."""
    random = Random(seed)  # noqa: S311 - test frames
    whole = [frame(random, number) for number in range(count)]
    kept = [each[: random.randrange(90)] if random.random() < 0.3 else each for each in whole]
    tags = [random.choice((0, 0, 0, 0x8100_0005, 0x88A8_0000)) for _ in whole]
    return kept, [len(each) for each in whole], tags


def can_be_installed(one: Rule) -> bool:
    try:
        Matcher(program(one))
    except (InputError, UsageError):
        return False
    return True


def of_layer3() -> list[Rule]:
    """Give a counting rule for each attribute that iptables or ip6tables tests, and some that decide."""
    made = []
    values = {"srcipfrom": "10.0.0.1", "dstipfrom": "10.0.0.1", "srcipaddr": "10.0.0.1", "dstipaddr": "10.0.0.2"}
    for name, protocol in PROTOCOLS.items():
        if protocol.family is Family.EBTABLES:
            continue
        six = "ipv6" in name or name == "icmpv6"
        for attribute in protocol.attributes:
            value = values.get(attribute.name, "1")
            if six and attribute.name in values:
                value = "fe80::1"
            if attribute.name == "flags":
                value = "SYN/SYN,ACK"
            if attribute.name in ("type", "code", "dscp", "srcportstart", "dstportstart", "flags", *values):
                also = {"type": "8"} if attribute.name == "code" else {}
                made.append(rule(Action.CONTINUE, 1, name, **{**also, attribute.name: value}))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_every_single_condition(seed: int) -> None:
    kept, lengths, tags = frames_of(seed, 200)
    conditions = [each for each in every_single_condition() if can_be_installed(each)]
    assert len(conditions) > 500
    made = program(*conditions[seed::4])
    assert {verdict for verdict, *_ in judged(made, kept, tags, original=lengths)} == {0, 2}


@pytest.mark.parametrize("netfilter", [None, False, True])
def test_what_iptables_tests(netfilter: bool | None) -> None:  # noqa: FBT001 - pytest gives it
    kept, lengths, tags = frames_of(9, 120)
    made = program(*of_layer3(), rule(Action.DROP, 900, "udp", dstportstart="67"), rule(Action.DROP, 901, "all-ipv6"))
    found = {verdict for verdict, *_ in judged(made, kept, tags, original=lengths, bridge_netfilter=netfilter)}
    assert (Verdict.DROP in found) is (netfilter is True)


def test_ranges_of_addresses_types_and_codes() -> None:
    made = program(
        Rule(Action.DROP, INOUT, 1, Match("udp", (("srcipfrom", "10.0.0.0"), ("srcipto", "10.0.0.9")))),
        rule(Action.DROP, 2, "icmpv6", type="128", code="0"),
    )
    assert [verdict for verdict, *_ in judged(made, [UDP4, ECHO6], bridge_netfilter=True)] == [1, 1]
    other = program(
        Rule(Action.DROP, INOUT, 1, Match("udp", (("srcipfrom", "10.0.0.2"), ("srcipto", "10.0.0.9")))),
        rule(Action.DROP, 2, "icmpv6", type="128", code="1"),
    )
    assert [verdict for verdict, *_ in judged(other, [UDP4, ECHO6], bridge_netfilter=True)] == [0, 0]


def test_a_frame_without_an_ethernet_header_has_no_verdict() -> None:
    made = program(rule(Action.DROP, 1))
    assert judged(made, [b"", UDP4[:13], UDP4]) == [
        (Verdict.UNKNOWN, -1, Reason.NO_ETHERNET),
        (Verdict.UNKNOWN, -1, Reason.NO_ETHERNET),
        (Verdict.DROP, 0, 0),
    ]


def test_a_frame_that_lies_outside_of_the_buffer_has_no_verdict() -> None:
    batch = decode(raw_frames([UDP4, UDP4, UDP4]))
    batch.raw.offsets[:2] = (-1, len(batch.raw.data) + 1)
    batch.raw.captured[2] = 0xFFFF_FFFF
    made = program(rule(Action.DROP, 1, "ip", protocol="udp"))
    for engine in ({}, {"engine": load_interpreted("generator.evaluate.engine").Engine}):
        found = Matcher(made, **engine).run(batch, np.ones(3, bool))
        assert found.verdict.tolist() == [Verdict.UNKNOWN, Verdict.UNKNOWN, Verdict.DROP]


def test_columns_that_differ_in_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        Matcher(program(rule(Action.DROP, 1))).run(decode(raw_frames([UDP4])), np.ones(2, bool))


def test_a_program_without_rules_accepts_everything_and_counts_nothing() -> None:
    made = program()
    assert judged(made, [UDP4, ECHO6]) == [(Verdict.ACCEPT, -1, 0)] * 2
    assert Matcher(made).hits.shape == (0, 2)


def test_what_returns_from_a_chain_goes_on_behind_the_jump() -> None:
    chain = Filter("c", chain="ipv4-x", priority=-500, entries=(rule(Action.RETURN, 1, "ip", protocol="udp"),))
    made = program(rule(Action.DROP, 500, "mac"), library={"c": chain}, refs=["c"])
    assert [verdict for verdict, *_ in judged(made, [UDP4, ECHO6])] == [Verdict.DROP, Verdict.DROP]
    without = program(library={"c": chain}, refs=["c"])
    behind_the_jump = [(command.target, command.chain) for command in without.commands]
    assert judged(without, [UDP4]) == [(Verdict.ACCEPT, behind_the_jump.index(("RETURN", "ipv4-x")), 0)]


def test_what_may_return_from_a_chain_may_meet_the_rules_behind_it() -> None:
    """The capture kept no address: whether the chain returns the frame or accepts it at its end cannot be told."""
    chain = Filter("c", chain="ipv4-x", priority=-500, entries=(rule(Action.RETURN, 1, "ip", dstipaddr="10.0.0.2"),))
    made = program(rule(Action.DROP, 500, "mac"), library={"c": chain}, refs=["c"])
    ((verdict, _, reason),) = judged(made, [UDP4[:24]], original=[len(UDP4)])
    assert (verdict, reason) == (Verdict.UNKNOWN, Reason.CUT)
    deciding = program(rule(Action.DROP, 500, "mac"), rule(Action.DROP, -900, "ip", dstipaddr="10.0.0.2"))
    assert judged(deciding, [UDP4[:24]], original=[len(UDP4)])[0][0] == Verdict.DROP


def test_the_first_of_two_rules_that_cannot_be_told_is_named() -> None:
    made = program(
        rule(Action.DROP, 1, "ip", dstipaddr="10.0.0.2"),
        rule(Action.DROP, 2, "ip", srcipaddr="10.0.0.1"),
    )
    ((verdict, first, reason),) = judged(made, [UDP4[:24]], original=[len(UDP4)])
    assert (verdict, first, reason) == (Verdict.UNKNOWN, 0, Reason.CUT)


def test_a_tag_that_the_kernel_keeps_beside_the_frame_is_as_one_within_it() -> None:
    made = program(rule(Action.DROP, 1, "vlan", vlanid="5"), rule(Action.DROP, 2, "vlan", **{"encap-protocol": "800"}))
    within = UDP4[:12] + bytes.fromhex("81000005") + UDP4[12:]
    beside = judged(made, [UDP4, UDP4, UDP4], [0x8100_0005, 0x8100_0006, 0])
    assert beside == judged(made, [within, within[:15] + b"\6" + within[16:], UDP4])
    assert [verdict for verdict, *_ in beside] == [Verdict.DROP, Verdict.DROP, Verdict.ACCEPT]
    length = UDP4[:12] + b"\0\x20" + bytes(40)
    assert judged(made, [length], [0x8100_0006])[0][0] == Verdict.ACCEPT


def test_later_fragments_have_no_ports() -> None:
    made = program(rule(Action.DROP, 1, "ipv6", protocol="udp", dstportstart="53"))
    first, later = FRAGMENT6[:56] + b"\0\1" + FRAGMENT6[58:], FRAGMENT6[:56] + b"\0\x08" + FRAGMENT6[58:]
    assert [verdict for verdict, *_ in judged(made, [first, later])] == [Verdict.DROP, Verdict.ACCEPT]


def test_a_chain_that_accepts_what_returns_and_what_does_not_accepts() -> None:
    chain = Filter("c", chain="ipv4-x", priority=-500, entries=(rule(Action.ACCEPT, 1, "ip", dstipaddr="10.0.0.2"),))
    made = program(rule(Action.DROP, 500, "mac"), library={"c": chain}, refs=["c"])
    assert [verdict for verdict, *_ in judged(made, [UDP4, ECHO6])] == [Verdict.ACCEPT, Verdict.DROP]
    assert judged(made, [UDP4[:24]], original=[len(UDP4)])[0][0] == Verdict.ACCEPT


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"state": "NEW"}, Reason.STATE), ({"connlimit-above": "3"}, Reason.CONNLIMIT)],
)
def test_what_no_frame_tells_is_unknown_with_the_reason(values: dict[str, str], reason: Reason) -> None:
    made = program(rule(Action.DROP, 1, "udp", **values))
    ((verdict, _, why),) = judged(made, [UDP4], bridge_netfilter=True)
    assert (verdict, why) == (Verdict.UNKNOWN, reason)


def test_what_only_iptables_would_drop_is_unknown_where_nobody_knows_whether_it_sees_frames() -> None:
    made = program(rule(Action.DROP, 1, "udp"), rule(Action.DROP, 2, "all", dstipaddr="10.0.0.2"))
    ((verdict, first, reason),) = judged(made, [UDP4])
    assert (verdict, made.commands[first].origin, reason) == (Verdict.UNKNOWN, 0, Reason.BRIDGE_NETFILTER)
    perhaps = program(rule(Action.ACCEPT, 1, "udp", dstportstart="53"), rule(Action.DROP, 2, "udp"))
    ((verdict, _, reason),) = judged(perhaps, [UDP4[:34]], original=[len(UDP4)])
    assert (verdict, reason) == (Verdict.UNKNOWN, Reason.STATE)


def test_fragments_are_put_together_before_iptables_sees_them() -> None:
    made = program(rule(Action.DROP, 1, "udp"))
    ((verdict, _, reason),) = judged(made, [FIRST_FRAGMENT], bridge_netfilter=True)
    assert (verdict, reason) == (Verdict.UNKNOWN, Reason.FRAGMENT)
    assert judged(made, [FIRST_FRAGMENT], bridge_netfilter=False)[0][0] == Verdict.ACCEPT


ARP = bytes.fromhex("ffffffffffff 020000000005 0806 0001 0800 06 04 0001 020000000005 0a000001 000000000000 0a000001")
ROUTED6 = ECHO6[:20] + b"\x2b" + ECHO6[21:54] + b"\x3a\0" + bytes(6) + ECHO6[54:]
"""With a routing header in front of the echo request."""
WHOLE = (UDP4, ECHO6, FRAGMENT6, ROUTED6, ARP, bytes.fromhex("0180c2000000 020000000005 0026 424203000000") + bytes(40))


@pytest.mark.parametrize("whole", WHOLE, ids=("udp", "echo6", "fragment6", "routed6", "arp", "stp"))
def test_a_frame_that_is_cut_anywhere_is_unknown_or_judged_as_the_whole_one(whole: bytes) -> None:
    made = program(
        rule(Action.DROP, 1, "ip", protocol="udp", dstportstart="53"),
        rule(Action.DROP, 2, "ipv6", protocol="icmpv6", type="128", code="0"),
        rule(Action.DROP, 3, "ipv6", protocol="udp", srcportstart="53"),
        rule(Action.DROP, 4, "arp", arpsrcmacaddr="02:00:00:00:00:05", arpdstmacaddr="00:00:00:00:00:00"),
        rule(Action.DROP, 5, "arp", gratuitous="true"),
        rule(Action.DROP, 6, "stp", type="0", **{"root-cost": "0"}),
    )
    assert judged(made, [whole])[0][0] == Verdict.DROP
    cuts = [whole[:kept] for kept in range(14, len(whole) + 1)]
    for cut in cuts:
        ((verdict, _, reason),) = judged(made, [cut], original=[len(whole)])
        assert (verdict, reason) in ((Verdict.DROP, 0), (Verdict.UNKNOWN, Reason.CUT)), len(cut)
        judged(made, [cut])


@pytest.mark.parametrize("seed", range(6))
def test_any_octets(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - test frames
    frames = [random.randbytes(random.randrange(80)) for _ in range(40)]
    rules = [rule(Action.CONTINUE, 1, name) for name in dict.fromkeys(LAYER2)]
    judged(program(*rules, rule(Action.DROP, 2, "ip", protocol="udp")), frames, [random.choice((0, 7)) for _ in frames])
