"""Where does the time of `nwscan analyze` go? `python benchmarks/stages.py [--frames N]`: CPU per frame, by stage.

One thread measures a capture that lies in the kernel's cache, and its CPU time is taken around each stage of each
batch. What benchmarks/files.py measures is the whole process, with two threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from inputs import GUEST, path_of

from analyzer.capture.source import open_capture
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import DirectionSource
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.report.builder import ReportBuilder

if TYPE_CHECKING:
    from pathlib import Path

STAGES = ("read", "decode", "classify", "count")


def measure(path: Path) -> list[float]:
    """Give the nanoseconds a frame of each stage."""
    guest = GuestIdentity((parse_mac(GUEST),), Provenance.COMMAND_LINE)
    classifier = Classifier(guest, DirectionSource.SOURCE_MAC)
    builder = ReportBuilder(guest, DirectionSource.SOURCE_MAC)
    spent, frames = [0.0] * len(STAGES), 0
    source = open_capture(path.open("rb", buffering=0), str(path))
    begin_s = time.thread_time()
    for raw in source.batches():
        times = [begin_s, time.thread_time()]
        batch = decode(raw)
        times.append(time.thread_time())
        classes = classifier.classify(batch)
        times.append(time.thread_time())
        builder.add(batch, classes)
        times.append(time.thread_time())
        spent = [one + end - begin for one, begin, end in zip(spent, times[:-1], times[1:], strict=True)]
        frames += len(raw)
        begin_s = time.thread_time()
    source.close()
    return [one / frames * 1e9 for one in spent]


def main() -> int:
    """Measure five times and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2_000_000, help="frames of the capture [2 million]")
    path = path_of("small", frames=parser.parse_args().frames)
    rounds = [measure(path) for _ in range(5)]
    for name, times in zip((*STAGES, "all"), (*zip(*rounds, strict=True), map(sum, rounds)), strict=True):
        print(f"{name:10}{median(times):8.1f} ns a frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
