"""What libvirt makes of a filter when it stores it: values in its spelling, corrections, omissions.

Follows src/conf/nwfilter_conf.c of libvirt 9.0.0. Each difference is a finding with its effect. A value that libvirt
refuses is left out here (as its releases before 1.0 did) and named REJECTED, so that the rest can still be looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from uuid import UUID

from generator.nwfilter.model import Effect, Filter, FilterRef, Finding, Match, Rule
from generator.nwfilter.protocols import (
    CHAIN_NAME_LIMIT,
    CHAIN_PRIORITIES,
    DEFAULT_RULE_PRIORITY,
    IPSET_LOSERS,
    PRIORITY_LIMIT,
    PROTOCOLS,
    Attribute,
    chain_prefix,
)
from generator.nwfilter.values import COMMENT_OCTETS, Kind, parse_value
from generator.nwfilter.variables import is_parameter, is_variable, parse_access

_CHAIN = re.compile(r"[a-zA-Z0-9_.:-]+")
_PORTS_OF = ("6", "17", "33", "132", "tcp", "udp", "sctp", "0x6", "0x11", "0x21", "0x84")
_PORTS = ("srcportstart", "srcportend", "dstportstart", "dstportend")


@dataclass(frozen=True, slots=True)
class Normalised:
    """A filter as libvirt has it, and how that differs from how it was written."""

    filter: Filter
    findings: tuple[Finding, ...] = ()


class _Notes:
    """Collects findings about one place."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.findings: list[Finding] = []

    def note(self, effect: Effect, what: str, hint: str = "") -> None:
        self.findings.append(Finding(effect, what, self.where, hint=hint))


def normalise(value: Filter) -> Normalised:
    """Give ``value`` as libvirt stores it, with the findings on the way there."""
    notes = _Notes(f"filter {value.name}")
    entries: list[Rule | FilterRef] = []
    for number, entry in enumerate(value.entries, start=1):
        own = _Notes(f"filter {value.name}, entry {number}")
        entries.append(_rule(entry, own) if isinstance(entry, Rule) else _reference(entry, own))
        notes.findings += own.findings
    if value.extra or value.unknown:
        notes.note(Effect.IGNORED, "attributes or elements that libvirt does not know")
    priority = _chain(value, notes)
    uuid = _uuid(value.uuid, notes)
    done = replace(value, uuid=uuid, priority=priority, entries=tuple(entries), extra=(), unknown=())
    return Normalised(done, tuple(notes.findings))


def _uuid(text: str | None, notes: _Notes) -> str | None:
    if text is None:
        return None
    try:
        return str(UUID(text.strip()))
    except ValueError:
        notes.note(Effect.REJECTED, f"{text!r} is no UUID")
        return None


def _chain(value: Filter, notes: _Notes) -> int | None:
    """Give the chain's priority as it is stored: None where libvirt would not write it and it is the default."""
    if chain_prefix(value.chain) is None:
        allowed = ", ".join(prefix for prefix in CHAIN_PRIORITIES if prefix != "root")
        notes.note(Effect.REJECTED, f"chain {value.chain!r} is neither root nor begins with one of {allowed}")
    if len(value.chain) > CHAIN_NAME_LIMIT or not _CHAIN.fullmatch(value.chain):
        notes.note(Effect.REJECTED, f"chain name {value.chain!r}: at most 12 of letters, digits and _ . : -")
    if value.priority is not None and abs(value.priority) > PRIORITY_LIMIT:
        notes.note(Effect.REJECTED, f"chain priority {value.priority} is outside -1000 to 1000")
    default = replace(value, priority=None).chain_priority
    if value.priority == 0 and default:
        notes.note(
            Effect.MISLEADS,
            f"chain priority 0 is not written to disk: it becomes {default} when libvirtd starts again",
            "give any other priority",
        )
    return None if value.chain_priority == 0 == default else value.chain_priority


def _reference(ref: FilterRef, notes: _Notes) -> FilterRef:
    kept = []
    for name, value in ref.parameters:
        if is_parameter(name, value):
            kept.append((name, value))
        else:
            what = f"parameter {name!r} with value {value!r} is dropped"
            notes.note(Effect.IGNORED, what, "only letters, digits and _ are kept in names, also . and : in values")
    if ref.extra:
        notes.note(Effect.IGNORED, "attributes that libvirt does not know")
    return FilterRef(ref.filter, tuple(kept))


def _rule(rule: Rule, notes: _Notes) -> Rule:
    priority = rule.priority
    if abs(priority) > PRIORITY_LIMIT:
        notes.note(
            Effect.CORRECTED, f"priority {priority} is outside -1000 to 1000 and becomes {DEFAULT_RULE_PRIORITY}"
        )
        priority = DEFAULT_RULE_PRIORITY
    if rule.extra:
        notes.note(Effect.IGNORED, "attributes of <rule> that libvirt does not know")
    elements = [*((rule.match,) if rule.match else ()), *rule.also]
    known = [match for match in elements if match.protocol in PROTOCOLS]
    same = [match for match in known if match.protocol == known[0].protocol]
    for match in elements:
        if match not in same:
            notes.note(Effect.IGNORED, f"the element <{match.protocol}> is ignored: the rule matches more than it says")
    if not known:
        return Rule(rule.action, rule.direction, priority, None, statematch=rule.statematch)
    matches = _merge(same, notes)
    return Rule(rule.action, rule.direction, priority, matches[0], statematch=rule.statematch, also=matches[1:])


def _merge(elements: list[Match], notes: _Notes) -> tuple[Match, ...]:
    """Give one element for what is not negated and one for what is, as libvirt writes them; at least one."""
    protocol = PROTOCOLS[elements[0].protocol]
    if len({element.negated for element in elements}) < len(elements):
        notes.note(Effect.CORRECTED, f"{len(elements)} elements <{protocol.name}> are merged into one")
    values: dict[str, str] = {}
    signs: dict[str, bool] = {}
    for element in elements:
        for name, text in element.attributes:
            attribute = protocol.attribute(name)
            if attribute is None:
                what = f"<{protocol.name}> has no attribute {name!r}: the rule matches more than it says"
                notes.note(Effect.IGNORED, what)
                continue
            canonical = _value(attribute, text, notes)
            if canonical is not None:
                values[name] = canonical
                signs[name] = element.negated
        if element.negated and not element.attributes:
            notes.note(Effect.IGNORED, "match='no' without an attribute has no effect")
    _require_ports(protocol.name, values, notes)
    _lose_ipset(protocol.name, values, signs, notes)
    for name in values:
        attribute = protocol.attribute(name)
        if attribute is not None and attribute.sign_of is not None:
            _copy_sign(attribute, values, signs, notes)
    halves = [
        Match(protocol.name, tuple((name, text) for name, text in values.items() if signs[name] is negated), negated)
        for negated in (False, True)
    ]
    return tuple(half for half in halves if half.attributes) or (Match(protocol.name),)


def _value(attribute: Attribute, text: str, notes: _Notes) -> str | None:
    if is_variable(text):
        access = parse_access(text)
        if access is None:
            notes.note(Effect.REJECTED, f"{attribute.name}={text!r} is no legal use of a variable")
            return None
        return access.text
    value = parse_value(attribute.kind, text)
    if value is None:
        notes.note(Effect.REJECTED, f"{attribute.name}={text!r} has an illegal value")
        return None
    if attribute.kind is Kind.BOOLEAN and text not in ("true", "false", "yes", "no", "1", "0"):
        notes.note(Effect.CORRECTED, f"{attribute.name}={text!r} counts as false")
    if attribute.kind is Kind.COMMENT and value.text != text:
        notes.note(Effect.CORRECTED, f"the comment is cut at {COMMENT_OCTETS} octets")
    if attribute.kind is Kind.COMMENT and set(value.text) & set("\n\r\t"):
        notes.note(
            Effect.MISLEADS,
            "line breaks and tabs in the comment are written as such: they become spaces when libvirtd starts again",
            "write spaces",
        )
    return value.text


def _copy_sign(attribute: Attribute, values: dict[str, str], signs: dict[str, bool], notes: _Notes) -> None:
    origin = attribute.sign_of or ""
    sign = signs.get(origin, False) if origin in values else False
    if sign != signs[attribute.name]:
        what = f"the negation of {attribute.name} is taken from {origin}, " + (
            "which is negated" if sign else "which is not there: it is lost"
        )
        notes.note(Effect.CORRECTED, what)
        signs[attribute.name] = sign


def _require_ports(protocol: str, values: dict[str, str], notes: _Notes) -> None:
    given = values.get("protocol")
    ports = [name for name in _PORTS if name in values]
    if protocol in ("ip", "ipv6") and ports and given not in _PORTS_OF and not (given and is_variable(given)):
        what = f"{', '.join(ports)} need protocol tcp, udp, dccp or sctp"
        notes.note(Effect.REJECTED, what)
        for name in ports:
            del values[name]
    elif protocol in ("ip", "ipv6") and ports and given is not None and is_variable(given):
        notes.note(Effect.REJECTED, f"{', '.join(ports)} need a literal protocol, not a variable")


def _lose_ipset(protocol: str, values: dict[str, str], signs: dict[str, bool], notes: _Notes) -> None:
    """Do as virNWFilterRuleDefFixupIPSet: with both attributes both are lost, with the set alone ``src`` is added.

    What it adds is written to the definition on disk, and lost with the set when libvirtd reads that again.
    """
    if protocol not in IPSET_LOSERS or not {"ipset", "ipsetflags"} & values.keys():
        return
    if "ipset" in values and "ipsetflags" not in values:
        notes.note(Effect.CORRECTED, "ipset without ipsetflags gets ipsetflags='src', until libvirtd starts again")
        values["ipsetflags"], signs["ipsetflags"] = "src", False
        return
    what = f"<{protocol}> loses ipset and ipsetflags: the rule matches more than it says"
    notes.note(Effect.IGNORED, what, "use <all> for rules with an ipset")
    values.pop("ipset", None)
    del values["ipsetflags"]
