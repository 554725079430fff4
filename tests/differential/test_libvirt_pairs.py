"""Our reading, correcting and instantiating of filters, against the pairs in libvirt's own tests."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from generator.evaluate.program import instantiate
from generator.nwfilter.model import Effect, Filter, Match, Rule
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, validate_rng, write_filter
from tests.shared_data import SHARED_DATA, shared_data

PAIRS = SHARED_DATA / "libvirt-nwfilter"
STALE = {
    "comment-test-invalid.xml": {"::10.1.2.3": "::ffff:10.1.2.3"},
    "hex-data-test-invalid.xml": {"::10.1.2.3": "::ffff:10.1.2.3"},
    "ipv6-test-invalid.xml": {"::10.1.2.3": "::ffff:10.1.2.3"},
}
"""Texts in an ``out`` that libvirt does not print: its tests do not look at the out of an input that is refused."""

CORRECTIONS = {
    "mac-test-invalid.xml": ["protocolid='15' has an illegal value"],
    "arp-test-invalid.xml": [
        "hwtype='65536' has an illegal value",
        "protocoltype='65536' has an illegal value",
        "opcode='65536' has an illegal value",
    ],
    "rarp-test-invalid.xml": [
        "hwtype='65536' has an illegal value",
        "protocoltype='65536' has an illegal value",
        "opcode='65536' has an illegal value",
    ],
    "chain_prefixtest1-invalid.xml": [
        "hwtype='65536' has an illegal value",
        "protocoltype='65536' has an illegal value",
        "opcode='65536' has an illegal value",
    ],
    "vlan-test-invalid.xml": ["vlanid='0xffff' has an illegal value"],
    "ip-test-invalid.xml": [
        "dscp='64' has an illegal value",
        "srcipmask='255.255.255.127' has an illegal value",
        "protocol='256' has an illegal value",
        "dscp='64' has an illegal value",
    ],
    "ipv6-test-invalid.xml": ["dstportend='65536' has an illegal value"],
    "icmp-test-invalid.xml": ["type='256' has an illegal value", "code='256' has an illegal value"],
    "icmpv6-test-invalid.xml": [
        "srcipmask='129' has an illegal value",
        "type='256' has an illegal value",
        "code='256' has an illegal value",
    ],
    "comment-test-invalid.xml": ["dscp='0x40' has an illegal value"],
    "hex-data-test-invalid.xml": ["dscp='0x40' has an illegal value"],
    **{
        f"{name}-ipv6-test-invalid.xml": ["srcipmask='129' has an illegal value"]
        for name in ("ah", "all", "esp", "udplite")
    },
    **{f"{name}-test-invalid.xml": ["dstportend='65536' has an illegal value"] for name in ("sctp", "tcp", "udp")},
    **{
        f"{name}-ipv6-test-invalid.xml": [
            "srcipmask='129' has an illegal value",
            "dstportend='65536' has an illegal value",
        ]
        for name in ("sctp", "tcp")
    },
    "udp-ipv6-test-invalid.xml": [
        "srcipaddr='a:b:c' has an illegal value",
        "srcipmask='129' has an illegal value",
        "dstportend='65536' has an illegal value",
    ],
}
"""What libvirt refuses in each input, word for word as we say it; all other pairs need no correction."""


def names(folder: str, suffix: str) -> list[str]:
    return sorted(path.name for path in (PAIRS / folder).glob(f"*{suffix}")) or ["absent"]


def corrected(name: str, filter_: Filter) -> Filter:
    def mend(match: Match) -> Match:
        pairs = tuple((key, STALE.get(name, {}).get(value, value)) for key, value in match.attributes)
        return Match(match.protocol, pairs, match.negated)

    entries = tuple(
        Rule(e.action, e.direction, e.priority, mend(e.match), statematch=e.statematch)
        if isinstance(e, Rule) and e.match
        else e
        for e in filter_.entries
    )
    return Filter(filter_.name, filter_.uuid, filter_.chain, filter_.priority, entries)


@pytest.mark.parametrize("name", names("xml2xml/in", ".xml"))
def test_what_libvirt_makes_of_a_filter(name: str) -> None:
    given = shared_data("libvirt-nwfilter", "xml2xml", "in", name).read_text()
    wanted = shared_data("libvirt-nwfilter", "xml2xml", "out", name.replace("-invalid", "")).read_text()
    done = normalise(read_filter(given).filter)
    refused = [finding.what for finding in done.findings if finding.effect is Effect.REJECTED]
    assert refused == CORRECTIONS.get(name, [])
    assert len(refused) == len(done.findings)
    assert done.filter == corrected(name, read_filter(wanted).filter)
    assert read_filter(write_filter(done.filter)).filter == done.filter
    assert not normalise(done.filter).findings


@pytest.mark.parametrize("name", names("xml2xml/out", ".xml"))
def test_what_libvirt_writes_we_write(name: str) -> None:
    text = shared_data("libvirt-nwfilter", "xml2xml", "out", name).read_text()
    ours = write_filter(read_filter(text).filter)
    if name != "ipv6-test.xml":  # part of this one was made by hand: other blanks, and no priorities
        assert ours == text
    assert read_filter(ours).filter == read_filter(text).filter
    assert validate_rng(ours) in ((), None)


VARIABLES = {
    "A": ["1.1.1.1", "2.2.2.2", "3.3.3.3"],
    "B": ["80", "90", "80"],
    "C": ["1080", "1090", "1100", "1110"],
}
"""The variables of libvirt's own test (tests/nwfilterxml2firewalltest.c), read off the commands that came out of it."""


def stated_commands(text: str) -> list[list[str]]:
    """Give the rules of an .args file; what makes and links chains is the same for every filter, and left out."""
    lines = [shlex.split(line) for line in text.replace("\\\n", "").splitlines()]
    return [line for line in lines if "-A" in line and "PREROUTING" not in line]


@pytest.mark.parametrize("name", names("firewall", "-linux.args"))
def test_the_commands_of_a_filter(name: str) -> None:
    wanted = stated_commands(shared_data("libvirt-nwfilter", "firewall", name).read_text())
    given = shared_data("libvirt-nwfilter", "firewall", name.replace("-linux.args", ".xml")).read_text()
    program = instantiate(read_filter(given).filter, {}, VARIABLES)
    assert [shlex.split(line) for line in program.lines("vnet0", temporary=True, jumps=False)] == wanted


def test_the_stock_filters_instantiate_and_are_valid() -> None:
    folder = Path("/etc/libvirt/nwfilter")
    library = {}
    for path in sorted(folder.glob("*.xml")):
        reading = read_filter(path.read_text())
        assert reading.findings == ()
        library[reading.filter.name] = reading.filter
        assert validate_rng(write_filter(reading.filter)) in ((), None)
    if not library:
        pytest.skip("libvirt's stock filters are not installed (libvirt-daemon-config-nwfilter)")
    values = {"MAC": ["52:54:00:00:00:01"], "IP": ["192.0.2.20"], "IPV6": ["2001:db8::20"]}
    values |= {"DHCPSERVER": ["192.0.2.1"], "GATEWAY_MAC": ["52:54:00:00:00:fe"]}
    for stock in library.values():
        if stock.name.startswith("nwscan-"):
            continue
        assert instantiate(stock, library, values).commands, stock.name
