"""Doing something in a process that is killed at a chosen point of it: before or after a call, or amid a write."""

from __future__ import annotations

import os
import signal
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from generator.deploy import journal as journal_module

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Killer:
    """Ends this process with SIGKILL at the ``target``-th point that it passes (from 0); None: never."""

    target: int | None = None
    passed: int = 0

    def point(self, act: Callable[[], object] | None = None) -> None:
        """Pass one point; ``act`` is done first where this is the one to die at."""
        if self.passed == self.target:
            if act is not None:
                act()
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1


def killed_at(target: int, act: Callable[[Killer], object]) -> bool:
    """Run ``act`` in a process that kills itself at the ``target``-th point; says whether it got that far.

    Each write of the journal is three points: before it, amid it, after it; further ones are those that ``act`` makes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on fork and threads: the child calls no other
        child = os.fork()
    if child == 0:
        try:
            killer = Killer(target)
            _die_in_writes(killer)
            act(killer)
        except BaseException:  # noqa: BLE001 - nothing may come back into pytest from here
            os._exit(70)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "it failed by itself"
    return False


def _die_in_writes(killer: Killer) -> None:
    write = journal_module._write_all

    def dying(descriptor: int, octets: bytes) -> None:
        killer.point()
        killer.point(lambda: os.write(descriptor, octets[: len(octets) // 2]))
        write(descriptor, octets)
        killer.point()

    journal_module._write_all = dying
