"""Writes what benchmarks/files.py measured: the tables of benchmarks/RESULTS.md, a picture of how the cost grows."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from files import Trial

    Growth = Sequence[tuple[int, list[float], float]]

_LIMIT_MIB: Final = 200


def write(
    trials: Sequence[Trial], growth: Growth, loads: tuple[tuple[float, ...], tuple[float, ...]], folder: Path | None
) -> None:
    """Write RESULTS.md and frames.svg into a folder, or print the text where there is none."""
    text = "\n".join(_lines(trials, growth, loads)) + "\n"
    if folder is None:
        print(text)
        return
    (folder / "RESULTS.md").write_text(text, encoding="utf-8")
    _draw(growth, folder / "frames.svg")


def _lines(
    trials: Sequence[Trial], growth: Growth, loads: tuple[tuple[float, ...], tuple[float, ...]]
) -> Iterator[str]:
    yield from ("# Files: nwscan beside other tools", "")
    yield f"Written by `make bench` (benchmarks/files.py) on {time.strftime('%Y-%m-%d')}. {machine()}."
    yield f"{versions()}."
    before, after = (" ".join(f"{one:.1f}" for one in load) for load in loads)
    yield f"Load averages before: {before}; after: {after}. Times are medians of whole processes, with least and most."
    yield "With a load above 1 before the run wall times say little, least of all of start-up and of two cores in use:"
    yield "the columns of CPU say more, and the aims are to be measured again on a quiet machine."
    yield from ("", "## What was aimed at, and what holds", "", "| aim | measured | holds |", "|---|---|---|")
    yield from (f"| {aim} | {found} | {'yes' if holds else 'no'} |" for aim, found, holds in _aims(trials))
    for trial in trials:
        yield from _table(trial)
    if growth:
        yield from ("", "## How the cost grows with the frames", "", "![wall time by frames](frames.svg)", "")
        yield from ("| frames | wall, s | ns a frame | most memory, MiB |", "|--:|--:|--:|--:|")
        for count, walls, most_mib in growth:
            middle = median(walls)
            yield f"| {count:,} | {middle:.3f} | {middle / count * 1e9:,.1f} | {most_mib:.0f} |"


def _table(trial: Trial) -> Iterator[str]:
    yield from ("", f"## {trial.input}: {trial.frames:,} frames", "")
    yield "| tool | frames | wall, s | least | most | CPU, s | ns a frame | nwscan is faster by |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|"
    ours = trial.per_frame_ns("nwscan analyze")
    for tool in trial.tools:
        mine = trial.per_frame_ns(tool.name)
        row = f"{tool.middle_s:.3f} | {min(tool.wall_s):.3f} | {max(tool.wall_s):.3f} | {median(tool.cpu_s):.3f}"
        yield f"| `{tool.name}` | {round(trial.frames * tool.share):,} | {row} | {mine:,.1f} | {mine / ours:.2f} |"
    yield from ("", f"Most RssAnon + RssShmem of nwscan, all processes together: {trial.most_mib:.0f} MiB.")


def _aims(trials: Sequence[Trial]) -> Iterator[tuple[str, str, bool]]:
    """Yield each aim, what was measured, and whether it holds."""
    by_name = {trial.input: trial for trial in trials}
    if small := by_name.get("small"):
        ours = small.per_frame_ns("nwscan analyze")
        for name, least in (
            ("tcpdump -r FILE -w /dev/null FOREIGN", 2),
            ("tcpdump -nn -r FILE FOREIGN > /dev/null", 2),
            ("tshark -q -z endpoints,eth", 40),
            ("scapy, dissection", 300),
        ):
            ratio = small.per_frame_ns(name) / ours
            yield f"small frames: {least}x as fast as `{name}`", f"{ratio:.1f}x", ratio >= least
        if ng := by_name.get("small-ng"):
            ratio = ng.per_frame_ns("nwscan analyze") / ours
            yield "pcapng at most 1.3x pcap, small frames", f"{ratio:.2f}x", ratio <= 1.3
    if (full := by_name.get("full")) and (empty := by_name.get("empty")):
        cat, whole = full.tool("cat").middle_s, full.tool("nwscan analyze").middle_s
        rest = (whole - empty.tool("nwscan analyze").middle_s) / cat
        yield (
            "2 GiB of full-size frames: process less that of an empty capture at most 1.3x cat",
            f"{rest:.2f}x",
            (rest <= 1.3),
        )
        yield "2 GiB of full-size frames: whole process at most 1.8x cat", f"{whole / cat:.2f}x", whole / cat <= 1.8
    for name, packer in (("small-gz", "gzip -dc"), ("full-gz", "gzip -dc"), ("small-zst", "zstd -dc")):
        if trial := by_name.get(name):
            ratio = trial.tool("nwscan analyze").middle_s / trial.tool(packer).middle_s
            yield f"{name}: bound by unpacking, beside `{packer}`", f"{ratio:.2f}x", ratio <= 1.1
    if thousand := by_name.get("thousand"):
        start, least = thousand.tool("nwscan --version").middle_s, thousand.tool("nwscan analyze").middle_s
        yield "`nwscan --version` below 100 ms", f"{start * 1e3:.0f} ms", start < 0.1
        yield "`nwscan analyze` of 1,000 frames below 300 ms", f"{least * 1e3:.0f} ms", least < 0.3
    most = max(trial.most_mib for trial in trials)
    yield f"memory below {_LIMIT_MIB} MiB in all of them", f"{most:.0f} MiB", most < _LIMIT_MIB


def machine() -> str:
    """Say what this is measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0] if models else platform.machine()}, Linux {platform.release()}"


def versions() -> str:
    """Give the versions of all that is measured."""
    found = [f"Python {platform.python_version()}"]
    for name in ("nwscan", "numpy", "scapy", "dpkt"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    for command in (["tcpdump", "--version"], ["tshark", "--version"], ["cat", "--version"], ["gzip", "--version"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found.append((done.stdout + done.stderr).strip().splitlines()[0].rstrip("."))
    return ", ".join(found)


def _draw(growth: Growth, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415 - only where a picture is made

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    counts = [count for count, _, _ in growth]
    axes.loglog(counts, [median(walls) for _, walls, _ in growth], "o-", label="nwscan analyze, whole process")
    axes.set_xlabel("frames (snaplen 96)")
    axes.set_ylabel("wall time, s")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit("this writes what benchmarks/files.py measures: run that")
