"""Numbers out of octets of a memoryview: what octets.h has in C, for the hot modules where they run uncompiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.model.columns import Column


def fetch(data: Column, at: int) -> None:
    """Have the octet at ``at`` brought near, which may lie anywhere: nothing is read."""


def be16(data: Column, at: int) -> int:
    """Give the 16 bits at ``at``, most significant octet first."""
    return data[at] << 8 | data[at + 1]


def be48(data: Column, at: int) -> int:
    """Give the 48 bits at ``at`` (a MAC), most significant octet first."""
    return be16(data, at) << 32 | be16(data, at + 2) << 16 | be16(data, at + 4)


def octets32(data: Column, at: int, big_endian: bool) -> int:  # noqa: FBT001 - as in C, by position
    """Give the 32-bit number at ``at``."""
    low, high = octets16(data, at, big_endian), octets16(data, at + 2, big_endian)
    return low << 16 | high if big_endian else high << 16 | low


def octets16(data: Column, at: int, big_endian: bool) -> int:  # noqa: FBT001 - as in C, by position
    """Give the 16-bit number at ``at``."""
    return be16(data, at) if big_endian else data[at + 1] << 8 | data[at]
