from __future__ import annotations

import os
from pathlib import Path

from analyzer.classify.table import CLASS_TABLE, render_table
from analyzer.model.classes import FrameClass

DOCUMENT = Path(__file__).parents[3] / "docs/frame-classes.md"


def test_document_is_generated_from_the_table() -> None:
    if os.environ.get("NWSCAN_REGENERATE"):
        DOCUMENT.write_text(render_table(), encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == render_table()


def test_each_class_has_one_row() -> None:
    assert sorted(row.frame_class for row in CLASS_TABLE) == list(FrameClass)
