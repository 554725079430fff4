"""The host's neighbour table, ARP and IPv6, read through ``ip``: what libvirt reads, where libvirt cannot.

Reads only. What stands in it is what the neighbours say of themselves: nobody may trust it.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Final

from analyzer.errors import HostError, UsageError
from analyzer.host.programs import run_program
from analyzer.model.addresses import parse_mac

_UNANSWERED: Final = {"FAILED", "INCOMPLETE", "NOARP"}
"""States of ip-neighbour(8) in which nobody has said that the address is theirs."""


def neighbours() -> tuple[tuple[int, str], ...]:
    """Give MAC and address of each neighbour of this host. Raises HostError where ``ip`` does not tell."""
    return parse_neighbours(run_program("ip", "-json", "neigh", "show"))


def parse_neighbours(text: str) -> tuple[tuple[int, str], ...]:
    """Read what ``ip -json neigh show`` prints; rows that name no MAC or no address are left out."""
    try:
        rows = json.loads(text or "[]")
    except ValueError as error:
        raise HostError("cannot read what ip printed", "ip -json neigh show", "update iproute2") from error
    found = []
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or _UNANSWERED & set(row.get("state") or ()):
            continue
        try:
            found.append((parse_mac(str(row.get("lladdr"))), str(ipaddress.ip_address(str(row.get("dst"))))))
        except (UsageError, ValueError):
            continue
    return tuple(found)
