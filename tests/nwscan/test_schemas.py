"""Every document that a command prints with --json has a published schema, and is as it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

from nwscan.cli.main import COMMANDS, cli
from tests.nwscan.command import AFTER, BEFORE, CUT, MAC, nwscan
from tests.published import FILES, FOLDER, check

if TYPE_CHECKING:
    from pathlib import Path

SCHEMAS = {
    "list": {"nwscan.list/1"},
    "capture": {"nwscan.report/1"},
    "analyze": {"nwscan.report/1"},
    "report": {"nwscan.report/1"},
    "replay": {"nwscan.replay/1"},
    "filters": {"nwscan.filters/1", "nwscan.filter/1"},
    "suggest": {"nwscan.suggestion/1", "nwscan.remedy/1", "nwscan.verdict/1"},
    "apply": {"nwscan.blast-radius/1", "nwscan.verdict/1"},
    "verify": {"nwscan.verdict/1"},
    "explain": {"nwscan.explain/1"},
    "status": {"nwscan.status/1"},
    "top": {"nwscan.top/1"},
    "doctor": {"nwscan.doctor/1"},
}
"""What each command prints. The lab's tests hold the documents of a host against the same files."""


def prints_json(name: str) -> bool:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return any("--json" in option.opts for option in command.params)


def test_every_command_that_prints_json_says_what() -> None:
    assert {name for name in COMMANDS if prints_json(name)} == set(SCHEMAS)


def test_every_document_has_a_schema_and_every_schema_a_document() -> None:
    printed = set().union(*SCHEMAS.values())
    published = {json.loads(path.read_text())["title"] for path in FOLDER.glob("*.json")}
    assert published == printed | FILES


@pytest.mark.parametrize("profile", ["mac", "ip", "strict"])
def test_suggestions_of_files_are_as_published(profile: str) -> None:
    for words in ((BEFORE, "--ip", "192.0.2.20"), (CUT,)):
        ended = nwscan("suggest", "--from", *words, "--mac", MAC, "--profile", profile, "--json")
        assert ended.document["schema"] == "nwscan.suggestion/1"


def test_what_is_judged_and_replayed_from_files_is_as_published(tmp_path: Path) -> None:
    files = tmp_path / "before.json", tmp_path / "after.json"
    for capture, file in zip((BEFORE, AFTER), files, strict=True):
        assert nwscan("analyze", capture, "--mac", MAC, "-o", file).code == 0
        check(json.loads(file.read_text()))
    judged = nwscan("verify", "--before", files[0], "--after", files[1], "--json")
    assert judged.document["schema"] == "nwscan.verdict/1"
    assert nwscan("suggest", "--from", BEFORE, "--mac", MAC, "--xml", tmp_path / "xml").code == 0
    xml = tmp_path / "xml/nwscan-00000001-0.xml"
    replayed = nwscan(
        "replay", BEFORE, "--mac", MAC, "--filter", xml, "--export-dropped", tmp_path / "dropped.pcapng", "--json"
    )
    assert replayed.document["dropped_file"]["path"] == str(tmp_path / "dropped.pcapng")
    shown = nwscan("filters", xml.stem, "--library", xml.parent, "--json")
    assert shown.document["schema"] == "nwscan.filter/1"
    assert nwscan("doctor", "--json").document["checks"]


def test_a_document_that_says_more_or_less_than_its_schema_is_noticed() -> None:
    document = nwscan("doctor", "--json").document
    with pytest.raises(AssertionError, match="further"):
        check(document | {"further": 1})
    with pytest.raises(AssertionError, match="needed_for"):
        check(document | {"checks": [{"name": "x", "ok": None, "found": "", "hint": None}]})
    with pytest.raises(AssertionError, match="'no'"):
        check(document | {"checks": [{**document["checks"][0], "ok": "no"}]})
