"""``suggest``: the filter with its evidence and its plan; what puts it in stands in applying.py."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

import click

from analyzer.errors import UsageError
from nwscan.cli.options import (
    addresses_from,
    asking_agent,
    autostop,
    check_output,
    confirm_within,
    identity_from,
    macs_from,
    migration_targets,
    output_format,
    settings_of,
    tell,
    typed,
    whose,
)
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyzer.model.identity import GuestIdentity
    from nwscan.api.measure import CaptureOptions
    from nwscan.api.suggesting import Proposal, Proposals, Wish
    from nwscan.cli.applying import Keeping
    from nwscan.config import Settings

EXIT_REFUSED: Final = 1


@click.command(epilog="Example: nwscan suggest --from captures/before.pcapng --mac 52:54:00:00:00:01")
@click.argument("guest", required=False)
@autostop
@click.option(
    "--from",
    "source",
    metavar="FILE_OR_REPORT",
    help="Suggest from a capture or a *.json report; needs no libvirt without GUEST.",
)
@whose
@asking_agent
@click.option(
    "--captured-on", type=click.Choice(["tap", "guest"]), help="Trust the file's direction flags, as seen there."
)
@click.option("--also-mac", "also", multiple=True, metavar="MAC", help="Count this MAC as the guest's own, too.")
@click.option(
    "--profile",
    type=click.Choice(["mac", "ip", "strict", "allow-ipv4"]),
    default="mac",
    help="What to drop; see docs/profiles.md [mac].",
)
@click.option("--keep", multiple=True, metavar="KIND", help="Let this pass, too: vrrp, nlb, mdns, a MAC, a group.")
@click.option(
    "--xml", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Write the filters there, for virsh."
)
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="PLAN.json", help="Write the plan to a file.")
@click.option("--all", "everything", is_flag=True, help="For every guest that runs, measured at once.")
@click.option(
    "--remedy",
    type=click.Choice(["flood_off", "static_entry"]),
    help="Change the bridge instead of a filter; see docs/bridge-remedies.md.",
)
@click.option("--hook", "with_hook", is_flag=True, help="With --remedy: have libvirt do it again at each start.")
@migration_targets
@click.option("--apply", "apply_it", is_flag=True, help="Put the filter in, measure again, and judge.")
@confirm_within
@click.option("--yes", is_flag=True, help="Do not ask; keep what proves effective.")
@click.option("--force", is_flag=True, help="Overrule a refusal that may be overruled.")
@output_format("table", "json")
@click.pass_context
def suggest(
    context: click.Context,
    guest: str | None,
    duration_s: float,
    source: str | None,
    macs: tuple[str, ...],
    ips: tuple[str, ...],
    ask_agent: bool,
    captured_on: str | None,
    also: tuple[str, ...],
    profile: str,
    keep: tuple[str, ...],
    folder: Path | None,
    output: Path | None,
    everything: bool,
    remedy: str | None,
    with_hook: bool,
    targets: tuple[str, ...],
    apply_it: bool,
    confirm_within_s: float,
    yes: bool,
    force: bool,
    shape: str,
) -> int:
    """Generate a filter for GUEST that drops the traffic which is not its own, with the evidence for each rule.

    With --apply: shows the plan, puts the filter in (live and for the next start), measures again and judges. Unless it
    is kept, it is rolled back at the deadline; harm rolls it back at once. Exit code 1: refused, or not effective. 5:
    harmful, and rolled back. 7: inconclusive; it waits for nwscan confirm.
    """
    from nwscan.api.suggesting import Wish

    if ask_agent and (guest is None or source is not None or remedy is not None):
        raise UsageError("whose agent?", "--ask-agent", "name a guest, without --from, --all and --remedy")
    wish = Wish(profile, macs_from(also, "--also-mac"), addresses_from(ips), keep)
    if source is not None:
        if output is not None:
            raise UsageError("a plan is for a guest of this host", f"-o {output}", "write the filters with --xml DIR")
        identity = _identity_for_file(context, guest, macs, ips)
        virsh_uri = (context.obj or {}).get("connect")  # libvirt is not asked: only what was said counts
        return _from_file(source, identity, wish, captured_on, folder, shape, virsh_uri, apply_it=apply_it)
    _check_usage(guest, macs, folder, remedy, everything=everything, with_hook=with_hook)
    if apply_it and not yes and not sys.stdin.isatty():
        raise UsageError("off a terminal nobody can be asked", "--apply", "add --yes")
    check_output(output)
    from nwscan.api import measure
    from nwscan.cli import suggest_whole
    from nwscan.cli.applying import Keeping

    settings, began_ns = settings_of(context), time.time_ns()
    options = measure.CaptureOptions(duration_s)
    keeping = Keeping(confirm_within_s, yes=yes, shape=shape)
    go_on: dict[str, Any] = {"output": output, "targets": targets, "apply_it": apply_it, "force": force}
    if guest is None:
        return suggest_whole.suggest_all(options, wish, settings, keeping, **go_on)
    if remedy is not None:
        own = macs_from(also, "--also-mac")
        return suggest_whole.suggest_remedy(
            guest, remedy, options, settings, keeping, also=own, with_hook=with_hook, **go_on
        )
    return _for_guest(guest, wish, options, settings, keeping, began_ns, ask_agent=ask_agent, folder=folder, **go_on)


def _for_guest(
    guest: str,
    wish: Wish,
    options: CaptureOptions,
    settings: Settings,
    keeping: Keeping,
    began_ns: int,
    *,
    ask_agent: bool,
    folder: Path | None,
    output: Path | None,
    targets: tuple[str, ...],
    apply_it: bool,
    force: bool,
) -> int:
    from nwscan.api import suggesting
    from nwscan.cli.applying import apply_proposals
    from nwscan.cli.plans import show_blast_radius
    from nwscan.render.progress import capture_progress

    shape = keeping.shape
    with capture_progress(guest, options.duration_s) as watcher:
        proposals = suggesting.suggest(
            guest, options, wish=wish, ask_agent=ask_agent, settings=settings, watcher=watcher
        )
    tell(proposals.notes)
    _tell_of_kept(proposals.proposals, began_ns)
    show(proposals.proposals, shape, settings.virsh_uri, show_xml=not apply_it)
    _write(proposals, folder, output)
    if is_refused(proposals.proposals, force=force):
        return EXIT_REFUSED
    if proposals.plan.steps and shape == "table" and (apply_it or output is not None):
        show_blast_radius([proposals.plan], settings, targets, shape)
    if not apply_it:
        _next_step(proposals, shape, output)
        return 0
    if not keeping.yes:
        _ask_about_shared(guest, proposals.proposals)
    return apply_proposals(guest, proposals, options, settings, keeping)


def _check_usage(
    guest: str | None,
    macs: tuple[str, ...],
    folder: Path | None,
    remedy: str | None,
    *,
    everything: bool,
    with_hook: bool,
) -> None:
    """Raise UsageError for options that do not go together."""
    if (guest is None) is not everything:
        raise UsageError("for whom?", hint="name a guest, or a capture file with --from, or give --all")
    if with_hook and remedy is None:
        raise UsageError("the hook does a bridge remedy again", "--hook", "add --remedy flood_off")
    if remedy is not None and (everything or folder is not None):
        raise UsageError("a bridge remedy is for one guest and has no XML", "--remedy", "leave --all and --xml out")
    if macs:
        raise UsageError("libvirt knows the guest's MAC", "--mac", "count further ones as its own with --also-mac")


def _identity_for_file(
    context: click.Context, guest: str | None, macs: tuple[str, ...], ips: tuple[str, ...]
) -> GuestIdentity | None:
    """Give whose frames a file holds: as ``--mac`` says, or as libvirt knows the named guest's one card."""
    if guest is None:
        return identity_from(macs, ips if macs else ())
    if macs:
        raise UsageError("libvirt knows the guest's MAC", "--mac", "count further ones as its own with --also-mac")
    from nwscan.api import identify

    return identify.card_of(guest, settings_of(context), need_tap=False).identity


def _from_file(
    source: str,
    identity: GuestIdentity | None,
    wish: Wish,
    captured_on: str | None,
    folder: Path | None,
    shape: str,
    virsh_uri: str | None,
    *,
    apply_it: bool,
) -> int:
    from analyzer.errors import HostError
    from nwscan.api.suggesting import suggest_from_file, write_filters
    from nwscan.render.progress import file_progress

    if apply_it:
        raise HostError(
            "a filter made from a file alone is not applied: the guest may see other traffic now",
            source,
            "name the guest instead: nwscan suggest --apply GUEST",
        )
    with file_progress(source) as watcher:
        proposal = suggest_from_file(source, identity, wish=wish, captured_on=captured_on, watcher=watcher)
    show([proposal], shape, virsh_uri)
    if folder is not None:
        write_filters(folder, proposal)
    return EXIT_REFUSED if is_refused([proposal], force=False) else 0


def _tell_of_kept(proposals: Sequence[Proposal], began_ns: int) -> None:
    """Say so where nothing was measured, since a kept window was young enough."""
    for one in proposals:
        ends_ns = [window.end_ns or 0 for window in one.report.windows]
        if one.before is not None and max(ends_ns, default=began_ns) < began_ns:
            age_s = (began_ns - max(ends_ns)) / 1e9
            click.echo(f"from the window kept {age_s:.0f} s ago: {visible(str(one.before.path))}", err=True)


def show(proposals: Sequence[Proposal], shape: str, virsh_uri: str | None, *, show_xml: bool = True) -> None:
    """Print proposals."""
    if shape == "json":
        import json

        from generator.suggest.document import to_document

        for one in proposals:
            click.echo(json.dumps(to_document(one.suggestion, library=one.library, connect=virsh_uri)))
        return
    from nwscan.render.suggestion import print_suggestion

    for one in proposals:
        print_suggestion(one.suggestion, library=one.library, connect=virsh_uri, show_xml=show_xml)


def _write(proposals: Proposals, folder: Path | None, output: Path | None) -> None:
    from generator.deploy.plan import encode
    from nwscan.api.suggesting import write_filters
    from nwscan.kept import write_private

    if folder is not None:
        for one in proposals.proposals:
            write_filters(folder, one)
    if output is not None:
        write_private(output, encode(proposals.plan))


def is_refused(proposals: Sequence[Proposal], *, force: bool) -> bool:
    """Say whether something stands against one of the proposals that is not overruled."""
    refusals = [refusal for one in proposals for refusal in one.suggestion.refusals]
    return any(not (force and refusal.can_force) for refusal in refusals)


def _ask_about_shared(guest: str, proposals: Sequence[Proposal]) -> None:
    """Ask about each virtual MAC; where the guest takes part in it, the filter has to be made with it."""
    from analyzer.model.addresses import format_mac

    shared = [each for one in proposals for each in one.suggestion.shared]
    ours = [
        format_mac(each.mac)
        for each in shared
        if click.confirm(f"{each.seen}. Does {visible(guest)} take part in it?", default=False, err=True)
    ]
    if ours:
        words = " ".join(f"--also-mac {mac}" for mac in ours)
        raise UsageError(f"the filter would drop what goes to {', '.join(ours)}", guest, f"run it again with {words}")


def _next_step(proposals: Proposals, shape: str, output: Path | None) -> None:
    if shape == "table" and proposals.plan.steps:
        again = f"suggest --apply {typed(proposals.plan)}" if output is None else f"apply {quote(str(output))}"
        click.echo(f"To put it in: nwscan {visible(again)}")
