"""A filter tree with its variables, as the ordered program that libvirt instantiates for one tap.

Follows virNWFilterDoInstantiate and ebiptablesApplyNewRules of libvirt 9.0.0: the tree is walked depth first, rules of
the root chain come first, each group by priority; a sub-chain's rule below its chain's priority is raised to it; jumps
into sub-chains stand among the root rules by the chain's priority. Chains are named as they are when installation is
done (``I``: from the guest, ``O``: to it), or as while it runs (``J``, ``P``).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from analyzer.errors import InputError, UsageError
from generator.evaluate.commands import BGA, ebtables_arguments, family_of, iptables_rules
from generator.nwfilter.model import Action, Filter, FilterRef, Finding, Match, Rule, RuleDirection
from generator.nwfilter.normalise import normalise
from generator.nwfilter.protocols import Family, chain_prefix
from generator.nwfilter.variables import Access, combinations, is_variable, missing, parse_access

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEPTH_LIMIT: Final = 64
VISITS_LIMIT: Final = 10_000
"""Visits of filters at most: filters that refer to one another twice make a tree that doubles with each level."""
RULES_LIMIT: Final = 100_000
"""Rules of a program at most; the kernel would take them, nobody's patience would."""

_CHAIN_TYPES: Final = {"ipv4": "0x0800", "ipv6": "0x86dd", "arp": "0x0806", "rarp": "0x8035", "vlan": "0x8100"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule of the program comes from: the filter, its place among the filter's entries (from 1), the rule."""

    filter: str
    entry: int
    rule: Rule
    priority: int
    """As it acts: raised to the chain's where that is higher."""

    @property
    def text(self) -> str:
        """What to call it: filter, entry, action and direction."""
        return f"{self.filter}#{self.entry} {self.rule.action} {self.rule.direction}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the program.

    ``chain`` is ``root`` or a sub-chain's name for ebtables, FI, FO or HI for the others. ``to_guest`` says which way
    the frames go that it sees. ``target`` is ACCEPT, DROP, RETURN, CONTINUE, REJECT, or with ``jump`` a sub-chain.
    ``origin`` indexes Program.origins, -1 for a jump.
    """

    family: Family
    chain: str
    to_guest: bool
    arguments: tuple[str, ...]
    target: str
    origin: int
    jump: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """All commands in the order in which libvirt gives them; that is their order within each chain too."""

    name: str
    commands: tuple[Command, ...]
    origins: tuple[Origin, ...]
    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    chain_priorities: Mapping[str, int] = field(default_factory=dict)

    def ebtables(self, tap: str, *, temporary: bool = False) -> list[str]:
        """Give the ebtables commands for ``tap``, jumps included, as a shell takes them."""
        return self.lines(tap, (Family.EBTABLES,), temporary=temporary)

    def lines(
        self, tap: str, families: Sequence[Family] = tuple(Family), *, temporary: bool = False, jumps: bool = True
    ) -> list[str]:
        """Give the commands of ``families`` for ``tap``, as a shell takes them; ``temporary``: under J and P names."""
        return [
            shlex.join(words(command, tap, temporary=temporary))
            for family in families
            for command in self.commands
            if command.family is family and (jumps or not command.jump)
        ]


def words(command: Command, tap: str, *, temporary: bool = False) -> list[str]:
    """Give the words of ``command`` for ``tap``."""
    chain = _chain_name(command.family, command.chain, tap, to_guest=command.to_guest, temporary=temporary)
    target = command.target
    if command.jump:
        target = _chain_name(command.family, target, tap, to_guest=command.to_guest, temporary=temporary)
    head = ["--concurrent", "-t", "nat"] if command.family is Family.EBTABLES else ["-w"]
    return [command.family.value, *head, "-A", chain, *command.arguments, "-j", target]


def _chain_name(family: Family, chain: str, tap: str, *, to_guest: bool, temporary: bool) -> str:
    letter = ("P" if temporary else "O") if to_guest else ("J" if temporary else "I")
    if family is not Family.EBTABLES:
        return f"{chain[0]}{letter}-{tap}"
    return f"libvirt-{letter}-{tap}" if chain == "root" else f"{letter}-{tap}-{chain}"


@dataclass(slots=True)
class _Instance:
    """One rule as the walk over the tree finds it."""

    filter: str
    entry: int
    rule: Rule
    chain: str
    chain_priority: int
    priority: int
    values: Mapping[str, tuple[str, ...]]


def instantiate(root: Filter, library: Mapping[str, Filter], variables: Mapping[str, Sequence[str]]) -> Program:
    """Give the program that libvirt makes of ``root`` for an interface with ``variables`` (MAC, IP and its parameters).

    ``library`` holds the filters that may be referenced, by name. Raises InputError where a filter is missing, refers
    to itself or lacks a variable, all of them named; UsageError where a rule cannot be instantiated.
    """
    walk = _Walk(library)
    values = {name: tuple(given) for name, given in variables.items() if given}
    walk.visit(root, values, ())
    if walk.lacking:
        raise InputError(
            f"filter {root.name} lacks variables: {', '.join(dict.fromkeys(walk.lacking))}",
            f"filter {root.name}",
            "give them as parameters of the filterref, or with --param NAME=VALUE",
        )
    instances = sorted(walk.instances, key=lambda instance: (instance.chain != "root", instance.priority))
    for instance in instances:
        if instance.chain != "root":
            instance.priority = max(instance.priority, instance.chain_priority)
    origins = tuple(Origin(each.filter, each.entry, each.rule, each.priority) for each in instances)
    layer2 = [(number, each) for number, each in enumerate(instances) if family_of(each.rule) is Family.EBTABLES]
    commands = _layer2_commands(layer2)
    for family in (Family.IPTABLES, Family.IP6TABLES):
        for number, each in enumerate(instances):
            if family_of(each.rule) is family:
                commands += _layer3_commands(family, number, each)
    if len(commands) > RULES_LIMIT:
        raise UsageError(
            f"filter {root.name} becomes {len(commands)} rules", hint=f"at most {RULES_LIMIT} are sensible"
        )
    priorities = {each.chain: each.chain_priority for each in instances if each.chain != "root"}
    return Program(root.name, tuple(commands), origins, values, tuple(walk.findings), priorities)


class _Walk:
    """Walks a tree of filters depth first, as libvirt does."""

    def __init__(self, library: Mapping[str, Filter]) -> None:
        self.library = library
        self.instances: list[_Instance] = []
        self.lacking: list[str] = []
        self.findings: list[Finding] = []
        self.visits = 0

    def visit(self, written: Filter, values: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> None:
        if written.name in path or len(path) >= DEPTH_LIMIT:
            raise InputError("filters refer to each other in a loop: " + " -> ".join((*path, written.name)))
        self.visits += 1
        if self.visits > VISITS_LIMIT:
            raise UsageError(f"filters refer to others along more than {VISITS_LIMIT} paths", f"filter {path[0]}")
        done = normalise(written)
        self.findings += done.findings
        value = done.filter
        for number, entry in enumerate(value.entries, start=1):
            if isinstance(entry, FilterRef):
                self.follow(entry, values, (*path, value.name))
                continue
            self.lacking += missing(accesses_of(entry), values)
            self.instances.append(
                _Instance(value.name, number, entry, value.chain, value.chain_priority, entry.priority, values)
            )
            if len(self.instances) > RULES_LIMIT:
                raise UsageError(f"more than {RULES_LIMIT} rules", f"filter {value.name}")

    def follow(self, ref: FilterRef, values: Mapping[str, tuple[str, ...]], path: tuple[str, ...]) -> None:
        target = self.library.get(ref.filter)
        if target is None:
            raise InputError(f"referenced filter {ref.filter!r} is missing", " -> ".join(path), "define it first")
        self.visit(target, {**ref.variables, **values}, path)


def matches_of(rule: Rule) -> tuple[Match, ...]:
    """Give all elements of a rule."""
    return (*((rule.match,) if rule.match else ()), *rule.also)


def accesses_of(rule: Rule) -> tuple[Access, ...]:
    """Give the uses of variables in a normalised rule, in the order in which libvirt meets them."""
    found = (parse_access(text) for match in matches_of(rule) for _, text in match.attributes if is_variable(text))
    return tuple(dict.fromkeys(access for access in found if access is not None))


def _layer2_commands(instances: list[tuple[int, _Instance]]) -> list[Command]:
    """Give the ebtables commands: the rules, and the jumps among the root rules by the priority of their chains."""
    chains: dict[tuple[bool, str], int] = {}
    for to_guest in (False, True):
        for _, each in instances:
            if each.chain != "root" and to_guest in _ways(each.rule):
                chains[to_guest, each.chain] = each.chain_priority
    pending = sorted(((to_guest, chain) for to_guest, chain in chains), key=lambda key: (chains[key], key[0]))
    commands: list[Command] = []
    for number, each in instances:
        while pending and chains[pending[0]] <= each.priority:
            commands.append(_jump(*pending.pop(0)))
        for values in combinations(accesses_of(each.rule), each.values):
            for to_guest in _ways(each.rule):
                reverse = each.rule.direction is RuleDirection.INOUT and not to_guest
                arguments = tuple(ebtables_arguments(matches_of(each.rule), values, reverse=reverse))
                target = "DROP" if each.rule.action is Action.REJECT else each.rule.action.upper()
                commands.append(Command(Family.EBTABLES, each.chain, to_guest, arguments, target, number))
    return commands + [_jump(*key) for key in pending]


def _ways(rule: Rule) -> tuple[bool, ...]:
    """Give the ways that a rule looks, False from the guest and True to it, in libvirt's order."""
    return {RuleDirection.OUT: (False,), RuleDirection.IN: (True,), RuleDirection.INOUT: (False, True)}[rule.direction]


def _jump(to_guest: bool, chain: str) -> Command:  # noqa: FBT001
    prefix = chain_prefix(chain) or ""
    arguments: tuple[str, ...] = ("-d", BGA) if prefix == "stp" else ()
    if prefix in _CHAIN_TYPES:
        arguments = ("-p", _CHAIN_TYPES[prefix])
    return Command(Family.EBTABLES, "root", to_guest, arguments, chain, -1, jump=True)


def _layer3_commands(family: Family, number: int, each: _Instance) -> list[Command]:
    return [
        Command(family, placed.chain, placed.chain == "FO", placed.arguments, placed.target, number)
        for values in combinations(accesses_of(each.rule), each.values)
        for placed in iptables_rules(each.rule, matches_of(each.rule), values)
    ]
