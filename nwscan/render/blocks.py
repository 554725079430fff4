"""What a page is made of: tables, charts, lists, code, each as plain values. The template knows how they look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from nwscan.render.plots import Picture


@dataclass(frozen=True, slots=True)
class Column:
    """A column; ``kind``: ``num`` to the right, ``mono`` for addresses, ``bar`` a share of 0..1, else text."""

    title: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; with ``is_stacked`` its rows become blocks where the page is narrow."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    is_stacked: bool = False
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in both widths; ``name`` makes it unique in the page."""

    kind: ClassVar[str] = "chart"
    title: str
    picture: Picture
    name: str


@dataclass(frozen=True, slots=True)
class Tiles:
    """A few figures that matter most: value, what it is, and whether it is the one that is bad."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Remarks:
    """Sentences, one a paragraph."""

    kind: ClassVar[str] = "remarks"
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """Why, with its evidence and what helps."""

    kind: ClassVar[str] = "cause"
    sentence: str
    share: str
    evidence: tuple[str, ...]
    remedy: str | None
    risk: str | None


@dataclass(frozen=True, slots=True)
class Code:
    """Lines that are to be copied as they are; folded until somebody wants them."""

    kind: ClassVar[str] = "code"
    title: str
    lines: tuple[str, ...]


Block = Table | Chart | Tiles | Remarks | Cause | Code


@dataclass(frozen=True, slots=True)
class Section:
    """One subject of the page. ``tone`` is ``good``, ``bad``, ``doubtful`` or nothing, ``word`` says it in text."""

    name: str
    eyebrow: str
    headline: str
    blocks: tuple[Block, ...] = field(default=())
    tone: str = ""
    word: str = ""
