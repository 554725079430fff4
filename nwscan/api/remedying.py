"""A bridge remedy for a guest: measured, predicted on the same window, checked, and made into a plan.

Changes nothing. What speaks against a filter of profile ``mac`` speaks against turning the flooding off, too: both
keep from the guest what goes to other addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from analyzer.causes.remedies import Remedy, flood_off_for
from analyzer.errors import HostError, UsageError
from analyzer.host.guests import LibvirtReader
from analyzer.model.addresses import format_mac
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.hook import RELOAD, hook_text
from generator.deploy.plan import InstallHook, Plan
from generator.deploy.remedy_plan import Obstacle, obstacles, remedy_steps
from generator.suggest.alternatives import Removal, removal, removes_document
from generator.suggest.refusals import RefusalKind
from nwscan.api.explaining import explain
from nwscan.api.suggesting import Wish, suggest
from nwscan.config import Settings

if TYPE_CHECKING:
    from analyzer.causes.explanation import Explanation
    from nwscan import kept
    from nwscan.api.measure import CaptureOptions, Watcher
    from nwscan.api.suggesting import Proposals

SCHEMA: Final = "nwscan.remedy/1"
REMEDIES: Final = ("flood_off", "static_entry")
"""Those that a plan carries out; the others of ``explain`` are commands to type."""

_OF_FILTERS: Final = frozenset(
    {
        RefusalKind.CARD_TYPE,
        RefusalKind.CONFIGURATIONS_DIFFER,
        RefusalKind.LEARNS_IP,
        RefusalKind.FILTER_INCOMPLETE,
        RefusalKind.NAME_TAKEN,
        RefusalKind.PARAMETER_TAKEN,
        RefusalKind.LOOP,
    }
)
"""Refusals that are about nwfilter alone."""


@dataclass(frozen=True, slots=True)
class CardRemedy:
    """The remedy for one card, with what it would have done and what stands against it."""

    explanation: Explanation
    before: kept.KeptReport
    remedy: Remedy
    removes: Removal | None
    obstacles: tuple[Obstacle, ...]
    hook: str | None


@dataclass(frozen=True, slots=True)
class GuestRemedy:
    """The remedies of a guest's cards, and one plan for all of them."""

    cards: tuple[CardRemedy, ...]
    plan: Plan


def suggest_remedy(
    target: str,
    name: str,
    options: CaptureOptions,
    *,
    also_macs: tuple[int, ...] = (),
    with_hook: bool = False,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> GuestRemedy:
    """Measure and propose the remedy for each card of a guest.

    Raises HostError where libvirt or a tap refuses, where a tap is on no Linux bridge, or where the remedy does not fit
    what is seen; UsageError for a name that is no remedy of a plan.
    """
    settings = settings or Settings()
    if name not in REMEDIES:
        raise UsageError(f"no remedy for a plan: {name}", "--remedy", f"one of {', '.join(REMEDIES)}")
    explained = explain(target, options, settings=settings, watcher=watcher)
    proposals = suggest(target, options, wish=Wish(also_macs=also_macs), settings=settings, watcher=watcher)
    with LibvirtReader(settings.uri) as libvirt:
        version, uri = libvirt.version(), libvirt.uri
    door, cards, steps = BridgeWriter(), [], []
    for report, explanation in explained:
        seen = explanation.observation
        remedy = _remedy(name, explanation)
        new = remedy_steps(remedy, seen, door, also_macs=also_macs, with_hook=with_hook)
        steps += [step for step in new if step not in steps]
        hook = next((step for step in new if isinstance(step, InstallHook)), None)
        text = hook_text(seen.identity.uuid or "", hook.card, hook.bridge, hook.macs) if hook else None
        against = (
            *_refusals(proposals, seen.identity.macs, remedy),
            *obstacles(remedy, seen, with_hook=with_hook, libvirt_version=version),
        )
        cards.append(CardRemedy(explanation, report, remedy, removal(remedy, explanation), against, text))
    identity = explained[0][1].observation.identity
    evidence = tuple(str(one.before.path) for one in cards)
    plan = Plan("nwscan.plan/1", identity.uuid or "", identity.name or "", uri, tuple(steps), name, evidence)
    return GuestRemedy(tuple(cards), plan)


def _remedy(name: str, explanation: Explanation) -> Remedy:
    if name == "flood_off":
        return flood_off_for(explanation.observation)
    found = [one for cause in explanation.causes for one in cause.remedies if one.name == name]
    if not found:
        raise HostError(
            "no destination of the foreign frames has a port that is known",
            f"guest {explanation.observation.identity.label}",
            "see what fits: nwscan explain",
        )
    return found[0]


def _refusals(proposals: Proposals, macs: tuple[int, ...], remedy: Remedy) -> tuple[Obstacle, ...]:
    """Give what speaks against a filter for the card and is not about filters."""
    if remedy.flood_off_at is None:
        return ()
    mine = [one.suggestion for one in proposals.proposals if one.suggestion.identity.macs[:1] == macs[:1]]
    return tuple(
        Obstacle(each.reason, each.hint, each.can_force)
        for suggestion in mine
        for each in suggestion.refusals
        if each.kind not in _OF_FILTERS
    )


def to_document(card: CardRemedy) -> dict[str, Any]:
    """Give what is proposed for one card as ``nwscan.remedy/1``."""
    seen, remedy, removes = card.explanation.observation, card.remedy, card.removes
    identity = seen.identity
    return {
        "schema": SCHEMA,
        "guest": {
            "name": identity.name,
            "uuid": identity.uuid,
            "tap": identity.tap,
            "bridge": identity.bridge,
            "macs": [format_mac(mac) for mac in identity.macs],
        },
        "remedy": remedy.name,
        "title": remedy.title,
        "commands": list(remedy.commands),
        "undo": list(remedy.undo),
        "effect": remedy.effect,
        "risk": remedy.risk,
        "migration": remedy.migration,
        "hook": None if card.hook is None else {"text": card.hook, "needs": RELOAD},
        "removes": None if removes is None else removes_document(removes, seen.foreign),
        "refusals": [{"reason": one.reason, "hint": one.hint, "can_force": one.can_force} for one in card.obstacles],
        "report": str(card.before.path),
    }
