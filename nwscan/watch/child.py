"""The waiting process: belongs to nobody, has no terminal, and ends when the change is kept or undone."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

DETACH: Final = "--detach"


def main(arguments: list[str]) -> int:
    """Wait for the change in the journal's file that is the first argument; the second is the state folder."""
    if DETACH in arguments and os.fork():
        os._exit(0)  # the second fork: what goes on leads no session, so that no terminal can become its own
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.umask(0o077)
    path, state = (Path(one) for one in arguments if one != DETACH)
    from nwscan.watch.mark import Mark, log_path

    mark = Mark(log_path(state, path))
    for descriptor in (1, 2):
        os.dup2(mark.descriptor, descriptor)
    return _wait(path, state, mark.tell)


def _wait(path: Path, state: Path, tell: Callable[[str], None]) -> int:
    from analyzer.host.boot_clock import boot_clock
    from generator.deploy.journal import Journal
    from generator.deploy.libvirt_writer import LibvirtWriter
    from nwscan.config import Settings
    from nwscan.watch.guarding import open_guards
    from nwscan.watch.keeper import Keeper

    journal = Journal(path.parent)
    record = journal.record(path)
    settings = Settings(record.plan.uri, state)
    tell(f"process {os.getpid()} waits for the change of {record.plan.name}")
    keeper = Keeper(
        path,
        journal,
        lambda: LibvirtWriter(settings.uri),
        boot_clock(),
        lambda now: open_guards(now, settings, tell),
        tell,
    )
    return 0 if keeper.run() is not None else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
