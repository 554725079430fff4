"""Ctrl-C before the command line has begun: while its modules are still imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRESSED = """
import os, signal, sys

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press())
"""
"""As sitecustomize.py: Ctrl-C is pressed at the moment when the module is about to be imported."""


@pytest.mark.parametrize("module", ["nwscan.cli", "click", "nwscan.cli.main", "nwscan.render.text"])
def test_an_interrupt_while_modules_are_imported_is_a_quiet_end(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(PRESSED.format(module=module))
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", "from nwscan.entry import run; run()", "--version"]
    run = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "interrupted\n")


def test_the_command_begins_there() -> None:
    """What was typed is what runs: the same exit codes and words as those of the command line."""
    command = [sys.executable, "-c", "from nwscan.entry import run; run()", "no-such-command"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith("error: No such command 'no-such-command'")
