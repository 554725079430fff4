"""What the command line must not load before it needs it, and what the wheel holds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "pandas", "scapy", "pyarrow", "libvirt", "matplotlib", "rich", "lxml", "msgspec", "prometheus_client")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom nwscan.cli.main import main\n"
        f"status = main({arguments!r})\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nwscan" in done.stdout


def test_importing_nwscan_loads_nothing_heavy() -> None:
    code = f"import sys, nwscan\nsys.exit(str([name for name in {HEAVY!r} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
