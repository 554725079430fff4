"""Where the children of an element stand in its text, so that one can be replaced and all else kept octet for octet.

Pure text work for xml.py, which has parsed the document before and knows that it is well-formed and plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.parsers import expat

from analyzer.errors import InputError


@dataclass(frozen=True, slots=True)
class Span:
    """The octets of one child of the root element, from its ``<`` to behind its last ``>``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Spans:
    """The children of a root element, and the offset behind its start tag (-1: the root is ``<x/>``)."""

    children: tuple[Span, ...]
    inside: int


def _tag_end(data: bytes, start: int) -> int:
    """Give the offset behind the tag that starts at ``start``; a ``>`` in a quoted value does not end it."""
    quote = 0
    for offset in range(start, len(data)):
        octet = data[offset]
        if quote:
            quote = 0 if octet == quote else quote
        elif octet in b"'\"":
            quote = octet
        elif octet == ord(">"):
            return offset + 1
    return len(data)  # pragma: no cover - the document is well-formed: a tag ends


def child_spans(data: bytes) -> Spans:
    """Give the spans of the root element's children in ``data``, which is well-formed UTF-8 XML.

    Raises InputError where expat says otherwise: it takes names as of the fourth edition of XML 1.0, libxml2 those of
    the fifth, too.
    """
    parser = expat.ParserCreate("UTF-8")
    depth = 0
    opened = 0
    children: list[Span] = []
    inside = -1

    def start(_name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth, opened, inside
        depth += 1
        if depth == 1:
            inside = _tag_end(data, parser.CurrentByteIndex)
        if depth == 2:  # noqa: PLR2004 - a child of the root
            opened = parser.CurrentByteIndex

    def end(name: str) -> None:
        nonlocal depth, inside
        depth -= 1
        at = parser.CurrentByteIndex
        if depth == 1:
            head_end = _tag_end(data, opened)
            closed = data[head_end - 2 : head_end] == b"/>"
            children.append(Span(name, opened, head_end if closed else _tag_end(data, at)))
        if depth == 0 and data[at : at + 2] != b"</":
            inside = -1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat's own signature
    except expat.ExpatError as error:
        raise InputError(f"the XML cannot be taken apart: {error}") from error
    return Spans(tuple(children), inside)


def line_start(data: bytes, at: int) -> int:
    """Give the offset of the line break before ``at`` if only blanks stand between them, else ``at``."""
    begin = at
    while begin > 0 and data[begin - 1 : begin] in (b" ", b"\t"):
        begin -= 1
    if begin > 0 and data[begin - 1 : begin] == b"\n":
        return begin - 1
    return at


def indent_at(data: bytes, at: int) -> str | None:
    """Give the blanks that stand before ``at`` on its line; None where something else stands there too."""
    begin = line_start(data, at)
    return None if begin == at else data[begin + 1 : at].decode()
