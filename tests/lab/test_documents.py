"""Every command line in the documents that needs a host, typed in a lab; what they show is what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console_blocks import fences, is_printed, lines_of, sessions, without_figures
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
# More than all windows need; it ends with the test. Few frames a second, so that none is lost on a busy machine.
TRAFFIC = Schedule(foreign=36_000, own=12_000, multicast=3_000, broadcast=1_800, rate_fps=300)
DURATION_S = 2.0
WITHOUT_A_TERMINAL = {
    "nwscan suggest --apply vm1": "--yes",
    "nwscan apply p.json": "--yes",
    "nwscan status --repair": "--yes",
    "nwscan rollback vm1": "--yes",
    "nwscan top": "--once",
}
"""What they want where nobody can be asked and there is no screen. As --yes keeps it, nothing waits for confirm."""
UNTIL_INTERRUPTED = {"nwscan export", "nwscan export --textfile nwscan.prom"}


def commands() -> Iterator[str]:
    for path in DOCUMENTS:
        for info, text in fences(path):
            if info == "commands":
                for line in text.splitlines():
                    yield re.split(r"\s{2,}", line.partition("  #")[0].strip())[0]


def test_every_command_that_is_listed_runs(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    listed = tuple(commands())
    assert {"nwscan list", "nwscan rollback vm1", "nwscan export"} <= set(listed)
    ended = []
    with lab.sending(TRAFFIC):
        nwscan.run("capture", "vnet0", "-o", tmp_path / "vm1.json", "-w", tmp_path / "before.pcapng")
        for line in (*listed, "nwscan rollback --all --yes"):
            limit = "timeout --preserve-status -s INT 3 " if line in UNTIL_INTERRUPTED else ""
            typed = f"{limit}{line} {WITHOUT_A_TERMINAL.get(line, '')}"
            ended.append((line, *shell(lab, nwscan, tmp_path, typed)))
    wrong = [f"{line} ended with {code}:\n{stdout}{stderr}" for line, code, stdout, stderr in ended if code != 0]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if sessions(path, "console lab")], ids=lambda path: str(path.name)
)
def test_what_a_document_shows_of_a_host_is_what_is_printed(
    lab: Lab, nwscan: Nwscan, tmp_path: Path, path: Path
) -> None:
    with lab.sending(TRAFFIC):
        for typed in sessions(path, "console lab"):
            _, stdout, stderr = shell(lab, nwscan, tmp_path, typed.line)
            printed = tuple(map(without_figures, lines_of(stdout + stderr)))
            told = tuple(map(without_figures, typed.printed))
            assert is_printed(told, printed), f"{path.name}: {typed.line} prints:\n{stdout}{stderr}"


def shell(lab: Lab, nwscan: Nwscan, folder: Path, line: str) -> tuple[int, str, str]:
    """Type a line in a shell in this folder, 100 columns wide; gives its exit code and what it printed."""
    words = ["sh", "-c", f"cd {shlex.quote(str(folder))} && {line}"]
    done = lab.run(words, env={**nwscan.environment(DURATION_S), "COLUMNS": "100"}, timeout_s=90)
    return done.returncode, done.stdout, done.stderr
