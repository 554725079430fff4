"""The parent's end of the measuring worker: start it, hand it descriptors, follow it, end it.

The parent opens and writes; it never reads a frame. Everything that decodes goes through ``run``.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError, error_for
from nwscan.worker import starting
from nwscan.worker.channel import Channel
from nwscan.worker.messages import (
    Analyze,
    Describe,
    Described,
    Ended,
    Failed,
    NeedFile,
    NeedText,
    Progress,
    Reply,
    Request,
    Started,
    Stop,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType
    from typing import IO


_TEXTS_MOST: Final = 16
"""How often a worker may have frames described; each time is another process. One that measures files asks once a file,
and may do so as often beyond that."""


class Worker:
    """One measuring worker: a child process that has the descriptors it was sent and nothing else of ours."""

    def __init__(self, channel: Channel[Reply], process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self.channel = channel
        self.process = process
        self._complaints = complaints
        self._is_sending = False
        self._is_stop_due = False

    def ask(self, request: Request, descriptors: Sequence[int]) -> None:
        """Hand over the request. Raises HostError where the worker died before it took it."""
        try:
            self.channel.send(request, descriptors)
        except ConnectionError as error:
            raise self._death() from error

    def send(self, request: Request, descriptors: Sequence[int] = ()) -> None:
        """Send what belongs to the request; a ``stop`` meanwhile, in a signal handler, goes behind it.

        A worker that is gone, or done, does not matter here: ``next_reply`` tells.
        """
        self._is_sending = True
        try:
            self.channel.send(request, descriptors)
        except ConnectionError:
            return
        finally:
            self._is_sending = False
        if self._is_stop_due:
            self._is_stop_due = False
            self.stop()

    def next_reply(self) -> Reply:
        """Wait for the next reply. Raises the error that the worker met, or HostError where the worker died."""
        try:
            received = self.channel.receive()
        except ConnectionError:
            received = None
        if received is None:
            raise self._death()
        reply, _ = received
        if isinstance(reply, Failed):
            raise error_for(reply.exit_code, reply.what, reply.where, reply.hint)
        return reply

    def stop(self) -> None:
        """Ask for the end of the measurement; the result follows as usual."""
        if self._is_sending:
            self._is_stop_due = True
            return
        try:
            self.channel.send(Stop())
        except OSError:
            return

    def _death(self) -> HostError:
        status = self.process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read(65536).decode(errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return HostError(
            f"the measuring worker ended unexpectedly (status {status}){said}",
            f"process {self.process.pid}",
            "try again; if it happens again, report it with the capture or the kind of traffic",
        )


@contextmanager
def measuring_worker() -> Iterator[Worker]:
    """Have a worker, and see to it that it is gone in the end."""
    begun = starting.take()
    try:
        channel: Channel[Reply] = Channel(begun.socket, Reply)
        yield Worker(channel, begun.process, begun.complaints)
    finally:
        starting.end(begun)


@contextmanager
def _interrupt_means_stop(worker: Worker) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a normal end; the next one acts as usual.

    The handler does not raise, so that no message is lost half read (PEP 475 resumes the read).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        restore()
        worker.stop()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def run(
    request: Request,
    descriptors: Sequence[int],
    *,
    on_handed_over: Callable[[], object] = lambda: None,
    on_started: Callable[[], None] = lambda: None,
    on_ended: Callable[[], None] = lambda: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    attend: Callable[[Worker, Progress | NeedFile], None] = lambda _worker, _reply: None,
    stop_on_interrupt: bool = False,
) -> Reply:
    """Have a worker carry out ``request`` and give its result: the reply that is not on the way to it.

    With ``stop_on_interrupt`` the first Ctrl-C ends the measurement normally; a second one gives up. Raises what the
    worker raised, HostError where it died. At ``on_handed_over`` the caller closes its copies of ``descriptors``, so
    that the worker alone has them. ``attend`` answers what the worker needs, and sends it what is new.
    """
    texts = 0
    most = _TEXTS_MOST + (len(request.names) if isinstance(request, Analyze) else 0)
    with measuring_worker() as worker:
        worker.ask(request, descriptors)
        on_handed_over()
        with _interrupt_means_stop(worker) if stop_on_interrupt else nullcontext():
            while True:
                reply = worker.next_reply()
                match reply:
                    case Started():
                        on_started()
                    case Ended():
                        on_ended()
                    case Progress():
                        on_progress(reply)
                        attend(worker, reply)
                    case NeedFile():
                        attend(worker, reply)
                    case NeedText():
                        texts += 1
                        if isinstance(request, Describe) or texts > most:
                            raise _lied(worker)
                        worker.send(_described(reply))
                    case _:
                        return reply


def _lied(worker: Worker) -> HostError:
    """Give the error for a worker that wants more of others than any does: a frame may have taken it over."""
    return HostError(
        "the measuring worker asked for more descriptions of frames than there can be",
        f"process {worker.process.pid}",
        "do not trust the capture, or the guest that sent such frames, and report it",
    )


def _described(question: NeedText) -> Described:
    """Have another worker describe frames."""
    described = run(Describe(question.heads), ())
    if not isinstance(described, Described):
        raise TypeError(described)
    return described
