"""What is wrong with a whole tree of filters: references, variables, order, rules that never act.

Needs the variables that the guest's interface gives. Findings are values; nothing here raises for a wrong filter.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

from analyzer.errors import NwscanError
from generator.evaluate.fields import Op
from generator.evaluate.matcher import Matcher
from generator.evaluate.options import Test, read_tests
from generator.evaluate.program import instantiate
from generator.nwfilter.lint import lint_filter
from generator.nwfilter.model import Effect, Finding
from generator.nwfilter.protocols import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from generator.evaluate.program import Command, Program
    from generator.nwfilter.model import Filter

_DECIDES: Final = frozenset({"ACCEPT", "DROP", "REJECT"})
_PAIRWISE_LIMIT: Final = 2000
"""Rules of one chain that are compared with each other; beyond, shadows are not looked for (and that is said)."""


def lint_tree(
    root: Filter, library: Mapping[str, Filter], variables: Mapping[str, Sequence[str]] | None = None
) -> tuple[Finding, ...]:
    """Give all that is wrong with ``root`` and what it refers to.

    Without ``variables`` only what needs none is looked at.
    """
    findings: list[Finding] = []
    for each in reachable(root, library):
        findings += lint_filter(each)
    if variables is None:
        return (*findings, *_references(root, library))
    try:
        program = instantiate(root, library, variables)
        Matcher(program)
    except NwscanError as error:
        where = error.where or f"filter {root.name}"
        return (*findings, Finding(Effect.FAILS, error.what, where, hint=error.hint))
    return (*findings, *_order(program), *_ends(program), *shadows(program))


def reachable(root: Filter, library: Mapping[str, Filter]) -> list[Filter]:
    """Give ``root`` and all filters it refers to that are there, each once, depth first."""
    found: dict[str, Filter] = {}
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if each.name in found:
            continue
        found[each.name] = each
        waiting += [library[ref.filter] for ref in reversed(each.references) if ref.filter in library]
    return list(found.values())


def _references(root: Filter, library: Mapping[str, Filter]) -> Iterator[Finding]:
    for each in reachable(root, library):
        for ref in each.references:
            where = f"filter {each.name}"
            if ref.filter not in library and ref.filter != root.name:
                yield Finding(
                    Effect.FAILS, f"referenced filter {ref.filter!r} is missing", where, hint="define it first"
                )
            target = library.get(ref.filter) or (root if ref.filter == root.name else None)
            if target is not None and each.name in {inner.name for inner in reachable(target, library)}:
                yield Finding(Effect.REJECTED, f"{each.name!r} and {ref.filter!r} refer to each other in a loop", where)


def _order(program: Program) -> Iterator[Finding]:
    """Find chains whose order among each other libvirt leaves to chance: of one priority, at the same place."""
    jumps = [command for command in program.commands if command.jump]
    priorities = program.chain_priorities
    for first, second in combinations(jumps, 2):
        same = first.to_guest is second.to_guest and priorities.get(first.target) == priorities.get(second.target)
        if same and first.target != second.target:
            what = f"chains {first.target!r} and {second.target!r} have one priority: which comes first is not settled"
            yield Finding(Effect.MISLEADS, what, f"filter {program.name}", hint="give them different priorities")


def _ends(program: Program) -> Iterator[Finding]:
    """Find sub-chains that a frame can fall out of: it is accepted there, and no later rule sees it."""
    lasts: dict[tuple[str, bool], Command] = {}
    entries: dict[tuple[str, bool], Command] = {}
    for command in program.commands:
        if command.family is Family.EBTABLES and command.chain != "root":
            lasts[command.chain, command.to_guest] = command
        elif command.jump:
            entries[command.target, command.to_guest] = command
    for (chain, to_guest), last in lasts.items():
        entry = entries.get((chain, to_guest))
        if last.target in (*_DECIDES, "RETURN") and _takes_all(last, entry):
            continue
        way = "to" if to_guest else "from"
        what = f"a frame {way} the guest that no rule of chain {chain!r} decides is accepted at its end"
        hint = "end the chain with a rule that matches everything: return to go on, drop to stop"
        yield Finding(Effect.MISLEADS, what, program.origins[last.origin].text, hint=hint)


def _takes_all(last: Command, entry: Command | None) -> bool:
    """Say whether a rule surely matches whatever comes in through ``entry``."""
    tests = read_tests(Family.EBTABLES, last.arguments)
    return covers(tests, read_tests(Family.EBTABLES, entry.arguments) if entry else [])


def shadows(program: Program) -> Iterator[Finding]:
    """Find rules that never act, because earlier ones decide all that they match.

    The program can be installed: every word of it can be read.
    """
    entries: dict[tuple[str, bool], list[Test]] = {}
    deciding: dict[tuple[Family, str, bool], list[tuple[Command, list[Test]]]] = {}
    for command in program.commands:
        key = (command.family, command.chain, command.to_guest)
        own = read_tests(command.family, command.arguments)
        tests = own + entries.get((command.chain, command.to_guest), [])
        root = deciding.get((command.family, "root", command.to_guest), []) if command.chain != "root" else []
        before = [*_before_jump(program, root, command), *deciding.get(key, [])]
        cover = next((other for other, known in before[:_PAIRWISE_LIMIT] if covers(known, tests)), None)
        if command.jump:
            entries[command.target, command.to_guest] = own
        if cover is not None and cover.origin != command.origin:
            what = "never acts: all that it matches is decided before, by " + program.origins[cover.origin].text
            where = f"chain {command.target}" if command.jump else program.origins[command.origin].text
            yield Finding(Effect.UNREACHABLE, what, where, hint="remove it, or give it a lower priority")
        elif command.target in _DECIDES and not command.jump:
            deciding.setdefault(key, []).append((command, own))


def _before_jump(
    program: Program, root: list[tuple[Command, list[Test]]], command: Command
) -> list[tuple[Command, list[Test]]]:
    """Give the deciding root rules that stand before the jump into the chain of ``command``."""
    if command.chain == "root" or command.family is not Family.EBTABLES:
        return []
    jump = next(
        (
            place
            for place, each in enumerate(program.commands)
            if each.jump and each.target == command.chain and each.to_guest is command.to_guest
        ),
        len(program.commands),
    )
    ahead = {id(each) for each in program.commands[:jump]}
    return [entry for entry in root if id(entry[0]) in ahead]


def covers(general: Sequence[Test], special: Sequence[Test]) -> bool:
    """Say whether whatever passes all of ``special`` surely passes all of ``general``."""
    return all(any(implies(test, wider) for test in special) for wider in general)


def implies(test: Test, wider: Test) -> bool:
    """Say whether a frame that passes ``test`` surely passes ``wider``; False where it is not plain to see."""
    if wider.op is Op.UNKNOWN or test.field is not wider.field or test.op is not wider.op:
        return False
    if test == wider:
        return True
    if test.inverted or (wider.inverted and test.op is not Op.EQUAL):
        return False
    if wider.inverted:
        return test.b & wider.a & test.a != wider.b & test.a
    within = {
        Op.EQUAL: (_fixes(test.a, test.b, wider.a, wider.b),),
        Op.EQUAL_PAIR: (_fixes(test.a, test.b, wider.a, wider.b), _fixes(test.c, test.d, wider.c, wider.d)),
        Op.RANGE: (wider.a <= test.a, test.b <= wider.b),
        Op.RANGE_BOTH: (wider.a <= test.a, test.b <= wider.b, wider.c <= test.c, test.d <= wider.d),
        Op.RANGE_PAIR: ((wider.a, wider.b) <= (test.a, test.b), (test.c, test.d) <= (wider.c, wider.d)),
    }
    return all(within[test.op])


def _fixes(mask: int, value: int, wider_mask: int, wider_value: int) -> bool:
    """Say whether being ``value`` under ``mask`` means being ``wider_value`` under ``wider_mask``."""
    return wider_mask & ~mask == 0 and value & wider_mask == wider_value
