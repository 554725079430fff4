"""Each profile on a real guest: what arrives on its tap is what the evaluator says, and the document tells it."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.host.guests import LibvirtReader
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import Direction
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.prediction import ways
from generator.evaluate.program import instantiate
from generator.nwfilter.xml import read_filter
from tests.lab.domain import interface_xml
from tests.lab.frames import Kind, marker, markers_in
from tests.lab.needs import IPV4, JOINED, NEEDS, REPEATS, numbered
from tests.lab.nwscan_run import Nwscan
from tests.lab.schedule import Schedule
from tests.lab.tap_capture import tcpdump
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from generator.nwfilter.model import Filter
    from tests.lab.lab import Lab

DOCUMENT: Final = Path(__file__).parents[2] / "docs/what-a-guest-needs.md"
PROFILES: Final[dict[str, tuple[str, ...]]] = {
    "mac": (),
    "ip": ("--ip", IPV4),
    "strict": ("--ip", IPV4, "--keep", JOINED),
    "allow-ipv4": ("--ip", IPV4),
}
CLEAN: Final = "clean-traffic"
_RUNS = itertools.count(0x50000000)
_LAST: Final = len(NEEDS) * REPEATS


@dataclass(frozen=True)
class Filtered:
    """What is on a card: a filter and its variables, as libvirt has them."""

    root: str
    variables: dict[str, tuple[str, ...]]


def on_the_card(lab: Lab) -> tuple[Filtered, dict[str, Filter]]:
    with LibvirtReader(lab.outside_uri) as libvirt:
        (card,) = libvirt.resolve("vm1")
        library = {name: read_filter(libvirt.filter_xml(name)).filter for name in libvirt.filter_names()}
    assert card.filterref is not None
    name, parameters = card.filterref
    variables: dict[str, tuple[str, ...]] = {"MAC": (lab.guest("vm1").address.mac,)}
    for key, value in parameters:
        variables[key] = (*variables.get(key, ()), value)
    return Filtered(name, variables), library


def predicted(lab: Lab) -> list[bool]:
    """Whether each row passes what is on the card, by the evaluator."""
    filtered, library = on_the_card(lab)
    program = instantiate(library[filtered.root], library, filtered.variables)
    octets = [frame for _, _, frame in numbered(0)]
    batch = decode(raw_frames(octets, direction=[Direction.TO_GUEST] * len(octets)))
    with LibvirtReader(lab.outside_uri) as libvirt:
        (card,) = libvirt.resolve("vm1")
    classes = Classifier(card.identity, DirectionSource.PACKET_TYPE).classify(batch)
    verdicts = Matcher(program).run(batch, ways(batch, classes)).verdict
    assert set(verdicts.tolist()) <= {Verdict.ACCEPT, Verdict.DROP}
    fates = [set(verdicts[row * REPEATS : (row + 1) * REPEATS].tolist()) for row in range(len(NEEDS))]
    assert all(len(fate) == 1 for fate in fates)
    return [fate == {Verdict.ACCEPT} for fate in fates]


def delivered(lab: Lab, file: Path) -> list[int]:
    """How many frames of each row arrive on the tap of vm1."""
    run = next(_RUNS)
    with tcpdump(lab, lab.guest("vm1").tap, file):
        lab.settle()
        with lab.host("hosta").open_packet_socket() as door:
            for _, _, frame in numbered(run):
                door.send(frame)
            door.send(NEEDS[0].make(marker(run, Kind.OWN, _LAST)))
        deadline = time.monotonic() + 10
        while _LAST not in markers_in(file.read_bytes(), run)[Kind.OWN]:
            assert time.monotonic() < deadline, "the last frame has not come"
            time.sleep(0.05)
    found = Counter(number // REPEATS for numbers in markers_in(file.read_bytes(), run).values() for number in numbers)
    return [found[row] for row in range(len(NEEDS))]


@pytest.mark.slow
def test_what_a_guest_needs_generated(lab: Lab, tmp_path: Path) -> None:
    unfiltered = delivered(lab, tmp_path / "none.pcap")
    assert set(unfiltered) <= {0, REPEATS}
    columns = {}
    for profile, words in PROFILES.items():
        folder = tmp_path / profile
        folder.mkdir()
        nwscan = Nwscan(lab, folder)
        code, schedule = offered(profile)
        with lab.sending(schedule):
            apply = ("suggest", "--apply", "vm1", "--yes", "-a", "duration:2.5", "--profile", profile, *words)
            nwscan.run(*apply, code=code)
        columns[profile] = fates(lab, unfiltered, tmp_path / f"{profile}.pcap")
        nwscan.run("rollback", "vm1", "--yes")
    columns[CLEAN] = with_clean_traffic(lab, unfiltered, tmp_path)
    text = render(unfiltered, columns)
    if os.environ.get("NWSCAN_REGENERATE"):
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text, "read the change, then run with NWSCAN_REGENERATE=1"


def offered(profile: str) -> tuple[int, Schedule]:
    """What is sent while a profile is put in, and how that ends: effective, where what the guest needs is offered.

    The filters of 2015 drop much of that and would be rolled back; with nothing but foreign unicast they stay.
    """
    if profile == "allow-ipv4":
        return 7, Schedule(foreign=50_000, rate_fps=500)
    return 0, Schedule(foreign=50_000, own=20_000, multicast=7_000, broadcast=5_000, rate_fps=500)


def fates(lab: Lab, unfiltered: list[int], file: Path) -> list[bool]:
    """What arrives, which has to be what the evaluator says of what would arrive without a filter."""
    said, came = predicted(lab), delivered(lab, file)
    expected = [count if passes else 0 for count, passes in zip(unfiltered, said, strict=True)]
    assert {need.text: count for need, count in zip(NEEDS, came, strict=True)} == {
        need.text: count for need, count in zip(NEEDS, expected, strict=True)
    }
    return said


def with_clean_traffic(lab: Lab, unfiltered: list[int], folder: Path) -> list[bool]:
    mac = lab.guest("vm1").address.mac
    ref = f"<filterref filter='{CLEAN}'><parameter name='IP' value='{IPV4}'/></filterref>"
    before = {which: lab.outside("/run/lab") / f"{which}.xml" for which in ("with", "without")}
    before["with"].write_text(interface_xml(mac, filterref=ref))
    before["without"].write_text(interface_xml(mac))
    lab.virsh("update-device vm1 /run/lab/with.xml --live")
    try:
        return fates(lab, unfiltered, folder / "clean.pcap")
    finally:
        lab.virsh("update-device vm1 /run/lab/without.xml --live")


def render(unfiltered: list[int], columns: dict[str, list[bool]]) -> str:
    names = [*columns]
    lines = [
        "# What a guest needs",
        "",
        "Made by the lab (`NWSCAN_REGENERATE=1 pytest tests/lab/test_profiles.py`), not by hand: each kind of frame is",
        "sent to a real guest's tap under each profile of `nwscan suggest`, and what arrives is compared with what the",
        "evaluator says; the two agree on every row. Needed: a plain guest misses it when it is dropped. `strict` is",
        f"given `--keep {JOINED}`, the group that counts as joined; all but `mac` are given the guest's IPv4 address.",
        "The bridge itself keeps LLDP from every guest. [profiles.md](profiles.md) explains the profiles.",
        "",
        f"| traffic | needed | no filter | {' | '.join(names)} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for row, need in enumerate(NEEDS):
        arrives = bool(unfiltered[row])
        cells = [
            ("passes" if columns[name][row] else "**drops**" if need.wanted else "drops") if arrives else "-"
            for name in names
        ]
        bare = "passes" if arrives else "never arrives"
        lines.append(f"| {need.text} | {'yes' if need.wanted else 'no'} | {bare} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
