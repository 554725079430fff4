"""Variables in nwfilter rules: ``$X``, ``$X[1]``, ``$X[@2]``, and the combinations of values they take.

Follows src/conf/nwfilter_params.c of libvirt 9.0.0. ``$X`` is ``$X[@0]``; all variables of one iterator run in parallel
and need lists of one length; different iterators give all combinations; ``$X[1]`` is the second element. A combination
of values that came before in the same iterator gives no second rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_ITERATOR: Final = 1000
"""VIR_NWFILTER_MAX_ITERID of libvirt's nwfilter_params.h."""

COMBINATIONS_LIMIT: Final = 10_000
"""Rules that one rule may become; libvirt has no limit, but each costs 20 ms to install and 13 ns a frame."""

BUILT_IN: Final = ("MAC", "IP", "IPV6", "DHCPSERVER", "CTRL_IP_LEARNING")
"""Names with a meaning of their own: MAC comes from the interface, IP can be learnt, the last one says how."""

_ACCESS = re.compile(r"\$([a-zA-Z0-9_]*)(?:\[[ \t\n\r]*(@?)[ \t\n\r]*\+?([0-9]{1,9})[ \t\n\r]*\].*)?", re.DOTALL)
_NAME = re.compile(r"[a-zA-Z0-9_]+")
_VALUE = re.compile(r"[a-zA-Z0-9_.:]+")


@dataclass(frozen=True, slots=True)
class Access:
    """One use of a variable: an element of its list (``is_element``), or an iterator over it."""

    name: str
    number: int = 0
    is_element: bool = False

    @property
    def text(self) -> str:
        """How libvirt writes it."""
        if self.is_element:
            return f"${self.name}[{self.number}]"
        return f"${self.name}[@{self.number}]" if self.number else f"${self.name}"


def parse_access(text: str) -> Access | None:
    """Give the use of a variable that an attribute's value is; None where libvirt refuses it. It starts with ``$``."""
    found = _ACCESS.fullmatch(text)
    if found is None:
        return None
    name, iterator, number = found.groups()
    if number is None:
        return Access(name)
    if iterator and int(number) > MAX_ITERATOR:
        return None
    return Access(name, int(number), is_element=not iterator)


def is_variable(text: str) -> bool:
    """Say whether an attribute's value is a variable, right or wrong."""
    return text.startswith("$")


def is_parameter(name: str, value: str) -> bool:
    """Say whether libvirt keeps a parameter of a filterref; it drops one with other characters without a word."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def missing(accesses: Sequence[Access], values: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Give the variables that ``values`` lacks, and the elements that their lists lack, as text without ``$``."""
    lacking = (
        access.text[1:]
        for access in accesses
        if not values.get(access.name) or (access.is_element and access.number >= len(values[access.name]))
    )
    return tuple(dict.fromkeys(lacking))


def combinations(accesses: Sequence[Access], values: Mapping[str, Sequence[str]]) -> Iterator[dict[Access, str]]:
    """Give, in libvirt's order (first iterator fastest), the value of each use for every rule that comes out.

    All uses must be available (see ``missing``). Raises UsageError where lists of one iterator differ in length, or
    where more than COMBINATIONS_LIMIT rules would come out.
    """
    iterators: dict[int, list[Access]] = {0: []}
    for access in dict.fromkeys(accesses):
        if not access.is_element:
            iterators.setdefault(access.number, []).append(access)
    columns = [_rows(uses, values) for uses in iterators.values()]
    elements = {access: values[access.name][access.number] for access in accesses if access.is_element}
    total = 1
    for column in columns:
        total *= len(column)
    if total > COMBINATIONS_LIMIT:
        raise UsageError(f"one rule would become {total} rules", hint=f"at most {COMBINATIONS_LIMIT} are sensible")
    for number in range(total):
        row: dict[Access, str] = dict(elements)
        rest = number
        for column in columns:
            row.update(column[rest % len(column)])
            rest //= len(column)
        yield row


def _rows(uses: Sequence[Access], values: Mapping[str, Sequence[str]]) -> list[dict[Access, str]]:
    if not uses:
        return [{}]
    lengths = {use.name: len(values[use.name]) for use in uses}
    if len(set(lengths.values())) > 1:
        names = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise UsageError(
            f"lists that run in parallel differ in length: {names}",
            hint="give them the same length, or let them run apart: $A[@1] and $B[@2]",
        )
    rows = [tuple(values[use.name][index] for use in uses) for index in range(next(iter(lengths.values())))]
    return [dict(zip(uses, row, strict=True)) for row in dict.fromkeys(rows)]
