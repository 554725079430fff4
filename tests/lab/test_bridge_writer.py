"""The door that changes bridges, and the hook that it installs, on a real bridge."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from analyzer.errors import HostError
from analyzer.model.addresses import format_mac
from generator.deploy.bridge_writer import BridgeWriter
from generator.deploy.door import EntryLook
from generator.deploy.hook import hook_name, hook_text, is_our_hook
from tests.lab.bridge_bench import ABSENT_MAC, BRIDGE, GUEST_MAC, OTHER_TAP, TAP, BridgeBench, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if os.geteuid() != 0 or shutil.which("ip") is None:
    pytest.skip("a bridge of one's own needs root and iproute2", allow_module_level=True)

UUID = "6e777363-616e-4c61-8b00-000000000001"
CARD, NESTED = format_mac(GUEST_MAC), "52:54:00:00:00:21"
NAME = hook_name(UUID, CARD)
TEXT = hook_text(UUID, CARD, BRIDGE, (CARD, NESTED))


@pytest.fixture(autouse=True)
def bench() -> Iterator[BridgeBench]:
    with BridgeBench() as bench:
        yield bench


@pytest.fixture
def door(tmp_path: Path) -> BridgeWriter:
    return BridgeWriter(tmp_path / "hooks" / "qemu.d")


def flood(door: BridgeWriter, port: str = TAP) -> bool | None:
    look = door.port(port)
    return None if look is None else look.flood


def test_flags_and_entries_are_set_and_taken_back(door: BridgeWriter) -> None:
    assert (flood(door), door.entry(BRIDGE, GUEST_MAC)) == (True, None)
    door.set_entry(GUEST_MAC, TAP, "static")
    door.set_flood(TAP, is_on=False)
    assert (flood(door), flood(door, OTHER_TAP)) == (False, True)
    assert door.entry(BRIDGE, GUEST_MAC) == EntryLook(TAP, "static")
    door.set_flood(TAP, is_on=True)
    door.set_entry(GUEST_MAC, TAP, "dynamic")
    assert (flood(door), door.entry(BRIDGE, GUEST_MAC)) == (True, EntryLook(TAP, "dynamic"))
    door.set_entry(GUEST_MAC, TAP, None)
    assert door.entry(BRIDGE, GUEST_MAC) is None


def test_what_is_not_there_is_none_and_cannot_be_changed(door: BridgeWriter) -> None:
    assert (door.port("nosuch"), door.port("eT"), door.entry("nosuch", ABSENT_MAC)) == (None, None, None)
    with pytest.raises(HostError):
        door.set_flood("nosuch", is_on=False)
    with pytest.raises(HostError):
        door.set_entry(ABSENT_MAC, "nosuch", "static")


def test_a_hook_is_whole_executable_and_nobody_elses(door: BridgeWriter, tmp_path: Path) -> None:
    path = tmp_path / "hooks" / "qemu.d" / NAME
    assert door.hook(NAME) is None
    door.write_hook(NAME, TEXT)
    assert (door.hook(NAME), path.stat().st_mode & 0o777, is_our_hook(TEXT)) == (TEXT, 0o755, True)
    with pytest.raises(HostError, match="File exists"):
        door.write_hook(NAME, "another")
    assert door.hook(NAME) == TEXT
    assert [one.name for one in path.parent.iterdir()] == [NAME]
    door.remove_hook(NAME)
    door.remove_hook(NAME)
    assert list(path.parent.iterdir()) == []
    path.symlink_to("/etc/passwd")
    with pytest.raises(HostError):
        door.hook(NAME)


def domain(inside: str, uuid: str = UUID) -> str:
    """A guest's XML as libvirt prints it for a hook."""
    return (
        f"<domain type='kvm' id='1'>\n  <name>vm1</name>\n  <uuid>{uuid}</uuid>\n"
        "  <metadata>\n    <interface type='bridge'>\n      <mac address='52:54:00:00:00:01'/>\n"
        f"      <target dev='{OTHER_TAP}'/>\n    </interface>\n  </metadata>\n"
        f"  <devices>\n{inside}  </devices>\n</domain>\n"
    )


def interface(mac: str, tap: str) -> str:
    return (
        f"    <interface type='bridge'>\n      <mac address='{mac}'/>\n      <source bridge='br0'/>\n"
        f"      <target dev='{tap}'/>\n      <model type='virtio'/>\n    </interface>\n"
    )


def start(door: BridgeWriter, tmp_path: Path, xml: str, what: str = "started") -> None:
    """Do what libvirt does when the guest has started; a hook that fails would end the guest."""
    door.write_hook(NAME, TEXT)
    words: list[str | Path] = [tmp_path / "hooks" / "qemu.d" / NAME, "vm1", what, "begin", "-"]
    done = subprocess.run(words, input=xml, text=True, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (0, "")
    door.remove_hook(NAME)


def test_the_hook_does_the_remedy_at_the_cards_tap(door: BridgeWriter, tmp_path: Path) -> None:
    start(door, tmp_path, domain(interface("52:54:00:00:00:77", OTHER_TAP) + interface(CARD, TAP)))
    assert (flood(door), flood(door, OTHER_TAP)) == (False, True)
    for mac in (GUEST_MAC, 0x525400000021):
        assert door.entry(BRIDGE, mac) == EntryLook(TAP, "static")


@pytest.mark.parametrize(
    ("xml", "what"),
    [
        (domain(interface(CARD, TAP)), "prepare"),
        (domain(interface(CARD, TAP)), "stopped"),
        (domain(interface(CARD, TAP), "6e777363-616e-4c61-8b00-000000000002"), "started"),
        (domain(interface("52:54:00:00:00:77", TAP)), "started"),
        (domain(interface(CARD, "vnet0; reboot")), "started"),
        (domain(interface(CARD, "-vnet0")), "started"),
        (domain(interface(CARD, "nosuch")), "started"),
        (domain(interface(CARD, "eT")), "started"),
        (domain(""), "started"),
        ("", "started"),
        ("<interface \x01", "started"),
    ],
)
def test_the_hook_does_nothing_else(door: BridgeWriter, tmp_path: Path, xml: str, what: str) -> None:
    start(door, tmp_path, xml, what)
    assert (flood(door), flood(door, OTHER_TAP), door.entry(BRIDGE, GUEST_MAC)) == (True, True, None)


def test_a_tap_on_another_bridge_is_left_alone(door: BridgeWriter, tmp_path: Path) -> None:
    run("ip", "link", "add", "br1", "type", "bridge")
    run("ip", "link", "set", TAP, "master", "br1")
    start(door, tmp_path, domain(interface(CARD, TAP)))
    assert flood(door) is True
