"""The measuring worker: the only process of nwscan that reads a frame.

It is handed open descriptors and an identity, and answers with reports and counts. It opens nothing by path, talks to
nobody else, and ends when its parent's socket closes. Before it reads the first frame it gives up every privilege
(nwscan/worker/confine.py).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from analyzer.classify.brief import load_names
from analyzer.classify.description import load_scapy
from analyzer.errors import NwscanError
from analyzer.two_threads import Helper
from nwscan.worker import FOR_FILES
from nwscan.worker.channel import MOST_DESCRIPTORS, Channel
from nwscan.worker.confine import confine
from nwscan.worker.messages import (
    Analyze,
    Capture,
    CountVital,
    Describe,
    Described,
    Export,
    Failed,
    File,
    NewCard,
    NewTap,
    Predict,
    Progress,
    Reply,
    Request,
    Stop,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwscan.worker.messages import NeedFile, NeedText

_TELL_EVERY_S: Final = 0.2

Answer = TypeVar("Answer", File, Described)


class Link:
    """The worker's end of the socket: tells progress now and then, and knows when to stop."""

    def __init__(self, channel: Channel[Request]) -> None:
        self._channel = channel
        self._told_s = 0.0
        self._backlog: list[tuple[Request, list[int]]] = []

    def fileno(self) -> int:
        """Give the descriptor to poll for a Stop."""
        return self._channel.fileno()

    def tell(self, reply: Reply) -> None:
        """Send one reply."""
        self._channel.send(reply)

    def progress(self, make: Callable[[], Progress]) -> bool:
        """Tell the progress if it is time to; give True where the parent wants the end (or is gone)."""
        return self.tell_progress(make) and self.stop_wanted()

    def tell_progress(self, make: Callable[[], Progress]) -> bool:
        """Tell the progress and give True if it is time to."""
        now_s = time.monotonic()
        if now_s - self._told_s < _TELL_EVERY_S:
            return False
        self._told_s = now_s
        self.tell(make())
        return True

    def stop_wanted(self) -> bool:
        """Say whether a Stop has come, without waiting for one. A parent that is gone raises ConnectionError."""
        return any(isinstance(request, Stop) for request, _ in self.incoming())

    def incoming(self) -> list[tuple[Request, list[int]]]:
        """Give what has come, with its descriptors, without waiting. A parent that is gone raises ConnectionError."""
        came, self._backlog = self._backlog, []
        while select.select([self._channel], [], [], 0)[0]:
            came.append(self._receive())
        return came

    def ask(self, question: NeedFile | NeedText, wanted: type[Answer]) -> tuple[Answer, list[int]]:
        """Ask the parent and wait for the answer; what else comes meanwhile is kept for ``incoming``."""
        self.tell(question)
        while True:
            answer, descriptors = self._receive()
            if isinstance(answer, wanted):
                return answer, descriptors
            self._backlog.append((answer, descriptors))

    def _receive(self) -> tuple[Request, list[int]]:
        received = self._channel.receive()
        if received is None:
            raise ConnectionResetError
        return received


def _prepare(request: Request, descriptors: list[int], link: Link, helper: Helper | None) -> Callable[[], Reply]:
    """Give the work that is asked for, with all imported that it needs: once confined, nothing can be."""
    load_names()
    if not isinstance(request, Analyze):
        import hashlib

        import numpy.ma  # noqa: F401 - np.isin and np.unique import it late; measuring files asks neither

        hashlib.sha256(b"").hexdigest()  # OpenSSL reads its configuration at the first digest
    if not isinstance(request, Analyze | Capture):
        load_scapy()
    match request:
        case Capture():
            from nwscan.worker.capturing import capture

            return partial(capture, request, descriptors, link)
        case Analyze():
            from nwscan.worker.reading import analyze

            return partial(analyze, request, descriptors, link, helper)
        case Describe():
            from nwscan.worker.describing import describe

            return partial(describe, request, descriptors, link)
        case Predict():
            from nwscan.worker.predicting import predict

            return partial(predict, request, descriptors, link)
        case Export():
            from nwscan.worker.exporting import export

            return partial(export, request, descriptors, link)
        case CountVital():
            from nwscan.worker.vital import count_vital

            return partial(count_vital, request, descriptors, link)
        case Stop() | NewTap() | NewCard() | File() | Described():  # nothing is asked that these could belong to
            raise ConnectionResetError


def main() -> int:
    """Serve one request on the socket whose descriptor is the first argument behind this module's name."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel: Channel[Request] = Channel(
        socket.socket(fileno=int(sys.argv[2])), Request, most_descriptors=MOST_DESCRIPTORS
    )
    gc.disable()  # while modules are imported there is nothing to collect
    if FOR_FILES in sys.argv[3:]:
        import nwscan.worker.reading  # noqa: F401 - before it is told what to do
    try:
        received = channel.receive()
        if received is None:
            return 0
        link = Link(channel)
        try:
            shared = isinstance(received[0], Analyze) and received[0].threads > 1
            helper = Helper() if shared and len(os.sched_getaffinity(0)) > 1 else None
            work = _prepare(*received, link, helper)
            gc.freeze()
            gc.enable()
            confine(helper)
            reply = work()
        except NwscanError as error:
            reply = Failed(error.what, error.where, error.hint, error.exit_code)
        channel.send(reply)
    except ConnectionError:
        return 1  # the parent is gone: nobody is left to tell
    return 0


def run() -> NoReturn:
    """Be the worker's process, from ``python -c``."""
    ended = main()
    sys.stderr.flush()
    os._exit(ended)  # what Python would tidy up goes with the process; the parent need not wait for it
