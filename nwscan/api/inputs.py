"""What people name as input: files, folders, URLs and standard input, opened for the worker that reads them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import InputError, UsageError
from nwscan.scale import remote

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

STDIN_NAME: Final = "standard input"


def open_inputs(paths: Sequence[str], stack: ExitStack) -> tuple[tuple[str, ...], list[int]]:
    """Open files, URLs, the captures in folders (by name, not deeper) and ``-``; gives names and descriptors.

    Raises InputError for the first one that cannot be opened.
    """
    return open_files(expand(paths), stack)


def open_files(files: Sequence[str], stack: ExitStack) -> tuple[tuple[str, ...], list[int]]:
    """Open what ``expand`` gives, as ``open_inputs`` does."""
    names: list[str] = []
    descriptors: list[int] = []
    for path in files:
        if path == "-":
            descriptor = _standard_input(twice=STDIN_NAME in names)
            name = STDIN_NAME
        else:
            descriptor, name = _open_input(path)
            stack.callback(os.close, descriptor)
        names.append(name)
        descriptors.append(descriptor)
    return tuple(names), descriptors


def _standard_input(*, twice: bool) -> int:
    if twice:
        raise UsageError("standard input can be read once", "-", "name it once")
    if sys.stdin is None:
        raise InputError("standard input is closed", "-", "pipe a capture into it, or name a file")
    return sys.stdin.fileno()


def _open_input(path: str) -> tuple[int, str]:
    if remote.is_url(path):
        return remote.fetch(path), remote.shown(path)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), os.fsencode(path).decode(errors="backslashreplace")
    except OSError as error:
        raise InputError(f"cannot open the capture: {error.strerror}", path, "name a pcap or pcapng file") from error


def expand(paths: Sequence[str]) -> list[str]:
    """Give the files that are meant: a folder stands for the captures in it. Raises InputError where it has none."""
    found: list[str] = []
    for path in map(remote.local, paths):
        if remote.is_url(path):
            found += remote.expand(path, (".pcap",))
        elif path != "-" and Path(path).is_dir():
            inside = sorted(str(file) for file in Path(path).iterdir() if file.is_file() and ".pcap" in file.name)
            if not inside:
                raise InputError(
                    "no captures in this folder", path, "captures are named *.pcap or *.pcapng, also .gz and .zst"
                )
            found += inside
        else:
            found.append(path)
    return found
