"""``forget``: what is kept goes when it is asked for, and nothing else does."""

from __future__ import annotations

import os
import pty
import subprocess
from typing import TYPE_CHECKING

from nwscan import kept
from tests.nwscan.command import AFTER, BEFORE, MAC, nwscan, typed
from tests.nwscan.kept_state import HOSTILE, keep_window

if TYPE_CHECKING:
    from pathlib import Path

USAGE = 2
OTHER = "6e777363-616e-4c61-8b00-000000000002"


def windows(state: Path) -> int:
    return len(kept.window_folders(state / "reports"))


def test_one_guest_is_forgotten_by_name_uuid_or_mac(tmp_path: Path) -> None:
    for number, word in enumerate(("vm1", "6e777363-616e-4c61-8b00-000000000001", MAC)):
        state = tmp_path / str(number)
        for capture in (BEFORE, AFTER):
            keep_window(state, capture)
        other = keep_window(state, BEFORE, "vm2", OTHER)
        if word == MAC:
            other = other.rename(other.with_name("moved.json"))  # a card of the same MAC elsewhere goes with it
        told = nwscan("forget", word, "--yes", state=state)
        assert (told.code, told.stderr) == (0, "")
        assert windows(state) == (0 if word == MAC else 1)
        assert other.is_file() == (word != MAC)


def test_a_window_whose_report_is_damaged_goes_with_its_guest(tmp_path: Path) -> None:
    keep_window(tmp_path, BEFORE)
    keep_window(tmp_path, AFTER).write_bytes(b"\xff{")
    assert nwscan("forget", "vm1", "--yes", state=tmp_path).code == 0
    assert windows(tmp_path) == 0
    assert list((tmp_path / "reports").iterdir()) == []


def test_a_guest_of_which_nothing_is_kept_is_an_error(tmp_path: Path) -> None:
    keep_window(tmp_path, BEFORE)
    assert nwscan("forget", "vm9", "--yes", state=tmp_path).error(USAGE)["error"] == "nothing is kept of vm9"
    assert windows(tmp_path) == 1


def test_nothing_goes_without_a_yes(tmp_path: Path) -> None:
    keep_window(tmp_path, BEFORE)
    told = nwscan("forget", state=tmp_path)
    assert told.code == USAGE
    assert "add --yes" in told.stderr
    assert told.stdout.startswith("1 kept window, ")
    assert "vm1" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert windows(tmp_path) == 1
    for answer, left in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        env = os.environ | {"NWSCAN_STATE": str(tmp_path)}
        subprocess.run(typed("forget"), stdin=theirs, env=env, check=True, capture_output=True)
        os.close(ours)
        os.close(theirs)
        assert windows(tmp_path) == left


def test_only_what_is_old_goes_with_keep_days(tmp_path: Path) -> None:
    old, new = keep_window(tmp_path, BEFORE).parent, keep_window(tmp_path, AFTER)
    old.rename(old.with_name("20200101T000000.000000Z"))
    assert nwscan("forget", "--keep-days", "30", "--yes", state=tmp_path).code == 0
    assert windows(tmp_path) == 1
    assert new.is_file()
    assert nwscan("forget", "--keep-days", "30", "--yes", state=tmp_path).code == 0


def test_what_only_looks_like_a_window_stays(tmp_path: Path) -> None:
    keep_window(tmp_path, BEFORE)
    card = next((tmp_path / "reports").glob("*/*"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (card / "20200101T000000.000000Z").symlink_to(outside)
    (card / "notesZ").mkdir()
    assert nwscan("forget", "--yes", state=tmp_path).code == 0
    assert (outside / "precious").exists()
    assert (card / "notesZ").is_dir()


def test_a_hostile_name_is_shown_escaped(tmp_path: Path) -> None:
    keep_window(tmp_path, BEFORE, HOSTILE)
    told = nwscan("forget", HOSTILE, "--yes", state=tmp_path, env={"COLUMNS": "200"})
    assert told.code == 0
    assert told.stdout.replace("\n", "").isprintable()
    assert windows(tmp_path) == 0
