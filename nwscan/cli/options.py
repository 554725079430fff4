"""Options that several commands share, parsed in one place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from analyzer.errors import HostError, UsageError
from nwscan.config import Settings, default_duration_s, parse_duration_s, settings_for
from nwscan.render.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from analyzer.model.identity import Address, GuestIdentity
    from generator.deploy.plan import Plan
    from nwscan.api.fail_on import Condition

EXIT_INCONCLUSIVE: Final = 7
"""What was measured allows no answer."""

Command = TypeVar("Command", bound="Callable[..., Any]")


def settings_of(context: click.Context) -> Settings:
    """Give the settings of this command line."""
    options: dict[str, Any] = context.obj or {}
    return settings_for(options.get("connect"), options.get("state"))


class _Days(click.FloatRange):
    """A number of days, up to a hundred years; click's own range takes what is not a number."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:  # noqa: ANN401
        days: float = super().convert(value, param, context)
        if math.isnan(days):
            self.fail(f"{value!r} is not a number of days.", param, context)
        return days


DAYS: Final = _Days(0, 36525)


def stop_rule(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> float | None:
    """Give the seconds of ``-a duration:60``, the default where it is not given."""
    duration_s = None
    for value in values:
        kind, _, amount = value.partition(":")
        if kind != "duration" or not amount:
            raise UsageError(f"not a stop rule: {value!r}", "-a", "write -a duration:60")
        duration_s = parse_duration_s(amount, "-a duration")
    return default_duration_s() if duration_s is None else duration_s


def autostop(command: Command) -> Command:
    """Add ``-a duration:60``."""
    return click.option(
        "-a",
        "duration_s",
        metavar="duration:SECONDS",
        multiple=True,
        callback=stop_rule,
        help="Length of the window [60, or NWSCAN_DURATION].",
    )(command)


def _confirm_within(_context: click.Context, _option: click.Parameter, value: str) -> float:
    return 0.0 if value in {"0", "0s"} else parse_duration_s(value, "--confirm-within")


def confirm_within(command: Command) -> Command:
    """Add ``--confirm-within 120s``; the command gets ``confirm_within_s``, 0 for no deadline."""
    return click.option(
        "--confirm-within",
        "confirm_within_s",
        metavar="DURATION",
        default="120s",
        callback=_confirm_within,
        help="Roll back unless confirmed within this time after the second window; 0: never [120s].",
    )(command)


def migration_targets(command: Command) -> Command:
    """Add ``--migration-target URI``; the command gets ``targets``."""
    return click.option(
        "--migration-target",
        "targets",
        multiple=True,
        metavar="URI",
        help="Ask this libvirt, too, which filters it lacks; no other host is ever asked.",
    )(command)


def output_format(*formats: str) -> Callable[[Command], Command]:
    """Add ``--format table|json|csv`` and ``--json``; the command gets ``shape``."""

    def add(command: Command) -> Command:
        choice = click.option("--format", "shape", type=click.Choice(formats), default="table", help="How to print it.")
        short = click.option("--json", "shape", flag_value="json", help="Short for --format json.")
        return choice(short(command))

    return add


def on_cluster(command: Command) -> Command:
    """Add ``--scheduler tcp://HOST:PORT``; the command gets ``scheduler``."""
    return click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Work on a Dask cluster: tcp://HOST:PORT, tls://HOST:PORT, or local[:N] for N processes of this machine.",
    )(command)


def failing(command: Command) -> Command:
    """Add ``--fail-on 'foreign_share>5%'``; the command gets ``condition``."""

    def condition_of(_context: click.Context, _option: click.Parameter, text: str | None) -> Condition | None:
        from nwscan.api.fail_on import parse

        return None if text is None else parse(text)

    return click.option(
        "--fail-on",
        "condition",
        metavar="CONDITION",
        callback=condition_of,
        help="End with exit code 1 where it holds: 'foreign_share>5%'; with 7 where the figure is not known.",
    )(command)


def asking_agent(command: Command) -> Command:
    """Add ``--ask-agent``; the command gets ``ask_agent``."""
    return click.option(
        "--ask-agent",
        is_flag=True,
        help="Ask the guest's agent for its addresses, too: needs a read-write connection; not trusted.",
    )(command)


def unrelated_only(command: Command) -> Command:
    """Declare --unrelated."""
    return click.option(
        "--unrelated",
        is_flag=True,
        help="Copy only foreign unicast, broadcast and multicast. The guest's own frames are counted in the kernel and "
        "are in the report, but not looked at. Needs CAP_BPF, and the guest's MACs.",
    )(command)


def tell(notes: Iterable[str]) -> None:
    """Print notes on stderr, what does not print being escaped."""
    for note in notes:
        click.echo(f"note: {visible(note)}", err=True)


def whose(command: Command) -> Command:
    """Add ``--mac`` and ``--ip``."""
    mac = click.option("--mac", "macs", multiple=True, metavar="MAC", help="A MAC address of the guest's card.")
    ip = click.option("--ip", "ips", multiple=True, metavar="ADDRESS", help="An IP address of the guest.")
    return mac(ip(command))


def identity_from(macs: tuple[str, ...], ips: tuple[str, ...], tap: str | None = None) -> GuestIdentity | None:
    """Give the identity that ``--mac`` and ``--ip`` name, None where ``--mac`` is not given.

    Raises UsageError for what is no unicast MAC or no IP address.
    """
    from analyzer.model.identity import GuestIdentity, Provenance

    if not macs:
        if ips:
            raise UsageError("--ip needs --mac", hint="say whose addresses these are with --mac")
        return None
    numbers = macs_from(macs, "--mac")
    return GuestIdentity(numbers, Provenance.COMMAND_LINE, tap=tap, addresses=addresses_from(ips))


def macs_from(texts: tuple[str, ...], option: str) -> tuple[int, ...]:
    """Give the MACs that ``option`` names, each once. Raises UsageError for what is no unicast MAC."""
    from analyzer.model.addresses import is_group, parse_mac

    macs = []
    for text in texts:
        try:
            mac = parse_mac(text)
        except UsageError as error:
            raise UsageError(error.what, option, error.hint) from error
        if is_group(mac):
            raise UsageError(f"a guest's card cannot have the group address {text}", option, "name a unicast MAC")
        macs.append(mac)
    return tuple(dict.fromkeys(macs))


def addresses_from(ips: tuple[str, ...]) -> tuple[Address, ...]:
    """Give the addresses that ``--ip`` states. Raises UsageError for what is no IP address."""
    import ipaddress

    from analyzer.model.identity import Address, Provenance

    addresses = []
    for ip in ips:
        try:
            value = str(ipaddress.ip_address(ip))
        except ValueError as error:
            raise UsageError(f"not an IP address: {ip!r}", "--ip", "write it as 192.0.2.1 or 2001:db8::1") from error
        addresses.append(Address(value, Provenance.COMMAND_LINE, trusted=True))
    return tuple(addresses)


def check_output(path: Path | None) -> None:
    """Refuse before anything is measured a file that could not be written after it."""
    if path is None:
        return
    if path.is_dir():
        raise HostError("cannot write: it is a folder", str(path), "name a file")
    if not path.absolute().parent.is_dir():
        raise HostError("cannot write: the folder is not there", str(path), "name a file in a folder that is there")


def filter_places(command: Command) -> Command:
    """Add ``--guest``, ``-p`` and ``--library``: where a filter's parameters and what it refers to come from."""
    guest = click.option("--guest", metavar="TARGET", help="Use this guest's MAC and the parameters of its filter.")
    parameters = click.option(
        "-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter; repeated: a list."
    )
    library = click.option(
        "--library", multiple=True, metavar="XML_OR_FOLDER", help="Filters that may be referred to; needs no libvirt."
    )
    return guest(parameters(library(command)))


def typed(plan: Plan) -> str:
    """Give the plan's guest as a person types it in a shell: by its uuid where its name does not print."""
    import shlex

    return shlex.quote(plan.name) if plan.name.isprintable() else plan.guest
