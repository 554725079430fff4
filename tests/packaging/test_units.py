"""The units for systemd: it takes them, they let little out, and what they start is there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nwscan.cli.main import COMMANDS

FOLDER = Path(__file__).parents[2] / "packaging" / "systemd"
UNITS = sorted(FOLDER.iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXPOSURE_AT_MOST = 20
"""In tenths, of 100: systemd calls up to 2.0 of 10 fine."""

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units, with a program that is installed here."""
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/usr/bin/nwscan", sys.executable)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return tmp_path


def analyze(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *map(str, words)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", [unit.name for unit in UNITS])
def test_systemd_takes_it(name: str, folder: Path) -> None:
    done = analyze("verify", "--man=no", "--recursive-errors=no", folder / name)
    complaints = [line for line in done.stderr.splitlines() if name in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


@pytest.mark.parametrize("name", [unit.name for unit in SERVICES])
def test_it_lets_little_out(name: str, folder: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE_AT_MOST}", folder / name)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_what_it_starts_is_there(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    program, command, *_ = shlex.split(line)
    assert Path(program).name == "nwscan"
    assert command in COMMANDS


def test_each_timer_has_its_service() -> None:
    timers = [unit for unit in UNITS if unit.suffix == ".timer"]
    assert timers
    assert all(timer.with_suffix(".service") in SERVICES for timer in timers)
