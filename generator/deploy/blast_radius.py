"""What a plan reaches: guests, cards, filters, who else is touched, what a migration would lack, the way back.

Values in, values out. A card to be read before anything is done, as text (nwscan/render/plan.py) and as JSON.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from generator.deploy.bridge_steps import tap_of
from generator.deploy.hook import hook_name
from generator.deploy.plan import Attach, DefineFilter, InstallHook, Plan, Reinstall, SetFdbEntry, SetPortFlag
from generator.deploy.undo import meaning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA: Final = "nwscan.blast-radius/1"


@dataclass(frozen=True, slots=True)
class GuestReach:
    """What a plan does to one guest; ``undo`` is the command that takes it back.

    ``taps`` are those of the cards that run; ``next_start`` says whether its definition is changed, ``open_taps`` are
    those whose rules are away for a moment while they are attached or made anew. ``others`` are the guests and filters
    that refer to a filter which is defined, by that filter.
    """

    guest: str
    uuid: str
    cards: tuple[str, ...]
    taps: tuple[str, ...]
    next_start: bool
    defines: tuple[str, ...]
    redefines: tuple[str, ...]
    open_taps: tuple[str, ...]
    ports: tuple[str, ...]
    entries: tuple[str, ...]
    hooks: tuple[str, ...]
    others: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    """Filters that another host must have before the guest is migrated there."""
    undo: str


@dataclass(frozen=True, slots=True)
class MigrationTarget:
    """A host that a person named; ``lacking`` are filters that are not there, ``differing`` are otherwise there.

    ``error`` says why nothing is known of it.
    """

    uri: str
    lacking: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Of all guests of a plan. ``backend`` is what carries out libvirt's filters here, None where that is not known."""

    guests: tuple[GuestReach, ...]
    backend: str | None = None
    targets: tuple[MigrationTarget, ...] = ()


def reach(plan: Plan) -> GuestReach:
    """Give what one plan reaches."""
    steps = plan.steps
    live = [step for step in steps if isinstance(step, Attach) and step.live]
    anew = [step for step in steps if isinstance(step, Reinstall)]
    ports = [step for step in steps if isinstance(step, SetPortFlag)]
    taps = [*(tap_of(step.after) for step in live), *(tap_of(step.before) for step in anew)]
    defined = [step for step in steps if isinstance(step, DefineFilter)]
    below = [one.name for one in plan.preconditions if one.kind == "filter"]
    return GuestReach(
        guest=plan.name,
        uuid=plan.guest,
        cards=tuple(dict.fromkeys((*plan.macs, *plan.bridge_cards))),
        taps=tuple(dict.fromkeys([*(tap for tap in taps if tap), *(step.port for step in ports)])),
        next_start=any(isinstance(step, Attach) and not step.live for step in steps),
        defines=tuple(step.name for step in defined if step.before is None),
        redefines=tuple(step.name for step in defined if step.before is not None),
        open_taps=tuple(tap for tap in taps if tap),
        ports=tuple(f"{step.port} of {step.bridge}" for step in ports),
        entries=tuple(f"{step.mac} at {step.port} of {step.bridge}" for step in steps if isinstance(step, SetFdbEntry)),
        hooks=tuple(hook_name(plan.guest, step.card) for step in steps if isinstance(step, InstallHook)),
        others=plan.users,
        needs=tuple(dict.fromkeys((*plan.filters, *below))),
        undo=f"nwscan rollback {shlex.quote(plan.name) if plan.name.isprintable() else plan.guest}",
    )


def to_document(radius: BlastRadius) -> dict[str, Any]:
    """Give the card as JSON."""
    return {
        "schema": SCHEMA,
        "backend": radius.backend,
        "guests": [asdict(one) for one in radius.guests],
        "migration_targets": [asdict(one) for one in radius.targets],
    }


def missing_there(
    plans: Sequence[Plan], there: Mapping[str, str], here: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Give the filters that another host lacks, and those that it has with another text than they will have here.

    ``there`` and ``here`` are texts by name; what a plan defines counts as here already.
    """
    defined = [step for plan in plans for step in plan.steps if isinstance(step, DefineFilter)]
    wanted = {**here, **{step.name: step.after for step in defined}}
    names = dict.fromkeys(name for plan in plans for name in reach(plan).needs)
    lacking = [name for name in names if name not in there]
    differing = [name for name in names if name in there and name in wanted and not _same(there[name], wanted[name])]
    return lacking, differing


def _same(one: str, other: str) -> bool:
    return meaning(one) == meaning(other)
