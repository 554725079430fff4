"""The worker's end of the tables that the kernel counts flows into, with a frame of any CPU at any step of its way."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

from analyzer.host import flow_counter
from analyzer.host.flow_counter import FlowTables

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from analyzer.model.frames import I64

SLOTS = 4
CPUS = 64
OPEN, END_NS, OFFSET_NS = range(3)
SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS


class Kernel:
    """What the program does to the tables, step by step."""

    def __init__(self) -> None:
        rows, descriptor = _memory(1 + 2 * CPUS + 2 * SLOTS)
        self.control, self.slots = rows[: 1 + 2 * CPUS], rows[1 + 2 * CPUS :].reshape(2, SLOTS, 8)
        self.tables = FlowTables(descriptor, SLOTS)

    def enter(self, cpu: int = 0) -> int | None:
        """Begin to count a frame; gives the table, None where the gate is closed."""
        if not self.control[0, OPEN]:
            return None
        table = int(self.control[0, OPEN]) - 1
        self.control[1 + table * CPUS + cpu, 0] += 1
        return table

    def back_off(self, table: int, cpu: int = 0) -> None:
        """Send the frame into the ring after all."""
        self.control[1 + table * CPUS + cpu, 0] -= 1

    def claim(self, table: int, slot: int, source: int) -> None:
        """Take a slot for a flow."""
        self.slots[table, slot] = (source, 7, 3 << 48 | 0x0800 << 32, 0, 0, START_NS, START_NS, START_NS)

    def count(self, table: int, slot: int) -> None:
        """Count the frame, the last step."""
        self.slots[table, slot, 4] += 100
        self.slots[table, slot, 3] += 1

    def arrive(self, slot: int, source: int, cpu: int = 0) -> bool:
        """Count a whole frame and say whether it was counted."""
        table = self.enter(cpu)
        if table is None:
            return False
        if not self.slots[table, slot, 7]:
            self.claim(table, slot, source)
        self.count(table, slot)
        return True


def _memory(rows: int) -> tuple[I64, int]:
    descriptor = os.memfd_create("rows")
    os.ftruncate(descriptor, rows * 64)
    return np.frombuffer(mmap.mmap(descriptor, rows * 64), np.int64).reshape(rows, 8), descriptor


def sources(flows: I64) -> dict[int, int]:
    return dict(flows[:, [0, 3]].tolist())


def test_the_gate_opens_with_the_first_step_and_each_step_is_a_call_of_its_own() -> None:
    kernel = Kernel()
    kernel.tables.begin(5, None)
    assert not kernel.arrive(0, 1)
    assert kernel.control[0].tolist()[:3] == [0, 2**63 - 1, 5]
    assert len(kernel.tables.take()) == 0
    assert kernel.arrive(0, 1)
    assert len(kernel.tables.take()) == 0  # the other table
    assert kernel.arrive(0, 2, cpu=63)
    assert sources(kernel.tables.take()) == {1: 1}
    assert not kernel.slots[0].any()
    assert kernel.control[0, OPEN] == 2  # nobody is let into what was just emptied
    assert len(kernel.tables.take()) == 0
    assert kernel.control[0, OPEN] == 1
    assert sources(kernel.tables.take()) == {2: 1}


def test_on_a_silent_tap_the_gate_stays_where_it_is() -> None:
    kernel = Kernel()
    for _ in range(5):
        assert len(kernel.tables.take()) == 0
        assert kernel.control[0, OPEN] == 1


def test_a_table_is_not_read_while_a_frame_is_in_it() -> None:
    """However long it stays: neither read nor emptied, nor are frames let in again."""
    kernel = Kernel()
    kernel.tables.take()
    kernel.arrive(0, 1)
    late = kernel.enter(cpu=3)
    assert late == 0
    kernel.tables.take()
    for number in range(5):
        kernel.arrive(1, 2)
        assert len(kernel.tables.take()) == 0
        assert kernel.control[0, OPEN] == 2, number
    kernel.claim(late, 2, 9)
    kernel.count(late, 2)
    assert sources(kernel.tables.take()) == {1: 1, 9: 1}
    kernel.tables.end()
    assert sources(kernel.tables.take_last()) == {2: 5}
    assert kernel.tables.lost == 0


def test_a_frame_that_backs_off_keeps_no_table() -> None:
    kernel = Kernel()
    kernel.tables.take()
    kernel.arrive(0, 1)
    late = kernel.enter(cpu=3)
    assert late == 0
    kernel.tables.take()
    assert len(kernel.tables.take()) == 0
    kernel.back_off(late, cpu=3)
    assert sources(kernel.tables.take()) == {1: 1}


def test_after_the_end_nothing_enters_and_both_tables_are_given() -> None:
    kernel = Kernel()
    kernel.tables.take()
    kernel.arrive(0, 1)
    kernel.tables.take()
    kernel.arrive(0, 2)
    kernel.tables.end()
    assert not kernel.arrive(0, 3)
    assert len(kernel.tables.take()) == 0
    assert sources(kernel.tables.take_last()) == {1: 1, 2: 1}
    assert kernel.tables.lost == 0
    assert len(kernel.tables.take_last()) == 0
    kernel.tables.close()


def test_a_frame_that_never_ends_is_told_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_counter, "_PATIENCE_S", 0.01)
    kernel = Kernel()
    kernel.tables.take()
    kernel.arrive(0, 1)
    assert kernel.enter(cpu=3) == 0
    kernel.tables.end()
    assert sources(kernel.tables.take_last()) == {1: 1}
    assert kernel.tables.lost == 1


def test_the_clock_of_a_time_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "offsets"
    monkeypatch.setattr(flow_counter, "_OFFSETS", file)
    assert not flow_counter.has_own_clock()  # a kernel without such namespaces
    for text, wanted in (("monotonic 0 0\nboottime 5 0\n", False), ("monotonic  -1  0\nboottime 0 0\n", True)):
        file.write_text(text)
        assert flow_counter.has_own_clock() is wanted
