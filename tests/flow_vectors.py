"""Frames about which it can be asked whether they are plain: analyzer/report/flows.py."""

from __future__ import annotations

from hypothesis import strategies as st

OWN = "525400000001"
MACS = (OWN, "525400000002", "02aa00000001", "02aa00000002", "01005e000001", "333300000001", "ffffffffffff")
IPV4 = "4500003200000000 40{:02x} 0000 c0000201 c0000202"
NETWORKS = [
    "0800" + IPV4.format(6) + "04d20050" + "00" * 20,
    "0800" + IPV4.format(17) + "04d20035" + "00" * 20,
    "0800" + IPV4.format(17) + "00440043" + "00" * 20,  # DHCP
    "0800" + IPV4.format(17).replace("4500", "4600", 1) + "01010101" + "00430044" + "00" * 20,  # behind an option
    "0800" + IPV4.format(17).replace("00000000 40", "00002000 40") + "00430044" + "00" * 8,  # a first fragment
    "0800" + IPV4.format(1) + "08000000" + "00" * 20,
    "0806" + "0001080006040001" + OWN + "c0000201" + "00" * 6 + "c0000202" + "00" * 18,
    "86dd" + "6000000000140640" + "fe80" + "00" * 13 + "01" + "fe80" + "00" * 13 + "02" + "00" * 24,
    "86dd" + "6000000000081140" + "fe80" + "00" * 13 + "01" + "fe80" + "00" * 13 + "02" + "02220223" + "00" * 8,
    "86dd" + "6000000000183aff" + "fe80" + "00" * 13 + "01" + "ff02" + "00" * 13 + "01" + "88000000" + "00" * 20,
    "88b5" + "00" * 46,
    "8100" + "0005" + "0800" + IPV4.format(6) + "00" * 24,
    "002e" + "aaaa03000000" + "0800" + "00" * 30,
    "002e" + "424203" + "00" * 43,
]


@st.composite
def octets(draw: st.DrawFn) -> bytes:
    """A frame: MACs, a network layer, some octet changed, some cut off."""
    if draw(st.integers(0, 15)) == 0:
        return draw(st.binary(max_size=70))
    frame = bytearray.fromhex(
        draw(st.sampled_from(MACS)) + draw(st.sampled_from(MACS)) + draw(st.sampled_from(NETWORKS))
    )
    if draw(st.integers(0, 3)) == 0:
        frame[draw(st.integers(12, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame[: draw(st.sampled_from([len(frame), len(frame), 60, 40, 34, 21, 15, 14, 13]))])


def mixed() -> list[bytes]:
    """Frames of all kinds to the guest, to groups and to others, plain ones and others, tagged, cut short."""
    heads = [
        to + sender for to in (OWN, "02aa00000001", "ffffffffffff", "333300000001") for sender in ("02aa00000002", OWN)
    ]
    frames = [bytes.fromhex(head + network) for head in heads for network in NETWORKS]
    tagged = [octets[:12] + bytes.fromhex("81000005") + octets[12:] for octets in frames[:40]]
    return [*frames, *tagged, *(octets[:length] for octets in frames[:20] for length in (15, 34, 37))]


def pairs(count: int, types: int) -> list[bytes]:
    """A frame of each pair of MACs and type: more flows than a table has room for."""
    heads = [f"02{number:04x}{number * 40503 % 65536:04x}0102bb0000{number:04x}" for number in range(count)]
    return [bytes.fromhex(head + f"{0x8800 + kind:04x}").ljust(60, b"\0") for kind in range(types) for head in heads]
