"""The doors to this machine against a real libvirtd with real guests: who is who, which rules, what counts."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from analyzer.errors import HostError
from analyzer.host import bridge
from analyzer.host.guests import Binding, LibvirtReader
from analyzer.host.meter import Meter, MeterReading, meter_tables
from analyzer.host.rules import Backend, KernelRules, kernel_rules
from analyzer.model.addresses import format_mac, parse_mac
from analyzer.model.classes import FrameClass
from analyzer.model.identity import Address, Provenance
from tests.lab import layout
from tests.lab.bridge_bench import wait_until
from tests.lab.frames import Kind
from tests.lab.kernel_calls import call_in_network
from tests.lab.lab import Lab
from tests.lab.schedule import Schedule, Truth

T = TypeVar("T")

FILTER_UUID = "6e777363-616e-4c61-8b00-0000000000f1"
MAC_FILTER = f"""<filter name='doors-mac' chain='mac-doors' priority='-950'>
  <uuid>{FILTER_UUID}</uuid>
  <rule action='return' direction='in' priority='100'><mac dstmacaddr='$MAC'/></rule>
  <rule action='return' direction='in' priority='110'><mac dstmacaddr='01:00:00:00:00:00' dstmacmask='$GM'/></rule>
  <rule action='drop' direction='in' priority='900'><mac/></rule>
</filter>"""
ROOT_FILTER = """<filter name='doors' chain='root'>
  <uuid>6e777363-616e-4c61-8b00-0000000000f2</uuid>
  <filterref filter='doors-mac'><parameter name='GM' value='01:00:00:00:00:00'/></filterref>
</filter>"""
CLASS_OF_KIND = {
    Kind.OWN: FrameClass.UNICAST_TO_GUEST,
    Kind.MULTICAST: FrameClass.MULTICAST,
    Kind.BROADCAST: FrameClass.BROADCAST,
    Kind.FOREIGN: FrameClass.FOREIGN_UNICAST,
}
VM1 = layout.GUESTS["vm1"]
SCHEDULE = Schedule(foreign=300, own=200, multicast=70, broadcast=30)


def inside(lab: Lab, function: Callable[[], T]) -> T:
    return call_in_network(lab.network, function)


def rules(lab: Lab, tap: str) -> KernelRules:
    return inside(lab, lambda: kernel_rules(tap))


@pytest.fixture
def reader(lab: Lab) -> Iterator[LibvirtReader]:
    with LibvirtReader(lab.outside_uri) as reader:
        yield reader


@pytest.fixture
def filtered(lab: Lab) -> Iterator[str]:
    """The tap of vm1 behind a MAC filter, for as long as a test runs."""
    with LibvirtReader(lab.outside_uri) as reader:
        (card,) = reader.resolve("vm1")
    assert card.live_xml is not None
    assert card.identity.tap is not None
    reference = "<filterref filter='doors'><parameter name='IP' value='192.0.2.101'/></filterref>"
    changed = card.live_xml.replace("</interface>", f"  {reference}\n    </interface>")
    for name, text in (
        ("doors-mac", MAC_FILTER),
        ("doors", ROOT_FILTER),
        ("with", changed),
        ("without", card.live_xml),
    ):
        lab.write(f"{layout.ROOT}/{name}.xml", text)
    lab.virsh(f"nwfilter-define {layout.ROOT}/doors-mac.xml --validate")
    lab.virsh(f"nwfilter-define {layout.ROOT}/doors.xml --validate")
    lab.virsh(f"update-device vm1 {layout.ROOT}/with.xml --live")
    yield card.identity.tap
    lab.virsh(f"update-device vm1 {layout.ROOT}/without.xml --live")
    lab.virsh("nwfilter-undefine doors; nwfilter-undefine doors-mac")


def counted(truth: Truth, *, without: tuple[Kind, ...] = ()) -> list[int]:
    frames = [0] * len(FrameClass)
    for kind, kind_class in CLASS_OF_KIND.items():
        frames[kind_class] = 0 if kind in without else truth.frames[kind]
    return frames


def metered(lab: Lab, tap: str) -> tuple[Truth, MeterReading]:
    """Send the schedule while a meter counts at the tap; the lab is otherwise quiet."""
    with contextlib.closing(inside(lab, lambda: _opened(tap))) as meter:
        truth = lab.send(SCHEDULE)
        wait_until(lambda: meter.read()[tap].offered[:, 0].sum() >= SCHEDULE.total, "all frames are at the tap")
        return truth, meter.read()[tap]


def _opened(tap: str) -> Meter:
    meter = Meter({tap: (parse_mac(VM1.mac),)})
    meter.open()
    return meter


def test_cards_of_the_guests(lab: Lab, reader: LibvirtReader) -> None:
    assert [(card.identity.name, card.identity.card) for card in reader.cards()] == [("vm1", 0), ("vm2", 0)]
    for card, guest in zip(reader.cards(), layout.GUESTS.values(), strict=True):
        identity = card.identity
        assert (identity.uuid, [format_mac(mac) for mac in identity.macs]) == (guest.uuid, [guest.mac])
        assert (identity.tap, identity.bridge) == (lab.guest(guest.name).tap, layout.BRIDGE)
        assert (card.interface_type, card.model, card.filterref) == ("bridge", "virtio", None)
        assert (card.running, card.persistent) == (True, True)


def test_the_text_of_a_card_is_what_virsh_prints(lab: Lab, reader: LibvirtReader) -> None:
    (card,) = reader.resolve("vm1")
    assert card.live_xml is not None
    assert card.inactive_xml is not None
    assert f"    {card.live_xml}\n" in lab.virsh("dumpxml vm1")
    assert f"    {card.inactive_xml}\n" in lab.virsh("dumpxml vm1 --inactive")
    assert card.live_xml != card.inactive_xml


def test_targets(lab: Lab, reader: LibvirtReader) -> None:
    tap = lab.guest("vm1").tap
    assert reader.resolve(tap) == reader.resolve("vm1") == reader.resolve("vm1:0") == reader.resolve(f"vm1:{VM1.mac}")
    with pytest.raises(HostError, match="no tap or guest"):
        reader.resolve("vnet99")


def test_stock_filters(reader: LibvirtReader) -> None:
    assert "clean-traffic" in reader.filter_names()
    assert reader.filter_xml("clean-traffic").startswith("<filter name='clean-traffic'")
    assert reader.bindings() == ()
    with pytest.raises(HostError, match="nosuch"):
        reader.filter_xml("nosuch")


def test_a_guest_without_a_filter_has_no_rules(lab: Lab) -> None:
    found = rules(lab, lab.guest("vm1").tap)
    assert (found.present, found.backend, found.rules) == (False, None, ())


def test_a_filter_shows_in_card_binding_and_kernel(lab: Lab, filtered: str) -> None:
    with LibvirtReader(lab.outside_uri) as reader:
        (card,) = reader.resolve("vm1")
        assert card.filterref == ("doors", (("IP", "192.0.2.101"),))
        assert card.inactive_filterref is None
        assert card.identity.addresses[0] == Address("192.0.2.101", Provenance.LIBVIRT_XML, trusted=True)
        (binding,) = reader.bindings()
        assert (binding.tap, binding.filter) == (filtered, "doors")
        assert ("IP", "192.0.2.101") in binding.parameters
        assert isinstance(binding, Binding)
    found = rules(lab, filtered)
    assert (found.present, found.backend) == (True, Backend.EBTABLES)
    assert [(rule.chain, rule.text) for rule in found.rules] == [
        ("POSTROUTING", f"-o {filtered} -j libvirt-O-{filtered}"),
        (f"libvirt-O-{filtered}", f"-j O-{filtered}-mac-doors"),
        (f"O-{filtered}-mac-doors", f"-d {VM1.mac} -j RETURN"),
        (f"O-{filtered}-mac-doors", "-d Multicast -j RETURN"),
        (f"O-{filtered}-mac-doors", "-j DROP"),
    ]


def test_stock_clean_traffic_in_the_kernel(lab: Lab, filtered: str) -> None:
    with LibvirtReader(lab.outside_uri) as reader:
        (card,) = reader.resolve("vm1")
    assert card.live_xml is not None
    lab.write(f"{layout.ROOT}/clean.xml", card.live_xml.replace("'doors'", "'clean-traffic'"))
    lab.virsh(f"update-device vm1 {layout.ROOT}/clean.xml --live")
    found = rules(lab, filtered)
    assert found.present
    assert {rule.to_guest for rule in found.rules} == {True, False}
    assert {rule.table for rule in found.rules} == {"ebtables nat"}
    assert f"I-{filtered}-mac" in {rule.chain for rule in found.rules}


def test_the_meter_counts_what_is_offered_and_delivered(lab: Lab, filtered: str) -> None:
    truth, reading = metered(lab, filtered)
    assert reading.offered[:, 0].tolist() == counted(truth)
    assert reading.delivered[:, 0].tolist() == counted(truth, without=(Kind.FOREIGN,))
    dropped = next(rule for rule in rules(lab, filtered).rules if rule.text == "-j DROP")
    assert dropped.packets == SCHEDULE.foreign
    foreign = [frame for kind, frame in SCHEDULE.frames() if kind is Kind.FOREIGN]
    tagged = sum(frame[12:14] in {b"\x81\x00", b"\x88\xa8"} for frame in foreign)
    assert reading.offered[FrameClass.FOREIGN_UNICAST, 1] == sum(map(len, foreign))
    assert dropped.octets == sum(map(len, foreign)) - 4 * tagged


def test_without_a_filter_all_that_is_offered_is_delivered(lab: Lab) -> None:
    tap = lab.guest("vm1").tap
    truth, reading = metered(lab, tap)
    assert reading.offered[:, 0].tolist() == reading.delivered[:, 0].tolist() == counted(truth)
    assert reading.offered.tolist() == reading.delivered.tolist()
    assert inside(lab, meter_tables) == ()


def test_the_bridge_of_a_guest(lab: Lab) -> None:
    tap = lab.guest("vm1").tap
    assert inside(lab, lambda: bridge.bridge_of(tap)) == layout.BRIDGE
    port = inside(lab, lambda: bridge.port(tap))
    assert port is not None
    assert (port.kind, port.learning, port.flood) == ("tun", True, True)
    assert port.mac == parse_mac(f"fe{VM1.mac[2:]}")
    lab.settle()
    entries = inside(lab, lambda: bridge.fdb(layout.BRIDGE))
    assert (parse_mac(VM1.mac), tap) in {(entry.mac, entry.port) for entry in entries}
