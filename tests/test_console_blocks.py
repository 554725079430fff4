"""Every command line in the documents that needs no host: it runs, and prints what stands below it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.console_blocks import Typed, fences, is_printed, lines_of, sessions, without_figures
from tests.nwscan.command import CAPTURES, nwscan

ROOT = Path(__file__).parents[1]
GENERATED = {"docs/cli.md"}
"""Made from the help of the commands, whose examples have tests of their own."""
DOCUMENTS = [
    path
    for path in sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])
    if str(path.relative_to(ROOT)) not in GENERATED
]
WITH_SESSIONS = [path for path in DOCUMENTS if any(info == "console" for info, _ in fences(path))]
COMPLETION = 'eval "$(_NWSCAN_COMPLETE=bash_source nwscan)"'
MARK = "urn:nwscan:keep:1"
NOT_RUN = {
    "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/nwscan demo": "wheel and demo have tests",
    f"virsh metadata GUEST --uri {MARK} --key nwscan --set '<keep>intrusion detection</keep>' --config --live": (
        "is virsh's; the lab's test of the mark types it"
    ),
    "apt install gcc python3-dev libvirt-dev pkg-config": "make setup has tests; it asks for the same packages",
    "python3 -m venv .venv": "makes the environment that the tests run in",
    ".venv/bin/pip install -e '.[dev]'": "makes the environment that the tests run in",
    'export PATH="$PWD/.venv/bin:$PATH"': "is the shell's own",
    ".venv/bin/python tools/notebooks.py": "each notebook has a test that runs it as this script does",
    "install -m 644 packaging/systemd/nwscan-measure.* /etc/systemd/system/": "systemd's own checks run on the units",
    "systemctl daemon-reload && systemctl enable --now nwscan-measure.timer": "needs systemd as the first process",
}
"""The command lines in blocks of ``sh`` that are not run as they stand, each with its reason."""
INSTALLED = re.compile(r"\.venv/bin/pip install (?:\.|'\.\[(\w+)\]')")
"""Puts the clone into an environment, with an extra or without: which extras there are is known without an index."""
DOOR = re.compile(r"make ([\w-]+)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", WITH_SESSIONS, ids=name)
def test_what_a_document_shows_is_what_is_printed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "captures").symlink_to(CAPTURES)
    code = 0
    for typed in sessions(path, "console"):
        if typed.line == "echo $?":
            assert typed.printed == (str(code),)
            code = 0
            continue
        assert code == 0, f"{path.name}: exit code {code} before: {typed.line}"
        code, printed = run(typed, tmp_path)
        assert is_printed(typed.printed, printed), f"{path.name}: {typed.line} prints:\n" + "\n".join(printed)
    assert code == 0


def run(typed: Typed, folder: Path) -> tuple[int, tuple[str, ...]]:
    """Run a command as a shell in the folder would: nwscan alone, with what it prints sent to a file where told so."""
    words = shlex.split(typed.line)
    assert words[0] == "nwscan", f"not run without a lab: {typed.line}"
    target = folder / words[-1] if words[-2] == ">" else None
    ended = nwscan(*(words[1:] if target is None else words[1:-2]), cwd=folder, state=folder / "state")
    if target is not None:
        target.write_text(ended.stdout)
    return ended.code, lines_of(("" if target else ended.stdout) + ended.stderr)


def test_no_command_line_is_left_out_without_a_reason() -> None:
    lines = [
        line.partition("  #")[0].strip()
        for path in DOCUMENTS
        for info, text in fences(path)
        if info in {"sh", "bash", "shell"}
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    ]
    alone = [line for line in lines if not INSTALLED.fullmatch(line) and not DOOR.fullmatch(line)]
    assert sorted(set(alone)) == sorted([*NOT_RUN, COMPLETION])


def test_each_door_that_a_document_names_is_one_of_make() -> None:
    """What is behind the doors takes minutes or asks for packages: here make says what it would do."""
    texts = [path.read_text(encoding="utf-8") for path in DOCUMENTS]
    doors = sorted({door for text in texts for door in re.findall(r"(?:`|^|=1 )make ([\w-]+)", text, re.MULTILINE)})
    assert {"demo", "quick", "site", "test"} <= set(doors)
    done = subprocess.run(["make", "-n", *doors], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_extra_that_a_document_installs_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {
        found[1] for path in DOCUMENTS for found in INSTALLED.finditer(path.read_text(encoding="utf-8")) if found[1]
    }
    assert {"libvirt", "notebook"} <= named <= set(extras)


@pytest.mark.parametrize(
    ("path", "text"),
    [(path, text) for path in DOCUMENTS for info, text in fences(path) if info == "python"],
    ids=lambda value: name(value) if isinstance(value, Path) else "",
)
def test_the_python_in_a_document_runs(path: Path, text: str, tmp_path: Path) -> None:
    for when in ("before", "after"):
        ended = nwscan("analyze", CAPTURES / f"{when}.pcapng", "-o", f"{when}.json", cwd=tmp_path)
        assert ended.code == 0, ended
    env = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{path.name}: {done.stderr}"


def test_the_line_for_completion_completes_commands_options_and_values() -> None:
    words = ("nwscan sugg", "nwscan suggest --prof", "nwscan suggest --profile str")
    ask = "COMPREPLY=(); COMP_WORDS=({}); COMP_CWORD={}; _nwscan_completion nwscan; echo ${{COMPREPLY[@]}}"
    asked = "\n".join(ask.format(text, text.count(" ")) for text in words)
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{COMPLETION}\n{asked}"], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["suggest", "--profile", "strict"], done.stderr


def test_every_block_says_what_it_is() -> None:
    known = {"console", "console lab", "sh", "python", "commands", "yaml", "ini", "xml", "json", "text"}
    blocks = [(path.name, info) for path in DOCUMENTS for info, _ in fences(path)]
    assert [block for block in blocks if block[1] not in known] == []


def test_what_differs_from_the_document_is_noticed() -> None:
    printed = ("first 10", "second", "third", "fourth")
    for told in (
        printed,
        ("...",),
        ("first 10", "..."),
        ("...", "fourth"),
        ("first 10", "...", "third", "...", "fourth"),
    ):
        assert is_printed(told, printed), told
    for told in (
        (),
        printed[:3],
        printed[1:],
        ("first 11", "..."),
        ("...", "third"),
        ("first 10", "...", "fifth", "..."),
    ):
        assert not is_printed(told, printed), told
    assert not is_printed((*printed, "..."), printed[:3])
    assert not is_printed(("third", "...", "first 10"), printed)
    assert is_printed((), ())


def test_of_figures_only_the_place_counts() -> None:
    one, other = "vm1 sees 57 % of it: 4,812 frames/s,  41.3 Mbit/s", "vm1 sees 7.5 % of it: 0.2 frames/s, 4 kbit/s"
    assert without_figures(one) == without_figures(other)
    assert without_figures(one) != without_figures(other.replace("vm1", "vm2 alone"))
    assert re.search("[1-9]", without_figures("10:20 and 2,000")) is None
