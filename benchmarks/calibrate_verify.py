"""How often is the judgement wrong? Simulate windows, judge them, count: `python benchmarks/calibrate_verify.py`.

Each of the four to-guest classes is an on/off source of its own: Pareto periods with shape 1.5 and mean 1 s, 100
frames a second (Poisson) while on, in equilibrium at the start of a window. Periods like these have no finite
variance: bursts and silences of many seconds are usual, and counts of neighbouring seconds resemble each other. The
windows before and after are independent, as after a pause; adjacent ones resemble each other and are judged wrongly
less often. The readings of the meter are up to 2 ms apart, the counters behind the filter being read first.

Prints the tables that stand in docs/verify-method.md; with ``--write`` it puts them there.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from analyzer.compare import Verdict, WindowCounts, judge
from analyzer.compare.statistics import share_interval
from analyzer.model.classes import CLASS_COUNT, TO_GUEST_CLASSES, FrameClass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from analyzer.compare import Comparison
    from analyzer.model.frames import I64

SHAPE: Final = 1.5
MEAN_S: Final = 1.0
SHORTEST_S: Final = MEAN_S * (SHAPE - 1.0) / SHAPE
RATE_FPS: Final = 100.0
READING_LAG_S: Final = 0.002
SEED: Final = 20260101
PAIRS: Final = 1000
SECONDS: Final = 60
DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "verify-method.md"
BEGIN: Final = "<!-- figures of benchmarks/calibrate_verify.py -->\n"
END: Final = "<!-- end of figures -->\n"


def periods(generator: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Draw ``count`` on or off periods in seconds from the Pareto distribution."""
    drawn: npt.NDArray[np.float64] = SHORTEST_S * (1.0 - generator.random(count)) ** (-1.0 / SHAPE)
    return drawn


def rest_of_period(generator: np.random.Generator) -> float:
    """Draw what is left of the period that a window begins in: the equilibrium distribution of the Pareto one.

    P(rest > t) is 1 - t / mean up to the shortest period and falls with t ** (1 - shape) behind it.
    """
    beyond = 1.0 - generator.random()
    edge = 1.0 - SHORTEST_S / MEAN_S
    if beyond >= edge:
        return MEAN_S * (1.0 - beyond)
    return float(SHORTEST_S * (beyond / edge) ** (1.0 / (1.0 - SHAPE)))


def arrivals(generator: np.random.Generator, edges: npt.NDArray[np.float64]) -> I64:
    """Draw the frames of one source between consecutive ``edges`` (seconds, rising from 0): int64[len(edges) - 1]."""
    ends = np.concatenate([[0.0, rest_of_period(generator)], periods(generator, 8)])
    ends = np.cumsum(ends)
    while ends[-1] < edges[-1]:
        ends = np.concatenate([ends, ends[-1] + np.cumsum(periods(generator, len(ends)))])
    on = (np.arange(len(ends) - 1) + generator.integers(0, 2)) % 2
    on_time = np.concatenate([[0.0], np.cumsum(np.diff(ends) * on)])
    drawn: I64 = generator.poisson(RATE_FPS * np.diff(np.interp(edges, ends, on_time)))
    return drawn


@dataclass(frozen=True)
class Traffic:
    """What came ahead of the filter in one window, in each second and between the readings of the meter."""

    bins: I64
    """int64[seconds, 6]."""
    late: I64
    """int64[6]: what the later reading holds more: frames between the two at the end less those at the start."""


def traffic(generator: np.random.Generator, seconds: int) -> Traffic:
    """Draw one window of independent sources, one for each to-guest class."""
    lags = generator.random(2) * READING_LAG_S
    edges = np.concatenate([[0.0, lags[0]], np.arange(1, seconds + 1), [seconds + lags[1]]])
    bins, late = np.zeros((seconds, CLASS_COUNT), np.int64), np.zeros(CLASS_COUNT, np.int64)
    for row in TO_GUEST_CLASSES:
        drawn = arrivals(generator, edges)
        bins[:, row] = drawn[1:-1]
        bins[0, row] += drawn[0]
        late[row] = drawn[-1] - drawn[0]
    return Traffic(bins, late)


def counts(frames: I64) -> I64:
    """Give int64[6, 2] of frames and octets for frames of 100 octets each."""
    return np.stack([frames, frames * 100], axis=1)


def window(bins: I64) -> WindowCounts:
    """Give the window that a lossless capture of ``bins`` makes."""
    return WindowCounts(counts(bins.sum(axis=0)), float(len(bins)), (1,), bins, frames_lost=0)


def through(generator: np.random.Generator, bins: I64, passing: dict[FrameClass, float]) -> I64:
    """Give what a filter leaves of ``bins`` where each frame of a class passes with its share of ``passing``."""
    left = bins.copy()
    for row, share in passing.items():
        left[:, row] = generator.binomial(bins[:, row], share)
    return left


@dataclass(frozen=True)
class Scenario:
    """One truth: what the filter lets pass, whether there is a meter, and which answers are wrong."""

    name: str
    passing: dict[FrameClass, float]
    is_wrong: Callable[[Comparison], bool]
    has_meter: bool = True
    does_flood_stop: bool = False

    def outcomes(self, pairs: int, seconds: int, seed: int) -> Iterator[Comparison]:
        """Judge ``pairs`` of windows of ``seconds``."""
        generator = np.random.default_rng(seed)
        for _ in range(pairs):
            before, after = traffic(generator, seconds), traffic(generator, seconds)
            if self.does_flood_stop:
                after.bins[:, FrameClass.FOREIGN_UNICAST] = after.late[FrameClass.FOREIGN_UNICAST] = 0
            behind = through(generator, after.bins, self.passing)
            offered = counts(np.maximum(after.bins.sum(axis=0) + after.late, 0))
            metered = (offered, counts(behind.sum(axis=0))) if self.has_meter else (None, None)
            yield judge(window(before.bins), window(behind), *metered)


def claims(comparison: Comparison) -> bool:
    """Say whether the answer claims an effect or a harm, or hints at an effect."""
    return comparison.verdict in {Verdict.EFFECTIVE, Verdict.HARMFUL} or comparison.is_consistent


def differs_from(*right: Verdict) -> Callable[[Comparison], bool]:
    """Give a test for verdicts other than ``right``."""
    return lambda comparison: comparison.verdict not in right


FOREIGN, OWN = FrameClass.FOREIGN_UNICAST, FrameClass.UNICAST_TO_GUEST
SCENARIOS: Final = (
    Scenario("no effect, meter", {}, claims),
    Scenario("no effect, no meter", {}, claims, has_meter=False),
    Scenario("flood stopped by itself, meter", {}, claims, does_flood_stop=True),
    Scenario(
        "flood stopped by itself, no meter",
        {},
        differs_from(Verdict.INCONCLUSIVE),
        does_flood_stop=True,
        has_meter=False,
    ),
    Scenario("all foreign dropped, meter", {FOREIGN: 0.0}, differs_from(Verdict.EFFECTIVE)),
    Scenario("all but 1 % dropped, meter", {FOREIGN: 0.01}, differs_from(Verdict.EFFECTIVE)),
    Scenario("half of it dropped, meter", {FOREIGN: 0.5}, differs_from(Verdict.NO_EFFECT)),
    Scenario("all dropped and 1 % of own, meter", {FOREIGN: 0.0, OWN: 0.99}, differs_from(Verdict.HARMFUL)),
    Scenario("all foreign dropped, no meter", {FOREIGN: 0.0}, differs_from(Verdict.INCONCLUSIVE), has_meter=False),
)


@dataclass(frozen=True)
class Tally:
    """The answers to one scenario."""

    scenario: Scenario
    pairs: int
    verdicts: Counter[Verdict]
    consistent: int
    wrong: int

    @property
    def wrong_upper(self) -> float:
        """The one-sided 95 % Clopper-Pearson bound of the share of wrong answers."""
        return share_interval(self.wrong, self.pairs, 0.05).upper


def tally(scenario: Scenario, pairs: int = PAIRS, seconds: int = SECONDS, seed: int = SEED) -> Tally:
    """Judge ``pairs`` of windows of one scenario and count the answers."""
    verdicts: Counter[Verdict] = Counter()
    consistent = wrong = 0
    for comparison in scenario.outcomes(pairs, seconds, seed):
        verdicts[comparison.verdict] += 1
        consistent += comparison.is_consistent
        wrong += scenario.is_wrong(comparison)
    return Tally(scenario, pairs, verdicts, consistent, wrong)


def coverage(seconds: int, pairs: int = PAIRS, seed: int = SEED) -> float:
    """Give the share of pairs without effect whose interval of the foreign rate ratio holds 1."""
    held = 0
    for comparison in Scenario("", {}, claims, has_meter=False).outcomes(pairs, seconds, seed):
        interval = comparison.classes[FOREIGN].interval
        held += interval is not None and interval.lower <= 1.0 <= interval.upper
    return held / pairs


def tables(pairs: int, seconds: int, lengths: Sequence[int]) -> str:
    """Give both tables in Markdown."""
    verdicts = (Verdict.EFFECTIVE, Verdict.NO_EFFECT, Verdict.INCONCLUSIVE, Verdict.HARMFUL)
    lines = [
        f"{pairs:,} pairs of windows of {seconds} s for each truth:",
        "",
        "| truth | effective | no effect | inconclusive (consistent) | harmful | wrong | at most, 95 % bound |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for scenario in SCENARIOS:
        result = tally(scenario, pairs, seconds)
        cells = [str(result.verdicts[verdict]) for verdict in verdicts]
        cells[2] += f" ({result.consistent})"
        wrong = f"{100 * result.wrong / pairs:.1f} % | {100 * result.wrong_upper:.1f} %"
        lines.append(f"| {scenario.name} | {' | '.join(cells)} | {wrong} |")
    lines += ["", f"How often the 95 % interval of the rate ratio holds the truth, {pairs:,} pairs without effect:", ""]
    lines += ["| window | held |", "|--:|--:|"]
    lines += [f"| {length} s | {100 * coverage(length, pairs):.1f} % |" for length in lengths]
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    """Put ``text`` into the document, between its marks."""
    head, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(head + BEGIN + text + END + rest.split(END)[1])


def main() -> None:
    """Print the tables, or write them."""
    parser = argparse.ArgumentParser(description="Calibrate the judgement on simulated windows.")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{DOCUMENT.name}")
    options = parser.parse_args()
    text = tables(options.pairs, SECONDS, (20, SECONDS, 300))
    print(text)
    if options.write:
        write(text)


if __name__ == "__main__":
    main()
