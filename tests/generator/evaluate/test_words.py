"""What rules say in the words of ebtables and iptables, and what those programs would refuse."""

from __future__ import annotations

import numpy as np
import pytest

from analyzer.classify.decode import decode
from analyzer.errors import InputError, UsageError
from analyzer.model.classes import CLASS_COUNT
from generator.evaluate import program as program_module
from generator.evaluate.fields import Field, Op, Reason, Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.options import RefusedError, read_tests
from generator.evaluate.prediction import Prediction, PredictionBuilder
from generator.evaluate.prediction_document import from_document, to_document
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import implies, lint_tree
from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.protocols import Family
from tests.raw_frames import raw_frames

IN = RuleDirection.IN


def rule(action: Action, priority: int, element: str, **values: str) -> Rule:
    return Rule(action, IN, priority, Match(element, tuple(values.items())))


@pytest.mark.parametrize(
    ("family", "words", "complaint"),
    [
        (Family.EBTABLES, ("--vlan-id", "abc"), "'abc' is no number here"),
        (Family.EBTABLES, ("--vlan-id", "1_0"), "'1_0' is not between 0 and 4094"),
        (Family.EBTABLES, ("-s", "zz"), "'zz' is no MAC address"),
        (Family.EBTABLES, ("-s", "02:00:00:00:00:01/00:00:00:00:00:00"), "hides everything"),
        (Family.EBTABLES, ("-p", "IPv4", "--ip-source", "fe80::1"), "'fe80::1' is no IPv4 address"),
        (Family.EBTABLES, ("--stp-root-pri", "9:3"), "the range '9:3' ends before it begins"),
        (Family.EBTABLES, ("-p", "5ff"), "'5ff' is not between 1536 and 65535"),
        (Family.EBTABLES, ("--made-up", "1"), "unknown option '--made-up'"),
        (Family.EBTABLES, ("-s",), "unknown option '-s'"),
        (Family.IPTABLES, ("--made-up",), "unknown option '--made-up'"),
    ],
)
def test_what_the_program_would_refuse(family: Family, words: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(RefusedError, match=complaint):
        read_tests(family, words)


@pytest.mark.parametrize(
    ("words", "mask", "value"),
    [
        (("-d", "Broadcast"), 0xFFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF),
        (("-d", "multicast"), 0x0100_0000_0000, 0x0100_0000_0000),
        (("-d", "unicast"), 0x0100_0000_0000, 0),
        (("-d", "bga"), 0xFFFF_FFFF_FFFF, 0x0180_C200_0000),
    ],
)
def test_names_of_addresses(words: tuple[str, str], mask: int, value: int) -> None:
    (test,) = read_tests(Family.EBTABLES, words)
    assert (test.field, test.op, test.a, test.b) == (Field.DST, Op.EQUAL, mask, value)


@pytest.mark.parametrize(
    ("family", "words", "expected"),
    [
        (Family.EBTABLES, ("-p", "88b5"), (Field.TYPE, Op.EQUAL, 0xFFFF_FFFF_FFFF_FFFF, 0x88B5)),
        (Family.EBTABLES, ("-p", "ARP"), (Field.TYPE, Op.EQUAL, 0xFFFF_FFFF_FFFF_FFFF, 0x0806)),
        (Family.EBTABLES, ("--vlan-encap", "ARP"), (Field.ENCAP, Op.EQUAL, 0xFFFF_FFFF_FFFF_FFFF, 0x0806)),
        (Family.EBTABLES, ("--ip-source", "10.1.2.3/255.255.0.0"), (Field.SADDR, Op.EQUAL, 0xFFFF0000, 0x0A010000)),
        (Family.IPTABLES, ("--icmp-type", "255"), (Field.ICMP_TYPE, Op.RANGE_BOTH, 0, 255)),
        (Family.IPTABLES, ("--icmp-type", "8"), (Field.ICMP_TYPE, Op.RANGE_BOTH, 8, 8)),
        (Family.IPTABLES, ("--src-range", "10.0.0.1"), (Field.SADDR, Op.RANGE, 0x0A000001, 0x0A000001)),
        (Family.IPTABLES, ("--tcp-flags", "ALL", "SYN,ACK"), (Field.TCP_FLAGS, Op.EQUAL, 63, 18)),
    ],
)
def test_what_words_ask(family: Family, words: tuple[str, ...], expected: tuple[Field, Op, int, int]) -> None:
    (test,) = read_tests(family, words)
    assert (test.field, test.op, test.a, test.b) == expected


def test_a_variable_that_is_no_number_is_refused_with_its_rule() -> None:
    bad = Filter("f", entries=(rule(Action.DROP, 1, "vlan", vlanid="$V"),))
    with pytest.raises(InputError, match=r"f#1 drop in: 'x' is no number here"):
        Matcher(instantiate(bad, {}, {"V": ["x"]}))


# What an earlier rule says of a later one


def one_of(family: Family, *words: str) -> object:
    (test,) = read_tests(family, words)
    return test


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (("-d", "02:00:00:00:00:05"), ("!", "-d", "02:00:00:00:00:06"), True),
        (("-d", "02:00:00:00:00:05"), ("!", "-d", "02:00:00:00:00:05"), False),
        (("!", "-d", "02:00:00:00:00:05"), ("-d", "02:00:00:00:00:06"), False),
        (("-d", "02:00:00:00:00:05"), ("-d", "02:00:00:00:00:00/ff:ff:00:00:00:00"), True),
        (("--stp-port", "5"), ("!", "--stp-port", "6"), False),
        (("--stp-port", "5"), ("--stp-port", "1:9"), True),
    ],
)
def test_what_passes_one_test_surely_passes_another(
    narrow: tuple[str, ...],
    wide: tuple[str, ...],
    expected: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    assert implies(one_of(Family.EBTABLES, *narrow), one_of(Family.EBTABLES, *wide)) is expected  # type: ignore[arg-type]


def lints(root: Filter, library: dict[str, Filter], **values: list[str]) -> str:
    return " | ".join(finding.what for finding in lint_tree(root, library, values))


def test_two_chains_of_one_priority_are_in_no_order() -> None:
    drop = rule(Action.DROP, 1, "mac")
    library = {
        name: Filter(name, chain=chain, priority=-500, entries=(drop,))
        for name, chain in (("a", "ipv4-a"), ("b", "ipv4-b"))
    }
    root = Filter("r", entries=(FilterRef("a"), FilterRef("b")))
    assert "chains 'ipv4-a' and 'ipv4-b' have one priority: which comes first is not settled" in lints(root, library)
    library["b"] = Filter("b", chain="ipv4-b", priority=-400, entries=(drop,))
    assert "have one priority" not in lints(root, library)


def test_a_tree_that_cannot_be_installed_is_looked_at_no_further() -> None:
    chain = Filter("c", chain="mac-c", entries=(rule(Action.DROP, 1, "mac", dstmacaddr="$X"),))
    root = Filter("r", entries=(FilterRef("c"), rule(Action.DROP, 5, "mac", dstmacaddr="$X")))
    (found,) = lint_tree(root, {"c": chain}, {"X": ["zz"]})
    assert (found.effect, found.where) == (Effect.FAILS, "filter r")
    assert "'zz' is no MAC address" in found.what


# How much is sensible


def test_more_rules_than_sensible_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "RULES_LIMIT", 5)
    few = Filter("f", entries=tuple(rule(Action.DROP, number, "mac") for number in range(5)))
    assert len(instantiate(few, {}, {}).commands) == 5
    many = Filter("f", entries=(*few.entries, rule(Action.DROP, 9, "mac")))
    with pytest.raises(UsageError, match="more than 5 rules"):
        instantiate(many, {}, {})
    lists = Filter("f", entries=(rule(Action.DROP, 1, "mac", dstmacaddr="$A"),))
    with pytest.raises(UsageError, match="filter f becomes 6 rules"):
        instantiate(lists, {}, {"A": [f"02:00:00:00:00:0{number}" for number in range(6)]})


def test_more_paths_than_sensible_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_module, "VISITS_LIMIT", 10)
    library = {f"f{number}": Filter(f"f{number}", entries=(FilterRef(f"f{number + 1}"),) * 2) for number in range(4)}
    library["f4"] = Filter("f4")
    with pytest.raises(UsageError, match="along more than 10 paths"):
        instantiate(library["f0"], library, {})


# Predictions


def predicted(*rules: Rule) -> Prediction:
    builder = PredictionBuilder(instantiate(Filter("f", entries=rules), {}, {}))
    frame = bytes.fromhex("020000000005 020000000006 88b5") + bytes(46)
    builder.add(decode(raw_frames([frame])), np.zeros(1, np.uint8))
    return builder.finish()


def test_predictions_of_different_filters_are_not_added_up() -> None:
    one, other = predicted(rule(Action.DROP, 1, "mac")), predicted(rule(Action.ACCEPT, 1, "mac"))
    assert one.merge(one).frames == 2
    with pytest.raises(UsageError, match="predictions of different filters: f and f"):
        one.merge(other)


def test_a_document_of_another_schema_or_with_a_hole_is_refused() -> None:
    document = to_document(predicted(rule(Action.DROP, 1, "mac")))
    assert sum(cell.frames for row in from_document(document).counts for cell in row) == 1
    with pytest.raises(InputError, match=r"a prediction of the unknown schema 'nwscan.prediction/99'"):
        from_document({**document, "schema": "nwscan.prediction/99"})
    with pytest.raises(InputError, match="the document is no prediction"):
        from_document({**document, "classes": {}})


def test_each_reason_has_its_words_and_each_class_its_verdicts() -> None:
    assert len({reason.text for reason in Reason if reason}) == len(Reason) - 1
    found = predicted(rule(Action.DROP, 1, "mac"))
    assert [len(row) for row in found.counts] == [len(Verdict)] * CLASS_COUNT
