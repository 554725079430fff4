"""The CLI reference as a document: what ``--help`` prints, command by command."""

from __future__ import annotations

import click

from nwscan.cli.main import COMMANDS, cli

_WIDTH = 100


def render_reference() -> str:
    """Give docs/cli.md."""
    parts = ["# Command line\n\nGenerated from the commands themselves (`make docs`).\n", _section("nwscan", cli)]
    parts += [_section(f"nwscan {name}", cli.get_command(click.Context(cli), name)) for name in COMMANDS]
    return "\n".join(parts)


def _section(path: str, command: click.Command | None) -> str:
    if command is None:
        raise LookupError(path)
    group = click.Context(
        cli, info_name="nwscan", terminal_width=_WIDTH, max_content_width=_WIDTH, **cli.context_settings
    )
    context = group if command is cli else click.Context(command, info_name=path.rpartition(" ")[2], parent=group)
    return f"## {path}\n\n```\n{command.get_help(context)}\n```\n"
