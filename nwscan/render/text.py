"""Text from outside made safe to show, and numbers made short to read.

Guest names, file names, comments and packet text may hold anything: none of it reaches a terminal or a CSV unescaped.
"""

from __future__ import annotations

import json
import re
from typing import Final

_PREFIXES: Final = ("", "k", "M", "G", "T", "P")
_THOUSAND: Final = 1000.0
_PLAIN: Final = 100.0
"""From here on a digit behind the point says nothing more."""
_WHOLE: Final = ("B",)
"""Units that have no parts."""

_BEYOND_ASCII: Final = re.compile("[^\n -~]+")


def visible(text: str) -> str:
    """Give ``text`` on one line, every character that does not print being written as its escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def ascii_json(text: str) -> str:
    """Give JSON with every character of its strings beyond ASCII as its escape: the same document, safe to show."""
    return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)


def csv_cell(text: str) -> str:
    """Give ``text`` for a CSV cell: one line, and never a formula where a spreadsheet opens it."""
    shown = visible(text)
    return f"'{shown}" if shown[:1] in {"=", "+", "-", "@"} else shown


def shortened(text: str, most: int) -> str:
    """Give ``text`` in at most so many characters, its middle being left out: names differ at their ends."""
    if len(text) <= most:
        return text
    first = most // 2
    return f"{text[:first]}…{text[first + 1 - most :]}"


def count(number: float) -> str:
    """Give a count with thousands separated: ``4,812``."""
    return f"{number:,.0f}"


def short(number: float, unit: str) -> str:
    """Give a magnitude with its SI prefix: ``41.2 Mbit/s``."""
    for prefix in _PREFIXES[:-1]:
        if abs(number) < _THOUSAND:
            digits = 0 if abs(number) >= _PLAIN or number == 0 or (prefix == "" and unit in _WHOLE) else 1
            return f"{number:.{digits}f} {prefix}{unit}"
        number /= _THOUSAND
    return f"{number:.1f} {_PREFIXES[-1]}{unit}"


def percent(share: float | None) -> str:
    """Give a share of 0..1 as a percentage, ``-`` where it is not known; something is never rounded to nothing."""
    if share is None:
        return "-"
    if 0 < share < 0.001:  # noqa: PLR2004 below one digit behind the point
        return "<0.1 %"
    if 0.999 < share < 1:  # noqa: PLR2004 the same at the other end
        return ">99.9 %"
    return f"{share:.1%}".replace("%", " %")
