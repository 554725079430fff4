"""Counting at taps where libbpf, the kernel or libvirt refuses: what is said, and that nothing stays behind."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from analyzer.errors import HostError
from analyzer.host import libbpf, libvirt_connection, tap_counter, tap_hooks
from analyzer.host.guard_meter import GuardMeter
from analyzer.host.libbpf import BpfMap, BpfObject, BpfRefusedError
from analyzer.host.libvirt_connection import connect
from analyzer.host.meter import Meter
from analyzer.host.tap_counter import TapCounter

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN = 0x525400000001


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> mock.Mock:
    """A libbpf for which everything goes well."""
    made = mock.Mock()
    made.libbpf_num_possible_cpus.return_value = 1
    for name in ("open_mem", "find_program_by_name"):
        getattr(made, f"bpf_object__{name}").return_value = 77
    made.bpf_object__load.return_value = made.bpf_object__find_map_fd_by_name.return_value = 0
    made.bpf_program__fd.return_value = made.bpf_link_create.return_value = 5
    for name in ("map_update_elem", "map_lookup_elem", "map_delete_elem", "tc_hook_create", "tc_attach", "tc_detach"):
        getattr(made, f"bpf_{name}").return_value = 0
    for module in (libbpf, tap_hooks):
        monkeypatch.setattr(module, "library", lambda: made)
    return made


# libbpf


@pytest.fixture
def _absent_libbpf(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(libbpf, "_LIBRARY", "libnowhere.so.9")
    libbpf.library.cache_clear()
    yield
    libbpf.library.cache_clear()


@pytest.mark.usefixtures("_absent_libbpf")
def test_a_host_without_libbpf_is_told_what_to_install() -> None:
    with pytest.raises(HostError, match="libbpf is not installed") as refused:
        TapCounter().open()
    assert refused.value.hint == "install libbpf1"


def test_an_object_that_the_kernel_does_not_load_is_let_go_of(kernel: mock.Mock) -> None:
    kernel.bpf_object__load.return_value = -errno.EPERM
    with pytest.raises(BpfRefusedError, match="cannot load the programs into the kernel") as refused:
        BpfObject(b"elf").open()
    assert refused.value.number == errno.EPERM
    kernel.bpf_object__close.assert_called_once_with(77)


def test_an_object_is_closed_once_and_names_what_it_lacks(kernel: mock.Mock) -> None:
    kernel.bpf_object__find_program_by_name.return_value = None
    with BpfObject(b"elf") as made, pytest.raises(BpfRefusedError, match="the object has no program x"):
        made.program("x")
    made.close()
    kernel.bpf_object__close.assert_called_once_with(77)


def test_an_entry_that_is_gone_already_is_removed(kernel: mock.Mock) -> None:
    entries = BpfMap(3, 8)
    kernel.bpf_map_delete_elem.return_value = -errno.ENOENT
    entries.remove(7)
    kernel.bpf_map_delete_elem.return_value = -errno.EPERM
    with pytest.raises(BpfRefusedError, match="cannot remove an entry of a map"):
        entries.remove(7)


# The classifier


def test_a_kernel_without_links_for_traffic_control_gets_filters(kernel: mock.Mock) -> None:
    programs = tap_hooks.Programs(1, 2)
    kernel.bpf_link_create.return_value = -errno.EINVAL
    assert tap_hooks.way_of_kernel(programs) is tap_hooks.by_filter
    kernel.bpf_link_create.return_value = -errno.ENODEV
    assert tap_hooks.way_of_kernel(programs) is tap_hooks.by_link


def test_a_way_that_cannot_be_found_out_leaves_nothing_open(kernel: mock.Mock) -> None:
    kernel.bpf_object__find_program_by_name.return_value = None
    counter = TapCounter(elf=b"elf")
    with pytest.raises(HostError, match="has no program"):
        counter.open()
    kernel.bpf_object__close.assert_called_once_with(77)
    with pytest.raises(HostError, match="the classifier is not counting"):
        counter.change({"lo": (OWN,)}, ())


@pytest.mark.usefixtures("kernel")
def test_a_tap_that_comes_back_and_cannot_be_counted_is_tried_again_the_next_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attach = mock.Mock(side_effect=BpfRefusedError("no room", errno.ENOSPC))
    counter = TapCounter(attach, elf=b"elf")
    counter.open()
    counter.change({"nosuchtap0": (OWN,)}, ())  # not there yet: nothing to attach to
    attach.assert_not_called()
    monkeypatch.setattr(tap_counter.socket, "if_nameindex", lambda: [(9, "nosuchtap0")])
    monkeypatch.setattr(tap_counter.socket, "if_nametoindex", lambda _: 9)
    for _ in range(2):
        with pytest.raises(HostError, match="cannot count on the tap: no room"):
            counter.follow()
    attach.side_effect = None
    counter.follow()
    counter.follow()
    assert attach.call_count == 3
    counter.close()
    attach.return_value.detach.assert_called_once_with()


@pytest.mark.usefixtures("kernel")
def test_a_tap_that_goes_while_it_is_attached_to_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = TapCounter(mock.Mock(side_effect=BpfRefusedError("no such device", errno.ENODEV)), elf=b"elf")
    counter.open()
    monkeypatch.setattr(tap_counter.socket, "if_nametoindex", mock.Mock(side_effect=[9, OSError]))
    counter.change({"vnet9": (OWN,)}, ())
    assert counter.read()["vnet9"].sum() == 0
    counter.change({"vnet9": (OWN,)}, ["vnet9"])  # taken over from one that counts on nothing
    counter.close()


def test_half_of_an_attachment_by_links_is_taken_off_again(kernel: mock.Mock) -> None:
    reading, writing = os.pipe()
    kernel.bpf_link_create.side_effect = [writing, -errno.ENOSPC]
    with pytest.raises(BpfRefusedError, match="cannot attach to interface 9"):
        tap_hooks.by_link(tap_hooks.Programs(1, 2), "vnet0", 9)
    assert os.read(reading, 1) == b""  # the link, which is its descriptor, is closed
    os.close(reading)


def test_half_of_an_attachment_by_filters_is_taken_off_again(
    kernel: mock.Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_hooks, "run_program", lambda *_: "[]")
    kernel.bpf_tc_attach.side_effect = [0, -errno.ENOSPC]
    with pytest.raises(BpfRefusedError, match="cannot attach to vnet0"):
        tap_hooks.by_filter(tap_hooks.Programs(1, 2), "vnet0", 9)
    assert kernel.bpf_tc_detach.call_count == 1


def test_a_process_that_may_not_be_looked_into_is_never_taken_for_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not tap_hooks._holds(os.getpid(), 1 << 30)  # no such program is held here
    assert not tap_hooks._holds(1 << 30, 1)  # no such process
    monkeypatch.setattr(
        tap_hooks, "Path", mock.Mock(return_value=mock.Mock(iterdir=mock.Mock(side_effect=PermissionError)))
    )
    assert tap_hooks._holds(os.getpid(), 1)


# Meters that count no more


def test_the_guards_meter_that_was_closed_says_that_its_table_is_gone() -> None:
    meter = GuardMeter({"vnet0": (OWN,), "vnet1": (OWN + 1,)})
    with pytest.raises(HostError, match="the meter's table is gone"):
        meter.read()
    commands = list(meter._commands())
    assert sum(command.startswith("add chain") and "hook" in command for command in commands) == 4
    assert sum('"vnet1" jump tap1-' in command for command in commands) == 4
    meter.close()


def test_a_meter_counts_one_window_and_changes_nothing_for_no_taps(monkeypatch: pytest.MonkeyPatch) -> None:
    meter, nft = Meter({"vnet0": (OWN,)}), mock.Mock()
    monkeypatch.setattr(meter, "_nft", nft)
    with pytest.raises(HostError, match="the meter is already counting"):
        meter.open()
    meter._taps = {}
    meter.change({}, ())
    nft.run.assert_not_called()


# libvirt


class Refused(Exception):  # noqa: N818 - as libvirt-python's
    def get_error_message(self) -> str:
        return str(self)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Failed to connect socket: Permission denied", "join the group of libvirt's socket"),
        ("authentication unavailable: no polkit agent", "join the group of libvirt's socket"),
        ("Failed to connect socket: No such file or directory", "see whether libvirtd"),
    ],
)
def test_whoever_is_not_let_in_is_told_how_to_get_in(said: str, hint: str) -> None:
    with pytest.raises(HostError, match="cannot reach libvirt") as refused:
        connect(mock.Mock(libvirtError=Refused), mock.Mock(side_effect=Refused(said)), "test:///x")
    assert refused.value.hint.startswith(hint)


def test_a_libvirt_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libvirt_connection, "answer_within", mock.Mock(side_effect=TimeoutError))
    with pytest.raises(HostError, match="no answer within 30 s") as refused:
        connect(mock.Mock(libvirtError=Refused), mock.Mock(), "test:///x")
    assert "its guests run on" in refused.value.hint
