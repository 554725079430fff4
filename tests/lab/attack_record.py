"""Five minutes of two hostile guests, try by try, and what was measured: `python -m tests.lab.attack_record` (as root).

It ends with an error at the first try that succeeds. With --record FILE the figures are written down.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.attack import ALL, WINDOW_S, Attack, Outcome
from tests.lab.attack_frames import TRIES
from tests.lab.lab import Lab, missing
from tests.lab.layout import GUESTS
from tests.lab.nwscan_run import Nwscan
from tests.lab.schedule import Schedule
from tests.machine import machine

SECONDS = 300
FEW = Schedule(foreign=10, own=30_000, multicast=6_000, broadcast=3_000, rate_fps=300)
FOREIGN = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
PENDING_S = 6.0
INCONCLUSIVE = 7
HEAD = """\
# Two hostile guests

`make attack` has two guests of the lab, with root inside, send for {seconds:.0f} s what tests/lab/attack_frames.py
holds, while nwscan measures, suggests, applies and verifies. What it reports is compared with a counter of the tests'
own on both taps, which looks at the packet type and the destination MAC alone; a try that succeeds ends the run. The
short form is part of `make test`. [SECURITY.md](../SECURITY.md) says what stops each try.

Recorded on {machine}.

| try | windows | frames sent | frames on both taps | in a wrong class | lost, and told | peak memory |
|---|---|---|---|---|---|---|
"""


@dataclass
class Tally:
    """What one try did in all of its windows."""

    outcomes: list[Outcome] = field(default_factory=list)

    def row(self, name: str) -> str:
        """One line of the table."""
        sent, seen, lost = (
            sum(values)
            for values in zip(*((each.sent, each.on_taps, each.lost) for each in self.outcomes), strict=True)
        )
        memory = max(each.memory_kib for each in self.outcomes) / 1024
        return f"| {name} | {len(self.outcomes)} | {sent:,} | {seen:,} | 0 | {lost:,} | {memory:.0f} MiB |\n"


class Recording:
    """The tries one after another, and the games with time."""

    def __init__(self, lab: Lab, nwscan: Nwscan) -> None:
        self.attack = Attack(lab, nwscan, (*TRIES, ALL))
        self.lab, self.nwscan = lab, nwscan
        self.tallies: dict[str, Tally] = defaultdict(Tally)
        self.games: dict[str, list[str]] = defaultdict(list)
        with nwscan.start("capture", "vm1", "--json") as quiet:
            lab.send(Schedule(foreign=100, own=50, multicast=20, broadcast=20))
            time.sleep(WINDOW_S)
            quiet.interrupt()
        self.alone = {profile: self.attack.filters_of("vm1", profile) for profile in ("mac", "strict")}

    def try_all(self, end_s: float) -> None:
        """Each try by both guests; then all of it, and what vm1's filter would be after that."""
        for name in (*TRIES, ALL):
            tally = self.tallies[name]
            tally.outcomes.append(self.attack.measured(name))
            say(f"{name}: {tally.outcomes[-1].sent} frames, {end_s - time.monotonic():.0f} s left")
        self.attack.measured(ALL, least_s=WINDOW_S)
        filters, _ = self.attack.filters_of("vm1", "mac")
        assert filters == self.alone["mac"][0], "vm1 has changed its own filter"
        self.games["filter for vm1, profile mac, while both send all of it"].append("the same filter")
        self.attack.measured(ALL, ("vm2",), WINDOW_S)
        filters, reasons = self.attack.filters_of("vm1", "strict")
        assert filters == self.alone["strict"][0], "vm2 has changed vm1's filter"
        further = [reason for reason in reasons if reason not in self.alone["strict"][1]]
        said = "the same filter" + (f", refused until forced: {'; '.join(further)}" if further else "")
        self.games["filter for vm1, profile strict, while vm2 sends all of it"].append(said)

    def play(self) -> None:
        """The games with time around apply and verify."""
        self.lab.settle()
        with self.lab.sending(FOREIGN):
            self.nwscan.run("capture", "vm1", "--json", duration_s=WINDOW_S)
        self.lab.settle()
        self._verify("no filter: loud before, quiet while measured", INCONCLUSIVE, "inconclusive")
        words = ("suggest", "--apply", "vm1", "--yes", "--force", "--confirm-within", "60s")
        with self.lab.sending(FEW):
            self.nwscan.run(*words, code=INCONCLUSIVE, duration_s=WINDOW_S)
            with self.attack.attacking(*GUESTS):
                time.sleep(PENDING_S)
            kept = self.nwscan.run("confirm", "vm1").stdout
            assert "kept" in kept, kept
            self.games["all tries while the filter waits to be confirmed"].append("no guard fired")
        self.lab.settle()
        with self.lab.sending(FOREIGN), self.attack.attacking(*GUESTS):
            self._verify("filter: all tries while measured", 0, "effective")
        self.lab.settle()
        self._verify("filter: loud before, quiet while measured", INCONCLUSIVE, "inconclusive")
        self.nwscan.run("rollback", "vm1", "--yes")
        say("the games with time are done")

    def _verify(self, game: str, code: int, expected: str) -> None:
        verdict = self.nwscan.run("verify", "vm1", "--json", code=code, duration_s=WINDOW_S).document["verdict"]
        assert verdict == expected, (game, verdict)
        self.games[game].append(verdict)

    def written(self, seconds: float) -> str:
        """The document."""
        rows = "".join(tally.row(name) for name, tally in self.tallies.items())
        games = "".join(
            f"| {name} | {len(told)} | {', '.join(sorted(set(told)))} |\n" for name, told in self.games.items()
        )
        return (
            f"{HEAD.format(seconds=seconds, machine=machine())}{rows}\n"
            f"| what else was tried | times | what nwscan said |\n|---|---|---|\n{games}"
        )


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Attack, and write down what came of it."""
    parser = argparse.ArgumentParser(description="Two hostile guests against nwscan.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--record", type=Path, help="write the figures there")
    chosen = parser.parse_args()
    if (reason := missing()) is not None:
        say(f"No lab: {reason}.")
        return 1
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        recording = Recording(lab, Nwscan(lab, Path(folder)))
        start_s = time.monotonic()
        while time.monotonic() < start_s + chosen.seconds:
            recording.try_all(start_s + chosen.seconds)
            recording.play()
        text = recording.written(time.monotonic() - start_s)
    say(text)
    if chosen.record is not None:
        chosen.record.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
