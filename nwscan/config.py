"""Defaults, environment, state folder: the one place that reads the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DURATION_S: Final = 60.0
DEFAULT_SNAPLEN: Final = 128
KEEP_OCTETS: Final = 256 * 1024 * 1024
KEEP_DAYS: Final = 30
FRESH_S: Final = 15 * 60.0
"""A kept report younger than this is taken as the state of a guest before a change."""

_SYSTEM_URI: Final = "qemu:///system"


def _state_folder(environ: Mapping[str, str]) -> Path:
    if named := environ.get("NWSCAN_STATE"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/nwscan")
    base = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME", "/nonexistent")) / ".local/state"
    return Path(base) / "nwscan"


def _uri(environ: Mapping[str, str]) -> str:
    return environ.get("NWSCAN_CONNECT") or environ.get("LIBVIRT_DEFAULT_URI") or _SYSTEM_URI


@dataclass(frozen=True, slots=True)
class Settings:
    """Where libvirt is and where state is kept."""

    uri: str = field(default_factory=lambda: _uri(os.environ))
    state: Path = field(default_factory=lambda: _state_folder(os.environ))

    @property
    def virsh_uri(self) -> str | None:
        """What virsh has to be told with ``-c`` to reach the same libvirt; None where it goes there by itself.

        Without a word virsh takes VIRSH_DEFAULT_CONNECT_URI, LIBVIRT_DEFAULT_URI, then the system's libvirt for root.
        """
        told = os.environ.get("VIRSH_DEFAULT_CONNECT_URI") or os.environ.get("LIBVIRT_DEFAULT_URI")
        by_itself = told or (_SYSTEM_URI if os.geteuid() == 0 else None)
        return None if self.uri == by_itself else self.uri

    @property
    def reports(self) -> Path:
        """The folder of kept reports and frames."""
        return self.state / "reports"

    @property
    def journal(self) -> Path:
        """The folder of the journal."""
        return self.state / "journal"


def settings_for(connect: str | None = None, state: str | None = None) -> Settings:
    """Give the settings: what was asked for first, then the environment, then the defaults."""
    known = Settings()
    return Settings(connect or known.uri, Path(state) if state else known.state)


def default_duration_s() -> float:
    """Give the length of a capture window: NWSCAN_DURATION in seconds, else 60."""
    text = os.environ.get("NWSCAN_DURATION")
    return DEFAULT_DURATION_S if text is None else parse_duration_s(text, "NWSCAN_DURATION")


def parse_duration_s(text: str, where: str) -> float:
    """Give the seconds that ``text`` names: ``90``, ``1.5``, ``120s``, ``2m``, ``1h``; UsageError for anything else."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    factor = units.get(text[-1:], 1.0)
    number = text[:-1] if text[-1:] in units else text
    try:
        seconds = float(number) * factor
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 7 * 86400:
        raise UsageError(f"not a duration: {text!r}", where, "give seconds up to a week: 60, 1.5, 90s, 2m or 1h")
    return seconds


def private_folder(path: Path) -> Path:
    """Make the folder, readable by its owner alone, and give it. Raises HostError where that cannot be."""
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
        for folder in reversed(missing):  # mkdir(parents=True) would make the upper ones readable to all
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot make the folder: {error.strerror}", str(path), "name another one with --state or NWSCAN_STATE"
        ) from error
    return path


def is_readable_folder(path: Path) -> bool:
    """Say whether the state folder has such a folder. Raises HostError where we may not see."""
    try:
        with os.scandir(path):
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        hint = "see whose it is, or name another folder with --state or NWSCAN_STATE"
        raise HostError(f"cannot read the state folder: {error.strerror}", str(path), hint) from error
