"""The meter: counts ahead of a guest's filter and behind it, in an nft table of our own.

Family bridge, two base chains on postrouting, at priority -400 (ahead of libvirt's rules: ebtables nat sits at +300,
the nftables backend at 0 and 1) and at +400 (behind them): what was offered to a tap and what was delivered, in the
same window and on any nwfilter backend. Two more on prerouting, at -400 and +400, do the same for what the guest
sends. The table carries ``flags owner``: the kernel removes it when the process that made it ends, by SIGKILL too.

What it does not see: frames that the bridge makes itself (its IGMP and MLD queries, STP BPDUs), which bypass any
nwfilter as well, and link-local groups that the bridge keeps for itself. A GSO super-frame counts as one frame.

The only place that writes to the kernel's rules, beside speakers.py, and only to tables named ``nwscan-...``. A table
with that flag is never asked for as JSON: nft before 1.1.0 uses freed memory there ("json: fix use after free in
table_flags_json()").
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analyzer.errors import HostError, UsageError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.nftables import NftContext, NftRefusedError
from analyzer.model.addresses import BROADCAST, GROUP_BIT, format_mac, is_group
from analyzer.model.classes import CLASS_COUNT, FrameClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from analyzer.model.frames import I64

_ETHERNET_HEADER_OCTETS: Final = 14
"""IEEE 802.3, 3.2: two addresses and the type; nft counters leave it out (the frame starts at the network header)."""

_TAG_OCTETS: Final = 4
"""IEEE 802.1Q, 9.3: the outermost tag is kept beside the frame by the kernel and is not in nft's octets either."""

_AHEAD: Final = -400
_BEHIND: Final = 400

_POINTS: Final = (
    # counters are read in the order in which they were made: delivered before offered, so never more than offered
    ("delivered", "postrouting", "oifname", _BEHIND),
    ("sent", "prerouting", "iifname", _BEHIND),
    ("offered", "postrouting", "oifname", _AHEAD),
    ("heard", "prerouting", "iifname", _AHEAD),
)
"""Name, hook, interface key and priority of the four counting points."""

_TO_GUEST: Final = (
    (FrameClass.BROADCAST, f"ether daddr {format_mac(BROADCAST)}"),
    (FrameClass.MULTICAST, f"ether daddr & {format_mac(GROUP_BIT)} == {format_mac(GROUP_BIT)}"),
    (FrameClass.UNICAST_TO_GUEST, "ether daddr {{ {macs} }}"),
    (FrameClass.FOREIGN_UNICAST, ""),
)
"""The to-guest classes in the order of the classification; the first match counts."""

_TABLE: Final = re.compile(r"nwscan-(?P<pid>[1-9][0-9]{0,9})-(?P<started>[0-9]{1,20})-[0-9]{1,10}")

_serial = count(1)


@dataclass(frozen=True, slots=True)
class MeterReading:
    """Counts since the meter was put in, int64 of shape (6, 2): FrameClass x (frames, octets).

    ``offered`` is what reached the filter, ``delivered`` what came out of it; octets are those of a report (with tags,
    without FCS). For FROM_GUEST offered is what the guest sent into the bridge and delivered what its filter let
    through.
    """

    offered: I64
    delivered: I64

    def since(self, earlier: MeterReading) -> MeterReading:
        """Give the counts of the window between ``earlier`` and this reading."""
        return MeterReading(self.offered - earlier.offered, self.delivered - earlier.delivered)


class Meter:
    """Counts on the taps of ``cards`` (tap name -> the MACs that count as the guest's) from entering it to leaving it.

    Raises UsageError for a tap name or MAC that cannot be, HostError where the kernel or libnftables refuses. A tap
    that vanishes keeps its counts; one that comes back under its name is counted again.
    """

    def __init__(self, cards: Mapping[str, Sequence[int]]) -> None:
        self._taps = tuple(checked_interface_name(tap) for tap in cards)
        self.table = new_table_name()
        self._commands = "\n".join(_commands(self.table, {tap: _checked_macs(tap, cards[tap]) for tap in self._taps}))
        self._nft: NftContext | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Put the table in; it counts from here on."""
        if self._nft is not None:
            raise HostError("the meter is already counting", f"nft table bridge {self.table}", "use one meter a window")
        try:
            nft = NftContext()
        except HostError as error:
            raise HostError(
                f"cannot put the meter in: {error.what}", f"nft table bridge {self.table}", error.hint
            ) from error
        try:
            nft.run(self._commands)
        except NftRefusedError as error:
            nft.close()
            raise HostError(
                f"cannot put the meter in: {error.what}",
                f"nft table bridge {self.table} for {', '.join(self._taps)}",
                "run as root or with CAP_NET_ADMIN; it needs nftables and Linux 5.12 or newer",
            ) from error
        self._nft = nft

    def close(self) -> None:
        """Take the table out. A second call does nothing."""
        nft, self._nft = self._nft, None
        if nft is not None:
            nft.close()  # the kernel removes what the socket owns: nothing that could fail halfway

    def read(self) -> dict[str, MeterReading]:
        """Give the counts of each tap since the meter was put in. Raises HostError where the table is gone."""
        if self._nft is None:
            raise HostError("the meter is not counting", f"nft table bridge {self.table}", "open it first")
        document = json.loads(self._nft.run(f"list counters table bridge {self.table}", json=True))
        counters = {
            str(entry["counter"]["name"]): (int(entry["counter"]["packets"]), int(entry["counter"]["bytes"]))
            for entry in document["nftables"]
            if "counter" in entry
        }
        return {tap: _reading(counters, index) for index, tap in enumerate(self._taps)}


def _checked_macs(tap: str, macs: Sequence[int]) -> tuple[int, ...]:
    wrong = [mac for mac in macs if not 0 <= mac <= BROADCAST or is_group(mac)]
    if wrong or not macs:
        what = f"not a card's MAC: {wrong[0]:#x}" if wrong else "no MAC of the guest is known"
        raise UsageError(what, f"tap {tap}", "name the guest's own unicast MACs")
    return tuple(dict.fromkeys(macs))


def _counter(index: int, point: str, kind: FrameClass, *, tagged: bool) -> str:
    return f"tap{index}-{point}-{kind.key}{'-tagged' if tagged else ''}"


def _classes_at(point: str) -> tuple[FrameClass, ...]:
    """Give the classes that one point counts."""
    return (FrameClass.FROM_GUEST,) if point in {"sent", "heard"} else tuple(kind for kind, _ in _TO_GUEST)


def _commands(table: str, cards: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Give the commands that make the table, one transaction.

    The separators are newlines where nft 1.0.6 takes nothing else. Names in it are our own but for the taps, which
    were checked.
    """
    yield f"add table bridge {table} {{ flags owner\n}}"
    for point, *_ in _POINTS:
        for index in range(len(cards)):
            for kind in _classes_at(point):
                for tagged in (False, True):
                    yield f"add counter bridge {table} {_counter(index, point, kind, tagged=tagged)}"
    for point, hook, key, priority in _POINTS:
        yield f"add map bridge {table} {point} {{ type ifname : verdict\n}}"
        for index, (tap, macs) in enumerate(cards.items()):
            yield from _tap_commands(table, point, index, macs)
            yield f'add element bridge {table} {point} {{ "{tap}" : jump tap{index}-{point} }}'
        # last, so that the transaction reads as it acts: the hook is the switch
        yield f"add chain bridge {table} {point} {{ type filter hook {hook} priority {priority}\n}}"
        yield f"add rule bridge {table} {point} {key} vmap @{point}"


def _tap_commands(table: str, point: str, index: int, macs: tuple[int, ...]) -> Iterator[str]:
    """Give the two chains of one tap at one point: tagged frames leave the first for the second."""
    for tagged in (True, False):
        chain = f"tap{index}-{point}{'-tagged' if tagged else ''}"
        yield f"add chain bridge {table} {chain}"
        if not tagged:
            yield f"add rule bridge {table} {chain} ether type {{ 0x8100, 0x88a8 }} goto {chain}-tagged"
        if _classes_at(point) == (FrameClass.FROM_GUEST,):
            yield _count(table, chain, "", _counter(index, point, FrameClass.FROM_GUEST, tagged=tagged))
            continue
        own = ", ".join(format_mac(mac) for mac in macs)
        for kind, match in _TO_GUEST:
            yield _count(table, chain, match.format(macs=own), _counter(index, point, kind, tagged=tagged))


def _count(table: str, chain: str, match: str, counter: str) -> str:
    return f'add rule bridge {table} {chain} {match} counter name "{counter}" return'


def _reading(counters: Mapping[str, tuple[int, int]], index: int) -> MeterReading:
    arrays: dict[str, I64] = {}
    for point, *_ in _POINTS:
        counts = np.zeros((CLASS_COUNT, 2), dtype=np.int64)
        for kind in _classes_at(point):
            for tagged in (False, True):
                frames, octets = counters.get(_counter(index, point, kind, tagged=tagged), (0, 0))
                header = _ETHERNET_HEADER_OCTETS + (_TAG_OCTETS if tagged else 0)
                counts[kind] += (frames, octets + frames * header)
        arrays[point] = counts
    return MeterReading(arrays["offered"] + arrays["heard"], arrays["delivered"] + arrays["sent"])


def _started(pid: int) -> int | None:
    """Give when the process started, in clock ticks since boot; None where there is none.

    Field 22 of /proc/PID/stat, proc(5); the name in field 2 may hold anything, so fields are counted from its last
    bracket.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


def new_table_name() -> str:
    """Give a name for a table of this process that no other table has."""
    return f"nwscan-{os.getpid()}-{_started(os.getpid())}-{next(_serial)}"


def meter_tables() -> tuple[str, ...]:
    """Give the names of every meter's table in this network namespace, those of running processes too."""
    with NftContext() as nft:
        listed = nft.run("list tables bridge")
    names = [line.split()[-1] for line in listed.splitlines() if line.startswith("table bridge ")]
    return tuple(name for name in names if _TABLE.fullmatch(name))


def stale_tables() -> tuple[str, ...]:
    """Give the tables of meters whose process has ended: there are none unless something else holds their socket."""
    stale = []
    for name in meter_tables():
        match = _TABLE.fullmatch(name)
        if match is not None and _started(int(match["pid"])) != int(match["started"]):
            stale.append(name)
    return tuple(stale)


def remove_table(name: str) -> None:
    """Remove one meter's table.

    Raises UsageError for a name that is not one of ours, HostError where its owner still lives.
    """
    if not _TABLE.fullmatch(name):
        raise UsageError(f"not a table of a meter: {name!r}", hint="nwscan removes its own tables only")
    with NftContext() as nft:
        nft.run(f"delete table bridge {name}")
