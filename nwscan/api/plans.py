"""Reviewed plans: read from their file, held against the host as it is now, and what they reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analyzer.errors import InputError, NwscanError
from analyzer.host.guests import LibvirtReader
from analyzer.host.rules import kernel_rules
from generator.deploy import transaction
from generator.deploy.blast_radius import BlastRadius, MigrationTarget, missing_there, reach
from generator.deploy.journal import Journal
from generator.deploy.libvirt_writer import LibvirtWriter
from generator.deploy.plan import SIZE_LIMIT, Plan, check
from generator.deploy.plan_file import decode_plans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwscan.config import Settings


def load_plans(path: Path) -> tuple[Plan, ...]:
    """Read the file of a plan. Raises InputError where it cannot be read or is none of ours."""
    try:
        with path.open("rb") as file:
            document = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"cannot read the plan: {error.strerror}", str(path), "see nwscan suggest -o") from error
    return decode_plans(document, str(path))


def require_as_planned(plans: Sequence[Plan], settings: Settings) -> None:
    """Raise HostError where the host is not as any of the plans found it: then nothing of them is done."""
    journal = Journal(settings.journal)
    with LibvirtWriter(settings.uri) as door:
        for plan in plans:
            check(plan)
            transaction.require_uri(plan, door)
            transaction.require_as_planned(plan, door, journal.in_force(plan.guest))


def blast_radius(plans: Sequence[Plan], settings: Settings, targets: Sequence[str] = ()) -> BlastRadius:
    """Give what the plans reach. ``targets`` are libvirt URIs of hosts to migrate to: no other host is ever asked."""
    with LibvirtReader(settings.uri) as libvirt:
        taps = [card.identity.tap for card in libvirt.cards() if card.identity.tap and card.filterref]
        names = {name for plan in plans for name in reach(plan).needs}
        here = {name: libvirt.filter_xml(name) for name in libvirt.filter_names() if name in names}
    backends = {rules.backend.value for tap in taps if (rules := kernel_rules(tap)).backend is not None}
    return BlastRadius(
        tuple(reach(plan) for plan in plans),
        ", ".join(sorted(backends)) or None,
        tuple(_target(uri, plans, here) for uri in targets),
    )


def _target(uri: str, plans: Sequence[Plan], here: dict[str, str]) -> MigrationTarget:
    try:
        with LibvirtReader(uri) as libvirt:
            there = {name: libvirt.filter_xml(name) for name in libvirt.filter_names()}
    except NwscanError as error:
        return MigrationTarget(uri, error=error.what)
    lacking, differing = missing_there(plans, there, here)
    return MigrationTarget(uri, tuple(lacking), tuple(differing))
