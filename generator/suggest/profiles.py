"""The profiles: which filters keep foreign unicast from a card, composed with the filter that is already there.

``mac``: a chain of our own that runs before the others, lets the guest's own MACs and every group address return, and
drops the rest. It only ever drops, so what the filter on the card forbids stays forbidden. The MACs are literals: a
parameter MAC on the interface would override the variable.

The interface refers to one filter: ours, which refers to our chain and then to the filter that was there. Parameters
stay on the interface as they were and so reach that filter as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from analyzer.errors import InputError, UsageError
from analyzer.host.guests import GuestCard
from analyzer.model.addresses import format_mac, is_group
from generator.nwfilter.model import Action, Filter, FilterRef, Match, Rule, RuleDirection
from generator.nwfilter.xml import read_filterref, with_filterref

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.model.identity import GuestIdentity

PREFIX: Final = "nwscan-"
MAC_CHAIN: Final = "mac-nwscan"
"""Frames of every ethertype enter a chain whose name begins with ``mac``; 12 characters at most."""
MAC_CHAIN_PRIORITY: Final = -950
"""Before every chain of libvirt's own filters (mac -800, ipv4 -700, ...) and before their rules (-650, ...)."""

GROUP_MASK_NAME: Final = "NWSCAN_GROUPMASK"
GROUP_MASK: Final = "01:00:00:00:00:00"
"""The group bit (IEEE 802-2014, 8.2.2). libvirt refuses such a mask as a literal, and takes it as a variable."""

NO_GUEST_NAMESPACE: Final = uuid5(NAMESPACE_URL, "nwscan/no-guest")
"""The namespace of the UUIDs of filters for a card of which only the MAC is known."""

OWN_RULES_LIMIT: Final = 700
"""Own MACs at most: each is one rule, and they have priorities of their own between 100 and 900."""

_OWN_PRIORITY: Final = 100
_GROUP_PRIORITY: Final = 890
_DROP_PRIORITY: Final = 900


@dataclass(frozen=True, slots=True)
class FilterSet:
    """Filters to define, in this order (children first, the root last), and what the interface is to refer to.

    ``previous`` is the filter that was on the card before and goes on acting, None where there was none. ``attached``
    says that the card refers to the root already: to define the filters is all there is to do. ``macs`` are those to
    which unicast passes.
    """

    filters: tuple[Filter, ...]
    reference: FilterRef
    previous: str | None = None
    attached: bool = False
    macs: tuple[int, ...] = ()

    @property
    def root(self) -> Filter:
        """The filter that the interface refers to."""
        return self.filters[-1]

    @property
    def mac_child(self) -> Filter:
        """The filter that holds the chain of ours."""
        return self.filters[0]


def filter_names(identity: GuestIdentity) -> tuple[str, str]:
    """Give the names of the filter to attach and of its ``mac`` child.

    ``nwscan-<first 8 hex digits of the guest's UUID>-<card>``; where no UUID is known (files) the last 8 hex digits of
    the MAC and card 0. The child's ends in ``-mac``. Raises UsageError where the card has no MAC.
    """
    uuid = _guest_uuid(identity)
    if uuid is None:
        parent = f"{PREFIX}{_first_mac(identity) & 0xFFFF_FFFF:08x}-0"
    else:
        parent = f"{PREFIX}{uuid.hex[:8]}-{identity.card or 0}"
    return parent, f"{parent}-mac"


def filter_uuids(identity: GuestIdentity) -> tuple[str, str]:
    """Give the UUIDs of the same two: always the same ones for a card, so that defining them again replaces them."""
    namespace, mac = _guest_uuid(identity) or NO_GUEST_NAMESPACE, format_mac(_first_mac(identity))
    return str(uuid5(namespace, f"{mac}/root")), str(uuid5(namespace, f"{mac}/mac"))


def card_identity(target: GuestCard | GuestIdentity) -> GuestIdentity:
    """Give the identity of a card, or of what is one already."""
    return target.identity if isinstance(target, GuestCard) else target


def card_reference(target: GuestCard | GuestIdentity) -> FilterRef | None:
    """Give the reference that the card has now; a bare identity has none."""
    if isinstance(target, GuestCard) and target.filterref is not None:
        return FilterRef(*target.filterref)
    return None


def is_ours(name: str, identity: GuestIdentity, library: Mapping[str, Filter]) -> bool:
    """Say whether the filter ``name`` of the library is the root that nwscan defined for this card."""
    found = library.get(name)
    return found is not None and found.uuid is not None and found.uuid.lower() == filter_uuids(identity)[0]


def previous_filter(
    identity: GuestIdentity, existing: FilterRef | None, library: Mapping[str, Filter]
) -> FilterRef | None:
    """Give the filter on the card that is not ours: the one referred to, or the one that our root refers to.

    Its parameters are those that our root passes to it; none where the interface refers to it. Raises InputError where
    the card carries a root of ours by its name that the library does not hold.
    """
    if existing is None:
        return None
    if is_ours(existing.filter, identity, library):
        child = _names_in(identity, library)[1]
        others = [ref for ref in library[existing.filter].references if ref.filter != child]
        return others[0] if others else None
    if existing.filter == filter_names(identity)[0] and existing.filter not in library:
        raise InputError(
            f"the card has the filter {existing.filter} of nwscan, and nobody says what is in it",
            identity.label,
            "read the filters of the host too",
        )
    return FilterRef(existing.filter)


def mac_profile(
    card: GuestCard | GuestIdentity,
    extra_macs: tuple[int, ...] = (),
    existing: FilterRef | EllipsisType | None = ...,
    *,
    library: Mapping[str, Filter] | None = None,
) -> FilterSet:
    """Give the filters that drop unicast to MACs other than the card's own and ``extra_macs``.

    ``existing`` is what the card refers to now, by default what the card itself says. ``library`` holds the filters of
    the host by name: needed where the card may carry a filter of ours already. Raises UsageError for no MAC at all, a
    group address among them or too many, InputError as ``previous_filter``.
    """
    identity, known = card_identity(card), library or {}
    before = card_reference(card) if isinstance(existing, EllipsisType) else existing
    parent, child = _names_in(identity, known)
    parent_uuid, child_uuid = filter_uuids(identity)
    previous, macs = previous_filter(identity, before, known), own_macs(identity, extra_macs)
    chain = Filter(child, child_uuid, MAC_CHAIN, MAC_CHAIN_PRIORITY, tuple(_mac_rules(macs)))
    inner = FilterRef(child, ((GROUP_MASK_NAME, GROUP_MASK),))
    root = Filter(parent, parent_uuid, "root", None, (inner, *((previous,) if previous else ())))
    return FilterSet(
        (chain, root),
        FilterRef(parent, before.parameters if before else ()),
        previous.filter if previous else None,
        before is not None and before.filter == parent,
        macs,
    )


def own_macs(identity: GuestIdentity, extra_macs: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Give the MACs that pass, the card's own first, each once. Raises UsageError for what cannot be one."""
    macs = identity.with_macs(extra_macs).macs
    _first_mac(identity)
    groups = [format_mac(mac) for mac in macs if is_group(mac)]
    if groups:
        raise UsageError(
            f"a group address is nobody's own: {', '.join(groups)}",
            identity.label,
            "leave it out: the filter lets every group address pass",
        )
    if len(macs) > OWN_RULES_LIMIT:
        raise UsageError(
            f"{len(macs)} own MACs would be as many rules",
            identity.label,
            f"at most {OWN_RULES_LIMIT} are sensible; a guest with so many bridges for others and needs no filter",
        )
    return macs


def interface_xml(filter_set: FilterSet, card: GuestCard) -> tuple[str | None, str | None]:
    """Give the live and the inactive ``<interface>`` that refer to the root, parameters kept, all else as it is."""
    kept = FilterRef(*card.inactive_filterref).parameters if card.inactive_filterref else ()
    inactive = FilterRef(filter_set.root.name, kept)
    return _referring(card.live_xml, filter_set.reference), _referring(card.inactive_xml, inactive)


def _referring(text: str | None, ref: FilterRef) -> str | None:
    """Give the interface's XML with ``ref``; the very text where it refers to the same already."""
    return text if text is None or read_filterref(text) == ref else with_filterref(text, ref)


def _mac_rules(macs: tuple[int, ...]) -> list[Rule]:
    """Give the rules in the order in which they act; own MACs in steps of 10 as long as there is room."""
    step = 10 if len(macs) * 10 <= OWN_RULES_LIMIT else 1
    own = [
        _rule(Action.RETURN, _OWN_PRIORITY + step * number, ("dstmacaddr", format_mac(mac)))
        for number, mac in enumerate(macs)
    ]
    group = _rule(Action.RETURN, _GROUP_PRIORITY, ("dstmacaddr", GROUP_MASK), ("dstmacmask", f"${GROUP_MASK_NAME}"))
    return [*own, group, _rule(Action.DROP, _DROP_PRIORITY)]


def _rule(action: Action, priority: int, *attributes: tuple[str, str]) -> Rule:
    return Rule(action, RuleDirection.IN, priority, Match("mac", attributes))


def _names_in(identity: GuestIdentity, library: Mapping[str, Filter]) -> tuple[str, str]:
    """Give the names that our filters of this card have in the library, else those they are to get.

    The card's number changes when another card is taken out, and libvirt refuses one UUID under two names.
    """
    by_uuid = {found.uuid.lower(): name for name, found in library.items() if found.uuid}
    parent, child = (by_uuid.get(uuid) for uuid in filter_uuids(identity))
    parent = parent or filter_names(identity)[0]
    return parent, child or f"{parent}-mac"


def _first_mac(identity: GuestIdentity) -> int:
    if not identity.macs:
        raise UsageError("nobody's card: no MAC is known", identity.label, "name it with --mac")
    return identity.macs[0]


def _guest_uuid(identity: GuestIdentity) -> UUID | None:
    """Give the guest's UUID; None where there is none, or what a file says is none."""
    try:
        return UUID(identity.uuid) if identity.uuid else None
    except ValueError:
        return None
