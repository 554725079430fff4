"""The meter: counts ahead of a guest's filter and behind it, in an nft table of our own.

Family bridge, two base chains on postrouting, at priority -400 (ahead of libvirt's rules: ebtables nat sits at +300,
the nftables backend at 0 and 1) and at +400 (behind them): what was offered to a tap and what was delivered, in the
same window and on any nwfilter backend. Two more on prerouting, at -400 and +400, do the same for what the guest
sends. The table carries ``flags owner``: the kernel removes it when the process that made it ends, by SIGKILL too.

What it does not see: frames that the bridge makes itself (its IGMP and MLD queries, STP BPDUs), which bypass any
nwfilter as well, and link-local groups that the bridge keeps for itself. A GSO super-frame counts as one frame.

The only place that writes to the kernel's rules, beside speakers.py and probe.py, and only to tables named
``nwscan-...``. A table with that flag is never asked for as JSON: nft before 1.1.0 uses freed memory there ("json: fix
use after free in table_flags_json()").
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analyzer.errors import HostError, UsageError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.nftables import NftContext, counted_table
from analyzer.model.addresses import BROADCAST, GROUP_BIT, format_mac, is_group
from analyzer.model.classes import CLASS_COUNT, FrameClass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from analyzer.host.nft_counters import NftCounters
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
    that vanishes keeps its counts; one that comes back under its name is counted again. ``change`` puts taps in and
    takes them out while it counts.
    """

    def __init__(self, cards: Mapping[str, Sequence[int]]) -> None:
        self.table = new_table_name()
        self._places = count()
        self._taps: dict[str, int] = {}
        self._first = _checked(cards)
        self._nft: NftContext | None = None
        self._counters: NftCounters | None = None
        self._leave = ExitStack()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Put the table in; it counts from here on."""
        if self._nft is not None:
            raise HostError("the meter is already counting", f"nft table bridge {self.table}", "use one meter a window")
        taps = self._placed(self._first)
        commands = (
            *_table_commands(self.table),
            *(line for tap, place in taps.items() for line in _add_commands(self.table, place, tap, self._first[tap])),
            # last, so that the transaction reads as it acts: the hook is the switch
            *_hook_commands(self.table),
        )
        table = counted_table(self.table, commands, "put the meter in", tuple(taps))
        self._nft, self._counters = self._leave.enter_context(table)
        self._taps = taps

    def change(self, add: Mapping[str, Sequence[int]], remove: Collection[str]) -> None:
        """Take the taps of ``remove`` out, with their counts, and put those of ``add`` in, which count from 0 on.

        One transaction: it happens as a whole, or raises as the constructor and changes nothing. A tap may be in both.
        """
        if self._nft is None:
            raise self._not_counting()
        checked = _checked(add)
        gone = {tap: self._taps[tap] for tap in remove}
        if doubled := [tap for tap in checked if tap in self._taps and tap not in gone]:
            raise UsageError("the tap is metered already", ", ".join(doubled), "take it out in the same change")
        taps = self._placed(checked)
        commands = [
            *(line for tap, place in gone.items() for line in _remove_commands(self.table, place, tap)),
            *(line for tap, place in taps.items() for line in _add_commands(self.table, place, tap, checked[tap])),
        ]
        if commands:
            self._nft.run("\n".join(commands))
        self._taps = {tap: place for tap, place in self._taps.items() if tap not in gone} | taps

    def _placed(self, cards: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Give each tap a number that none had before: its names in the table are new ones."""
        return {tap: next(self._places) for tap in cards}

    def close(self) -> None:
        """Take the table out. A second call does nothing."""
        self._nft = self._counters = None
        self._leave.close()

    def read(self) -> dict[str, MeterReading]:
        """Give the counts of each tap since the meter was put in. Raises HostError where the table is gone."""
        if self._counters is None:
            raise self._not_counting()
        counters = self._counters.read(self.table)
        if self._taps and not counters:
            raise HostError("the meter's table is gone", f"nft table bridge {self.table}", "measure again")
        return {tap: _reading(counters, place) for tap, place in self._taps.items()}

    def _not_counting(self) -> HostError:
        return HostError("the meter is not counting", f"nft table bridge {self.table}", "open it first")


def _checked(cards: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    return {checked_interface_name(tap): _checked_macs(tap, macs) for tap, macs in cards.items()}


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


def _table_commands(table: str) -> Iterator[str]:
    """Give the commands that make a table which counts nothing yet.

    The separators are newlines where nft 1.0.6 takes nothing else. Names in it are our own but for the taps, which
    were checked.
    """
    yield f"add table bridge {table} {{ flags owner\n}}"
    for point, *_ in _POINTS:
        yield f"add map bridge {table} {point} {{ type ifname : verdict\n}}"


def _hook_commands(table: str) -> Iterator[str]:
    """Give the commands that hang it into the way of the frames."""
    for point, hook, key, priority in _POINTS:
        yield f"add chain bridge {table} {point} {{ type filter hook {hook} priority {priority}\n}}"
        yield f"add rule bridge {table} {point} {key} vmap @{point}"


def _add_commands(table: str, place: int, tap: str, macs: tuple[int, ...]) -> Iterator[str]:
    """Give the commands that put a tap in: its counters, the chains that count, and last the ways to them."""
    for point, *_ in _POINTS:
        for kind in _classes_at(point):
            for tagged in (False, True):
                yield f"add counter bridge {table} {_counter(place, point, kind, tagged=tagged)}"
    for point, *_ in _POINTS:
        yield from _tap_commands(table, point, place, macs)
        yield f'add element bridge {table} {point} {{ "{tap}" : jump tap{place}-{point} }}'


def _remove_commands(table: str, place: int, tap: str) -> Iterator[str]:
    """Give the commands that take a tap out: what refers to a thing goes before it."""
    for point, *_ in _POINTS:
        yield f'delete element bridge {table} {point} {{ "{tap}" : jump tap{place}-{point} }}'
        for chain in (f"tap{place}-{point}", f"tap{place}-{point}-tagged"):
            yield f"flush chain bridge {table} {chain}"
            yield f"delete chain bridge {table} {chain}"
    for point, *_ in _POINTS:
        for kind in _classes_at(point):
            for tagged in (False, True):
                yield f"delete counter bridge {table} {_counter(place, point, kind, tagged=tagged)}"


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
