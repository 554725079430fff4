"""What the command line must not load before it needs it, and what the wheel holds."""

from __future__ import annotations

import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("numpy", "pandas", "scapy", "pyarrow", "libvirt", "matplotlib", "rich", "lxml", "msgspec", "prometheus_client")


def printed_without(names: tuple[str, ...], arguments: list[str]) -> str:
    """Give what a command prints, which must have loaded none of the modules."""
    code = (
        "import sys\nfrom nwscan.cli.main import main\n"
        f"status = main({arguments!r})\n"
        f"loaded = [name for name in {names!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    assert "nwscan" in printed_without(HEAVY, arguments)


TAKES_LONG = ("pandas", "scapy", "pyarrow", "libvirt", "matplotlib", "rich", "lxml", "dask", "fsspec")
"""What measuring a file and giving JSON never needs, in either process."""


def test_the_command_that_analyzes_loads_nothing_that_takes_long(tmp_path: Path) -> None:
    capture = tmp_path / "arp.pcap"
    arp = bytes.fromhex("ffffffffffff02aa0000000708060001080006040001" + "00" * 20)
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    capture.write_bytes(header + struct.pack("<IIII", 1, 0, len(arp), len(arp)) + arp)
    arguments = ["analyze", str(capture), "--mac", "52:54:00:00:00:01", "--json"]
    assert "ARP who has" in printed_without(TAKES_LONG, arguments)


def test_a_worker_for_files_loads_nothing_that_takes_long() -> None:
    code = (
        "import sys\nfrom functools import partial\nfrom nwscan.worker import child\n"
        "from nwscan.worker.messages import Analyze\n"
        "work = child._prepare(Analyze(()), [], None, None)\n"
        "assert isinstance(work, partial)\n"
        f"sys.exit(str([name for name in {TAKES_LONG!r} if name in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_importing_nwscan_loads_nothing_heavy() -> None:
    code = f"import sys, nwscan\nsys.exit(str([name for name in {HEAVY!r} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
