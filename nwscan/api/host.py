"""What is on this host: every tap with its guest, what the host can do, what is left over."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from analyzer.errors import HostError, NwscanError
from analyzer.host import bridge
from analyzer.host.guests import LibvirtReader
from analyzer.host.rules import half_made
from analyzer.model.addresses import format_mac
from nwscan.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.host.bridge import PortState
    from analyzer.host.guests import GuestCard

LIST_SCHEMA: Final = "nwscan.list/1"
DOCTOR_SCHEMA: Final = "nwscan.doctor/1"


@dataclass(frozen=True, slots=True)
class TapRow:
    """One tap: the card it belongs to and the state of its port, None where it is on no Linux bridge."""

    card: GuestCard
    port: PortState | None


def list_taps(
    settings: Settings | None = None, *, ask_agent: bool = False
) -> tuple[tuple[TapRow, ...], tuple[str, ...]]:
    """Give every tap of a running guest, by guest and card, and notes on agents that were asked and told nothing.

    Raises HostError where libvirt does not answer.
    """
    settings = settings or Settings()
    ports = {port.name: port for port in bridge.all_ports()}
    with LibvirtReader(settings.uri) as libvirt:
        cards = [card for card in libvirt.cards() if card.identity.tap]
    notes: tuple[str, ...] = ()
    if ask_agent:
        from nwscan.api.identify import with_agents

        identities, notes = with_agents([card.identity for card in cards], settings)
        cards = [replace(card, identity=identity) for card, identity in zip(cards, identities, strict=True)]
    return tuple(TapRow(card, ports.get(card.identity.tap or "")) for card in cards), notes


def list_document(rows: tuple[TapRow, ...]) -> dict[str, Any]:
    """Give the rows as ``nwscan.list/1``; unknown is null."""
    return {"schema": LIST_SCHEMA, "taps": [_row_document(row) for row in rows]}


def _row_document(row: TapRow) -> dict[str, Any]:
    identity, port = row.card.identity, row.port
    return {
        "tap": identity.tap,
        "guest": identity.name,
        "uuid": identity.uuid,
        "card": identity.card,
        "mac": format_mac(identity.macs[0]) if identity.macs else None,
        "addresses": [
            {"value": address.value, "source": str(address.source), "trusted": address.trusted}
            for address in identity.addresses
        ],
        "bridge": identity.bridge,
        "interface_type": row.card.interface_type,
        "filter": row.card.filterref[0] if row.card.filterref else None,
        "port": None
        if port is None
        else {"learning": port.learning, "flood": port.flood, "isolated": port.isolated, "state": port.state},
    }


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that this host must be able to do. ``is_fine`` None means that it could not be found out."""

    name: str
    is_fine: bool | None
    found: str
    hint: str = ""
    needed_for: str = ""


_PROGRAMS: Final = (
    ("ip", "iproute2", "list, capture"),
    ("bridge", "iproute2", "list"),
    ("ebtables-save", "ebtables", "status"),
)


def doctor(settings: Settings | None = None) -> tuple[Check, ...]:
    """Say what this host can do and what is left over; changes nothing and raises nothing."""
    settings = settings or Settings()
    checks = [
        _compiled(),
        _privileges(),
        _worker(),
        *(_program(*program) for program in _PROGRAMS),
        _asked("libvirt", "list, suggest --apply, verify", lambda: _libvirt(settings)),
        _asked("nwfilter schema", "checking generated filters", _schema),
        _asked("meter", "verify", _meter),
        _asked("classifier", "top, export at a small cost", _classifier),
        _state(settings),
        _asked("journal", "rollback", lambda: _journal(settings)),
    ]
    return tuple(checks)


def clean() -> tuple[str, ...]:
    """Remove what ended processes of nwscan left in the kernel and name what went."""
    from analyzer.host.meter import remove_table, stale_tables
    from analyzer.host.tap_hooks import remove_leftovers

    removed = stale_tables()
    for name in removed:
        remove_table(name)
    return (*removed, *map(str, remove_leftovers()))


def doctor_document(checks: tuple[Check, ...]) -> dict[str, Any]:
    """Give the checks as ``nwscan.doctor/1``."""
    return {
        "schema": DOCTOR_SCHEMA,
        "checks": [
            {
                "name": check.name,
                "ok": check.is_fine,
                "found": check.found,
                "hint": check.hint or None,
                "needed_for": check.needed_for or None,
            }
            for check in checks
        ],
    }


def _asked(name: str, needed_for: str, ask: Callable[[], tuple[bool | None, str, str]]) -> Check:
    """Make a check of a door that may refuse."""
    try:
        is_fine, found, hint = ask()
    except NwscanError as error:
        return Check(name, is_fine=False, found=error.what, hint=error.hint, needed_for=needed_for)
    return Check(name, is_fine, found, hint, needed_for)


def _compiled() -> Check:
    from analyzer.classify import decode

    path = str(decode.__file__)
    is_fine = not path.endswith(".py")
    found = "compiled" if is_fine else "running uncompiled"
    return Check(
        "hot modules", is_fine, found, "" if is_fine else "install a built wheel, or: pip install -e .", "speed"
    )


_CAP_NET_ADMIN: Final = 12
_CAP_NET_RAW: Final = 13
"""Numbers of linux/capability.h."""


def _privileges() -> Check:
    effective = 0
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    names = {"CAP_NET_RAW": _CAP_NET_RAW, "CAP_NET_ADMIN": _CAP_NET_ADMIN}
    missing = [name for name, number in names.items() if not effective >> number & 1]
    found = f"missing {', '.join(missing)}" if missing else "CAP_NET_RAW and CAP_NET_ADMIN"
    hint = "run as root, or give the service these capabilities" if missing else ""
    return Check("privileges", not missing, found, hint, "capture, verify")


def _worker() -> Check:
    from nwscan.worker.confine import lacks

    lacking = lacks()
    found = "; ".join(lacking) or "gives up user, groups, capabilities and system calls"
    hint = "install libseccomp2, or give root these capabilities" if lacking else ""
    return Check("measuring worker", not lacking, found, hint, "safety from hostile frames")


def _program(name: str, package: str, needed_for: str) -> Check:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    hint = "" if path else f"apt install {package}"
    return Check(name, path is not None, path or "not installed", hint, needed_for)


def _libvirt(settings: Settings) -> tuple[bool, str, str]:
    try:
        with LibvirtReader(settings.uri) as libvirt:
            guests = {card.identity.uuid for card in libvirt.cards()}
            filters = libvirt.filter_names()
            version = libvirt.version()
    except HostError as error:
        return False, *_silent(error)
    return True, f"libvirt {version} at {settings.uri}: {len(guests)} guests, {len(filters)} nwfilters", ""


def _silent(error: HostError) -> tuple[str, str]:
    """Say why libvirt does not answer, and what to do: chains that it has half made keep it from starting."""
    found = None
    with contextlib.suppress(HostError):
        found = half_made()
    if found is None or not found.chains:
        return error.what, error.hint
    return (
        f"{error.what}; it ended amid redefining a filter and left {' '.join(found.chains)}",
        f"libvirt may not start with these chains. Where libvirtd does not run: {found.removal}; then start it",
    )


def _schema() -> tuple[bool, str, str]:
    from generator.nwfilter.xml import RNG_PATH

    if RNG_PATH.is_file():
        return True, str(RNG_PATH), ""
    return False, "not installed", "apt install libvirt0; without it filters are checked by our own lint alone"


def _meter() -> tuple[bool, str, str]:
    from analyzer.host.meter import stale_tables

    stale = stale_tables()
    if stale:
        return False, f"left over: {', '.join(stale)}", "remove them with: nwscan doctor --clean"
    return True, "nftables answers, nothing left over", ""


def _classifier() -> tuple[bool, str, str]:
    from analyzer.host.tap_counter import TapCounter
    from analyzer.host.tap_hooks import leftovers

    left = leftovers()
    if left:
        return False, f"left over: {', '.join(map(str, left))}", "remove them with: nwscan doctor --clean"
    try:
        with TapCounter() as counter:
            way = "links that go with their process" if counter.goes_with_its_process else "filters of tc"
    except HostError as error:
        return False, f"the nft meter counts instead: {error.what}", error.hint
    return True, f"eBPF loads, on taps by {way}; nothing left over", ""


def _state(settings: Settings) -> Check:
    folder = settings.state
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    there = [existing, *(path for path in (settings.reports, settings.journal) if os.access(path, os.F_OK))]
    is_fine = all(os.access(path, os.R_OK | os.W_OK | os.X_OK) for path in there)
    hint = "" if is_fine else "name another folder with --state or NWSCAN_STATE"
    free = shutil.disk_usage(existing).free
    return Check("state folder", is_fine, f"{folder}, {free / 1e9:.1f} GB free", hint, "reports, journal")


def _journal(settings: Settings) -> tuple[bool, str, str]:
    from generator.deploy.journal import Journal

    journal = Journal(settings.journal)
    if not journal.records():
        return True, "nothing applied", ""
    interrupted = journal.interrupted()
    if interrupted:
        return False, f"{len(interrupted)} changes were interrupted", "see nwscan status, then nwscan rollback GUEST"
    return True, "nothing interrupted", ""
