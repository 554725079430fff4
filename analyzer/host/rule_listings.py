"""Readers of rule listings: what ``ebtables-save -c``, ``iptables-save -c`` and ``nft -j list table`` print.

Pure: text in, values out. A listing is read for one tap: where the rules of the hooks send its frames, and which
chains they reach from there, whatever these are called. So libvirt's names may change, and while it builds
(``libvirt-P-``, ``n-``) as well as between its backends nothing is mistaken.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from analyzer.errors import InputError
from analyzer.host.nft_words import INTERFACE_KEYS, expression_words, statement_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADER_OCTETS: Final = 14
"""Rule counters start at the network header: 14 octets of each frame (IEEE 802.3, 3.2) are not in them."""


class Backend(StrEnum):
    """Which of libvirt's nwfilter backends made the rules."""

    EBTABLES = "ebtables"
    """ebtables nat, with iptables and ip6tables for the rules on transport protocols."""
    NFTABLES = "nftables"
    """Tables of its own in family bridge; its rules count only where ``enable_counters`` is set."""


@dataclass(frozen=True, slots=True)
class KernelRule:
    """One rule that frames of a tap reach.

    ``text`` is the rule without its chain and counters; ``packets`` and ``octets`` (with the Ethernet header) are what
    it has matched since it was made, None where it does not count. ``to_guest`` is False for what the guest sends.
    ``table`` is where it stands: ``ebtables nat``, ``ip6tables filter``, ``nft bridge libvirt_nwfilter_ethernet``.
    """

    text: str
    packets: int | None
    octets: int | None
    chain: str
    table: str
    to_guest: bool


def action_of(rule: KernelRule) -> str:
    """Give what a rule does to a frame: ``accept``, ``drop``, ``return``, or ``continue`` for all that decides nothing.

    A jump decides nothing itself; libvirt's ``reject`` is a drop on a bridge.
    """
    words = rule.text.lower().split()
    return next((_ACTIONS[word] for word in reversed(words) if word in _ACTIONS), "continue")


_ACTIONS: Final = {"accept": "accept", "drop": "drop", "reject": "drop", "return": "return"}


@dataclass(frozen=True, slots=True)
class _Listed:
    """A rule as listed, and the chain that it sends frames on to."""

    chain: str
    text: str
    packets: int | None
    octets: int | None
    target: str | None


_BY_HAND: Final = "see what it prints by hand"

_Entry: TypeAlias = tuple[bool, _Listed]
"""A rule of a hook that names the tap, and whether it is about frames to the guest."""


def read_save(text: str, tap: str, program: str) -> tuple[KernelRule, ...]:
    """Read what ``ebtables-save -c`` or ``iptables-save -c`` prints: the rules that frames of ``tap`` reach.

    ``program`` names the tables in the answer (``ebtables``). Both forms of counters are read: ``[packets:octets] -A``
    and the ``-c packets octets`` of ebtables-legacy. Raises InputError for a line that is neither.
    """
    found: list[KernelRule] = []
    table, chains, entries = "", dict[str, list[_Listed]](), list[_Entry]()
    for number, raw in enumerate((*text.splitlines(), "*"), 1):
        line = raw.strip()
        if line.startswith("*"):
            found += _reached(f"{program} {table}", chains, entries)
            table, chains, entries = line[1:], {}, []
        elif line.startswith(":"):
            chains.setdefault(line[1:].split(" ", 1)[0], [])
        elif line.startswith(("[", "-A")):
            rule = _save_line(line, number, program)
            chains.setdefault(rule.chain, []).append(rule)
            to_guest = _names_tap(rule, tap)
            if to_guest is not None:
                entries.append((to_guest, rule))
        elif line and line[0] != "#" and line != "COMMIT":
            raise InputError(f"not a rule: {line[:80]!r}", f"{program}-save, line {number}", _BY_HAND)
    return tuple(found)


@dataclass(frozen=True)
class HalfMade:
    """The chains of libvirt's that are there only while it makes others: J and P for what will be I and O.

    libvirt, nwfilter_ebiptables_driver.c. Killed amid redefining a filter, libvirt 9.0.0 may leave such, says
    "Chain already exists" and starts no more.
    """

    chains: tuple[str, ...]
    references: tuple[str, ...]
    """The rules that lead there from chains that are to stay, as ``ebtables -A`` takes them: chain, match, target."""

    @property
    def removal(self) -> str:
        """Give the commands for a shell; a chain can be removed only when no rule leads to it any more."""
        names, table = " ".join(self.chains), "ebtables -t nat"
        rules = "".join(f"{table} -D {shlex.join(rule.split())}; " for rule in self.references)
        loops = (f"for chain in {names}; do {table} {flag} $chain; done" for flag in ("-F", "-X"))
        return rules + "; ".join(loops)


def half_made_chains(text: str) -> HalfMade:
    """Give what libvirt has left half made, of what ``ebtables-save`` prints."""
    chains = tuple(_HALF_MADE.findall(text))
    lines = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.startswith(("[", "-A")))
    rules = (_save_line(line.rstrip(), number, "ebtables") for number, line in lines)
    leading = (rule for rule in rules if rule.target in chains and rule.chain not in chains)
    return HalfMade(chains, tuple(f"{rule.chain} {rule.text}" for rule in leading))


_HALF_MADE = re.compile(
    r"^:(libvirt-[JP]-[\w.-]+|[JP]-[\w.-]+-(?:mac|vlan|stp|arp|rarp|ipv4|ipv6)[\w.-]*) ", re.MULTILINE
)

_SAVED = re.compile(
    r"(?:\[(?P<packets>\d+):(?P<octets>\d+)\] )?-A (?P<chain>\S+)(?: (?P<text>.*?))??"
    r"(?: -c (?P<late_packets>\d+) (?P<late_octets>\d+))?"
)

_TO_GUEST_OPTIONS: Final = ("-o", "--out-interface", "--physdev-out")
_FROM_GUEST_OPTIONS: Final = ("-i", "--in-interface", "--physdev-in")


def _save_line(line: str, number: int, program: str) -> _Listed:
    match = _SAVED.fullmatch(line)
    if match is None:
        raise InputError(f"not a rule: {line[:80]!r}", f"{program}-save, line {number}", _BY_HAND)
    packets, octets = match["packets"] or match["late_packets"], match["octets"] or match["late_octets"]
    text = (match["text"] or "").strip()
    target = re.search(r"(?:^| )(?:-j|-g|--jump|--goto) (\S+)", text)
    return _Listed(match["chain"], text, *_counts(packets, octets), target[1] if target else None)


def _names_tap(rule: _Listed, tap: str) -> bool | None:
    """Say whether a saved rule is about frames to (True) or from (False) the tap, None where it does not name it.

    An interface ending in ``+`` stands for all that begin so (ebtables(8), iptables(8)); a negated one names another.
    """
    words = rule.text.split()
    for position, word in enumerate(words[:-1]):
        if word not in _TO_GUEST_OPTIONS + _FROM_GUEST_OPTIONS or (position and words[position - 1] == "!"):
            continue
        name = words[position + 1]
        if name == tap or (name.endswith("+") and tap.startswith(name[:-1])):
            return word in _TO_GUEST_OPTIONS
    return None


def _counts(packets: object, octets: object) -> tuple[int | None, int | None]:
    if packets is None or octets is None:
        return None, None
    frames = int(str(packets))
    return frames, int(str(octets)) + frames * _HEADER_OCTETS


def _reached(table: str, chains: Mapping[str, Sequence[_Listed]], entries: Sequence[_Entry]) -> Iterator[KernelRule]:
    """Give the entries and the rules of every chain they lead to, each chain once a direction, as first reached."""
    for direction in (True, False):
        rules = [rule for to_guest, rule in entries if to_guest is direction]
        seen: set[str] = set()
        while rules:
            rule = rules.pop(0)
            yield KernelRule(rule.text, rule.packets, rule.octets, rule.chain, table, direction)
            if rule.target is not None and rule.target in chains and rule.target not in seen:
                seen.add(rule.target)
                rules += chains[rule.target]


# nft's JSON is libnftables-json(5); each reader takes what it knows and shows the rest as it stands
_Json: TypeAlias = "dict[str, Any]"


def read_nft_table(text: str, tap: str) -> tuple[KernelRule, ...]:
    """Read what ``nft -j list table bridge NAME`` prints: the rules that frames of ``tap`` reach. Raises InputError."""
    try:
        entries = json.loads(text)["nftables"]
        objects = [(kind, body) for entry in entries for kind, body in entry.items()]
        hooks = {body["name"]: body["hook"] for kind, body in objects if kind == "chain" and "hook" in body}
        maps = {body["name"]: body.get("elem", ()) for kind, body in objects if kind == "map"}
        chains: dict[str, list[_Listed]] = {body["name"]: [] for kind, body in objects if kind == "chain"}
        found: list[_Entry] = []
        table = ""
        for kind, body in objects:
            if kind != "rule":
                continue
            table, chain = f"nft {body['family']} {body['table']}", body["chain"]
            rule = _nft_rule(body)
            chains.setdefault(chain, []).append(rule)
            entered = _nft_entry(body["expr"], tap, maps) if hooks.get(chain) in _DIRECTION_OF_HOOK else None
            if entered is not None:
                words, target = entered
                entry = replace(rule, text=words or rule.text, target=target)
                found.append((_DIRECTION_OF_HOOK[hooks[chain]], entry))
    except (LookupError, ValueError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        raise InputError(f"cannot read nft's answer: {error!r}", "nft -j list table bridge", _BY_HAND) from error
    return tuple(_reached(table, chains, found))


_DIRECTION_OF_HOOK: Final[Mapping[str, bool]] = {"postrouting": True, "prerouting": False}


def _nft_rule(body: _Json) -> _Listed:
    """Read one rule object: its words as nft would print them, its first counter, the chain it goes on to."""
    packets: object = None
    octets: object = None
    target: str | None = None
    words: list[str] = []
    for statement in body["expr"]:
        kind, value = next(iter(statement.items()))
        if kind == "counter":
            if isinstance(value, dict):
                packets, octets = value.get("packets"), value.get("bytes")
            continue
        if kind in {"jump", "goto"}:
            target = value["target"]
        words.append(statement_words(kind, value))
    if body.get("comment"):
        words.append(f'comment "{body["comment"]}"')
    return _Listed(body["chain"], " ".join(words), *_counts(packets, octets), target)


def _nft_entry(statements: Sequence[_Json], tap: str, maps: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Say where a rule of a hook sends the frames of the tap: into which chain; None where it is not about this tap.

    The words are those of a map's element, "" for a rule that is no map.
    """
    named, target = False, None
    for statement in statements:
        kind, value = next(iter(statement.items()))
        if kind == "match" and _is_interface(value["left"]) and value.get("op", "==") == "==":
            right = value["right"]
            if tap not in (right.get("set", ()) if isinstance(right, dict) else [right]):
                return None
            named = True
        elif kind == "vmap" and _is_interface(value["key"]):
            data = value["data"]
            elements = maps.get(data[1:], ()) if isinstance(data, str) else data.get("set", ())
            verdict = next((then for when, then in elements if _element(when) == tap), None)
            if verdict is None:
                return None
            word, body = next(iter(verdict.items()))
            return f"{expression_words(value['key'])} {tap} {statement_words(word, body)}", (body or {}).get("target")
        elif kind in {"jump", "goto"}:
            target = value["target"]
    return ("", target) if named else None


def _is_interface(expression: object) -> bool:
    return isinstance(expression, dict) and (expression.get("meta") or {}).get("key") in INTERFACE_KEYS


def _element(value: object) -> object:
    """Give the key of a map's element, with or without what nft tells beside it (a counter, a comment)."""
    return value["elem"]["val"] if isinstance(value, dict) and "elem" in value else value
