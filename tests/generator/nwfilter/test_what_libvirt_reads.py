"""What a document says and libvirt does not take from it, as it says it: read, kept where it can be, and named."""

from __future__ import annotations

import pytest

from analyzer.errors import InputError, UsageError
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.normalise import normalise
from generator.nwfilter.values import Kind, parse_value
from generator.nwfilter.variables import Access, combinations, missing, parse_access
from generator.nwfilter.xml import read_filter, read_filterref, with_filterref

RULE = "<filter name='f'>\n<rule action='drop' direction='in'{}>{}</rule>\n</filter>"


def found(text: str) -> list[tuple[Effect, str]]:
    return [(finding.effect, finding.what) for finding in read_filter(text).findings]


def of_match(*pairs: tuple[str, str], protocol: str = "mac", negated: bool = False) -> Filter:
    rule = Rule(Action.DROP, RuleDirection.IN, 500, Match(protocol, pairs, negated))
    return Filter("f", entries=(rule,))


def test_a_negation_that_is_neither_yes_nor_no_counts_as_yes() -> None:
    text = RULE.format("", "<mac match='maybe' srcmacaddr='02:00:00:00:00:01'/>")
    assert found(text) == [(Effect.IGNORED, "match='maybe' is neither yes nor no, and counts as yes")]
    assert read_filter(text).filter.rules[0].match == Match("mac", (("srcmacaddr", "02:00:00:00:00:01"),))


@pytest.mark.parametrize("inside", ["text", "<mac/>"])
def test_what_is_inside_an_element_is_ignored(inside: str) -> None:
    assert found(RULE.format("", f"<mac>{inside}</mac>")) == [
        (Effect.IGNORED, "libvirt ignores what is inside the element")
    ]


def test_a_second_element_is_merged_where_it_is_of_one_protocol_and_ignored_elsewhere() -> None:
    elements = "<ip srcipaddr='10.0.0.1'/><ip dstipaddr='10.0.0.2'/><arp opcode='1'/>"
    assert found(RULE.format("", elements)) == [
        (Effect.CORRECTED, "a second element <ip> is merged into the first one"),
        (Effect.IGNORED, "a second element <arp> is ignored, <ip> alone counts"),
    ]
    done = normalise(read_filter(RULE.format("", elements)).filter)
    assert done.filter.rules[0].match == Match("ip", (("srcipaddr", "10.0.0.1"), ("dstipaddr", "10.0.0.2")))
    assert [(finding.effect, finding.what) for finding in done.findings] == [
        (Effect.IGNORED, "the element <arp> is ignored: the rule matches more than it says"),
        (Effect.CORRECTED, "2 elements <ip> are merged into one"),
    ]


def test_a_rule_of_which_a_part_is_negated_is_how_libvirt_writes_it() -> None:
    elements = "<ip srcipaddr='10.0.0.1'/><ip match='no' dstipaddr='10.0.0.2'/>"
    text = RULE.format("", elements)
    assert found(text) == []
    rule = normalise(read_filter(text).filter).filter.rules[0]
    assert (rule.match, rule.also) == (
        Match("ip", (("srcipaddr", "10.0.0.1"),)),
        (Match("ip", (("dstipaddr", "10.0.0.2"),), negated=True),),
    )


def test_a_priority_that_is_no_number_becomes_the_default() -> None:
    text = RULE.format(" priority='soon'", "<mac/>")
    assert found(text) == [(Effect.CORRECTED, "priority 'soon' is no number and becomes 500")]
    assert read_filter(text).filter.rules[0].priority == 500


@pytest.mark.parametrize(("text", "is_on", "is_named"), [("0", False, 0), ("FALSE", False, 0), ("no", True, 1)])
def test_only_0_and_false_turn_the_matching_of_states_off(text: str, is_on: bool, is_named: int) -> None:  # noqa: FBT001 - pytest gives it
    reading = read_filter(RULE.format(f" statematch='{text}'", "<tcp/>"))
    assert reading.filter.rules[0].statematch is is_on
    named = [finding for finding in reading.findings if "counts as true" in finding.what]
    assert len(named) == is_named


def test_a_filterref_keeps_its_parameters_and_names_what_else_is_in_it() -> None:
    text = """<filter name='f'><filterref filter='x' mood='bad'>
      <parameter name='IP' value='10.0.0.1'/><parameter name='IP'/><other/></filterref></filter>"""
    reading = read_filter(text)
    assert reading.filter.entries == (FilterRef("x", (("IP", "10.0.0.1"),), (("mood", "bad"),)),)
    assert [finding.what for finding in reading.findings] == [
        "libvirt ignores this <parameter>",
        "libvirt ignores this <other>",
        "libvirt does not know the attribute 'mood'",
    ]
    stored = normalise(reading.filter)
    assert stored.filter.entries == (FilterRef("x", (("IP", "10.0.0.1"),)),)
    assert "attributes that libvirt does not know" in [finding.what for finding in stored.findings]


def test_of_two_uuids_the_first_counts() -> None:
    first, second = "b9a1c3d0-0000-4000-8000-000000000001", "b9a1c3d0-0000-4000-8000-000000000002"
    reading = read_filter(f"<filter name='f'><uuid>{first}</uuid><uuid>{second}</uuid></filter>")
    assert reading.filter.uuid == first
    assert [finding.what for finding in reading.findings] == ["a second uuid"]


def test_a_priority_without_a_chain_is_dropped_and_one_that_is_no_number_refused() -> None:
    reading = read_filter("<filter name='f' priority='-100'/>")
    assert (reading.filter.chain, reading.filter.priority) == ("root", None)
    assert "a priority without a chain" in reading.findings[0].what
    with pytest.raises(InputError, match="the chain's priority 'high' is no number"):
        read_filter("<filter name='f' chain='mac' priority='high'/>")


def test_names_of_a_namespace_are_refused() -> None:
    with pytest.raises(InputError, match="of a namespace"):
        read_filter("<filter name='f' xmlns:a='urn:x'><a:rule/></filter>")
    with pytest.raises(InputError, match="a filterref of a namespace"):
        read_filterref("<interface xmlns:a='urn:x'><a:filterref filter='f'/></interface>")


def test_an_interface_that_is_one_tag_gets_an_end_tag() -> None:
    put = with_filterref("<interface type='user' />\n", FilterRef("f"))
    assert put == "<interface type='user'><filterref filter='f'/></interface>\n"
    assert with_filterref(put, None) == "<interface type='user'></interface>\n"


@pytest.mark.parametrize(
    ("value", "effect", "words"),
    [
        (Filter("f", uuid="no-uuid"), Effect.REJECTED, "'no-uuid' is no UUID"),
        (Filter("f", extra=(("a", "b"),)), Effect.IGNORED, "attributes or elements that libvirt does not know"),
        (of_match(("srcmacaddr", "$A[")), Effect.REJECTED, "srcmacaddr='$A[' is no legal use of a variable"),
        (of_match(("srcmacaddr", "$A[@1001]")), Effect.REJECTED, "is no legal use of a variable"),
        (of_match(("gratuitous", "TRUE"), protocol="arp"), Effect.CORRECTED, "gratuitous='TRUE' counts as false"),
        (of_match(("comment", "x" * 300)), Effect.CORRECTED, "the comment is cut at 256 octets"),
        (
            of_match(("protocol", "$P"), ("dstportstart", "80"), protocol="ip"),
            Effect.REJECTED,
            "dstportstart need a literal protocol, not a variable",
        ),
        (of_match(protocol="mac", negated=True), Effect.IGNORED, "match='no' without an attribute has no effect"),
        (
            Filter("f", entries=(Rule(Action.DROP, RuleDirection.IN, extra=(("a", "b"),)),)),
            Effect.IGNORED,
            "attributes of <rule> that libvirt does not know",
        ),
        (
            of_match(("code", "1"), protocol="icmp"),
            Effect.MISLEADS,
            "code without type is left out: the rule matches more than it says",
        ),
    ],
)
def test_what_is_stored_otherwise_than_written_is_named(value: Filter, effect: Effect, words: str) -> None:
    assert any(finding.effect is effect and words in finding.what for finding in lint_filter(value))


def test_a_long_comment_is_cut_as_libvirt_cuts_it() -> None:
    rule = normalise(of_match(("comment", "x" * 300))).filter.rules[0]
    assert rule.comment == "x" * 256
    assert Rule(Action.DROP, RuleDirection.IN).comment is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.UINT32, "4294967296"),
        (Kind.MAC_PROTOCOL, "1535"),
        (Kind.MAC_PROTOCOL, "ipx"),
        (Kind.IPV4, "10.0.0.1 "),
        (Kind.IPV6, "fe80::\u0661"),
        (Kind.STATE, "NEW,OLD"),
        (Kind.TCP_FLAGS, "SYN"),
        (Kind.TCP_FLAGS, "SYN/XYZ"),
        (Kind.IPSET_FLAGS, "src,any"),
        (Kind.IPSET_FLAGS, ",".join(["src"] * 7)),
    ],
)
def test_illegal_values_are_none(kind: Kind, text: str) -> None:
    assert parse_value(kind, text) is None


@pytest.mark.parametrize(
    ("kind", "text", "written"), [(Kind.STATE, "new, NONE", "NONE"), (Kind.MAC_PROTOCOL, "2054", "arp")]
)
def test_legal_values_are_written_in_libvirts_spelling(kind: Kind, text: str, written: str) -> None:
    value = parse_value(kind, text)
    assert value is not None
    assert value.text == written


def test_elements_of_lists_are_one_value_and_make_no_further_rules() -> None:
    element, iterated = parse_access("$A[1]"), parse_access("$B[@2]")
    assert element == Access("A", 1, is_element=True)
    assert iterated is not None
    assert (element.text, iterated.text) == ("$A[1]", "$B[@2]")
    values = {"A": ["x", "y"], "B": ["p", "q"]}
    rows = list(combinations([element, iterated], values))
    assert [(row[element], row[iterated]) for row in rows] == [("y", "p"), ("y", "q")]
    assert missing([Access("A", 2, is_element=True), Access("C")], values) == ("A[2]", "C")


def test_a_rule_that_would_become_too_many_is_refused() -> None:
    uses = [Access("A", 1), Access("B", 2)]
    values = {name: [str(number) for number in range(1000)] for name in "AB"}
    with pytest.raises(UsageError, match="would become 1000000 rules"):
        next(combinations(uses, values))
