"""Suggest: a filter for each card of a guest, tried on the frames that the card really saw. Changes nothing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.host.guests import GuestCard, LibvirtReader
from generator.evaluate.prediction_document import from_document
from generator.nwfilter.xml import write_filter
from generator.suggest.by_hand import by_hand
from generator.suggest.profiles import card_identity, profile_filters
from generator.suggest.suggestion import Suggestion, filters_to_predict, interface_variables
from generator.suggest.suggestion import suggest as suggest_filter
from nwscan import kept
from nwscan.api.bridge_looks import BridgeLooks
from nwscan.api.identify import all_cards, cards_of, with_agents
from nwscan.api.inputs import open_inputs
from nwscan.api.measure import CaptureOptions, Unwatched, Watcher, analyze
from nwscan.api.planning import make_plan, read_library
from nwscan.api.prove import attached, capture_metered, changed_at_ns
from nwscan.config import FRESH_S, Settings
from nwscan.scale.remote import is_url
from nwscan.worker import parent
from nwscan.worker.messages import Predict, Predicted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.causes.observation import Observation
    from analyzer.model.identity import Address, GuestIdentity
    from analyzer.report.findings import UsedMac
    from analyzer.report.report import Report
    from generator.deploy.plan import Plan
    from generator.evaluate.prediction import Prediction
    from generator.nwfilter.model import Filter
    from generator.suggest.profiles import FilterSet


@dataclass(frozen=True, slots=True)
class Wish:
    """Which filter is wanted: ``profile`` and ``keep`` as for ``profile_filters``, ``addresses`` that a person states.

    ``also_macs`` count as the guest's own.
    """

    profile: str = "mac"
    also_macs: tuple[int, ...] = ()
    addresses: tuple[Address, ...] = ()
    keep: tuple[str, ...] = ()

    def of(self, identity: GuestIdentity) -> GuestIdentity:
        """Give the identity with the addresses that are stated."""
        return replace(identity, addresses=tuple(dict.fromkeys((*self.addresses, *identity.addresses))))


_MAC: Final = Wish()


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed for one card; ``before`` is the kept window it rests on, None for a file.

    ``library`` holds the host's filters by name, as they are now.
    """

    card: GuestCard | None
    report: Report
    before: kept.KeptReport | None
    suggestion: Suggestion
    library: Mapping[str, Filter] = field(default_factory=dict)


class Tried(NamedTuple):
    """What a filter would have done to frames, and the foreign MACs whose frames the guest answers or sends on."""

    prediction: Prediction | None = None
    used: tuple[UsedMac, ...] = ()


_UNTRIED: Final = Tried()


@dataclass(frozen=True, slots=True)
class Proposals:
    """What is proposed for one guest: a proposal a card, and one plan for all of them; why its agent told nothing."""

    proposals: tuple[Proposal, ...]
    plan: Plan
    notes: tuple[str, ...] = ()


def suggest(
    target: str,
    options: CaptureOptions | None = None,
    *,
    wish: Wish = _MAC,
    ask_agent: bool = False,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> Proposals:
    """Propose a filter for each card of a guest, from fresh windows; nothing is changed.

    Measures where no kept window is younger than a quarter of an hour. With ``ask_agent`` the addresses that the
    guest's agent tells count as seen, not as trusted. Raises HostError where libvirt or a tap refuses.
    """
    settings = settings or Settings()
    found = cards_of([target], settings)
    identities = tuple(card.identity for card in found)
    identities, notes = with_agents(identities, settings) if ask_agent else (identities, ())
    cards = tuple(replace(card, identity=wish.of(one)) for card, one in zip(found, identities, strict=True))
    if wish.addresses and len(cards) > 1:
        names = ", ".join(f"{card.identity.name}:{card.identity.card}" for card in cards)
        raise UsageError("the addresses of which card are these?", f"--ip for {names}", "name one card")
    (proposals,) = _for_guests(cards, options, wish, settings, watcher)
    return replace(proposals, notes=notes)


def suggest_all(
    options: CaptureOptions | None = None,
    *,
    wish: Wish = _MAC,
    settings: Settings | None = None,
    watcher: Watcher | None = None,
) -> tuple[Proposals, ...]:
    """Propose a filter for each card with a tap of every guest that runs, all measured in one window.

    Raises UsageError for addresses in the wish: they are of one card.
    """
    settings = settings or Settings()
    if wish.addresses:
        raise UsageError("the addresses of which card are these?", "--ip with --all", "name one card")
    cards = all_cards(settings, running=True)
    if not cards:
        raise HostError("no guest runs with a tap", settings.uri, "see nwscan list")
    return _for_guests(cards, options, wish, settings, watcher)


def _for_guests(
    cards: Sequence[GuestCard],
    options: CaptureOptions | None,
    wish: Wish,
    settings: Settings,
    watcher: Watcher | None,
) -> tuple[Proposals, ...]:
    """Give the proposals, a guest each, in the order of the cards."""
    looking = BridgeLooks([card.identity for card in cards], watcher or Unwatched())
    windows = _windows(tuple(cards), options or CaptureOptions(), settings, looking)
    looking.look()
    found = []
    with LibvirtReader(settings.uri) as libvirt:
        library, everybody = read_library(libvirt), [card.identity for card in libvirt.cards()]
        seen = [looking.seen(card, window.report, everybody) for card, window in zip(cards, windows, strict=True)]
        proposed = []
        for card, window, observation in zip(cards, windows, seen, strict=True):
            one = _propose(card, window, library, wish, observation)
            proposed.append(one)  # two guests' uuids may begin alike: the next one's filters get other names
            library = {**library, **{each.name: each for each in one.suggestion.filter_set.filters}}
        for uuid in dict.fromkeys(card.identity.uuid for card in cards):
            mine = tuple(one for one in proposed if one.card is not None and one.card.identity.uuid == uuid)
            changes = [(one.card, one.suggestion.filter_set) for one in mine if one.card is not None]
            plan = make_plan(changes, libvirt, profile=wish.profile, evidence=_evidence(mine))
            found.append(Proposals(mine, plan))
    return tuple(found)


def suggest_from_file(
    path: str,
    identity: GuestIdentity | None,
    *,
    wish: Wish = _MAC,
    captured_on: str | None = None,
    watcher: Watcher | None = None,
) -> Proposal:
    """Propose a filter from a capture, without libvirt; the frames of the file are what it is tried on.

    A name that ends in ``.json`` is a report's: the filter is tried on the frames that are kept with it, if they are
    there, and else told from its counts. Raises InputError where the file is neither.
    """
    if path.endswith(".json") and not is_url(path):
        return _suggest_from_report(kept.KeptReport(Path(path), kept.load(Path(path))), identity, wish)
    report = analyze([path], identity, captured_on=captured_on, watcher=watcher)
    guest = wish.of(report.identity)
    filters = profile_filters(guest, wish.profile, wish.also_macs, wish.keep)
    tried = predict(path, guest.with_macs(wish.also_macs), filters, {}, captured_on=captured_on)
    return Proposal(None, report, None, _suggestion(guest, report, tried, {}, wish))


def _suggest_from_report(given: kept.KeptReport, identity: GuestIdentity | None, wish: Wish) -> Proposal:
    report, tried = given.report, _UNTRIED
    guest = wish.of(identity or report.identity)
    recorded = None if report.frames_file is None else Path(report.frames_file.path)
    frames = given.frames_path or (recorded if recorded is not None and recorded.is_file() else None)
    if frames is not None and report.frames_file is not None:
        filters = profile_filters(guest, wish.profile, wish.also_macs, wish.keep)
        tried = predict(str(frames), guest.with_macs(wish.also_macs), filters, {})
    return Proposal(None, report, None, _suggestion(guest, report, tried, {}, wish))


def predict(
    path: str,
    identity: GuestIdentity,
    filters: FilterSet,
    library: Mapping[str, Filter],
    *,
    captured_on: str | None = None,
) -> Tried:
    """Say what the filters would have done to the frames of a file; a worker reads them."""
    with ExitStack() as stack:
        names, descriptors = open_inputs([path], stack)
        variables = interface_variables(identity, filters)
        request = Predict(
            names[0],
            identity,
            tuple(write_filter(each) for each in filters_to_predict(filters, library, variables)),
            variables,
            captured_on,
        )
        reply = parent.run(request, descriptors, on_handed_over=stack.close)
    if not isinstance(reply, Predicted):
        raise TypeError(reply)
    return Tried(from_document(msgspec.json.decode(reply.document)), reply.used)


def _windows(
    cards: tuple[GuestCard, ...], options: CaptureOptions, settings: Settings, looking: BridgeLooks
) -> tuple[kept.KeptReport, ...]:
    """Give the window of each card as it was before any change: a fresh kept one, else a new one, metered."""
    fresh = [_fresh(card, settings, options.duration_s) for card in cards]
    known = tuple(one for one in fresh if one is not None)
    if len(known) == len(cards):
        return known
    looking.look()
    return capture_metered([card.identity for card in cards], options, settings=settings, watcher=looking.watcher)


_SHORTER_S: Final = 0.5
"""By how much a kept window may be shorter than the one asked for."""


def _fresh(card: GuestCard, settings: Settings, duration_s: float | None) -> kept.KeptReport | None:
    """Give the kept window that can stand for a new one: as long, whole, younger than any change; else None."""
    try:
        latest = kept.latest(settings.reports, card.identity)
    except NwscanError:
        return None  # a damaged one is no reason not to measure
    if latest is None or not kept.is_fresh(latest, FRESH_S) or latest.report.identity.tap != card.identity.tap:
        return None
    if (
        latest.report.has_unseen
        or not latest.report.frames_seen
        or latest.report.duration_s < (duration_s or 0.0) - _SHORTER_S
    ):
        return None
    has_baseline = card.filterref is None or latest.meter is not None
    starts_ns = [window.start_ns or 0 for window in latest.report.windows]
    is_untouched = min(starts_ns) > changed_at_ns(card.identity, settings)
    return latest if has_baseline and is_untouched and not attached(card.identity, settings) else None


def _propose(
    card: GuestCard,
    window: kept.KeptReport,
    library: Mapping[str, Filter],
    wish: Wish,
    observation: Observation | None,
) -> Proposal:
    filters = profile_filters(card, wish.profile, wish.also_macs, wish.keep, library=library)
    tried = _UNTRIED
    if window.frames_path is not None:
        own = card_identity(card).with_macs(wish.also_macs)
        tried = predict(str(window.frames_path), own, filters, library)
    suggestion = _suggestion(card, window.report, tried, library, wish, observation)
    return Proposal(card, window.report, window, suggestion, library)


def _suggestion(
    target: GuestCard | GuestIdentity,
    report: Report,
    tried: Tried,
    library: Mapping[str, Filter],
    wish: Wish,
    observation: Observation | None = None,
) -> Suggestion:
    return suggest_filter(
        target,
        report,
        tried.prediction,
        library=library,
        used=tried.used,
        observation=observation,
        also_macs=wish.also_macs,
        profile=wish.profile,
        keep=wish.keep,
    )


def _evidence(proposals: Sequence[Proposal]) -> tuple[str, ...]:
    return tuple(str(one.before.path) for one in proposals if one.before is not None)


def write_filters(folder: Path, proposal: Proposal) -> tuple[Path, ...]:
    """Write what the proposal's commands for virsh name: the filters, and the card's XML with them and as it was.

    Gives the paths, in the order of use.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make the folder: {error.strerror}", str(folder), "name another one") from error
    suggestion = proposal.suggestion
    recipe = by_hand(suggestion.filter_set, suggestion.identity.name, card=suggestion.card, library=proposal.library)
    return kept.write_together((folder / name, text.encode()) for name, text in recipe.files)
