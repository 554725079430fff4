"""nwscan as it is typed, on a machine without libvirt."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from nwscan.cli.main import main
from tests.published import check

if TYPE_CHECKING:
    from collections.abc import Mapping

CAPTURES = Path(__file__).parents[2] / "captures"
BEFORE, AFTER, CUT, COOKED, FIRST_SECOND, VLAN = (
    CAPTURES / name
    for name in ("before.pcapng", "after.pcapng", "cut.pcap", "cooked.pcap", "first_second.pcap.gz", "vlan.pcap")
)
MAC = "52:54:00:00:00:01"
"""The guest's, in the captures."""
TOLD_BY_OTHERS = {"COLUMNS", "NO_COLOR", "FORCE_COLOR", "NWSCAN_DURATION"}
NO_LIBVIRT = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    words: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that is all of stdout, as its published schema says."""
        found: dict[str, Any] = json.loads(self.stdout)
        check(found)
        return found

    def error(self, code: int) -> dict[str, str]:
        """The fields of the one error that the command ended with; AssertionError where it ended in any other way."""
        assert (self.code, self.stdout) == (code, ""), self
        lines = [line.strip().partition(": ")[::2] for line in self.stderr.splitlines()]
        fields = {name: text.strip() for name, text in lines}
        assert len(fields) == len(lines), self
        assert list(fields) in (["error", "where", "do"], ["error", "do"]), self
        assert self.stderr.replace("\n", "").isprintable(), self
        assert "internal error" not in self.stderr, self
        return fields


def nwscan(
    *words: object,
    state: Path | None = None,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Ended:
    """Run ``nwscan WORDS`` in this process, with its worker; there is no libvirt, and no terminal."""
    texts = tuple(os.fsdecode(word) if isinstance(word, (bytes, Path)) else str(word) for word in words)
    named = {"NWSCAN_CONNECT": NO_LIBVIRT, "NWSCAN_STATE": str(state or "/nonexistent/state"), **(env or {})}
    kept = {name: value for name, value in os.environ.items() if name not in TOLD_BY_OTHERS}
    said, complained = io.StringIO(), io.StringIO()
    with (
        tempfile.TemporaryFile("w+b") as piped,
        io.TextIOWrapper(piped) as reading,
        mock.patch.dict(os.environ, kept | named, clear=True),
        mock.patch("sys.stdin", reading),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
    ):
        piped.write(stdin)
        piped.seek(0)
        code = main(list(texts))
    return Ended(texts, code, said.getvalue(), complained.getvalue())


def typed(*words: object) -> list[str]:
    """Give the command line of a process that does the same, where there has to be one."""
    return [sys.executable, "-m", "nwscan.cli.main", *map(str, words)]
