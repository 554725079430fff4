"""Live capturing on taps made for it: ring files, pipes, full disks, many taps, taps that come and go, super-frames."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nwscan.api.identify import guess_of_tap
from tests.lab.nwscan_run import Nwscan, wait_for
from tests.lab.schedule import Schedule
from tests.network_namespace import frame, ip, need_root, new_namespace, receiving_guest, send, veth_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.conftest import LabKeeper
    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Json

ROOT = Path(__file__).parents[2]
MAC = "52:54:00:00:00:01"
NWSCAN = (sys.executable, "-m", "nwscan.cli.main")
NO_LIBVIRT = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@pytest.fixture
def _wire() -> Iterator[None]:
    with veth_pair():
        yield


@pytest.fixture
def restarted_lab(lab_keeper: LabKeeper) -> Iterator[Lab]:
    """The lab, for a test that starts its guests again: their taps then have other names, so the lab ends with it."""
    yield lab_keeper.lab()
    lab_keeper.end()


class Capture:
    """``nwscan capture`` that runs in the namespace of this thread."""

    def __init__(self, folder: Path, words: tuple[object, ...], prefix: tuple[str, ...]) -> None:
        self.out, self.err = folder / "out", folder / "err"
        settings = {"NWSCAN_STATE": str(folder / "state"), "NWSCAN_CONNECT": NO_LIBVIRT, "NWSCAN_DURATION": "60"}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            command = [*prefix, *NWSCAN, "capture", *map(str, words)]
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=out, stderr=err)

    def end(self, number: signal.Signals | None = signal.SIGINT) -> list[Json]:
        """Interrupt it, or wait for its end; gives the JSON documents that it printed."""
        if number is not None:
            self.process.send_signal(number)
        assert self.process.wait(40) == 0, self.err.read_text()
        return [json.loads(line) for line in self.out.read_bytes().splitlines() if line.startswith(b"{")]


@contextmanager
def capturing(folder: Path, *words: object, prefix: tuple[str, ...] = ()) -> Iterator[Capture]:
    need_root()
    capture = Capture(folder, words, prefix)
    try:
        wait_for(lambda: "capturing on" in capture.err.read_text() or capture.process.poll() is not None, "it captures")
        assert capture.process.poll() is None, capture.err.read_text()
        yield capture
    finally:
        if capture.process.poll() is None:
            capture.process.kill()
        capture.process.wait()


def foreign(count: int, octets: int = 100) -> list[bytes]:
    return [frame(number, octets, dst="525400000009") for number in range(count)]


def report_of(folder: Path, file: Path) -> Json:
    """What analyze says of a file, which must name the guest itself."""
    env = os.environ | {"NWSCAN_STATE": str(folder / "state")}
    done = subprocess.run([*NWSCAN, "analyze", file, "--json"], cwd=ROOT, env=env, capture_output=True, check=True)
    document: Json = json.loads(done.stdout)
    assert document["guest"]["macs"] == [MAC]
    return document


def frames_in(folder: Path, file: Path) -> int:
    return sum(counts["frames"] for counts in report_of(folder, file)["classes"].values())


@pytest.mark.usefixtures("_wire")
def test_a_dumpcap_ring_keeps_the_newest_files_each_complete(tmp_path: Path) -> None:
    words = ("tap0", "--mac", MAC, "-w", tmp_path / "ring.pcapng", "-b", "packets:10", "-b", "files:3", "--json")
    with capturing(tmp_path, *words) as capture:
        send("tap0", foreign(45))
        wait_for(lambda: len(list(tmp_path.glob("ring_00005_*"))) == 1, "the fifth file")
        (report,) = capture.end()
    files = sorted(tmp_path.glob("ring*"))
    assert [file.name[:11] for file in files] == ["ring_00003_", "ring_00004_", "ring_00005_"]
    assert all(len(file.name) == len("ring_00001_20260101000000.pcapng") for file in files)
    assert [frames_in(tmp_path, file) for file in files] == [10, 10, 5]
    assert [report_of(tmp_path, file)["windows"][0]["frames_lost"] for file in files] == [0, 0, 0]
    assert report["classes"]["foreign_unicast"]["frames"] == 45
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.usefixtures("_wire")
def test_a_tcpdump_ring_by_size_has_tcpdump_s_names(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "-w", tmp_path / "f", "-C", "2k", "-W", "3", "--no-keep") as capture:
        send("guest0", foreign(60, 1000))  # 128 octets of each, in blocks of 172
        capture.end()
    assert sorted(file.name for file in tmp_path.glob("f*")) == ["f0", "f1", "f2"]
    sizes = sorted((tmp_path / name).stat().st_size for name in ("f0", "f1", "f2"))
    assert all(2048 < size < 2048 + 300 for size in sizes[1:])  # the newest is not full


@pytest.mark.usefixtures("_wire")
def test_files_by_time_follow_each_other_and_end_the_capture(tmp_path: Path) -> None:
    name = tmp_path / "f-%H%M%S"
    with capturing(tmp_path, "tap0", "--mac", MAC, "-w", name, "-G", "1", "-W", "2", "--json") as capture:
        for burst in range(40):
            send("guest0", foreign(1))
            if capture.process.poll() is not None:
                break
            time.sleep(0.1 if burst else 0)
        (report,) = capture.end(None)
    files = sorted(tmp_path.glob("f-*"))
    assert len(files) == 2
    windows = [report_of(tmp_path, file)["windows"][0] for file in files]
    assert all(one["end"] == other["start"] for one, other in pairwise(windows))
    assert 0 < sum(window["frames_seen"] for window in windows) <= report["windows"][0]["frames_seen"]


@pytest.mark.usefixtures("_wire")
def test_standard_output_takes_the_frames_as_they_come(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "-w", "-", "-s", "64") as capture:
        send("guest0", foreign(5))
        wait_for(lambda: capture.out.read_bytes().count(b"nwscan\0\0\0") == 5, "five frames in the pipe", 10)
        capture.end()
    (tmp_path / "out.pcapng").write_bytes(capture.out.read_bytes())
    assert frames_in(tmp_path, tmp_path / "out.pcapng") == 5
    assert "foreign unicast" in capture.err.read_text()


@pytest.mark.usefixtures("_wire")
def test_whoever_closes_the_pipe_ends_the_capture(tmp_path: Path) -> None:
    command = " ".join((*NWSCAN, "capture tap0 --mac", MAC, "-w - 2>err | head -c 1 >/dev/null"))
    env = os.environ | {"NWSCAN_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    shell = subprocess.Popen(["bash", "-c", f"cd {tmp_path}; set -o pipefail; {command}"], env=env)
    try:
        wait_for(lambda: (tmp_path / "err").exists() and "capturing" in (tmp_path / "err").read_text(), "it captures")
        for _ in range(100):
            if shell.poll() is not None:
                break
            send("guest0", foreign(1))
            time.sleep(0.1)
        assert shell.wait(20) == 0, (tmp_path / "err").read_text()
    finally:
        if shell.poll() is None:
            shell.kill()
        shell.wait()
    assert "Broken pipe" in (tmp_path / "err").read_text()


@pytest.mark.usefixtures("_wire")
def test_a_full_disk_ends_the_writing_and_not_the_measurement(tmp_path: Path) -> None:
    small, copy = tmp_path / "small", tmp_path / "copy.pcapng"
    small.mkdir()
    script = f'mount -t tmpfs -o size=64k none {small}; "$@"; code=$?; cp {small}/f.pcapng {copy}; exit $code'
    prefix = ("unshare", "-m", "sh", "-c", script, "sh", "setsid", "-w")
    words = ("tap0", "--mac", MAC, "-w", small / "f.pcapng", "-c", "5000", "--json")
    with capturing(tmp_path, *words, prefix=prefix) as capture:
        send("tap0", foreign(5000, 200))
        (report,) = capture.end(None)
    assert report["classes"]["foreign_unicast"]["frames"] == 5000
    (note,) = report["notes"]
    assert f"Writing -w {small}/f.pcapng ended after" in note
    assert "No space left on device" in note
    written = report_of(tmp_path, copy)["windows"][0]
    assert written["frames_seen"] < 5000
    assert written["stopped_early"] is None


@pytest.mark.usefixtures("_wire")
def test_a_tap_that_comes_again_goes_into_the_same_report(tmp_path: Path) -> None:
    with capturing(tmp_path, "tap0", "--mac", MAC, "--json", "-c", "30") as capture:
        send("guest0", foreign(10))
        time.sleep(0.3)  # the ring's last block: what a tap had when it is removed is not owed
        ip("link", "del", "tap0")
        ip("link", "add", "tap0", "type", "veth", "peer", "name", "guest0")
        for name in ("tap0", "guest0"):
            ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
        for number in range(400):
            if capture.process.poll() is not None:
                break
            send("guest0", [frame(number, 100, dst="525400000009")])
            time.sleep(0.02)
        (report,) = capture.end(None)
    first, second = report["windows"]
    assert (first["frames_seen"], second["frames_seen"]) == (10, 20)
    assert first["stopped_early"] == "tap0 went away"
    assert (first["frames_lost"], second["frames_lost"], second["stopped_early"]) == (0, 0, None)
    assert first["end"] <= second["start"]


@pytest.mark.usefixtures("_wire")
def test_a_tap_tells_its_guest_where_libvirt_is_away(tmp_path: Path) -> None:
    assert guess_of_tap("tap0") is None
    ip("link", "set", "tap0", "address", "fe:54:00:00:00:01")
    with capturing(tmp_path, "tap0", "--json") as capture:
        send("tap0", [*foreign(3), *(frame(number) for number in range(2))])
        time.sleep(0.3)
        (report,) = capture.end()
    assert (report["guest"]["macs"], report["guest"]["identity_source"]) == ([MAC], "guess")
    assert report["classes"]["foreign_unicast"]["frames"] == 3
    assert report["classes"]["unicast_to_guest"]["frames"] == 2
    assert [note for note in report["notes"] if "libvirt does not answer" in note and "--mac" in note]


def test_fifty_taps_at_once_lose_nothing(tmp_path: Path) -> None:
    taps = [f"tap{number}" for number in range(50)]
    with new_namespace():
        for number, tap in enumerate(taps):
            ip("link", "add", tap, "type", "veth", "peer", "name", f"g{number}")
            for name in (tap, f"g{number}"):
                ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
            ip("link", "set", tap, "address", f"fe:54:00:00:00:{number:02x}")
        with capturing(tmp_path, *taps, "--json") as capture:
            for _ in range(10):
                for number in range(50):
                    send(f"g{number}", foreign(number + 1))
            time.sleep(0.5)
            reports = capture.end()
    assert [report["guest"]["tap"] for report in reports] == taps
    assert [report["windows"][0]["frames_seen"] for report in reports] == [10 * (number + 1) for number in range(50)]
    assert {report["windows"][0]["frames_lost"] for report in reports} == {0}


def test_super_frames_are_counted_as_frames_and_as_segments(tmp_path: Path) -> None:
    with veth_pair(), receiving_guest(f"nwscan-live-{os.getpid()}") as (guest, transfer):
        words = ("tap0", "--mac", guest, "--json", "-w", tmp_path / "f.pcapng", "tcp")
        with capturing(tmp_path, *words) as capture:
            transfer()
            time.sleep(0.3)
            (report,) = capture.end()
    tshark = ["tshark", "-r", str(tmp_path / "f.pcapng"), "-T", "fields", "-e", "frame.len", "-e", "tcp.len"]
    rows = subprocess.run(tshark, check=True, capture_output=True, text=True).stdout.splitlines()
    lengths = [int(row.split("\t")[1] or 0) for row in rows]
    segments = sum(max(1, -(-length // 1448)) for length in lengths)  # MTU 1500, IPv4, TCP with timestamps
    assert max(lengths) > 1448
    assert report["windows"][0]["frames_seen"] == len(lengths)
    assert report["segments"] == segments > len(lengths)


def test_a_guest_that_starts_again_keeps_its_report_and_a_new_one_gets_its_own(
    restarted_lab: Lab, tmp_path: Path
) -> None:
    lab, nwscan = restarted_lab, Nwscan(restarted_lab, tmp_path)
    lab.virsh("destroy vm2")
    with nwscan.start("capture", "--all", "--json", "--no-keep") as capture:
        lab.send(Schedule(foreign=50))
        lab.virsh("destroy vm1")
        lab.virsh("start vm1")
        lab.virsh("start vm2")
        for guest in ("vm1", "vm2"):
            lab.guest(guest).wait_until_ready()
        lab.send(Schedule(foreign=70))
        ended = capture.interrupt()
    assert ended.code == 0, str(ended)
    reports = {report["guest"]["name"]: report for report in ended.documents}
    assert len(ended.documents) == len(reports) == 2
    assert reports["vm1"]["classes"]["foreign_unicast"]["frames"] == 120
    assert reports["vm2"]["classes"]["foreign_unicast"]["frames"] == 70
    first, second = reports["vm1"]["windows"]
    assert first["stopped_early"] == f"{first['source']} went away"
    assert (second["source"], second["stopped_early"]) == (lab.guest("vm1").tap, None)
