"""Columns as the hot functions take them: one array of a batch, element by element.

Compiled, a hot function sees a typed memoryview; uncompiled, a Python memoryview, whose elements are Python integers,
so that a shift never wraps at the dtype. Nothing here may know what a column means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy.typing as npt


class Column(Protocol):
    """A one-dimensional, contiguous array of integers; its element type stands in the .pxd of who takes it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of elements, as the only member."""

    def __getitem__(self, row: int, /) -> int:
        """Give one element."""

    def __setitem__(self, row: int, value: int, /) -> None:
        """Set one element; the array must be writable."""


def column(array: npt.NDArray[Any]) -> Column:
    """Give ``array`` as a hot function takes it: the same memory, no copy."""
    return memoryview(array)  # type: ignore[arg-type, return-value] # what numpy's stubs say; called by the thousand
