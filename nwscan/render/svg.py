"""Matplotlib's SVG made fit to stand in a page: no style of its own, names that do not collide, a text beside it.

What stood in ``style`` becomes attributes, since a strict policy for styles forbids the former; colours become
variables of the page, so that a chart is as light or dark as the page is. The input is our own picture.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping

_SVG: Final = "{http://www.w3.org/2000/svg}"
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_DECLARATION: Final = re.compile(r"\s*([a-z-]+)\s*:\s*(.+?)\s*")
_REFERENCE: Final = re.compile(r"#([\w.-]+)")
_LEFT_TO_THE_PAGE: Final = {"font-family", "font"}


def page_svg(octets: bytes, name: str, title: str, description: str, colours: Mapping[str, str]) -> str:
    """Give the picture as an ``<svg>`` element.

    ``name`` makes its ids unique in the page; ``colours`` has the variable's name for each colour in it, in lower case
    hexadecimal, which stays the colour where the page has no such variable.
    """
    root = ET.fromstring(octets)  # noqa: S314 - our own picture
    for parent in root.iter():
        for child in list(parent):
            if child.tag in {f"{_SVG}metadata", f"{_SVG}style"}:
                parent.remove(child)
    used = {
        match for element in root.iter() for value in element.attrib.values() for match in _REFERENCE.findall(value)
    }
    for element in root.iter():
        _bare(element, colours)
        identifier = element.attrib.pop("id", None)
        if identifier in used:
            element.set("id", f"{name}-{identifier}")
        for key in (_HREF, "clip-path", "fill"):
            value = element.get(key, "")
            if value.startswith(("#", "url(#")) and _REFERENCE.search(value) and value not in colours:
                element.set(key, _REFERENCE.sub(lambda found: f"#{name}-{found[1]}", value))
    _describe(root, name, title, description)
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.set("stroke-linejoin", "round")
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ET.tostring(root, encoding="unicode").replace("\n", " ")


def _bare(element: ET.Element, colours: Mapping[str, str]) -> None:
    """Turn the style of one element into attributes."""
    for declaration in element.attrib.pop("style", "").split(";"):
        found = _DECLARATION.fullmatch(declaration)
        if found is not None and found[1] not in _LEFT_TO_THE_PAGE:
            element.set(found[1], found[2])
    for key in ("fill", "stroke"):
        colour = element.get(key, "").lower()
        if colour in colours:
            element.set(key, f"var(--{colours[colour]}, {colour})")


def _describe(root: ET.Element, name: str, title: str, description: str) -> None:
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-desc")
    for place, (kind, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{_SVG}{kind}", {"id": f"{name}-{kind}"})
        element.text = text
        root.insert(place, element)
