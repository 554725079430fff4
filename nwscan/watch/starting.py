"""Starting the process that waits: by systemd where it runs the host, else as a daemon of our own.

Either way it is nobody's child: a closed terminal, Ctrl-C or SIGKILL for the one that started it do not reach it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from nwscan.watch import mark
from nwscan.watch.child import DETACH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from generator.deploy.journal_record import JournalRecord
    from nwscan.config import Settings

SYSTEMD: Final = Path("/run/systemd/system")
"""sd_booted(3): there where systemd is the init of this host."""

_START_S: Final = 30.0
_SYSTEMD_S: Final = 20.0
"""How long systemd may take to answer: nobody else can change guests meanwhile."""

_LOOK_EVERY_S: Final = 0.02
_HINT: Final = "see the log in the state folder's watch/; --confirm-within 0 applies without a deadline"


def start(record: JournalRecord, settings: Settings, systemd: Path = SYSTEMD) -> None:
    """Start the process that waits for a change and return once it does. Raises HostError where it does not."""
    state, path = settings.state.absolute(), record.path.absolute()
    mark.expire(state)
    # -P: the folder that nwscan is called in must not lend the process a module.
    command = [sys.executable, "-P", "-m", "nwscan.watch.child", str(path), str(state)]
    if not (systemd.is_dir() and _by_systemd(command, path.stem)):
        _by_ourselves(command)
    end_s = time.monotonic() + _START_S
    while not mark.is_waited_for(state, path):
        if time.monotonic() > end_s:
            where = str(mark.log_path(state, path))
            raise HostError("the process that would wait for a confirmation did not start", where, _HINT)
        time.sleep(_LOOK_EVERY_S)


def _by_systemd(command: Sequence[str], name: str) -> bool:
    """Have systemd run it as a service of its own; give False where it does not, or does not answer.

    One that it starts later all the same waits until the other one has ended, and finds nothing to do.
    """
    program = shutil.which("systemd-run")
    if program is None or os.geteuid() != 0:
        return False
    settings = ["--quiet", "--collect", f"--unit=nwscan-watch-{name}", "--description=nwscan waits for a confirmation"]
    try:
        done = subprocess.run(  # noqa: S603 our own interpreter and module
            [program, *settings, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SYSTEMD_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _by_ourselves(command: Sequence[str]) -> None:
    """Start it in a session of its own; it forks once more and its parent ends."""
    try:
        subprocess.run(  # noqa: S603 our own interpreter and module
            [*command, DETACH],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise HostError(f"cannot start the process that waits: {error.strerror}", sys.executable, _HINT) from error
