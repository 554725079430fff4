"""The socket between the parent and the worker."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from nwscan.worker.channel import MESSAGE_LIMIT, MOST_DESCRIPTORS, Channel
from nwscan.worker.messages import Analyze, Candidate, Candidates, Failed, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

Ends = tuple[Channel[Request], Channel[Reply], socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A worker's end, a parent's end, and the parent's bare socket."""
    one, other = socket.socketpair()
    yield Channel(one, Request, most_descriptors=MOST_DESCRIPTORS), Channel(other, Reply), other
    one.close()
    other.close()


def test_messages_arrive_as_they_were_sent(ends: Ends) -> None:
    worker, parent, _ = ends
    parent.send(Analyze(("a.pcap", "b.pcap")))
    assert worker.receive() == (Analyze(("a.pcap", "b.pcap")), [])
    reply = Candidates((Candidate(0x525400000001, 3, 0),))
    worker.send(reply)
    assert parent.receive() == (reply, [])


def test_more_descriptors_than_the_kernel_sends_at_once(ends: Ends) -> None:
    worker, parent, _ = ends
    reader, writer = os.pipe()
    sender = threading.Thread(target=parent.send, args=(Analyze(("x",)), [writer] * 450))
    sender.start()
    received = worker.receive()
    sender.join()
    assert received is not None
    assert len(received[1]) == 450
    os.write(received[1][449], b"x")
    assert os.read(reader, 1) == b"x"
    for descriptor in (*received[1], reader, writer):
        os.close(descriptor)


def test_a_large_message_arrives_whole(ends: Ends) -> None:
    worker, parent, _ = ends
    reply = Failed("x" * 3_000_000, "", "", 4)
    sender = threading.Thread(target=worker.send, args=(reply,))
    sender.start()
    assert parent.receive() == (reply, [])
    sender.join()


def test_a_closed_end_is_the_end(ends: Ends) -> None:
    worker, _, bare = ends
    bare.close()
    assert worker.receive() is None


@pytest.mark.parametrize("octets", [b"\xff" * 32, struct.pack("!II", 3, 0) + b"\xc1\xc1\xc1"])
def test_what_is_no_message_is_refused(ends: Ends, octets: bytes) -> None:
    worker, _, bare = ends
    bare.sendall(octets)
    with pytest.raises(HostError):
        worker.receive()


def test_a_message_above_the_limit_is_refused_unread(ends: Ends) -> None:
    worker, _, bare = ends
    bare.sendall(struct.pack("!II", MESSAGE_LIMIT + 1, 0))
    with pytest.raises(HostError, match="above the limit"):
        worker.receive()


def test_a_parent_takes_no_descriptor_of_its_worker(ends: Ends) -> None:
    worker, parent, _ = ends
    reader, writer = os.pipe()
    before = len(list(Path("/proc/self/fd").iterdir()))
    worker.send(Failed("x", "", "", 4), [writer])
    with pytest.raises(HostError, match="descriptors are above the limit"):
        parent.receive()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    os.close(reader)
    os.close(writer)
