"""The words for bridge(8) that change a port or an entry: what people are shown and what nwscan itself runs.

Pure. An entry is never made ``permanent``: that means an address of the host itself, and cuts off the machine that has
it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal, TypeAlias

from analyzer.model.addresses import format_mac

if TYPE_CHECKING:
    from collections.abc import Sequence

EntryState: TypeAlias = Literal["dynamic", "static"]


def flood_words(port: str, *, is_on: bool) -> tuple[str, ...]:
    """Give the words that turn the flooding of unknown unicast to a port on or off."""
    return ("bridge", "link", "set", "dev", port, "flood", "on" if is_on else "off")


def entry_words(mac: int, port: str, state: EntryState | None) -> tuple[str, ...]:
    """Give the words that make the entry of an address at a port; None: that remove it."""
    if state is None:
        return ("bridge", "fdb", "del", format_mac(mac), "dev", port, "master")
    return ("bridge", "fdb", "replace", format_mac(mac), "dev", port, "master", state)


def typed_words(words: Sequence[str]) -> str:
    """Give words as they are typed in a shell."""
    return shlex.join(words)
