"""What the agent in a guest says of its addresses, and what is said where none answers."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from analyzer.errors import HostError
from analyzer.model.identity import Address, GuestIdentity, Provenance
from generator.deploy import libvirt_writer
from generator.deploy.libvirt_writer import LibvirtWriter
from nwscan.api.identify import with_agents
from nwscan.config import Settings

GUEST = "6e777363-616e-4c61-8b00-000000000001"
NO_DOMAIN, AGENT = 42, 1
TOLD = {
    "lo": {"hwaddr": "00:00:00:00:00:00", "addrs": [{"addr": "127.0.0.1"}]},
    "eth0": {"hwaddr": "52:54:00:00:00:01", "addrs": [{"addr": "192.0.2.7"}, {"addr": "FE80::1"}, {"addr": "rubbish"}]},
    "eth1": {"hwaddr": "52:54:00:00:00:99", "addrs": None},
}


class FakeError(Exception):
    def get_error_code(self) -> int:
        return NO_DOMAIN if self.args == ("gone",) else 0

    def get_error_message(self) -> str:
        return str(self.args[0])


def give(_source: int) -> object:
    return TOLD


def use(monkeypatch: pytest.MonkeyPatch, answer: Callable[[int], object]) -> list[int]:
    """Have libvirt answer so; gives the sources that it is asked for."""
    asked: list[int] = []

    def ask(source: int) -> object:
        asked.append(source)
        return answer(source)

    def look_up(uuid: str) -> object:
        if uuid != GUEST:
            raise FakeError("gone")
        return SimpleNamespace(interfaceAddresses=ask)

    connection = SimpleNamespace(lookupByUUIDString=look_up, close=lambda: None)
    fake = SimpleNamespace(
        libvirtError=FakeError,
        open=lambda _uri: connection,
        VIR_ERR_NO_DOMAIN=NO_DOMAIN,
        VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT=AGENT,
    )
    monkeypatch.setattr(libvirt_writer, "load_libvirt", lambda: fake)
    return asked


def test_addresses_by_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = use(monkeypatch, give)
    with LibvirtWriter("fake:///") as libvirt:
        told = libvirt.agent_addresses(GUEST)
    assert asked == [AGENT]
    assert told == ((0, "127.0.0.1"), (0x525400000001, "192.0.2.7"), (0x525400000001, "fe80::1"))


def test_a_guest_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    forever = threading.Event()
    use(monkeypatch, lambda _source: forever.wait())
    with LibvirtWriter("fake:///") as libvirt, pytest.raises(HostError, match=r"does not answer within 0\.05 s"):
        libvirt.agent_addresses(GUEST, timeout_s=0.05)
    forever.set()


def test_what_libvirt_says_without_an_agent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_source: int) -> object:
        raise FakeError("QEMU guest agent is not connected")

    use(monkeypatch, refuse)
    with LibvirtWriter("fake:///") as libvirt, pytest.raises(HostError, match="agent is not connected") as caught:
        libvirt.agent_addresses(GUEST)
    assert "org.qemu.guest_agent.0" in caught.value.hint


def test_a_guest_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, give)
    with LibvirtWriter("fake:///") as libvirt, pytest.raises(HostError, match="gone"):
        libvirt.agent_addresses("another")


def test_a_card_gets_its_own_addresses_untrusted_and_a_guest_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = use(monkeypatch, give)
    stated = Address("192.0.2.7", Provenance.LIBVIRT_XML, trusted=True)
    first = GuestIdentity((0x525400000001,), Provenance.LIBVIRT_XML, uuid=GUEST, addresses=(stated,))
    second = GuestIdentity((0x525400000002,), Provenance.LIBVIRT_XML, uuid=GUEST)
    other = GuestIdentity((1,), Provenance.LIBVIRT_XML, uuid="another", name="vm2")
    (one, two, three), notes = with_agents([first, second, other], Settings(uri="fake:///"))
    assert one.addresses == (stated, Address("fe80::1", Provenance.AGENT, trusted=False))
    assert (two, three) == (second, other)
    assert asked == [AGENT]
    assert notes == ("the agent of vm2 tells no addresses: the guest is gone",)
