"""Guests read through libvirt's own test driver, and through a fake where that has no answer."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from analyzer.errors import HostError, InputError, UsageError
from analyzer.host import guests
from analyzer.host.guests import GuestCard, LibvirtReader, resolve_target
from analyzer.model.identity import Address, Provenance

pytest.importorskip("libvirt", reason="libvirt-python is not installed")


def domain(name: str, number: int, *interfaces: str, off: bool = False) -> str:
    state = "<test:runstate>5</test:runstate>" if off else ""
    return f"""<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>{name}</name><uuid>6e777363-616e-4c61-8b00-{number:012}</uuid><memory>1024</memory>
  <os><type>hvm</type></os><devices>{"".join(interfaces)}</devices>{state}</domain>"""


def card(mac: str, tap: str | None = None, inside: str = "") -> str:
    target = f"<target dev='{tap}'/>" if tap else ""
    source = "<source network='default'/>"
    return f"<interface type='network'><mac address='{mac}'/>{source}{target}{inside}</interface>"


FILTERED = "<filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.101'/></filterref>"
DOMAINS = (
    domain("vm1", 1, card("52:54:00:00:00:01", "tapa", FILTERED), card("52:54:00:00:00:11", "tapb")),
    domain("vm2", 2, card("52:54:00:00:00:02"), off=True),
    domain("tapb", 3, card("52:54:00:00:00:03", "tapc")),
    domain("vm1:0", 4, card("52:54:00:00:00:04", "tapd")),
    domain("no-cards", 5),
    domain("vm&lt;4&gt; &amp; co", 7, card("52:54:00:00:00:07", "tape")),
)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    node = tmp_path / "node.xml"
    # the test driver follows a null pointer for a guest on a network that has no address
    address = "<ip address='198.51.100.1' netmask='255.255.255.0'/>"
    network = f"<network><name>default</name><bridge name='virbr0'/>{address}</network>"
    node.write_text(f"<node>{''.join(DOMAINS)}{network}</node>")
    return f"test://{node}"


def names(cards: tuple[GuestCard, ...] | list[GuestCard]) -> list[str]:
    return [f"{card.identity.name}/{card.identity.card}" for card in cards]


def test_every_card_of_every_guest(uri: str) -> None:
    with LibvirtReader(uri) as reader:
        cards = reader.cards()
    assert names(cards) == ["tapb/0", "vm1/0", "vm1/1", "vm1:0/0", "vm2/0", "vm<4> & co/0"]


def test_what_a_card_says(uri: str) -> None:
    with LibvirtReader(uri) as reader:
        (card,) = reader.resolve("tapa")
    identity = card.identity
    assert (identity.name, identity.uuid) == ("vm1", "6e777363-616e-4c61-8b00-000000000001")
    assert (identity.macs, identity.card, identity.tap) == ((0x525400000001,), 0, "tapa")
    assert identity.source is Provenance.LIBVIRT_XML
    assert (card.interface_type, card.network, card.running, card.persistent) == ("network", "default", True, True)
    assert card.filterref == card.inactive_filterref == ("clean-traffic", (("IP", "192.0.2.101"),))
    assert identity.addresses[0] == Address("192.0.2.101", Provenance.LIBVIRT_XML, trusted=True)
    assert card.live_xml is not None
    assert card.live_xml.startswith("<interface type='network'>")


def test_a_guest_that_is_off_has_no_tap(uri: str) -> None:
    with LibvirtReader(uri) as reader:
        (card,) = reader.resolve("vm2", need_tap=False)
        assert (card.running, card.live_xml, card.identity.tap) == (False, None, None)
        assert card.inactive_xml is not None
        with pytest.raises(HostError, match="guest vm2 is off") as caught:
            reader.resolve("vm2")
        assert caught.value.hint == "start it: virsh start vm2"
        with pytest.raises(HostError, match="guest vm2 is off"):
            reader.resolve("vm2:0")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("tapa", ["vm1/0"]),
        ("vm1", ["vm1/0", "vm1/1"]),
        ("vm1:1", ["vm1/1"]),
        ("vm1:52:54:00:00:00:11", ["vm1/1"]),
        ("vm1:52-54-0-0-0-11", ["vm1/1"]),
        ("vm1:0:0", ["vm1:0/0"]),
        ("vm1:0:52:54:00:00:00:04", ["vm1:0/0"]),
        ("tapb:0", ["tapb/0"]),
        ("vm<4> & co", ["vm<4> & co/0"]),
        ("6e777363-616e-4c61-8b00-000000000001", ["vm1/0", "vm1/1"]),
    ],
)
def test_targets(uri: str, target: str, expected: list[str]) -> None:
    with LibvirtReader(uri) as reader:
        assert names(reader.resolve(target)) == expected


@pytest.mark.parametrize("target", ["tapb", "vm1:0"])
def test_a_target_that_means_two_things_is_refused_with_both(uri: str, target: str) -> None:
    with LibvirtReader(uri) as reader, pytest.raises(UsageError, match="means more than one thing") as caught:
        reader.resolve(target)
    assert "vm1:" in caught.value.where


@pytest.mark.parametrize("target", ["vnet9", "", ":", "vm", "vm11", "VM1", "vm1x:0", "../vm1"])
def test_a_target_that_nobody_has(uri: str, target: str) -> None:
    with LibvirtReader(uri) as reader, pytest.raises(HostError, match="no tap or guest"):
        reader.resolve(target)


@pytest.mark.parametrize(
    "target", ["vm1:2", "vm1:-1", "vm1:\u0661", "vm1:", "vm1:999999999999", "vm1:52:54:00:00:00:02"]
)
def test_a_card_that_the_guest_does_not_have(uri: str, target: str) -> None:
    with LibvirtReader(uri) as reader, pytest.raises(UsageError, match="guest vm1 has no card") as caught:
        reader.resolve(target)
    assert caught.value.hint == "its cards are vm1:0, vm1:1"


def test_a_guest_without_any_card(uri: str) -> None:
    with LibvirtReader(uri) as reader, pytest.raises(UsageError, match="guest no-cards has no card") as caught:
        reader.resolve("no-cards")
    assert caught.value.hint == "it has no network interface"


def test_texts_of_libvirt(uri: str) -> None:
    with LibvirtReader(uri) as reader:
        assert reader.version().count(".") == 2
        assert reader.domain_xml("vm2").startswith("<domain")
        assert reader.domain_xml("vm1", inactive=True).startswith("<domain")
        with pytest.raises(HostError, match="Domain not found") as caught:
            reader.domain_xml("nobody")
    assert caught.value.where == f"guest nobody at {uri}"


@pytest.mark.parametrize(
    "ask", [LibvirtReader.filter_names, LibvirtReader.bindings, lambda reader: reader.filter_xml("x")]
)
def test_a_connection_without_nwfilters_says_so(
    uri: str, ask: Callable[[LibvirtReader], object], capfd: pytest.CaptureFixture[str]
) -> None:
    with LibvirtReader(uri) as reader, pytest.raises(HostError, match="not supported"):
        ask(reader)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("uri", ["nonsense://", "qemu+unix:///system?socket=/no/such/socket"])
def test_a_libvirt_that_does_not_answer(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(HostError, match="cannot reach libvirt") as caught, LibvirtReader(uri):
        pass
    assert caught.value.where == uri
    assert capfd.readouterr() == ("", "")


def test_without_the_module_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    with pytest.raises(HostError, match="the Python module libvirt is not there") as caught:
        LibvirtReader("test:///default")
    for word in ("libvirt-dev", "pkg-config", "gcc", "pip install 'nwscan[libvirt]'"):
        assert word in caught.value.hint


class FakeError(Exception):
    """libvirt.libvirtError as far as it is used."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def get_error_code(self) -> int:
        return self.code

    def get_error_message(self) -> str:
        return f"error {self.code}"


NO_DOMAIN, OTHER = 42, 1
LEASE, ARP = 0, 2


class FakeDomain:
    """A running guest whose answers a test chooses; an exception as an answer is raised."""

    def __init__(
        self,
        live: object,
        inactive: object = None,
        addresses: dict[int, object] | None = None,
        state: tuple[int, int] = (1, 1),
    ) -> None:
        self._live, self._inactive, self._addresses = live, inactive, addresses or {}
        self._state = state

    def state(self) -> tuple[int, int]:
        return self._state

    def name(self) -> str:
        return "vm1"

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return "6e777363-616e-4c61-8b00-000000000001"

    def isPersistent(self) -> bool:  # noqa: N802 - libvirt's name
        return self._inactive is not None

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return self._live is not None

    def XMLDesc(self, flags: int) -> object:  # noqa: N802 - libvirt's name
        return _answer(self._inactive if flags else self._live)

    def interfaceAddresses(self, source: int) -> object:  # noqa: N802 - libvirt's name
        return _answer(self._addresses.get(source, FakeError(OTHER)))


def _answer(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


def reader_of(monkeypatch: pytest.MonkeyPatch, *domains: FakeDomain) -> LibvirtReader:
    connection = SimpleNamespace(listAllDomains=lambda: domains, close=lambda: None)
    fake = SimpleNamespace(
        libvirtError=FakeError,
        openReadOnly=lambda _uri: connection,
        VIR_ERR_NO_DOMAIN=NO_DOMAIN,
        VIR_DOMAIN_XML_INACTIVE=2,
        VIR_DOMAIN_RUNNING=1,
        VIR_DOMAIN_RUNNING_MIGRATED=2,
        VIR_DOMAIN_SHUTOFF=5,
        VIR_DOMAIN_SHUTOFF_MIGRATED=4,
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE=LEASE,
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP=ARP,
    )
    monkeypatch.setattr(guests, "load_libvirt", lambda: fake)
    return LibvirtReader("fake:///")


def read(monkeypatch: pytest.MonkeyPatch, *domains: FakeDomain) -> list[GuestCard]:
    with reader_of(monkeypatch, *domains) as reader:
        return reader.cards()


def interface(mac: str, tap: str = "vnet0", inside: str = "") -> str:
    source = f"<source bridge='br0'/><target dev='{tap}'/>"
    return f"<interface type='bridge'><mac address='{mac}'/>{source}{inside}</interface>"


def xml(*interfaces: str) -> str:
    return f"<domain><devices>{''.join(interfaces)}</devices></domain>"


def test_addresses_by_source_and_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(mac: object, *addresses: object) -> dict[str, object]:
        return {"hwaddr": mac, "addrs": [{"addr": address} for address in addresses]}

    answers: dict[int, object] = {
        LEASE: {"vnet0": told("52:54:00:00:00:01", "192.0.2.7", "2001:DB8:0::7")},
        ARP: {
            "vnet0": told("52:54:00:00:00:01", "192.0.2.7", "198.51.100.9", "rubbish", None),
            "lo": {"hwaddr": None, "addrs": None},
            "vnet1": told("52:54:00:00:00:99", "192.0.2.99"),
        },
    }
    (card,) = read(monkeypatch, FakeDomain(xml(interface("52:54:00:00:00:01", inside=FILTERED)), addresses=answers))
    assert card.identity.addresses == (
        Address("192.0.2.101", Provenance.LIBVIRT_XML, trusted=True),
        Address("192.0.2.7", Provenance.LEASE, trusted=True),
        Address("2001:db8::7", Provenance.LEASE, trusted=True),
        Address("198.51.100.9", Provenance.ARP_TABLE, trusted=False),
    )


@pytest.mark.parametrize(("uri", "told"), [("qemu:///system", True), ("qemu+ssh://root@another/system", False)])
def test_this_host_is_asked_for_neighbours_where_libvirt_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
    uri: str,
    told: bool,  # noqa: FBT001 - parametrized
) -> None:
    table = ((0x525400000001, "192.0.2.7"), (0x525400000099, "192.0.2.99"))
    monkeypatch.setattr(guests, "neighbours", lambda: table)
    reader = reader_of(monkeypatch, FakeDomain(xml(interface("52:54:00:00:00:01"))))
    reader.uri = uri
    with reader:
        (card,) = reader.cards()
    assert card.identity.addresses == ((Address("192.0.2.7", Provenance.ARP_TABLE, trusted=False),) if told else ())


def test_a_transient_guest_has_nothing_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (card,) = read(monkeypatch, FakeDomain(xml(interface("52:54:00:00:00:01"))))
    assert (card.persistent, card.inactive_xml, card.inactive_filterref, card.identity.bridge) == (
        False,
        None,
        None,
        "br0",
    )


@pytest.mark.parametrize(
    ("live", "state", "told"),
    [(True, (1, 2), "here"), (True, (1, 1), None), (False, (5, 4), "away"), (False, (5, 1), None)],
)
def test_a_migration_is_told(
    monkeypatch: pytest.MonkeyPatch,
    live: bool,  # noqa: FBT001 - parametrized
    state: tuple[int, int],
    told: str | None,
) -> None:
    """virDomainGetState: running (1) since a migration (2), shut off (5) by one (4)."""
    text = xml(interface("52:54:00:00:00:01"))
    (card,) = read(monkeypatch, FakeDomain(text if live else None, text, state=state))
    assert card.migrated == told


def test_live_and_kept_cards_are_joined_by_mac_and_not_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    live = xml(
        interface("52:54:00:00:00:01"), interface("52:54:00:00:00:02", "vnet1"), interface("52:54:00:00:00:03", "vnet2")
    )
    kept = xml(
        interface("52:54:00:00:00:02", inside=FILTERED), interface("52:54:00:00:00:01"), interface("52:54:00:00:00:04")
    )
    cards = read(monkeypatch, FakeDomain(live, kept))
    assert [card.identity.tap for card in cards] == ["vnet0", "vnet1", "vnet2"]
    assert [card.inactive_filterref is not None for card in cards] == [False, True, False]
    assert [card.inactive_xml is not None for card in cards] == [True, True, False]


def test_a_guest_that_goes_away_while_it_is_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    there = FakeDomain(xml(interface("52:54:00:00:00:01")))
    assert len(read(monkeypatch, FakeDomain(FakeError(NO_DOMAIN)), there)) == 1


def test_another_error_about_a_guest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="error 1"):
        read(monkeypatch, FakeDomain(FakeError(OTHER)))


def test_a_guest_whose_xml_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError):
        read(monkeypatch, FakeDomain("<domain>"))


def test_a_card_without_a_tap_is_no_target(monkeypatch: pytest.MonkeyPatch) -> None:
    user = "<interface type='user'><mac address='52:54:00:00:00:06'/></interface>"
    with reader_of(monkeypatch, FakeDomain(xml(user, interface("52:54:00:00:00:01")))) as reader:
        assert names(reader.resolve("vm1")) == ["vm1/1"]
        assert names(reader.resolve("vm1", need_tap=False)) == ["vm1/0", "vm1/1"]
        with pytest.raises(HostError, match="interface type is user"):
            reader.resolve("vm1:0")


def test_two_cards_of_one_guest_with_the_same_mac_are_both_there(monkeypatch: pytest.MonkeyPatch) -> None:
    both = xml(interface("52:54:00:00:00:01"), interface("52:54:00:00:00:01", "vnet1"))
    cards = read(monkeypatch, FakeDomain(both, both))
    assert [card.inactive_xml is not None for card in cards] == [True, True]
    assert len(resolve_target("vm1:52:54:00:00:00:01", cards)) == 2
