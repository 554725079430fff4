from __future__ import annotations

import pytest

from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.xml import read_filter

IN = RuleDirection.IN


def one(protocol: str, *pairs: tuple[str, str], negated: bool = False, chain: str = "root", **more: object) -> Filter:
    rule = Rule(Action.DROP, IN, 500, Match(protocol, pairs, negated), **more)  # type: ignore[arg-type]
    return Filter("f", chain=chain, entries=(rule,))


def said(value: Filter) -> str:
    return " | ".join(f"{finding.effect}: {finding.what}" for finding in lint_filter(value))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (one("mac", ("dstmacmask", "ff:ff:ff:00:00:00")), "misleads: dstmacmask without dstmacaddr is left out"),
        (one("mac", ("dstmacaddr", "01:02:03:04:05:06"), ("dstmacmask", "ff:00:00:00:00:00")), "has bits that"),
        (one("mac", ("dstmacmask", "01:00:00:00:00:00")), "rejected: dstmacmask='01:00:00:00:00:00' has an illegal"),
        (one("ip", ("dstipfrom", "10.0.0.1")), "ignored: <ip> has no attribute 'dstipfrom'"),
        (one("ip", ("dstipfrom", "10.0.0.1")), "nothing is left of its conditions: it matches every frame"),
        (one("ip", ("dstportstart", "80")), "rejected: dstportstart need protocol tcp, udp, dccp or sctp"),
        (one("ip", ("dscp", "46")), "compared with the whole TOS octet"),
        (one("ip", ("dstipaddr", "10.0.0.1"), chain="arp"), "no frame for <ip> enters a chain 'arp'"),
        (one("tcp", ("dscp", "2"), chain="ipv4"), "do not go into chain 'ipv4'"),
        (one("tcp", ("dscp", "2")), "acts only where bridge-nf-call-iptables is on"),
        (one("tcp", ("ipset", "a"), ("ipsetflags", "src")), "ignored: <tcp> loses ipset and ipsetflags"),
        (one("tcp", ("dstportstart", "80"), negated=True), "the negation of dstportstart is taken from srcportstart"),
        (one("tcp-ipv6", ("dstipfrom", "::1"), ("dstipto", "::2")), "rejected: dstipto='::2' has an illegal value"),
        (one("mac", ("dstmacaddr", "$MAC"), negated=True), "match='no' with $MAC"),
        (one("mac", ("dstmacaddr", "$MAC"), ("protocolid", "arp"), negated=True), "one by one"),
        (one("vlan", ("encap-protocol", "arp")), "matches type 0x2054"),
        (one("stp", ("root-priority", "8")), "one octet too early"),
        (one("ipv6", ("protocol", "ah")), "is an extension header"),
        (
            one("arp", ("arpsrcipaddr", "10.0.0.0"), ("arpsrcipmask", "24"), ("arpdstipaddr", "10.0.0.1")),
            "takes over arpsrcipmask",
        ),
        (Filter("f", entries=(Rule(Action.DROP, IN, 5000),)), "corrected: priority 5000 is outside"),
        (Filter("f", entries=(FilterRef("x", (("IP", "10.0.0.0/8"),)),)), "ignored: parameter 'IP'"),
        (Filter("a/b"), "rejected: a filter's name is a file name"),
        (Filter("a" * 300), "rejected: its name is longer than 250 octets"),
        (Filter("f", chain="foo"), "rejected: chain 'foo' is neither root"),
        (Filter("f", chain="mac-" + "x" * 12), "rejected: chain name"),
        (Filter("f", chain="root", priority=1001), "rejected: chain priority 1001"),
        (one("mac", ("comment", "a\nb")), "misleads: line breaks and tabs in the comment"),
        (Filter("f", chain="mac", priority=0), "becomes -800 when libvirtd starts again"),
    ],
)
def test_what_libvirt_does_otherwise_than_it_seems_is_named(value: Filter, words: str) -> None:
    assert words in said(value)


@pytest.mark.parametrize(
    "value",
    [
        one("mac", ("dstmacaddr", "$MAC")),
        one("mac", ("dstmacaddr", "01:00:00:00:00:00"), ("dstmacmask", "$NWSCAN_GROUPMASK"), chain="mac-nwscan"),
        one("ip", ("protocol", "udp"), ("srcportstart", "67"), ("dstportstart", "68"), chain="ipv4-x"),
        one("mac"),
        Filter("f", entries=(Rule(Action.ACCEPT, IN), FilterRef("clean-traffic", (("IP", "10.0.0.1"),)))),
    ],
)
def test_what_is_right_is_not_named(value: Filter) -> None:
    assert said(value) == ""


def test_what_is_unknown_is_kept_and_named_with_its_line() -> None:
    text = """<filter name='f' colour='red'>
  <rule action='drop' direction='in' mood='bad'>
    <frame size='9'/>
    <mac flavour='sweet'/>
  </rule>
  <metadata><a b='c'/></metadata>
</filter>"""
    reading = read_filter(text)
    assert [(finding.line, finding.effect) for finding in reading.findings] == [
        (4, Effect.IGNORED),
        (2, Effect.IGNORED),
        (2, Effect.IGNORED),
        (6, Effect.IGNORED),
        (1, Effect.IGNORED),
    ]
    rule = reading.filter.rules[0]
    assert rule.match == Match("mac", (("flavour", "sweet"),))
    assert rule.also == (Match("frame", (("size", "9"),)),)
    assert rule.extra == (("mood", "bad"),)
    assert reading.filter.extra == (("colour", "red"),)
    assert reading.filter.unknown == ('<metadata><a b="c"></a></metadata>',)
