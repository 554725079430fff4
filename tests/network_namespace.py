"""Anonymous network namespaces with veth pairs in them: they are gone when the test is, even when it is killed."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@contextmanager
def receiving_guest(name: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Move ``guest0`` into a named namespace with a TCP/IP of its own, within ``veth_pair``.

    Gives its MAC, and what sends it 3 MB over TCP and waits until it has them: by super-frames.
    """
    listen = "import socket; s = socket.create_server(('192.0.2.2', 9)); print(flush=True); c, _ = s.accept()"
    receive = f"{listen}\nwhile c.recv(1 << 20): pass"
    client = "import socket; s = socket.create_connection(('192.0.2.2', 9)); s.sendall(bytes(3000000))"

    def transfer() -> None:
        server = ["ip", "netns", "exec", name, sys.executable, "-c", receive]
        with subprocess.Popen(server, stdout=subprocess.PIPE) as listener:
            assert listener.stdout is not None
            listener.stdout.readline()
            subprocess.run([sys.executable, "-c", client], check=True)
            assert listener.wait(20) == 0

    ip("netns", "add", name)
    try:
        ip("link", "set", "guest0", "netns", name)
        ip("-n", name, "addr", "add", "192.0.2.2/24", "dev", "guest0")
        ip("-n", name, "link", "set", "guest0", "addrgenmode", "none")  # else it looks for routers meanwhile
        ip("-n", name, "link", "set", "guest0", "arp", "on", "up")
        ip("link", "set", "tap0", "arp", "on")
        ip("addr", "add", "192.0.2.1/24", "dev", "tap0")
        yield ip("-n", name, "-br", "link", "show", "guest0").split()[2], transfer
    finally:
        ip("netns", "del", name)


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
