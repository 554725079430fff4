"""A worker's process that is begun is gone in the end, whatever else fails."""

from __future__ import annotations

import os
import signal

import pytest

from nwscan.worker import starting


def is_gone(begun: starting.Begun) -> bool:
    """Say whether the process was waited for: then nobody of its number is a child of ours."""
    with pytest.raises(ChildProcessError):
        os.waitpid(begun.process.pid, os.WNOHANG)
    return begun.process.returncode is not None and begun.complaints.closed


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers alone


def test_it_ends_when_nothing_more_is_asked_and_leaves_no_descriptor() -> None:
    before = descriptors()
    begun = starting.begin()
    starting.end(begun)
    assert begun.process.returncode == 0
    assert is_gone(begun)
    assert descriptors() == before


def test_one_that_is_begun_ahead_and_not_taken_is_ended() -> None:
    before = descriptors()
    with starting.worker_ahead(), starting.worker_ahead():
        assert descriptors() > before
    assert descriptors() == before


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_END_S", 0.1)
    begun = starting.begin()
    begun.process.send_signal(signal.SIGSTOP)
    starting.end(begun)
    assert begun.process.returncode == -signal.SIGKILL
    assert is_gone(begun)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_where_the_kernel_tells_of_no_end_it_is_waited_for(is_stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - pytest gives it
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    begun = starting.begin()
    if is_stopped:
        monkeypatch.setattr(starting, "_END_S", 0.1)
        begun.process.send_signal(signal.SIGSTOP)
    starting.end(begun)
    assert begun.process.returncode == (-signal.SIGKILL if is_stopped else 0)
    assert is_gone(begun)


def test_who_does_not_wait_for_it_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C."""

    def interrupt(_process: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(starting, "_ends", interrupt)
    begun = starting.begin()
    begun.process.send_signal(signal.SIGSTOP)
    with pytest.raises(KeyboardInterrupt):
        starting.end(begun)
    assert is_gone(begun)
