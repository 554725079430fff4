"""A bridge of a test's own: two hosts and a pretend guest on veth pairs, in a network namespace without a name.

The namespace is the main thread's until the bench ends, then nobody's, and the kernel takes it away with all that is in
it. No guest runs here: `guest` is the far end of the tap, on which a test sends and receives what a guest would.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from tests.lab import kernel_calls as kernel

BRIDGE = "br0"
TAP = "vnet0"
OTHER_TAP = "vnet1"
GUEST_MAC = 0x525400000001
OTHER_GUEST_MAC = 0x525400000002
HOST_MAC = 0x02AA0000000A
ABSENT_MAC = 0x02AA00000050
DEADLINE_S = 10.0
_OWN_NETWORK = "/proc/thread-self/ns/net"


class BridgeBench:
    """`eA` (far end of port `vA`) is a host; `eT` and `eU` are the guests' ends of the taps `vnet0` and `vnet1`."""

    def __init__(self) -> None:
        self._outside = -1

    def __enter__(self) -> Self:
        self._outside = os.open(_OWN_NETWORK, os.O_RDONLY | os.O_CLOEXEC)
        kernel.unshare(kernel.CLONE_NEWNET)
        try:
            for which in ("all", "default"):
                Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")
            run("ip", "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "stp_state", "0")
            run("ip", "link", "set", BRIDGE, "up")
            for port, end in (("vA", "eA"), (TAP, "eT"), (OTHER_TAP, "eU")):
                self.plug(port, end)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        kernel.enter_namespace(f"/proc/self/fd/{self._outside}")
        os.close(self._outside)

    def plug(self, port: str, end: str) -> None:
        """Put a veth pair on the bridge; the bridge forwards to it when this returns."""
        run("ip", "link", "add", end, "type", "veth", "peer", "name", port)
        run("ip", "link", "set", end, "up")
        run("ip", "link", "set", port, "master", BRIDGE, "up")
        wait_until(lambda: " state forwarding " in run("bridge", "link", "show", "dev", port), f"{port} forwarding")

    def send(self, end: str, frames: Iterable[bytes]) -> None:
        """Send frames out of one end, in order."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            sock.bind((end, 0))
            for frame in frames:
                sock.send(frame)


def run(*command: str) -> str:
    """What a command prints; CalledProcessError with its words if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def wait_until(claim: Callable[[], bool], what: str) -> None:
    """Return when the claim holds; AssertionError if it does not before the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not claim():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {DEADLINE_S} s")
        time.sleep(0.002)


def drop_foreign(tap: str, *own: str) -> None:
    """Make rules in ebtables nat as libvirt makes them of a MAC filter: a chain for the tap and one that returns."""
    root, sub = f"libvirt-O-{tap}", f"O-{tap}-mac-nws"
    for chain, policy in ((root, "ACCEPT"), (sub, "RETURN")):
        run("ebtables", "-t", "nat", "-N", chain)
        run("ebtables", "-t", "nat", "-P", chain, policy)
    for mac in own:
        run("ebtables", "-t", "nat", "-A", sub, "-d", mac, "-j", "RETURN")
    run("ebtables", "-t", "nat", "-A", sub, "-d", "Multicast", "-j", "RETURN")
    run("ebtables", "-t", "nat", "-A", sub, "-j", "DROP")
    run("ebtables", "-t", "nat", "-A", root, "-j", sub)
    run("ebtables", "-t", "nat", "-A", "POSTROUTING", "-o", tap, "-j", root)
