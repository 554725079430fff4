"""What a rule becomes: the arguments of ebtables, iptables and ip6tables commands, word for word as libvirt gives them.

Follows libvirt 9.0.0: ebtablesCreateRuleInstance and iptablesCreateRuleInstance of nwfilter_ebiptables_driver.c, faults
included: a mask of ARP's source address that stays on for its destination, a DSCP that is compared with the whole TOS
octet. Chain names and targets are put around them in program.py. Pure functions of one rule with its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from analyzer.errors import UsageError
from generator.nwfilter.model import Action, Rule, RuleDirection
from generator.nwfilter.protocols import PROTOCOLS, Family
from generator.nwfilter.values import STATE_NONE, Kind, parse_value, state_text, tcp_flags_text
from generator.nwfilter.variables import is_variable, parse_access

if TYPE_CHECKING:
    from collections.abc import Mapping

    from generator.nwfilter.model import Match
    from generator.nwfilter.variables import Access

BGA: Final = "01:80:c2:00:00:00"
"""The bridge group address of IEEE 802.1D, which libvirt adds to every stp rule."""

_LAYER2_TYPES: Final = {"vlan": "0x8100", "arp": "0x806", "rarp": "0x8035", "ip": "ipv4", "ipv6": "ipv6"}
_STP_OPTIONS: Final = (
    ("type", "", "", "--stp-type"),
    ("flags", "", "", "--stp-flags"),
    ("root-priority", "root-priority-hi", ":", "--stp-root-pri"),
    ("root-address", "root-address-mask", "/", "--stp-root-addr"),
    ("root-cost", "root-cost-hi", ":", "--stp-root-cost"),
    ("sender-priority", "sender-priority-hi", ":", "--stp-sender-prio"),
    ("sender-address", "sender-address-mask", "/", "--stp-sender-addr"),
    ("port", "port-hi", ":", "--stp-port"),
    ("age", "age-hi", ":", "--stp-msg-age"),
    ("max-age", "max-age-hi", ":", "--stp-max-age"),
    ("hello-time", "hello-time-hi", ":", "--stp-hello-time"),
    ("forward-delay", "forward-delay-hi", ":", "--stp-forward-delay"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One attribute of a rule with its value filled in: ``number`` is None where the value came from a variable."""

    text: str
    number: int | None
    negated: bool

    def shown(self, *, hexadecimal: bool = False) -> str:
        """Give the value as libvirt puts it on a command line; that of a variable goes there as it is."""
        if self.number is None:
            return self.text
        return f"0x{self.number:x}" if hexadecimal else str(self.number)


class Items:
    """The attributes of one rule, with variables replaced by their values."""

    def __init__(self, matches: tuple[Match, ...], values: Mapping[Access, str]) -> None:
        """Fill in ``values``; the matches must be normalised, as generator/nwfilter/normalise.py leaves them."""
        self.items: dict[str, Item] = {}
        for match in matches:
            protocol = PROTOCOLS[match.protocol]
            for name, text in match.attributes:
                attribute = protocol.attribute(name)
                if attribute is not None:  # pragma: no branch - normalise.py leaves no unknown one
                    self.items[name] = _item(attribute.kind, text, match.negated, values)

    def get(self, name: str) -> Item | None:
        """Give the attribute called ``name``, None where it is not there."""
        return self.items.get(name)

    def pair(self, name: str, second: str, separator: str) -> str:
        """Give ``name``'s value, with ``second``'s behind ``separator`` where that is there too."""
        low, high = self.items[name], self.items.get(second)
        return low.shown() + (separator + high.shown() if high else "")


_AS_TEXT: Final = frozenset(
    {Kind.MAC, Kind.MAC_MASK, Kind.IPV4, Kind.IPV6, Kind.IPSET_NAME, Kind.IPSET_FLAGS, Kind.COMMENT}
)


def _item(kind: Kind, text: str, negated: bool, values: Mapping[Access, str]) -> Item:  # noqa: FBT001
    if is_variable(text):
        access = parse_access(text)
        assert access is not None  # noqa: S101 - normalised
        return Item(values[access], None, negated)
    value = parse_value(kind, text)
    assert value is not None  # noqa: S101 - normalised
    return Item(value.text, None if kind in _AS_TEXT else value.number, negated)


def _option(name: str, item: Item, value: str) -> list[str]:
    return [name, *(["!"] if item.negated else []), value]


def _header(items: Items, *, reverse: bool) -> list[str]:
    words: list[str] = []
    for side, plain, turned in (("src", "-s", "-d"), ("dst", "-d", "-s")):
        address = items.get(f"{side}macaddr")
        if address is not None:
            value = items.pair(f"{side}macaddr", f"{side}macmask", "/")
            words += _option(turned if reverse else plain, address, value)
    return words


def ebtables_arguments(matches: tuple[Match, ...], values: Mapping[Access, str], *, reverse: bool) -> list[str]:
    """Give the words of a layer-2 rule between the chain and ``-j``; ``reverse`` swaps source and destination.

    Raises UsageError where libvirt cannot instantiate it: stp with a source MAC in both directions.
    """
    if not matches:
        return []
    protocol = matches[0].protocol
    items = Items(matches, values)
    if protocol == "stp" and reverse and items.get("srcmacaddr"):
        raise UsageError(
            "an stp rule with srcmacaddr cannot look in both directions", hint="write one rule for in and one for out"
        )
    words = _header(items, reverse=reverse)
    if protocol == "mac":
        protocolid = items.get("protocolid")
        return words + (_option("-p", protocolid, protocolid.shown(hexadecimal=True)) if protocolid else [])
    if protocol == "stp":
        return [*words, "-d", BGA, *_stp(items)]
    words += ["-p", _LAYER2_TYPES[protocol]]
    if protocol == "vlan":
        return words + _simple(items, (("vlanid", "--vlan-id", False), ("encap-protocol", "--vlan-encap", False)))
    if protocol in ("arp", "rarp"):
        return words + _arp(items, reverse=reverse)
    return words + _network(items, "--ip" if protocol == "ip" else "--ip6", reverse=reverse)


def _simple(items: Items, options: tuple[tuple[str, str, bool], ...]) -> list[str]:
    words: list[str] = []
    for name, option, hexadecimal in options:
        item = items.get(name)
        if item is not None:
            words += _option(option, item, item.shown(hexadecimal=hexadecimal))
    return words


def _stp(items: Items) -> list[str]:
    words: list[str] = []
    for name, second, separator, option in _STP_OPTIONS:
        item = items.get(name)
        if item is not None:
            words += _option(option, item, items.pair(name, second, separator))
    return words


def _arp(items: Items, *, reverse: bool) -> list[str]:
    words = _simple(
        items,
        (("hwtype", "--arp-htype", False), ("opcode", "--arp-opcode", False), ("protocoltype", "--arp-ptype", True)),
    )
    sides = (("src", "dst"), ("dst", "src"))
    mask = "32"
    for side, other in sides:
        address, own_mask = items.get(f"arp{side}ipaddr"), items.get(f"arp{side}ipmask")
        if address is not None:
            mask = own_mask.shown() if own_mask else mask  # once set, a mask stays: libvirt never resets it
            words += _option(f"--arp-ip-{other if reverse else side}", address, f"{address.shown()}/{mask}")
    for side, other in sides:
        mac = items.get(f"arp{side}macaddr")
        if mac is not None:
            words += _option(f"--arp-mac-{other if reverse else side}", mac, mac.shown())
    gratuitous = items.get("gratuitous")
    if gratuitous is not None and gratuitous.number:
        words += [*(["!"] if gratuitous.negated else []), "--arp-gratuitous"]
    return words


def _network(items: Items, prefix: str, *, reverse: bool) -> list[str]:
    words: list[str] = []
    sides = (("src", "source", "destination"), ("dst", "destination", "source"))
    for side, plain, turned in sides:
        address = items.get(f"{side}ipaddr")
        if address is not None:
            value = items.pair(f"{side}ipaddr", f"{side}ipmask", "/")
            words += _option(f"{prefix}-{turned if reverse else plain}", address, value)
    words += _simple(items, (("protocol", f"{prefix}-protocol", False),))
    for side, plain, turned in sides:
        port = items.get(f"{side}portstart")
        if port is not None:
            value = items.pair(f"{side}portstart", f"{side}portend", ":")
            words += _option(f"{prefix}-{turned if reverse else plain}-port", port, value)
    words += _simple(items, (("dscp", "--ip-tos", True),))
    return words + _icmp_ranges(items)


def _icmp_ranges(items: Items) -> list[str]:
    if not any(items.get(name) for name in ("type", "typeend", "code", "codeend")):
        return []
    ranges = []
    for name in ("type", "code"):
        low, high = items.get(name), items.get(f"{name}end")
        first = low.shown() if low else "0"
        last = high.shown() if high else first if low else "255"
        ranges.append(f"{first}:{last}")
    start = items.get("type")
    return ["--ip6-icmp-type", *(["!"] if start and start.negated else []), "/".join(ranges)]


@dataclass(frozen=True, slots=True)
class Placed:
    """One iptables or ip6tables rule: the kind of its chain, its words behind the chain, and its target.

    ``FI`` sees what leaves the guest, ``FO`` what reaches it, ``HI`` what leaves it for the host itself.
    """

    chain: str
    arguments: tuple[str, ...]
    target: str


def iptables_rules(rule: Rule, matches: tuple[Match, ...], values: Mapping[Access, str]) -> list[Placed]:
    """Give the up to three rules that a layer-3 rule becomes: in the chains FI, FO and HI of its tap."""
    items = Items(matches, values)
    state_item = items.get("state")
    flags = state_item.number if state_item is not None and state_item.number is not None else 0
    inwards = rule.direction is not RuleDirection.OUT
    inout = rule.direction is RuleDirection.INOUT
    controlled = rule.statematch and bool(flags)
    plans = (
        ("FI", inwards, "RETURN", inwards or inout),
        ("FO", not inwards, "ACCEPT", not inwards or inout),
        ("HI", inwards, "RETURN", inwards),
    )
    placed = []
    for chain, turned, accept, may_skip in plans:
        if controlled:
            skipped = (inwards and not inout) if chain != "FO" else not inwards
            state = None if flags & STATE_NONE else state_text(flags)
            if skipped:
                continue
        else:
            stateful = rule.statematch and not inout
            new = (chain == "FO") == inwards
            state = ("NEW,ESTABLISHED" if new else "ESTABLISHED") if stateful else None
        made = _iptables_rule(
            rule, matches[0].protocol, items, turned=turned, state=state, defaulted=not controlled, may_skip=may_skip
        )
        if made is not None:
            placed.append(Placed(chain, tuple(made), accept if rule.action is Action.ACCEPT else rule.action.upper()))
    return placed


def _iptables_rule(
    rule: Rule, protocol: str, items: Items, *, turned: bool, state: str | None, defaulted: bool, may_skip: bool
) -> list[str] | None:
    """Give the words of one iptables rule; None where libvirt leaves it out."""
    head = ["-p", protocol.removesuffix("-ipv6")]
    source_mac = items.get("srcmacaddr")
    words: list[str] = []
    if source_mac is not None and not turned:
        words += ["-m", "mac", *(["!"] if source_mac.negated else []), "--mac-source", source_mac.shown()]
    words += _ip_header(items, turned=turned)
    if items.get("connlimit-above") and turned:
        return None
    words += _transport(items, turned=turned)
    icmp = protocol in ("icmp", "icmpv6") and items.get("type")
    if icmp and may_skip:
        return None
    if icmp:
        option = "--icmp-type" if protocol == "icmp" else "--icmpv6-type"
        words += [*(["!"] if icmp.negated else []), option, items.pair("type", "code", "/")]
    if source_mac is not None and turned and not words:
        return None
    skip_state = defaulted if rule.action is not Action.ACCEPT else bool(items.get("connlimit-above"))
    if state and not skip_state:
        words += ["-m", "conntrack", "--ctstate", state]
        if defaulted and not icmp and rule.direction is not RuleDirection.INOUT:
            words += ["-m", "conntrack", "--ctdir", "Reply" if turned else "Original"]
    return head + words + _after_state(items, turned=turned)


def _ip_header(items: Items, *, turned: bool) -> list[str]:
    words: list[str] = []
    for side, other in (("src", "dst"), ("dst", "src")):
        long = {"src": "--source", "dst": "--destination"}[other if turned else side]
        address, first = items.get(f"{side}ipaddr"), items.get(f"{side}ipfrom")
        if address is not None:
            words += [*(["!"] if address.negated else []), long, items.pair(f"{side}ipaddr", f"{side}ipmask", "/")]
        elif first is not None:
            words += ["-m", "iprange", *(["!"] if first.negated else []), f"--{other if turned else side}-range"]
            words.append(items.pair(f"{side}ipfrom", f"{side}ipto", "-"))
    dscp = items.get("dscp")
    if dscp is not None:
        words += ["-m", "dscp", *(["!"] if dscp.negated else []), "--dscp", dscp.shown()]
    return words


def _transport(items: Items, *, turned: bool) -> list[str]:
    words: list[str] = []
    flags = items.get("flags")
    if flags is not None and flags.number is not None:
        words += [*(["!"] if flags.negated else []), "--tcp-flags"]
        words += [tcp_flags_text(flags.number >> 8), tcp_flags_text(flags.number & 0xFF)]
    for side, other in (("src", "dst"), ("dst", "src")):
        port = items.get(f"{side}portstart")
        if port is not None:
            option = f"--{(other if turned else side)[0]}port"
            words += [*(["!"] if port.negated else []), option, items.pair(f"{side}portstart", f"{side}portend", ":")]
    option_item = items.get("option")
    if option_item is not None:
        words += [*(["!"] if option_item.negated else []), "--tcp-option", option_item.shown()]
    return words


def _after_state(items: Items, *, turned: bool) -> list[str]:
    words: list[str] = []
    ipset, flags = items.get("ipset"), items.get("ipsetflags")
    if ipset is not None and flags is not None:
        swapped = {"src": "dst", "dst": "src"}
        sides = [swapped.get(side, side) if turned else side for side in flags.text.split(",")]
        words += ["-m", "set", "--match-set", ipset.shown(), ",".join(sides)]
    connlimit = items.get("connlimit-above")
    if connlimit is not None:
        words += ["-m", "connlimit", *(["!"] if connlimit.negated else []), "--connlimit-above", connlimit.shown()]
    comment = items.get("comment")
    if comment is not None:
        words += ["-m", "comment", "--comment", comment.text]
    return words


def family_of(rule: Rule) -> Family:
    """Give the program that a normalised rule goes to; one without an element goes to ebtables."""
    return PROTOCOLS[rule.match.protocol].family if rule.match else Family.EBTABLES
