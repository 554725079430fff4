"""The XML of nwfilters and of an interface's filterref: the only door of generator to lxml.

Reading never resolves entities, never touches the network and refuses a document type declaration. It keeps what it
does not know and tells about it, with line numbers; all errors of a document are collected before it is refused.
Writing gives one canonical text for a value, in the layout of ``virsh nwfilter-dumpxml``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from lxml import etree

from analyzer.errors import InputError, UsageError
from analyzer.host.plain_xml import NotPlainError, parse_plain
from generator.nwfilter.model import Action, Effect, Filter, FilterRef, Finding, Match, Rule, RuleDirection
from generator.nwfilter.protocols import DEFAULT_RULE_PRIORITY, PROTOCOLS
from generator.nwfilter.splice import child_spans, indent_at, line_start

TEXT_LIMIT: Final = 4 * 1024 * 1024
"""Characters of XML read at most; libvirt's own limit for a definition over RPC is 4 MiB."""

DEPTH_LIMIT: Final = 64
"""Levels of elements read at most; a filter has four."""

RNG_PATH: Final = Path("/usr/share/libvirt/schemas/nwfilter.rng")
"""Libvirt's own schema; in Debian part of the package libvirt0."""

_INTEGER = re.compile(r"\s*[+-]?[0-9]{1,9}")
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;", "\n": "&#10;", "\t": "&#9;", "\r": "&#13;"}
)
_FILTER_ATTRIBUTES: Final = ("name", "chain", "priority")
_RULE_ATTRIBUTES: Final = ("action", "direction", "priority", "statematch")


@dataclass(frozen=True, slots=True)
class Reading:
    """A filter as it was read, with what is strange about its XML."""

    filter: Filter
    findings: tuple[Finding, ...] = ()


def parse_document(text: str, what: str) -> etree._Element:
    """Give the root element of ``text``; raises InputError where it is no well-formed, plain XML document."""
    if len(text) > TEXT_LIMIT:
        raise InputError(f"{what} is longer than {TEXT_LIMIT} characters")
    try:
        root, has_type = parse_plain(text.encode())
    except (NotPlainError, ValueError) as error:
        line = error.line if isinstance(error, NotPlainError) else 0
        raise InputError(f"{what} is no well-formed XML: {error}", f"line {line}" if line else "") from error
    if has_type:
        raise InputError(f"{what} has a document type declaration", hint="remove it: none is needed and none is read")
    if any(_depth(element) > DEPTH_LIMIT for element in root.iter()):
        raise InputError(f"{what} is nested deeper than {DEPTH_LIMIT} levels")
    return root


def _line(element: etree._Element) -> int | None:
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def _depth(element: etree._Element) -> int:
    return sum(1 for _ in element.iterancestors())


class _Reader:
    """Reads one document, collecting findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def find(self, effect: Effect, what: str, element: etree._Element, hint: str = "") -> None:
        where = f"<{element.tag}>"
        self.findings.append(Finding(effect, what, where, _line(element), hint))

    def unknown_attributes(self, element: etree._Element, known: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        names = sorted(set(map(str, element.attrib)) - set(known))
        for name in names:
            self.find(Effect.IGNORED, f"libvirt does not know the attribute {name!r}", element)
        return tuple((name, str(element.get(name))) for name in names)

    def match(self, element: etree._Element) -> Match:
        protocol = str(element.tag)
        attributes = tuple((str(name), str(value)) for name, value in element.attrib.items() if name != "match")
        negation = element.get("match")
        if negation not in (None, "yes", "no"):
            self.find(Effect.IGNORED, f"match={negation!r} is neither yes nor no, and counts as yes", element)
        known = PROTOCOLS.get(protocol)
        for name, _ in attributes if known else ():
            if known is not None and known.attribute(name) is None:
                self.find(
                    Effect.IGNORED,
                    f"libvirt does not know the attribute {name!r} here: the rule matches more than it says",
                    element,
                )
        if len(element) or (element.text or "").strip():
            self.find(Effect.IGNORED, "libvirt ignores what is inside the element", element)
        return Match(protocol, attributes, negation == "no")

    def rule(self, element: etree._Element) -> Rule | None:
        action, direction = element.get("action"), element.get("direction")
        if action not in list(Action):
            self.find(Effect.REJECTED, f"unknown action {action!r}" if action else "a rule without an action", element)
        if direction not in list(RuleDirection):
            what = f"unknown direction {direction!r}" if direction else "a rule without a direction"
            self.find(Effect.REJECTED, what, element)
        matches = [self.match(child) for child in _elements(element)]
        first = next((match for match in matches if match.protocol in PROTOCOLS), None)
        first = first or next(iter(matches), None)
        also = list(matches)
        if first is not None:
            also.remove(first)
        self.further(element, first, also)
        extra = self.unknown_attributes(element, _RULE_ATTRIBUTES)
        priority, statematch = self.priority(element), self.statematch(element)
        if action not in list(Action) or direction not in list(RuleDirection):
            return None
        return Rule(
            Action(action),
            RuleDirection(direction),
            priority,
            first,
            statematch=statematch,
            also=tuple(also),
            extra=extra,
        )

    def further(self, element: etree._Element, first: Match | None, also: list[Match]) -> None:
        for match in [first, *also] if first else []:
            if match is not None and match.protocol not in PROTOCOLS:
                what = f"libvirt does not know the protocol {match.protocol!r}: the rule matches more than it says"
                self.find(Effect.IGNORED, what, element)
        for match in also:
            if match.protocol in PROTOCOLS and first is not None:
                same = match.protocol == first.protocol
                if same and match.negated != first.negated:
                    continue  # how libvirt writes a rule of which a part is negated
                what = "is merged into the first one" if same else f"is ignored, <{first.protocol}> alone counts"
                effect = Effect.CORRECTED if same else Effect.IGNORED
                self.find(effect, f"a second element <{match.protocol}> {what}", element)

    def priority(self, element: etree._Element) -> int:
        text = element.get("priority")
        if text is None:
            return DEFAULT_RULE_PRIORITY
        if _INTEGER.fullmatch(text):
            return int(text)
        self.find(Effect.CORRECTED, f"priority {text!r} is no number and becomes {DEFAULT_RULE_PRIORITY}", element)
        return DEFAULT_RULE_PRIORITY

    def statematch(self, element: etree._Element) -> bool:
        text = element.get("statematch")
        if text is not None and text != "0" and text.lower() != "false":
            self.find(Effect.IGNORED, f"statematch={text!r} is neither 0 nor false, and counts as true", element)
        return text is None or (text != "0" and text.lower() != "false")

    def reference(self, element: etree._Element) -> FilterRef | None:
        name = element.get("filter")
        if name is None:
            self.find(Effect.REJECTED, "a filterref without a filter", element)
        parameters = []
        for child in _elements(element):
            key, value = child.get("name"), child.get("value")
            if child.tag != "parameter" or key is None or value is None:
                self.find(Effect.IGNORED, f"libvirt ignores this <{child.tag}>", child)
                continue
            self.unknown_attributes(child, ("name", "value"))
            parameters.append((key, value))
        extra = self.unknown_attributes(element, ("filter",))
        return None if name is None else FilterRef(name, tuple(parameters), extra)

    def document(self, root: etree._Element) -> Filter | None:
        entries: list[Rule | FilterRef | None] = []
        uuids: list[str] = []
        unknown = []
        for child in _elements(root):
            if child.tag == "rule":
                entries.append(self.rule(child))
            elif child.tag == "filterref":
                entries.append(self.reference(child))
            elif child.tag == "uuid":
                uuids.append((child.text or "").strip())
            else:
                self.find(Effect.IGNORED, f"libvirt does not know the element <{child.tag}>", child)
                unknown.append(canonical_element(child))
        if len(uuids) > 1:
            self.find(Effect.IGNORED, "a second uuid", root)
        name = root.get("name")
        if not name:
            self.find(Effect.REJECTED, "a filter without a name", root)
        chain, priority = root.get("chain") or None, self.chain_priority(root)
        if chain is None and priority is not None:
            self.find(Effect.IGNORED, "a priority without a chain: the filter's chain is root at priority 0", root)
            priority = None
        extra = self.unknown_attributes(root, _FILTER_ATTRIBUTES)
        if not name or any(entry is None for entry in entries):
            return None
        complete = tuple(entry for entry in entries if entry is not None)
        uuid = uuids[0] if uuids and uuids[0] else None
        return Filter(name, uuid, chain or "root", priority, complete, extra, tuple(unknown))

    def chain_priority(self, root: etree._Element) -> int | None:
        text = root.get("priority")
        if not text:
            return None
        if _INTEGER.fullmatch(text):
            return int(text)
        self.find(Effect.REJECTED, f"the chain's priority {text!r} is no number", root)
        return None


def _elements(parent: etree._Element) -> list[etree._Element]:
    return [child for child in parent if isinstance(child.tag, str)]


def canonical_element(element: etree._Element) -> str:
    """Give the XML of an element that nobody knows, without what surrounds it; stable when it is read again."""
    return str(etree.canonicalize(etree.tostring(element, encoding="unicode", with_tail=False), strip_text=True))


def read_filter(text: str) -> Reading:
    """Read the XML of one filter.

    Raises InputError where ``text`` is no filter that can be represented: not XML, another element, no name, a rule
    whose action or direction nobody knows. Its text names every such place.
    """
    root = parse_document(text, "the filter")
    if root.tag != "filter":
        raise InputError(f"the XML is no filter: its root element is <{root.tag}>", f"line {root.sourceline}")
    _refuse_namespaces(root)
    reader = _Reader()
    found = reader.document(root)
    wrong = [finding for finding in reader.findings if finding.effect is Effect.REJECTED]
    if found is None or wrong:
        raise InputError(
            "the filter is refused: " + "; ".join(finding.what for finding in wrong),
            ", ".join(f"line {finding.line}" for finding in wrong),
            "correct the XML; libvirt refuses it too",
        )
    return Reading(found, tuple(reader.findings))


def _refuse_namespaces(root: etree._Element) -> None:
    """Raise InputError where a name is of a namespace: libvirt compares the rest of the name alone."""
    for element in root.iter():
        names = [str(name) for name in (element.tag, *element.attrib) if isinstance(name, str)]
        named = next((name for name in names if name.startswith("{")), None)
        if named is not None:
            raise InputError(
                f"the filter has the name {named!r}, of a namespace", f"line {_line(element)}", "take the prefix away"
            )


def escape(text: str) -> str:
    """Escape ``text`` for an attribute in single quotes; raises UsageError for characters that XML cannot hold."""
    illegal = _ILLEGAL.search(text)
    if illegal:
        raise UsageError(f"XML cannot hold the character {illegal.group()!r}", f"in {text!r}")
    return text.translate(_ESCAPES)


def _attributes(pairs: tuple[tuple[str, str], ...]) -> str:
    return "".join(f" {name}='{escape(value)}'" for name, value in pairs)


def _match_lines(match: Match) -> str:
    negation = " match='no'" if match.negated else ""
    return f"    <{match.protocol}{negation}{_attributes(match.attributes)}/>\n"


def _rule_lines(rule: Rule) -> str:
    head = f"  <rule action='{rule.action}' direction='{rule.direction}' priority='{rule.priority}'"
    head += ("" if rule.statematch else " statematch='false'") + _attributes(rule.extra)
    matches = ([rule.match] if rule.match else []) + list(rule.also)
    if not matches:
        return f"{head}/>\n"
    return f"{head}>\n" + "".join(map(_match_lines, matches)) + "  </rule>\n"


def reference_lines(ref: FilterRef, indent: str) -> str:
    """Give the canonical XML of a reference, each line indented by ``indent`` and ended."""
    head = f"{indent}<filterref filter='{escape(ref.filter)}'{_attributes(ref.extra)}"
    if not ref.parameters:
        return f"{head}/>\n"
    lines = "".join(
        f"{indent}  <parameter name='{escape(name)}' value='{escape(value)}'/>\n" for name, value in ref.parameters
    )
    return f"{head}>\n{lines}{indent}</filterref>\n"


def write_filter(value: Filter) -> str:
    """Give the canonical XML of a filter: equal values, equal text; what is read back from it is the same value.

    Raises UsageError where a value holds a character that XML cannot.
    """
    priority = "" if value.priority is None else f" priority='{value.priority}'"
    head = f"<filter name='{escape(value.name)}' chain='{escape(value.chain)}'{priority}{_attributes(value.extra)}>\n"
    uuid = f"  <uuid>{escape(value.uuid)}</uuid>\n" if value.uuid else ""
    body = "".join(
        _rule_lines(entry) if isinstance(entry, Rule) else reference_lines(entry, "  ") for entry in value.entries
    )
    unknown = "".join(f"  {text}\n" for text in value.unknown)
    return f"{head}{uuid}{body}{unknown}</filter>\n"


@lru_cache(maxsize=1)
def _schema(path: Path) -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(path))


def validate_rng(text: str, path: Path = RNG_PATH) -> tuple[Finding, ...] | None:
    """Give what libvirt's own schema says against ``text``, nothing where it is valid; None: no schema is installed.

    Raises InputError where ``text`` is no XML. A schema that cannot be read counts as none.
    """
    root = parse_document(text, "the filter")
    try:
        schema = _schema(path)
    except (OSError, etree.LxmlError):
        return None
    if schema.validate(root):
        return ()
    return tuple(
        Finding(Effect.REJECTED, f"against libvirt's schema: {entry.message}", "schema", entry.line)
        for entry in schema.error_log
    )


def _interface(text: str) -> etree._Element:
    root = parse_document(text, "the interface")
    if root.tag != "interface":
        raise InputError(f"the XML is no interface: its root element is <{root.tag}>")
    for child in _elements(root):
        if str(child.tag).endswith("}filterref"):
            raise InputError(f"the interface has a filterref of a namespace: {child.tag!r}", f"line {_line(child)}")
    return root


def read_filterref(interface_xml: str) -> FilterRef | None:
    """Give the reference to a filter in an ``<interface>`` element, None where there is none.

    Raises InputError where the text is no interface or the reference names no filter.
    """
    element = _interface(interface_xml).find("filterref")
    if element is None:
        return None
    ref = _Reader().reference(element)
    if ref is None:
        raise InputError("the interface has a filterref without a filter", f"line {_line(element)}")
    return ref


def with_filterref(interface_xml: str, ref: FilterRef | None) -> str:
    """Give the ``<interface>`` element with ``ref`` as its only filterref (None: without one); all else stays as it is.

    A filterref that is there is replaced in its place; a new one goes behind the last child, indented like it. Putting
    one in and taking it out again gives the text back (``<interface/>`` with an end tag). Raises InputError where the
    text is no interface.
    """
    _interface(interface_xml)
    data = interface_xml.encode()
    spans = child_spans(data)
    old = [child for child in spans.children if child.name == "filterref"]
    for child in reversed(old[1:] if ref else old):
        data = data[: line_start(data, child.start)] + data[child.end :]
    if ref is None:
        return data.decode()
    if old:
        indent = indent_at(data, old[0].start)
        return (data[: old[0].start] + _reference_text(ref, indent) + data[old[0].end :]).decode()
    if spans.inside < 0:
        head = data.rstrip()[: -len(b"/>")].rstrip()
        tail = data[len(data.rstrip()) :]
        return (head + b">" + _reference_text(ref, None) + b"</interface>" + tail).decode()
    if not spans.children:
        return (data[: spans.inside] + _reference_text(ref, None) + data[spans.inside :]).decode()
    last = spans.children[-1]
    indent = indent_at(data, last.start)
    lead = b"" if indent is None else b"\n" + indent.encode()
    return (data[: last.end] + lead + _reference_text(ref, indent) + data[last.end :]).decode()


def _reference_text(ref: FilterRef, indent: str | None) -> bytes:
    """Give the XML of a reference to stand behind ``indent``; all on one line where that is None."""
    text = reference_lines(ref, indent or "")
    if indent is None:
        text = "".join(line.strip() for line in text.splitlines())
    return text.strip().encode()
