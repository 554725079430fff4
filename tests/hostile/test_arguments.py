"""Hostile arguments: one error that names the option, whatever is typed; nothing is opened, asked or written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nwscan.cli.main import COMMANDS
from tests.hostile.trial import seeded, tried, typed_and_tried
from tests.nwscan.command import BEFORE, MAC

if TYPE_CHECKING:
    from pathlib import Path

TAP = "vnet-not-there"
LONG = "x" * 100_000
OPTIONS: dict[str, list[tuple[str, ...]]] = {
    option: [(option, value) for value in values]
    for option, values in {
        "-a": ["", "duration", "duration:", "duration:nan", "duration:inf", "duration:1e999", "duration:0",
               "duration:\u0661s", "duration:9999999d", "duration:1_0e9", "filesize:1", LONG],
        "-c": ["", "-1", "0", "1e9", "9" * 400, "0x10", "\u0661", " 1 1"],
        "-s": ["-1", "1e9", "9" * 400, "4294967296", "nan"],
        "-b": ["", "files", "files:0", "files:-1", "duration:nan", "packets:1e30", "filesize:9" + "9" * 300, "x:1"],
        "-C": ["0", "-1", "k", "9" * 300, "1.5"],
        "-G": ["0", "-1", "nan", "9" * 300],
        "--keep-days": ["nan", "inf", "-inf", "1e300", "soon", ""],
        "--mac": ["", "52:54", "zz:zz", "ff:ff:ff:ff:ff:ff", "\u0665\u0662:0:0:0:0:1", LONG],
        "--ip": ["", "1.2.3", "1.2.3.4.5", "999.1.1.1", "::g", "\u0661.1.1.1", LONG, "fe80::1%\x1b[2J"],
        "--format": ["", "xml", "\x1b[2J", LONG],
        "--frobnicate": ["1", LONG],
    }.items()
}  # fmt: skip
WORDS = [
    "",
    "-",
    "--",
    "---",
    "\x1b[2J",
    "../../etc/passwd",
    "caf\udcc3",
    "%s%n",
    "$(reboot)",
    LONG,
    "-\u0661",
    "*",
    "-v-v",
]
EXPRESSIONS = [
    "(", "tcp and", "host 999.999.999.999", "port 99999999999", "tcp[99999999999]", "((((" * 2000, LONG, "\x1b[2J",
    "$(reboot)", "not " * 5000 + "tcp", "ether host zz", "caf\udcc3",
]  # fmt: skip
CASES = [("capture", TAP, "--mac", MAC, *given) for found in OPTIONS.values() for given in found]
CASES += [("capture", TAP, "--mac", MAC, expression) for expression in EXPRESSIONS]
SEEDS = 40
INPUTS = len(CASES) + len(WORDS) * 2 + SEEDS


def short(words: object) -> str:
    return ascii(words)[:40]


@pytest.mark.parametrize("words", CASES, ids=lambda words: short(words[4:]))
def test_an_option_with_a_value_of_nobody(words: tuple[str, ...], tmp_path: Path) -> None:
    """The tap is not there either: usage is looked at first."""
    assert tried(*words, folder=tmp_path).code in (2, 4)


@pytest.mark.parametrize("word", WORDS, ids=short)
def test_a_word_where_a_command_stands(word: str, tmp_path: Path) -> None:
    ended = tried(word, folder=tmp_path)
    assert ended.code == 2


@pytest.mark.parametrize("word", WORDS, ids=short)
def test_a_word_behind_each_command(word: str, tmp_path: Path) -> None:
    for command in sorted(set(COMMANDS) - {"demo", "doctor"}):
        tried(command, word, folder=tmp_path, state=tmp_path / "state")


@pytest.mark.parametrize("place", ["", "/dev/null", "/dev/null/x", "/proc/self", LONG, "\x1b[2J/../x"], ids=short)
def test_a_state_folder_of_nobody(place: str, tmp_path: Path) -> None:
    for words in (("forget", "--yes"), ("status",), ("doctor",), ("rollback", "--all", "--yes")):
        tried("--state", place, *words, folder=tmp_path)


@pytest.mark.parametrize("uri", ["", "x", "qemu://", "http://x", "qemu+ext:///?command=reboot", LONG], ids=short)
def test_a_libvirt_of_nobody(uri: str, tmp_path: Path) -> None:
    assert tried("--connect", uri, "list", folder=tmp_path).code in (2, 4)


@pytest.mark.parametrize("number", range(SEEDS), ids=lambda number: f"seed-arguments-{number}")
def test_words_of_chance(number: int, tmp_path: Path) -> None:
    draw = seeded("arguments", number)
    known = ["--json", "--mac", MAC, "-a", "-c", "--all", "--yes", "--from", "--filter", "--profile", "--keep"]
    words = (draw.choice(sorted(set(COMMANDS) - {"demo"})), *draw.choices([*known, *WORDS], k=draw.randint(1, 6)))
    tried(*words, folder=tmp_path, state=tmp_path / "state")


@pytest.mark.parametrize("words", [("capture", LONG), ("analyze", BEFORE, "--mac", "\x1b[2J"), ("\x1b[2J",)], ids=short)
def test_the_command_is_given_them(words: tuple[str, ...], tmp_path: Path) -> None:
    assert typed_and_tried(*words, folder=tmp_path).code in (2, 4)
