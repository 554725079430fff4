"""What a program drops, as an expression for tcpdump: for the sceptic who wants to see the frames in the capture.

Only rules that libpcap's octets can say exactly are put into words (addresses, type, VLAN, header fields at fixed
places); for any other rule there is no expression, and the reason is given. Of a file: tcpdump knows no direction
there, so what bears one of the guest's MACs as its source counts as sent by it. Source: pcap-filter(7).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.model.addresses import format_mac
from generator.evaluate.fields import Field, Op
from generator.evaluate.options import RefusedError, Test, read_tests
from generator.nwfilter.protocols import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from generator.evaluate.program import Command, Program

TEXT_LIMIT: Final = 4000
"""Characters at most: a longer expression convinces nobody, and libpcap refuses branches that are too far."""

_MAC_MASK: Final = 0xFFFF_FFFF_FFFF
_GROUP_BIT: Final = 0x0100_0000_0000
_WORD: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Expression:
    """The expression, None where there is none; ``why`` then says the reason, in words."""

    text: str | None
    why: str = ""


class _NoExpressionError(Exception):
    """A rule that no expression says exactly."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a field lies in a frame: types in front of it, octets that must be there, first octet, length."""

    types: tuple[int, ...]
    needs: int
    at: int
    length: int
    mask: int = _WORD


_PLACES: Final = {
    Field.TYPE: _Place((), 0, 12, 2, 0xFFFF),
    Field.VID: _Place((0x8100, 0x88A8), 18, 14, 2, 0xFFF),
    Field.TOS: _Place((0x0800,), 34, 15, 1, 0xFF),
    Field.PROTO: _Place((0x0800,), 34, 23, 1, 0xFF),
    Field.SADDR: _Place((0x0800,), 34, 26, 4),
    Field.DADDR: _Place((0x0800,), 34, 30, 4),
    Field.ARP_HTYPE: _Place((0x0806, 0x8035), 22, 14, 2, 0xFFFF),
    Field.ARP_PTYPE: _Place((0x0806, 0x8035), 22, 16, 2, 0xFFFF),
    Field.ARP_OPCODE: _Place((0x0806, 0x8035), 22, 20, 2, 0xFFFF),
    Field.SADDR6: _Place((0x86DD,), 54, 22, 4),
    Field.DADDR6: _Place((0x86DD,), 54, 38, 4),
}

_Claim = str | bool
"""An expression, or what is always so."""


def expression_of(program: Program, macs: Sequence[int]) -> Expression:
    """Give the expression that shows, in a file, the frames that ``program`` drops; ``macs`` are the guest's own."""
    other = next((command.family for command in program.commands if command.family is not Family.EBTABLES), None)
    if other is not None:
        return Expression(None, f"it has rules of {other}, which look at packets and not at frames")
    try:
        outwards = _any(*(f"ether src {format_mac(mac)}" for mac in macs))
        sent = _drops(program, to_guest=False)
        shown = _all(outwards, sent)
        found = _any(_all(_not(outwards), _drops(program, to_guest=True)), shown)
    except _NoExpressionError as error:
        return Expression(None, str(error))
    if shown is False and sent is not False:
        return Expression(
            None, "it drops what the guest sends under other MACs, which a file does not tell from others"
        )
    if isinstance(found, bool):
        return Expression(None, "it drops every frame" if found else "it drops nothing")
    return Expression(_bare(found))


def _drops(program: Program, *, to_guest: bool) -> _Claim:
    """Give what is dropped on one way: the root chain, read from its end."""
    chains: dict[str, list[Command]] = {}
    for command in program.commands:
        if command.to_guest is to_guest:
            chains.setdefault(command.chain, []).append(command)
    dropped: _Claim = False
    for command in reversed(chains.get("root", [])):
        inner = _chain(program, chains.get(command.target, []), dropped) if command.jump else False
        dropped = _step(program, command, dropped, inner=inner)
    return dropped


def _chain(program: Program, commands: list[Command], behind: _Claim) -> _Claim:
    """Give what a sub-chain drops; ``behind`` is what is dropped after it. At its end a frame is accepted."""
    dropped: _Claim = False
    for command in reversed(commands):
        dropped = _step(program, command, dropped, leaves=behind)
    return dropped


def _step(program: Program, command: Command, rest: _Claim, *, inner: _Claim = False, leaves: _Claim = False) -> _Claim:
    """Give what is dropped from this command on.

    ``rest`` is what is dropped of what it does not match, ``inner`` of what jumps, ``leaves`` of what returns here.
    """
    if command.target == "CONTINUE" and not command.jump:
        return rest
    then = inner if command.jump else {"DROP": True, "REJECT": True, "RETURN": leaves}.get(command.target, False)
    try:
        condition = _all(*(_test(test) for test in read_tests(command.family, command.arguments)))
    except (RefusedError, _NoExpressionError) as error:
        place = f"chain {command.target}" if command.jump else program.origins[command.origin].text
        raise _NoExpressionError(f"none says exactly what {place} matches: {error}") from error
    if then == rest:
        return rest
    return _any(_all(condition, then), _all(_not(condition), rest))


def _test(test: Test) -> _Claim:
    if test.op not in (Op.EQUAL, Op.EQUAL_PAIR):
        raise _NoExpressionError(
            "no frame tells it" if test.op is Op.UNKNOWN else f"a comparison of {test.field.name.lower()} with a range"
        )
    if test.field in (Field.DST, Field.SRC):
        claim = _mac(test)
        return _not(claim) if test.inverted else claim
    place = _PLACES.get(test.field)
    if place is None:
        raise _NoExpressionError(f"{test.field.name.lower()} lies at no fixed place")
    claim = _all(*_words(test, place))
    types = _any(*(_compared(12, 2, 0xFFFF, kind, 0xFFFF) for kind in place.types)) if place.types else True
    return _all(types, f"greater {place.needs}" if place.needs else True, _not(claim) if test.inverted else claim)


def _mac(test: Test) -> _Claim:
    side = "dst" if test.field is Field.DST else "src"
    mask, value = test.a & _MAC_MASK, test.b
    if mask == _MAC_MASK:
        return f"ether {side} {format_mac(value)}"
    start = 0 if test.field is Field.DST else 6
    if (mask, value, start) == (_GROUP_BIT, _GROUP_BIT, 0):
        return "ether multicast"
    return _all(
        _compared(start, 4, mask >> 16, value >> 16, _WORD),
        _compared(start + 4, 2, mask & 0xFFFF, value & 0xFFFF, 0xFFFF),
    )


def _words(test: Test, place: _Place) -> Iterator[_Claim]:
    if test.op is Op.EQUAL:
        yield _compared(place.at, place.length, test.a & place.mask, test.b, place.mask, stored=place.mask)
        return
    for half, (mask, value) in enumerate(((test.a, test.b), (test.c, test.d))):
        for number, shift in enumerate((32, 0)):
            at = place.at + 8 * half + 4 * number
            yield _compared(at, 4, mask >> shift & _WORD, value >> shift & _WORD, _WORD)


def _compared(at: int, length: int, mask: int, value: int, full: int, stored: int | None = None) -> _Claim:
    """Compare ``length`` octets at ``at``; ``stored`` are the bits of them that the field has."""
    if not mask:
        return True
    whole = mask == full and full == (1 << 8 * length) - 1 and stored in (None, full)
    octet = f"ether[{at}:{length}]" if length > 1 else f"ether[{at}]"
    digits = 2 + 2 * length
    shown = f"{value:#0{digits}x}"
    return f"{octet} = {shown}" if whole else f"{octet} & {mask:#0{digits}x} = {shown}"


def _all(*claims: _Claim) -> _Claim:
    values = [part for claim in claims if isinstance(claim, str) for part in _parts(claim, " and ") if _is_value(part)]
    fields = {part.rpartition(" ")[0] for part in values}
    if any(claim is False for claim in claims) or len(fields) < len(set(values)):
        return False
    return _joined(" and ", [claim for claim in claims if isinstance(claim, str)], empty=True)


def _is_value(claim: str) -> bool:
    """Say whether a claim gives a whole field one value: two such of one field cannot both hold."""
    return (
        not claim.startswith(("not ", "("))
        and claim != "ether multicast"
        and "&" not in claim
        and "greater" not in claim
    )


def _any(*claims: _Claim) -> _Claim:
    if any(claim is True for claim in claims):
        return True
    return _joined(" or ", [claim for claim in claims if isinstance(claim, str)], empty=False)


def _joined(word: str, claims: list[str], *, empty: bool) -> _Claim:
    """Join claims; in parentheses, since ``and`` and ``or`` have one precedence in pcap-filter(7)."""
    parts = dict.fromkeys(part for claim in claims for part in _parts(claim, word))
    if not parts:
        return empty
    if any(_not(part) in parts for part in parts):
        return not empty
    text = next(iter(parts)) if len(parts) == 1 else f"({word.join(parts)})"
    if len(text) > TEXT_LIMIT:
        raise _NoExpressionError(f"it would be longer than {TEXT_LIMIT} characters")
    return text


def _parts(claim: str, word: str) -> list[str]:
    """Split what ``_joined`` joined by ``word`` already, so that chains of rules do not nest."""
    if not claim.startswith("("):
        return [claim]
    parts, depth, start = [], 0, 1
    for at, char in enumerate(claim):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 1 and claim.startswith(word, at):
            parts.append(claim[start:at])
            start = at + len(word)
    inside = [*parts, claim[start:-1]]
    return inside if len(inside) > 1 else [claim]


def _not(claim: _Claim) -> _Claim:
    if isinstance(claim, bool):
        return not claim
    return claim.removeprefix("not ") if claim.startswith("not ") else f"not {claim}"


def _bare(text: str) -> str:
    """Leave out the outermost parentheses, which only ``_joined`` sets, around all that it joins."""
    return text[1:-1] if text.startswith("(") else text
