"""Where the captures and filters lie that nobody on this project wrote; tests read them where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED_DATA = Path(os.environ.get("NWSCAN_SHARED_DATA") or Path(__file__).parents[1] / "../shared/data").resolve()


def shared_data(*parts: str) -> Path:
    """Give a path under the shared data; skip the test where they are absent, but fail it in CI."""
    path = SHARED_DATA.joinpath(*parts)
    if not path.exists():
        reason = f"no shared data: {path} is missing (NWSCAN_SHARED_DATA names another folder)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def capture_files() -> list[Path]:
    """Give every file with captures among the shared data, sorted; none where the folder is absent."""
    suffixes = {".pcap", ".pcapng", ".snoop", ".zst", ".gz"}
    return sorted(path for path in (SHARED_DATA / "captures").rglob("*") if path.suffix in suffixes)
