"""A state folder that somebody else keeps to himself: a clear error, and nothing is taken for empty."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.network_namespace import need_root
from tests.nwscan.command import MAC, NO_LIBVIRT, Ended, typed
from tests.nwscan.ordinary_user import as_ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CLOSED = {"the state folder": "", "its reports": "reports"}


@pytest.fixture(params=CLOSED)
def state(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A state folder of root's in which the folder ``CLOSED`` says is for root alone."""
    need_root()
    with tempfile.TemporaryDirectory(prefix="nwscan-test-") as name:
        state = Path(name, "state")
        for folder in (state, state / "reports", state / "journal"):
            folder.mkdir()
        for folder in (state.parent, state, state / "reports"):
            folder.chmod(0o755)
        (state / CLOSED[request.param]).chmod(0o700)
        yield state


def ended(state: Path, *words: str) -> Ended:
    """Run a command as somebody else than the folder's owner."""
    environment = os.environ | {"NWSCAN_STATE": str(state), "NWSCAN_CONNECT": NO_LIBVIRT, "HOME": str(state.parent)}
    command = [*as_ordinary_user(), *typed(*words)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return Ended(words, done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [("capture", "lo", "--mac", MAC, "-a", "duration:1"), ("forget", "--yes")])
def test_whoever_is_kept_out_is_told_where(state: Path, words: tuple[str, ...]) -> None:
    fields = ended(state, *words).error(4)
    assert fields["error"] == "cannot read the state folder: Permission denied"
    assert fields["where"] == str(state / "reports")
    assert "--state" in fields["do"]


def test_doctor_says_that_the_folder_is_somebody_else_s(state: Path) -> None:
    document = ended(state, "doctor", "--json").document
    (folder,) = (check for check in document["checks"] if check["name"] == "state folder")
    assert not folder["ok"]
    assert "--state" in folder["hint"]
