"""The network interfaces in a domain's XML, as libvirt prints it.

The only XML reader of analyzer: no entities, no network, no document types. The text of an element is cut out of the
document as it stands there, so that what is compared and restored is what libvirt said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lxml import etree

from analyzer.errors import InputError, UsageError
from analyzer.host.plain_xml import NotPlainError, parse_plain
from analyzer.model.addresses import parse_mac

if TYPE_CHECKING:
    from collections.abc import Sequence

Parameters: TypeAlias = tuple[tuple[str, str], ...]
"""Parameters of a filterref in their order; a list is its name repeated."""

FilterReference: TypeAlias = tuple[str, Parameters]
"""The name of a filter and the parameters that are passed to it."""

KEEP_URI: Final = "urn:nwscan:keep:1"
"""The namespace of the mark in a domain's metadata that says: this guest needs its foreign unicast, take none away.

``<keep xmlns='urn:nwscan:keep:1' mac='52:54:00:00:00:01'>why</keep>``; without ``mac`` (MACs with spaces between) it is
for all cards of the guest.
"""

_REASON_LENGTH: Final = 200

_DOCUMENT_OCTETS: Final = 16 * 1024 * 1024
"""Far above any domain that libvirt would define; its own limit for a string over RPC is 4 MiB."""


@dataclass(frozen=True, slots=True)
class InterfaceXml:
    """One ``<interface>`` of a domain; None where the XML does not say.

    ``index`` counts the interfaces of the domain from 0, ``type`` is ``bridge``, ``network``, ``direct``, ...;
    ``bridge`` is the one of ``<source>`` (for a running guest also that of its network), ``text`` the element itself.
    """

    index: int
    type: str
    mac: int | None
    model: str | None
    tap: str | None
    bridge: str | None
    network: str | None
    filterref: FilterReference | None
    virtualport: str | None
    text: str


@dataclass(frozen=True, slots=True)
class BindingXml:
    """One nwfilter binding: which filter, with which parameters, libvirt instantiates on which tap, and whose it is."""

    tap: str
    filterref: FilterReference
    mac: int | None
    owner: str | None


def interfaces(domain_xml: str) -> tuple[InterfaceXml, ...]:
    """Give the interfaces of a domain in their order. Raises InputError for what is no domain XML."""
    root = _parse(domain_xml, "domain XML", "domain")
    lines = domain_xml.split("\n")  # and nothing else: the parser counts these
    return tuple(_interface(index, element, lines) for index, element in enumerate(root.iterfind("devices/interface")))


def keep_mark(domain_xml: str, mac: int | None) -> str | None:
    """Give why the card ``mac`` is marked to keep its foreign unicast ("" where it does not say); None: it is not.

    A mark whose MACs cannot be read is for all cards. Raises InputError for what is no domain XML.
    """
    root = _parse(domain_xml, "domain XML", "domain")
    for element in root.iterfind(f"metadata/{{{KEEP_URI}}}keep"):
        if _is_for(element.get("mac", ""), mac):
            return " ".join(str(element.xpath("string()")).split())[:_REASON_LENGTH]
    return None


def _is_for(macs: str, mac: int | None) -> bool:
    try:
        named = {parse_mac(each) for each in macs.split()}
    except UsageError:
        return True
    return not named or mac in named


def for_update(interface_xml: str) -> str:
    """Give the element of a running card as virDomainUpdateDeviceFlags needs it to leave the card on its network.

    For a card on a network of forward mode bridge libvirt prints the type that came of it, ``bridge``, beside the
    network's name; read as it stands, that takes the card off its network for good (tried on libvirt 9.0.0). What the
    card was configured with is ``network``. Every such update gives the card a new port of the network: ``portid``.
    """
    element = _parse(interface_xml, "interface XML", "interface")
    if element.get("type") != "bridge" or _attribute(element, "source", "network") is None:
        return interface_xml
    return _BRIDGE_TYPE.sub(r"\1network\2", interface_xml, count=1)


_BRIDGE_TYPE = re.compile(r"""(<interface\b[^>]*?\stype=["'])bridge(["'])""")


def read_binding(binding_xml: str) -> BindingXml:
    """Read an nwfilter binding. Raises InputError for what is none."""
    root = _parse(binding_xml, "nwfilter binding XML", "filterbinding")
    tap, reference = _attribute(root, "portdev", "name"), _filterref(root)
    if tap is None or reference is None:
        raise InputError(
            "a binding without a tap or a filter", "nwfilter binding XML", "see virsh nwfilter-binding-list"
        )
    return BindingXml(tap, reference, _mac(root), root.findtext("owner/name"))


def _parse(text: str, where: str, root_tag: str) -> etree._Element:
    """Give the root element of a document that is to have the tag. Raises InputError."""
    octets = text.encode("utf-8", "surrogatepass")
    if len(octets) > _DOCUMENT_OCTETS:
        raise InputError(
            f"the document is larger than {_DOCUMENT_OCTETS} octets", where, "no libvirt document is that large"
        )
    try:
        root, has_type = parse_plain(_DECLARATION.sub(b"", octets, count=1))
    except NotPlainError as error:
        raise InputError(f"cannot read the document: {error}", where, "compare it with virsh dumpxml") from error
    if has_type:
        raise InputError("the document has a document type", where, "libvirt writes none; it is not read")
    if root.tag != root_tag:
        raise InputError(f"the document is no <{root_tag}>, but <{root.tag}>", where, "compare it with virsh dumpxml")
    return root


_DECLARATION = re.compile(rb"\A\s*<\?xml[^>]*\?>")
"""The XML declaration: its encoding no longer holds once the text is a str."""


def _attribute(element: etree._Element, path: str, name: str) -> str | None:
    child = element.find(path)
    return None if child is None else child.get(name) or None


def _mac(element: etree._Element) -> int | None:
    text = _attribute(element, "mac", "address")
    if text is None:
        return None
    try:
        return parse_mac(text)
    except UsageError as error:
        raise InputError(error.what, "domain XML", "compare it with virsh dumpxml") from error


def _filterref(element: etree._Element) -> FilterReference | None:
    reference = element.find("filterref")
    if reference is None:
        return None
    parameters = ((one.get("name", ""), one.get("value", "")) for one in reference.iterfind("parameter"))
    return reference.get("filter", ""), tuple(parameters)


def _interface(index: int, element: etree._Element, lines: Sequence[str]) -> InterfaceXml:
    return InterfaceXml(
        index=index,
        type=element.get("type", ""),
        mac=_mac(element),
        model=_attribute(element, "model", "type"),
        tap=_attribute(element, "target", "dev"),
        bridge=_attribute(element, "source", "bridge"),
        network=_attribute(element, "source", "network"),
        filterref=_filterref(element),
        virtualport=_attribute(element, "virtualport", "type"),
        text=_text(element, lines),
    )


def _text(element: etree._Element, lines: Sequence[str]) -> str:
    """Give the element as it stands in the document, without the indentation before it.

    libvirt writes a start tag and an end tag on lines of their own. Where a document does not, or the piece that was
    cut out does not mean the same, the element is written anew.
    """
    line: Any = element.sourceline  # from 1; the stubs do not know its type
    start = (line or 0) - 1
    written = etree.tostring(element, encoding="unicode", with_tail=False)
    if not 0 <= start < len(lines) or not lines[start].lstrip().startswith("<interface"):
        return written
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    for end in range(start, len(lines)):
        if lines[end].rstrip() == f"{indent}</interface>":
            piece = "\n".join(lines[start : end + 1]).strip()
            return piece if _same(piece, element) else written
    return written


def _same(piece: str, element: etree._Element) -> bool:
    """Say whether the text means the element: equal in canonical form (Canonical XML 1.0)."""
    try:
        read = _parse(piece, "interface XML", "interface")
        canonical: bytes = etree.tostring(read, method="c14n")
        return canonical == etree.tostring(element, method="c14n", with_tail=False)
    except (InputError, etree.C14NError):  # a namespace with a relative URI has no canonical form
        return False
