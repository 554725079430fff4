"""The command line's entrance: finds the command, loads only its file, owns exit codes and how errors are printed."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from typing import Any, Final

import click

from analyzer.errors import HostError, NwscanError, UsageError
from analyzer.version import VERSION
from nwscan.render.text import visible

COMMANDS: Final = {
    "list": ("nwscan.cli.host", "list_taps", "Show every tap with its guest, filter and port flags."),
    "capture": ("nwscan.cli.measure", "capture", "Capture on taps, classify every frame, keep the report."),
    "analyze": ("nwscan.cli.measure", "analyze", "Classify the frames of capture files."),
    "report": ("nwscan.cli.report", "report", "Show reports again, merge them, export them."),
    "replay": ("nwscan.cli.replay", "replay", "Say what a filter would have done to a capture."),
    "filters": ("nwscan.cli.filters", "filters", "Show the nwfilters of the host, or one of them in full."),
    "suggest": ("nwscan.cli.suggest", "suggest", "Generate a filter for a guest, with evidence; --apply puts it in."),
    "apply": ("nwscan.cli.plans", "apply", "Carry out a reviewed plan, of one guest or of several."),
    "verify": ("nwscan.cli.prove", "verify", "Measure again and judge: offered, delivered, before, after."),
    "confirm": ("nwscan.cli.confirming", "confirm", "Keep what was applied to a guest and waits for it."),
    "rollback": ("nwscan.cli.undoing", "rollback", "Undo what was applied to a guest."),
    "explain": ("nwscan.cli.explain", "explain", "Say why foreign unicast reaches a tap, and which remedy fits."),
    "status": ("nwscan.cli.host", "status", "Compare what is intended with what libvirt and the kernel have."),
    "forget": ("nwscan.cli.report", "forget", "Delete kept frames and reports."),
    "top": ("nwscan.cli.live", "top", "Show all guests live, by what floods them; counted in the kernel."),
    "export": ("nwscan.cli.export", "export", "Count on all taps for Prometheus; alert rules and a dashboard."),
    "doctor": ("nwscan.cli.host", "doctor", "Say what this host can do and what is left over."),
    "demo": ("nwscan.cli.demo", "demo", "Show the whole job on bundled captures, without root or libvirt."),
}
"""Name -> module, function, one line of help. The help of the group reads this alone and loads nothing."""

EXIT_INTERNAL: Final = 70
"""EX_SOFTWARE of sysexits.h: a defect of nwscan itself."""
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 128 + signal.SIGPIPE

_ERROR_LENGTH: Final = 4000
"""Characters of one field of an error at the most."""
_NO_TEXT: Final = re.compile("[\udc80-\udcff]+")
"""Octets of an argument that are no UTF-8, as Python keeps them (PEP 383)."""
_NO_PATH: Final = {errno.ENAMETOOLONG, errno.ELOOP}
_OUTPUT_ERRORS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a full disk says where standard output goes to a file; other files are guarded where they are used."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 click's signature
        """Give the names in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 click's signature
        """Import the file of one command."""
        if cmd_name not in COMMANDS:
            return None
        module_name, function, _ = COMMANDS[cmd_name]
        module = __import__(module_name, fromlist=[function])
        command: click.Command = getattr(module, function)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 click's signature
        """Carry a command out; that whoever reads the output has enough is a quiet end."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _stop_writing()
        except SystemExit as ended:  # this is what rich makes of it
            if not isinstance(ended.__context__, BrokenPipeError):
                raise
        return EXIT_BROKEN_PIPE

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's signature
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


EPILOG: Final = "Example: nwscan capture vnet0 -a duration:10"


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--connect", metavar="URI", help="libvirt to ask [NWSCAN_CONNECT, LIBVIRT_DEFAULT_URI, qemu:///system].")
@click.option("--state", metavar="DIR", help="Folder of reports, frames and journal [NWSCAN_STATE].")
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an internal error.")
@click.version_option(VERSION, prog_name="nwscan")
@click.pass_context
def cli(context: click.Context, connect: str | None, state: str | None, verbose: bool) -> None:
    """Measure the traffic a KVM guest sees that is not its own, filter it, and prove that it is gone."""
    context.obj = {"connect": connect, "state": state, "verbose": verbose}


def print_error(error: NwscanError) -> None:
    """Print an error with its three fields on stderr, a line each, what does not print being escaped."""
    fields = (("error: ", error.what), ("  where: ", error.where), ("  do:    ", error.hint))
    click.echo("\n".join(f"{name}{_shortened(visible(text))}" for name, text in fields if text), err=True)


def _shortened(text: str) -> str:
    """Give the text with its middle left out where it would fill a screen: somebody else may have chosen it."""
    half = _ERROR_LENGTH // 2
    return text if len(text) <= _ERROR_LENGTH else f"{text[:half]} [...] {text[-half:]}"


def _usage_error(error: click.ClickException) -> UsageError:
    """Give what click found wrong with a command line in our own form."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "nwscan"
    return UsageError(error.format_message().rstrip("."), path, f"see {path} --help")


def _stop_writing() -> None:
    """Let nothing more go to standard output: Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def main(arguments: list[str]) -> int:  # noqa: PLR0911 one return for each way a command can end
    """Run one command line and give its exit code."""
    result: Any
    try:
        result = cli.main(arguments, prog_name="nwscan", standalone_mode=False)
    except NwscanError as error:
        print_error(error)
        return error.exit_code
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        print_error(_usage_error(error))
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except UnicodeEncodeError as error:
        return _encoding_error(error, arguments)
    except OSError as error:
        return _system_error(error, arguments)
    except Exception as error:  # noqa: BLE001 the one place: told below, raised again with -v
        return _internal_error(error, arguments)
    return result if isinstance(result, int) else 0


def _encoding_error(error: UnicodeEncodeError, arguments: list[str]) -> int:
    """Tell of an argument that is no UTF-8 where there has to be text."""
    if not _NO_TEXT.fullmatch(error.object, error.start, error.end):
        return _internal_error(error, arguments)
    print_error(UsageError(f"no text in UTF-8: {error.object}", hint="name it in UTF-8; only files may be otherwise"))
    return UsageError.exit_code


def _system_error(error: OSError, arguments: list[str]) -> int:
    """Tell of a path that can be none, and of output that nobody takes."""
    if error.errno in _NO_PATH:
        print_error(UsageError(f"no path: {error.strerror}", str(error.filename), "give a shorter one"))
        return UsageError.exit_code
    if error.errno not in _OUTPUT_ERRORS:
        return _internal_error(error, arguments)
    _stop_writing()
    print_error(HostError(f"cannot write the output: {error.strerror}", "standard output", "make room for it"))
    return HostError.exit_code


def _internal_error(error: Exception, arguments: list[str]) -> int:
    if "-v" in arguments or "--verbose" in arguments:
        raise error
    what = f"internal error: {type(error).__name__}: {error}"
    print_error(NwscanError(what, hint="this is a defect of nwscan: repeat with -v and report what it prints"))
    return EXIT_INTERNAL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
