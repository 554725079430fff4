"""A question that may never be answered: asked in a thread of its own, so that nobody waits longer than it wants to.

libvirt's calls have no deadline. A libvirtd that hangs (stopped, dead-locked, on a dead disk) keeps who calls it for
good, and deaf to signals, since they are handled between two instructions of Python alone. The thread is a daemon of
Python's: it does not keep its process.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """Can be asked again and again, once at a time. For one thread, beside the ones that it makes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked_s: float | None = None
        self._is_answered = threading.Event()
        self._answer: list[Answer] = []
        self._error: BaseException | None = None

    @property
    def out_s(self) -> float | None:
        """Give for how many seconds the answer has been out; None where nothing was asked, or all is answered."""
        if self._asked_s is None or self._is_answered.is_set():
            return None
        return time.monotonic() - self._asked_s

    @property
    def is_asked(self) -> bool:
        """Say whether there is an answer that was not taken, or one to come."""
        return self._asked_s is not None

    def ask(self, ask: Callable[[], Answer]) -> None:
        """Ask. The answer to the last one has to be taken first."""
        if self._asked_s is not None:
            raise RuntimeError(self._name)
        self._asked_s = time.monotonic()
        self._is_answered.clear()
        threading.Thread(target=self._run, args=(ask,), name=self._name, daemon=True).start()

    def is_answered(self, wait_s: float = 0.0) -> bool:
        """Say whether an answer can be taken, and wait so long for it at the most."""
        return self._asked_s is not None and self._is_answered.wait(wait_s)

    def take(self) -> Answer:
        """Give the answer that has come. Raises what was raised instead of one."""
        error, self._error, self._asked_s = self._error, None, None
        if error is not None:
            raise error
        return self._answer.pop()

    def _run(self, ask: Callable[[], Answer]) -> None:
        try:
            self._answer.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever takes the answer
            self._error = error
        self._is_answered.set()


def answer_within(wait_s: float, name: str, ask: Callable[[], Answer]) -> Answer:
    """Ask and give the answer. Raises what ``ask`` raises, TimeoutError where nothing comes in that time.

    Signals are handled meanwhile; what their handlers raise ends the wait.
    """
    question = Question[Answer](name)
    question.ask(ask)
    if not question.is_answered(wait_s):
        raise TimeoutError
    return question.take()
