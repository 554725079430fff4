"""Hostile journals and plans: they would tell root what to do, so that everything that we never write is refused."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analyzer.errors import InputError, NwscanError
from generator.deploy import plan as plans
from generator.deploy.journal import Journal
from tests.generator.deploy.file_door import plan_for
from tests.generator.deploy.hosts import GUEST, HOSTS
from tests.hostile.trial import bounded, seeded, tried

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
PLAN = plan_for(HOSTS["no filter"], GUEST)
NAME = "20260101T000000000000Z-00000000.journal"
OUT = "../../../../etc/cron.d/x"
ENTITY = "<!DOCTYPE f [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><filter name='&x;'/>"
CONTROL = "\x1b]0;owned\x07\n../.."


def lines() -> list[Json]:
    """A journal of ours, as its lines: a change that was begun."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal")
        record = journal.begin(journal.begin(journal.create(PLAN), 0), 1)
        return [json.loads(line) for line in record.path.read_bytes().splitlines()]


def written(change: Callable[[list[Json]], object]) -> bytes:
    found = lines()
    change(found)
    return b"".join(json.dumps(line).encode() + b"\n" for line in found)


def put(number: int, *path: object, value: object) -> bytes:
    """The journal with another value in one place."""

    def change(found: list[Json]) -> None:
        node: Any = found[number]
        *way, last = path
        for step in way:
            node = node[step]
        node[last] = value

    return written(change)


REFUSED: dict[str, Callable[[], bytes]] = {
    "blanks": lambda: b"  \n  \n",
    "zeros": lambda: bytes(5000) + b"\n",
    "text": lambda: b"rm -rf /\n" * 50,
    "a list": lambda: b"[]\n",
    "100,000 levels": lambda: b"[" * 100_000 + b"\n",
    "no UTF-8": lambda: b'{"schema": "\xff"}\n',
    "a schema to come": lambda: put(0, "schema", value="nwscan.journal/2"),
    "a plan of a schema to come": lambda: put(0, "plan", "schema", value="nwscan.plan/99"),
    "no plan": lambda: put(0, "plan", value=None),
    "no steps that are a list": lambda: put(0, "plan", "steps", value="all"),
    "a step of nobody": lambda: put(0, "plan", "steps", 0, value={"type": "Run", "command": "reboot"}),
    "a filter of others": lambda: put(0, "plan", "steps", 0, "name", value="clean-traffic"),
    "a filter that leads out": lambda: put(0, "plan", "steps", 0, "name", value=OUT),
    "a filter that is no XML": lambda: put(0, "plan", "steps", 0, "after", value="<filter"),
    "a filter with an entity": lambda: put(0, "plan", "steps", 0, "after", value=ENTITY),
    "a filter of another name": lambda: put(0, "plan", "steps", 0, "after", value="<filter name='other'/>"),
    "a guest of nobody": lambda: put(0, "plan", "guest", value=OUT),
    "a guest in no encoding": lambda: put(0, "plan", "guest", value=CONTROL),
    "a card that is another device": lambda: put(0, "plan", "steps", -1, "after", value="<hostdev/>"),
    "an event of nobody": lambda: put(1, "event", value="format"),
    "a step beyond all": lambda: put(1, "step", value=10**9),
    "a step below 0": lambda: put(1, "step", value=-1),
    "a step in words": lambda: put(1, "step", value="0"),
    "a begin without a step": lambda: put(1, "step", value=None),
    "a state without a name": lambda: put(1, "event", value="state"),
    "a state of nobody": lambda: put(1, "state", value="owned"),
    "a time of nobody": lambda: put(1, "at", value="soon"),
    "a time without a zone": lambda: put(1, "at", value="2026-01-01T00:00:00"),
    "a time of the year 0": lambda: put(0, "created", value="0000-01-01T00:00:00+00:00"),
    "a line that is no event": lambda: put(1, "at", value=None),
    "a plan for an event": lambda: written(lambda found: found.append(found[0])),
    "an event for a plan": lambda: written(lambda found: found.pop(0)),
}  # fmt: skip
SEEDS = 40
PLACES: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "one of others": lambda path: (path.write_bytes(b"{}\n"), os.chown(path, 65533, 65533)),
    "one that all may write": lambda path: (path.write_bytes(b"{}\n"), path.chmod(0o666)),
    "a TiB of nothing": lambda path: (path.touch(0o600), os.truncate(path, 1 << 40)),
}
INPUTS = len(REFUSED) + SEEDS + len(PLACES)


def read(state: Path) -> NwscanError | None:
    """Read the journal in a state folder, and give why a file in it is refused."""
    with bounded():
        reading = Journal(state / "journal").read()
    for error in reading.errors:
        assert str(state) in error.where
        assert error.what
        return error
    return None


def place(state: Path, octets: bytes) -> Path:
    folder = state / "journal"
    folder.mkdir(parents=True, mode=0o700)
    path = folder / NAME
    path.touch(0o600)
    path.write_bytes(octets)
    return path


def test_what_is_changed_below_is_a_journal_of_ours(tmp_path: Path) -> None:
    place(tmp_path, written(lambda _: None))
    assert read(tmp_path) is None
    assert len(Journal(tmp_path / "journal").interrupted()) == 1


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_journal_of_ours_is_refused(what: str, tmp_path: Path) -> None:
    place(tmp_path, REFUSED[what]())
    assert read(tmp_path) is not None


@pytest.mark.parametrize("what", list(REFUSED)[::3])
def test_nothing_is_undone_by_it(what: str, tmp_path: Path) -> None:
    place(tmp_path / "state", REFUSED[what]())
    for words in (("rollback", "--all", "--yes"), ("rollback", GUEST, "--yes"), ("status",), ("doctor",)):
        ended = tried(*words, folder=tmp_path, state=tmp_path / "state")
        assert ended.code != 0 or words == ("doctor",)


@pytest.mark.parametrize("number", range(SEEDS), ids=lambda number: f"seed-journals-{number}")
def test_what_was_changed_is_refused_or_changes_what_is_ours(number: int, tmp_path: Path) -> None:
    draw = seeded("journals", number)
    octets = bytearray(written(lambda _: None))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(octets))
        octets[at : at + draw.randint(0, 3)] = draw.choice([b"", b"\0", b'"', b"\n", b"9" * 30, b"{", b"../", b"\xff"])
    place(tmp_path, bytes(octets))
    if read(tmp_path) is None:
        for record in Journal(tmp_path / "journal").in_force():
            plans.check(record.plan)


@pytest.mark.parametrize("what", PLACES)
def test_what_is_no_file_of_ours_is_refused(what: str, tmp_path: Path) -> None:
    path = place(tmp_path, b"")
    path.unlink()
    PLACES[what](path)
    assert read(tmp_path) is not None


@pytest.mark.parametrize("number", range(20), ids=lambda number: f"seed-plans-{number}")
def test_a_plan_that_was_changed_is_refused_or_does_what_a_plan_may(number: int) -> None:
    draw = seeded("plans", number)
    octets = bytearray(plans.encode(PLAN))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(octets))
        octets[at : at + draw.randint(0, 3)] = draw.choice([b"", b"\0", b'"', b"9" * 30, b"{", b"../", b"\xff", b"&x;"])
    try:
        with bounded():
            plan = plans.decode(bytes(octets), "hostile")
    except InputError as error:
        assert "hostile" in error.where  # noqa: PT017 - either is right
    else:
        plans.check(plan)


@pytest.mark.parametrize(
    "what", [b"", b"null", b"{}", b"[" * 100_000, bytes(1000), b" " * (plans.SIZE_LIMIT + 1), b"\xff"]
)
def test_what_is_no_plan_is_refused(what: bytes) -> None:
    with bounded(), pytest.raises(InputError):
        plans.decode(what)
