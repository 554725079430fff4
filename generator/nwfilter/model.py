"""The nwfilter language as values: filters, rules, matches, references.

A filter is held as its author wrote it, wrong and unknown things included; what libvirt makes of it is in
generator/nwfilter/normalise.py, what is wrong with it in lint.py. Direction is the guest's: ``in`` is to the guest,
which is ``-Q out`` for tcpdump on its tap. Values only: nothing here reads files or knows hosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from generator.nwfilter.protocols import CHAIN_PRIORITIES, DEFAULT_RULE_PRIORITY, attribute_order, chain_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

Pairs: TypeAlias = tuple[tuple[str, str], ...]


class Action(StrEnum):
    """What a rule does with a frame that it matches.

    ``reject`` is a drop in ebtables; ``return`` leaves the chain, and in the root chain lets the frame pass;
    ``continue`` goes on with the next rule and only counts.
    """

    DROP = "drop"
    ACCEPT = "accept"
    REJECT = "reject"
    RETURN = "return"
    CONTINUE = "continue"


class RuleDirection(StrEnum):
    """Which way a rule looks; for ``inout`` source and destination are swapped in the rule for what leaves."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True, slots=True)
class Match:
    """One protocol element of a rule: ``<mac dstmacaddr='$MAC'/>``.

    ``attributes`` are name and value, put into libvirt's order on construction (unknown ones last, by name).
    ``negated`` is ``match='no'``: every attribute by itself is negated, not the element as a whole.
    """

    protocol: str
    attributes: Pairs = ()
    negated: bool = False

    def __post_init__(self) -> None:
        """Put the attributes into libvirt's order, so that equal matches are equal values."""
        ordered = tuple(sorted(self.attributes, key=lambda pair: attribute_order(self.protocol, pair[0])))
        object.__setattr__(self, "attributes", ordered)

    def get(self, name: str) -> str | None:
        """Give the value of the attribute called ``name``, None where it is not there."""
        return next((value for key, value in self.attributes if key == name), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Without a match it matches every frame.

    ``also`` holds further elements of the rule: libvirt merges those of the same protocol and ignores all others.
    ``extra`` are attributes of ``<rule>`` that libvirt does not know.
    """

    action: Action
    direction: RuleDirection
    priority: int = DEFAULT_RULE_PRIORITY
    match: Match | None = None
    statematch: bool = True
    also: tuple[Match, ...] = ()
    extra: Pairs = ()

    @property
    def comment(self) -> str | None:
        """The comment, which stands in the protocol element; a rule without one has nowhere to keep it."""
        return self.match.get("comment") if self.match else None


@dataclass(frozen=True, slots=True)
class FilterRef:
    """A reference to another filter, with parameters; a list is the name repeated.

    Parameters are grouped by name on construction, the order within a list kept: that is all that libvirt keeps.
    """

    filter: str
    parameters: Pairs = ()
    extra: Pairs = ()

    def __post_init__(self) -> None:
        """Group the parameters by name, so that equal references are equal values."""
        object.__setattr__(self, "parameters", tuple(sorted(self.parameters, key=lambda pair: pair[0])))

    @property
    def variables(self) -> Mapping[str, tuple[str, ...]]:
        """The parameters as lists of values by name."""
        lists: dict[str, list[str]] = {}
        for name, value in self.parameters:
            lists.setdefault(name, []).append(value)
        return {name: tuple(values) for name, values in lists.items()}


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: rules and references to other filters, in a chain.

    ``priority`` is the chain's; None means that libvirt chooses it by the prefix of the chain's name. ``extra`` are
    attributes and ``unknown`` the XML of child elements that libvirt does not know.
    """

    name: str
    uuid: str | None = None
    chain: str = "root"
    priority: int | None = None
    entries: tuple[Rule | FilterRef, ...] = ()
    extra: Pairs = ()
    unknown: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The filter's own rules, in the order in which they are written."""
        return tuple(entry for entry in self.entries if isinstance(entry, Rule))

    @property
    def references(self) -> tuple[FilterRef, ...]:
        """The references to other filters, in the order in which they are written."""
        return tuple(entry for entry in self.entries if isinstance(entry, FilterRef))

    @property
    def chain_priority(self) -> int:
        """The priority that the chain gets: the one given, else libvirt's default for the prefix of its name."""
        if self.priority is not None:
            return self.priority
        return CHAIN_PRIORITIES.get(chain_prefix(self.chain) or "", 0)


class Effect(StrEnum):
    """What libvirt does about what a finding describes."""

    REJECTED = "rejected"
    """The definition is refused."""
    IGNORED = "ignored"
    """It is left out, silently."""
    CORRECTED = "corrected"
    """It is replaced by something else, silently."""
    FAILS = "fails"
    """It is accepted, and cannot be instantiated later."""
    MISLEADS = "misleads"
    """It is accepted as it stands, and does something else than it seems to say."""
    UNREACHABLE = "unreachable"
    """It is accepted, and never acts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a filter: what, where, and what libvirt does about it."""

    effect: Effect
    what: str
    where: str = ""
    line: int | None = None
    hint: str = ""
