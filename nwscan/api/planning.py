"""From a suggestion to a plan: what would be changed on this host, with what is there now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import HostError
from analyzer.model.addresses import format_mac
from generator.deploy.plan import Attach, DefineFilter, Plan, Step
from generator.deploy.preconditions import filter_precondition, other_users, users_precondition
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
    steps = tuple(step for card, filters in changes for step in _card_steps(card, filters, libvirt))
    defined = [step for step in steps if isinstance(step, DefineFilter)]
    names = tuple(step.name for step in defined)
    all_users = libvirt.filter_users() if defined else {}
    users = {name: other_users(identity.name or "", names, all_users.get(name, ())) for name in names}
    return Plan(
        schema="nwscan.plan/1",
        guest=identity.uuid or "",
        name=identity.name or "",
        uri=libvirt.uri,
        steps=steps,
        profile=profile,
        evidence=tuple(evidence),
        preconditions=(
            *(filter_precondition(name, text) for name, text in _below(defined, libvirt).items()),
            *(users_precondition(name, others) for name, others in users.items()),
        ),
        users={name: others for name, others in users.items() if others},
    )


def _below(defined: Sequence[DefineFilter], libvirt: LibvirtReader) -> dict[str, str | None]:
    """Give the texts of the filters that those of the plan come to refer to and that are none of it."""
    present, own = set(libvirt.filter_names()), {step.name for step in defined}
    found: dict[str, str | None] = {}
    todo = [ref.filter for step in defined for ref in read_filter(step.after).filter.references]
    while todo:
        name = todo.pop()
        if name in found or name in own:
            continue
        found[name] = libvirt.filter_xml(name) if name in present else None
        text = found[name]
        todo += [ref.filter for ref in read_filter(text).filter.references] if text else []
    return found


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
