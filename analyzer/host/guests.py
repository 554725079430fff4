"""Guests and their cards, as libvirt knows them. The only door to libvirt that reads; its connection is read-only."""

from __future__ import annotations

import ipaddress
import shlex
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias
from urllib.parse import urlsplit

from analyzer.errors import HostError, UsageError
from analyzer.host.domain_xml import FilterReference, InterfaceXml, Parameters, interfaces, keep_mark, read_binding
from analyzer.host.filter_users import read_filter_users
from analyzer.host.libvirt_connection import connect, load_libvirt
from analyzer.host.neighbours import neighbours
from analyzer.model.addresses import parse_mac
from analyzer.model.identity import Address, GuestIdentity, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ADDRESS_PARAMETERS: Final = ("IP", "IPV6")
"""Filter parameters in which an administrator states the guest's addresses (libvirt, formatnwfilter.html)."""


_SYSTEM_ONLY: Final = "nwfilters are there on the system connection (qemu:///system) only"

_Domain: TypeAlias = Any  # libvirt.virDomain: libvirt-python has no types


class Binding(NamedTuple):
    """A filter that libvirt instantiates on a tap now."""

    tap: str
    filter: str
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class GuestCard:
    """One card of a guest: who it is, how it is attached, and its ``<interface>`` element as libvirt prints it.

    ``live_xml`` is None for a guest that is off, ``inactive_xml`` for a card that will not be there after the next
    start (transient guests, cards plugged in for now). ``interface_type``, ``model`` and ``filterref`` are of the live
    one where there is one.
    """

    identity: GuestIdentity
    interface_type: str
    model: str | None
    filterref: FilterReference | None
    persistent: bool
    running: bool
    live_xml: str | None
    inactive_xml: str | None
    network: str | None = None
    virtualport: str | None = None
    inactive_filterref: FilterReference | None = None
    migrated: Literal["here", "away"] | None = None
    """Why it runs, or is off, where that is a migration: the last that libvirt knows of this guest."""
    keep: str | None = None
    """Why the guest is marked to keep its foreign unicast (domain_xml.KEEP_URI); None where it is not."""


class LibvirtReader:
    """A read-only connection to libvirt, open from entering it to leaving it.

    Without ``addresses`` the guests' addresses are not asked for: two calls less for each guest. Raises HostError, with
    libvirt's own words, where libvirt does not answer or refuses.
    """

    def __init__(self, uri: str, *, addresses: bool = True) -> None:
        self.uri = uri
        self._with_addresses = addresses
        self._libvirt = load_libvirt()
        self._connection: Any = None
        self._cards: list[GuestCard] | None = None
        self._told_neighbours: tuple[tuple[int, str], ...] | None = None

    def __enter__(self) -> Self:
        self._connection = connect(self._libvirt, self._libvirt.openReadOnly, self.uri)
        return self

    def __exit__(self, *_: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _asking(self, about: str, hint: str = "") -> Iterator[None]:
        """Turn libvirt's errors into ours."""
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise HostError(f"libvirt: {error.get_error_message()}", f"{about} at {self.uri}", hint) from error

    def version(self) -> str:
        """Give the version of the libvirt that answers: ``9.0.0``."""
        with self._asking("its version"):
            number = int(self._connection.getLibVersion())
        return f"{number // 1_000_000}.{number // 1_000 % 1_000}.{number % 1_000}"

    def cards(self) -> list[GuestCard]:
        """Give every card of every guest, running or not, by guest name and card; read once a connection."""
        if self._cards is None:
            with self._asking("the list of guests"):
                domains = self._connection.listAllDomains()
            found = [card for domain in domains for card in self._cards_of(domain)]
            self._cards = sorted(found, key=lambda card: (card.identity.name or "", card.identity.card or 0))
        return list(self._cards)

    def _cards_of(self, domain: _Domain) -> list[GuestCard]:
        """Give the cards of one guest; none where it went away meanwhile."""
        try:
            name, uuid = domain.name(), domain.UUIDString()
            persistent = bool(domain.isPersistent())
            live_xml = domain.XMLDesc(0) if domain.isActive() else None
            inactive_xml = domain.XMLDesc(self._libvirt.VIR_DOMAIN_XML_INACTIVE) if persistent else None
            migrated = self._migrated(*domain.state())
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_DOMAIN:
                return []
            raise HostError(f"libvirt: {error.get_error_message()}", f"a guest at {self.uri}", "try again") from error
        guest = GuestIdentity((), Provenance.LIBVIRT_XML, name=name, uuid=uuid)
        inactive = interfaces(inactive_xml) if inactive_xml else ()
        if live_xml is None:
            cards = [_card(guest, None, one, persistent=persistent) for one in inactive]
        else:
            addresses = self._addresses(domain) if self._with_addresses else {}
            cards = [
                _card(guest, one, kept, persistent=persistent, addresses=addresses.get(one.mac or 0, ()))
                for one, kept in _paired(interfaces(live_xml), inactive)
            ]
        return [replace(_marked(card, live_xml, inactive_xml), migrated=migrated) for card in cards]

    def _migrated(self, state: int, reason: int) -> Literal["here", "away"] | None:
        """Say whether libvirt gives a migration as the reason for a guest's state (virDomainGetState)."""
        if (state, reason) == (self._libvirt.VIR_DOMAIN_RUNNING, self._libvirt.VIR_DOMAIN_RUNNING_MIGRATED):
            return "here"
        if (state, reason) == (self._libvirt.VIR_DOMAIN_SHUTOFF, self._libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED):
            return "away"
        return None

    def _addresses(self, domain: _Domain) -> Mapping[int, tuple[Address, ...]]:
        """Give the addresses of a running guest by MAC: libvirt's own DHCP leases, and the host's ARP table.

        A lease was given by the host; an ARP entry repeats what the guest says and is not trusted. Neither is
        always there, which is no error.
        """
        sources = (
            (self._libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, Provenance.LEASE, True),
            (self._libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, Provenance.ARP_TABLE, False),
        )
        found: dict[int, list[Address]] = {}
        for source, provenance, trusted in sources:
            try:
                by_name = domain.interfaceAddresses(source)
                told = tuple(told_addresses(by_name))
            except self._libvirt.libvirtError:
                told = self._neighbours() if provenance is Provenance.ARP_TABLE else ()
            for mac, value in told:
                known = found.setdefault(mac, [])
                if value not in {address.value for address in known}:
                    known.append(Address(value, provenance, trusted))
        return {mac: tuple(addresses) for mac, addresses in found.items()}

    def _neighbours(self) -> tuple[tuple[int, str], ...]:
        """Give this host's own neighbours, where libvirt is of this host; read once a connection.

        libvirt 9.0.0 cannot read the table of a Linux 6.18: "internal error: wrong nlmsg len".
        """
        if self._told_neighbours is None:
            self._told_neighbours = ()
            if urlsplit(self.uri).hostname is None:
                with suppress(HostError):
                    self._told_neighbours = neighbours()
        return self._told_neighbours

    def resolve(self, target: str, *, need_tap: bool = True) -> tuple[GuestCard, ...]:
        """Give the cards that TARGET names: a tap, a guest (all its cards), or one card (``vm1:MAC``, ``vm1:0``).

        With ``need_tap`` (the default) they are the ones that have a tap now, of a running guest. Raises UsageError
        where the name means two things or the guest has no such card, HostError where there is no such tap or guest or
        the guest is off.
        """
        found = resolve_target(target, self.cards())
        if not found:
            raise self._unknown(target)
        if not need_tap:
            return found
        name = found[0].identity.name
        if not found[0].running:
            raise HostError(
                f"guest {name} is off", f"{target} at {self.uri}", f"start it: virsh start {shlex.quote(str(name))}"
            )
        with_tap = tuple(card for card in found if card.identity.tap)
        if not with_tap:
            kinds = ", ".join(sorted({card.interface_type for card in found}))
            raise HostError(
                f"{target} has no tap: its interface type is {kinds}", self.uri, "only cards with a tap can be measured"
            )
        return with_tap

    def _unknown(self, target: str) -> HostError | UsageError:
        """Give the error for a name that no card has."""
        with self._asking("the list of guests"):
            names = sorted((str(domain.name()) for domain in self._connection.listAllDomains()), key=len, reverse=True)
        guest = next((name for name in names if target == name or target.startswith(f"{name}:")), None)
        if guest is None:
            return HostError(f"no tap or guest is called {target}", self.uri, "see what there is with: nwscan list")
        cards = [card for card in self.cards() if card.identity.name == guest]
        shown = ", ".join(f"{guest}:{card.identity.card}" for card in cards)
        return UsageError(
            f"guest {guest} has no card" + ("" if target == guest else f" {target.removeprefix(guest)[1:]}"),
            f"{target} at {self.uri}",
            f"its cards are {shown}" if cards else "it has no network interface",
        )

    def filter_names(self) -> tuple[str, ...]:
        """Give the names of the nwfilters, sorted. Raises HostError where this connection has none (sessions, test)."""
        with self._asking("the list of nwfilters", _SYSTEM_ONLY):
            return tuple(sorted(str(one.name()) for one in self._connection.listAllNWFilters(0)))

    def filter_xml(self, name: str) -> str:
        """Give the XML of one nwfilter as libvirt prints it. Raises HostError where there is none of that name."""
        with self._asking(f"nwfilter {name}", "see what there is with: virsh nwfilter-list"):
            return str(self._connection.nwfilterLookupByName(name).XMLDesc(0))

    def bindings(self) -> tuple[Binding, ...]:
        """Give the filters that libvirt instantiates on taps now, by tap."""
        with self._asking("the nwfilter bindings", _SYSTEM_ONLY):
            documents = [str(one.XMLDesc(0)) for one in self._connection.listAllNWFilterBindings(0)]
        read = (read_binding(document) for document in documents)
        return tuple(sorted(Binding(one.tap, *one.filterref) for one in read))

    def filter_users(self) -> Mapping[str, tuple[str, ...]]:
        """Give, for each nwfilter that somebody refers to, who does, in words."""
        with self._asking("who refers to which nwfilter", _SYSTEM_ONLY):
            return read_filter_users(self._libvirt, self._connection)

    def domain_xml(self, name: str, *, inactive: bool = False) -> str:
        """Give a guest's XML, what runs or with ``inactive`` what the next start will use. Raises HostError."""
        flags = self._libvirt.VIR_DOMAIN_XML_INACTIVE if inactive else 0
        with self._asking(f"guest {name}", "see what there is with: virsh list --all"):
            return str(self._connection.lookupByName(name).XMLDesc(flags))


def resolve_target(target: str, cards: Sequence[GuestCard]) -> tuple[GuestCard, ...]:
    """Give the cards that TARGET names, empty where none is. Raises UsageError where it names two things."""
    meanings = {
        tuple(index for index, card in enumerate(cards) if wanted(card))
        for wanted in (
            lambda card: card.identity.tap == target,
            lambda card: target in {card.identity.name, card.identity.uuid},
            lambda card: _is_card_of_guest(target, card),
        )
    } - {()}
    if len(meanings) > 1:
        named = "; ".join(
            ", ".join(f"{cards[index].identity.name}:{cards[index].identity.card}" for index in meaning)
            for meaning in sorted(meanings)
        )
        raise UsageError(f"{target} means more than one thing", named, "name one card by its guest and its MAC")
    return tuple(cards[index] for meaning in meanings for index in meaning)


def _is_card_of_guest(target: str, card: GuestCard) -> bool:
    """Say whether TARGET is ``guest:MAC`` or ``guest:index`` of the card; a guest's name may hold colons itself."""
    prefix = f"{card.identity.name}:"
    if not target.startswith(prefix):
        return False
    rest = target[len(prefix) :]
    if rest.isascii() and rest.isdigit():
        return int(rest) == card.identity.card if len(rest) < len("100000") else False
    try:
        return parse_mac(rest) in card.identity.macs
    except UsageError:
        return False


def _card(
    guest: GuestIdentity,
    live: InterfaceXml | None,
    inactive: InterfaceXml | None,
    *,
    persistent: bool,
    addresses: tuple[Address, ...] = (),
) -> GuestCard:
    """Join what runs with what is kept; at least one of the two is there."""
    shown = live or inactive
    if shown is None:
        raise ValueError(guest)
    stated = _stated_addresses(shown.filterref)
    known = {address.value for address in stated}
    identity = replace(
        guest,
        macs=() if shown.mac is None else (shown.mac,),
        card=shown.index,
        tap=live.tap if live else None,
        bridge=shown.bridge,
        addresses=(*stated, *(address for address in addresses if address.value not in known)),
    )
    return GuestCard(
        identity=identity,
        interface_type=shown.type,
        model=shown.model,
        filterref=shown.filterref,
        persistent=persistent,
        running=live is not None,
        live_xml=live.text if live else None,
        inactive_xml=inactive.text if inactive else None,
        network=shown.network,
        virtualport=shown.virtualport,
        inactive_filterref=inactive.filterref if inactive else None,
    )


def _marked(card: GuestCard, *documents: str | None) -> GuestCard:
    """Give the card with the mark of either of its guest's documents."""
    mac = card.identity.macs[0] if card.identity.macs else None
    marks = (keep_mark(document, mac) for document in documents if document is not None)
    return replace(card, keep=next((mark for mark in marks if mark is not None), None))


def _paired(
    live: Sequence[InterfaceXml], inactive: Sequence[InterfaceXml]
) -> Iterator[tuple[InterfaceXml, InterfaceXml | None]]:
    """Give each live card with the kept one of the same MAC (the n-th with the n-th, should a MAC be there twice)."""
    left = list(inactive)
    for one in live:
        match = next((kept for kept in left if kept.mac == one.mac), None)
        if match is not None:
            left.remove(match)
        yield one, match


def _stated_addresses(reference: FilterReference | None) -> tuple[Address, ...]:
    """Give the addresses that an administrator stated as parameters of the card's filter."""
    parameters = reference[1] if reference else ()
    values = (_canonical_address(value) for name, value in parameters if name in _ADDRESS_PARAMETERS)
    return tuple(Address(value, Provenance.LIBVIRT_XML, trusted=True) for value in dict.fromkeys(values) if value)


def told_addresses(by_name: Mapping[str, Mapping[str, Any]] | None) -> Iterator[tuple[int, str]]:
    """Read what virDomainInterfaceAddresses gives: MAC and address; what is neither is left out."""
    for entry in (by_name or {}).values():
        try:
            mac = parse_mac(str(entry.get("hwaddr") or ""))
        except UsageError:
            continue
        for told in entry.get("addrs") or ():
            value = _canonical_address(str(told.get("addr") or ""))
            if value:
                yield mac, value


def _canonical_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None
