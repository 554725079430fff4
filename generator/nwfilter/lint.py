"""What is wrong with one filter by itself: what libvirt refuses, ignores, corrects, or does otherwise than it seems.

Looks at the filter as written and as libvirt stores it (normalise.py). What takes the whole tree of references and the
variables is in generator/evaluate/tree_lint.py, which calls this for every filter of the tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Finding, Match, Rule
from generator.nwfilter.normalise import normalise
from generator.nwfilter.protocols import PROTOCOLS, Family, chain_prefix
from generator.nwfilter.values import Kind, parse_value
from generator.nwfilter.variables import is_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_OCTETS: Final = 250
"""A filter is kept as NAME.xml, and a file name has 255 octets at most; libvirt writes NAME.xml.new first."""

_NEEDS: Final = {
    "srcmacmask": "srcmacaddr",
    "dstmacmask": "dstmacaddr",
    "srcipmask": "srcipaddr",
    "dstipmask": "dstipaddr",
    "srcipto": "srcipfrom",
    "dstipto": "dstipfrom",
    "srcportend": "srcportstart",
    "dstportend": "dstportstart",
    "arpsrcipmask": "arpsrcipaddr",
    "arpdstipmask": "arpdstipaddr",
    "ipset": "ipsetflags",
    "ipsetflags": "ipset",
}
"""Attributes that say nothing without another one; libvirt leaves them out of the rule without a word."""

_MASKED: Final = (
    ("srcmacaddr", "srcmacmask"),
    ("dstmacaddr", "dstmacmask"),
    ("srcipaddr", "srcipmask"),
    ("dstipaddr", "dstipmask"),
    ("arpsrcipaddr", "arpsrcipmask"),
    ("arpdstipaddr", "arpdstipmask"),
)
_CHAIN_ELEMENTS: Final = {
    "ipv4": ("ip", "mac"),
    "ipv6": ("ipv6", "mac"),
    "arp": ("arp", "mac"),
    "rarp": ("rarp", "mac"),
    "vlan": ("vlan", "mac"),
    "stp": ("stp", "mac"),
}
_SKIPPED_HEADERS: Final = {"0", "43", "44", "51", "59", "60", "ah"}
"""Next-header values that ebt_ip6 walks over (44 for all but later fragments), so that a rule for one never matches."""

_BITS: Final = {Kind.MAC: 48, Kind.IPV4: 32, Kind.IPV6: 128}


def lint_filter(value: Filter) -> tuple[Finding, ...]:
    """Give all that is wrong with ``value`` by itself, its references not followed."""
    done = normalise(value)
    findings = [*done.findings, *_name(value)]
    for number, entry in enumerate(done.filter.entries, start=1):
        where = f"filter {value.name}, entry {number}"
        if isinstance(entry, FilterRef):
            continue
        written = value.entries[number - 1]
        findings += _rule(done.filter, entry, where)
        if isinstance(written, Rule) and written.match and _says_nothing(entry) and written.match.attributes:
            findings.append(
                Finding(Effect.MISLEADS, "nothing is left of its conditions: it matches every frame", where)
            )
    return tuple(findings)


def _name(value: Filter) -> Iterator[Finding]:
    where = f"filter {value.name}"
    if "/" in value.name or value.name in (".", ".."):
        yield Finding(Effect.REJECTED, "a filter's name is a file name: it cannot hold a slash", where)
    if len(value.name.encode()) > NAME_OCTETS:
        yield Finding(Effect.REJECTED, f"its name is longer than {NAME_OCTETS} octets", where)


def _says_nothing(rule: Rule) -> bool:
    return rule.match is not None and not any(
        name != "comment" for match in (rule.match, *rule.also) for name, _ in match.attributes
    )


def _rule(value: Filter, rule: Rule, where: str) -> Iterator[Finding]:
    if rule.match is None:
        return
    protocol = PROTOCOLS[rule.match.protocol]
    values = {name: text for match in (rule.match, *rule.also) for name, text in match.attributes}
    for what, hint in (
        *_lonely(values),
        *_host_bits(protocol.name, values),
        *_chain(value.chain, protocol.name),
        *_negation(rule),
        *_kernel_faults(protocol.name, values),
    ):
        yield Finding(Effect.MISLEADS, what, where, hint=hint)
    if protocol.family is not Family.EBTABLES:
        what = f"<{protocol.name}> acts only where bridge-nf-call-iptables is on, and libvirt does not say if it is not"
        yield Finding(Effect.MISLEADS, what, where, hint="use mac, ip, ipv6, arp, rarp, vlan or stp")
        if rule.match.protocol not in ("icmp", "icmpv6") or "type" in values:
            return
        if "code" in values:
            yield Finding(Effect.MISLEADS, "code without type is left out: the rule matches more than it says", where)


def _lonely(values: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name in values:
        base = _NEEDS.get(name) or (name.removesuffix("-hi") if name.endswith("-hi") else None)
        base = base or (name.removesuffix("-mask") if name.endswith("-mask") else None)
        if base is not None and base not in values:
            yield f"{name} without {base} is left out: the rule matches more than it says", f"add {base}"


def _host_bits(protocol: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    for name, mask_name in _MASKED:
        address, mask = values.get(name), values.get(mask_name)
        attribute, mask_attribute = PROTOCOLS[protocol].attribute(name), PROTOCOLS[protocol].attribute(mask_name)
        if address is None or mask is None or attribute is None or mask_attribute is None:
            continue
        if is_variable(address) or is_variable(mask):
            continue
        number, bits = parse_value(attribute.kind, address), parse_value(mask_attribute.kind, mask)
        if number is None or bits is None:  # pragma: no cover - normalise.py leaves no illegal value
            continue
        width = _BITS[attribute.kind]
        kept = bits.number if attribute.kind is Kind.MAC else ((1 << bits.number) - 1) << (width - bits.number)
        if number.number & ~kept & ((1 << width) - 1):
            what = f"{name}={address!r} has bits that {mask_name}={mask!r} hides"
            yield what, "ebtables clears them, libvirt's nftables backend never matches: write them as 0"


def _chain(chain: str, protocol: str) -> Iterator[tuple[str, str]]:
    prefix = chain_prefix(chain)
    if PROTOCOLS[protocol].family is not Family.EBTABLES:
        if prefix != "root":
            yield f"<{protocol}> rules do not go into chain {chain!r}: iptables knows no such chains", ""
    elif prefix in _CHAIN_ELEMENTS and protocol not in _CHAIN_ELEMENTS[prefix]:
        yield (
            f"no frame for <{protocol}> enters a chain {prefix!r}: the rule never matches",
            "put it into another chain",
        )


def _negation(rule: Rule) -> Iterator[tuple[str, str]]:
    negated: list[Match] = [match for match in (rule.match, *rule.also) if match and match.negated]
    conditions = [
        name
        for match in negated
        for name, _ in match.attributes
        if name != "comment" and name not in _NEEDS and not name.endswith(("-hi", "-mask"))
    ]
    if len(conditions) > 1:
        what = f"match='no' negates {', '.join(conditions)} one by one: all of them must differ"
        yield what, "for 'not both' accept or return what matches, then drop the rest"
    lists = [text for match in negated for _, text in match.attributes if is_variable(text) and "[" not in text]
    if lists and rule.action in (Action.DROP, Action.REJECT, Action.ACCEPT):
        what = f"match='no' with {', '.join(lists)}: with two values in the list, every frame differs from one of them"
        yield what, "accept or return each value, then drop the rest"


def _kernel_faults(protocol: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    encap = values.get("encap-protocol")
    if encap is not None and not is_variable(encap):
        value = parse_value(Kind.VLAN_PROTOCOL, encap)
        if value is not None:  # pragma: no branch - normalise.py leaves no illegal value
            meant = int(str(value.number), 16) & 0xFFFF
            what = (
                f"encap-protocol={encap!r} is handed over in decimal and read in base 16: it matches type {meant:#06x}"
            )
            yield what, "match the type in the guest, or by vlanid"
    if protocol == "ip" and "dscp" in values:
        what = f"dscp={values['dscp']!r} is compared with the whole TOS octet, of which the DSCP is the upper six bits"
        yield what, "no value of dscp can match a DSCP above 15; leave it out"
    if protocol == "ipv6" and values.get("protocol") in _SKIPPED_HEADERS:
        yield f"protocol={values['protocol']!r} is an extension header, which ebtables walks over", "it never matches"
    shifted = [name for name in values if name not in ("srcmacaddr", "srcmacmask", "comment")]
    if protocol == "stp" and shifted:
        what = f"{', '.join(shifted)}: the kernel's stp match reads each field one octet too early"
        yield what, "match STP by its address alone: <stp/>"
    masks = "arpsrcipmask" in values and "arpsrcipaddr" in values
    if protocol in ("arp", "rarp") and masks and "arpdstipaddr" in values and "arpdstipmask" not in values:
        yield "arpdstipaddr takes over arpsrcipmask, since it has no mask of its own", "add arpdstipmask='32'"
