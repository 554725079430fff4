"""The commands that install the filters without us, and those that undo it: what a person types, file by file."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.host.domain_xml import for_update
from analyzer.model.addresses import format_mac
from generator.nwfilter.xml import reference_lines, write_filter
from generator.suggest.profiles import interface_xml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analyzer.host.guests import GuestCard
    from generator.nwfilter.model import Filter
    from generator.suggest.profiles import FilterSet

GUEST_PLACEHOLDER: Final = "GUEST"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to install and undo by hand: ``files`` (name and text) to write, then ``install`` or ``undo`` line by line.

    Lines that begin with ``#`` are for the person.
    """

    files: tuple[tuple[str, str], ...]
    install: tuple[str, ...]
    undo: tuple[str, ...]


def by_hand(
    filter_set: FilterSet,
    guest: str | None = None,
    *,
    card: GuestCard | None = None,
    library: Mapping[str, Filter] | None = None,
    connect: str | None = None,
) -> Recipe:
    """Give files and commands for ``filter_set``; they run in the folder that holds the files.

    ``guest`` is its name, by default the card's, else a placeholder. Without a ``card`` the interface's XML is not
    known, and the element to put in with ``virsh edit`` is given. ``library`` tells which filters are there already.
    """
    virsh = "virsh" if connect is None else f"virsh -c {shlex.quote(connect)}"
    name = _guest_word(guest or (card.identity.name if card else None) or GUEST_PLACEHOLDER)
    files = [(f"{each.name}.xml", write_filter(each)) for each in filter_set.filters]
    install = [f"{virsh} nwfilter-define --validate {shlex.quote(each.name)}.xml" for each in filter_set.filters]
    undo: list[str] = []
    if card is not None:
        for file, text, before, option in _interfaces(filter_set, card):
            files += [(file, text), (f"before-{file}", before)]
            install.append(f"{virsh} update-device {name} {shlex.quote(file)} --{option}")
            undo.append(f"{virsh} update-device {name} before-{shlex.quote(file)} --{option}")
    elif not filter_set.attached:
        install += _edit(filter_set, f"{virsh} edit {name}")
        undo += [
            f"{virsh} edit {name}",
            f"# put the filterref back that was there before, or take {filter_set.root.name} out where there was none",
        ]
    for each in reversed(filter_set.filters):
        quoted = shlex.quote(each.name)
        earlier = (library or {}).get(each.name)
        if earlier is None:
            undo.append(f"{virsh} nwfilter-undefine {quoted}")
        else:
            files.append((f"before-{each.name}.xml", write_filter(earlier)))
            undo.append(f"{virsh} nwfilter-define --validate before-{quoted}.xml")
    return Recipe(tuple(files), tuple(install), tuple(undo))


def virsh_commands(
    filter_set: FilterSet,
    guest: str | None = None,
    *,
    card: GuestCard | None = None,
    library: Mapping[str, Filter] | None = None,
    connect: str | None = None,
    undo: bool = False,
) -> list[str]:
    """Give the commands of ``by_hand`` that install, with ``undo`` those that undo it."""
    recipe = by_hand(filter_set, guest, card=card, library=library, connect=connect)
    return list(recipe.undo if undo else recipe.install)


def _interfaces(filter_set: FilterSet, card: GuestCard) -> list[tuple[str, str, str, str]]:
    """Give file name, new text, present text and virsh's option for the live and the inactive XML that change."""
    live, inactive = interface_xml(filter_set, card)
    root = filter_set.root.name
    rows = (
        (f"{root}-live.xml", live, card.live_xml, "live"),
        (f"{root}-config.xml", inactive, card.inactive_xml, "config"),
    )
    return [
        (file, for_update(new), for_update(old), option)
        for file, new, old, option in rows
        if new is not None and old is not None and new != old
    ]


def _edit(filter_set: FilterSet, command: str) -> list[str]:
    element = reference_lines(filter_set.reference, "  ").splitlines()
    mac, root = format_mac(filter_set.macs[0]), filter_set.root.name
    return [
        command,
        f"# put this into the <interface> with <mac address='{mac}'/>, in place of a filterref:",
        *(f"# {line}" for line in element),
        f"# a filter that was there goes on acting where {root}.xml refers to it, as its last line",
        "# it acts from the guest's next start",
    ]


def _guest_word(name: str) -> str:
    """Give a guest's name as a shell takes it and virsh does not mistake for an option."""
    return shlex.quote(f"--domain={name}") if name.startswith("-") else shlex.quote(name)
