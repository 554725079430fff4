"""A host of the lab: a network namespace with one card on the bridge."""

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.lab import kernel_calls
from tests.lab.layout import NETWORK_NAMESPACES, ROOT, HostAddress

if TYPE_CHECKING:
    from tests.lab.lab import Lab


class Host:
    """One host, by its address in the lab."""

    def __init__(self, lab: "Lab", address: HostAddress) -> None:
        self._lab = lab
        self.address = address
        self.name = address.name

    def run(self, *command: str, check: bool = False, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command on the host's network."""
        return self._lab.run(command, host=self.name, check=check, timeout_s=timeout_s)

    def open_packet_socket(self, card: str = "eth0") -> socket.socket:
        """A raw socket on the host's card, for this process; it sends, and receives nothing."""

        def open_here() -> socket.socket:
            opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            opened.bind((card, 0))
            return opened

        return kernel_calls.call_in_network(self._lab.outside(f"{NETWORK_NAMESPACES}/{self.name}"), open_here)

    def ping(self, target: str, count: int = 3, deadline_s: int = 10) -> int:
        """How many answers the host gets to `count` echo requests, ARP or neighbour discovery included."""
        limits = ("-c", str(count), "-i", "0.2", "-W", str(deadline_s), "-w", str(deadline_s))
        done = self.run("busybox", "ping", *limits, target)
        found = re.search(r"(\d+) packets received", done.stdout)
        return int(found.group(1)) if found else 0

    def forget_neighbours(self) -> None:
        """Empty the ARP and neighbour tables, so that the next frame to anybody starts from cold."""
        self.run("ip", "neigh", "flush", "all", check=True)

    def echo_tcp(self, target: str, text: str, timeout_s: float = 10.0) -> str:
        """What the echo service of a guest (TCP port 7) gives back."""

        def connect() -> str:
            with socket.create_connection((target, 7), timeout=timeout_s) as connection:
                connection.sendall(text.encode())
                connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(4096), b"")).decode()

        return kernel_calls.call_in_network(self._lab.outside(f"{NETWORK_NAMESPACES}/{self.name}"), connect)

    def enable_ipv6(self) -> None:
        """Give the host its IPv6 address."""
        script = (
            "sysctl -q -w net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth0.accept_ra=0"
            " net.ipv6.conf.eth0.router_solicitations=0 net.ipv6.conf.eth0.disable_ipv6=0;"
            f" ip -6 address replace {self.address.ipv6}/64 dev eth0 nodad"
        )
        self.run("sh", "-ec", script, check=True)

    def disable_ipv6(self) -> None:
        """Make the host idle again."""
        self.run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.disable_ipv6=1", check=True)

    @contextlib.contextmanager
    def dhcp_server(self, first: str = "192.0.2.150", last: str = "192.0.2.160") -> Iterator[None]:
        """A DHCP server (dnsmasq) on the host while the with block runs."""
        command = [
            "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces",
            "--user=root", "--no-ping", "--dhcp-authoritative", "--dhcp-option=3", "--pid-file=",
            f"--dhcp-leasefile={ROOT}/{self.name}.leases", f"--dhcp-range={first},{last},255.255.255.0,1h",
        ]  # fmt: skip
        server = self._lab.popen(command, host=self.name, stderr=subprocess.PIPE)
        try:
            if server.stderr is None:
                raise OSError("dnsmasq has no stderr")
            for line in server.stderr:
                if "DHCP, IP range" in line:
                    break
            else:
                raise OSError(f"dnsmasq ended with {server.wait()}")
            yield
        finally:
            server.terminate()
            if server.stderr is not None:
                server.stderr.close()
            server.wait(timeout=10)
