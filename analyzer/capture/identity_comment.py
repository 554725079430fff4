"""The guest's identity as a comment in a pcapng section header, written and read.

What lives here: one JSON document, ``{"nwscan.identity/1": {...} | null, "direction": "tap" | null}``. Called by the
pcapng reader and writer. A file is hostile by assumption: what does not fit the schema is no identity of ours.
"""

from __future__ import annotations

from typing import Final

import msgspec

from analyzer.errors import UsageError
from analyzer.model.addresses import format_mac, parse_mac
from analyzer.model.identity import Address, GuestIdentity, Provenance

MAX_COMMENT_OCTETS: Final = 60_000
"""What one option of a block holds (65,535 octets), with room for what is added around it."""


class Note(msgspec.Struct, frozen=True):
    """What a section of ours says of itself: whose frames, and whether each has its direction as seen from the tap."""

    identity: GuestIdentity | None
    has_direction: bool


class _Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GuestIdentity with its MACs as text."""

    macs: tuple[str, ...]
    name: str | None = None
    uuid: str | None = None
    card: int | None = None
    tap: str | None = None
    bridge: str | None = None
    addresses: tuple[Address, ...] = ()
    macs_seen: tuple[Address, ...] = ()
    groups: tuple[str, ...] = ()
    vlans: tuple[int, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    """The comment."""

    card: _Card | None = msgspec.field(name="nwscan.identity/1")
    direction: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Document)


def write_comment(note: Note) -> bytes:
    """Give the comment that says ``note``; lists that would not fit one option are left out, the MACs never."""
    identity = note.identity
    if identity is None:
        return msgspec.json.encode(_Document(None, _direction(note)))
    card = _Card(
        macs=tuple(map(format_mac, identity.macs)),
        name=identity.name,
        uuid=identity.uuid,
        card=identity.card,
        tap=identity.tap,
        bridge=identity.bridge,
        addresses=identity.addresses,
        macs_seen=identity.macs_seen,
        groups=tuple(map(format_mac, identity.groups)),
        vlans=identity.vlans,
    )
    comment = msgspec.json.encode(_Document(card, _direction(note)))
    if len(comment) > MAX_COMMENT_OCTETS:
        shorter = msgspec.structs.replace(card, addresses=(), macs_seen=(), groups=(), vlans=())
        comment = msgspec.json.encode(_Document(shorter, _direction(note)))
    return comment


def read_comment(comments: tuple[bytes, ...]) -> Note | None:
    """Give what the first comment of ours says, None where there is none."""
    for comment in comments:
        try:
            document = _DECODER.decode(comment)
            identity = _identity(document.card) if document.card else None
        except (msgspec.MsgspecError, UsageError, RecursionError, UnicodeDecodeError):
            continue
        return Note(identity, has_direction=document.direction == "tap")
    return None


def _direction(note: Note) -> str | None:
    return "tap" if note.has_direction else None


def _identity(card: _Card) -> GuestIdentity:
    return GuestIdentity(
        macs=tuple(map(parse_mac, card.macs)),
        source=Provenance.FILE,
        name=card.name,
        uuid=card.uuid,
        card=card.card,
        tap=card.tap,
        bridge=card.bridge,
        addresses=card.addresses,
        macs_seen=card.macs_seen,
        groups=tuple(map(parse_mac, card.groups)),
        vlans=card.vlans,
    )
