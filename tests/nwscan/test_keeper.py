"""The process that waits: what ends it, what it undoes, and that it tries until it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from generator.deploy import pending, transaction
from generator.deploy.journal_record import State
from nwscan.config import Settings
from nwscan.watch import starting
from nwscan.watch.keeper import Keeper
from nwscan.watch.mark import is_waited_for, log_path
from tests.generator.deploy.file_door import FileDoor
from tests.generator.deploy.hosts import GUEST
from tests.generator.deploy.test_pending import Bench
from tests.lab.nwscan_run import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from generator.deploy.journal_record import JournalRecord


class HandGuards:
    """Guards that find what a test lets them find."""

    def __init__(self) -> None:
        self.harm: str | None = None
        self.is_open = True

    def look(self) -> str | None:
        return self.harm

    def close(self) -> None:
        self.is_open = False


class Waiting:
    """A keeper whose sleep turns the clock, and lets something happen at a time of the wait."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.guards = HandGuards()
        self.told: list[str] = []
        self.at: dict[float, Callable[[], object]] = {}
        self.refused = 0
        self.began_s = self.bench.clock.at_s

    @property
    def waited_s(self) -> float:
        return self.bench.clock.at_s - self.began_s

    @contextmanager
    def door(self) -> Iterator[FileDoor]:
        if self.refused:
            self.refused -= 1
            raise HostError("cannot reach libvirt")
        yield FileDoor(self.bench.path)

    def sleep(self, seconds: float) -> None:
        self.bench.clock.at_s += seconds
        for at_s in sorted(self.at):
            if self.waited_s >= at_s:
                self.at.pop(at_s)()

    def run(self) -> JournalRecord | None:
        bench = self.bench
        keeper = Keeper(
            bench.record.path,
            bench.journal,
            self.door,
            bench.clock,
            lambda _: self.guards,
            self.told.append,
            self.sleep,
        )
        found = keeper.run()
        assert not self.guards.is_open
        return found


@pytest.fixture
def waiting(tmp_path: Path) -> Waiting:
    return Waiting(tmp_path)


def test_it_undoes_at_the_deadline(waiting: Waiting) -> None:
    record = waiting.run()
    assert record is not None
    assert record.state is State.UNDONE
    assert waiting.waited_s == pytest.approx(10)
    assert waiting.bench.now == waiting.bench.before


def test_it_ends_when_the_change_is_kept(waiting: Waiting) -> None:
    waiting.at[3] = waiting.bench.confirm
    record = waiting.run()
    assert record is not None
    assert record.state is State.CONFIRMED
    assert waiting.waited_s < 4
    assert waiting.bench.now != waiting.bench.before


def test_it_ends_when_somebody_else_rolls_back(waiting: Waiting) -> None:
    bench = waiting.bench
    waiting.at[3] = lambda: transaction.rollback(GUEST, FileDoor(bench.path), bench.journal)
    record = waiting.run()
    assert record is not None
    assert (record.state, record.why) == (State.UNDONE, "asked for")
    assert waiting.waited_s < 4


def test_it_waits_for_the_definite_deadline(waiting: Waiting) -> None:
    bench = waiting.bench
    waiting.at[6] = lambda: pending.expect(bench.record, bench.journal, bench.clock, 20)
    waiting.run()
    assert waiting.waited_s == pytest.approx(26, abs=0.3)


def test_it_undoes_on_harm_at_once(waiting: Waiting) -> None:
    waiting.at[2] = lambda: setattr(waiting.guards, "harm", "the filter drops ARP")
    record = waiting.run()
    assert record is not None
    assert record.why == "the filter drops ARP"
    assert waiting.waited_s < 3
    assert waiting.bench.now == waiting.bench.before


def test_a_defect_of_the_guards_does_not_cost_the_deadline(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting.guards, "look", lambda: {}["no such key"])
    record = waiting.run()
    assert record is not None
    assert record.state is State.UNDONE
    assert waiting.waited_s == pytest.approx(10)
    assert sum("no guards any more" in line for line in waiting.told) == 1


def test_it_tries_until_libvirt_is_back(waiting: Waiting) -> None:
    waiting.refused = 8
    record = waiting.run()
    assert record is not None
    assert record.state is State.UNDONE
    assert sum("not undone yet" in line for line in waiting.told) == 8
    assert waiting.waited_s == pytest.approx(10 + 1 + 2 + 4 + 8 + 16 + 30 + 30 + 30, abs=2)


def test_a_defect_of_nwscan_does_not_end_the_wait(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    door, calls = waiting.door, []

    def defective() -> AbstractContextManager[FileDoor]:
        calls.append(1)
        return {}["no such key"] if len(calls) < 3 else door()  # type: ignore[no-any-return]

    monkeypatch.setattr(waiting, "door", defective)
    record = waiting.run()
    assert record is not None
    assert record.state is State.UNDONE
    assert sum("a defect of nwscan: KeyError" in line for line in waiting.told) == 2


def test_a_journal_that_cannot_be_read_for_a_while_does_not_end_the_wait(waiting: Waiting) -> None:
    """Somebody lets others write it, or damages it, and mends that."""
    path = waiting.bench.record.path
    whole = path.read_bytes()
    waiting.at[1] = lambda: path.chmod(0o666)
    waiting.at[4] = lambda: (path.chmod(0o600), path.write_bytes(b"?\n"))
    waiting.at[8] = lambda: path.write_bytes(whole)
    record = waiting.run()
    assert record is not None
    assert record.state is State.UNDONE
    assert waiting.bench.now == waiting.bench.before
    assert sum("the journal cannot be read" in line for line in waiting.told) >= 2


def test_it_ends_when_the_journal_is_gone(waiting: Waiting) -> None:
    waiting.at[1] = waiting.bench.record.path.unlink
    assert waiting.run() is None
    assert "the journal is gone" in waiting.told[-1]


# The process itself


def test_it_is_started_by_systemd_where_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
) -> None:
    """With a stand-in for systemd-run, which does as systemd does: it runs the command away from us."""
    if os.geteuid() != 0:
        pytest.skip("nwscan asks systemd as root alone")
    bench, programs = waiting.bench, tmp_path / "bin"
    programs.mkdir()
    stand_in = programs / "systemd-run"
    stand_in.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift\n"$@" &\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    settings = Settings(bench.record.plan.uri, tmp_path)
    starting.start(bench.record, settings, systemd=tmp_path)
    asked = (tmp_path / "asked").read_text()
    assert f"--collect --unit=nwscan-watch-{bench.record.path.stem} " in asked
    assert f" -- {sys.executable} -P -m nwscan.watch.child {bench.record.path} {tmp_path}\n" in asked
    end(waiting, tmp_path)


def test_a_systemd_that_does_not_answer_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: Waiting
) -> None:
    """The journal is locked meanwhile: no guest of the host could be changed, nor restored."""
    if os.geteuid() != 0:
        pytest.skip("nwscan asks systemd as root alone")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemd-run").write_text("#!/bin/sh\nexec sleep 3600\n")
    (programs / "systemd-run").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(starting, "_SYSTEMD_S", 0.1)
    starting.start(waiting.bench.record, Settings(waiting.bench.record.plan.uri, tmp_path), systemd=tmp_path)
    end(waiting, tmp_path)


def test_a_daemon_of_our_own_is_nobodys_child(tmp_path: Path, waiting: Waiting) -> None:
    bench = waiting.bench
    starting.start(bench.record, Settings(bench.record.plan.uri, tmp_path), systemd=tmp_path / "none")
    path = log_path(tmp_path, bench.record.path)
    wait_for(lambda: "waits for the change of vm1" in path.read_text(), "it tells its number")
    log = path.read_text()
    pid = int(log.split("process ")[1].split()[0])
    fields = subprocess.run(["ps", "-o", "ppid=,sid=,tty=", "-p", str(pid)], capture_output=True, text=True, check=True)
    parent, session, terminal = fields.stdout.split()
    assert int(parent) != os.getpid()
    assert int(session) not in {pid, os.getsid(0)}
    assert terminal == "?"
    end(waiting, tmp_path)


def end(waiting: Waiting, state: Path) -> None:
    """Let the change be kept, so that the process ends; its deadline is of another boot, and it cannot undo it here."""
    bench = waiting.bench
    bench.confirm()
    wait_for(lambda: not is_waited_for(state, bench.record.path), "the process has ended")
