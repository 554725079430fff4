"""A change that nobody confirms goes back by itself, whatever became of the command that made it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from generator.deploy.journal import Journal
from generator.deploy.journal_record import State
from generator.deploy.plan import DefineFilter, decode, encode
from tests.lab import layout
from tests.lab.deploy_bench import kill_libvirtd, start_libvirtd
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.test_main_job_ends import leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator.deploy.journal_record import JournalRecord
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

INCONCLUSIVE, ROLLED_BACK = 7, 5
VM1 = layout.GUESTS["vm1"]
WINDOW_S = 2.2
FEW = Schedule(foreign=10, own=30_000, multicast=6_000, broadcast=3_000, rate_fps=300)
"""Wanted traffic, and too few foreign frames for a verdict: what is applied waits for a person."""


@pytest.fixture
def nothing_left(lab: Lab, nwscan: Nwscan) -> Iterator[None]:
    """The guest is as it was, and neither a process nor a table nor half a window is left."""
    before = lab.guest("vm1").domain_xml(), lab.guest("vm1").domain_xml(inactive=True), lab.virsh("nwfilter-list")
    yield
    wait_for(lambda: leftovers(lab, nwscan) == [], "nothing of nwscan is left")
    after = lab.guest("vm1").domain_xml(), lab.guest("vm1").domain_xml(inactive=True), lab.virsh("nwfilter-list")
    assert after == before


def card_of(nwscan: Nwscan) -> Json | None:
    cards = nwscan.run("status", "--json").document["cards"]
    return cards[0] if cards else None


def record_of(nwscan: Nwscan) -> JournalRecord:
    """The newest change."""
    return Journal(nwscan.state / "journal").records()[-1]


@pytest.mark.usefixtures("nothing_left")
def test_what_nobody_confirms_goes_back(lab: Lab, nwscan: Nwscan) -> None:
    with lab.sending(FEW):
        words = ("suggest", "--apply", VM1.name, "--yes", "--force", "--confirm-within", "8s")
        applied = nwscan.run(*words, code=INCONCLUSIVE, duration_s=WINDOW_S, timeout_s=180)
    assert "To keep it: nwscan confirm vm1" in applied.stdout
    assert applied.stdout.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    card = card_of(nwscan)
    assert card is not None
    assert card["pending"]
    assert 0 < card["left_s"] <= 8
    wait_for(lambda: record_of(nwscan).state is State.UNDONE, "the filter is gone")
    assert card_of(nwscan) is None
    late = nwscan.run("confirm", "vm1", code=ROLLED_BACK)
    assert "the change of vm1 was rolled back: nobody confirmed it: the deadline was 20" in late.stderr


@contextmanager
def talking(lab: Lab) -> Iterator[None]:
    """The guest asks for a host's MAC again and again, as one does whose neighbours change."""
    guest, address = lab.guest("vm1"), layout.HOSTS["hosta"].ipv4
    loop = f"while [ -e /talking ]; do ip neigh flush dev eth0; ping -c 1 -W 1 {address}; sleep 0.2; done"
    guest.shell(f"touch /talking; ({loop}) > /dev/null 2>&1 &")
    try:
        yield
    finally:
        guest.shell("rm /talking; sleep 1.5")


def with_arp_cut(document: bytes) -> bytes:
    """The plan as somebody edited it, who did not know that a guest lives by ARP."""
    rule = "<rule action='drop' direction='in' priority='50'><mac protocolid='arp'/></rule>"
    plan = decode(document)
    steps = tuple(
        msgspec.structs.replace(step, after=step.after.replace("<rule ", f"{rule}<rule ", 1))
        if isinstance(step, DefineFilter) and step.name.endswith("-mac")
        else step
        for step in plan.steps
    )
    return encode(msgspec.structs.replace(plan, steps=steps))


@pytest.mark.usefixtures("nothing_left")
def test_a_filter_that_cuts_arp_is_rolled_back_at_once(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with lab.sending(FEW), talking(lab):
        nwscan.run("suggest", VM1.name, "-o", path, "--force", duration_s=WINDOW_S, timeout_s=180)
        path.write_bytes(with_arp_cut(path.read_bytes()))
        ended = lab.run(["nwscan", "apply", path, "--yes"], env=nwscan.environment(40), timeout_s=180)
    assert ended.returncode == ROLLED_BACK, str(ended)
    assert re.search(
        "^error: the filter was rolled back: the filter drops .*ARP.*: at least", ended.stderr, re.MULTILINE
    )
    applied, undone = (at_of(nwscan, state) for state in (State.APPLIED, State.UNDONE))
    assert (undone - applied).total_seconds() < 10
    assert lab.host("hosta").ping(VM1.ipv4) == 3


def at_of(nwscan: Nwscan, state: State) -> datetime:
    return next(datetime.fromisoformat(event.at) for event in record_of(nwscan).events if event.state is state)


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_a_healthy_filter_is_left_alone(lab: Lab, nwscan: Nwscan) -> None:
    """With own and foreign traffic, and a guest that talks, for longer than the guards need to find harm."""
    busy = Schedule(foreign=100_000, own=60_000, multicast=12_000, broadcast=6_000, rate_fps=2000)
    with lab.sending(busy), talking(lab):
        nwscan.run("suggest", "--apply", VM1.name, "--yes", "--force", duration_s=6, timeout_s=180)
    record = record_of(nwscan)
    assert record.state is State.CONFIRMED
    log = next((nwscan.state / "watch").glob("*.log")).read_text()
    assert "guards are up on vnet0" in log
    nwscan.run("rollback", VM1.name, "--yes")


FLOOD = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)


def pending_change(lab: Lab, nwscan: Nwscan, within: str) -> None:
    """Apply what nobody can judge, so that it waits."""
    with lab.sending(FEW):
        words = ("suggest", "--apply", VM1.name, "--yes", "--force", "--confirm-within", within)
        nwscan.run(*words, code=INCONCLUSIVE, duration_s=WINDOW_S, timeout_s=180)


def kill_child_of(process: subprocess.Popen[str]) -> None:
    """Kill what a process outside the lab runs in it."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)


def state_of(nwscan: Nwscan) -> State | None:
    records = Journal(nwscan.state / "journal").records()
    return records[-1].state if records else None


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_it_goes_back_after_its_command_was_killed_and_its_terminal_closed(lab: Lab, nwscan: Nwscan) -> None:
    """Killed at the question whether to keep an effective filter."""
    ours, terminal = pty.openpty()
    words = ["setsid", "--ctty", "nwscan", "suggest", "--apply", VM1.name, "--force", "--confirm-within", "6s"]
    with lab.sending(FLOOD):
        environment = nwscan.environment(WINDOW_S)
        process = lab.popen(words, env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        said = answer(ours, "Put it in?", "y\n") + read_until(ours, "Keep it?")
        assert "vm1: effective: " in said
        kill_child_of(process)
        os.close(ours)
        process.wait(60)
    record = record_of(nwscan)
    assert record.is_pending
    wait_for(lambda: state_of(nwscan) is State.UNDONE, "nobody kept it")
    deadline = record.deadline
    assert deadline is not None
    late_s = (at_of(nwscan, State.UNDONE) - datetime.fromisoformat(deadline.at)).total_seconds()
    assert 0 <= late_s < 10  # the deadline is told in whole seconds; the undoing takes its time
    assert "nobody confirmed it" in (record_of(nwscan).why or "")


def read_until(descriptor: int, mark: str) -> str:
    """What a terminal shows, up to and with ``mark``."""
    shown = b""
    while mark.encode() not in shown:
        assert select.select([descriptor], [], [], 120)[0], shown
        shown += os.read(descriptor, 65536)
    return shown.decode(errors="replace")


def answer(descriptor: int, question: str, text: str) -> str:
    shown = read_until(descriptor, question)
    os.write(descriptor, text.encode())
    return shown


@pytest.mark.usefixtures("nothing_left")
def test_it_goes_back_at_once_after_its_command_was_killed_amid_the_steps(lab: Lab, nwscan: Nwscan) -> None:
    words = ["nwscan", "suggest", "--apply", VM1.name, "--yes", "--force", "--confirm-within", "1h"]
    with lab.sending(FEW):
        process = lab.popen(
            words, env=nwscan.environment(WINDOW_S), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: state_of(nwscan) is State.APPLYING, "a step is begun", 120)
        kill_child_of(process)
        process.wait(60)
        wait_for(lambda: state_of(nwscan) is State.UNDONE, "it is undone, long before the deadline", 120)
    assert record_of(nwscan).why == "whoever applied it ended before it was done"


@pytest.mark.usefixtures("nothing_left")
def test_it_goes_back_when_libvirtd_is_there_again(lab: Lab, nwscan: Nwscan) -> None:
    pending_change(lab, nwscan, "4s")
    kill_libvirtd(lab)
    log = next((nwscan.state / "watch").glob("*.log"))
    wait_for(lambda: "not undone yet" in log.read_text(), "it was tried without libvirtd")
    start_libvirtd(lab)
    wait_for(lambda: state_of(nwscan) is State.UNDONE, "it is undone")


@pytest.mark.usefixtures("nothing_left")
def test_what_waits_can_be_kept_and_a_rollback_ends_the_wait(lab: Lab, nwscan: Nwscan) -> None:
    pending_change(lab, nwscan, "1h")
    with lab.sending(FEW):
        words = ("suggest", "--apply", VM1.name, "--yes", "--force", "--also-mac", "52:54:00:00:00:77")
        refused = nwscan.run(*words, code=4, duration_s=WINDOW_S, timeout_s=180)
    assert "an earlier change of vm1 waits to be confirmed" in refused.stderr
    nwscan.run("rollback", VM1.name, "--yes")
    wait_for(lambda: leftovers(lab, nwscan) == [], "the process that waited has ended")
    pending_change(lab, nwscan, "1h")
    assert "unless: nwscan confirm vm1" in " ".join(nwscan.run("status").stdout.split())
    kept = nwscan.run("confirm", VM1.name)
    assert kept.stdout.splitlines()[-1] == "To undo it: nwscan rollback vm1"
    wait_for(lambda: leftovers(lab, nwscan) == [], "the process that waited has ended")
    card = card_of(nwscan)
    assert card is not None
    assert (card["state"], card["pending"]) == ("confirmed", False)
    assert nwscan.run("confirm", VM1.name).stdout == "nothing waits to be confirmed on vm1\n"
    nwscan.run("rollback", VM1.name, "--yes")
