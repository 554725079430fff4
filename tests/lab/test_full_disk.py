"""A disk that is full beside what runs on: the file of the exporter, a plan, a report, ring files.

The rest is in tests/lab/test_wrong_input.py, tests/lab/test_faults.py and tests/nwscan/test_full_disk.py.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab.nwscan_run import wait_for
from tests.lab.test_export import EXPORTER, exporting
from tests.lab.test_live import MAC, capturing, foreign, report_of
from tests.lab.test_wrong_input import HOST, SPEAKING
from tests.network_namespace import send, veth_pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.lab import Lab
    from tests.lab.nwscan_run import Nwscan


@contextmanager
def small_disk(lab: Lab, place: Path) -> Iterator[Path]:
    """A file system of 256 KiB in the lab; gives where this process finds it."""
    place.mkdir()
    lab.run(["mount", "-t", "tmpfs", "-o", "size=256k", "small", place], check=True)
    try:
        yield lab.outside(str(place))
    finally:
        lab.run(["umount", place], check=True)


def fill(lab: Lab, place: Path) -> None:
    lab.run(["sh", "-c", f"cat /dev/zero > {place}/full"])


def stamp_of(text: str) -> str:
    """The line that is another one whenever the file is written."""
    return next(line for line in text.splitlines() if line.startswith("process_cpu_seconds_total"))


def test_the_exporter_s_file_stays_whole_and_is_written_again(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    place = tmp_path / "small"
    with small_disk(lab, place) as outside:
        words = ("--listen", EXPORTER, "--textfile", str(place / "n.prom"), "--interval", "0.2")
        with exporting(lab, nwscan, *words) as exporter:
            file = outside / "n.prom"
            wait_for(lambda: "nwscan_facts_up 1.0" in file.read_text(), "the file has been written")
            fill(lab, place)
            assert exporter.stderr is not None
            said = ""
            while "the file is that of before" not in said:
                said = exporter.stderr.readline()
            assert "cannot write: No space left on device" in said
            before = file.read_text()
            assert before.endswith("\n")
            assert "nwscan_offered_frames_total" in before
            (outside / "full").unlink()
            assert exporter.stderr.readline() == "the file is that of before: no more\n"
            wait_for(lambda: stamp_of(file.read_text()) != stamp_of(before), "it is written again")
            assert [path.name for path in outside.iterdir() if not path.name.startswith("n.prom.")] == ["n.prom"]
            exporter.terminate()
            assert exporter.wait(30) == 0
        assert list(outside.iterdir()) == []


def test_a_plan_and_a_report_are_written_whole_or_not_at_all(lab: Lab, nwscan: Nwscan, tmp_path: Path) -> None:
    place, before = tmp_path / "small", lab.state()
    with small_disk(lab, place) as outside, lab.sending(SPEAKING):
        fill(lab, place)
        captured = nwscan.run("capture", "vm1", "-o", place / "report.json", code=HOST, duration_s=2.2)
        planned = nwscan.run("suggest", "vm1", "-o", place / "plan.json", code=HOST, duration_s=2.2)
        for ended in (captured, planned):
            assert "error: cannot write: No space left on device" in ended.stderr
        assert [path.name for path in outside.iterdir()] == ["full"]
        assert len(list(nwscan.state.glob("reports/**/report.json"))) == 1, "what was measured is kept"
    assert before.differences(lab.state()) == []


def test_ring_files_end_with_whole_frames_and_the_measurement_goes_on(tmp_path: Path) -> None:
    small, copies = tmp_path / "small", tmp_path / "copies"
    small.mkdir()
    copies.mkdir()
    script = f'mount -t tmpfs -o size=64k none {small}; "$@"; code=$?; cp {small}/* {copies}; exit $code'
    prefix = ("unshare", "-m", "sh", "-c", script, "sh", "setsid", "-w")
    words = ("tap0", "--mac", MAC, "-w", small / "r.pcapng", "-b", "packets:50", "-c", "1000", "--json")
    with veth_pair(), capturing(tmp_path, *words, prefix=prefix) as capture:
        send("tap0", foreign(1000, 200))
        (report,) = capture.end(None)
    assert report["classes"]["foreign_unicast"]["frames"] == 1000
    assert report["windows"][0]["frames_lost"] == 0
    (note,) = report["notes"]
    assert "No space left on device" in note
    files = sorted(copies.iterdir())
    assert len(files) > 2
    written = [report_of(tmp_path, file)["windows"][0] for file in files if file.stat().st_size]
    assert {window["stopped_early"] for window in written} == {None}
    assert [window["frames_seen"] for window in written[:-1]] == [50] * (len(written) - 1)
    assert f"ended after {sum(window['frames_seen'] for window in written)} frames" in note
