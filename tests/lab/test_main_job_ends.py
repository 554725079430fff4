"""However a measurement ends, it ends in good order: refused, interrupted, parent or worker killed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan


def leftovers(lab: Lab, nwscan: Nwscan) -> list[str]:
    """What a command that ended badly left: processes, tables, half windows."""
    processes = [
        command
        for folder in lab.outside("/proc").glob("[0-9]*")
        if "nwscan." in (command := read_or_nothing(folder / "cmdline"))
    ]
    tables = [line for line in lab.run(["nft", "list", "tables"]).stdout.splitlines() if "nwscan" in line]
    reports = [str(path) for path in (nwscan.state / "reports").rglob("*Z") if not (path / "report.json").exists()]
    return processes + tables + reports


def read_or_nothing(path: Path) -> str:
    try:
        return path.read_text(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def test_nothing_runs_on_when_nwscan_is_killed(lab: Lab, nwscan: Nwscan) -> None:
    with nwscan.start("verify", "vm1") as verify, lab.sending(Schedule(foreign=100_000, rate_fps=1000)):
        processes = verify.processes()
        assert processes.keys() == {"parent", "worker"}
        assert "nwscan" in lab.run(["nft", "list", "tables"]).stdout
        lab.run(["kill", "-9", str(processes["parent"])], check=True)
        assert verify.finish().code == -9
        wait_for(lambda: not verify.processes(), "the worker has ended")
    wait_for(lambda: not [left for left in leftovers(lab, nwscan) if "Z" not in left], "the table is gone")


@pytest.mark.parametrize("command", ["capture", "verify"])
def test_a_killed_worker_is_one_clear_error(lab: Lab, nwscan: Nwscan, command: str) -> None:
    with nwscan.start(command, "vm1") as running, lab.sending(Schedule(foreign=100_000, rate_fps=1000)):
        lab.run(["kill", "-9", str(running.processes()["worker"])], check=True)
        ended = running.finish()
    assert ended.code == 4, str(ended)
    assert ended.stdout == ""
    said = [line for line in ended.stderr.splitlines() if not line.startswith("capturing on")]
    assert [line.partition(":")[0].strip() for line in said] == ["error", "where", "do"], str(ended)
    assert "the measuring worker ended unexpectedly (status -9)" in said[0]
    assert leftovers(lab, nwscan) == []


REFUSED = {
    "no such tap": (4, "capture vnet9"),
    "no expression": (2, "capture vnet0 frob"),
    "a tap and no expression": (2, "capture vnet0 vnet1 frob"),
    "one file for two cards": (2, "capture vnet0 vnet1 -w {folder}/two.pcapng"),
    "no folder for the frames": (4, "capture vnet0 -w {folder}/none/frames.pcapng"),
    "one report for two cards": (2, "capture vnet0 vnet1 -o {folder}/two.json"),
    "no folder for the report": (4, "capture vnet0 -o {folder}/none/report.json"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_before_it_begins(lab: Lab, nwscan: Nwscan, tmp_path: Path, why: str) -> None:
    code, words = REFUSED[why]
    ended = nwscan.run(*words.format(folder=tmp_path).split(), code=code, duration_s=30)
    assert ended.stdout == ""
    assert [line.partition(":")[0].strip() for line in ended.stderr.splitlines()] == ["error", "where", "do"], ended
    assert leftovers(lab, nwscan) == []
    assert list(tmp_path.glob("two.*")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["capture", "verify"])
def test_an_interrupt_is_a_normal_end(lab: Lab, nwscan: Nwscan, command: str, number: signal.Signals) -> None:
    with nwscan.start(command, "vm1") as running:
        running.process.send_signal(number)
        code = running.finish().code
    assert code == {"capture": 0, "verify": 7}[command]
    assert leftovers(lab, nwscan) == []
