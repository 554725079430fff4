"""Guests of a test's own: real ones for libvirt, paused before their first instruction, so that they cost no time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from analyzer.host.guests import LibvirtReader
from tests.lab import layout
from tests.lab.domain import interface_xml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.lab import Lab

NAME = "vm 8"
UUID = "8f31c0de-616e-4c61-8b00-000000000008"
MACS = ("52:54:00:00:08:01", "52:54:00:00:08:02")


def domain(cards: str, *, name: str = NAME, uuid: str = UUID) -> str:
    """A guest of nothing but cards."""
    return f"""\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {cards}
    <memballoon model='none'/>
  </devices>
</domain>
"""


def filterref(name: str, parameters: tuple[tuple[str, str], ...] = ()) -> str:
    """A filterref with its parameters."""
    inside = "".join(f"<parameter name='{key}' value='{value}'/>" for key, value in parameters)
    return f"<filterref filter='{name}'>{inside}</filterref>"


def cards(macs: tuple[str, ...] = MACS[:1], reference: str = "") -> str:
    """Cards on the lab's bridge."""
    return "\n".join(interface_xml(mac, filterref=reference) for mac in macs)


@contextmanager
def paused_guest(
    lab: Lab, live: str | None, inactive: str | None, *, name: str = NAME, uuid: str = UUID
) -> Iterator[None]:
    """A guest that runs with the cards ``live`` and is defined with ``inactive``; None: is off, is transient."""
    path = f"{layout.ROOT}/paused.xml"
    try:
        if live is not None:
            lab.write(path, domain(live, name=name, uuid=uuid))
            lab.virsh(f"create {path} --paused")
        if inactive is not None:
            lab.write(path, domain(inactive, name=name, uuid=uuid))
            lab.virsh(f"define {path}")
        yield
    finally:
        with LibvirtReader(lab.outside_uri) as reader:
            there = {card.identity.name: card for card in reader.cards()}.get(name)
        if there is not None and there.running:
            lab.virsh(f"destroy '{name}'")
        if there is not None and there.persistent:
            lab.virsh(f"undefine '{name}' --managed-save")
