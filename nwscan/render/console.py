"""The terminal: one console, 80 columns wide where nobody says otherwise, no colour in a pipe or under NO_COLOR."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import ConsoleOptions, JustifyMethod, RenderResult

_DEFAULT_COLUMNS = 80
_FEWEST_COLUMNS = 20

_JOINT: Final = "\ue000"
"""Stands for a space at which no line may end, while lines are broken; ``visible`` leaves none in a text."""
_UNBROKEN: Final = re.compile(r"(?<=\d) (?=[^\W\d]|%)|(--[a-z][a-z-]*) (?=\S)")
"""A number and its unit, an option and its value."""


def console(*, stderr: bool = False) -> Console:
    """Give the console of standard output (or error). Text is never read as markup: guests choose names."""
    stream = sys.stderr if stderr else sys.stdout
    is_plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() else _columns(os.environ.get("COLUMNS", "")),
        color_system=None if is_plain else "auto",
    )


def _columns(told: str) -> int:
    """Give the width of a pipe: what COLUMNS says where that is a sensible number."""
    return int(told) if told.isascii() and told.isdigit() and int(told) >= _FEWEST_COLUMNS else _DEFAULT_COLUMNS


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, title: str = "") -> Table:
    """Give a table. Cells are made visible, but for a Text of ``lines``; long ones are folded.

    A column whose name begins with ``>`` is aligned to the right, one with ``!`` to the left; neither is folded.
    """
    built = Table(
        box=SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False, padding=(0, 1)
    )
    for column in columns:
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        is_whole = column.startswith((">", "!"))
        built.add_column(column.lstrip(">!"), justify=justify, overflow="fold", no_wrap=is_whole)
    for row in rows:
        built.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    return built


def lines(*parts: str) -> Text:
    """Give a cell of several lines, each made visible."""
    return Text("\n".join(map(visible, parts)))


class Sentence:
    """A paragraph: no number parts from its unit, no option from its value; where it is indented, so are its lines.

    Lines after the first are indented by ``hanging`` more; by 2 where nothing else is said and the first is indented.
    """

    def __init__(self, text: str, style: str, hanging: int | None = None) -> None:
        self._text, self._hanging = Text(visible(text), style), hanging

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give its lines; one line where lines are not to be broken."""
        if options.no_wrap:
            yield self._text
            return
        whole, style = self._text.plain, self._text.style
        words = whole.lstrip(" ")
        first = len(whole) - len(words)
        hanging = self._hanging if self._hanging is not None else 2 if first else 0
        further = first + hanging
        joined = _UNBROKEN.sub(lambda found: f"{found[1] or ''}{_JOINT}", words)
        for number, line in enumerate(Text(joined).wrap(console, max(options.max_width - further, 1))):
            yield Text(" " * (further if number else first) + line.plain.rstrip().replace(_JOINT, " "), style)


def headline(sentence: str) -> Sentence:
    """Give the sentence that comes first."""
    return Sentence(sentence, "bold")


def remark(text: str) -> Sentence:
    """Give a line of explanation."""
    return Sentence(text, "dim")


def refusal_lines(reason: str, hint: str, *, can_force: bool) -> Iterator[Sentence]:
    """Give why something is refused and what to do, the one under the other."""
    can = " (--force overrules this)" if can_force else ""
    for name, words in (("refused:", f"{reason}{can}"), ("do:", hint)):
        yield Sentence(f"  {name:<8} {words}", "red", hanging=9)
