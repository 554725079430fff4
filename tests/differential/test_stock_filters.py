"""libvirt's own filters on the sample captures: what the evaluator says of each frame, against the kernel's bridge."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from analyzer.capture.source import open_capture
from analyzer.classify.classifier import Classifier
from analyzer.classify.decode import decode
from analyzer.model.addresses import parse_mac
from analyzer.model.classes import DirectionSource, FrameClass
from analyzer.model.identity import GuestIdentity, Provenance
from generator.evaluate.fields import Verdict
from generator.evaluate.matcher import Matcher
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.program import instantiate
from generator.nwfilter.model import Filter
from generator.nwfilter.xml import read_filter
from tests.capture_octets import frames_of
from tests.differential.kernel_bridge import KernelBridge
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from generator.evaluate.program import Program

FOLDER = Path("/etc/libvirt/nwfilter")
LIBRARY = {
    each.name: each
    for each in (read_filter(path.read_text()).filter for path in sorted(FOLDER.glob("*.xml")))
    if not each.name.startswith("nwscan-")
}
CAPTURES = Path(__file__).parents[2] / "captures"
MANIFEST: list[dict[str, Any]] = tomllib.loads((CAPTURES / "MANIFEST.toml").read_text())["capture"]
VARIABLES = {
    "MAC": ("52:54:00:00:00:01",),
    "IP": ("192.0.2.20", "192.0.2.101"),
    "IPV6": ("2001:db8::20", "2001:db8::101"),
    "GATEWAY_MAC": ("02:00:5e:10:00:fe",),
}


def program_of(name: str) -> Program:
    """Give what a filter of libvirt becomes; the server of DHCPv6 has an IPv6 address."""
    server = "2001:db8::1" if "v6" in name else "192.0.2.1"
    return instantiate(LIBRARY[name], LIBRARY, {**VARIABLES, "DHCPSERVER": (server,)})


pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(
        not LIBRARY and os.environ.get("CI") != "true", reason="libvirt's filters: libvirt-daemon-config-nwfilter"
    ),
]


class Traffic(NamedTuple):
    """Frames of a capture with which way they go, and which class they are of."""

    octets: list[bytes]
    to_guest: list[bool]
    classes: list[int]


def captured() -> Traffic:
    """Give the whole frames of the sample captures that hold Ethernet."""
    found = Traffic([], [], [])
    for entry in MANIFEST:
        if entry["linktype"] != 1:
            continue
        identity = GuestIdentity((parse_mac(entry["mac"]),), Provenance.COMMAND_LINE)
        with (CAPTURES / entry["file"]).open("rb") as file:
            source = open_capture(file, entry["file"])
            classifier = Classifier(identity, DirectionSource.SOURCE_MAC)
            for raw in source.batches():
                classes = classifier.classify(decode(raw)).tolist()
                for frame, kind in zip(frames_of(raw), classes, strict=True):
                    if len(frame.octets) == frame.original and kind != FrameClass.UNCLASSIFIED:
                        found.octets.append(frame.octets)
                        found.to_guest.append(kind != FrameClass.FROM_GUEST)
                        found.classes.append(kind)
    return found


@pytest.fixture(scope="module")
def bridge() -> Iterator[KernelBridge]:
    missing = [name for name in ("ebtables-restore", "nft", "ip") if shutil.which(name) is None]
    if os.geteuid() or missing or not os.path.exists("/dev/net/tun"):  # noqa: PTH110
        reason = f"needs root, /dev/net/tun and {', '.join(missing) or 'programs that are here'}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with KernelBridge() as made:
        yield made


@pytest.fixture(scope="module")
def traffic(bridge: KernelBridge) -> Traffic:
    """The captured frames that the bridge itself forwards, their number behind each."""
    found = captured()
    sent = [octets + number.to_bytes(4) for number, octets in enumerate(found.octets)]
    bridge.install(instantiate(Filter("none"), {}, VARIABLES))
    passed = bridge.send(sent, found.to_guest)
    kept = [number for number, passes in enumerate(passed) if passes]
    assert len(kept) > 0.9 * len(sent)
    assert {found.classes[number] for number in kept} == set(FrameClass) - {FrameClass.UNCLASSIFIED}
    return Traffic(*([column[number] for number in kept] for column in found))


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_the_prediction_on_the_captures_is_what_the_kernel_does(
    bridge: KernelBridge, traffic: Traffic, name: str
) -> None:
    program = program_of(name)
    batch = decode(raw_frames(traffic.octets))
    verdicts = Matcher(program).run(batch, np.array(traffic.to_guest)).verdict.tolist()
    assert set(verdicts) <= {Verdict.ACCEPT, Verdict.DROP}
    bridge.install(program)
    sent = [octets + number.to_bytes(4) for number, octets in enumerate(traffic.octets)]
    passed = bridge.send(sent, traffic.to_guest)
    wrong = [
        (traffic.octets[number].hex(), FrameClass(traffic.classes[number]).key, Verdict(verdicts[number]).name)
        for number in range(len(sent))
        if (verdicts[number] == Verdict.ACCEPT) != passed[number]
    ]
    assert wrong == []
    builder = PredictionBuilder(program)
    builder.add(batch, np.array(traffic.classes, np.uint8))
    assert builder.finish().frames == len(sent)


def test_the_captures_reach_the_rules(traffic: Traffic) -> None:
    batch, to_guest = decode(raw_frames(traffic.octets)), np.array(traffic.to_guest)
    dropping = {
        name for name in LIBRARY if (Matcher(program_of(name)).run(batch, to_guest).verdict == Verdict.DROP).any()
    }
    reached = {"clean-traffic", "clean-traffic-gateway", "no-ip-spoofing", "no-ipv6-multicast", "qemu-announce-self"}
    assert {*reached, "no-other-l2-traffic", "no-other-rarp-traffic"} <= dropping
