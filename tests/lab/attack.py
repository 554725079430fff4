"""Two guests with root inside try to be measured wrongly, to widen their filters, and to crash nwscan.

What nwscan makes of it is compared with a counter of our own on the same taps. `python -m tests.lab.attack_record` does
it for five minutes; the short form is tests/lab/test_attack.py.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab.attack_frames import TRIES
from tests.lab.frame_counter import FrameCounter
from tests.lab.hostile_guest import HostileGuest
from tests.lab.layout import GUESTS

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json, Nwscan

MEMORY_LIMIT_KIB = 300 * 1024
"""What each process of nwscan may take at the most."""
ALL = "all at once"
WINDOW_S = 2.2
"""A filter is suggested from two seconds at least."""
PROFILES = ("mac", "ip", "strict")
_KEPT = re.compile(
    r"reports/[0-9a-f-]{36}/[0-9a-f]{2}(-[0-9a-f]{2}){5}/\d{8}T\d{6}\.\d{6}Z/(report|meter|verdict)\.json"
    r"|reports/[0-9a-f-]{36}/[0-9a-f]{2}(-[0-9a-f]{2}){5}/\d{8}T\d{6}\.\d{6}Z/frames\.pcapng"
    r"|journal/(lock|[0-9TZ]+-[0-9a-f]{8}\.(journal|log|output))"
    r"|watch/[0-9TZ]+-[0-9a-f]{8}\.log"
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try did: frames that the guests' kernels took, frames on the taps, and what nwscan made of them."""

    name: str
    sent: int
    on_taps: int
    lost: int
    memory_kib: int
    reports: dict[str, Json]


class Attack:
    """Both guests of a lab against nwscan and against each other."""

    def __init__(self, lab: Lab, nwscan: Nwscan, tries: Sequence[str] = (ALL,)) -> None:
        self.lab = lab
        self.nwscan = nwscan
        lab.settle()
        self.guests = [HostileGuest(lab, name) for name in GUESTS]
        self.taps = {guest.guest.tap: guest.me.mac for guest in self.guests}
        for guest in self.guests:  # all of it before the first try: afterwards the bridge takes them for each other
            for name in tries:
                chosen = TRIES.values() if name == ALL else [TRIES[name]]
                guest.load([record for frames in chosen for record in frames(guest.me, guest.it)], _file_of(name))

    def close(self) -> None:
        """Leave the guests as they were; the bridge learns anew where everybody is."""
        for guest in self.guests:
            guest.clean()
        self.lab.settle()

    def measured(self, name: str = ALL, senders: Sequence[str] = tuple(GUESTS), least_s: float = 0.0) -> Outcome:
        """Capture on both taps for ``least_s`` at least while guests send what a try has: every law holds of it."""
        self.lab.settle()
        with (
            FrameCounter(self.lab, self.taps) as counter,
            self.nwscan.start("capture", *self.taps, "--json") as capture,
        ):
            early, end_s = counter.counted(), time.monotonic() + least_s
            sent = sum(taken for taken, _ in self._sent(_file_of(name), senders))
            least = {tap: counts - early[tap] for tap, counts in counter.settled().items()}
            while time.monotonic() < end_s:
                time.sleep(0.1)
            memory = max(self._memory_kib(pid) for pid in capture.processes().values())
            ended = capture.interrupt()
            most = counter.counted()  # a guest may have asked for a neighbour meanwhile
        assert (ended.code, "error" in ended.stderr) == (0, False), ended
        reports = {report["guest"]["tap"]: report for report in ended.documents}
        lost = 0
        for tap, report in reports.items():
            lost += _check(report, least[tap], most[tap], self.taps[tap])
        assert memory < MEMORY_LIMIT_KIB, f"{name}: {memory} KiB"
        self.check_files()
        return Outcome(name, sent, sum(sum(each.values()) for each in least.values()), lost, memory, reports)

    def _sent(self, file: str, senders: Sequence[str]) -> list[tuple[int, int]]:
        results: list[tuple[int, int]] = []

        def send(guest: HostileGuest) -> None:
            results.append(guest.send(file))

        chosen = [guest for guest in self.guests if guest.me.name in senders]
        threads = [threading.Thread(target=send, args=(guest,)) for guest in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == len(threads), "a guest did not send"
        return results

    def _memory_kib(self, pid: int) -> int:
        status = self.lab.outside(f"/proc/{pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return int(found.group(1)) if found else 0

    @contextmanager
    def attacking(self, *names: str, what: str = ALL) -> Iterator[None]:
        """Have guests send what a try has, again and again, while the with block runs."""
        chosen = [guest for guest in self.guests if guest.me.name in names]
        try:
            for guest in chosen:
                guest.begin(_file_of(what))
            yield
        finally:
            for guest in chosen:
                guest.end()

    def filters_of(self, name: str, profile: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The filters that are suggested from the newest window of a guest, as XML, and the reasons against them.

        A person states the address, so that the profiles beyond ``mac`` have what they need.
        """
        uuid = GUESTS[name].uuid
        frames = max((self.nwscan.state / "reports" / uuid).rglob("frames.pcapng"))
        words = ("suggest", name, "--from", frames, "--profile", profile, "--ip", GUESTS[name].ipv4, "--json")
        done = self.lab.run(["nwscan", *map(str, words)], env=self.nwscan.environment(1.0), timeout_s=60)
        assert done.returncode in (0, 1), done.stderr
        (line,) = done.stdout.splitlines()
        return _filters(line)

    def check_files(self) -> None:
        """Nothing lies in the state folder but under names that are nwscan's own."""
        files = (path for path in self.nwscan.state.rglob("*") if path.is_file())
        names = [path.relative_to(self.nwscan.state).as_posix() for path in files]
        assert [name for name in names if not _KEPT.fullmatch(name)] == []


def _file_of(name: str) -> str:
    return "frames-all" if name == ALL else f"frames{list(TRIES).index(name)}"


def _filters(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    document = json.loads(line)
    return tuple(each["xml"] for each in document["filters"]), tuple(each["reason"] for each in document["refusals"])


def _check(report: Json, least: Counter[str], most: Counter[str], mac: str) -> int:
    """Hold the laws of every outcome on one tap, by what was counted in the window and around it; gives the lost."""
    (window,) = report["windows"]
    frames = {name: counts["frames"] for name, counts in report["classes"].items()}
    lost = int(window["frames_lost"])
    assert frames["unclassified"] == 0, frames
    told = frames, lost, least, most
    assert sum(least.values()) <= sum(frames.values()) + lost <= sum(most.values()), told
    assert all(least[name] - lost <= frames[name] <= most[name] for name in frames), told
    guest = report["guest"]
    assert (guest["macs"], guest["identity_source"]) == ([mac], "libvirt_xml")
    assert [row for row in (*guest["addresses"], *guest["macs_seen"]) if row["trusted"]] == []
    return lost
