"""A frame described by scapy, for people: the one place of the product where scapy reads frames.

scapy is imported when the first frame is described that brief.py says nothing of. Frames are hostile and scapy is
large: whatever goes wrong in it becomes the description, and the rest is cut to a length. The text holds what was on
the wire: whoever shows it escapes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.classify.brief import describe_briefly

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD_OCTETS: Final = 128
"""Octets of a frame that are described: its headers."""

TEXT_LIMIT: Final = 160
"""Characters of a description at the most."""

_FIRST: Final = (
    bytes.fromhex("ffffffffffff02000000000108060001080006040003020000000001c0000202000000000000c0000201"),  # ARP
    bytes.fromhex(
        "ffffffffffff020000000001080045000020000100004011f6c8c0000201c000020200430044000c744a01010600"
    ),  # DHCP
    bytes.fromhex("33330000000102000000000186dd6000000000183aff") + bytes(40) + bytes.fromhex("8700") + bytes(22),  # ND
)


def load_scapy() -> None:
    """Import what a description needs, for a process that will be able to import nothing; otherwise it comes late."""
    for head in _FIRST:
        describe_by_scapy(head)


def describe_frame(head: bytes) -> str:
    """Give one line on a frame whose first octets are ``head``; never raises."""
    known = describe_known(head)
    return describe_by_scapy(head) if known is None else known


def describe_by_scapy(head: bytes) -> str:
    """Give what scapy says of a frame, in one line; never raises."""
    try:
        from scapy.layers import dhcp, inet, inet6, l2  # noqa: F401, PLC0415 - late, and for the layers they register

        text = l2.Ether(head[:HEAD_OCTETS]).summary()
    except Exception as error:  # noqa: BLE001 - scapy raises anything on hostile frames; the failure is the description
        return f"(scapy cannot read it: {type(error).__name__})"
    return _shown(text)


def describe_frames(heads: Sequence[bytes]) -> list[str]:
    """Give one line on each frame."""
    return [describe_frame(head) for head in heads]


def describe_known(head: bytes) -> str | None:
    """Give what ``describe_frame`` gives where scapy is not needed for it, else None."""
    if not head:
        return "(nothing of it was captured)"
    text = describe_briefly(head[:HEAD_OCTETS])
    return None if text is None else _shown(text)


def _shown(text: str) -> str:
    shown = " ".join("".join(sign if sign.isprintable() else "?" for sign in text).split())
    return shown if len(shown) <= TEXT_LIMIT else shown[: TEXT_LIMIT - 3] + "..."
