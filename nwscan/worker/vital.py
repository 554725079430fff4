"""The worker's work on the frames of a window before a change: how many of each vital kind reached the guest then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network
from analyzer.model.classes import FrameClass
from analyzer.model.guards import GuardKind
from analyzer.model.network import NetworkFlag, Service
from nwscan.worker.messages import Progress, VitalCounts
from nwscan.worker.reading import direction_of, open_source

if TYPE_CHECKING:
    from analyzer.model.frames import U8
    from analyzer.model.network import NetworkBatch
    from nwscan.worker.child import Link
    from nwscan.worker.messages import CountVital

_DHCP_CLIENT: Final = 68
"""RFC 2131, 4.1."""
_SYN_ACK: Final = 0x12
"""RFC 9293, 3.1: the control bits SYN and ACK."""


def count_vital(request: CountVital, descriptors: list[int], link: Link) -> VitalCounts:
    """Count the frames of one file by kind, those to the guest alone."""
    source = open_source(descriptors[0], request.name)
    classifier = Classifier(request.identity, direction_of(source, None))
    counts, frames = dict.fromkeys(GuardKind, 0), 0
    for raw in source.batches():
        batch = decode(raw)
        classes = classifier.classify(batch)
        rows = np.flatnonzero(np.isin(classes, [int(kind) for kind in _TO_GUEST]))
        for kind, seen in _kinds(decode_network(batch, rows), classes[rows]).items():
            counts[kind] += seen
        frames += len(raw)
        if link.progress(lambda done=frames: Progress(done, (), None)):  # type: ignore[misc]
            break
    source.close()
    return VitalCounts(tuple((str(kind), seen) for kind, seen in counts.items() if seen))


_TO_GUEST: Final = (FrameClass.UNICAST_TO_GUEST, FrameClass.MULTICAST, FrameClass.BROADCAST)


def _kinds(network: NetworkBatch, classes: U8) -> dict[GuardKind, int]:
    """Count k frames to the guest by kind."""
    own, group, everybody = (classes == kind for kind in _TO_GUEST)
    arp = network.service == Service.ARP
    nd = network.service == Service.NEIGHBOUR_DISCOVERY
    dhcp = (network.service == Service.DHCP) & (network.dport == _DHCP_CLIENT)
    answer = network.has(NetworkFlag.HAS_TCP_FLAGS) & ((network.tcp_flags & _SYN_ACK) == _SYN_ACK)
    masks = {
        GuardKind.OWN_UNICAST: own,
        GuardKind.ARP_UNICAST: own & arp,
        GuardKind.ARP_BROADCAST: everybody & arp,
        GuardKind.ND_UNICAST: own & nd,
        GuardKind.ND_MULTICAST: group & nd,
        GuardKind.DHCP_UNICAST: own & dhcp,
        GuardKind.DHCP_BROADCAST: everybody & dhcp,
        GuardKind.TCP_ANSWER: own & answer,
    }
    return {kind: int(mask.sum()) for kind, mask in masks.items()}
