"""Coverage of the processes that tests start: nwscan in the lab, and the worker, which can open nothing once confined.

Each process of such a run opens a file of its own as it starts, measures in memory, and writes what it found through
that descriptor as it ends. The environment of the tests asks for it (sitecustomize.py beside this file, found by
PYTHONPATH); nothing of it is in nwscan.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from coverage import CoverageData

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("COVERAGE_FILE", ROOT / ".coverage"))
"""Where this run of the tests puts what it found: two runs beside each other have a file each."""
FOLDER = ROOT / f".of_processes{DATA.name}"
"""Below the project: the lab has a /tmp of its own."""
ANYONE = 0o1777
"""Mode of the folder: some tests start nwscan as a user who is not root."""


def asking(folder: Path) -> dict[str, str]:
    """Give what the environment needs for processes to measure themselves, and write what they found in ``folder``."""
    path = filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH")))
    return {"NWSCAN_TESTS_COVERAGE": str(folder), "PYTHONPATH": os.pathsep.join(path)}


def ask() -> None:
    """Have every process that is started from here on measure itself."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    FOLDER.chmod(ANYONE)
    os.environ |= asking(FOLDER)


def collect() -> None:
    """Put what the processes found where coverage combines it; those that were killed told nothing."""
    for path in sorted(FOLDER.iterdir()):
        octets = path.read_bytes()
        if octets:
            data = CoverageData(f"{DATA}.process-{path.name}")
            data.loads(octets)
            data.write()
    shutil.rmtree(FOLDER)
