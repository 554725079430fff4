"""A tap of the test's own in the lab, with a filter that the lab's libvirtd keeps on it: a binding without a guest.

The test holds both ends: it writes frames to the guest's tap and to its peer's, and sees what comes out at the other.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import libvirt

from generator.evaluate.program import Program, words
from generator.nwfilter.model import Filter, FilterRef
from generator.nwfilter.xml import read_filter, write_filter
from tests.differential.kernel_bridge import GUEST_TAP, PEER_TAP, KernelBridge, _run, _tap
from tests.lab.kernel_calls import enter_namespace
from tests.lab.lab import Lab
from tests.lab.rule_trace import Met, RuleTrace, handles

ROOT: Final = "bound-root"
ROOT_UUID: Final = "6e777363-616e-4c61-8b00-0000000000b0"
BRIDGE: Final = "brbound"
_KNOBS: Final = tuple(
    Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}") for name in ("iptables", "ip6tables", "arptables")
)

ChainCounts: TypeAlias = dict[str, list[int]]


Place: TypeAlias = tuple[str, int]
"""A rule in the kernel: its chain, and its place there from 0."""


END: Final[Place] = ("", -1)
"""The end of the chains."""


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of frames: whether each came out, and the rule that decided it.

    That is as Verdicts.rule has it: END where a frame came to the end of the chains and no rule had let it go on. None
    stands for the ``untold`` frames that the kernel traced nothing of.
    """

    passed: list[bool]
    decided: list[Place | None]
    untold: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """What libvirt said when it would not have a filter."""

    text: str


class BoundTap(KernelBridge):
    """Use as a context manager. The bound filter is called ``ROOT``: to redefine it is to change the rules in place."""

    def __init__(self, lab: Lab, variables: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._lab = lab
        self._variables = variables
        self._knobs: dict[Path, str] = {}
        self._left = contextlib.ExitStack()
        self._serial = itertools.count()
        self._children: list[str] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as left:
            left.callback(self._thread.shutdown)
            left.callback(self._close_taps)
            left.callback(self._call, self._tear_down)
            self._call(self._set_up)
            libvirt.registerErrorHandler(lambda *_: None, None)
            self._door: Any = libvirt.open(self._lab.outside_uri)
            left.callback(self._door.close)
            assert self.define(Filter(ROOT, uuid=ROOT_UUID)) is None
            left.callback(lambda: self.forget([ROOT, *reversed(self._children)]))
            self._door.nwfilterBindingCreateXML(self._binding())
            left.callback(lambda: self._door.nwfilterBindingLookupByPortDev(GUEST_TAP).delete())
            self._left = left.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.close()

    def _set_up(self) -> None:
        enter_namespace(self._lab.network)
        self._knobs = {knob: knob.read_text() for knob in _KNOBS if knob.exists()}
        for knob in self._knobs:
            knob.write_text("0")
        self._taps = (_tap(GUEST_TAP), _tap(PEER_TAP))
        _run("ip", "link", "add", BRIDGE, "type", "bridge", "ageing_time", "0", "stp_state", "0", "mcast_snooping", "0")
        for name in (GUEST_TAP, PEER_TAP):
            _run("ip", "link", "set", name, "address", f"02:00:00:00:ff:0{1 + (name == PEER_TAP)}")
            _run("ip", "link", "set", name, "master", BRIDGE, "up")
        _run("ip", "link", "set", BRIDGE, "address", "02:00:00:00:ff:01", "up")
        self._wait_until_it_forwards()

    def _tear_down(self) -> None:
        for knob, value in self._knobs.items():
            knob.write_text(value)
        _run("ip", "link", "del", BRIDGE)

    def _close_taps(self) -> None:
        for tap in self._taps:
            if tap >= 0:
                os.close(tap)

    def _binding(self) -> str:
        (mac,) = self._variables["MAC"]
        pairs = [(name, text) for name, texts in self._variables.items() if name != "MAC" for text in texts]
        parameters = "".join(f"<parameter name='{name}' value='{text}'/>" for name, text in pairs)
        return (
            f"<filterbinding><owner><name>nobody</name><uuid>{ROOT_UUID}</uuid></owner><portdev name='{GUEST_TAP}'/>"
            f"<mac address='{mac}'/><filterref filter='{ROOT}'>{parameters}</filterref></filterbinding>"
        )

    def define(self, value: Filter) -> Refusal | None:
        """Define a filter, in place where it exists; for the bound one this changes the rules of the tap."""
        try:
            self._door.nwfilterDefineXML(write_filter(value))
        except libvirt.libvirtError as error:
            return Refusal(str(error))
        return None

    def stored(self, name: str) -> Filter:
        """Give a filter as libvirt tells it, which must be readable without a finding but merged elements."""
        reading = read_filter(self._door.nwfilterLookupByName(name).XMLDesc())
        assert reading.filter is not None
        # libvirt writes a new element wherever the next attribute's negation differs, and merges them when it reads
        assert all(finding.what.endswith("is merged into the first one") for finding in reading.findings)
        return reading.filter

    def _undefine(self, name: str) -> None:
        self._door.nwfilterLookupByName(name).undefine()

    def named(self, root: Filter, library: Mapping[str, Filter]) -> tuple[Filter, dict[str, Filter]]:
        """Give the tree under names of its own, its root under the name of the bound filter."""
        number = next(self._serial)
        names = {name: f"bound-{number}-{name}" for name in library}
        children = {names[name]: _renamed(each, names[name], names) for name, each in library.items()}
        self.forget(self._children[::-1])  # those of the tree before, but what is bound now
        self._children = [name for name in self._children if self._exists(name)] + list(children)
        return replace(_renamed(root, ROOT, names), uuid=ROOT_UUID), children

    def _exists(self, name: str) -> bool:
        return name in self._door.listNWFilters()

    def forget(self, names: Sequence[str]) -> None:
        """Undefine filters of ``names``, those that refer to others behind them, as far as they are there and free."""
        for name in names:
            with contextlib.suppress(libvirt.libvirtError):
                self._undefine(name)

    def send_traced(self, frames: Sequence[bytes], to_guest: Sequence[bool]) -> Fates:
        """Send frames as ``send`` does, and have the kernel tell which rule decided each."""
        return self._call(lambda: self._send_traced(frames, to_guest))

    def _send_traced(self, frames: Sequence[bytes], to_guest: Sequence[bool]) -> Fates:
        # ebtables gives each chain of its own a policy, here ACCEPT, which it keeps as a rule behind the last one
        places = {
            (chain, handle): place for chain, known in handles("nat").items() for place, handle in enumerate(known[:-1])
        }
        passed = [False] * len(frames)
        met = []
        with RuleTrace((GUEST_TAP, PEER_TAP)) as trace:
            for number, (frame, inwards) in enumerate(zip(frames, to_guest, strict=True)):
                os.write(self._taps[inwards], frame)
                met.append(trace.read())  # a bridge forwards within the write: what is not told now never is
                if number % 100 == 99:
                    self._collect(passed)
        self._collect(passed)
        return Fates(passed, [None if each is None else _decided(each, places) for each in met], met.count(None))

    def chain_counts(self) -> ChainCounts:
        """Give what each rule of the tap's chains has counted, by chain in the order of the rules."""
        return self._call(_chain_counts)


def since(before: ChainCounts, after: ChainCounts) -> ChainCounts:
    """Give what was counted between two readings of the same rules."""
    assert {chain: len(counts) for chain, counts in before.items()} == {
        chain: len(counts) for chain, counts in after.items()
    }
    return {
        chain: [late - early for early, late in zip(before[chain], counts, strict=True)]
        for chain, counts in after.items()
    }


def _decided(met: Sequence[Met], places: Mapping[Place, int]) -> Place:
    """Give the rule that decided a frame, or the last that let it go on by returning.

    At the end of a sub-chain it is accepted there, by no rule; at the end of the root the last one that returned it
    has let it pass.
    """
    own = [each for each in met if GUEST_TAP in each.chain and each.verdict in {"ACCEPT", "DROP", "RETURN"}]
    ends = [each for each in own if (each.chain, each.handle) not in places]
    assert ends in ([], own[-1:]), own
    assert all(each.verdict == "ACCEPT" for each in ends), own
    if any(not each.chain.startswith("libvirt-") for each in ends):
        return END
    rules = [(each.chain, places[each.chain, each.handle]) for each in own if each not in ends]
    return rules[-1] if rules else END


def command_places(program: Program) -> list[Place]:
    """Give where each command of the program stands in the kernel."""
    found: list[Place] = []
    counts: dict[str, int] = {}
    for command in program.commands:
        chain = words(command, GUEST_TAP)[5]
        found.append((chain, counts.setdefault(chain, 0)))
        counts[chain] += 1
    return found


def expected_counts(program: Program, hits: Sequence[int]) -> ChainCounts:
    """Give the evaluator's counts as ``BoundTap.chain_counts`` gives the kernel's."""
    counts: ChainCounts = {}
    for command, hit in zip(program.commands, hits, strict=True):
        counts.setdefault(words(command, GUEST_TAP)[5], []).append(hit)
    return counts


def _chain_counts() -> ChainCounts:
    counts: ChainCounts = {}
    for line in _run("ebtables-save", "-c").splitlines():
        found = re.match(r"\[(\d+):\d+\] -A (\S+)", line)
        if found and GUEST_TAP in found.group(2):
            counts.setdefault(found.group(2), []).append(int(found.group(1)))
    return counts


def _renamed(value: Filter, name: str, names: Mapping[str, str]) -> Filter:
    entries = tuple(
        replace(entry, filter=names.get(entry.filter, entry.filter)) if isinstance(entry, FilterRef) else entry
        for entry in value.entries
    )
    return replace(value, name=name, entries=entries)
