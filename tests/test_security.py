"""SECURITY.md tells of defences by their tests: each of them exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def names_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 30
    assert [f"{file}::{name}" for file, name in named if name not in names_of(ROOT / file)] == []


def test_every_path_of_an_attacker_names_its_test() -> None:
    section = TEXT.partition("## Attackers and paths")[2].partition("## What is not defended")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| path")]
    assert len(rows) > 20
    assert [row for row in rows if "`tests/" not in row.split(" | ")[-1]] == []
