"""A guest whose root is hostile: it puts any frame on its card, through a sender of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import kernel_calls
from tests.lab.layout import GUESTS, NETWORK_NAMESPACES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.lab.attack_frames import Record
    from tests.lab.guest import Guest
    from tests.lab.lab import Lab

SOURCE = Path(__file__).with_name("guest_sender.c")
_FLAGS = ("-O1", "-static", "-nostdlib", "-fno-stack-protector", "-fno-builtin", "-Wall", "-Wextra", "-Werror", "-s")
FETCH_TIMEOUT_S = 10.0
PLACE = "/attack"
"""The folder in the guest that holds the sender and what it sends."""
OTHER = {"vm1": "vm2", "vm2": "vm1"}


@cache
def sender_program() -> bytes:
    """The sender as a program that needs nothing of the guest: x86-64, static, without a library."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "sender")
        subprocess.run(["gcc", *_FLAGS, "-o", program, SOURCE], check=True)
        return program.read_bytes()


class HostileGuest:
    """One of the lab's guests, against the other one."""

    def __init__(self, lab: Lab, name: str) -> None:
        self._lab = lab
        self.guest: Guest = lab.guest(name)
        self.me, self.it = GUESTS[name], GUESTS[OTHER[name]]
        self.guest.shell(f"mkdir -p {PLACE}")
        self._put(f"{PLACE}/sender", sender_program())
        self.guest.shell(f"chmod +x {PLACE}/sender")

    def load(self, records: Iterable[Record], name: str = "frames") -> int:
        """Put frames into the guest under a name; gives how many will be sent."""
        chosen = list(records)
        self._put(f"{PLACE}/{name}", b"".join(record.encode() for record in chosen))
        return sum(record.repeat for record in chosen)

    def send(self, name: str = "frames", timeout_s: float = 120.0) -> tuple[int, int]:
        """Send them; gives how many frames the guest's kernel took, and how many it refused."""
        taken, refused = self.guest.shell(f"{PLACE}/sender eth0 {PLACE}/{name}", timeout_s).split()
        return int(taken), int(refused)

    def begin(self, name: str = "frames") -> None:
        """Send them again and again, until ``end``."""
        once = f"{PLACE}/sender eth0 {PLACE}/{name}"
        self.guest.shell(f"(while :; do {once}; done > /dev/null 2>&1 & echo $! > {PLACE}/loop)")

    def end(self) -> None:
        """Stop what was begun."""
        self.guest.shell(f"kill $(cat {PLACE}/loop); killall sender; rm -f {PLACE}/loop; true")

    def clean(self) -> None:
        """Leave the guest as it was."""
        self.end()
        self.guest.shell(f"rm -rf {PLACE}; ip neigh flush dev eth0; true")

    def _put(self, path: str, octets: bytes) -> None:
        """Have the guest fetch a file from hosta: its serial port takes 12 KB a second."""
        host = self._lab.host("hosta")
        door = kernel_calls.call_in_network(self._lab.outside(f"{NETWORK_NAMESPACES}/{host.name}"), _listen)

        def give() -> None:
            with contextlib.suppress(OSError):
                there, _ = door.accept()
                with there:
                    there.sendall(octets)

        with door:
            thread = threading.Thread(target=give, name="giving a file")
            thread.start()
            self.guest.shell(f"nc {host.address.ipv4} {door.getsockname()[1]} > {path} < /dev/null")
            thread.join()
        size = int(self.guest.shell(f"wc -c < {path}"))
        assert size == len(octets), f"{size} of {len(octets)} octets came to {self.guest.name}"


def _listen() -> socket.socket:
    door = socket.create_server(("", 0))
    door.settimeout(FETCH_TIMEOUT_S)
    return door
