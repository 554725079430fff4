"""Kept windows on the terminal: of whom, how many, how old, how large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwscan.render.console import console, headline, table
from nwscan.render.text import count, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwscan.api.forgetting import KeptWindow


def print_windows(windows: Sequence[KeptWindow]) -> None:
    """Print what is kept, a row a card."""
    out = console()
    octets = short(sum(window.octets for window in windows), "B")
    if not windows:
        out.print(headline("Nothing is kept, or nothing that old."))
        return
    noun = "window" if len(windows) == 1 else "windows"
    out.print(headline(f"{count(len(windows))} kept {noun}, {octets}"))
    cards: dict[tuple[str, str], list[KeptWindow]] = {}
    for window in windows:
        cards.setdefault((window.uuid, window.mac), []).append(window)
    rows = []
    for (uuid, mac), some in cards.items():
        name = next((window.name for window in reversed(some) if window.name), uuid)
        size = short(sum(window.octets for window in some), "B")
        rows.append((name, mac, count(len(some)), *(f"{one.at:%Y-%m-%d}" for one in (some[0], some[-1])), size))
    out.print(table(("guest", "!card", ">windows", "!first", "!last", ">size"), rows))
