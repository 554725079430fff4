"""Which entry of a bridge's FDB counts where the kernel makes several of one address."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analyzer.errors import HostError
from analyzer.host import bridge as bridges
from analyzer.model.addresses import parse_mac
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.door import EntryLook

MAC = "52:54:00:00:00:01"
BRIDGE = "lo"  # an interface that is there on every host: only its listing is asked for


def entry(port: str, state: str, vlan: int | None = None) -> dict[str, Any]:
    """One entry as iproute2 prints it."""
    numbered = {} if vlan is None else {"vlan": vlan}
    named = {} if state == "dynamic" else {"state": state}
    return {"mac": MAC, "ifname": port, **numbered, "flags": [], "master": BRIDGE, **named}


def look(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, Any]) -> EntryLook | None:
    listing = bridges.parse_fdb(json.dumps(entries), BRIDGE)
    monkeypatch.setattr(bridges, "fdb", lambda _: listing)
    return BridgeWriter().entry(BRIDGE, parse_mac(MAC))


def test_the_entry_without_a_vlan_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """br_fdb_add() of the kernel, asked without a VLAN: one without, and one for each VLAN of the port (PVID 1)."""
    both = entry("vnet0", "static", vlan=1), entry("vnet0", "static")
    assert look(monkeypatch, *both) == EntryLook("vnet0", "static")
    assert look(monkeypatch, entry("vnet1", "static", vlan=1), entry("vnet0", "dynamic")) == ("vnet0", "dynamic")


def test_entries_of_several_vlans_alone_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(monkeypatch, entry("vnet0", "dynamic", vlan=7)) == EntryLook("vnet0", "dynamic")
    with pytest.raises(HostError) as caught:
        look(monkeypatch, entry("vnet0", "dynamic", vlan=7), entry("vnet1", "dynamic", vlan=8))
    assert caught.value.hint == "see: bridge fdb show br lo"
