"""Two identities of one card made one: nothing that either knew is lost, and the weaker word on whose it is holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from analyzer.errors import UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.identity import GuestIdentity, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable

_BY_TRUST: Final = (
    Provenance.GUESS,
    Provenance.TRAFFIC,
    Provenance.ARP_TABLE,
    Provenance.LEASE,
    Provenance.AGENT,
    Provenance.FILE,
    Provenance.COMMAND_LINE,
    Provenance.LIBVIRT_XML,
)
"""The least trusted first: two reports of which one guessed are a guess together."""

Value = TypeVar("Value", str, int)


def merge_identities(one: GuestIdentity, two: GuestIdentity) -> GuestIdentity:
    """Give the identity of both; associative, commutative, and the same where both are the same.

    Raises UsageError where they are of different cards: other MACs that count as its own, or guests of different UUIDs.
    """
    if one == two:
        return one
    if set(one.macs) != set(two.macs):
        mine, theirs = (", ".join(map(format_mac, sorted(identity.macs))) for identity in (one, two))
        raise _different(f"{mine} and {theirs}")
    if one.uuid and two.uuid and one.uuid != two.uuid:
        raise _different(f"of the guests {one.uuid} and {two.uuid}")
    return GuestIdentity(
        macs=min(one.macs, two.macs),
        source=min(one.source, two.source, key=_BY_TRUST.index),
        name=_known(one.name, two.name),
        uuid=_known(one.uuid, two.uuid),
        card=_known(one.card, two.card),
        tap=_known(one.tap, two.tap),
        bridge=_known(one.bridge, two.bridge),
        addresses=_union(one.addresses, two.addresses),
        macs_seen=_union(one.macs_seen, two.macs_seen),
        groups=_union(one.groups, two.groups),
        vlans=_union(one.vlans, two.vlans),
    )


def _different(which: str) -> UsageError:
    return UsageError(f"reports of different cards cannot be one: {which}", hint="show them one by one")


def _known(one: Value | None, two: Value | None) -> Value | None:
    """Give what is known; of two different words the lesser one, so that the order does not matter."""
    return min((value for value in (one, two) if value is not None), default=None)


Member = TypeVar("Member")


def _union(one: Iterable[Member], two: Iterable[Member]) -> tuple[Member, ...]:
    return tuple(sorted({*one, *two}))  # type: ignore[type-var]
