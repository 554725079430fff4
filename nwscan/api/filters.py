"""The host's nwfilters: who refers to whom, who uses them, and one of them in full, in the order in which it acts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import NwscanError, UsageError
from analyzer.host.guests import LibvirtReader
from analyzer.model.addresses import format_mac
from generator.evaluate.program import instantiate
from generator.evaluate.tree_lint import lint_tree
from generator.nwfilter.model import Effect, Filter, FilterRef, Finding
from generator.nwfilter.protocols import Family
from generator.nwfilter.xml import read_filter
from generator.suggest.tree import read_tree
from nwscan.api.filter_tree import filter_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.host.guests import GuestCard
    from generator.evaluate.program import Command, Program
    from nwscan.api.filter_tree import FilterTree


LIST_SCHEMA: Final = "nwscan.filters/1"
VIEW_SCHEMA: Final = "nwscan.filter/1"


@dataclass(frozen=True, slots=True)
class FilterUse:
    """One card that refers to a filter: in what runs, in what the next start will use, or both."""

    guest: str
    card: int
    tap: str | None
    live: bool
    inactive: bool


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter of the host; ``value`` is None where it is referred to and missing, or cannot be read (``error``)."""

    name: str
    value: Filter | None
    referenced_by: tuple[str, ...] = ()
    uses: tuple[FilterUse, ...] = ()
    error: str = ""


def list_filters(uri: str) -> tuple[FilterRow, ...]:
    """Give every filter of the host, and those that are referred to and missing, by name.

    Raises HostError where libvirt does not answer.
    """
    filters: dict[str, Filter | None] = {}
    errors: dict[str, str] = {}
    with LibvirtReader(uri) as host:
        for name in host.filter_names():
            try:
                filters[name] = read_filter(host.filter_xml(name)).filter
            except NwscanError as error:
                filters[name], errors[name] = None, error.what
        cards = host.cards()
    uses = _uses(cards)
    referrers: dict[str, list[str]] = {}
    for name, value in filters.items():
        for target in dict.fromkeys(ref.filter for ref in value.references) if value else ():
            referrers.setdefault(target, []).append(name)
    for name in sorted({*uses, *referrers} - set(filters)):
        filters[name], errors[name] = None, "missing"
    return tuple(
        FilterRow(name, value, tuple(referrers.get(name, ())), tuple(uses.get(name, ())), errors.get(name, ""))
        for name, value in filters.items()
    )


def _uses(cards: Sequence[GuestCard]) -> dict[str, list[FilterUse]]:
    uses: dict[str, list[FilterUse]] = {}
    for card in cards:
        live = card.filterref[0] if card.filterref and card.running else None
        kept = card.inactive_filterref[0] if card.inactive_filterref else None
        for name in dict.fromkeys(one for one in (live, kept) if one):
            identity = card.identity
            use = FilterUse(
                identity.name or "", identity.card or 0, identity.tap, live=name == live, inactive=name == kept
            )
            uses.setdefault(name, []).append(use)
    return uses


@dataclass(frozen=True, slots=True)
class FilterView:
    """One filter in full: its tree, the program with the variables known (``$NAME`` for those in ``lacking``).

    ``program`` is None where something in the tree is missing; ``findings`` then says so.
    """

    tree: FilterTree
    variables: Mapping[str, tuple[str, ...]]
    lacking: tuple[str, ...]
    program: Program | None
    findings: tuple[Finding, ...]
    card: GuestCard | None = None

    @property
    def tap(self) -> str:
        """The tap that the commands are shown for."""
        return (self.card.identity.tap if self.card else None) or "TAP"

    def walk(self) -> Iterator[tuple[int, FilterRef]]:
        """Give the references from the root on, depth first, with their depth; a loop is not followed."""
        yield from _walk(FilterRef(self.tree.root.name), self.tree.library, ())


_WALK_LIMIT: Final = 500


def _walk(ref: FilterRef, library: Mapping[str, Filter], path: tuple[str, ...]) -> Iterator[tuple[int, FilterRef]]:
    pending = [(ref, path)]
    for _ in range(_WALK_LIMIT):
        if not pending:
            return
        each, above = pending.pop()
        yield len(above), each
        found = library.get(each.filter)
        if found is not None and each.filter not in above:
            pending += [(inner, (*above, each.filter)) for inner in reversed(found.references)]


def card_reference(card: GuestCard, host: LibvirtReader) -> FilterRef | None:
    """Give what is applied on a card now: the binding of its tap where it runs, else what its XML refers to."""
    binding = (
        next((one for one in host.bindings() if one.tap == card.identity.tap), None) if card.identity.tap else None
    )
    if binding is not None:
        return FilterRef(binding.filter, binding.parameters)
    return FilterRef(*card.filterref) if card.filterref else None


def resolved_card(target: str, host: LibvirtReader) -> GuestCard:
    """Give the one card that TARGET names, of a guest that runs or not. Raises UsageError where it has several."""
    cards = host.resolve(target, need_tap=False)
    if len(cards) != 1:
        names = ", ".join(f"{card.identity.name}:{card.identity.card}" for card in cards)
        raise UsageError(f"{target} has {len(cards)} cards", names, f"name one of them, such as {target}:0")
    return cards[0]


def view_filter(
    named: str,
    uri: str,
    *,
    guest: str | None = None,
    parameters: Mapping[str, tuple[str, ...]] | None = None,
    library: Sequence[str] = (),
) -> FilterView:
    """Give one filter with its whole tree, resolved with a guest's parameters where one is named.

    Parameters come before those of the guest. Raises as ``filter_tree`` does.
    """
    card: GuestCard | None = None
    given: dict[str, tuple[str, ...]] = {}
    if guest is None:
        tree = filter_tree(named, library, uri=uri)
    else:
        with LibvirtReader(uri) as host:
            card = resolved_card(guest, host)
            reference = card_reference(card, host)
            tree = filter_tree(named, library, host)
        given = card_variables(card, reference)
    variables = {**given, **(parameters or {})}
    return _view(tree, variables, card)


def card_variables(card: GuestCard, reference: FilterRef | None) -> dict[str, tuple[str, ...]]:
    """Give the variables that libvirt has for a card: its MAC, and the parameters of its filterref."""
    own = {"MAC": (format_mac(card.identity.macs[0]),)} if card.identity.macs else {}
    return {**own, **(reference.variables if reference else {})}


def _view(tree: FilterTree, variables: Mapping[str, tuple[str, ...]], card: GuestCard | None) -> FilterView:
    reading = read_tree(tree.root.name, tree.library, variables, 0)
    lacking = tuple(dict.fromkeys(name.partition("[")[0] for name in reading.lacking))
    findings = (*tree.findings, *lint_tree(tree.root, tree.library, None if lacking else variables))
    program = None
    try:
        program = instantiate(tree.root, tree.library, {**variables, **{name: (f"${name}",) for name in lacking}})
    except NwscanError as error:
        if not any(each.effect in (Effect.FAILS, Effect.REJECTED) for each in findings):
            findings = (*findings, Finding(Effect.FAILS, error.what, error.where, hint=error.hint))
    return FilterView(tree, variables, lacking, program, tuple(dict.fromkeys(findings)), card)


def list_document(rows: Sequence[FilterRow]) -> dict[str, Any]:
    """Give the rows as ``nwscan.filters/1``; what is not known of a filter is null."""
    return {"schema": LIST_SCHEMA, "filters": [_row_document(row) for row in rows]}


def _row_document(row: FilterRow) -> dict[str, Any]:
    value = row.value
    return {
        "name": row.name,
        "uuid": value.uuid if value else None,
        "chain": value.chain if value else None,
        "priority": value.chain_priority if value else None,
        "rules": len(value.rules) if value else None,
        "references": list(dict.fromkeys(ref.filter for ref in value.references)) if value else None,
        "referenced_by": list(row.referenced_by),
        "uses": [asdict(use) for use in row.uses],
        "error": row.error or None,
    }


def finding_document(each: Finding) -> dict[str, Any]:
    """Give one finding; ``effect`` is what libvirt does about it."""
    return {
        "effect": each.effect.value,
        "what": each.what,
        "where": each.where or None,
        "line": each.line,
        "hint": each.hint or None,
    }


def view_document(view: FilterView) -> dict[str, Any]:
    """Give one filter as ``nwscan.filter/1``; ``order`` is null where the tree is not complete."""
    identity = view.card.identity if view.card else None
    library = view.tree.library
    return {
        "schema": VIEW_SCHEMA,
        "name": view.tree.root.name,
        "guest": None if identity is None else {"name": identity.name, "card": identity.card, "tap": identity.tap},
        "variables": {name: list(values) for name, values in view.variables.items()},
        "lacking": list(view.lacking),
        "tree": [
            {
                "depth": depth,
                "name": ref.filter,
                "parameters": [{"name": name, "value": value} for name, value in ref.parameters],
                "place": view.tree.places.get(ref.filter),
                "chain": library[ref.filter].chain if ref.filter in library else None,
                "priority": library[ref.filter].chain_priority if ref.filter in library else None,
                "rules": len(library[ref.filter].rules) if ref.filter in library else None,
            }
            for depth, ref in view.walk()
        ],
        "order": None if view.program is None else [asdict(step) for step in acting_order(view.program)],
        "findings": [finding_document(each) for each in view.findings],
        "commands": None if view.program is None else view.program.lines(view.tap),
    }


@dataclass(frozen=True, slots=True)
class Step:
    """One rule as it acts: which way frames go that it sees, in which chain, by whom, on what condition, to what end.

    ``origin`` names filter and entry, None for the way into a sub-chain, whose rules follow it.
    """

    to_guest: bool
    program: str
    chain: str
    priority: int
    condition: str
    action: str
    origin: str | None


def acting_order(program: Program) -> tuple[Step, ...]:
    """Give all rules in the order in which they act: to the guest, then from it; sub-chains where they are entered.

    Rules of iptables and ip6tables come last: they see a frame after the layer-2 rules on its way to the bridge.
    """
    chains: dict[tuple[Family, bool, str], list[Command]] = {}
    for command in program.commands:
        chains.setdefault((command.family, command.to_guest, command.chain), []).append(command)
    steps: list[Step] = []
    for to_guest in (True, False):
        for command in chains.get((Family.EBTABLES, to_guest, "root"), []):
            steps.append(_step(program, command))
            if command.jump:
                inner = chains.get((Family.EBTABLES, to_guest, command.target), [])
                steps += [_step(program, each) for each in inner]
        for (family, way, _), commands in chains.items():
            if family is not Family.EBTABLES and way is to_guest:
                steps += [_step(program, each) for each in commands]
    return tuple(steps)


def _step(program: Program, command: Command) -> Step:
    origin = None if command.jump else program.origins[command.origin]
    return Step(
        to_guest=command.to_guest,
        program=command.family.value,
        chain=command.chain,
        priority=program.chain_priorities.get(command.target, 0) if origin is None else origin.priority,
        condition=" ".join(command.arguments),
        action=f"chain {command.target}" if origin is None else command.target.lower(),
        origin=None if origin is None else f"{origin.filter}#{origin.entry}",
    )
