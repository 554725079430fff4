"""What is on the host, on the terminal: taps, the status of changes, the checks of doctor."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from analyzer.model.addresses import format_mac
from nwscan.render.console import console, headline, remark, table
from nwscan.render.next_steps import print_next
from nwscan.render.text import count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from analyzer.host.bridge import PortState
    from generator.deploy.status import CardStatus
    from nwscan.api.change import HostStatus
    from nwscan.api.host import Check, TapRow


def print_taps(rows: Sequence[TapRow]) -> None:
    """Print the taps of the host."""
    out = console()
    guests = {row.card.identity.uuid for row in rows}
    out.print(headline(f"{count(len(rows))} taps of {count(len(guests))} running guests" if rows else "no guest runs"))
    if rows:
        out.print(table(("!tap", "guest", "!MAC", "bridge", "port", "filter"), [_tap_row(row) for row in rows]))
    for row in rows:
        if row.card.identity.addresses:
            shown = ", ".join(f"{one.value} ({one.source})" for one in row.card.identity.addresses)
            out.print(remark(f"{row.card.identity.name} on {row.card.identity.tap}: {shown}"))
    if rows:
        capture = f"nwscan capture {quote(str(rows[0].card.identity.tap))}"
        print_next(out, (("nwscan top", "who is flooded, live"), (capture, "how much of its traffic is not its own")))


def _tap_row(row: TapRow) -> tuple[str, ...]:
    identity = row.card.identity
    name = f"{identity.name}:{identity.card}" if identity.card else str(identity.name)
    mac = format_mac(identity.macs[0]) if identity.macs else "-"
    ref = row.card.filterref[0] if row.card.filterref else "-"
    return str(identity.tap), name, mac, identity.bridge or "-", port_flags(row.port), ref


def port_flags(port: PortState | None) -> str:
    """Give the flags of a port that decide what reaches it: those that are on."""
    if port is None:
        return "-"
    flags = (("learning", port.learning), ("flood", port.flood), ("isolated", port.isolated))
    return " ".join(name for name, is_on in flags if is_on) or "none"


def print_status(found: HostStatus) -> None:
    """Print intended against present."""
    out = console()
    statuses = found.cards
    for error in found.damaged:
        out.print(headline(f"a part of the journal cannot be read: {error.what} ({error.where})"))
        out.print(remark(error.hint))
    if not statuses:
        out.print(headline("no guest has a filter, and nothing of nwscan is in force"))
        return
    drifted = sum(1 for one in statuses if one.drift)
    ours = sum(1 for one in statuses if one.state is not None)
    what = "a change" if any(one.has_remedy for one in statuses) else "a filter"
    sentence = f"{count(ours)} card{'' if ours == 1 else 's'} with {what} of nwscan" + (
        f", {count(drifted)} not as intended" if drifted else ""
    )
    out.print(headline(sentence))
    columns = ("card", "!filter", "running", "next start", "kernel", "state")
    out.print(table(columns, [_status_row(one) for one in statuses]))
    for one in statuses:
        if one.pending and not one.drift:
            out.print(headline(f"{one.guest} {one.mac} waits to be confirmed"))
            out.print(remark(_pending_line(one)))
        for line in one.drift:
            out.print(headline(f"{one.guest} {one.mac}: {line}"))
    if any(finding.can_repair for one in statuses for finding in one.findings):
        out.print(remark("To put it right: nwscan status --repair"))


def _status_row(one: CardStatus) -> tuple[str, ...]:
    rules = "-" if one.rules is None else f"{one.rules} rules"
    card = f"{one.guest} {one.tap or one.mac}"
    name = one.intended or one.live or one.inactive
    there = ("-" if known is None else "yes" if known == name else known for known in (one.live, one.inactive))
    shown = " and ".join(part for part in (name, "a bridge remedy" if one.has_remedy else "") if part)
    return card, shown or "-", *there, rules, "pending" if one.pending else str(one.state or "-")


def _pending_line(one: CardStatus) -> str:
    left_s = max(0.0, one.left_s or 0.0)
    return f"it is rolled back at {one.deadline}, in {left_s:.0f} s, unless: nwscan confirm {quote(one.guest)}"


def print_checks(checks: Sequence[Check]) -> None:
    """Print what this host can do."""
    out = console()
    wrong = [check for check in checks if check.is_fine is False]
    out.print(headline(f"{count(len(wrong))} of {count(len(checks))} checks failed" if wrong else "all is well"))
    out.print(table(("check", "result", "found"), [(check.name, _mark(check), check.found) for check in checks]))
    for line in _hints(wrong):
        out.print(remark(line))


def _mark(check: Check) -> str:
    return {True: "ok", False: "no", None: "?"}[check.is_fine]


def _hints(checks: Sequence[Check]) -> Iterator[str]:
    for check in checks:
        needed = f" (needed for {check.needed_for})" if check.needed_for else ""
        yield f"{check.name}{needed}: {check.hint or check.found}"
