"""The profiles: which filters keep what is not the guest's from a card, composed with the filter that is there.

``mac`` drops unicast to other MACs; ``ip`` also IPv4 unicast to other addresses (IPv6 only where a person states the
addresses); ``strict`` also multicast to groups that the guest has not joined and ARP for others; ``allow-ipv4`` is the
pair of filters of 2015. docs/profiles.md tells what each breaks, rules.py has the rules. MACs and addresses are
literals: a parameter MAC or IP on the interface would override a variable.

The interface refers to one filter: ours, which refers to our chains and then to the filter that was there. Parameters
stay on the interface as they were and so reach that filter as before.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from types import EllipsisType
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from analyzer.errors import InputError, UsageError
from analyzer.host.guests import GuestCard
from analyzer.model.addresses import format_mac, is_group
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Provenance
from generator.nwfilter.model import Filter, FilterRef
from generator.nwfilter.xml import read_filterref, with_filterref
from generator.suggest.keeping import NOTHING, Keeping, parse_keep
from generator.suggest.rules import (
    OWN_RULES_LIMIT,
    Child,
    PlannedRule,
    accepting_children,
    arp_child,
    ipv4_child,
    ipv6_child,
    mac_child,
)
from generator.suggest.tree import closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from analyzer.model.identity import Address, GuestIdentity

PREFIX: Final = "nwscan-"
PROFILES: Final = ("mac", "ip", "strict", "allow-ipv4")
PARTS: Final = ("mac", "ip4", "ip6", "arp", "allow-ipv4", "clean")
"""What the names of our filters below the root end in."""

THINNED: Final = {
    profile: frozenset({FrameClass.MULTICAST, FrameClass.BROADCAST}) for profile in ("strict", "allow-ipv4")
}
"""Classes of which a profile drops a part on purpose, so that to see less of them afterwards is no harm."""

NO_GUEST_NAMESPACE: Final = uuid5(NAMESPACE_URL, "nwscan/no-guest")
"""The namespace of the UUIDs of filters for a card of which only the MAC is known."""

_ROOT: Final = "root"


class Lack(StrEnum):
    """What a profile needs to know and nobody has told: then the part that needs it is left out, and it is refused."""

    ADDRESSES = "addresses"
    GROUPS = "groups"


@dataclass(frozen=True, slots=True)
class FilterSet:
    """Filters to define, in this order (children first, the root last), and what the interface is to refer to.

    ``previous`` is the filter that was on the card before and goes on acting, None where there was none. ``attached``
    says that the card refers to the root already: to define the filters is all there is to do. ``macs`` are those to
    which unicast passes, with what is kept; ``addresses`` are the IP addresses that the rules know. ``children`` say of
    each filter but the root what its rules are for, in the same order. ``brings`` names every filter whose drops are of
    this set's doing: ours, and those of libvirt that ``previous`` does not use.
    """

    filters: tuple[Filter, ...]
    reference: FilterRef
    previous: str | None = None
    attached: bool = False
    macs: tuple[int, ...] = ()
    profile: str = "mac"
    children: tuple[Child, ...] = ()
    keeping: Keeping = NOTHING
    addresses: tuple[str, ...] = ()
    lacks: tuple[Lack, ...] = ()
    brings: frozenset[str] = frozenset()

    @property
    def root(self) -> Filter:
        """The filter that the interface refers to."""
        return self.filters[-1]

    @property
    def planned(self) -> tuple[tuple[Filter, int, PlannedRule], ...]:
        """Each rule of ours with its filter and its place among the filter's entries, from 1; first in what acts first.

        Libvirt's own filters that ours refer to are not among them.
        """
        pairs = zip(self.children, self.filters[:-1], strict=True)
        return tuple(
            (filter_, place, entry)
            for child, filter_ in pairs
            for place, entry in enumerate(child.entries, start=1)
            if isinstance(entry, PlannedRule)
        )

    @property
    def first_priority(self) -> int:
        """The priority of the chain that acts last of ours: what lets pass before it takes frames from us."""
        return max(each.chain_priority for each in self.filters[:-1] if each.chain != _ROOT)

    def passes(self, mac: int) -> bool:
        """Say whether unicast to ``mac`` passes."""
        return mac in self.macs or self.keeping.passes(mac)


def filter_name(identity: GuestIdentity, part: str = _ROOT) -> str:
    """Give the name of the filter to attach, or of the ``part`` below it.

    ``nwscan-<first 8 hex digits of the guest's UUID>-<card>``; where no UUID is known (files) the last 8 hex digits of
    the MAC and card 0. Parts add theirs: ``-mac``. Raises UsageError where the card has no MAC.
    """
    uuid = _guest_uuid(identity)
    if uuid is None:
        root = f"{PREFIX}{_first_mac(identity) & 0xFFFF_FFFF:08x}-0"
    else:
        root = f"{PREFIX}{uuid.hex[:8]}-{identity.card or 0}"
    return root if part == _ROOT else f"{root}-{part}"


def filter_uuid(identity: GuestIdentity, part: str = _ROOT) -> str:
    """Give the UUID of the same: always the same one for a card, so that defining it again replaces it."""
    namespace, mac = _guest_uuid(identity) or NO_GUEST_NAMESPACE, format_mac(_first_mac(identity))
    return str(uuid5(namespace, f"{mac}/{part}"))


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
    return found is not None and found.uuid is not None and found.uuid.lower() == filter_uuid(identity)


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
        own = {_name_in(identity, part, library) for part in PARTS}
        others = [ref for ref in library[existing.filter].references if ref.filter not in own]
        return others[0] if others else None
    if existing.filter == filter_name(identity) and existing.filter not in library:
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
    """Give ``profile_filters`` of the profile ``mac``."""
    return profile_filters(card, "mac", extra_macs, existing=existing, library=library)


def profile_filters(
    card: GuestCard | GuestIdentity,
    profile: str = "mac",
    extra_macs: tuple[int, ...] = (),
    keep: Iterable[str] = (),
    *,
    existing: FilterRef | EllipsisType | None = ...,
    library: Mapping[str, Filter] | None = None,
) -> FilterSet:
    """Give the filters of ``profile`` for a card whose own MACs are its own and ``extra_macs``.

    Only trusted addresses of the card become rules; ``keep`` as for ``parse_keep``. ``existing`` is what the card
    refers to now, by default what the card itself says. ``library`` holds the filters of the host by name: needed where
    the card may carry a filter of ours already. Raises UsageError for an unknown profile or what ``own_macs`` and
    ``parse_keep`` refuse, InputError as ``previous_filter`` and where filters of libvirt that are needed are not there.
    """
    if profile not in PROFILES:
        raise UsageError(f"there is no profile {profile!r}", hint=f"take one of: {', '.join(PROFILES)}")
    identity, known = card_identity(card), library or {}
    before = card_reference(card) if isinstance(existing, EllipsisType) else existing
    previous, macs = previous_filter(identity, before, known), own_macs(identity, extra_macs)
    keeping, addresses = parse_keep(keep), trusted_addresses(identity)
    lacks = _lacks(profile, identity, keeping)
    children = _children(profile, identity, macs, keeping, known)
    names = [_name_in(identity, each.part, known) for each in children]
    filters = [each.filter(name, filter_uuid(identity, each.part)) for each, name in zip(children, names, strict=True)]
    refs = [FilterRef(name, each.parameters) for each, name in zip(children, names, strict=True) if not each.nested]
    root = _name_in(identity, _ROOT, known)
    filters.append(Filter(root, filter_uuid(identity), _ROOT, None, (*refs, *((previous,) if previous else ()))))
    return FilterSet(
        tuple(filters),
        FilterRef(root, before.parameters if before else ()),
        previous.filter if previous else None,
        before is not None and before.filter == root,
        macs,
        profile,
        children,
        keeping,
        () if profile == "mac" else addresses,
        lacks,
        _brings(filters[:-1], previous, known),
    )


def trusted_addresses(identity: GuestIdentity, version: int | None = None) -> tuple[str, ...]:
    """Give the unicast addresses of the card that somebody trusted stated, each once; those learnt from traffic not."""
    found: dict[str, None] = {}
    for address in identity.addresses:
        value = _ip_address(address) if address.trusted else None
        if value is not None and version in (None, value.version):
            found[str(value)] = None
    return tuple(found)


def untrusted_addresses(addresses: Iterable[Address], known: Iterable[str], *, profile: str) -> tuple[str, ...]:
    """Give the further addresses that the guest seems to use, but for those that ``profile`` lets pass unstated."""
    values = [_ip_address(each) for each in addresses if not each.trusted]
    further = dict.fromkeys(str(value) for value in values if value is not None and not _passes(value, profile))
    return tuple(text for text in further if text not in set(known))


def _passes(value: ipaddress.IPv4Address | ipaddress.IPv6Address, profile: str) -> bool:
    """Say whether a link-local address passes: but for IPv6 and the profile ``ip``, nobody has a rule for it."""
    return value.is_link_local and (value.version == 6 or profile == "ip")  # noqa: PLR2004 - IPv6


def _ip_address(address: Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        value = ipaddress.ip_address(address.value)
    except ValueError:
        return None
    return None if value.is_multicast or value.is_unspecified or getattr(value, "scope_id", None) else value


def stated_ipv6(identity: GuestIdentity) -> tuple[str, ...]:
    """Give the IPv6 addresses that a person stated on the command line, which says that there are no others.

    Leases and parameters of a filter say nothing of what the guest makes up by itself (RFC 4862, RFC 8981).
    """
    told = (each for each in identity.addresses if each.source is Provenance.COMMAND_LINE and each.trusted)
    values = (_ip_address(each) for each in told)
    return tuple(dict.fromkeys(str(value) for value in values if value is not None and value.version == 6))  # noqa: PLR2004


def _lacks(profile: str, identity: GuestIdentity, keeping: Keeping) -> tuple[Lack, ...]:
    needs_addresses = profile != "mac" and not trusted_addresses(identity, 4)
    needs_groups = profile == "strict" and not (identity.groups or keeping.names_groups or keeping.all_groups)
    return (*((Lack.ADDRESSES,) if needs_addresses else ()), *((Lack.GROUPS,) if needs_groups else ()))


def _children(
    profile: str, identity: GuestIdentity, macs: tuple[int, ...], keeping: Keeping, library: Mapping[str, Filter]
) -> tuple[Child, ...]:
    """Give the parts of the profile; what needs knowledge that is not there is left out."""
    own, ipv4 = mac_child(macs, keeping), trusted_addresses(identity, 4)
    if profile == "mac" or (not ipv4 and profile == "allow-ipv4"):
        return (own,)
    if profile == "allow-ipv4":
        children = accepting_children(_name_in(identity, "allow-ipv4", library), ipv4, keeping)
        _require(children, library)
        return children
    groups = None
    if profile == "strict" and not keeping.all_groups and (identity.groups or keeping.names_groups):
        groups = tuple(dict.fromkeys(mac for mac in identity.groups if is_group(mac)))
    found = [own, ipv4_child(ipv4, keeping, groups) if ipv4 else None]
    found.append(ipv6_child(stated_ipv6(identity), keeping, groups))
    if profile == "strict" and ipv4:
        found.append(arp_child(ipv4, keeping))
    return tuple(each for each in found if each is not None)


def _require(children: tuple[Child, ...], library: Mapping[str, Filter]) -> None:
    """See that libvirt's own filters are there that the 2015 filters refer to."""
    refs = (each for child in children for each in child.entries if isinstance(each, FilterRef))
    absent = [ref.filter for ref in refs if ref.filter not in library and not ref.filter.startswith(PREFIX)]
    if absent:
        raise InputError(
            f"the profile allow-ipv4 is made of filters of libvirt that are not there: {', '.join(absent)}",
            hint="name a guest of a host that has them (Debian: package libvirt-daemon-system)",
        )


def _brings(own: list[Filter], previous: FilterRef | None, library: Mapping[str, Filter]) -> frozenset[str]:
    there = [library[previous.filter]] if previous is not None and previous.filter in library else []
    return frozenset(each.name for each in closure(own, library)) - {each.name for each in closure(there, library)}


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


def _name_in(identity: GuestIdentity, part: str, library: Mapping[str, Filter]) -> str:
    """Give the name that this filter of ours has in the library, else the one it is to get.

    The card's number changes when another card is taken out, and libvirt refuses one UUID under two names.
    """
    uuids = {filter_uuid(identity, part): part, filter_uuid(identity): _ROOT}
    found = {uuids.get((each.uuid or "").lower()): name for name, each in library.items()}
    if part in found:
        return found[part]
    root = found.get(_ROOT) or _free_root(identity, library)
    return root if part == _ROOT else f"{root}-{part}"


def _free_root(identity: GuestIdentity, library: Mapping[str, Filter]) -> str:
    """Give the short name, or where another guest of the same first 8 digits has it the one with all 32 digits."""
    short, uuid = filter_name(identity), _guest_uuid(identity)
    is_taken = any(name == short or name.startswith(f"{short}-") for name in library)
    return f"{PREFIX}{uuid.hex}-{identity.card or 0}" if is_taken and uuid is not None else short


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
