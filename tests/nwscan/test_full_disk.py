"""A disk that is full, really: each thing that nwscan writes ends in one error, and nothing half written is there.

Frames, reports and journals of a live host: tests/lab/test_wrong_input.py, tests/lab/test_faults.py and
tests/lab/test_full_disk.py.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import nwscan as public
from analyzer.errors import HostError
from tests.network_namespace import need_root
from tests.nwscan.command import BEFORE, MAC, nwscan, typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = 4
OLD = b"what was there before"
PAGE_OCTETS = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB; ``fill`` fills it."""
    need_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report in a file."""
    path = tmp_path_factory.mktemp("report") / "report.json"
    assert nwscan("analyze", BEFORE, "--mac", MAC, "-o", path).code == 0
    return path


def fill(disk: Path, free_pages: int = 0) -> None:
    with (disk / "full").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(PAGE_OCTETS)):
                pass
        except OSError:
            file.truncate(file.tell() - free_pages * PAGE_OCTETS)


def files_in(disk: Path) -> dict[str, bytes]:
    """All files on the disk, hidden ones too, but what fills it."""
    return {
        str(path.relative_to(disk)): path.read_bytes()
        for path in disk.rglob("*")
        if path.is_file() and path.name != "full"
    }


def refused(*words: object) -> None:
    ended = nwscan(*words)
    assert ended.code == HOST, ended
    assert "error: cannot write" in ended.stderr, ended
    assert "No space left on device" in ended.stderr, ended
    assert "do:" in ended.stderr, ended


WRITERS = {"a report": ("analyze", BEFORE, "--mac", MAC, "-o"), "a page": ("report", "REPORT", "--html")}


@pytest.mark.parametrize(
    ("what", "free_pages"), [("a report", 0), ("a report", 1), ("a page", 1), ("a page over another", 1)]
)
def test_a_document_is_written_whole_or_not_at_all(disk: Path, report: Path, what: str, free_pages: int) -> None:
    target = disk / "document"
    if what.endswith("over another"):
        target.write_bytes(OLD)
    before = files_in(disk)
    fill(disk, free_pages)
    words = WRITERS[what.removesuffix(" over another")]
    refused(*(report if word == "REPORT" else word for word in words), target)
    assert files_in(disk) == before


@pytest.mark.parametrize("free_pages", [0, 2])
def test_frames_that_a_filter_drops_are_written_whole_or_not_at_all(
    disk: Path, tmp_path: Path, free_pages: int
) -> None:
    written = tmp_path / "all.xml"
    written.write_text("<filter name='all'><rule action='drop' direction='inout'/></filter>")
    fill(disk, free_pages)
    refused("replay", BEFORE, "--filter", written, "--mac", MAC, "--export-dropped", disk / "dropped.pcapng")
    assert files_in(disk) == {}


@pytest.mark.parametrize("free_pages", [0, 1, 3])
def test_a_dataset_gets_all_tables_of_its_reports_or_none(disk: Path, report: Path, free_pages: int) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    fill(disk, free_pages)
    refused("report", report, "--parquet", disk)
    assert files_in(disk) == {}


def test_filters_for_virsh_are_written_together(disk: Path) -> None:
    words = ("suggest", "--from", BEFORE, "--mac", MAC, "--profile", "strict", "--ip", "192.0.2.10", "--force", "--xml")
    nwscan(*words, disk)
    before = files_in(disk)
    assert len(before) > 2
    fill(disk, free_pages=1)
    refused(*words, disk, "--keep", "mdns")
    assert files_in(disk) == before


def test_a_chart_is_written_whole_or_not_at_all(disk: Path) -> None:
    chart = public.measured(BEFORE).plot.classes()
    fill(disk, 1)
    with pytest.raises(HostError, match="cannot write the chart: No space left"):
        chart.save(disk / "chart.png")
    assert files_in(disk) == {}


def test_output_that_goes_to_a_full_disk_is_an_error(disk: Path, report: Path) -> None:
    fill(disk)
    for words in (("report", report, "--json"), ("report", report, "--csv"), ("report", report)):
        with (disk / "out").open("wb") as out:
            command = typed(*words)
            done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == HOST, done.stderr
        assert "error: cannot write the output: No space left on device\n  where: standard output" in done.stderr
