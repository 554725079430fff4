"""``demo``: the whole job on the bundled captures, with the commands that anybody could type."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

import click


@click.command(epilog="Example: nwscan demo")
def demo() -> int:
    """Show the whole job on bundled captures: measure, suggest, predict, compare. Nothing is changed."""
    with ExitStack() as stack:
        samples = stack.enter_context(as_file(files("nwscan.captures")))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="nwscan-demo-")))
        before, after = samples / "before.pcapng", samples / "after.pcapng"
        _tell("20 s on the tap of a guest, while the bridge floods the traffic of a silent host to every port.")
        _type("analyze", str(before), "-o", str(folder / "before.json"))
        _tell("Which filter would stop that, and what would it have done to exactly these frames?")
        _type("suggest", "--from", str(before))
        _tell("The same traffic, captured behind that filter.")
        _type("analyze", str(after), "-o", str(folder / "after.json"))
        _tell(
            "Before against after. Two captures alone prove no cause: on a host, verify also counts what was offered."
        )
        _type("verify", "--before", str(folder / "before.json"), "--after", str(folder / "after.json"))
    _tell("On a hypervisor: nwscan list, then nwscan suggest --apply GUEST.")
    return 0


def _tell(sentence: str) -> None:
    click.echo(f"# {sentence}")


def _type(*arguments: str) -> None:
    """Show a command and run it as the shell would; its exit code is part of what it says."""
    from nwscan.cli.main import main

    click.echo(f"$ nwscan {shlex.join(Path(word).name if '/' in word else word for word in arguments)}")
    code = main(list(arguments))
    click.echo(f"# exit code {code}\n" if code else "")
