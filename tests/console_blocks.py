"""Console sessions in the documents: fenced blocks of ``console``, read as commands with what they print.

``$ `` begins a command; the lines below are what it prints. ``...`` stands for any number of lines; empty ones and
blanks at the end of a line do not count. A block of ``console`` runs without a host, in one folder a document, in which
``captures`` are those that come with nwscan: there each figure has to be right, and standard error comes last. A block
of ``console lab`` runs in a lab, where figures differ from run to run: any number stands for any other. There a line
that asks ends in what is answered: ``Put it in? [y/N]: y``; ``^D`` closes the terminal instead.
Of a block of ``commands`` each line is a command line and, after two blanks, what it is for; it runs in a lab, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUESTION = r"(\[(?:y/N|Y/n)\]:)"
_ASKED = re.compile(rf"{_QUESTION} *(\S*)$")
_NUMBER = re.compile(r"\d[\d.,:]*( [kMG]?(?=B|bit/s|frames/s))?")


@dataclass(frozen=True, slots=True)
class Typed:
    """A command line and what the document says that it prints."""

    line: str
    printed: tuple[str, ...]


def fences(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a document: what stands behind the fence, and the text."""
    return [(found[1].strip(), found[2]) for found in _FENCE.finditer(path.read_text(encoding="utf-8"))]


def sessions(path: Path, kind: str) -> list[Typed]:
    """The commands in the blocks of this kind, in order."""
    found = []
    for info, text in fences(path):
        if info == kind:
            assert text.startswith("$ "), f"{path.name}: a session begins with a command: {text[:60]!r}"
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, printed = part.partition("\n")
                found.append(Typed(line, lines_of(printed)))
    return found


def answers_in(told: tuple[str, ...]) -> list[str]:
    """What is answered, in order, where a document shows questions."""
    return [found[2] for line in told if (found := _ASKED.search(line))]


def without_answers(text: str) -> str:
    """The same text, each question at the end of a line and without its answer, which goes where it is typed."""
    return re.sub(rf"{_QUESTION}(?: ?(?:[yn]|\^D)$)? *", r"\1\n", text, flags=re.MULTILINE)


def lines_of(text: str) -> tuple[str, ...]:
    """The lines that count."""
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())


def without_figures(line: str) -> str:
    """A line with a 0 for each number, one blank for several, and no length of a ruler."""
    return re.sub(r"\s+", " ", re.sub("─+", "─", _NUMBER.sub("0", line))).strip()


def is_printed(told: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Say whether lines are those that a document shows; ``...`` there stands for any number of them."""
    if not told:
        return not printed
    parts = [tuple(group) for is_gap, group in groupby(told, lambda line: line.strip() == "...") if not is_gap]
    at = 0
    for number, part in enumerate(parts):
        starts = range(at, len(printed) - len(part) + 1)
        if number == 0 and told[0].strip() != "...":
            starts = range(min(1, len(starts)))
        if number == len(parts) - 1 and told[-1].strip() != "...":
            starts = range(max(len(printed) - len(part), at), max(len(printed) - len(part) + 1, at))
            if number == 0 and told[0].strip() != "..." and len(part) != len(printed):
                return False
        found = next((start for start in starts if printed[start : start + len(part)] == part), None)
        if found is None:
            return False
        at = found + len(part)
    return True
