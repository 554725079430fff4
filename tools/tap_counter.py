"""Build the objects of the eBPF programs beside their sources: `python -m tools.tap_counter`, or `make counter`.

Debian's clang and llvm do it. The debugging information is taken out but for the types (BTF), which the loader needs;
no path of the machine that builds it stays in the object.
"""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "analyzer" / "host" / "tap_counter.bpf.c"
OWN_SOURCE = SOURCE.with_name("own_counter.bpf.c")
FLOW_SOURCE = SOURCE.with_name("flow_counter.bpf.c")
WARNINGS = ("-Wall", "-Wextra", "-Werror")


def build(target: Path, source: Path = SOURCE) -> None:
    """Write the object of a source. CalledProcessError where clang refuses, FileNotFoundError without it."""
    headers = f"-I/usr/include/{platform.machine()}-linux-gnu"
    paths = ("-fdebug-compilation-dir=.", f"-ffile-prefix-map={source.parent}=.")
    instructions = "v3" if source == FLOW_SOURCE else "v1"  # v3 has those that swap and compare at once
    how = ("-target", "bpfel", f"-mcpu={instructions}", "-O2", "-g", *WARNINGS, *paths, headers)
    subprocess.run(["clang", *how, "-c", str(source), "-o", str(target)], check=True)
    subprocess.run(["llvm-strip", "-g", str(target)], check=True)


if __name__ == "__main__":
    for each in (SOURCE, OWN_SOURCE, FLOW_SOURCE):
        build(each.with_suffix(".o"), each)
