"""The steps of a bridge remedy: is the bridge as the plan found it, do the step, undo it.

transaction.py and undo.py decide when. An entry that was learnt comes and goes by itself, so a plan holds whether the
address is known or not; what it does not hold with is an entry elsewhere, or one that somebody made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from analyzer.host.domain_xml import interfaces
from analyzer.model.addresses import parse_mac
from generator.deploy.hook import hook_name, hook_text, is_our_hook
from generator.deploy.plan import BridgeStep, InstallHook, Plan, SetFdbEntry, SetPortFlag, digest

if TYPE_CHECKING:
    from generator.deploy.door import WriterDoor

_ANEW: Final = "make a new plan with nwscan suggest"


def tap_of(interface_xml: str | None) -> str | None:
    """Give the tap of a card from its ``<interface>`` element, None without one."""
    if interface_xml is None:
        return None
    (card,) = interfaces(f"<domain><devices>\n{interface_xml}\n</devices></domain>")
    return card.tap


def require_unchanged(plan: Plan, step: BridgeStep, door: WriterDoor) -> None:
    """Raise HostError where the bridge is not as the plan found it."""
    if isinstance(step, InstallHook):
        if digest(_text(plan, step)) != step.sha256:
            raise HostError("the plan is of another version of nwscan, whose hook is another", plan.name, _ANEW)
        name = hook_name(plan.guest, step.card)
        if door.bridge.hook(name) is not None:
            raise HostError("there is a hook of this name already", name, f"see: nwscan rollback {plan.guest}")
        return
    port = door.bridge.port(step.port)
    if port is None or (port.ifindex, port.bridge) != (step.ifindex, step.bridge):
        raise HostError(f"{step.port} is not the port of {step.bridge} that it was", plan.name, _ANEW)
    if step.card is not None and tap_of(door.interface_xml(plan.guest, step.card, live=True)) != step.port:
        raise HostError(f"{step.port} is not the tap of card {step.card} any more", plan.name, _ANEW)
    if isinstance(step, SetPortFlag):
        if port.flood != step.before:
            raise HostError(f"the flooding to {step.port} has been changed since the plan was made", plan.name, _ANEW)
        return
    _require_entry(plan, step, door)


def _require_entry(plan: Plan, step: SetFdbEntry, door: WriterDoor) -> None:
    now = door.bridge.entry(step.bridge, parse_mac(step.mac))
    if now is not None and now.port != step.port:
        raise HostError(f"{step.bridge} knows {step.mac} at {now.port} now", plan.name, _ANEW)
    if ("dynamic" if now is None else now.state) != (step.before or "dynamic"):
        raise HostError(f"somebody changed the entry of {step.mac} at {step.port}", plan.name, _ANEW)


def do(plan: Plan, step: BridgeStep, door: WriterDoor) -> None:
    """Do one step and look whether it is done."""
    if isinstance(step, InstallHook):
        name, text = hook_name(plan.guest, step.card), _text(plan, step)
        door.bridge.write_hook(name, text)
        _require(door.bridge.hook(name) == text, f"the hook {name} is not as it was written")
    elif isinstance(step, SetPortFlag):
        door.bridge.set_flood(step.port, is_on=step.after)
        now = door.bridge.port(step.port)
        _require(now is not None and now.flood == step.after, f"the kernel did not change the flooding to {step.port}")
    else:
        mac = parse_mac(step.mac)
        door.bridge.set_entry(mac, step.port, step.after)
        _require(
            door.bridge.entry(step.bridge, mac) == (step.port, step.after),
            f"the kernel did not make the entry of {step.mac} static",
        )


def undo(plan: Plan, step: BridgeStep, door: WriterDoor) -> list[str]:
    """Undo one step where its effect is still there; gives what was done, a line each.

    The tap is the one that the card has now: a hook of ours may have done the same to a later one.
    """
    if isinstance(step, InstallHook):
        return _undo_hook(plan, step, door)
    port = _port_now(plan, step, door)
    if port is None:
        return []  # the port is gone, and with it its flags and entries
    if isinstance(step, SetPortFlag):
        now = door.bridge.port(port)
        if now is None or now.flood == step.before:
            return []
        door.bridge.set_flood(port, is_on=step.before)
        now = door.bridge.port(port)
        _require(now is None or now.flood == step.before, f"the kernel did not change the flooding to {port}")
        return [f"restored the flooding to {port}"]
    return _undo_entry(step, port, door)


def _undo_entry(step: SetFdbEntry, port: str, door: WriterDoor) -> list[str]:
    mac = parse_mac(step.mac)
    now = door.bridge.entry(step.bridge, mac)
    if now is None or now.state in {step.before, "dynamic"}:
        return []
    if now != (port, step.after):
        return [f"left the entry of {step.mac} alone: somebody made it {now.state} at {now.port}"]
    door.bridge.set_entry(mac, port, step.before)
    now = door.bridge.entry(step.bridge, mac)
    _require(now is None or now.state != step.after, f"the kernel did not restore the entry of {step.mac}")
    return [f"restored the entry of {step.mac} at {port}"]


def _undo_hook(plan: Plan, step: InstallHook, door: WriterDoor) -> list[str]:
    name = hook_name(plan.guest, step.card)
    now = door.bridge.hook(name)
    if now is None:
        return []
    if not is_our_hook(now) or digest(now) != step.sha256:
        return [f"left the hook {name} alone: it is not as nwscan made it"]
    door.bridge.remove_hook(name)
    _require(door.bridge.hook(name) is None, f"the hook {name} is still there")
    return [f"removed the hook {name}"]


def _port_now(plan: Plan, step: SetPortFlag | SetFdbEntry, door: WriterDoor) -> str | None:
    """Give the port that the step is about now: the card's tap of today, else the very port that was changed."""
    name = step.port if step.card is None else tap_of(door.interface_xml(plan.guest, step.card, live=True))
    port = None if name is None else door.bridge.port(name)
    if port is None or port.bridge != step.bridge or (step.card is None and port.ifindex != step.ifindex):
        return None
    return name


def _text(plan: Plan, step: InstallHook) -> str:
    return hook_text(plan.guest, step.card, step.bridge, step.macs)


def _require(is_so: bool, complaint: str) -> None:  # noqa: FBT001 a claim
    if not is_so:
        raise HostError(complaint, "this host's bridge", "see: bridge -d link show, bridge fdb show")
