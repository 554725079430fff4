"""Every command line in the documents that needs a host, typed in a lab; what they show is what is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.console_blocks import answers_in, fences, is_printed, lines_of, sessions, without_answers, without_figures
from tests.lab.nwscan_run import LISTENING, Nwscan
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
# More than all windows need; it ends with the test. Few frames a second, so that none is lost on a busy machine.
TRAFFIC = Schedule(foreign=36_000, own=12_000, multicast=3_000, broadcast=1_800, rate_fps=300)
DURATION_S = 2.0
SESSION_DURATION_S = 2.0
COLUMNS = 120
OTHER_HOST = """\
#!/bin/sh
# Whichever host is named, it is this one.
while [ "$1" != -- ]; do shift; done
shift 2
exec sh -c "$*"
"""
"""Stands for ssh to another host, on whose libvirtd the documents ask: here it is the lab's own."""
CONTROL_D = "\x04"
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
            limit = "timeout --preserve-status -s INT 6 " if line in UNTIL_INTERRUPTED else ""
            typed = f"{limit}{line} {WITHOUT_A_TERMINAL.get(line, '')}"
            ended.append((line, *shell(lab, nwscan, tmp_path, typed)))
    wrong = [f"{line} ended with {code}:\n{stdout}{stderr}" for line, code, stdout, stderr in ended if code != 0]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if sessions(path, "console lab")], ids=lambda path: str(path.name)
)
def test_what_a_document_shows_of_a_host_is_what_is_printed(scratch_lab: Lab, tmp_path: Path, path: Path) -> None:
    nwscan, code = Nwscan(scratch_lab, tmp_path), 0
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(OTHER_HOST)
    ssh.chmod(0o755)
    with scratch_lab.sending(TRAFFIC):
        for typed in sessions(path, "console lab"):
            if typed.line == "echo $?":
                assert typed.printed == (str(code),), f"{path.name}: exit code {code}"
                continue
            code, printed = on_terminal(scratch_lab, nwscan, tmp_path, typed.line, answers_in(typed.printed))
            told = lines_of(without_answers("\n".join(typed.printed)))
            assert is_printed(*(tuple(map(without_figures, lines)) for lines in (told, printed))), (
                f"{path.name}: {typed.line} ended with {code}:\n" + "\n".join(printed)
            )


def on_terminal(lab: Lab, nwscan: Nwscan, folder: Path, line: str, answers: list[str]) -> tuple[int, tuple[str, ...]]:
    """Type a line where somebody can be asked, and the answers; gives its exit code and what stands there then.

    Where a bar would be seen that is gone at the end, nwscan says that it captures: that line is left out.
    """
    screen, terminal = os.openpty()
    try:
        for answer in answers:
            os.write(screen, (CONTROL_D if answer == "^D" else f"{answer}\n").encode())
        words = ["sh", "-c", f"cd {shlex.quote(str(folder))} && PATH={folder}/bin:$PATH && exec 2>&1 && {line}"]
        env = {**nwscan.environment(SESSION_DURATION_S), "COLUMNS": str(COLUMNS)}
        with lab.popen(words, env=env, stdin=terminal, stdout=subprocess.PIPE) as running:
            printed, _ = running.communicate(timeout=90)
    finally:
        os.close(screen)
        os.close(terminal)
    lines = (text for text in lines_of(without_answers(printed)) if not text.startswith(LISTENING))
    return running.returncode, tuple(lines)


def shell(lab: Lab, nwscan: Nwscan, folder: Path, line: str) -> tuple[int, str, str]:
    """Type a line in a shell in this folder, 100 columns wide; gives its exit code and what it printed."""
    words = ["sh", "-c", f"cd {shlex.quote(str(folder))} && {line}"]
    done = lab.run(words, env={**nwscan.environment(DURATION_S), "COLUMNS": "100"}, timeout_s=90)
    return done.returncode, done.stdout, done.stderr
