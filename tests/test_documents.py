"""What the documents at the top say is so: rooms that exist, links that lead somewhere, commands that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from nwscan.cli.main import COMMANDS, cli
from tests.console_blocks import fences

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE_ROOMS = [
    path
    for top in ("analyzer", "generator", "nwscan")
    for path in (ROOT / top).iterdir()
    if path.is_dir() and (path / "__init__.py").exists()
]


def test_every_room_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = re.findall(r"`((?:analyzer|generator|nwscan|captures|notebooks|benchmarks|docs|tests)/[\w./]*)`", text)
    assert rooms
    assert [room for room in rooms if not (ROOT / room).exists()] == []


@pytest.mark.parametrize("room", CODE_ROOMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_room_stands_in_the_architecture(room: Path) -> None:
    assert f"`{room.relative_to(ROOT)}/`" in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def commands_in(path: Path) -> list[str]:
    blocks = "\n".join(text for _, text in fences(path))
    lines = re.findall(r"^\s*(?:\$ )?(nwscan [^\n#|]*)", blocks, re.MULTILINE)
    return [re.split(r"\s{2,}|\s>\s", line.strip())[0] for line in lines]


WITH_COMMANDS = [path for path in DOCUMENTS if path.name != "cli.md" and commands_in(path)]


@pytest.mark.parametrize("path", WITH_COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_line_shown_is_one_that_nwscan_takes(path: Path) -> None:
    for line in commands_in(path):
        name, *arguments = shlex.split(line)[1:]
        assert name in COMMANDS, line
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        # With its settings: the first context that a command is used in decides the names of its help option for good.
        parent = click.Context(cli, **cli.context_settings)
        command.make_context(name, arguments, parent=parent, resilient_parsing=False)


def test_the_readme_names_every_command_that_changes_a_host() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "nwscan suggest --apply vm1" in text
    assert "nwscan rollback vm1" in text


def test_every_schema_is_listed() -> None:
    listed = re.findall(
        r"\(\.\./nwscan/schemas/([\w-]+\.json)\)", (ROOT / "docs/schemas.md").read_text(encoding="utf-8")
    )
    assert sorted(listed) == sorted(path.name for path in (ROOT / "nwscan/schemas").glob("*.json"))
