"""What a figure was measured on, in a line that names no host."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path


def machine() -> str:
    """The processor, how many of it, the kernel, and the day."""
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found.group(1).strip() if found else platform.machine()
    release = platform.release().partition("-")[0]
    return f"{os.cpu_count()} CPUs ({processor}), Linux {release}, {datetime.now(UTC):%Y-%m-%d}"
