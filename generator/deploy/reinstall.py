"""Making the rules of a running card anew, where its XML is right and its rules are gone.

A deleted binding or a flushed firewall leaves the XML as it was, and libvirt does nothing where nothing in the XML
changes: so the filterref is taken away and put back.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from generator.nwfilter.xml import read_filterref, with_filterref

if TYPE_CHECKING:
    from generator.deploy.door import WriterDoor
    from generator.deploy.plan import Plan, Reinstall


def reinstall(plan: Plan, step: Reinstall, door: WriterDoor) -> float:
    """Take the filterref away and put it back; gives how long the card was without its rules, in s.

    That is from when the first change was asked for until the second was done: at the most, then.
    """
    begun_s = time.monotonic()
    door.update_interface(plan.guest, with_filterref(step.before, None), live=True)
    door.update_interface(plan.guest, step.before, live=True)
    return time.monotonic() - begun_s


def undo_reinstall(plan: Plan, step: Reinstall, door: WriterDoor) -> list[str]:
    """Put the filterref back where making the rules anew ended between its two halves.

    Without the filter there is nothing to refer to: the change that defined it is undone already, though the journal
    could not say so of this one (a full disk).
    """
    now, ref = door.interface_xml(plan.guest, step.mac, live=True), read_filterref(step.before)
    if now is None or read_filterref(now) is not None or ref is None or door.filter_xml(ref.filter) is None:
        return []
    is_same = with_filterref(step.before, None) == now
    again = step.before if is_same else with_filterref(now, ref)
    door.update_interface(plan.guest, again, live=True)
    return [f"put the filter back on card {step.mac} of {plan.name}"]
