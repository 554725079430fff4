"""The meter without a kernel: what it refuses, and what it makes of counters."""

import os

import numpy as np
import pytest

from analyzer.errors import HostError, UsageError
from analyzer.host import nftables
from analyzer.host.meter import Meter, MeterReading, remove_table
from analyzer.model.addresses import BROADCAST


@pytest.mark.parametrize("tap", ['vnet0" ; drop', "vnet*", "", "a" * 16, "vnet0\nadd table bridge x", "-1"])
def test_a_tap_name_that_would_mean_something_else_is_refused(tap: str) -> None:
    with pytest.raises(UsageError, match="not the name of a network interface"):
        Meter({tap: (0x525400000001,)})


@pytest.mark.parametrize("mac", [BROADCAST, 0x01005E000001, -1, 1 << 48])
def test_a_mac_that_no_card_has_is_refused(mac: int) -> None:
    with pytest.raises(UsageError, match="not a card's MAC"):
        Meter({"vnet0": (0x525400000001, mac)})


def test_a_guest_without_a_mac_is_refused() -> None:
    with pytest.raises(UsageError, match="no MAC of the guest is known"):
        Meter({"vnet0": ()})


def test_each_meter_has_a_table_of_its_own_that_names_its_process() -> None:
    first, second = Meter({"vnet0": (2,)}), Meter({"vnet0": (2,)})
    assert first.table != second.table
    assert first.table.split("-")[:2] == ["nwscan", str(os.getpid())]


def test_one_that_was_not_opened_cannot_be_read_but_closed() -> None:
    meter = Meter({"vnet0": (2,)})
    with pytest.raises(HostError, match="not counting"):
        meter.read()
    meter.close()


@pytest.mark.parametrize("name", ["nat", "nwscan-1", "nwscan-x-2-3", "nwscan-1-2-3; flush ruleset", "nwscan-1-2-3\n"])
def test_no_other_table_is_ever_removed(name: str) -> None:
    with pytest.raises(UsageError, match="not a table of a meter"):
        remove_table(name)


def test_a_window_is_a_difference() -> None:
    ones, threes = np.ones((6, 2), np.int64), np.full((6, 2), 3, np.int64)
    window = MeterReading(threes, ones).since(MeterReading(ones, ones))
    assert window.offered.tolist() == (2 * ones).tolist()
    assert window.delivered.sum() == 0


def test_without_the_library_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(_name: str) -> None:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", not_there)
    monkeypatch.setattr(nftables, "find_library", lambda _name: None)
    with pytest.raises(HostError, match="not installed") as caught, Meter({"vnet0": (2,)}):
        pass
    assert "libnftables1" in caught.value.hint
    monkeypatch.setattr(nftables, "find_library", lambda _name: "libnftables.so.2")
    with pytest.raises(HostError, match="cannot load libnftables"):
        nftables.NftContext()
