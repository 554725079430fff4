"""What reads live frames on a host, by /proc: workers without any privilege, and nobody else, whatever is typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.nwscan_run import wait_for
from tests.lab.schedule import Schedule
from tests.lab.terminal import Terminal
from tests.lab.test_export import EXPORTER, exporting
from tests.lab.test_top import needs_tmux, row_of
from tests.nwscan.confined import descriptors, free_threads, is_worker, mapped, packet_sockets

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan

FLOOD = Schedule(foreign=60_000, own=24_000, multicast=6_000, broadcast=3_600, rate_fps=800)
CAPTURES_S = 60


def processes_of_nwscan(lab: Lab) -> list[int]:
    """Every process of nwscan in the lab's network, as this machine numbers them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_there = (folder / "ns/net").readlink() == lab.network.readlink()
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
        except OSError:  # it has ended, or is not ours to look at
            continue
        if is_there and any(Path(word).name == "nwscan" or word.startswith("nwscan.") for word in words[:5]):
            found.append(int(folder.name))
    return found


def workers(lab: Lab) -> list[int]:
    """The workers that have given up what they had, each with a ring or a file to read."""
    return [pid for pid in processes_of_nwscan(lab) if is_worker(pid) and free_threads(pid) == []]


def rings(lab: Lab) -> set[str]:
    return packet_sockets(lab.init_pid)


def assert_workers_alone_read(lab: Lab, count: int) -> None:
    """Every ring is mapped by one worker, and nobody else has it, or a file of frames."""
    everybody = processes_of_nwscan(lab)
    reading = [pid for pid in everybody if is_worker(pid)]
    assert [pid for pid in reading if free_threads(pid) != []] == []
    assert len(reading) == count
    open_rings, maps = rings(lab), {pid: mapped(pid) for pid in everybody}
    holders = [pid for ring in open_rings for pid in everybody if ring in maps[pid]]
    assert sorted(set(holders)) == sorted(reading)
    assert len(holders) == len(open_rings)
    for other in set(everybody) - set(reading):
        held = set(descriptors(other).values())
        assert not maps[other] & open_rings
        assert not held & open_rings
        assert [name for name in held if ".pcapng" in name] == []


@needs_tmux
def test_capture_top_and_export_have_frames_in_workers_alone(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    top = Terminal(lab, ["nwscan", "top", "--interval", "0.5"], env=nwscan.environment(1))
    with lab.sending(FLOOD), exporting(lab, nwscan, "--listen", EXPORTER) as exporter:
        assert rings(lab) == set(), "what counts has no socket that frames come to"
        assert len(processes_of_nwscan(lab)) >= 1
        assert_workers_alone_read(lab, 0)
        words = ("capture", "vm1", "-w", tmp_path / "f.pcapng", "-b", "packets:200", "--json")
        with nwscan.start(*words, duration_s=CAPTURES_S) as capture, top:
            top.wait_until(lambda now: len(row_of(now, "vm1")) > 4, "vm1 has rates")
            wait_for(lambda: len(list(tmp_path.glob("f_*.pcapng"))) > 2, "later files were handed over")
            top.press("Enter")
            top.wait_until(lambda now: "listening" in now, "it listens")
            wait_for(lambda: len(workers(lab)) == 2 and len(rings(lab)) == 2, "both are confined and have their rings")
            wait_for(lambda: all(rings(lab) & mapped(pid) for pid in workers(lab)), "both have mapped them")
            assert_workers_alone_read(lab, 2)
            top.wait_until(lambda now: "frames captured on vnet" in now, "the talkers")
            with nwscan.start("capture", "--all", "--json", duration_s=CAPTURES_S) as everything:
                wait_for(lambda: len(workers(lab)) == 2 and len(rings(lab)) == 3, "one worker has two rings")
                assert_workers_alone_read(lab, 2)
                assert everything.interrupt().code == 0
            top.press("q")
            assert capture.interrupt().code == 0
        exporter.terminate()
        assert exporter.wait(30) == 0
