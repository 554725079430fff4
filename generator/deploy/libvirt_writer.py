"""The one door to libvirt that writes. Knows no plans: each call is one change, or a read of what is to be changed."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from analyzer.errors import HostError
from analyzer.host.domain_xml import InterfaceXml, for_update, interfaces, read_binding
from analyzer.host.filter_users import read_filter_users
from analyzer.host.guests import told_addresses
from analyzer.host.libvirt_connection import connect, load_libvirt
from analyzer.host.rules import kernel_rules
from analyzer.model.addresses import parse_mac
from generator.deploy.bridge_writer import BridgeWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from analyzer.host.rules import KernelRules
    from generator.deploy.door import BridgeDoor

AGENT_TIMEOUT_S: Final = 10.0


class LibvirtWriter:
    """A read-write connection to libvirt, open from entering it to leaving it.

    Raises HostError, with libvirt's own words, where libvirt does not answer or refuses. ``bridge`` is the door to the
    bridges of the same host [this host's].
    """

    def __init__(self, uri: str, bridge: BridgeDoor | None = None) -> None:
        self.uri = uri
        self.bridge: BridgeDoor = BridgeWriter() if bridge is None else bridge
        self._libvirt: Any = load_libvirt()
        self._connection: Any = None

    def __enter__(self) -> Self:
        self._connection = connect(self._libvirt, self._libvirt.open, self.uri)
        return self

    def __exit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _asking(self, about: str, hint: str = "") -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise HostError(f"libvirt: {error.get_error_message()}", f"{about} at {self.uri}", hint) from error

    def filter_xml(self, name: str) -> str | None:
        """Give a filter's XML as libvirt prints it, None where there is none."""
        found = self._lookup_filter(name)
        if found is None:
            return None
        with self._asking(f"nwfilter {name}"):
            return str(found.XMLDesc(0))

    def define_filter(self, xml: str) -> None:
        """Define or redefine a filter; libvirt validates it first, since it would ignore what it does not know."""
        with self._asking("defining an nwfilter", "see libvirtd's log for the cause"):
            self._connection.nwfilterDefineXMLFlags(xml, self._libvirt.VIR_NWFILTER_DEFINE_VALIDATE)

    def undefine_filter(self, name: str) -> None:
        """Remove a filter; one that is not there is removed. Raises HostError where it is in use."""
        found = self._lookup_filter(name)
        if found is not None:
            with self._asking(f"removing nwfilter {name}", "see which guests use it: virsh nwfilter-binding-list"):
                found.undefine()

    def interface_xml(self, guest: str, mac: str, *, live: bool) -> str | None:
        """Give the ``<interface>`` element of the card with ``mac`` of the guest with uuid ``guest``.

        None where the guest is not there, not running (``live``), not persistent (else), or has no such card.
        """
        domain = self._lookup_guest(guest)
        if domain is None:
            return None
        try:
            if not (domain.isActive() if live else domain.isPersistent()):
                return None
            xml = str(domain.XMLDesc(0 if live else self._libvirt.VIR_DOMAIN_XML_INACTIVE))
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_DOMAIN:  # it went away meanwhile
                return None
            raise HostError(f"libvirt: {error.get_error_message()}", f"guest {guest} at {self.uri}") from error
        found = _card(xml, mac, guest)
        return found.text if found else None

    def bound_filter(self, guest: str, mac: str) -> str | None:
        """Name the filter that libvirt instantiates for a running card now, None where it instantiates none."""
        tap = self._tap(guest, mac)
        return None if tap is None else self._bound_to(tap)

    def has_stray_rules(self, guest: str, mac: str) -> bool:
        """Say whether the kernel holds libvirt's rules for a running card that libvirt has no binding for.

        So it is when libvirtd was killed while it built them: it forgets them, and the guest stays filtered. Where
        nobody can ask the kernel (no program, no permission) the answer is no.
        """
        tap = self._tap(guest, mac)
        if tap is None or self._bound_to(tap) is not None:
            return False
        try:
            return self.rules_of(tap).present
        except HostError:
            return False

    def rules_of(self, tap: str) -> KernelRules:
        """Ask the kernel for the rules of a tap."""
        return kernel_rules(tap)

    def _tap(self, guest: str, mac: str) -> str | None:
        domain = self._lookup_guest(guest)
        if domain is None:
            return None
        with self._asking(f"guest {guest}"):
            card = _card(str(domain.XMLDesc(0)), mac, guest) if domain.isActive() else None
        return None if card is None else card.tap

    def _bound_to(self, tap: str) -> str | None:
        binding = self._found(
            f"nwfilter binding of {tap}",
            self._libvirt.VIR_ERR_NO_NWFILTER_BINDING,
            self._connection.nwfilterBindingLookupByPortDev,
            tap,
        )
        if binding is None:
            return None
        with self._asking(f"nwfilter binding of {tap}"):
            return read_binding(str(binding.XMLDesc(0))).filterref[0]

    def filter_users(self, name: str) -> tuple[str, ...]:
        """Name who refers to a filter: filters, and guests by what runs, by their definition, by a saved state."""
        with self._asking("who refers to which nwfilter"):
            return read_filter_users(self._libvirt, self._connection).get(name, ())

    def agent_addresses(self, guest: str, timeout_s: float = AGENT_TIMEOUT_S) -> tuple[tuple[int, str], ...]:
        """Ask the agent inside the running guest with uuid ``guest`` for its addresses: MAC and address of each.

        A read-only connection may not ask. What it says is the guest's word: nobody may trust it. Raises HostError
        where there is no agent, and where none answers in time: libvirt itself would wait without end for a guest
        that likes to be waited for.
        """
        domain = self._lookup_guest(guest)
        if domain is None:
            raise HostError("the guest is gone", f"{guest} at {self.uri}", "see what there is with: virsh list --all")
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answers.put(domain.interfaceAddresses(self._libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT))
            except self._libvirt.libvirtError as error:
                answers.put(error)

        threading.Thread(target=ask, daemon=True, name=f"agent of {guest}").start()
        try:
            answer = answers.get(timeout=timeout_s)
        except queue.Empty:
            raise HostError(f"the guest agent does not answer within {timeout_s:g} s", f"guest {guest}") from None
        if isinstance(answer, self._libvirt.libvirtError):
            raise HostError(
                f"libvirt: {answer.get_error_message()}",
                f"agent of guest {guest} at {self.uri}",
                "run qemu-guest-agent in the guest, with a channel org.qemu.guest_agent.0 in its XML",
            ) from answer
        return tuple(told_addresses(answer))

    def update_interface(self, guest: str, xml: str, *, live: bool) -> None:
        """Replace the card that has the MAC of ``xml``, in the running guest or in its definition."""
        domain = self._lookup_guest(guest)
        if domain is None:
            raise HostError("the guest is gone", f"{guest} at {self.uri}", "see what there is with: virsh list --all")
        flags = self._libvirt.VIR_DOMAIN_AFFECT_LIVE if live else self._libvirt.VIR_DOMAIN_AFFECT_CONFIG
        with self._asking(f"card of guest {guest}", "see libvirtd's log for the cause"):
            domain.updateDeviceFlags(for_update(xml) if live else xml, flags)

    def _lookup_filter(self, name: str) -> Any:  # noqa: ANN401 libvirt-python has no types
        return self._found(
            f"nwfilter {name}", self._libvirt.VIR_ERR_NO_NWFILTER, self._connection.nwfilterLookupByName, name
        )

    def _lookup_guest(self, uuid: str) -> Any:  # noqa: ANN401 libvirt-python has no types
        return self._found(f"guest {uuid}", self._libvirt.VIR_ERR_NO_DOMAIN, self._connection.lookupByUUIDString, uuid)

    def _found(self, about: str, absent: int, lookup: Any, key: str) -> Any:  # noqa: ANN401 the same
        """Give what a lookup finds, None where libvirt says that it is not there."""
        try:
            return lookup(key)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == absent:
                return None
            raise HostError(f"libvirt: {error.get_error_message()}", f"{about} at {self.uri}") from error


def _card(domain_xml: str, mac: str, guest: str) -> InterfaceXml | None:
    """Give the one card of a guest that has the MAC, None where there is none."""
    found = [one for one in interfaces(domain_xml) if one.mac == parse_mac(mac)]
    if len(found) > 1:
        raise HostError(
            f"{len(found)} cards have the MAC {mac}",
            f"guest {guest}",
            "give each its own: libvirt tells them apart by it",
        )
    return found[0] if found else None
