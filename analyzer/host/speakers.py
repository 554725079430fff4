"""Who speaks from which port: the (source MAC, port) pairs of all that comes into a bridge, heard ahead of its FDB.

An nft table of our own, as the meter's: family bridge, one base chain on prerouting at priority -401, a dynamic set
without counters. It hears what the FDB does not keep: addresses at ports that do not learn, and on a hub. It costs each
frame a look into a hash, so it is put in for one window; ``flags owner`` takes it out, whatever happens to the process.

What it does not see: what the host itself sends through the bridge. The set is bounded: a flood of random source MACs
fills it, and who speaks after that is not heard (``Heard.is_full``).
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from analyzer.errors import HostError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.meter import new_table_name
from analyzer.host.nftables import owned_table
from analyzer.model.addresses import parse_mac

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.host.nftables import NftContext

KEPT: Final = 16384
"""Pairs that are remembered: what the FDBs of large bridges hold."""

_PRIORITY: Final = -401
_ELEMENT: Final = re.compile(r'([0-9a-f]{2}(?::[0-9a-f]{2}){5}) \. "([^"\n]{1,15})"')


class Heard(NamedTuple):
    """The pairs of source MAC and port that were heard; ``is_full`` where there may be more."""

    pairs: frozenset[tuple[int, str]]
    is_full: bool


class Speakers:
    """Listens at ``ports`` from entering it to leaving it. Raises HostError where the kernel or libnftables refuses."""

    def __init__(self, ports: Sequence[str]) -> None:
        self._ports = tuple(dict.fromkeys(checked_interface_name(port) for port in ports))
        self.table = new_table_name()
        self._nft: NftContext | None = None
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        commands = (_commands(self.table, self._ports),)
        self._nft = self._leave.enter_context(owned_table(self.table, commands, "listen who speaks"))
        return self

    def __exit__(self, *_: object) -> None:
        self._nft = None
        self._leave.close()

    def heard(self) -> Heard:
        """Give who has spoken so far. Raises HostError where nobody listens (any more)."""
        if self._nft is None:
            raise HostError("nobody listens who speaks", f"nft table bridge {self.table}", "enter it first")
        pairs = parse_speakers(self._nft.run(f"list set bridge {self.table} speakers"))
        return Heard(pairs, len(pairs) >= KEPT)


def parse_speakers(text: str) -> frozenset[tuple[int, str]]:
    """Read what ``nft list set`` prints of a set of ``ether_addr . ifname``."""
    return frozenset((parse_mac(mac), port) for mac, port in _ELEMENT.findall(text))


def _commands(table: str, ports: Sequence[str]) -> str:
    """Give the commands that make the table, one transaction; the hook comes last."""
    names = ", ".join(f'"{port}"' for port in ports)
    return "\n".join(
        (
            f"add table bridge {table} {{ flags owner\n}}",
            f"add set bridge {table} speakers {{ type ether_addr . ifname\nflags dynamic\nsize {KEPT}\n}}",
            f"add chain bridge {table} speakers {{ type filter hook prerouting priority {_PRIORITY}\n}}",
            f"add rule bridge {table} speakers iifname {{ {names} }} add @speakers {{ ether saddr . iifname }}",
        )
    )
