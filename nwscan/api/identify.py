"""Whose traffic: from what people type to the cards that are meant."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.host.guests import LibvirtReader
from analyzer.host.tap_address import guessed_guest_mac, tap_address
from analyzer.model.identity import Address, GuestIdentity, Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from analyzer.host.guests import GuestCard
    from nwscan.config import Settings


def cards_of(targets: Sequence[str], settings: Settings, *, need_tap: bool = True) -> tuple[GuestCard, ...]:
    """Give the cards that the targets name, each once, in order; with ``need_tap`` those that have a tap now.

    Raises HostError where libvirt does not answer or knows no such tap or guest.
    """
    with LibvirtReader(settings.uri) as libvirt:
        cards = [card for target in targets for card in libvirt.resolve(target, need_tap=need_tap)]
    return tuple({(card.identity.uuid, card.identity.card): card for card in cards}.values())


def card_of(target: str, settings: Settings, *, need_tap: bool = True) -> GuestCard:
    """Give the one card that the target names; raises UsageError where it has several."""
    cards = cards_of([target], settings, need_tap=need_tap)
    if len(cards) != 1:
        names = ", ".join(f"{card.identity.name}:{card.identity.card}" for card in cards)
        raise UsageError(f"{target} has {len(cards)} cards", names, f"name one of them, such as {target}:0")
    return cards[0]


def all_cards(settings: Settings, *, running: bool) -> tuple[GuestCard, ...]:
    """Give every card of the host; with ``running`` those that have a tap now."""
    with LibvirtReader(settings.uri) as libvirt:
        return tuple(card for card in libvirt.cards() if not running or card.identity.tap)


def with_agents(
    cards: Sequence[GuestIdentity], settings: Settings
) -> tuple[tuple[GuestIdentity, ...], tuple[str, ...]]:
    """Give the cards with the addresses that the agents in their guests tell, and why some tell none.

    An agent says what the guest wants: its addresses are not trusted. Raises HostError where libvirt lets nobody ask.
    """
    from generator.deploy.libvirt_writer import LibvirtWriter

    told: dict[str, dict[int, list[str]]] = {}
    notes: list[str] = []
    with LibvirtWriter(settings.uri) as libvirt:
        for card in cards:
            if card.uuid is None or card.uuid in told:
                continue
            by_mac = told[card.uuid] = {}
            try:
                for mac, address in libvirt.agent_addresses(card.uuid):
                    by_mac.setdefault(mac, []).append(address)
            except HostError as error:
                notes.append(f"the agent of {card.label} tells no addresses: {error.what}")
    return tuple(_with_told(card, told.get(card.uuid or "", {})) for card in cards), tuple(notes)


def _with_told(card: GuestIdentity, told: Mapping[int, Sequence[str]]) -> GuestIdentity:
    known = {address.value for address in card.addresses}
    values = dict.fromkeys(value for mac in card.macs for value in told.get(mac, ()) if value not in known)
    agent = tuple(Address(value, Provenance.AGENT, trusted=False) for value in values)
    return replace(card, addresses=(*card.addresses, *agent))


def taps_and_expression(words: Sequence[str], settings: Settings) -> tuple[tuple[GuestIdentity, ...], str | None]:
    """Split ``TARGET... [BPF]`` into who is captured and the expression, also where libvirt does not answer.

    Then the words that are taps by libvirt's convention stand for the guests that their addresses tell: guesses, marked
    as such. Raises HostError where the first word names nothing.
    """
    try:
        with LibvirtReader(settings.uri):
            pass
    except HostError:
        guesses = list(itertools.takewhile(lambda card: card is not None, map(guess_of_tap, words)))
        if not guesses:
            raise
        return tuple(card for card in guesses if card is not None), " ".join(words[len(guesses) :]) or None
    cards, expression = targets_and_expression(words, settings)
    return tuple(card.identity for card in cards), expression


def guess_of_tap(tap: str) -> GuestIdentity | None:
    """Give the guest that the address of a tap tells, None where there is no such tap or it tells nothing."""
    address = tap_address(tap)
    mac = None if address is None else guessed_guest_mac(address)
    return None if mac is None else GuestIdentity((mac,), Provenance.GUESS, tap=tap)


def targets_and_expression(words: Sequence[str], settings: Settings) -> tuple[tuple[GuestCard, ...], str | None]:
    """Split ``TARGET... [BPF]``: the first word is a target; from the first word that is none on, it is the expression.

    Raises HostError where the first word names nothing.
    """
    with LibvirtReader(settings.uri) as libvirt:
        found = list(libvirt.resolve(words[0]))
        for position, word in enumerate(words[1:], 1):
            try:
                found += libvirt.resolve(word)
            except NwscanError:
                return tuple(found), " ".join(words[position:])
    return tuple(found), None
