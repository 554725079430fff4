"""Anonymous network namespaces with veth pairs in them: they are gone when the test is, even when it is killed."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x4000_0000
_LIBC = ctypes.CDLL(None, use_errno=True)
_THREAD_NAMESPACE = "/proc/thread-self/ns/net"


def need_root() -> None:
    """Skip the test without root, but fail it in CI."""
    if os.geteuid() != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("needs root to make network namespaces")
        pytest.skip("needs root to make network namespaces")


@contextmanager
def new_namespace() -> Iterator[None]:
    """Run this thread, and the programs that it starts, in a network namespace of their own."""
    need_root()
    assert threading.current_thread() is threading.main_thread()
    with Path(_THREAD_NAMESPACE).open("rb") as home:
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            yield
        finally:
            if _LIBC.setns(home.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def veth_pair(tap: str = "tap0", guest: str = "guest0") -> Iterator[None]:
    """Have two connected Ethernet interfaces, up and silent: what is sent on ``guest`` comes in on ``tap``."""
    with new_namespace():
        ip("link", "add", tap, "type", "veth", "peer", "name", guest)
        for name in (tap, guest):
            ip("link", "set", name, "addrgenmode", "none", "arp", "off", "up")
        yield


def ip(*arguments: str) -> str:
    """Run ip(8) in the namespace of this thread and give what it prints."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def send(interface: str, frames: list[bytes]) -> None:
    """Put frames on an interface, each once and in order."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            assert sock.send(frame) == len(frame)


def frame(sequence: int, octets: int = 64, ethertype: int = 0x88B5, dst: str = "525400000001") -> bytes:
    """Give a frame of ``octets`` octets with a marker and its sequence number; 0x88b5 is for local experiments."""
    head = bytes.fromhex(dst + "525400000002") + ethertype.to_bytes(2, "big")
    return (head + b"nwscan" + sequence.to_bytes(4, "big")).ljust(octets, b"\xa5")
