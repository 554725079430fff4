"""XML that came from somebody else, read strictly: the one parser of nwscan for it.

What lives here: what may stand in any such document. What must not: sizes, depths and meanings, which are of those who
ask. No entity is resolved, no network touched, no document type read.
"""

from __future__ import annotations

from typing import Any

from lxml import etree


class NotPlainError(Exception):
    """Why a text is no plain XML document, and the line, 0 where none is to blame."""

    def __init__(self, what: str, line: int = 0) -> None:
        super().__init__(what)
        self.what = what
        self.line = line


def parse_plain(octets: bytes) -> tuple[etree._Element, bool]:
    """Give the root element of a document in UTF-8, and whether it has a document type. Raises NotPlainError.

    A name of no namespace is refused each time: lxml takes one where a mere warning follows the error.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False, encoding="utf-8"
    )
    try:
        root = etree.fromstring(octets, parser)
    except etree.XMLSyntaxError as error:
        raise NotPlainError(error.msg or str(error), error.lineno or 0) from error
    except ValueError as error:
        raise NotPlainError(str(error)) from error
    wrong = next((entry for entry in parser.error_log if entry.level >= etree.ErrorLevels.ERROR), None)
    if wrong is not None:
        raise NotPlainError(wrong.message, wrong.line)
    information: Any = root.getroottree().docinfo  # its doctype is unknown to the stubs
    return root, bool(information.doctype)
