"""Run a program over batches of frames: for each frame the verdict, the deciding rule, and why it is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.model.columns import column
from generator.evaluate.compiled import Compiled, compile_program
from generator.evaluate.engine import Engine
from generator.evaluate.fields import FIELD_COUNT

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.frames import I64, U8, FrameBatch
    from generator.evaluate.program import Program


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What becomes of n frames.

    ``verdict`` holds fields.Verdict. ``rule`` indexes Program.commands: the rule that decided, or the last that let the
    frame go on by ``return``, -1 where it came to the end of the chains; for an unknown verdict the first rule that
    cannot be told. ``reason`` holds fields.Reason, 0 where the verdict is known.
    """

    verdict: U8
    rule: npt.NDArray[np.int32]
    reason: U8


class Matcher:
    """One program, ready to run; not to be shared between threads.

    ``bridge_netfilter`` says whether the bridge hands frames to iptables on the host in question
    (bridge-nf-call-iptables); None: not known, and what only iptables would drop is unknown.
    """

    def __init__(self, program: Program, *, bridge_netfilter: bool | None = None, engine: type[Any] = Engine) -> None:
        """Compile ``program``; raises InputError where it cannot be installed. ``engine`` is for tests."""
        self.program = program
        compiled = compile_program(program)
        self._compiled = compiled
        self._hits = np.zeros(2 * max(1, len(compiled.act)), np.int64)
        self._engine = engine(*_columns(compiled, self._hits))
        self._engine.bridge_netfilter = 2 if bridge_netfilter is None else int(bridge_netfilter)

    def run(self, batch: FrameBatch, to_guest: npt.NDArray[np.bool_]) -> Verdicts:
        """Give the verdicts on the n frames of ``batch``; ``to_guest`` says for each which way it goes.

        About 40 ns a frame for a handful of rules. Raises ValueError where the columns differ in length.
        """
        n = len(batch)
        raw = batch.raw
        if any(len(each) != n for each in (to_guest, raw.offsets, raw.captured, raw.original, raw.tag, batch.octets)):
            raise ValueError("the columns of a batch differ in length")
        verdict, rule, reason = np.empty(n, np.uint8), np.empty(n, np.int32), np.empty(n, np.uint8)
        self._engine.run(
            *(column(each) for each in (raw.data, raw.offsets, raw.captured, raw.original, raw.tag, batch.octets)),
            column(np.ascontiguousarray(to_guest, np.uint8)),
            column(verdict),
            column(rule),
            column(reason),
        )
        if len(self._compiled.command):
            rule = np.where(rule >= 0, self._compiled.command[np.maximum(rule, 0)], -1).astype(np.int32)
        return Verdicts(verdict, rule, reason)

    @property
    def hits(self) -> I64:
        """Frames and octets that each command matched so far, as the kernel's counters count: int64[commands, 2].

        Octets include the Ethernet header. Frames that came to a rule only perhaps are not counted.
        """
        counts = np.zeros((len(self.program.commands), 2), np.int64)
        if len(self._compiled.command):
            counts[self._compiled.command] = self._hits.reshape(-1, 2)
        return counts


def _columns(compiled: Compiled, hits: I64) -> tuple[Any, ...]:
    """Give the arrays as the engine takes them; it must be able to point at one element even where there are none."""
    items: list[npt.NDArray[Any]] = [compiled.act, compiled.tests_from, compiled.tests_to, compiled.jump]
    tests: list[npt.NDArray[Any]] = [
        compiled.field,
        compiled.op,
        compiled.inverted,
        compiled.a,
        compiled.b,
        compiled.c,
        compiled.d,
    ]
    scratch: list[npt.NDArray[Any]] = [np.zeros(FIELD_COUNT, np.uint64), np.zeros(FIELD_COUNT, np.uint8), hits]
    return (
        [column(each) for each in items],
        [column(each) for each in tests],
        column(compiled.chain_bounds),
        [column(each) for each in scratch],
    )
