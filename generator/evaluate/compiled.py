"""A program in the form that the engine runs: arrays of items, tests and chains.

Every index in these arrays is made here and is valid by construction, which is what lets the engine go without checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.errors import InputError
from generator.evaluate.fields import FIELD_COUNT, Act
from generator.evaluate.options import RefusedError, Test, read_tests
from generator.nwfilter.protocols import Family

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.frames import U8, U64
    from generator.evaluate.program import Command, Program

_ROOTS: Final = (
    (Family.EBTABLES, "root", False),
    (Family.EBTABLES, "root", True),
    (Family.IPTABLES, "FI", False),
    (Family.IPTABLES, "FO", True),
    (Family.IP6TABLES, "FI", False),
    (Family.IP6TABLES, "FO", True),
)
"""Chains with a fixed number; sub-chains follow. What a guest sends to the host itself (HI) is not told apart."""

_ACTS: Final = {
    "CONTINUE": Act.CONTINUE,
    "ACCEPT": Act.ACCEPT,
    "DROP": Act.DROP,
    "REJECT": Act.DROP,
    "RETURN": Act.RETURN,
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """The arrays of a program.

    Per item (a rule or a jump): ``act``, the span of its tests, the chain it jumps to, and ``command``, its index in
    Program.commands. Per test: field, op, inverted and the operands. ``chain_bounds`` are two per chain: the first item
    and the one behind the last.
    """

    act: U8
    tests_from: npt.NDArray[np.int32]
    tests_to: npt.NDArray[np.int32]
    jump: npt.NDArray[np.int32]
    command: npt.NDArray[np.int32]
    field: U8
    op: U8
    inverted: U8
    a: U64
    b: U64
    c: U64
    d: U64
    chain_bounds: npt.NDArray[np.int32]


def compile_program(program: Program) -> Compiled:
    """Give the arrays of ``program``; raises InputError, all refused commands named, where it cannot be installed."""
    chains: dict[tuple[Family, str, bool], list[int]] = {root: [] for root in _ROOTS}
    for index, command in enumerate(program.commands):
        chains.setdefault((command.family, command.chain, command.to_guest), []).append(index)
    number = {chain: place for place, chain in enumerate(chains)}
    order = [index for members in chains.values() for index in members]
    tests: list[Test] = []
    spans: list[tuple[int, int]] = []
    refused: list[str] = []
    for index in order:
        first = len(tests)
        tests += _tests(program, program.commands[index], refused)
        spans.append((first, len(tests)))
    if refused:
        raise InputError(
            f"filter {program.name} cannot be instantiated: {'; '.join(refused)}", f"filter {program.name}"
        )
    bounds = np.cumsum([0, *(len(members) for members in chains.values())])
    commands = [program.commands[index] for index in order]
    return Compiled(
        act=np.array([Act.JUMP if each.jump else _ACTS[each.target] for each in commands], np.uint8),
        tests_from=np.array([first for first, _ in spans], np.int32),
        tests_to=np.array([last for _, last in spans], np.int32),
        jump=np.array([_target(each, number) for each in commands], np.int32),
        command=np.array(order, np.int32),
        field=np.array([test.field for test in tests], np.uint8),
        op=np.array([test.op for test in tests], np.uint8),
        inverted=np.array([test.inverted for test in tests], np.uint8),
        a=np.array([test.a for test in tests], np.uint64),
        b=np.array([test.b for test in tests], np.uint64),
        c=np.array([test.c for test in tests], np.uint64),
        d=np.array([test.d for test in tests], np.uint64),
        chain_bounds=np.array([edge for pair in pairwise(bounds) for edge in pair], np.int32),
    )


def _tests(program: Program, command: Command, refused: list[str]) -> list[Test]:
    try:
        tests = read_tests(command.family, command.arguments)
    except RefusedError as error:
        place = program.origins[command.origin].text if command.origin >= 0 else f"chain {command.target}"
        refused.append(f"{place}: {error}")
        return []
    assert all(test.field < FIELD_COUNT for test in tests)  # noqa: S101 - what the engine relies on
    return tests


def _target(command: Command, number: dict[tuple[Family, str, bool], int]) -> int:
    return number[command.family, command.target, command.to_guest] if command.jump else -1
