"""The server that scrapers ask, in bounds: whoever reaches its port must not fill this process with threads.

Knows no metric: it is given the application that answers.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from analyzer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS_MOST: Final = 32
"""Connections at a time; more are closed at once."""
ANSWER_S: Final = 10.0
"""How long a connection may last, however slowly somebody asks or reads."""


class _Handler(WSGIRequestHandler):
    """Answers, and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Leave standard error to what matters."""


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, in bounds."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:  # noqa: ANN401 - socketserver's signature
        self._free = threading.BoundedSemaphore(CONNECTIONS_MOST)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Answer in a thread of its own, or not at all where too many are at it."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        """Answer, for ANSWER_S at the most."""
        end = threading.Timer(ANSWER_S, _shut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, *_: object) -> None:
        """Say nothing where somebody hangs up, or was hung up on."""


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def serve(application: Callable[..., Any], address: str, port: int) -> Callable[[], None]:
    """Answer in threads of their own; gives what ends that. Raises HostError where it cannot listen there."""
    try:
        family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        kind = _ServerOfIPv6 if family == socket.AF_INET6 else _Server
        server: WSGIServer = make_server(address, port, application, kind, _Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise HostError(f"cannot listen: {reason}", f"{address}:{port}", "name another one with --listen") from error
    thread = threading.Thread(target=server.serve_forever, name="scrapes", daemon=True)
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
