"""A file that tcpdump is still writing: what is there is read, and where it ends is told."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from analyzer.capture.source import open_capture
from tests.capture_octets import frames_of
from tests.network_namespace import frame, send, veth_pair

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 200
OCTETS = 64
HEADER_OCTETS, RECORD_OCTETS = 24, 16 + OCTETS
DEADLINE_S = 30.0


def wait_for_octets(path: Path, octets: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while not path.exists() or path.stat().st_size < octets:
        assert time.monotonic() < end, f"tcpdump has not written {octets} octets"
        time.sleep(0.01)


def read(path: Path) -> tuple[list[int], str | None]:
    """Give the sequence numbers of the frames in a file, and why reading stopped early."""
    with path.open("rb") as file:
        source = open_capture(file, path.name)
        frames = [one.octets for raw in source.batches() for one in frames_of(raw)]
    return [int.from_bytes(octets[20:24]) for octets in frames], source.window().stopped_early


@pytest.mark.parametrize("flush", ["-U", None], ids=["by packet", "by block"])
def test_a_file_that_tcpdump_is_writing(flush: str | None, tmp_path: Path) -> None:
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is missing")
    path = tmp_path / "growing.pcap"
    with veth_pair():
        command = [
            "tcpdump",
            "-i",
            "tap0",
            "-n",
            "--immediate-mode",
            "-s",
            "128",
            "-Z",
            "root",
            *([flush] if flush else []),
        ]
        with (
            subprocess.Popen([*command, "-w", str(path)], stderr=subprocess.PIPE, text=True) as tcpdump,
            ExitStack() as stack,
        ):
            stack.callback(tcpdump.kill)  # where the test fails; one that has ended does not mind
            assert tcpdump.stderr is not None
            assert any("listening on" in line for line in tcpdump.stderr)
            send("guest0", [frame(number, OCTETS) for number in range(COUNT)])
            wait_for_octets(path, HEADER_OCTETS + COUNT * RECORD_OCTETS if flush else 4096)
            size = path.stat().st_size
            numbers, stopped = read(path)
            assert numbers == list(range(len(numbers)))
            whole, rest = divmod(size - HEADER_OCTETS, RECORD_OCTETS)
            assert len(numbers) >= whole
            if flush:
                assert (len(numbers), stopped) == (COUNT, None)
            elif path.stat().st_size == size and rest:
                assert stopped == f"cut in the middle of a record at octet {size - rest} after {whole} frames"
            tcpdump.terminate()
            tcpdump.wait(DEADLINE_S)
    assert read(path) == (list(range(COUNT)), None)
