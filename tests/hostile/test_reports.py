"""Hostile reports: refused with the place, or shown in safe words and, where they are written again, the same."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.trial import seeded, tried, typed_and_tried
from tests.nwscan.command import BEFORE, nwscan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

Json = dict[str, Any]
HOSTILE = "\x1b[2J\x1b]0;owned\x07</script><img src=x>\u202e=cmd|' /C calc'!A0\r\n../../etc/passwd\x00\ud800"
SAFE = HOSTILE.replace("\ud800", "")


@functools.cache
def _sound() -> str:
    ended = nwscan("analyze", BEFORE, "--json")
    assert ended.code == 0
    return ended.stdout


def changed(change: Callable[[Json], object]) -> bytes:
    document: Json = json.loads(_sound())
    change(document)
    return json.dumps(document).encode()


def put(*path: object, value: object) -> bytes:
    """The report with another value in one place."""

    def change(document: Any) -> None:  # noqa: ANN401 - any JSON value
        *way, last = path
        for step in way:
            document = document[step]
        document[last] = value

    return changed(change)


REFUSED: dict[str, Callable[[], bytes]] = {
    "nothing": bytes,
    "blanks": lambda: b" \n" * 5000,
    "null": lambda: b"null",
    "a number": lambda: b"1e400",
    "a list": lambda: b"[]",
    "no keys": lambda: b"{}",
    "half of it": _sound()[:1000].encode,
    "a NUL behind it": lambda: _sound().strip().encode() + b"\0",
    "no UTF-8": lambda: _sound().encode().replace(b'"vnet0"', b'"\xff"'),
    "UTF-16": lambda: _sound().encode("utf-16"),
    "a schema to come": lambda: put("schema", value="nwscan.report/2"),
    "a schema of another": lambda: put("schema", value="nwscan.plan/1"),
    "a schema that is a number": lambda: put("schema", value=1),
    "100,000 levels": lambda: b'{"schema": "nwscan.report/1", "x": ' + b"[" * 100_000,
    "100,000 levels that end": lambda: b'{"schema": "nwscan.report/1", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a capture": BEFORE.read_bytes,
    "a gzip of it": lambda: b"\x1f\x8b\x08" + bytes(500),
    "classes that are missing": lambda: changed(lambda one: one.pop("classes")),
    "a class that is missing": lambda: changed(lambda one: one["classes"].pop("broadcast")),
    "a count below 0": lambda: put("classes", "broadcast", "frames", value=-1),
    "a count of 2^64": lambda: put("classes", "broadcast", "frames", value=1 << 64),
    "a count of half": lambda: put("classes", "broadcast", "frames", value=0.5),
    "a count in words": lambda: put("classes", "broadcast", "frames", value="46"),
    "a count that is null": lambda: put("classes", "broadcast", "frames", value=None),
    "a count that is true": lambda: put("classes", "broadcast", "frames", value=True),
    "a window of 2^63 frames": lambda: put("windows", 0, "frames_seen", value=1 << 63),
    "counts that do not add up": lambda: put("windows", 0, "frames_seen", value=5),
    "a time of nobody": lambda: put("windows", 0, "start", value="yesterday"),
    "a time of the year 99999": lambda: put("windows", 0, "start", value="99999-01-01T00:00:00.000000000Z"),
    "a time of the year 0": lambda: put("windows", 0, "start", value="0000-01-01T00:00:00.000000000Z"),
    "a time with other digits": lambda: put("windows", 0, "start", value="2026-01-01T00:00:00.00000000\u0660Z"),
    "a MAC of nobody": lambda: put("guest", "macs", 0, value="zz:zz:zz:zz:zz:zz"),
    "a MAC with a way out": lambda: put("guest", "macs", 0, value="../../../../etc"),
    "no MAC at all": lambda: put("guest", "macs", value=[]),
    "an address of nobody": lambda: put("guest", "addresses", 0, "value", value=SAFE),
    "a source of nobody": lambda: put("guest", "identity_source", value=SAFE),
    "a talker of nobody": lambda: put("foreign_talkers", 0, "src", value=SAFE),
    "a bin of 0 s": lambda: put("timeline_bin_s", value=0),
    "a bin below 0": lambda: put("timeline_bin_s", value=-1),
    "a bin of 34,000 years": lambda: put("timeline_bin_s", value=1 << 40),
    "a timeline of the year 985": lambda: put("timeline", 0, "t", value="0985-01-01T00:00:00.000000000Z"),
    "windows in a word": lambda: put("windows", value="all"),
}
SHOWN: dict[str, Callable[[], bytes]] = {
    "a guest named by an attacker": lambda: put("guest", "name", value=SAFE),
    "a tap named by an attacker": lambda: put("guest", "tap", value=SAFE),
    "a bridge named by an attacker": lambda: put("guest", "bridge", value=SAFE),
    "a window named by an attacker": lambda: put("windows", 0, "source", value=SAFE),
    "notes of an attacker": lambda: put("notes", value=[SAFE] * 50),
    "a name that never ends": lambda: put("guest", "name", value="x" * 100_000),
    "a formula": lambda: put("guest", "name", value='=HYPERLINK("http://192.0.2.1";"click")'),
    "a surrogate": lambda: _sound().encode().replace(b'"vm1"', b'"\\ud800"'),
    "keys of nobody": lambda: put("\x1b[2J", value={"a": [1, 2, {"b": None}]}),
    "a key twice": lambda: _sound().encode().replace(b'{"schema"', b'{"schema": "x", "schema"', 1),
    "a frames file that leads out": lambda: put(
        "frames_file", value={"path": "/etc/passwd", "sha256": "0" * 64, "covers": 1.0}
    ),
    "an error of a talker of 2^62": lambda: put("foreign_talkers", 0, "error", value=1 << 62),
}  # fmt: skip
"""What may be refused or shown."""
SEEDS = 40
INPUTS = len(REFUSED) + len(SHOWN) + SEEDS
VALUES: tuple[object, ...] = (
    None, True, -1, 0, 1 << 63, 1 << 70, 1e308, -0.0, 0.1, "", SAFE, "nan", [], {}, [[]], [None] * 2000, {"a": "x"},
)  # fmt: skip


def mutated(number: int) -> bytes:
    """The report with a few values of chance in places of chance."""
    draw = seeded("reports", number)
    document: Json = json.loads(_sound())
    for _ in range(draw.randint(1, 3)):
        _replace(document, draw)
    return json.dumps(document).encode()


def _replace(node: Any, draw: Random) -> None:  # noqa: ANN401 - any JSON value
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], dict | list) and node[key] and draw.random() < 0.8:
            node = node[key]
            continue
        if draw.random() < 0.2:
            del node[key]
        else:
            node[key] = draw.choice(VALUES)
        return


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_report_is_refused(what: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_bytes(REFUSED[what]())
    assert tried("report", tmp_path / "hostile.json", folder=tmp_path).code == 3


@pytest.mark.parametrize("what", SHOWN)
def test_what_is_odd_is_refused_or_shown_in_safe_words(what: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_bytes(SHOWN[what]())
    for shape in ("table", "csv"):
        ended = tried("report", tmp_path / "hostile.json", "--format", shape, folder=tmp_path)
        assert ended.code in (0, 3)
        cells = [cell for line in ended.stdout.splitlines() for cell in line.replace('"', "").split(",")]
        assert shape == "table" or not any(cell.startswith(("=", "+", "@")) for cell in cells)


@pytest.mark.parametrize("number", range(SEEDS), ids=lambda number: f"seed-reports-{number}")
def test_what_was_changed_is_refused_or_shown(number: int, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_bytes(mutated(number))
    assert tried("report", tmp_path / "hostile.json", folder=tmp_path).code in (0, 3)


def test_reports_without_an_end(tmp_path: Path) -> None:
    with (tmp_path / "hostile.json").open("wb") as file:
        file.truncate(1 << 40)
    for place in (tmp_path / "hostile.json", "/dev/zero", "/proc/self/mem", tmp_path):
        assert tried("report", place, folder=tmp_path).code == 3


@pytest.mark.parametrize("what", ["100,000 levels that end", "a count of 2^64", "a guest named by an attacker"])
def test_the_command_is_given_it(what: str, tmp_path: Path) -> None:
    (tmp_path / "hostile.json").write_bytes({**REFUSED, **SHOWN}[what]())
    assert typed_and_tried("report", tmp_path / "hostile.json", folder=tmp_path).code == (0 if what in SHOWN else 3)


@pytest.mark.parametrize("pair", [("before", "hostile"), ("hostile", "before")])
def test_a_verdict_of_hostile_reports(pair: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(_sound().encode())
    for number in range(10):
        (tmp_path / "hostile").write_bytes(mutated(number))
        ended = tried("verify", "--before", tmp_path / pair[0], "--after", tmp_path / pair[1], folder=tmp_path)
        assert ended.code in (0, 1, 2, 3, 7)
