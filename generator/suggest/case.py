"""What a suggestion is judged by, and what may stand against it: values, for the checks of refusals.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.host.guests import GuestCard
    from analyzer.model.identity import GuestIdentity
    from analyzer.report.findings import UsedMac
    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction
    from generator.nwfilter.model import Filter, FilterRef
    from generator.suggest.evidence import Basis
    from generator.suggest.profiles import FilterSet
    from generator.suggest.tree import TreeReading


class RefusalKind(StrEnum):
    """What stands against a filter."""

    NOTHING_SEEN = "nothing_seen"
    WINDOW_TOO_SHORT = "window_too_short"
    FRAMES_LOST = "frames_lost"
    OWN_NOT_LOOKED_AT = "own_not_looked_at"
    IDENTITY_GUESSED = "identity_guessed"
    OTHER_CARD = "other_card"
    OWN_MACS_DIFFER = "own_macs_differ"
    CARD_TYPE = "card_type"
    CONFIGURATIONS_DIFFER = "configurations_differ"
    DROPS_WANTED = "drops_wanted"
    FURTHER_MACS = "further_macs"
    USES_FOREIGN = "uses_foreign"
    MARKED_KEEP = "marked_keep"
    LEARNS_IP = "learns_ip"
    FILTER_INCOMPLETE = "filter_incomplete"
    NAME_TAKEN = "name_taken"
    PARAMETER_TAKEN = "parameter_taken"
    LOOP = "loop"
    NO_FRAMES = "no_frames"
    NO_ADDRESSES = "no_addresses"
    GROUPS_UNKNOWN = "groups_unknown"
    FURTHER_ADDRESSES = "further_addresses"
    OTHER_ADDRESSES = "other_addresses"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason not to suggest a filter, what to do about it, and whether ``--force`` may overrule it."""

    reason: str
    hint: str
    can_force: bool
    kind: RefusalKind


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the checks look at.

    ``existing`` is what the card refers to now, ``tree`` what stands below the filter that stays (None: there is none).
    ``used`` are the foreign MACs whose frames the guest answers or sends on, ``behind`` those that the bridge has
    learnt at its tap, ``virtual`` the virtual MACs that it has learnt elsewhere, with their ports.
    """

    target: GuestCard | GuestIdentity
    identity: GuestIdentity
    report: Report
    filter_set: FilterSet
    prediction: Prediction | None
    basis: Basis
    library: Mapping[str, Filter]
    existing: FilterRef | None
    tree: TreeReading | None
    used: tuple[UsedMac, ...] = ()
    behind: tuple[int, ...] = ()
    virtual: tuple[tuple[int, str], ...] = ()
