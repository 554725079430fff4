"""What stands in a tree of filters: which names it uses, which variables it lacks, what acts before our chain.

For filters that are already on a card: libvirt checked that they can be instantiated, we only look. Missing filters
are values here, not errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from generator.evaluate.program import accesses_of
from generator.nwfilter.model import Action, Filter, FilterRef, Rule, RuleDirection
from generator.nwfilter.normalise import normalise
from generator.nwfilter.variables import missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_VISITS_LIMIT: Final = 10_000
"""Visits at most: a hostile library may refer to one filter along very many ways."""


class TreeReading(NamedTuple):
    """What was found below one filter; each name once, in the order of the walk.

    ``names`` are the filters, ``absent`` those of them that the library lacks, ``lacking`` the variables without a
    value, ``early`` the filters whose rules for frames to the guest act at or before a given priority and let pass.
    """

    names: tuple[str, ...]
    absent: tuple[str, ...]
    lacking: tuple[str, ...]
    early: tuple[str, ...]


def read_tree(
    name: str, library: Mapping[str, Filter], variables: Mapping[str, Sequence[str]], priority: int
) -> TreeReading:
    """Walk the tree below the filter ``name`` with the ``variables`` of the interface. Loops are walked once."""
    names: dict[str, None] = {}
    absent: dict[str, None] = {}
    lacking: dict[str, None] = {}
    early: dict[str, None] = {}
    for each, found, values in _walk(name, library, variables):
        names[each] = None
        if found is None:
            absent[each] = None
            continue
        for rule in found.rules:
            lacking.update(dict.fromkeys(missing(accesses_of(rule), values)))
            if _lets_pass_early(found, rule, priority):
                early[each] = None
    return TreeReading(tuple(names), tuple(absent), tuple(lacking), tuple(early))


def closure(roots: Sequence[Filter], library: Mapping[str, Filter]) -> tuple[Filter, ...]:
    """Give ``roots`` and every filter of ``library`` that they refer to, each once; what is absent is left out."""
    own = {root.name: root for root in roots}
    found: dict[str, Filter] = {}
    pending = list(roots)
    while pending:
        each = pending.pop(0)
        if each.name in found:
            continue
        found[each.name] = each
        targets = (own.get(ref.filter) or library.get(ref.filter) for ref in each.references)
        pending += [target for target in targets if target is not None]
    return tuple(found.values())


def _lets_pass_early(found: Filter, rule: Rule, priority: int) -> bool:
    acts = rule.priority if found.chain == "root" else found.chain_priority
    passes = rule.action is Action.ACCEPT or (rule.action is Action.RETURN and found.chain == "root")
    return passes and rule.direction is not RuleDirection.OUT and acts <= priority


def _walk(
    name: str, library: Mapping[str, Filter], variables: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Filter | None, Mapping[str, Sequence[str]]]]:
    """Give name, filter as libvirt has it and variables of every visit, depth first; those passed on are defaults."""
    pending: list[tuple[FilterRef, Mapping[str, Sequence[str]], tuple[str, ...]]] = [(FilterRef(name), variables, ())]
    for _ in range(_VISITS_LIMIT):
        if not pending:
            return
        ref, values, path = pending.pop()
        values = {**ref.variables, **values}
        written = library.get(ref.filter)
        found = None if written is None else normalise(written).filter
        yield ref.filter, found, values
        if found is not None:
            path = (*path, ref.filter)
            pending += [(each, values, path) for each in reversed(found.references) if each.filter not in path]
