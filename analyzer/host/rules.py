"""What the kernel really has for a tap: the rules that its frames meet, whatever made them.

Reads only. libvirt's live XML is no proof that rules exist (a deleted binding leaves the XML as it was), so the kernel
is asked: ``ebtables-save -c`` and the iptables-save programs for the backend of today, ``nft -j`` for libvirt's
nftables backend, whose layout is known from its source and tests and was never seen on a live host. Tables are listed
by name, never the whole ruleset: other tables are not our affair, and nft before 1.1.0 stumbles over ``flags owner`` (a
meter's).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.programs import ProgramFailedError, program_path, run_program
from analyzer.host.rule_listings import Backend, HalfMade, KernelRule, half_made_chains, read_nft_table, read_save

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Backend", "KernelRule", "KernelRules", "half_made", "join_rules", "kernel_rules", "kernel_rules_of"]

_SAVE_PROGRAMS: Final = ("ebtables", "iptables", "ip6tables")

_NFT_BACKEND_TABLES: Final = ("libvirt_nwfilter_ethernet", "libvirt_nwfilter_inet")
"""nwfilter_nftables_driver.c of libvirt."""

_EBTABLES_NFT_TABLE: Final = "nat"
"""Where ebtables-nft keeps what ebtables-save would print, should that program be missing."""

_LIBVIRT_CHAIN: Final = "libvirt-"


@dataclass(frozen=True, slots=True)
class KernelRules:
    """The rules for one tap.

    ``present`` says whether libvirt's nwfilter acts on the tap now, ``backend`` by which of its backends (None: by
    none). ``rules`` are all that its frames reach from a rule that names the tap, libvirt's or not; those of the other
    backend, left behind when a host was switched, are in ``leftover``.
    """

    tap: str
    backend: Backend | None
    present: bool
    rules: tuple[KernelRule, ...]
    leftover: tuple[KernelRule, ...] = ()


def kernel_rules(tap: str) -> KernelRules:
    """Ask the kernel for the rules of a tap.

    Raises HostError where no program is there to ask, or it is not permitted (CAP_NET_ADMIN).
    """
    return kernel_rules_of((tap,))[tap]


def kernel_rules_of(taps: Iterable[str]) -> dict[str, KernelRules]:
    """Ask the kernel once for the rules of several taps. Raises as ``kernel_rules``."""
    names = [checked_interface_name(tap) for tap in taps]
    if not names:
        return {}
    has_nft = program_path("nft") is not None
    if program_path("ebtables-save") is None and not has_nft:
        raise HostError("no program can list bridge rules", f"tap {', '.join(names)}", "install ebtables or nftables")
    tables = _nft_tables() if has_nft else ()
    readers = [reader for program in _SAVE_PROGRAMS if (reader := _saved_reader(program, tables)) is not None]
    listings = [_nft_listing(one) for one in _NFT_BACKEND_TABLES if one in tables]
    return {
        name: join_rules(
            name,
            [rule for read in readers for rule in read(name)],
            [rule for listing in listings for rule in read_nft_table(listing, name)],
        )
        for name in names
    }


def join_rules(tap: str, saved: list[KernelRule], in_nft: list[KernelRule]) -> KernelRules:
    """Say which backend acts on the tap, from the rules found in ebtables and iptables and in libvirt's nft tables.

    Where both do, the nftables backend is the newer one: switching leaves the rules of the old one behind.
    """
    by_ebtables = any(rule.chain.startswith(_LIBVIRT_CHAIN) for rule in saved)
    if in_nft:
        return KernelRules(tap, Backend.NFTABLES, present=True, rules=tuple(in_nft), leftover=tuple(saved))
    return KernelRules(tap, Backend.EBTABLES if by_ebtables else None, present=by_ebtables, rules=tuple(saved))


def half_made() -> HalfMade:
    """Give the chains that libvirt has half made, and what takes them away.

    Raises HostError where ebtables-save is not there, or not permitted (CAP_NET_ADMIN).
    """
    return half_made_chains(run_program("ebtables-save"))


def _saved_reader(program: str, nft_tables: tuple[str, ...]) -> Callable[[str], tuple[KernelRule, ...]] | None:
    """Give what reads a tap's rules from what a save program tells; ebtables-nft through nft where it cannot."""
    through_nft = program == "ebtables" and _EBTABLES_NFT_TABLE in nft_tables
    listing = None
    if program_path(f"{program}-save") is not None:
        try:
            listing = run_program(f"{program}-save", "-c")
        except ProgramFailedError:
            if not through_nft:
                raise
    if listing is not None:
        return partial(_read_saved, listing, program)
    if through_nft:
        return partial(read_nft_table, _nft_listing(_EBTABLES_NFT_TABLE))
    return None


def _read_saved(listing: str, program: str, tap: str) -> tuple[KernelRule, ...]:
    return read_save(listing, tap, program)


def _nft_tables() -> tuple[str, ...]:
    """Give the names of the tables of family bridge; as text, see the module's docstring."""
    lines = run_program("nft", "list", "tables", "bridge").splitlines()
    return tuple(line.split()[-1] for line in lines if line.startswith("table bridge "))


def _nft_listing(table: str) -> str:
    return run_program("nft", "-j", "list", "table", "bridge", table)
