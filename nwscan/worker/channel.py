"""A socket that carries typed messages and descriptors between the parent and the measuring worker.

Framing: four octets of length, four of the number of descriptors that follow in batches, then the message in msgpack.
Both ends bound what they accept.
"""

from __future__ import annotations

import array
import socket
import struct
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from analyzer.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE_LIMIT: Final = 256 * 1024 * 1024
"""Octets of one message at the most; a report with every table full is below 4 MiB."""

MOST_DESCRIPTORS: Final = 1 << 16
"""Descriptors of one request at the most: three a card, one a file."""

_HEADER: Final = struct.Struct("!II")
_DESCRIPTORS_AT_ONCE: Final = 200
"""SCM_MAX_FD of Linux is 253."""

Message = TypeVar("Message")


class Channel(Generic[Message]):
    """One end of the socket; ``incoming`` is the union of messages that this end accepts.

    ``most_descriptors`` may come with a message: none to the parent, whose worker may be somebody else's by now.
    """

    def __init__(self, sock: socket.socket, incoming: object, *, most_descriptors: int = 0) -> None:
        self._sock = sock
        self._most_descriptors = most_descriptors
        self._decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()

    def fileno(self) -> int:
        """Give the descriptor to poll."""
        return self._sock.fileno()

    def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send one message and copies of ``descriptors``. Raises OSError where the other end is gone."""
        body = self._encoder.encode(message)
        self._sock.sendall(_HEADER.pack(len(body), len(descriptors)))
        for start in range(0, len(descriptors), _DESCRIPTORS_AT_ONCE):
            some = array.array("i", descriptors[start : start + _DESCRIPTORS_AT_ONCE])
            self._sock.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, some)])
        self._sock.sendall(body)

    def receive(self) -> tuple[Message, list[int]] | None:
        """Give the next message with its descriptors, None where the other end has closed.

        Raises HostError where what came is no message of the kind agreed.
        """
        header = self._exactly(_HEADER.size)
        if not header:
            return None
        size, expected = _HEADER.unpack(header)
        if size > MESSAGE_LIMIT:
            raise HostError(f"a message of {size} octets is above the limit", "the measuring worker's socket")
        if expected > self._most_descriptors:
            raise HostError(f"{expected} descriptors are above the limit", "the measuring worker's socket")
        descriptors: list[int] = []
        while len(descriptors) < expected:
            _, some, _, _ = socket.recv_fds(self._sock, 1, _DESCRIPTORS_AT_ONCE)
            if not some:
                return None
            descriptors += some
        body = self._exactly(size)
        try:
            return self._decoder.decode(body), descriptors
        except msgspec.MsgspecError as error:
            raise HostError(f"not a message: {error}", "the measuring worker's socket") from error

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._sock.recv(min(size - len(parts), 1 << 20))
            if not part:
                return b""
            parts += part
        return bytes(parts)
