"""The documents generated from the commands, and the examples in their help."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from nwscan.cli.main import COMMANDS, cli
from nwscan.cli.reference import render_reference

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/cli.md"


def test_the_generated_reference_is_up_to_date() -> None:
    if os.environ.get("NWSCAN_REGENERATE") == "1":
        REFERENCE.write_text(render_reference(), encoding="utf-8")
    assert REFERENCE.read_text(encoding="utf-8") == render_reference()


def command(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_in_an_example_of_its_command(name: str) -> None:
    epilog = command(name).epilog or ""
    assert epilog.startswith(f"Example: nwscan {name}")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name in {"analyze", "suggest", "demo"}])
def test_the_examples_that_need_no_host_run(name: str) -> None:
    words = shlex.split((command(name).epilog or "").removeprefix("Example: "))
    done = subprocess.run(
        [sys.executable, "-m", "nwscan.cli.main", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_the_group_agrees_with_the_help_of_the_command(name: str) -> None:
    first = re.split(r"(?<=[.:])\s", (command(name).help or "").strip())[0]
    assert first[0].isupper()
    assert len(COMMANDS[name][2]) <= 80
