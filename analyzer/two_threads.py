"""Two threads that carry batches through a measurement, so that two cores are used for one source.

Each thread takes a batch from the source, decodes and classifies it, looks at it a first time, and counts it. Reading
and counting go one batch after the other, in the order of the source: so the report is the one that a single thread
makes. What is done between, the most, needs no order. A batch stays with one core and its cache. The hot loops and
system calls let go of the interpreter's lock; the little that is left of Python takes turns.

What must not live here: what is done with a batch (pipeline.py), or how a thread is confined (nwscan/worker).
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from analyzer.capture.source import FrameSource
    from analyzer.model.frames import RawFrames


Looked = TypeVar("Looked")


class Work(Protocol[Looked]):
    """A measurement, as far as the threads know it."""

    frames: int

    def look(self, raw: RawFrames, /) -> Looked:
        """Do with a batch what needs no order; both threads may be at it."""

    def count(self, looked: Looked, /) -> None:
        """Count a batch; one after the other, in order."""


class Helper:
    """A thread that does what it is given, one after the other; it ends with the process."""

    def __init__(self) -> None:
        self._given: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        """Start the thread, with the privileges that the caller has now."""
        self._thread.start()

    def do(self, work: Callable[[], None]) -> None:
        """Have ``work`` done, which must raise nothing; does not wait for it."""
        self._given.put(work)

    def _serve(self) -> None:
        while True:
            self._given.get()()


class TwoThreads(Generic[Looked]):
    """A source and a measurement, shared by the thread that calls ``drain`` and a helper."""

    def __init__(self, source: FrameSource, work: Work[Looked]) -> None:
        self._source = source
        self._batches = source.batches()
        self._work = work
        self._reading = threading.Lock()
        self._counting = threading.Condition()
        self._taken = 0
        self._counted = 0
        self._is_over = False
        self._failure: BaseException | None = None

    def drain(self, helper: Helper) -> Iterator[int]:
        """Measure to the end; yields the frames counted so far after each batch of this thread.

        Whoever stops earlier has every batch counted that was read. Raises what either thread met.
        """
        is_done = threading.Event()
        helper.do(lambda: self._help(is_done))
        try:
            while self._carry():
                yield self._work.frames
        except GeneratorExit:
            raise  # nothing failed: what the helper has read is counted before we go
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            with self._reading:
                self._is_over = True
            is_done.wait()
        if self._failure is not None:
            raise self._failure

    def _help(self, is_done: threading.Event) -> None:
        try:
            while self._carry():
                pass
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked for help
            self._fail(error)
        finally:
            is_done.set()

    def _carry(self) -> bool:
        """Carry one batch from the source into the measurement; False where there is none left."""
        self._source.fetch_ahead()
        with self._reading:
            raw = None if self._is_over else next(self._batches, None)
            if raw is None:
                self._is_over = True
                return False
            turn = self._taken
            self._taken += 1
        looked = self._work.look(raw)
        with self._counting:
            self._counting.wait_for(lambda: self._counted == turn or self._failure is not None)
            if self._failure is not None:
                return False
        self._work.count(looked)
        with self._counting:
            self._counted += 1
            self._counting.notify()
        return True

    def _fail(self, error: BaseException) -> None:
        """Let neither thread go on; the first failure is the one that is told."""
        with self._counting:
            self._failure = self._failure or error
            self._counting.notify()
        with self._reading:
            self._is_over = True
