"""The terminal: one console, 80 columns wide where nobody says otherwise, no colour in a pipe or under NO_COLOR."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import JustifyMethod

_DEFAULT_COLUMNS = 80
_FEWEST_COLUMNS = 20


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


def headline(sentence: str) -> Text:
    """Give the sentence that comes first."""
    return Text(visible(sentence), style="bold")


def remark(text: str) -> Text:
    """Give a line of explanation."""
    return Text(visible(text), style="dim")
