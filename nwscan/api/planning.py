"""From a suggestion to a plan: what would be changed on this host, with what is there now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import HostError
from analyzer.model.addresses import format_mac
from generator.deploy.plan import Attach, DefineFilter, Plan, Step
from generator.nwfilter.normalise import normalise
from generator.nwfilter.xml import read_filter, write_filter
from generator.suggest.profiles import interface_xml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.host.guests import GuestCard, LibvirtReader
    from generator.nwfilter.model import Filter
    from generator.suggest.profiles import FilterSet


def read_library(libvirt: LibvirtReader) -> dict[str, Filter]:
    """Give every filter of the host by name."""
    return {name: read_filter(libvirt.filter_xml(name)).filter for name in libvirt.filter_names()}


def make_plan(
    changes: Sequence[tuple[GuestCard, FilterSet]],
    libvirt: LibvirtReader,
    *,
    profile: str,
    evidence: Sequence[str] = (),
) -> Plan:
    """Give the plan that puts the filters on the cards, all of one guest; without steps where all is there already.

    Raises HostError where a filter of our name is somebody else's.
    """
    identity = changes[0][0].identity
    steps = [step for card, filters in changes for step in _card_steps(card, filters, libvirt)]
    return Plan(
        schema="nwscan.plan/1",
        guest=identity.uuid or "",
        name=identity.name or "",
        uri=libvirt.uri,
        steps=tuple(steps),
        profile=profile,
        evidence=tuple(evidence),
    )


def _card_steps(card: GuestCard, filters: FilterSet, libvirt: LibvirtReader) -> Iterator[Step]:
    present = set(libvirt.filter_names())
    for wanted in filters.filters:
        before = libvirt.filter_xml(wanted.name) if wanted.name in present else None
        known = read_filter(before).filter if before else None
        if known is not None and known.uuid != wanted.uuid:
            raise HostError(
                f"there is a filter {wanted.name} that is not nwscan's",
                libvirt.uri,
                "rename it, or remove it if it is unused",
            )
        if known is None or normalise(known).filter != normalise(wanted).filter:
            yield DefineFilter(wanted.name, wanted.uuid or "", before, write_filter(wanted))
    live, inactive = interface_xml(filters, card)
    mac = format_mac(card.identity.macs[0])
    for is_live, before, after in ((True, card.live_xml, live), (False, card.inactive_xml, inactive)):
        if before is not None and after is not None and before != after:
            yield Attach(mac, is_live, before, after)
