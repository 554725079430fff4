"""`python -m tests.soak` (as root): capture with rotation, capture of all taps, top and export in a lab, half an hour.

Meanwhile traffic flows, a guest with two cards appears and vanishes every few seconds, and so does a card that is no
guest's. Ends with 1 where a curve is not flat, where a command ended badly, or where something is left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.lab import Lab, missing
from tests.lab.layout import ROOT
from tests.lab.nwscan_run import Nwscan, wait_for
from tests.lab.paused_guest import MACS, cards, domain
from tests.lab.schedule import Schedule
from tests.lab.terminal import Terminal
from tests.machine import machine
from tests.soak.drawing import draw
from tests.soak.judge import WARM_UP, Flatness, judge
from tests.soak.sampling import sample

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 1800
STAYS_S, AWAY_S = 4.0, 4.0
TRAFFIC = Schedule(foreign=300_000, own=150_000, multicast=30_000, broadcast=20_000, rate_fps=250)
PICTURE, DOCUMENT = Path("docs/pictures/soak.png"), Path("docs/soak.md")
Curves = dict[tuple[str, str], list[float]]


class Churn:
    """A guest's taps, and a card that is no guest's: they come, they go."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        lab.write(f"{ROOT}/soak.xml", domain(cards(MACS), name="soak"))

    def come(self) -> None:
        """Let them appear."""
        self._lab.virsh(f"create {ROOT}/soak.xml --paused")
        self._lab.run(["ip", "link", "add", "soak0", "type", "veth", "peer", "name", "soak1"], check=True)
        self._lab.run(["ip", "link", "set", "soak0", "master", "br0", "up"], check=True)

    def go(self) -> None:
        """Let them vanish."""
        self._lab.virsh("destroy soak")
        self._lab.run(["ip", "link", "del", "soak0"], check=True)


def soak(lab: Lab, folder: Path, seconds: float) -> tuple[list[float], Curves, int]:
    """Let all run; gives the times of the samples, the curves, and how often taps came and went."""
    nwscan = Nwscan(lab, folder)
    ring = ("-w", folder / "ring.pcapng", "-b", "filesize:256", "-b", "files:4", "--no-keep")
    times: list[float] = []
    curves: Curves = {}
    with ExitStack() as stack:
        one = stack.enter_context(nwscan.start("capture", "vm1", *ring, duration_s=2 * seconds))
        every = stack.enter_context(nwscan.start("capture", "--all", "--no-keep", duration_s=2 * seconds))
        top = stack.enter_context(Terminal(lab, ["nwscan", "top", "--interval", "1"], env=nwscan.environment(1)))
        top.wait_until(lambda now: "vm1" in now, "top shows vm1")
        words = ["nwscan", "export", "--textfile", str(folder / "nwscan.prom"), "--interval", "2"]
        export = lab.popen(words, env=nwscan.environment(1), stderr=subprocess.PIPE)
        stack.callback(export.kill)
        wait_for((folder / "nwscan.prom").exists, "the exporter writes")
        stack.enter_context(lab.sending(TRAFFIC))
        churn = Churn(lab)
        rounds, start_s = 0, time.monotonic()
        while time.monotonic() - start_s < seconds:
            for change, wait_s in ((churn.come, STAYS_S), (churn.go, AWAY_S)):
                change()
                time.sleep(wait_s)
                times.append(time.monotonic() - start_s)
                for curve, value in sample(lab).items():
                    curves.setdefault(curve, []).append(value)
            rounds += 1
        for capture in (one, every):
            ended = capture.interrupt()
            assert ended.code == 0, ended
        top.press("q")
        top.wait_until(lambda now: "ended with 0" in now, "top has ended")
        export.terminate()
        _, told = export.communicate(timeout=60)
        assert "error" not in told, told
    tables = lab.run(["nft", "list", "tables"], check=True).stdout
    assert "nwscan" not in tables, tables
    return times, curves, rounds


def written(judged: Mapping[tuple[str, str], Flatness], seconds: float, rounds: int) -> str:
    """The document."""
    rows = "".join(
        f"| {name} | {kind} | {one.mean:.1f} | {one.growth:+.2f} ({one.lower:+.2f} to {one.upper:+.2f}) |"
        f" {one.allowed:.1f} | {'yes' if one.is_flat else '**no**'} |\n"
        for (name, kind), one in sorted(judged.items())
    )
    minutes, fps = seconds / 60, TRAFFIC.rate_fps
    return f"""\
# Half an hour under load

`make soak` runs in a lab: a capture of one guest with ring files, a capture of all taps, `top` and `export`, for
{minutes:.0f} minutes. Meanwhile {fps:.0f} frames a second flow. A guest with two cards, and a card of nobody's,
come and go, here {rounds} times. While they are there and while they are not, what each process has is read: private
memory, descriptors and threads; and what the lab has: network namespaces and nft tables.

A curve is flat when the 95 % interval of its growth, by a straight line through twelve block means behind the first
{100 * WARM_UP:.0f} % of the run, stays below 5 % of its mean and one unit. A curve of which that cannot be told fails.

Recorded on {machine()}.

![The curves](pictures/soak.png)

| whose | what | mean | growth over the run (95 % interval) | allowed | flat |
|---|---|---|---|---|---|
{rows}"""


def main() -> int:
    """Soak, judge, and write it down."""
    parser = argparse.ArgumentParser(description="capture, top and export while taps come and go")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--record", action="store_true", help=f"write {DOCUMENT} and {PICTURE}")
    chosen = parser.parse_args()
    if (reason := missing()) is not None:
        sys.stderr.write(f"No lab: {reason}.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder, Lab() as lab:
        times, curves, rounds = soak(lab, Path(folder), chosen.seconds)
    broken = sorted(curve for curve, values in curves.items() if len(values) != len(times))
    judged = {curve: judge(times, values) for curve, values in curves.items() if curve not in broken}
    text = written(judged, chosen.seconds, rounds)
    sys.stdout.write(text)
    if chosen.record:
        DOCUMENT.write_text(text)
        draw(times, {curve: curves[curve] for curve in judged}, PICTURE)
    if broken:
        sys.stderr.write(f"not there all the time: {broken}\n")
    return 1 if broken or not all(one.is_flat for one in judged.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
