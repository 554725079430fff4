"""The classifier: counts by class in the kernel what taps deliver and what guests send, by eBPF at the taps themselves.

It stands behind the bridge and any filter: it knows what was delivered and never what was offered, which the meter
(meter.py) knows; where no filter acts the two are the same. On the way of a frame it costs a small part of what the
meter costs, see benchmarks/COUNTING_PATH.md. A GSO super-frame counts as one frame, as with the meter. Unlike there,
what the bridge makes itself and what it keeps for itself (link-local groups from the guest) is counted.

The source, tap_counter.bpf.c, and its object are shipped beside this file. How the programs hang on a tap, and what of
them can be left behind, is tap_hooks.py's. Kernels: 5.7 and newer as far as this program goes, 6.6 for links.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from analyzer.errors import HostError, UsageError
from analyzer.host import tap_hooks
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.libbpf import BpfObject, BpfRefusedError
from analyzer.model.addresses import BROADCAST, is_group
from analyzer.model.classes import CLASS_COUNT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from analyzer.host.libbpf import BpfMap
    from analyzer.host.tap_hooks import Attach, Attachment, Programs
    from analyzer.model.frames import I64

SOURCE: Final = Path(__file__).with_name("tap_counter.bpf.c")
OBJECT: Final = "tap_counter.bpf.o"
MACS_MOST: Final = 8
"""MACS of tap_counter.bpf.c: of a guest's MACs on one tap."""

_ENTRY: Final = np.dtype([("macs", "<u8"), ("own", "<u8", MACS_MOST), ("counts", "<i8", (CLASS_COUNT, 2))])
"""struct tap of tap_counter.bpf.c."""


@dataclass(slots=True)
class _Tap:
    """A tap that is counted. ``before`` are the counts of interfaces that had its name and are gone."""

    entry: bytes
    interface: int | None = None
    attachment: Attachment | None = None
    before: I64 = field(default_factory=lambda: np.zeros((CLASS_COUNT, 2), np.int64))


class TapCounter:
    """Counts on taps (tap name -> the guest's MACs) from entering it to leaving it.

    ``attach`` says how the programs hang on taps; without it, the better way that the kernel has. Raises HostError
    where libbpf is not there or the kernel refuses, UsageError for what cannot be counted. For one thread at a time.
    """

    def __init__(self, attach: Attach | None = None, elf: bytes | None = None) -> None:
        self._object = BpfObject(SOURCE.with_name(OBJECT).read_bytes() if elf is None else elf)
        self._attach = attach
        self._programs: Programs | None = None
        self._entries: BpfMap | None = None
        self._taps: dict[str, _Tap] = {}

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def goes_with_its_process(self) -> bool:
        """Say whether the kernel takes everything off when this process ends, however it ends."""
        return self._attach is tap_hooks.by_link

    def open(self) -> None:
        """Load the programs; nothing is counted yet."""
        self._object.open()
        try:
            self._entries = self._object.map("taps", _ENTRY.itemsize)
            self._programs = tap_hooks.Programs(
                self._object.program(tap_hooks.FROM_GUEST), self._object.program(tap_hooks.TO_GUEST)
            )
            self._attach = self._attach or tap_hooks.way_of_kernel(self._programs)
        except HostError:
            self.close()
            raise

    def change(self, add: Mapping[str, Sequence[int]], remove: Collection[str]) -> None:
        """Take the taps of ``remove`` out, with their counts, and put those of ``add`` in, which count from 0 on.

        It happens as a whole, or raises and changes nothing. A tap may be in both; one that is not there is counted
        when ``follow`` finds it.
        """
        checked = {checked_interface_name(tap): _entry(tap, macs) for tap, macs in add.items()}
        if doubled := [tap for tap in checked if tap in self._taps and tap not in remove]:
            raise UsageError("the tap is counted already", ", ".join(doubled), "take it out in the same change")
        added = {tap: _Tap(entry) for tap, entry in checked.items()}
        gone = {tap: self._taps[tap] for tap in remove}
        try:
            for tap in added.keys() - gone.keys():
                self._appear(tap, added[tap])
        except HostError:
            for one in added.values():
                self._vanish(one)
            raise
        for tap, one in gone.items():
            if tap in added:
                self._take_over(one, added[tap])
            self._vanish(one)
            del self._taps[tap]
        self._taps |= added

    def follow(self) -> None:
        """Count on the interfaces that have the taps' names now; what was counted on earlier ones is kept.

        Raises the first error when all were tried; where there was one, it is tried again the next time.
        """
        now = {name: index for index, name in socket.if_nameindex()}
        errors = []
        for tap, one in self._taps.items():
            if one.interface != now.get(tap):
                one.before = self._counts(one)
                self._vanish(one)
                try:
                    self._appear(tap, one)
                except HostError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def read(self) -> dict[str, I64]:
        """Give frames and octets by class of each tap since it was put in: int64 of shape (6, 2)."""
        return {tap: self._counts(one) for tap, one in self._taps.items()}

    def close(self) -> None:
        """Take the programs off all taps. A second call does nothing."""
        for one in self._taps.values():
            self._vanish(one)
        self._taps, self._entries, self._programs = {}, None, None
        self._object.close()

    def _appear(self, tap: str, one: _Tap) -> None:
        """Begin to count on the interface that has this name now, if there is one."""
        entries, programs, attach = self._open()
        try:
            interface = socket.if_nametoindex(tap)
        except OSError:
            return
        entries.put(interface, one.entry)
        try:
            one.attachment = attach(programs, tap, interface)
        except BpfRefusedError as error:
            entries.remove(interface)
            if _is_there(tap):
                raise HostError(f"cannot count on the tap: {error.what}", f"tap {tap}", error.hint) from error
            return
        one.interface = interface

    def _take_over(self, old: _Tap, new: _Tap) -> None:
        """Count anew where another one counted, without a moment in which nothing does."""
        if old.interface is not None:
            self._open()[0].put(old.interface, new.entry)
        new.interface, new.attachment = old.interface, old.attachment
        old.interface, old.attachment = None, None

    def _vanish(self, one: _Tap) -> None:
        """Stop counting on a tap's interface; its counts there are gone."""
        attachment, one.attachment = one.attachment, None
        interface, one.interface = one.interface, None
        if attachment is not None:
            attachment.detach()
        if interface is not None and self._entries is not None:
            self._entries.remove(interface)

    def _counts(self, one: _Tap) -> I64:
        if one.interface is None:
            return one.before.copy()
        entries, _, _ = self._open()
        by_cpu = np.frombuffer(entries.get(one.interface), _ENTRY)["counts"]
        return np.asarray(one.before + by_cpu.sum(axis=0), np.int64)

    def _open(self) -> tuple[BpfMap, Programs, Attach]:
        if self._entries is None or self._programs is None or self._attach is None:
            raise HostError("the classifier is not counting", "eBPF", "open it first")
        return self._entries, self._programs, self._attach


def _entry(tap: str, macs: Sequence[int]) -> bytes:
    """Give what the kernel is to know of a tap: the MACs as they lie in a frame, the first octet lowest."""
    wrong = [mac for mac in macs if not 0 <= mac <= BROADCAST or is_group(mac)]
    if wrong or not 0 < len(macs) <= MACS_MOST:
        what = f"not a card's MAC: {wrong[0]:#x}" if wrong else f"{len(macs)} MACs of the guest"
        raise UsageError(what, f"tap {tap}", f"name the guest's own unicast MACs, at most {MACS_MOST}")
    entry = np.zeros(1, _ENTRY)
    entry["macs"] = len(macs)
    entry["own"][0, : len(macs)] = [int.from_bytes(mac.to_bytes(6, "big"), "little") for mac in macs]
    return entry.tobytes()


def _is_there(tap: str) -> bool:
    try:
        socket.if_nametoindex(tap)
    except OSError:
        return False
    return True
