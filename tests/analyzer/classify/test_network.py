from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.classify import network_walk as compiled
from analyzer.classify.decode import decode
from analyzer.classify.network import decode_network
from analyzer.model.network import NetworkBatch, NetworkFlag, Service
from tests.interpreted import is_compiled
from tests.raw_frames import raw_frames

ETHERNET = bytes.fromhex("525400000001feaabbccddee")
MAC_A = 0x525400000001
SENDER = bytes.fromhex("0a0000010a0000ff")


def network_of(frame: bytes, **columns: Any) -> NetworkBatch:  # noqa: ANN401 - passed on
    return decode_network(decode(raw_frames([frame], **columns)))


def row(batch: NetworkBatch, *names: str) -> tuple[int, ...]:
    return tuple(int(getattr(batch, name)[0]) for name in names)


def ipv4(
    payload: bytes,
    protocol: int = 17,
    *,
    fragment: int = 0,
    total: int | None = None,
    options: bytes = b"",
    first: int | None = None,
) -> bytes:
    header = bytes([0x45 + len(options) // 4 if first is None else first, 0xB8])
    length = 20 + len(options) + len(payload) if total is None else total
    header += length.to_bytes(2, "big") + b"\0\1" + fragment.to_bytes(2, "big") + bytes([64, protocol, 0, 0])
    return ETHERNET + b"\x08\x00" + header + SENDER + options + payload


def ipv6(payload: bytes, protocol: int = 17, *, length: int | None = None) -> bytes:
    header = b"\x6b\x80\0\0" + (len(payload) if length is None else length).to_bytes(2, "big") + bytes([protocol, 255])
    return ETHERNET + b"\x86\xdd" + header + bytes.fromhex("fe80" + 27 * "0" + "1" + "ff02" + 27 * "0" + "2") + payload


UDP = bytes.fromhex("0043004400080000")
TCP = bytes.fromhex("c000005000000001000000025012ffff00000000")


def test_is_compiled() -> None:
    assert is_compiled(compiled)


@pytest.mark.parametrize(("ethertype", "service"), [("0806", Service.ARP), ("8035", Service.RARP)])
def test_arp(ethertype: str, service: Service) -> None:
    octets = bytes.fromhex(ethertype + "000108000604000252540000000a" + "0a000001" + "5254000000bb" + "0a000002")
    batch = network_of(ETHERNET + octets + bytes(18))
    assert row(batch, "service", "arp_htype", "arp_ptype", "arp_hlen", "arp_plen", "arp_op") == (
        service,
        1,
        0x800,
        6,
        4,
        2,
    )
    assert row(batch, "arp_sha", "arp_spa") == (0x52540000000A, 0x0A000001)
    assert row(batch, "arp_tha", "arp_tpa") == (0x5254000000BB, 0x0A000002)
    assert row(batch, "flags", "upper") == (NetworkFlag.HAS_ARP, 14)


def test_arp_of_other_address_lengths_has_no_addresses() -> None:
    batch = network_of(ETHERNET + bytes.fromhex("0806000608000810000152540000000a") + bytes(60))
    assert row(batch, "arp_hlen", "arp_plen", "arp_sha", "arp_spa") == (8, 16, 0, 0)


def test_arp_cut_within_its_addresses() -> None:
    frame = ETHERNET + bytes.fromhex("0806000108000604000252540000000a0a000001")
    assert row(network_of(frame, original=[60]), "flags") == (NetworkFlag.HAS_ARP | NetworkFlag.NETWORK_CUT,)
    assert row(network_of(frame), "flags") == (NetworkFlag.HAS_ARP | NetworkFlag.NETWORK_MALFORMED,)


def test_ipv4_udp() -> None:
    batch = network_of(ipv4(UDP) + bytes(20))
    assert row(batch, "ip_version", "tos", "protocol", "ip_header_protocol", "fragment") == (4, 0xB8, 17, 17, 0)
    assert row(batch, "src_hi", "src_lo", "dst_hi", "dst_lo") == (0, 0x0A000001, 0, 0x0A0000FF)
    assert row(batch, "sport", "dport", "upper", "service") == (67, 68, 34, Service.DHCP)
    assert row(batch, "flags") == (NetworkFlag.HAS_PORTS,)
    assert batch.has_ports.tolist() == [True]


def test_padding_is_not_read_as_a_header() -> None:
    batch = network_of(ipv4(b"", 6) + TCP)
    assert row(batch, "sport", "upper", "flags") == (0, -1, NetworkFlag.UPPER_MALFORMED)


def test_total_length_of_0_is_a_super_frame() -> None:
    batch = network_of(ipv4(TCP, 6, total=0), original=[70_000], gso_size=[1448])
    assert row(batch, "dport", "tcp_flags", "flags") == (80, 0x12, NetworkFlag.HAS_PORTS | NetworkFlag.HAS_TCP_FLAGS)


@pytest.mark.parametrize("total", [1, 19])
def test_total_length_below_the_header(total: int) -> None:
    batch = network_of(ipv4(UDP, total=total))
    assert row(batch, "ip_version", "upper", "flags") == (4, -1, NetworkFlag.NETWORK_MALFORMED)


def test_total_length_beyond_the_frame() -> None:
    batch = network_of(ipv4(UDP, total=1000))
    assert row(batch, "sport", "flags") == (67, NetworkFlag.NETWORK_MALFORMED | NetworkFlag.HAS_PORTS)


@pytest.mark.parametrize("first", [0x44, 0x40, 0x65, 0x05])
def test_no_ipv4_header(first: int) -> None:
    batch = network_of(ipv4(UDP, first=first))
    assert row(batch, "ip_version", "src_lo", "upper", "flags") == (0, 0, -1, NetworkFlag.NETWORK_MALFORMED)


def test_ipv4_options_move_the_upper_layer() -> None:
    batch = network_of(ipv4(TCP, 6, options=b"\x94\x04\0\0"))
    assert row(batch, "sport", "upper") == (0xC000, 38)
    assert batch.has(NetworkFlag.OPTIONS).tolist() == [True]


@pytest.mark.parametrize(("fragment", "offset", "sport"), [(0x2000, 0, 67), (0x2001, 8, 0), (0x1FFF, 65_528, 0)])
def test_only_the_first_fragment_has_ports(fragment: int, offset: int, sport: int) -> None:
    batch = network_of(ipv4(UDP, fragment=fragment))
    assert row(batch, "fragment", "sport", "protocol") == (offset, sport, 17)
    assert batch.has(NetworkFlag.FRAGMENT).tolist() == [True]


def test_do_not_fragment_is_no_fragment() -> None:
    assert not network_of(ipv4(UDP, fragment=0x4000)).has(NetworkFlag.FRAGMENT)[0]


def test_ipv6_with_extension_headers() -> None:
    hop_by_hop = bytes([60, 0, 5, 2, 0, 0, 1, 0])
    destination = bytes([43, 1, *[1, 12, *bytes(12)]])
    routing = bytes([44, 0, 0, 0, 0, 0, 0, 0])
    fragment = bytes([51, 0, 0, 1, 0, 0, 0, 9])
    authentication = bytes([17, 1, *bytes(10)])
    batch = network_of(ipv6(hop_by_hop + destination + routing + fragment + authentication + UDP, 0))
    assert row(batch, "ip_version", "tos", "ip_header_protocol", "protocol") == (6, 0xB8, 0, 17)
    assert row(batch, "sport", "dport", "upper", "fragment") == (67, 68, 14 + 40 + 8 + 16 + 8 + 8 + 12, 0)
    assert row(batch, "src_hi", "src_lo") == (0xFE80 << 48, 1)
    assert row(batch, "dst_hi", "dst_lo") == (0xFF02 << 48, 2)
    assert row(batch, "flags") == (NetworkFlag.OPTIONS | NetworkFlag.FRAGMENT | NetworkFlag.HAS_PORTS,)


def test_later_ipv6_fragment() -> None:
    batch = network_of(ipv6(bytes([17, 0, 0, 8, 0, 0, 0, 9]) + UDP, 44))
    assert row(batch, "protocol", "fragment", "sport", "upper") == (17, 8, 0, -1)


def test_jumbogram() -> None:
    batch = network_of(ipv6(bytes([6, 0, 0xC2, 4, 0, 1, 0, 0]) + TCP, 0, length=0), original=[70_000])
    assert row(batch, "dport", "protocol") == (80, 6)


def test_extension_headers_without_an_end() -> None:
    batch = network_of(ipv6(bytes([0, 0, 1, 4, 0, 0, 0, 0]) * 100, 0))
    assert row(batch, "protocol", "flags") == (0, NetworkFlag.OPTIONS | NetworkFlag.NETWORK_MALFORMED)


@pytest.mark.parametrize(
    ("frame", "service"),
    [
        (ipv4(bytes(8), 1), Service.ICMP),
        (ipv4(bytes(8), 2), Service.IGMP),
        (ipv4(bytes(8), 112), Service.VRRP),
        (ipv4(bytes.fromhex("1234004400080000")), Service.DHCP),
        (ipv4(bytes.fromhex("0044123400080000")), Service.NONE),
        (ipv6(bytes.fromhex("0222022300080000")), Service.DHCPV6),
        (ipv6(UDP), Service.NONE),
        (ipv6(bytes([128, *bytes(7)]), 58), Service.ICMPV6),
        (ipv6(bytes([135, *bytes(23)]), 58), Service.NEIGHBOUR_DISCOVERY),
        (ipv6(bytes([143, *bytes(23)]), 58), Service.MLD),
        (ipv6(bytes([130, *bytes(23)]), 58), Service.MLD),
        (ipv6(bytes(8), 112), Service.VRRP),
        (ETHERNET + b"\x88\xcc" + bytes(46), Service.LLDP),
        (ETHERNET + b"\x00\x26\x42\x42\x03" + bytes(43), Service.STP),
        (ETHERNET + b"\x88\xb5" + bytes(46), Service.NONE),
    ],
)
def test_services(frame: bytes, service: Service) -> None:
    assert Service(row(network_of(frame), "service")[0]) is service


def test_stp_type_and_llc_addresses() -> None:
    batch = network_of(ETHERNET + b"\x00\x26\x42\x42\x03\x00\x00\x02\x80" + bytes(39))
    assert row(batch, "dsap", "ssap", "stp_type", "upper") == (0x42, 0x42, 0x80, 17)
    assert row(batch, "flags") == (NetworkFlag.HAS_LLC | NetworkFlag.HAS_STP,)


def test_select_gives_columns_of_the_chosen_frames() -> None:
    batch = decode(raw_frames([ipv4(UDP), ipv4(TCP, 6), ipv6(UDP)]))
    chosen = decode_network(batch, np.array([2, 0]))
    assert chosen.rows.tolist() == [2, 0]
    assert chosen.ip_version.tolist() == [6, 4]
    assert len(decode_network(batch, np.array([], np.int64))) == 0


@pytest.mark.parametrize("select", [[3], [-1]])
def test_select_outside_the_batch_is_refused(select: list[int]) -> None:
    batch = decode(raw_frames([ipv4(UDP)] * 3))
    with pytest.raises(IndexError, match="not in the batch"):
        decode_network(batch, np.array(select))
