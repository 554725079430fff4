"""The one door that changes a bridge: a port's flooding, an entry of the FDB, and the hooks that do it again.

Knows no plans: each call is one change, or a look at what is to be changed. Only what bridge_words.py can say is run.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analyzer.errors import HostError
from analyzer.host import bridge as bridges
from analyzer.host.bridge_words import EntryState, entry_words, flood_words
from analyzer.host.interface_names import checked_interface_name
from analyzer.host.programs import run_program
from generator.deploy.door import EntryLook, PortLook
from generator.deploy.hook import HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE_LIMIT: Final = 1024 * 1024


class BridgeWriter:
    """The bridges of this network namespace, and a folder of libvirt's hooks."""

    def __init__(self, hooks: Path = Path(HOOKS)) -> None:
        self._hooks = hooks

    def port(self, name: str) -> PortLook | None:
        """Look at a port; None where there is no such interface or it is on no Linux bridge."""
        try:
            index = _index(checked_interface_name(name))
            found = None if index is None else bridges.port(name)
        except HostError:
            if _index(name) is None:  # it went away meanwhile
                return None
            raise
        if index is None or found is None or found.flood is None:
            return None
        return PortLook(index, found.bridge, found.flood)

    def entry(self, bridge: str, mac: int) -> EntryLook | None:
        """Look up an address in a bridge's FDB; None where it is not known, or there is no such bridge.

        A kernel with VLANs makes an entry that is asked for without one for each VLAN of the port as well, of which
        every port has one by default. What a bridge that does not filter VLANs goes by is the one without.
        """
        name = checked_interface_name(bridge)
        if _index(name) is None:
            return None
        entries = [one for one in bridges.fdb(name) if one.mac == mac]
        entries = [one for one in entries if one.vlan is None] or entries
        if len(entries) > 1:  # a bridge that filters VLANs
            raise HostError(
                f"{name} has several entries of the address", f"bridge {name}", f"see: bridge fdb show br {name}"
            )
        return EntryLook(entries[0].port, entries[0].state) if entries else None

    def set_flood(self, port: str, *, is_on: bool) -> None:
        """Turn the flooding of unknown unicast to a port on or off."""
        run_program(*flood_words(checked_interface_name(port), is_on=is_on))

    def set_entry(self, mac: int, port: str, state: EntryState | None) -> None:
        """Make the entry of an address at a port, or remove it (None)."""
        run_program(*entry_words(mac, checked_interface_name(port), state))

    def hook(self, name: str) -> str | None:
        """Give the text of a hook, None where there is no such file. Raises HostError for what is no file."""
        path = self._path(name)
        with _touching(path):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                return None
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise HostError("the hook is no file", str(path), "see what it is, and move it away")
                return file.read(_SIZE_LIMIT).decode(errors="replace")

    def write_hook(self, name: str, text: str) -> None:
        """Make a hook that is not there yet: whole and executable from the moment at which it has its name."""
        path = self._path(name)
        partial = path.with_name(f".{name}.partial")
        with _touching(path):
            self._hooks.mkdir(mode=0o755, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # of a process that was killed
                partial.unlink()
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fchmod(descriptor, 0o755)
                    os.fsync(descriptor)
                os.link(partial, path)  # unlike a renaming, it replaces nobody's file
            finally:
                partial.unlink()

    def remove_hook(self, name: str) -> None:
        """Remove a hook; one that is not there is removed."""
        path = self._path(name)
        with _touching(path), suppress(FileNotFoundError):
            path.unlink()

    def _path(self, name: str) -> Path:
        if not name.startswith("nwscan-") or "/" in name:
            raise ValueError(name)
        return self._hooks / name


@contextmanager
def _touching(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"cannot change libvirt's hooks: {error.strerror}", str(path), "run as root") from error


def _index(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None
