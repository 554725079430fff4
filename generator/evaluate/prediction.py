"""What a filter would do to a capture: counts by class and verdict, and for each rule what it matches and decides.

A builder takes batches with their classes and keeps nothing but sums, times and a few samples, so a capture of any
length can be predicted in bounded memory. Frames are numbered from 0 in the order in which they are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.errors import UsageError
from analyzer.model.classes import CLASS_COUNT, FrameClass
from analyzer.model.frames import Direction
from generator.evaluate.fields import Reason, Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.program import words

if TYPE_CHECKING:
    import numpy.typing as npt

    from analyzer.model.frames import I64, U8, FrameBatch
    from generator.evaluate.matcher import Verdicts
    from generator.evaluate.program import Program

SCHEMA: Final = "nwscan.prediction/1"
SAMPLE_LIMIT: Final = 5
"""Samples kept for each rule, and of wanted frames that would be dropped."""

WANTED: Final = (
    FrameClass.UNICAST_TO_GUEST,
    FrameClass.MULTICAST,
    FrameClass.BROADCAST,
    FrameClass.FROM_GUEST,
)
"""Classes of frames that a filter against foreign unicast must leave alone."""

_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Counts:
    """Frames and their octets."""

    frames: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame, as an example: its number, its class (FrameClass), its addresses and its type field."""

    frame: int
    frame_class: int
    src: int
    dst: int
    ethertype: int
    ts_ns: int


@dataclass(frozen=True, slots=True)
class RulePrediction:
    """What one command of the program does.

    ``text`` names the rule it comes from, ``command`` is its line with TAP for the tap's name, ``rule`` its index in
    Program.commands. ``matched`` counts as the kernel would (jumps included), ``decided`` the frames whose fate it
    settles, by class.
    """

    rule: int
    text: str
    command: str
    to_guest: bool
    matched: Counts
    decided: tuple[Counts, ...]
    first_ns: int | None = None
    last_ns: int | None = None
    samples: tuple[Sample, ...] = ()

    def merge(self, other: RulePrediction, frames: int) -> RulePrediction:
        """Give what the command does to ``frames`` frames, then to those of ``other``."""
        first = [one.first_ns for one in (self, other) if one.first_ns is not None]
        last = [one.last_ns for one in (self, other) if one.last_ns is not None]
        return replace(
            self,
            matched=_added((self.matched,), (other.matched,))[0],
            decided=_added(self.decided, other.decided),
            first_ns=min(first, default=None),
            last_ns=max(last, default=None),
            samples=_appended(self.samples, other.samples, frames),
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a program does to the frames it was tried on.

    ``counts`` is indexed by FrameClass, then by Verdict; ``reasons`` counts unknown frames by Reason (its value);
    ``end`` are the frames, by class, that no rule decided: they pass. ``wanted_samples`` are wanted frames it drops.
    """

    filter: str
    counts: tuple[tuple[Counts, ...], ...]
    rules: tuple[RulePrediction, ...]
    end: tuple[Counts, ...]
    reasons: tuple[int, ...]
    wanted_samples: tuple[Sample, ...] = ()

    @property
    def frames(self) -> int:
        """All frames that were tried."""
        return sum(cell.frames for row in self.counts for cell in row)

    def of(self, frame_class: FrameClass, verdict: Verdict) -> Counts:
        """Give the frames of one class with one verdict."""
        return self.counts[frame_class][verdict]

    @property
    def wanted_dropped(self) -> Counts:
        """The frames of WANTED classes that the filter drops: the figure to look at first."""
        cells = [self.of(frame_class, Verdict.DROP) for frame_class in WANTED]
        return Counts(sum(cell.frames for cell in cells), sum(cell.octets for cell in cells))

    @property
    def unknown(self) -> Counts:
        """The frames whose fate cannot be told."""
        cells = [row[Verdict.UNKNOWN] for row in self.counts]
        return Counts(sum(cell.frames for cell in cells), sum(cell.octets for cell in cells))

    def merge(self, other: Prediction) -> Prediction:
        """Give the prediction of these frames, then those of ``other``, whose numbers go on from here; associative.

        Raises UsageError where the two are not of one program.
        """
        if (self.filter, [one.command for one in self.rules]) != (other.filter, [one.command for one in other.rules]):
            what = f"predictions of different filters: {self.filter} and {other.filter}"
            raise UsageError(what, hint="one filter with the same parameters can be told of several captures")
        pairs = zip(self.counts, other.counts, strict=True)
        return Prediction(
            filter=self.filter,
            counts=tuple(_added(mine, theirs) for mine, theirs in pairs),
            rules=tuple(one.merge(two, self.frames) for one, two in zip(self.rules, other.rules, strict=True)),
            end=_added(self.end, other.end),
            reasons=tuple(mine + theirs for mine, theirs in zip(self.reasons, other.reasons, strict=True)),
            wanted_samples=_appended(self.wanted_samples, other.wanted_samples, self.frames),
        )


def _added(mine: tuple[Counts, ...], theirs: tuple[Counts, ...]) -> tuple[Counts, ...]:
    pairs = zip(mine, theirs, strict=True)
    return tuple(Counts(one.frames + two.frames, one.octets + two.octets) for one, two in pairs)


def _appended(mine: tuple[Sample, ...], theirs: tuple[Sample, ...], frames: int) -> tuple[Sample, ...]:
    room = SAMPLE_LIMIT - len(mine)
    return mine + tuple(replace(sample, frame=sample.frame + frames) for sample in theirs[:room])


class PredictionBuilder:
    """Tries a program on batch after batch; ``bridge_netfilter`` as for Matcher."""

    def __init__(self, program: Program, *, bridge_netfilter: bool | None = None) -> None:
        """Compile ``program``; raises InputError where it cannot be installed."""
        self.program = program
        self._matcher = Matcher(program, bridge_netfilter=bridge_netfilter)
        rows = len(program.commands) + 1  # the last one stands for the end of the chains
        self._counts = np.zeros((CLASS_COUNT, len(Verdict), 2), np.int64)
        self._decided = np.zeros((rows, CLASS_COUNT, 2), np.int64)
        self._first = np.full(rows, _NEVER, np.int64)
        self._last = np.full(rows, -1, np.int64)
        self._reasons = np.zeros(len(Reason), np.int64)
        self._samples: list[list[Sample]] = [[] for _ in range(rows)]
        self._wanted: list[Sample] = []
        self._frames = 0

    def add(self, batch: FrameBatch, classes: U8) -> Verdicts:
        """Count the n frames of ``batch``, whose classes are given, and give their verdicts."""
        verdicts = self._matcher.run(batch, ways(batch, classes))
        octets = batch.octets.astype(np.int64)
        cell = classes.astype(np.int64) * len(Verdict) + verdicts.verdict
        self._counts += _sums(cell, octets, self._counts.shape[:2])
        row = np.where(verdicts.rule < 0, len(self.program.commands), verdicts.rule).astype(np.int64)
        self._decided += _sums(row * CLASS_COUNT + classes, octets, self._decided.shape[:2])
        np.minimum.at(self._first, row, batch.raw.ts_ns)
        np.maximum.at(self._last, row, batch.raw.ts_ns)
        self._reasons += np.bincount(verdicts.reason[verdicts.verdict == Verdict.UNKNOWN], minlength=len(Reason))
        self._sample(batch, classes, row, verdicts)
        self._frames += len(batch)
        return verdicts

    def _sample(self, batch: FrameBatch, classes: U8, row: I64, verdicts: Verdicts) -> None:
        rows, places = np.unique(row, return_index=True)
        for each, place in zip(rows.tolist(), places.tolist(), strict=True):
            kept = self._samples[each]
            if len(kept) < SAMPLE_LIMIT:
                found = np.flatnonzero(row[place:] == each)[: SAMPLE_LIMIT - len(kept)] + place
                kept += [self._one(batch, classes, index) for index in found.tolist()]
        if len(self._wanted) < SAMPLE_LIMIT:
            lost = np.flatnonzero((verdicts.verdict == Verdict.DROP) & np.isin(classes, WANTED))
            self._wanted += [
                self._one(batch, classes, index) for index in lost[: SAMPLE_LIMIT - len(self._wanted)].tolist()
            ]

    def _one(self, batch: FrameBatch, classes: U8, index: int) -> Sample:
        return Sample(
            self._frames + index,
            int(classes[index]),
            int(batch.src[index]),
            int(batch.dst[index]),
            int(batch.ethertype[index]),
            int(batch.raw.ts_ns[index]),
        )

    def finish(self) -> Prediction:
        """Give what was counted so far."""
        hits = self._matcher.hits
        rules = tuple(self._rule(index, hits[index]) for index in range(len(self.program.commands)))
        return Prediction(
            filter=self.program.name,
            counts=tuple(tuple(_counts(cell) for cell in row) for row in self._counts),
            rules=rules,
            end=tuple(_counts(cell) for cell in self._decided[-1]),
            reasons=tuple(self._reasons.tolist()),
            wanted_samples=tuple(self._wanted),
        )

    def _rule(self, index: int, hits: I64) -> RulePrediction:
        command = self.program.commands[index]
        seen = self._last[index] >= 0 or self._first[index] < _NEVER
        return RulePrediction(
            rule=index,
            text=f"into chain {command.target}" if command.jump else self.program.origins[command.origin].text,
            command=" ".join(words(command, "TAP")),
            to_guest=command.to_guest,
            matched=_counts(hits),
            decided=tuple(_counts(cell) for cell in self._decided[index]),
            first_ns=int(self._first[index]) if seen else None,
            last_ns=int(self._last[index]) if seen else None,
            samples=tuple(self._samples[index]),
        )


def ways(batch: FrameBatch, classes: U8) -> npt.NDArray[np.bool_]:
    """Say for each frame whether it goes to the guest: by its class, by its direction where it has no class."""
    outwards: npt.NDArray[np.bool_] = (classes == FrameClass.FROM_GUEST) | (
        (classes == FrameClass.UNCLASSIFIED) & (batch.raw.direction == Direction.FROM_GUEST)
    )
    return ~outwards


def _sums(index: I64, octets: I64, shape: tuple[int, ...]) -> I64:
    """Give frames and octets by index, as int64 of ``shape`` + (2,)."""
    size = int(np.prod(shape))
    frames = np.bincount(index, minlength=size)
    weights = np.bincount(index, octets, minlength=size).astype(np.int64)  # exact: a batch is far below 2**53 octets
    return np.stack([frames, weights], axis=-1).reshape(*shape, 2)


def _counts(cell: I64) -> Counts:
    return Counts(int(cell[0]), int(cell[1]))
