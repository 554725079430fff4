"""Every hot module is compiled, and some test runs it against its interpreted twin."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.interpreted import ROOT, is_compiled

HOT = sorted(path.relative_to(ROOT) for top in ("analyzer", "generator") for path in (ROOT / top).rglob("*.pxd"))
TWIN_TESTS = {
    path: text
    for path in (ROOT / "tests").rglob("test_*.py")
    if "load_interpreted(" in (text := path.read_text(encoding="utf-8")) and path != Path(__file__)
}


@pytest.mark.parametrize("types", HOT, ids=lambda path: path.stem)
def test_a_hot_module_is_compiled_and_has_a_test_against_its_twin(types: Path) -> None:
    assert is_compiled(importlib.import_module(".".join(types.with_suffix("").parts)))
    named = [path.name for path, text in TWIN_TESTS.items() if re.search(rf"\b{types.stem}\b", text)]
    assert named, f"no test runs {types.stem} against its interpreted twin"


def test_there_are_hot_modules() -> None:
    assert len(HOT) >= 12
