"""The doors that write: hooks of libvirt in a folder of the test's own, and what a libvirt that refuses is told as."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from analyzer.errors import HostError
from analyzer.host import bridge as bridges
from analyzer.host import probe as probing
from analyzer.host.bridge import BridgeState, PortState
from analyzer.host.rules import KernelRules
from generator.deploy import libvirt_writer
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.libvirt_writer import LibvirtWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOOK = "nwscan-a-hook"
GUEST, MAC, TAP = "6e777363-616e-4c61-8b00-000000000001", "52:54:00:00:00:01", "vnet0"

# Hooks


@pytest.fixture
def door(tmp_path: Path) -> BridgeWriter:
    return BridgeWriter(tmp_path / "hooks" / "qemu.d")


def test_a_hook_is_whole_and_executable_and_goes_again(door: BridgeWriter, tmp_path: Path) -> None:
    folder = tmp_path / "hooks" / "qemu.d"
    assert door.hook(HOOK) is None
    door.write_hook(HOOK, "#!/bin/sh\n")
    assert door.hook(HOOK) == "#!/bin/sh\n"
    assert stat.S_IMODE((folder / HOOK).stat().st_mode) == 0o755
    assert os.listdir(folder) == [HOOK]  # noqa: PTH208 - names, not paths
    door.remove_hook(HOOK)
    door.remove_hook(HOOK)
    assert door.hook(HOOK) is None


def test_what_a_killed_process_left_is_in_nobodys_way(door: BridgeWriter, tmp_path: Path) -> None:
    folder = tmp_path / "hooks" / "qemu.d"
    folder.mkdir(parents=True)
    (folder / f".{HOOK}.partial").write_text("half")
    door.write_hook(HOOK, "whole")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {HOOK: "whole"}


def test_nobodys_hook_is_replaced(door: BridgeWriter, tmp_path: Path) -> None:
    door.write_hook(HOOK, "first")
    with pytest.raises(HostError, match="cannot change libvirt's hooks: File exists"):
        door.write_hook(HOOK, "second")
    assert door.hook(HOOK) == "first"
    assert not list((tmp_path / "hooks" / "qemu.d").glob(".*"))


def test_a_hook_that_is_no_file_is_not_read(door: BridgeWriter, tmp_path: Path) -> None:
    door.write_hook(HOOK, "")
    path = tmp_path / "hooks" / "qemu.d" / HOOK
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(HostError, match="the hook is no file"):
        door.hook(HOOK)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(HostError, match="cannot change libvirt's hooks"):
        door.hook(HOOK)


@pytest.mark.parametrize("name", ["other", "nwscan-/../../x", "nwscan-a/b"])
def test_only_hooks_of_ours_are_touched(door: BridgeWriter, name: str) -> None:
    for act in (door.hook, door.remove_hook, lambda one: door.write_hook(one, "")):
        with pytest.raises(ValueError, match=re.escape(name)):
            act(name)


# Ports


def test_a_port_that_goes_away_meanwhile_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> None:
        raise HostError("no such interface")

    monkeypatch.setattr(bridges, "port", gone)
    assert BridgeWriter().port("nosuchtap0") is None
    with pytest.raises(HostError, match="no such interface"):
        BridgeWriter().port("lo")  # which is there: so it is another refusal
    monkeypatch.setattr("generator.deploy.bridge_writer._index", mock.Mock(side_effect=[7, None]))
    assert BridgeWriter().port("vnet0") is None
    monkeypatch.undo()
    assert BridgeWriter().entry("nosuchbridge0", 0x525400000001) is None


# Why a probe came to nothing


PORT = PortState(TAP, "br0", 2, "forwarding", "tun", True, True, True, True, False, False, False)
BRIDGE = BridgeState("br0", 1, 300.0, False, False, False, False, False)


def probe(monkeypatch: pytest.MonkeyPatch) -> probing.Probe:
    monkeypatch.setattr(bridges, "port", lambda _: PORT)
    monkeypatch.setattr(bridges, "fdb", lambda _: ())
    return probing.Probe(TAP, 0x525400000001, ())


def test_a_probe_is_guarded_before_it_sends_and_asked_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    made = probe(monkeypatch)
    with pytest.raises(HostError, match="the probe is not guarded"):
        made.send()
    with pytest.raises(HostError, match="the probe has ended"):
        made.result()


@pytest.mark.parametrize(
    ("port", "filters_vlans", "why"),
    [
        (None, False, "vnet0 is no longer a port of br0"),
        ({"state": "blocking"}, False, "the port vnet0 is blocking, not forwarding"),
        ({"flood": False}, False, "unknown unicast is not flooded to the port vnet0: its filter is not asked"),
        ({}, True, "br0 filters by VLAN, and the host's own frames are in none of vnet0"),
        ({}, False, "br0 did not flood them to vnet0"),
    ],
)
def test_why_the_bridge_did_not_offer_all(
    monkeypatch: pytest.MonkeyPatch,
    port: dict[str, object] | None,
    filters_vlans: bool,  # noqa: FBT001 - pytest gives it
    why: str,
) -> None:
    made = probe(monkeypatch)
    monkeypatch.setattr(bridges, "port", lambda _: None if port is None else replace(PORT, **port))  # type: ignore[arg-type]
    monkeypatch.setattr(bridges, "bridge_state", lambda _: replace(BRIDGE, vlan_filtering=filters_vlans))
    assert made._obstacle() == why


def test_an_address_that_is_in_use_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([0x020000000005, 0x020000000006])
    monkeypatch.setattr(probing.secrets, "randbits", lambda _: next(drawn))
    assert probing.unused_mac({0x020000000005}) == 0x020000000006


# libvirt


class Refused(Exception):  # noqa: N818 - as libvirt-python's
    def __init__(self, code: int = 1) -> None:
        super().__init__("refused")
        self.code = code

    def get_error_code(self) -> int:
        return self.code

    def get_error_message(self) -> str:
        return "it is in use"


NO_DOMAIN, NO_FILTER, NO_BINDING = 42, 43, 44
LIBVIRT = mock.Mock(
    libvirtError=Refused,
    VIR_ERR_NO_DOMAIN=NO_DOMAIN,
    VIR_ERR_NO_NWFILTER=NO_FILTER,
    VIR_ERR_NO_NWFILTER_BINDING=NO_BINDING,
)
CARD = f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/><target dev='{TAP}'/></interface>"


def xml(*cards: str) -> str:
    return f"<domain><devices>{''.join(cards)}</devices></domain>"


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    made = mock.Mock()
    made.lookupByUUIDString.return_value.XMLDesc.return_value = xml(CARD)
    monkeypatch.setattr(libvirt_writer, "load_libvirt", lambda: LIBVIRT)
    monkeypatch.setattr(libvirt_writer, "connect", lambda *_: made)
    return made


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda door: door.filter_xml("f"), "nwfilter f at"),
        (lambda door: door.define_filter("<filter/>"), "defining an nwfilter"),
        (lambda door: door.undefine_filter("f"), "removing nwfilter f"),
        (lambda door: door.update_interface(GUEST, CARD, live=False), f"card of guest {GUEST}"),
        (lambda door: door.bound_filter(GUEST, MAC), f"nwfilter binding of {TAP}"),
        (lambda door: door.interface_xml(GUEST, MAC, live=True), f"guest {GUEST}"),
    ],
)
def test_what_libvirt_refuses_is_told_with_its_words_and_where(
    connection: mock.Mock, act: Callable[[LibvirtWriter], object], words: str
) -> None:
    found = connection.nwfilterLookupByName.return_value
    domain = connection.lookupByUUIDString.return_value
    for call in (
        found.XMLDesc,
        found.undefine,
        connection.nwfilterDefineXMLFlags,
        domain.updateDeviceFlags,
        connection.nwfilterBindingLookupByPortDev.return_value.XMLDesc,
    ):
        call.side_effect = Refused()
    if "guest" in words and "card" not in words:
        domain.isActive.side_effect = Refused()
    with LibvirtWriter("test:///x") as door, pytest.raises(HostError, match="libvirt: it is in use") as told:
        act(door)
    assert words in told.value.where
    connection.close.assert_called_once_with()


def test_what_is_not_there_is_none_or_nothing_to_do(connection: mock.Mock) -> None:
    connection.nwfilterLookupByName.side_effect = Refused(NO_FILTER)
    connection.lookupByUUIDString.side_effect = Refused(NO_DOMAIN)
    with LibvirtWriter("test:///x") as door:
        assert door.filter_xml("f") is None
        door.undefine_filter("f")
        assert door.interface_xml(GUEST, MAC, live=True) is None
        assert door.bound_filter(GUEST, MAC) is None
        assert not door.has_stray_rules(GUEST, MAC)
        with pytest.raises(HostError, match="the guest is gone"):
            door.update_interface(GUEST, CARD, live=True)
    connection.lookupByUUIDString.side_effect = Refused(1)
    with LibvirtWriter("test:///x") as door, pytest.raises(HostError, match="it is in use"):
        door.bound_filter(GUEST, MAC)


def test_a_guest_that_goes_away_amid_asking_has_no_card(connection: mock.Mock) -> None:
    domain = connection.lookupByUUIDString.return_value
    domain.isActive.side_effect = Refused(NO_DOMAIN)
    with LibvirtWriter("test:///x") as door:
        assert door.interface_xml(GUEST, MAC, live=True) is None
        domain.isPersistent.return_value = False
        assert door.interface_xml(GUEST, MAC, live=False) is None


def test_two_cards_of_one_mac_are_told_of(connection: mock.Mock) -> None:
    connection.lookupByUUIDString.return_value.XMLDesc.return_value = xml(CARD, CARD)
    with LibvirtWriter("test:///x") as door, pytest.raises(HostError, match=f"2 cards have the MAC {MAC}"):
        door.interface_xml(GUEST, MAC, live=True)


def test_rules_without_a_binding_are_stray_where_the_kernel_can_be_asked(
    connection: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.nwfilterBindingLookupByPortDev.side_effect = Refused(NO_BINDING)
    found = KernelRules(TAP, None, present=True, rules=())
    monkeypatch.setattr(libvirt_writer, "kernel_rules", lambda _: found)
    with LibvirtWriter("test:///x") as door:
        assert door.has_stray_rules(GUEST, MAC)
        assert door.bound_filter(GUEST, MAC) is None
        monkeypatch.setattr(libvirt_writer, "kernel_rules", mock.Mock(side_effect=HostError("nobody can ask")))
        assert not door.has_stray_rules(GUEST, MAC)
        connection.lookupByUUIDString.return_value.isActive.return_value = False
        assert not door.has_stray_rules(GUEST, MAC)


def test_a_disk_that_is_full_leaves_no_hook(
    door: BridgeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="No space left on device"):
        door.write_hook(HOOK, "#!/bin/sh\n")
    assert list((tmp_path / "hooks" / "qemu.d").iterdir()) == []
