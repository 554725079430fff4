"""Names, addresses and places of a lab: the same in each, since each has its namespaces to itself.

All paths are paths inside a lab. `Lab.outside` gives the path under which the process that holds the lab sees one.
"""

from dataclasses import dataclass

ROOT = "/run/lab"
STATE = f"{ROOT}/state"
CONSOLES = f"{ROOT}/consoles"
LIBVIRTD_LOG = f"{ROOT}/libvirtd.log"
LIBVIRTD_PID = f"{ROOT}/libvirtd.pid"
LIBVIRT_SOCKET = f"{ROOT}/libvirt/libvirt-sock"
URI = f"qemu+unix:///system?socket={LIBVIRT_SOCKET}"
NETWORK_NAMESPACES = "/run/netns"
BRIDGE = "br0"


@dataclass(frozen=True, slots=True)
class HostAddress:
    """A host in its own network namespace: card eth0 there, `port` on the bridge."""

    name: str
    port: str
    mac: str
    ipv4: str
    ipv6: str


@dataclass(frozen=True, slots=True)
class GuestAddress:
    """A guest with one card on the bridge."""

    name: str
    uuid: str
    mac: str
    ipv4: str
    ipv6: str


HOSTS = {
    "hosta": HostAddress("hosta", "vhosta", "02:aa:00:00:00:0a", "192.0.2.10", "2001:db8::10"),
    "hostb": HostAddress("hostb", "vhostb", "02:aa:00:00:00:0b", "192.0.2.20", "2001:db8::20"),
}
GUESTS = {
    "vm1": GuestAddress(
        "vm1", "6e777363-616e-4c61-8b00-000000000001", "52:54:00:00:00:01", "192.0.2.101", "2001:db8::101"
    ),
    "vm2": GuestAddress(
        "vm2", "6e777363-616e-4c61-8b00-000000000002", "52:54:00:00:00:02", "192.0.2.102", "2001:db8::102"
    ),
}
