"""MAC addresses as integers, and back.

A MAC address is an ``int`` below 2**48 everywhere inside nwscan, the first octet on the wire being the most
significant one; text appears only at the edges. Nothing here may know frames or guests.
"""

from __future__ import annotations

import re
from typing import Final

from analyzer.errors import UsageError

BROADCAST: Final = 0xFFFF_FFFF_FFFF
"""IEEE 802-2014, 8.2.2: all ones is the broadcast address."""

GROUP_BIT: Final = 0x0100_0000_0000
"""IEEE 802-2014, 8.2.2: the least significant bit of the first octet marks a group address."""

_MAC = re.compile(r"[0-9a-fA-F]{1,2}([:-])[0-9a-fA-F]{1,2}(?:\1[0-9a-fA-F]{1,2}){4}")

_PRINTED = re.compile("[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}")
"""As ``format_mac`` gives it: those of reports, by the thousand."""


def parse_mac(text: str) -> int:
    """Give the address that ``text`` names (``52:54:00:00:00:01``, dashes and capitals allowed).

    Raises UsageError for anything else.
    """
    if _PRINTED.fullmatch(text):
        return int(text.replace(":", ""), 16)
    match = _MAC.fullmatch(text.strip())
    if not match:
        raise UsageError(f"not a MAC address: {text!r}", hint="write it as 52:54:00:00:00:01")
    return int("".join(group.zfill(2) for group in match[0].split(match[1])), 16)


def format_mac(mac: int) -> str:
    """Give ``mac`` in the form that libvirt and iproute2 print: six lower-case octets with colons."""
    return (int(mac) & BROADCAST).to_bytes(6, "big").hex(":")


def is_group(mac: int) -> bool:
    """Say whether ``mac`` is a group address: multicast or broadcast."""
    return bool(mac & GROUP_BIT)
