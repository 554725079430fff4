"""How often a real drop is called effective: drawn traffic, sent over a real bridge, dropped by real rules, metered.

`python -m tests.lab.power` (as root): 1,000 windows. The traffic of each is that of benchmarks/calibrate_verify.py, 60
s of it, sent without the pauses: the meter counts frames, not seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.compare import Verdict, judge
from analyzer.compare.statistics import share_interval
from analyzer.host.meter import Meter
from analyzer.model.addresses import BROADCAST, format_mac
from analyzer.model.classes import FrameClass
from tests.lab.bridge_bench import ABSENT_MAC, GUEST_MAC, HOST_MAC, TAP, BridgeBench, drop_foreign
from tests.lab.frames import ETHERTYPE_EXPERIMENTAL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from analyzer.compare import Comparison
    from analyzer.host.meter import MeterReading

SECONDS = 60
SEED = 20261126
DESTINATIONS = {
    FrameClass.UNICAST_TO_GUEST: GUEST_MAC,
    FrameClass.MULTICAST: 0x01005E000001,
    FrameClass.BROADCAST: BROADCAST,
    FrameClass.FOREIGN_UNICAST: ABSENT_MAC,
}


def calibration() -> ModuleType:
    """The benchmark that draws the traffic."""
    path = Path(__file__).parents[2] / "benchmarks" / "calibrate_verify.py"
    spec = importlib.util.spec_from_file_location("calibrate_verify", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibrate_verify"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def frame(destination: int) -> bytes:
    head = destination.to_bytes(6, "big") + HOST_MAC.to_bytes(6, "big") + ETHERTYPE_EXPERIMENTAL.to_bytes(2, "big")
    return head.ljust(100, b"\0")


def windows(count: int, seed: int = SEED) -> Iterator[tuple[Any, MeterReading, Comparison]]:
    """Send ``count`` windows behind a filter that drops foreign unicast: what was drawn, metered, and judged."""
    draws, generator = calibration(), np.random.default_rng(seed)
    frames = {row: frame(destination) for row, destination in DESTINATIONS.items()}
    with BridgeBench() as bench:
        drop_foreign(TAP, format_mac(GUEST_MAC))
        with Meter({TAP: (GUEST_MAC,)}) as meter:
            for _ in range(count):
                before, after = (draws.traffic(generator, SECONDS).bins for _ in range(2))
                start = meter.read()[TAP]
                bench.send("eA", (one for second in after for row, one in frames.items() for _ in range(second[row])))
                reading = meter.read()[TAP].since(start)
                behind = after.copy()
                behind[:, FrameClass.FOREIGN_UNICAST] = 0
                yield (
                    after,
                    reading,
                    judge(draws.window(before), draws.window(behind), reading.offered, reading.delivered),
                )


def main() -> None:
    """Say how often."""
    parser = argparse.ArgumentParser(description="Judge a real drop, again and again.")
    parser.add_argument("--windows", type=int, default=1000)
    count = parser.parse_args().windows
    verdicts = Counter(comparison.verdict for _, _, comparison in windows(count))
    bounds = share_interval(verdicts[Verdict.EFFECTIVE], count, 0.05)
    told = ", ".join(f"{verdict} {number}" for verdict, number in verdicts.most_common())
    sys.stdout.write(
        f"{count} windows: {told}; effective {100 * verdicts[Verdict.EFFECTIVE] / count:.1f} %, at least "
        f"{100 * bounds.lower:.1f} % (95 % bound)\n"
    )


if __name__ == "__main__":
    main()
