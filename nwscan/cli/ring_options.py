"""The options of ring files: dumpcap's ``-b`` and tcpdump's ``-C``, ``-G`` and ``-W``, meaning what they mean there."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from analyzer.errors import UsageError
from nwscan.cli.options import check_output
from nwscan.config import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nwscan.api.ring_files import Rotation

Command = TypeVar("Command", bound="Callable[..., Any]")

_DUMPCAP_KILOBYTE: Final = 1000
_TCPDUMP_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TCPDUMP_MILLION: Final = 1_000_000
_MOST: Final = 1 << 31
_BOTH_TOOLS: Final = "-b is dumpcap's way, -C, -G and -W are tcpdump's: take one of them"


def ring_files(command: Command) -> Command:
    """Add ``-b``, ``-C``, ``-G`` and ``-W``; the command gets ``rotation``."""

    @wraps(command)
    def with_rotation(
        *words: object,
        ring: tuple[str, ...],
        size: str | None,
        every_s: int | None,
        count: int | None,
        **options: object,
    ) -> object:
        return command(*words, rotation=rotation_from(ring, size, every_s, count), **options)

    add = click.option(
        "-b",
        "ring",
        multiple=True,
        metavar="KIND:N",
        help="Go on in another file, as dumpcap does: duration:SECONDS, filesize:KB, packets:N; files:N keeps N.",
    )
    add_size = click.option("-C", "size", metavar="MB", help="Go on in another file after so many MB, as tcpdump does.")
    add_time = click.option(
        "-G",
        "every_s",
        type=click.IntRange(1, _MOST),
        metavar="SECONDS",
        help="Go on in another file after so many seconds; -w takes strftime's letters.",
    )
    add_count = click.option(
        "-W",
        "count",
        type=click.IntRange(1, _MOST),
        metavar="COUNT",
        help="Files of a -C ring; with -G alone the capture ends after so many.",
    )
    return add(add_size(add_time(add_count(with_rotation))))  # type: ignore[return-value]


def check_ring(write: Path | None, rotation: Rotation | None) -> None:
    """Refuse before anything is opened what cannot be written in files one after the other."""
    if rotation is not None and (write is None or str(write) == "-"):
        raise UsageError("files one after the other need a name", "-b, -C, -G", "name them with -w FILE.pcapng")
    if write is not None and str(write) != "-":
        check_output(write)


def rotation_from(ring: tuple[str, ...], size: str | None, every_s: int | None, count: int | None) -> Rotation | None:
    """Give what the options ask for, None where they ask for one file. Raises UsageError for what is no rule."""
    if ring and (size is not None or every_s is not None or count is not None):
        raise UsageError("two kinds of ring files", "-b and -C, -G, -W", _BOTH_TOOLS)
    if ring:
        return _dumpcap(ring)
    if size is None and every_s is None:
        if count is not None:
            raise UsageError("nothing says when a file ends", "-W", "add -C MB or -G SECONDS")
        return None
    from analyzer.capture.rotation import RotationRules
    from nwscan.api.ring_files import Rotation

    last = count if size is None else None
    octets = None if size is None else _tcpdump_octets(size) + 1  # a file ends when it is larger than this
    return Rotation(RotationRules(every_s, octets, None, last, restarts=False), count, "tcpdump")


def _dumpcap(ring: tuple[str, ...]) -> Rotation:
    from analyzer.capture.rotation import RotationRules
    from nwscan.api.ring_files import Rotation

    told: dict[str, str] = {}
    for rule in ring:
        kind, _, amount = rule.partition(":")
        if kind not in {"duration", "filesize", "packets", "files"} or not amount:
            raise UsageError(
                f"not a rule for ring files: {rule!r}", "-b", "write -b duration:60, filesize:KB, packets:N or files:N"
            )
        told[kind] = amount
    if told.keys() == {"files"}:
        raise UsageError("nothing says when a file ends", "-b", "add -b duration:60, filesize:KB or packets:N")
    kilobytes = _number(told, "filesize")
    rules = RotationRules(
        parse_duration_s(told["duration"], "-b duration") if "duration" in told else None,
        None if kilobytes is None else kilobytes * _DUMPCAP_KILOBYTE,
        _number(told, "packets"),
    )
    return Rotation(rules, _number(told, "files"))


def _number(told: dict[str, str], kind: str) -> int | None:
    text = told.get(kind)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) <= _MOST:
        raise UsageError(f"not a number above 0: {text!r}", f"-b {kind}", f"write -b {kind}:10")
    return int(text)


def _tcpdump_octets(size: str) -> int:
    unit = _TCPDUMP_UNITS.get(size[-1:].lower(), _TCPDUMP_MILLION)
    text = size[:-1] if size[-1:].lower() in _TCPDUMP_UNITS else size
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) <= _MOST:
        raise UsageError(f"not a file size: {size!r}", "-C", "write -C 10 for 10 million octets, or 10k, 10m, 1g")
    return int(text) * unit
