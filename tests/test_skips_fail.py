from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INNER = """\
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such tool")

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CI": "true"}, 1), ({"NWSCAN_REQUIRE_ALL": "1"}, 1)])
def test_a_skip_fails_the_run_where_nothing_may_skip(tmp_path: Path, environment: dict[str, str], code: int) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "test_inner.py").write_text(INNER)
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "NWSCAN_REQUIRE_ALL")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env=clean | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("FAILED test_inner.py::test_skips: skipped: no such tool" in done.stdout) == (code == 1)
