"""What a deeper look says of a frame, as far as the frame alone tells it.

What lives here: codes for the frames that deep_rows.py chose, from their decoded network layer. What must not: what
needs more than the frame (subclasses.py). Called once per batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.model.classes import FrameClass, Look
from analyzer.model.network import NetworkFlag, Service

if TYPE_CHECKING:
    from analyzer.model.frames import U8
    from analyzer.model.network import NetworkBatch

_REQUEST = 1  # RFC 826
_IPV4_OCTETS = 4


def looks_of(network: NetworkBatch, classes: U8) -> U8:
    """Give the Look of each of the k frames: uint8[k].

    ``classes`` are those of the k frames. What own unicast says, deep_rows.py tells.
    """
    looks: U8 = np.zeros(len(network), np.uint8)
    is_broadcast = classes == FrameClass.BROADCAST
    if is_broadcast.any():
        is_arp = is_broadcast & (network.service == Service.ARP)
        is_request = is_arp & is_arp_request(network)
        looks[is_broadcast & (network.service == Service.DHCP)] = Look.DHCP
        looks[is_arp] = Look.ARP_OTHER
        looks[is_request] = Look.ARP_REQUEST
        is_same = (network.arp_spa == network.arp_tpa) & (network.arp_spa != 0)
        looks[is_arp & is_same & (network.arp_plen == _IPV4_OCTETS)] = Look.ARP_ANNOUNCEMENT
    return looks


def is_arp_request(network: NetworkBatch) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Say which of the k frames are whole ARP requests for an IPv4 address."""
    sound = network.has(NetworkFlag.HAS_ARP) & ~network.has(NetworkFlag.NETWORK_CUT | NetworkFlag.NETWORK_MALFORMED)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = (
        sound & (network.arp_op == _REQUEST) & (network.arp_plen == _IPV4_OCTETS)
    )
    return found
