from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings

from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network
from analyzer.model.frames import FrameFlag
from analyzer.model.network import NetworkFlag
from tests.property.scapy_frames import FRAMES, MUTATED
from tests.property.scapy_oracle import KnownScapyError, scapy_columns
from tests.raw_frames import raw_frames

EXAMPLES = 12_000 if os.environ.get("CI") == "true" else 300
"""Of each of the two tests: 24,000 in CI."""

LINK = ("dst", "src", "outer_type", "ethertype", "tags", "vlan")
FIXED = (
    *("ip_version", "tos", "ip_header_protocol", "src_hi", "src_lo", "dst_hi", "dst_lo"),
    *("arp_htype", "arp_ptype", "arp_hlen", "arp_plen", "arp_op"),
)
"""What the fixed part of a network header holds."""
NETWORK = (
    *FIXED,
    *("protocol", "fragment", "sport", "dport", "tcp_flags", "icmp_type", "icmp_code"),
    *("arp_sha", "arp_spa", "arp_tha", "arp_tpa", "dsap", "ssap", "stp_type", "service"),
)
BAD_NETWORK = NetworkFlag.NETWORK_CUT | NetworkFlag.NETWORK_MALFORMED
BAD_UPPER = NetworkFlag.UPPER_CUT | NetworkFlag.UPPER_MALFORMED

thorough = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def columns_of(octets: bytes) -> tuple[dict[str, int], FrameFlag, NetworkFlag]:
    batch = decode(raw_frames([octets]))
    network = decode_network(batch)
    columns = {name: int(getattr(batch, name)[0]) for name in LINK}
    columns |= {name: int(getattr(network, name)[0]) for name in NETWORK}
    return columns, FrameFlag(int(batch.flags[0])), NetworkFlag(int(network.flags[0]))


@thorough
@given(FRAMES)
def test_frames_are_decoded_to_what_scapy_says(octets: bytes) -> None:
    columns, frame_flags, network_flags = columns_of(octets)
    expected = scapy_columns(octets)
    assert columns == {name: expected[name] for name in columns}
    assert (frame_flags, network_flags & (BAD_NETWORK | BAD_UPPER)) == (0, 0)


@thorough
@given(MUTATED)
def test_hostile_frames_are_decoded_to_what_scapy_says_as_far_as_they_are_sound(octets: bytes) -> None:
    columns, frame_flags, network_flags = columns_of(octets)
    try:
        expected = scapy_columns(octets)
    except KnownScapyError:
        return
    if not frame_flags:
        assert {name: columns[name] for name in LINK} == {name: expected[name] for name in LINK}
    if network_flags & BAD_NETWORK:
        compared = [name for name in FIXED if columns[name] and expected[name]]
    elif network_flags & BAD_UPPER:
        compared = [name for name in NETWORK if columns[name] and expected[name]]
    else:
        compared = [] if frame_flags else list(NETWORK)
    assert {name: columns[name] for name in compared} == {name: expected[name] for name in compared}
