from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests.measuring.processes import ROOT, asking
from tests.nwscan.command import BEFORE, typed


def test_a_confined_worker_tells_what_it_ran(tmp_path: Path) -> None:
    words = typed("analyze", BEFORE, "--json")
    environment = os.environ | asking(tmp_path)
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{")
    ran = []
    for path in tmp_path.iterdir():
        data = CoverageData(no_disk=True)
        data.loads(path.read_bytes())
        ran.append({str(Path(name).relative_to(ROOT)) for name in data.measured_files() if data.arcs(name)})
    workers = [names for names in ran if "nwscan/worker/child.py" in names]
    assert any("nwscan/cli/main.py" in names for names in ran if names not in workers)
    assert any({"analyzer/pipeline.py", "nwscan/worker/confine.py"} <= names for names in workers)


def test_measuring_says_nothing_to_whoever_reads_what_a_command_prints(tmp_path: Path) -> None:
    environment = os.environ | asking(tmp_path)
    for code in ("pass", "import analyzer.errors"):
        words = (sys.executable, "-c", code)
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
