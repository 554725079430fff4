"""libvirtd ends and comes back, or hangs, beside what measures and counts: it goes on, says so, and recovers."""

from __future__ import annotations

import contextlib
import re
import signal
import time
import urllib.request
from typing import TYPE_CHECKING

from tests.lab import layout
from tests.lab.deploy_bench import kill_libvirtd, start_libvirtd
from tests.lab.kernel_calls import call_in_network
from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.terminal import Terminal
from tests.lab.test_export import EXPORTER, exporting, got
from tests.lab.test_top import needs_tmux, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

ANSWERED_S = 3.0
"""A scrape is answered from what is known: long before libvirt is given up."""
TOP = ["nwscan", "top", "--interval", "0.5"]
CAPTURE = ("capture", "vm1", "--json", "--no-keep")


def told(lab: Lab, name: str) -> float | None:
    """A metric without labels, None where nobody answers."""
    found = re.search(rf"^{name} (\S+)$", got(lab, f"http://{EXPORTER}/metrics"), re.MULTILINE)
    return None if found is None else float(found[1])


def scrape(lab: Lab) -> str:
    """What a scraper gets that waits for no longer than ANSWERED_S; raises where it gets nothing."""

    def ask() -> str:
        with urllib.request.urlopen(f"http://{EXPORTER}/metrics", timeout=ANSWERED_S) as answer:
            return str(answer.read().decode())

    return call_in_network(lab.network, ask)


@contextlib.contextmanager
def hanging_libvirtd(lab: Lab) -> Iterator[None]:
    """Have libvirtd stand, as one does that waits for a dead disk: it takes connections and answers none."""
    pid = lab.outside(layout.LIBVIRTD_PID).read_text().strip()
    lab.run(["kill", "-STOP", pid], check=True)
    try:
        yield
    finally:
        lab.run(["kill", "-CONT", pid], check=True)


def change_interfaces(lab: Lab) -> None:
    """Whoever follows taps asks libvirt now."""
    lab.run(["ip", "link", "add", "aside0", "type", "veth", "peer", "name", "aside1"], check=True)
    lab.run(["ip", "link", "del", "aside0"], check=True)


def stderr_of(process: Popen[str]) -> str:
    assert process.stderr is not None
    return str(process.stderr.read())


@needs_tmux
def test_libvirtd_restarts_beside_capture_top_and_export(lab: Lab, nwscan: Nwscan) -> None:
    with (
        exporting(lab, nwscan, "--listen", EXPORTER) as exporter,
        Terminal(lab, TOP, env=nwscan.environment(1)) as top,
        nwscan.start(*CAPTURE) as capture,
    ):
        top.wait_until(lambda now: len(row_of(now, "vm1")) > 3, "vm1 has rates")
        assert told(lab, "nwscan_following_up") == 1
        kill_libvirtd(lab)
        try:
            wait_for(lambda: told(lab, "nwscan_following_up") == 0, "the exporter says that libvirt is away")
            assert told(lab, "nwscan_counting_up") == 1
            top.wait_until(lambda now: "cannot reach libvirt" in now and row_of(now, "vm1") != [], "top says so")
        finally:
            start_libvirtd(lab)
        wait_for(lambda: told(lab, "nwscan_following_up") == 1, "the exporter has recovered")
        top.wait_until(lambda now: "libvirt" not in now and row_of(now, "vm1") != [], "top has recovered")
        truth = lab.send(Schedule(foreign=50))
        top.press("q")
        top.wait_until(lambda now: "ended with 0" in now, "it has ended")
        exporter.terminate()
        assert exporter.wait(timeout=30) == 0
        said = stderr_of(exporter)
        ended = capture.interrupt()
    assert (
        said.count("taps are not followed: cannot reach libvirt") == said.count("taps are not followed: no more") == 1
    )
    assert ended.code == 0, str(ended)
    assert ended.document["classes"]["foreign_unicast"]["frames"] == sum(truth.frames.values())
    assert ended.document["windows"][0]["stopped_early"] is None


@needs_tmux
def test_libvirtd_that_hangs_keeps_nobody(lab: Lab, nwscan: Nwscan) -> None:
    with (
        exporting(lab, nwscan, "--listen", EXPORTER) as exporter,
        Terminal(lab, TOP, env=nwscan.environment(1)) as top,
        nwscan.start(*CAPTURE[:1], "--all", *CAPTURE[2:]) as capture,
    ):
        top.wait_until(lambda now: len(row_of(now, "vm1")) > 3, "vm1 has rates")
        with hanging_libvirtd(lab):
            change_interfaces(lab)
            assert 'nwscan_offered_frames_total{class="broadcast"' in scrape(lab)
            wait_for(lambda: told(lab, "nwscan_following_up") == 0, "the exporter says that libvirt hangs")
            assert "nwscan_counting_up 1.0" in scrape(lab)
            top.wait_until(lambda now: "libvirt has not answered" in now and row_of(now, "vm1") != [], "top says so")
            top.press("q")
            top.wait_until(lambda now: "ended with 0" in now, "top ends when it is told to")
            ended = capture.interrupt()
        wait_for(lambda: told(lab, "nwscan_following_up") == 1, "the exporter has recovered")
        with hanging_libvirtd(lab):
            change_interfaces(lab)
            time.sleep(1.5)  # it looks once a second
            exporter.terminate()
            assert exporter.wait(timeout=30) == 0
        assert "taps are not followed: libvirt has not answered" in stderr_of(exporter)
    assert ended.code == 0, str(ended)
    assert {document["guest"]["name"] for document in ended.documents} == {"vm1", "vm2"}


def test_who_waits_for_a_libvirtd_that_hangs_can_end_it(lab: Lab, nwscan: Nwscan) -> None:
    with hanging_libvirtd(lab):
        waiting = lab.popen(["nwscan", "list"], env=nwscan.environment(1), stdout=-1, stderr=-1)
        wait_for(lambda: len(threads_of(lab, "list")) > 1, "it asks libvirt")
        waiting.send_signal(signal.SIGINT)
        said = waiting.communicate(timeout=20)
    assert (waiting.returncode, said) == (130, ("", "\ninterrupted\n"))


def threads_of(lab: Lab, command: str) -> list[str]:
    """The threads of the nwscan in the lab that carries out a command."""
    for folder in lab.outside("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if words[2:3] == [command]:
                return [thread.name for thread in (folder / "task").iterdir()]
    return []
