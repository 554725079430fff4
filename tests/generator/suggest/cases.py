"""A guest, its card, frames of every class on its tap, and what is measured of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from analyzer.host.guests import GuestCard
from analyzer.model.classes import DirectionSource
from analyzer.model.frames import Direction
from analyzer.model.identity import GuestIdentity, Provenance
from analyzer.model.window import CaptureWindow
from analyzer.pipeline import Measurement
from generator.evaluate.prediction import PredictionBuilder
from generator.evaluate.program import instantiate
from generator.suggest.profiles import mac_profile
from generator.suggest.suggestion import filters_to_predict, interface_variables
from tests.raw_frames import raw_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.report.report import Report
    from generator.evaluate.prediction import Prediction
    from generator.nwfilter.model import Filter

MAC = 0x525400000001
OTHER = 0x525400000050
EXTRA = 0x0200005E0001
VRRP = 0x00005E000107
GATEWAY = 0xFEAABBCCDDEE
BROADCAST = 0xFFFFFFFFFFFF
START_NS = 1_767_225_600_000_000_000
GUEST = GuestIdentity(
    (MAC,), Provenance.LIBVIRT_XML, name="vm1", uuid="6f3c1b2a-0000-4000-8000-000000000001", card=0, tap="vnet0"
)
BARE = GuestIdentity((MAC,), Provenance.COMMAND_LINE)
PARAMETERS = (("IP", "192.0.2.20"), ("IP", "192.0.2.3"), ("MAC", "52:54:00:00:00:99"))
INTERFACE = (
    "<interface type='bridge'>\n"
    "  <mac address='52:54:00:00:00:01'/>\n"
    "  <source bridge='br0'/>\n"
    "  <model type='virtio'/>\n"
    "  <filterref filter='old'>\n"
    "    <parameter name='IP' value='192.0.2.20'/>\n"
    "    <parameter name='IP' value='192.0.2.3'/>\n"
    "    <parameter name='MAC' value='52:54:00:00:00:99'/>\n"
    "  </filterref>\n"
    "</interface>"
)
CARD = GuestCard(
    identity=GUEST,
    interface_type="bridge",
    model="virtio",
    filterref=None,
    persistent=True,
    running=True,
    live_xml=None,
    inactive_xml=None,
)
CARD_WITH_OLD = replace(
    CARD,
    filterref=("old", PARAMETERS),
    inactive_filterref=("old", PARAMETERS),
    live_xml=INTERFACE,
    inactive_xml=INTERFACE,
)

Sent = tuple[int, int]
"""Destination and source of a frame."""

TRAFFIC: Sequence[tuple[int, int, bool]] = (
    *((MAC, GATEWAY, True),) * 5,
    *((BROADCAST, GATEWAY, True),) * 3,
    *((0x01005E000001, GATEWAY, True),) * 2,
    *((0x333300000001, GATEWAY, True),) * 2,
    *((OTHER, GATEWAY, True),) * 30,
    *((GATEWAY, MAC, False),) * 4,
)
"""Destination, source, and whether it goes to the guest: frames of every class but the unreadable."""


def frame(dst: int, src: int, ethertype: int = 0x88B5) -> bytes:
    return dst.to_bytes(6) + src.to_bytes(6) + ethertype.to_bytes(2) + bytes(46)


def measure(
    traffic: Sequence[tuple[int, int, bool]] = TRAFFIC,
    *,
    identity: GuestIdentity = GUEST,
    card: GuestCard | GuestIdentity = CARD,
    library: Mapping[str, Filter] | None = None,
    also_macs: tuple[int, ...] = (),
    duration_s: float = 60.0,
    lost: int | None = 0,
) -> tuple[Report, Prediction]:
    """Give the report of frames that came one a millisecond, and what the suggested filter does to them."""
    filter_set, known = mac_profile(card, also_macs, library=library), library or {}
    tree = filters_to_predict(filter_set, known)
    program = instantiate(tree[0], {each.name: each for each in tree}, interface_variables(GUEST, filter_set))
    builder = PredictionBuilder(program)
    raw = raw_frames(
        [frame(dst, src) for dst, src, _ in traffic],
        direction=[Direction.TO_GUEST if inwards else Direction.FROM_GUEST for _, _, inwards in traffic],
    )
    raw = msgspec.structs.replace(raw, ts_ns=START_NS + np.arange(len(traffic), dtype=np.int64) * 1_000_000)
    measured, tried = (
        Measurement(identity, DirectionSource.PACKET_TYPE),
        Measurement(identity.with_macs(also_macs), DirectionSource.PACKET_TYPE, consumers=(builder,)),
    )
    for measurement in (measured, tried):
        measurement.add(raw)
    end_ns = START_NS + int(duration_s * 1e9)
    window = CaptureWindow("vnet0", START_NS, end_ns, len(traffic), lost, 128)
    return measured.finish((window,)), builder.finish()
