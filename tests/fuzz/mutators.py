"""How documents are changed: in a place of their structure, and one time in three anyhow, as libFuzzer does it.

XML and JSON of which some octets change are mostly refused at once. Whoever looks behind the parsers has to change what
the documents say.
"""

from __future__ import annotations

import copy
import json
import random
from typing import TYPE_CHECKING, Any, Final

import atheris
from lxml import etree

from generator.nwfilter.model import Action, RuleDirection
from generator.nwfilter.protocols import PROTOCOLS
from tests.hostile.test_reports import VALUES
from tests.nwfilter_values import CHAINS, EVERY_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable

_ANYHOW: Final = 3
_DEEP: Final = 0.8
_TAGS: Final = (*PROTOCOLS, "rule", "filterref", "parameter", "uuid", "interface", "keep", "mac", "x")
_NAMES: Final = (
    *sorted({attribute.name for protocol in PROTOCOLS.values() for attribute in protocol.attributes}),
    *("action", "direction", "priority", "statematch", "match", "chain", "filter", "name", "value", "xmlns"),
)
_TEXTS: Final = (
    *EVERY_VALUE, *CHAINS, *Action, *RuleDirection, "yes", "no", "root", "-1000", "1000", "0", "99999999999", "-1", "",
    "$MAC", "$IP[@1]", "$IP[1]", "$NOBODY", "$", "0x", "::ffff:1.2.3.4", "\u202e", "</interface>", "'\"&<>", "\t\n",
    "x" * 300,
)  # fmt: skip


def mutate_xml(octets: bytes, most: int, seed: int) -> bytes:
    """Change XML up to a NUL in a place of its tree, or what is behind it."""
    written, nul, rest = octets.partition(b"\0")
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be unforeseen
    if draw.randrange(_ANYHOW) == 0:
        return _anyhow(octets, most)
    if nul and draw.random() < 1 / 2:
        return written + nul + _anyhow(rest, max(1, most - len(written) - 1))
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    root = etree.fromstring(written, parser) if written.strip() else None
    if root is None:
        root = etree.Element("filter", name="f")
    try:
        for _ in range(draw.randint(1, 3)):
            _change(draw.choice([one for one in root.iter() if isinstance(one.tag, str)]), draw)
        whole: bytes = etree.tostring(root, encoding="utf-8", xml_declaration=False)
    except (etree.SerialisationError, ValueError):  # what was read though broken may be nothing that can be written
        return _anyhow(octets, most)
    return (whole + nul + rest)[:most]


def _anyhow(octets: bytes, most: int) -> bytes:
    changed: bytes = atheris.Mutate(octets, most)
    return changed


def _change(element: etree._Element, draw: random.Random) -> None:
    """Change an attribute, or put, copy, move or take away an element."""
    parent, kind = element.getparent(), draw.randrange(8)
    if kind <= 2:
        name = draw.choice(sorted(map(str, element.attrib)) or _NAMES) if draw.random() < _DEEP else draw.choice(_NAMES)
        element.set(name, draw.choice(_TEXTS))
    elif kind == 3:
        for name in draw.sample(list(element.attrib), min(1, len(element.attrib))):
            del element.attrib[name]
    elif kind == 4:
        element.insert(draw.randint(0, len(element)), etree.Element(draw.choice(_TAGS)))
    elif kind == 5 and parent is not None:
        parent.insert(draw.randint(0, len(parent)), copy.deepcopy(element))
    elif kind == 6 and parent is not None:
        parent.remove(element)
    else:
        element.text = draw.choice(_TEXTS)


def mutate_json(octets: bytes, most: int, seed: int) -> bytes:
    """Change a value in one of the documents, which stand a line each."""
    draw = random.Random(seed)  # noqa: S311
    lines = octets.splitlines(keepends=True)
    if draw.randrange(_ANYHOW) == 0 or not lines:
        return _anyhow(octets, most)
    whole = octets.lstrip().startswith(b"{\n")  # indented, for people
    number = draw.randrange(len(lines))
    try:
        document = json.loads(octets if whole else lines[number])
    except (ValueError, RecursionError):
        return _anyhow(octets, most)
    for _ in range(draw.randint(1, 2)):
        _replace(document, draw)
    written = json.dumps(document, ensure_ascii=draw.random() < 1 / 2).encode("utf-8", "surrogatepass")
    if whole:
        return written[:most]
    lines[number] = written + b"\n"
    if draw.random() < 1 / 8:
        lines.insert(number, written + b"\n")
    return b"".join(lines)[:most]


def _replace(node: Any, draw: random.Random) -> None:  # noqa: ANN401 - any JSON value
    """Put another value into a place of a document, copy an item, or take one away."""
    while isinstance(node, dict | list) and node:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and draw.random() < _DEEP:
            node = node[key]
            continue
        match draw.randrange(8):
            case 0:
                del node[key]
            case 1 if isinstance(node, list):
                node.insert(key, copy.deepcopy(node[draw.randrange(len(node))]))
            case 2 | 3 if isinstance(node[key], int):
                node[key] = draw.choice((node[key] + 1, node[key] - 1, 1 << draw.randrange(66), -node[key]))
            case _:
                node[key] = copy.deepcopy(draw.choice(VALUES))
        return


MUTATORS: Final[dict[str, Callable[[bytes, int, int], bytes]]] = {
    "filters": mutate_xml,
    "cards": mutate_xml,
    "evaluator": mutate_xml,
    "documents": mutate_json,
    "journals": mutate_json,
}
"""Of the targets that take documents; the others are changed as libFuzzer does it."""
