"""What the processes of nwscan in a lab hold at one moment."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lab.nwscan_run import WORKER

if TYPE_CHECKING:
    from tests.lab.lab import Lab

COMMANDS: Final = ("capture", "top", "export")
Values = dict[tuple[str, str], float]
"""By curve: whose it is, and what of it. Memory is RssAnon: a ring is the kernel's, up to 64 MiB a tap."""
RESIDENT, DESCRIPTORS, THREADS = "private memory, MiB", "descriptors", "threads"
NAMESPACES, TABLES = "network namespaces", "nft tables"
HOST: Final = "host"


def sample(lab: Lab) -> Values:
    """Give memory, descriptors and threads of each process of nwscan, and namespaces and nft tables of the lab."""
    folders = [folder for folder in lab.outside("/proc").glob("[0-9]*") if folder.name.isdigit()]
    words = {int(folder.name): _words(folder) for folder in folders}
    found: Values = {}
    namespaces = set()
    for folder in folders:
        with suppress(OSError):
            namespaces.add((folder / "ns" / "net").readlink())
            name = _label(folder, words)
            if name is not None:
                for kind, value in _process(folder).items():
                    found[name, kind] = found.get((name, kind), 0.0) + value
    tables = lab.run(["nft", "list", "tables"], check=True).stdout.splitlines()
    named = sum(1 for _ in lab.outside("/run/netns").iterdir())
    return found | {(HOST, NAMESPACES): float(len(namespaces) + named), (HOST, TABLES): float(len(tables))}


def _words(folder: Path) -> list[str]:
    with suppress(OSError):
        return (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def _label(folder: Path, words: dict[int, list[str]]) -> str | None:
    own = words[int(folder.name)]
    if WORKER in own:
        name = _command(words.get(_number(folder, "PPid"), []))
        return None if name is None else f"{name}, worker"
    if own == words.get(_number(folder, "PPid")):  # forked, and its program not started yet: it is counted there
        return None
    return _command(own)


def _command(words: list[str]) -> str | None:
    """Say which command of nwscan the words start: a capture is told from another by what it captures."""
    if not any(Path(word).name == "nwscan" for word in words[:2]):
        return None
    name = next((word for word in words if word in COMMANDS), None)
    return f"{name} --all" if name == "capture" and "--all" in words else name


def _process(folder: Path) -> dict[str, float]:
    return {
        RESIDENT: _number(folder, "RssAnon") / 1024,
        DESCRIPTORS: float(sum(1 for _ in (folder / "fd").iterdir())),
        THREADS: float(_number(folder, "Threads")),
    }


def _number(folder: Path, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
    return int(found.group(1)) if found else 0
