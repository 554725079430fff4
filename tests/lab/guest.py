"""A guest of the lab: its shell, its counters, its XML.

The shell is on a serial port, not on the network: asking a guest something puts no frame on its tap, and works
whatever a filter does to it.
"""

import re
import secrets
import select
import socket
import time
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.lab.layout import CONSOLES, GuestAddress

if TYPE_CHECKING:
    from tests.lab.lab import Lab


class GuestError(Exception):
    """A guest did not do what it was told, or not in time."""


class Guest:
    """One guest, by its address in the lab."""

    def __init__(self, lab: "Lab", address: GuestAddress) -> None:
        self._lab = lab
        self.address = address
        self.name = address.name

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Wait until the guest says on its console that it has booted."""
        console = self._lab.outside(f"{CONSOLES}/{self.name}.log")
        deadline = time.monotonic() + timeout_s
        while not (console.exists() and b"GUEST-READY" in console.read_bytes()):
            if time.monotonic() > deadline:
                raise GuestError(f"{self.name} did not boot within {timeout_s:.0f} s: {self.console()[-2000:]}")
            time.sleep(0.05)

    def console(self) -> str:
        """What the guest wrote on its console since it was started."""
        console = self._lab.outside(f"{CONSOLES}/{self.name}.log")
        return console.read_text(errors="replace") if console.exists() else ""

    def try_shell(self, command: str, timeout_s: float = 30.0) -> tuple[int, str]:
        """Exit code and output (both streams) of a shell command in the guest."""
        mark = secrets.token_hex(8)
        # the marks are put together by the guest, so that they can only be its output
        line = f"echo; echo {mark}-''start; ( {command}\n) < /dev/null 2>&1; code=$?; echo; echo {mark}-''end $code\n"
        answer = re.compile(rf"{mark}-start\r?\n(.*)\n\r?{mark}-end (\d+)\r?\n".encode(), re.DOTALL)
        received = b""
        deadline = time.monotonic() + timeout_s
        with socket.socket(socket.AF_UNIX) as port:
            port.connect(str(self._lab.outside(f"{CONSOLES}/{self.name}.shell")))
            port.sendall(line.encode())
            while (found := answer.search(received)) is None:
                if not select.select([port], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    raise GuestError(f"{self.name} gave no answer within {timeout_s:.0f} s to: {command}")
                octets = port.recv(65536)
                if not octets:
                    raise GuestError(f"{self.name} went away while it ran: {command}")
                received += octets
        return int(found.group(2)), found.group(1).decode(errors="replace").replace("\r\n", "\n")

    def shell(self, command: str, timeout_s: float = 30.0) -> str:
        """Output of a shell command in the guest, which must succeed."""
        code, output = self.try_shell(command, timeout_s)
        if code != 0:
            raise GuestError(f"{self.name}: {command!r} ended with {code}: {output}")
        return output

    def counters(self, card: str = "eth0") -> dict[str, int]:
        """The guest's own statistics of its card (rx_packets, rx_bytes, tx_packets, ...)."""
        folder = f"/sys/class/net/{card}/statistics"
        lines = self.shell(f'cd {folder} && for name in *; do echo "$name $(cat $name)"; done')
        return {name: int(value) for name, value in (line.split() for line in lines.split("\n") if line)}

    def set_promiscuous(self, *, on: bool) -> None:
        """Let the guest's card take frames for anybody, or only its own."""
        self.shell(f"ip link set eth0 promisc {'on' if on else 'off'}")

    def enable_ipv6(self) -> None:
        """Give the guest its IPv6 address; it then does neighbour discovery."""
        self.shell(
            "echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_ra;"
            "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6;"
            f"ip -6 addr add {self.address.ipv6}/64 dev eth0"
        )

    def disable_ipv6(self) -> None:
        """Make the guest idle again."""
        self.shell("echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")

    def request_lease(self, timeout_s: float = 30.0, card: str = "eth0") -> str | None:
        """The address that udhcpc in the guest gets from a DHCP server, or None if none answers."""
        command = f"udhcpc -i {card} -n -q -f -t 5 -T 1 -s /bin/udhcpc-script"
        _, output = self.try_shell(command, timeout_s)
        found = re.search(r"^lease (\S+) from", output, re.MULTILINE)
        return found.group(1) if found else None

    def is_running(self) -> bool:
        """Whether libvirt has the guest running."""
        return self.name in self._lab.virsh("list --name").split()

    def domain_xml(self, *, inactive: bool = False) -> str:
        """What libvirt says of the guest: its live XML, or the persistent one."""
        return self._lab.virsh(f"dumpxml {self.name}{' --inactive' if inactive else ''}")

    def interface_xml(self, *, inactive: bool = False) -> str:
        """The <interface> element of the guest's card."""
        found = re.search(r"<interface .*?</interface>", self.domain_xml(inactive=inactive), re.DOTALL)
        if found is None:
            raise GuestError(f"{self.name} has no card")
        return found.group(0)

    @property
    def tap(self) -> str:
        """The tap of the guest's card, as long as it runs."""
        target = ET.fromstring(self.interface_xml()).find("target")  # noqa: S314 - our own libvirt's words
        if target is None:
            raise GuestError(f"{self.name} has no tap: it is not running")
        return target.attrib["dev"]
