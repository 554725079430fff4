"""Forget: delete kept frames and reports, all of them, or those of one guest."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from analyzer.errors import HostError, InputError, UsageError
from nwscan import kept
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


class _Guest(msgspec.Struct, frozen=True):
    name: str | None = None
    uuid: str | None = None


class _Owner(msgspec.Struct, frozen=True):
    """As much of a report as says whose it is."""

    guest: _Guest


@dataclass(frozen=True, slots=True)
class KeptWindow:
    """One kept window: its folder, whose it is as far as that can be read, when it began, and its size."""

    folder: Path
    name: str | None
    uuid: str
    mac: str
    at: datetime
    octets: int


def kept_windows(
    guest: str | None = None, *, keep_days: float | None = None, settings: Settings | None = None
) -> tuple[KeptWindow, ...]:
    """Give the kept windows, oldest first: of a guest (its name, UUID or a MAC of its), older than ``keep_days``.

    A window whose report cannot be read is of the guest that the other windows of its UUID are of. Raises UsageError
    where a guest is named of which nothing is kept.
    """
    reports = (settings or Settings()).reports
    windows = [_window(folder) for folder in kept.window_folders(reports)]
    names = {window.uuid: window.name for window in windows if window.name is not None}
    if guest is not None:
        windows = [window for window in windows if guest in _words(window, names)]
        if not windows:
            raise UsageError(f"nothing is kept of {guest}", str(reports), "give its name, its UUID or a MAC of its")
    if keep_days is not None:
        oldest = datetime.now(UTC).timestamp() - keep_days * 86400
        windows = [window for window in windows if window.at.timestamp() < oldest]
    return tuple(sorted(windows, key=lambda window: (window.at, window.folder)))


def forget(windows: Sequence[KeptWindow]) -> None:
    """Delete the windows with all that is kept of them. Raises HostError where one cannot be deleted."""
    for window in windows:
        try:
            shutil.rmtree(window.folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise HostError(f"cannot delete: {error.strerror}", str(window.folder), "check its owner") from error
    cards = {window.folder.parent for window in windows}
    for folder in (*cards, *{card.parent for card in cards}):  # the inner ones first
        with contextlib.suppress(OSError):  # there is more in it
            folder.rmdir()


def _words(window: KeptWindow, names: Mapping[str, str | None]) -> Iterable[str | None]:
    return window.name or names.get(window.uuid), window.uuid, window.mac


def _window(folder: Path) -> KeptWindow:
    try:
        guest = msgspec.json.decode(kept.read_document(folder / kept.REPORT_NAME), type=_Owner).guest
    except (InputError, msgspec.MsgspecError, ValueError, RecursionError):
        guest = _Guest()
    octets = 0
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            octets += path.lstat().st_size
    card = folder.parent
    return KeptWindow(
        folder, guest.name, card.parent.name, card.name[:17].replace("-", ":"), kept.began_at(folder), octets
    )
