"""What is kept between runs: reports and the headers of their frames, in the state folder.

One folder a window, ``reports/<guest uuid>/<card MAC>/<UTC time>/``, with report.json, frames.pcapng and meter.json,
mode 0600 in 0700. Folders are named by uuid and MAC alone: a guest's name may hold anything.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from analyzer.errors import HostError, InputError, UsageError
from analyzer.model.addresses import format_mac
from analyzer.model.classes import CLASS_COUNT
from analyzer.report.store import SIZE_LIMIT, encode, from_document
from nwscan.config import is_readable_folder, private_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from analyzer.host.meter import MeterReading
    from analyzer.model.identity import GuestIdentity
    from analyzer.report.report import Report

REPORT_NAME: Final = "report.json"
METER_NAME: Final = "meter.json"
VERDICT_NAME: Final = "verdict.json"
FRAMES_NAME: Final = "frames.pcapng"

_NAME_KEPT: Final = 100
"""Characters of a file's name in that of its predecessor: a name may have 255 octets."""

_CHOSEN: Final = ".chosen"
_STAMP: Final = "%Y%m%dT%H%M%S.%fZ"
_NAMED = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])T[0-2][0-9][0-5][0-9][0-5][0-9]\.[0-9]{6}Z")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class KeptReport:
    """A report on disk."""

    path: Path
    report: Report

    @property
    def frames_path(self) -> Path | None:
        """The kept frames beside it, None where there are none."""
        frames = self.path.with_name(FRAMES_NAME)
        return frames if frames.is_file() else None

    @property
    def meter(self) -> MeterReading | None:
        """What the meter counted in this window, None where it did not. Raises InputError for a damaged file."""
        known = self._metered()
        return None if known is None else _reading(known, self.path)

    @property
    def metered_ns(self) -> tuple[int, int] | None:
        """When the meter was read first and last, in ns since the epoch; None where nobody wrote it down."""
        known = self._metered()
        return None if known is None else known.read_ns

    def _metered(self) -> _Meter | None:
        path = self.path.with_name(METER_NAME)
        return _read_meter(path) if path.is_file() else None


def card_folder(reports: Path, identity: GuestIdentity) -> Path:
    """Give the folder of one card's windows."""
    guest = identity.uuid if identity.uuid and _UUID.fullmatch(identity.uuid) else "no-guest"
    return reports / guest / format_mac(identity.macs[0]).replace(":", "-")


def new_window_folder(reports: Path, identity: GuestIdentity, *, is_whole: bool = True) -> Path:
    """Make the folder of a new window.

    One that is not whole (a BPF expression chose its frames) lies apart, so that nothing is suggested or judged by it.
    """
    stamp = datetime.now(UTC).strftime(_STAMP)
    folder = card_folder(reports, identity)
    return private_folder((folder if is_whole else folder.with_name(f"{folder.name}{_CHOSEN}")) / stamp)


def create_private(path: Path, *, replace: bool = False, shown: Path | None = None) -> int:
    """Open a new file for writing, readable by its owner alone, and give its descriptor.

    With ``replace`` it takes the place of what is there: of another user's link or file nothing is followed or kept,
    while devices and pipes are opened as they are. Raises HostError, which names the file ``shown`` where that is
    another one, where that cannot be, or where the file is there and ``replace`` is not given.
    """
    try:
        return _put_in_place(path) if replace else os.open(path, _NEW, 0o600)
    except OSError as error:
        raise _cannot_write(error, shown or path) from error


_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_EXCL | os.O_NOFOLLOW


def _put_in_place(path: Path) -> int:
    """Open a new file under the name of what is there. A link of one's own leads to where it stands."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.stat().st_mode):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if path.is_symlink() and path.lstat().st_uid == os.geteuid():
            path = path.resolve()
    partial = partial_of(path)
    try:
        descriptor = os.open(partial, _NEW, 0o600)
    except PermissionError:  # a file that was made for us, in a folder that is not ours
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.close(descriptor)
            raise
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        return descriptor
    try:
        partial.replace(path)
    except OSError:
        os.close(descriptor)
        partial.unlink(missing_ok=True)
        raise
    return descriptor


@contextmanager
def new_file(path: Path, sources: Iterable[Path] = ()) -> Iterator[int]:
    """Give the descriptor of a file that takes the place of ``path`` when all went well, and is gone otherwise.

    Raises UsageError where ``path`` is one of ``sources`` or no regular file, HostError where it cannot be written.
    """
    if path.exists() and (not path.is_file() or any(path.samefile(source) for source in sources)):
        what = "the capture itself" if path.is_file() else "no regular file"
        raise UsageError(f"frames cannot be written there: it is {what}", str(path), "name another file")
    partial = partial_of(path)
    descriptor = create_private(partial, shown=path)
    try:
        yield descriptor
        partial.replace(path)
    except OSError as error:
        raise _cannot_write(error, path) from error
    finally:
        os.close(descriptor)
        partial.unlink(missing_ok=True)


def _cannot_write(error: OSError, path: Path) -> HostError:
    return HostError(f"cannot write: {error.strerror}", str(path), "check the folder and its free space")


def save(folder: Path, document: bytes) -> Path:
    """Write the report's document and give its path."""
    path = folder / REPORT_NAME
    write_private(path, document)
    return path


def keep(folder: Path, document: bytes) -> KeptReport:
    """Keep a report in its folder and give it.

    On a full disk the kept frames make room for it. A report that cannot be kept says so and is given all the same,
    with a path where there is nothing.
    """
    path, report = folder / REPORT_NAME, from_document(document)
    frames = folder / FRAMES_NAME
    try:
        try:
            save(folder, document)
        except HostError:
            if not frames.exists():
                raise
            frames.unlink()
            note = "There was no room for both the report and the kept frames: the frames are gone."
            report = replace(report, frames_file=None, notes=(*report.notes, note))
            save(folder, encode(report))
    except HostError as error:
        report = replace(report, notes=(*report.notes, f"This report is not kept: {error.what}."))
    return KeptReport(path, report)


class _Meter(msgspec.Struct, frozen=True):
    """The meter's counts as they are kept: FrameClass x (frames, octets); and when it was read first and last."""

    offered: tuple[tuple[int, int], ...]
    delivered: tuple[tuple[int, int], ...]
    read_ns: tuple[int, int] | None = None


def add_meter(report: KeptReport, reading: MeterReading, read_ns: tuple[int, int] | None = None) -> KeptReport:
    """Keep the meter's counts beside a report, and give it."""
    if not report.path.is_file():
        folder = report.path.parent
        raise HostError("the window could not be kept", str(folder), "make room, or name another folder with --state")
    offered, delivered = (
        tuple((int(row[0]), int(row[1])) for row in side) for side in (reading.offered, reading.delivered)
    )
    write_private(report.path.with_name(METER_NAME), msgspec.json.encode(_Meter(offered, delivered, read_ns)))
    return report


def _read_meter(path: Path) -> _Meter:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Meter)
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f"not the meter's counts: {error}", str(path), "measure again") from error


def _reading(known: _Meter, path: Path) -> MeterReading:
    import numpy as np

    from analyzer.host.meter import MeterReading

    try:
        offered, delivered = (
            np.array(side, np.int64).reshape(CLASS_COUNT, 2) for side in (known.offered, known.delivered)
        )
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"not the meter's counts: {error}", str(path.with_name(METER_NAME)), "measure again"
        ) from error
    return MeterReading(offered, delivered)


class KeptVerdict(msgspec.Struct, frozen=True):
    """What the last verification of a card said, and when."""

    verdict: str
    at_ns: int


def add_verdict(report: KeptReport, verdict: str) -> None:
    """Keep beside the window what was concluded from it; where that cannot be, nobody is the worse for it."""
    if report.path.is_file():
        with suppress(HostError):
            written = msgspec.json.encode(KeptVerdict(verdict, time.time_ns()))
            write_private(report.path.with_name(VERDICT_NAME), written)


def latest_verdict(reports: Path, identity: GuestIdentity) -> KeptVerdict | None:
    """Give the newest verdict on a card that can be read, None where there is none."""
    if not is_readable_folder(reports):
        return None
    for path in sorted(card_folder(reports, identity).glob(f"*/{VERDICT_NAME}"), reverse=True):
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(path.read_bytes(), type=KeptVerdict)
    return None


def load(path: Path) -> Report:
    """Give the report in a file. Raises InputError where it cannot be read or is none."""
    return from_document(read_document(path), str(path))


def read_document(path: Path) -> bytes:
    """Give what a file of documents holds. Raises InputError where it cannot be read or is too long for one."""
    try:
        with path.open("rb") as file:
            octets = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(
            f"cannot read the report: {error.strerror}", str(path), "name a report that nwscan wrote"
        ) from error
    if len(octets) > SIZE_LIMIT:
        raise InputError(f"longer than the limit of {SIZE_LIMIT} octets", str(path), "name a report that nwscan wrote")
    return octets


def latest(reports: Path, identity: GuestIdentity, *, before_ns: int | None = None) -> KeptReport | None:
    """Give the newest readable report of a card (that ended before ``before_ns``), None where there is none."""
    folder = card_folder(reports, identity)
    if not (is_readable_folder(reports) and is_readable_folder(folder)):
        return None
    for window in sorted(folder.iterdir(), reverse=True):
        path = window / REPORT_NAME
        if not path.is_file():
            continue
        report = load(path)
        ends = [known.end_ns for known in report.windows if known.end_ns is not None]
        if before_ns is None or (ends and max(ends) <= before_ns):
            return KeptReport(path, report)
    return None


def reports_in(folder: Path) -> list[Path]:
    """Give the kept reports in a folder, at any depth, in order; those of chosen frames lie apart and do not count."""
    return sorted(path for path in folder.rglob(REPORT_NAME) if path.is_file() and not _is_chosen(path.parent.parent))


def _is_chosen(folder: Path) -> bool:
    return folder.name.endswith(_CHOSEN)


def is_fresh(report: KeptReport, within_s: float) -> bool:
    """Say whether the report's last window ended less than ``within_s`` ago."""
    ends = [window.end_ns for window in report.report.windows if window.end_ns is not None]
    return bool(ends) and 0 <= time.time_ns() - max(ends) < within_s * 1e9


def expire(reports: Path, keep_days: float) -> int:
    """Delete windows older than ``keep_days`` and give how many."""
    oldest = datetime.fromtimestamp(time.time() - keep_days * 86400, UTC).strftime(_STAMP)
    expired = [window for window in window_folders(reports) if window.name < oldest]
    for window in expired:
        shutil.rmtree(window, ignore_errors=True)
    return len(expired)


def window_folders(reports: Path) -> list[Path]:
    """Give the folder of every kept window. Raises HostError where the folder of them cannot be read."""
    if not is_readable_folder(reports):
        return []
    return [
        folder
        for folder in reports.glob("*/*/*Z")
        if _NAMED.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink()
    ]


def began_at(folder: Path) -> datetime:
    """Give when the window of a folder began."""
    return datetime.strptime(folder.name, _STAMP).replace(tzinfo=UTC)


def write_private(path: Path, octets: bytes) -> None:
    """Write a file that only its owner may read, replacing what is there in one step.

    What is there and is no regular file (a device, a pipe, ``/dev/stdout``) is written to, never replaced. Raises
    HostError where that cannot be.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        _write_through(path, octets)
        return
    partial = partial_of(path)
    try:
        with os.fdopen(create_private(partial, shown=path), "wb") as file:
            file.write(octets)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _cannot_write(error, path) from error


def write_together(files: Iterable[tuple[Path, bytes]]) -> tuple[Path, ...]:
    """Write files that belong together, readable by their owner alone, and give their paths.

    None takes its place before all are written: on a full disk what was there stays. Raises HostError where one cannot
    be written, or stands for something that is no regular file.
    """
    written: list[tuple[Path, Path]] = []
    try:
        for path, octets in files:
            if path.exists() and not path.is_file():
                raise HostError("cannot write: it is no regular file", str(path), "name another folder")
            partial = partial_of(path)
            written.append((partial, path))
            write_private(partial, octets)
        for partial, path in written:
            partial.replace(path)
    except OSError as error:
        raise _cannot_write(error, path) from error
    finally:
        for partial, _ in written:
            partial.unlink(missing_ok=True)
    return tuple(path for _, path in written)


def partial_of(path: Path) -> Path:
    """Give the name under which a file is written before it takes its place: beside it, and not to be foreseen."""
    return path.with_name(f".{path.name[:_NAME_KEPT]}.{secrets.token_hex(8)}")


def _write_through(path: Path, octets: bytes) -> None:
    try:
        with path.open("wb", buffering=0) as file:
            file.write(octets)
    except OSError as error:
        raise _cannot_write(error, path) from error
