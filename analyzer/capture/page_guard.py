"""A guard over mapped files: a page that is gone when it is touched reads as zeros, and whoever reads is told.

What lives here: the three doors to page_guard.h, which has the signal's handler in C. What must not: mapping files
(mapping.py). Uncompiled nothing is guarded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cython

if TYPE_CHECKING:
    from analyzer.model.columns import Column

if not cython.compiled:  # compiled, they are those of page_guard.h

    def guard_pages(data: Column) -> int:  # noqa: ARG001 - as in page_guard.h
        """Guard nothing."""
        return -1

    def populate_pages(data: Column, at: int, octets: int) -> None:
        """Leave it to whoever touches them."""

    def give_back_pages(data: Column, at: int, octets: int) -> None:
        """Leave it to the kernel."""

    def first_gone(number: int) -> int:  # noqa: ARG001 - as in page_guard.h
        """Tell of nothing."""
        return -1

    def leave_pages(number: int) -> None:
        """Leave nothing."""


def guard(data: Column) -> int:
    """Guard the pages of ``data``, which must stay mapped until they are left; gives their number.

    That is -1 where too many are guarded at a time (1,024), or where the signal cannot be had.
    """
    return guard_pages(data)


def gone(number: int) -> int:
    """Give the offset of the first page that was gone when it was touched, -1 where none was."""
    return first_gone(number)


def populate(data: Column, at: int, octets: int) -> None:
    """Have the pages of ``octets`` of ``data`` from ``at`` on mapped before they are touched; those that there are."""
    if at < data.shape[0]:
        octets = min(octets, data.shape[0] - at)
        with cython.nogil:
            populate_pages(data, at, octets)


def give_back(data: Column, at: int, octets: int) -> None:
    """Let the kernel have the whole pages in ``octets`` of ``data`` from ``at`` on, all of which must be there."""
    if at + octets <= data.shape[0]:
        with cython.nogil:
            give_back_pages(data, at, octets)


def leave(number: int) -> None:
    """Guard the pages of that number no longer."""
    leave_pages(number)
