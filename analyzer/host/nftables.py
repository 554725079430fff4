"""A thin door to libnftables: commands in, text out.

For the meter's own table alone; rules of others are read through the ``nft`` program (rules.py), so that a listing
which upsets the library cannot take this process with it. Every type that crosses is declared, every buffer that comes
back is copied, and a context is used by one thread at a time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import threading
from contextlib import closing, contextmanager
from ctypes.util import find_library
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError
from analyzer.host.nft_counters import NftCounters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_JSON_OUTPUT: Final = 1 << 4
"""NFT_CTX_OUTPUT_JSON of <nftables/libnftables.h>."""

_CAP_NET_ADMIN: Final = 12
"""<linux/capability.h>."""

_HINT_PERMISSION: Final = "run as root, or give CAP_NET_ADMIN; a table of another process is its own to remove"
_HINT_TABLE: Final = "run as root or with CAP_NET_ADMIN; it needs nftables and Linux 5.12 or newer"
_INSTALL: Final = "install nftables (its library is libnftables1 on Debian)"


class NftRefusedError(HostError):
    """The kernel or the library refused a command; ``output`` is the whole of what it said."""

    def __init__(self, what: str, where: str, hint: str, output: str) -> None:
        super().__init__(what, where, hint)
        self.output = output


def _load() -> ctypes.CDLL:
    """Give the library with its functions declared as in <nftables/libnftables.h>. Raises HostError without it."""
    try:
        library = ctypes.CDLL("libnftables.so.1")
    except OSError:
        name = find_library("nftables")
        if name is None:
            raise HostError("libnftables is not installed", "the meter's nft table", _INSTALL) from None
        try:
            library = ctypes.CDLL(name)
        except OSError as error:
            raise HostError(f"cannot load libnftables: {error}", "the meter's nft table", _INSTALL) from error
    context = ctypes.c_void_p
    signatures = {
        "nft_ctx_new": ([ctypes.c_uint32], context),
        "nft_ctx_free": ([context], None),
        "nft_ctx_buffer_output": ([context], ctypes.c_int),
        "nft_ctx_buffer_error": ([context], ctypes.c_int),
        "nft_ctx_get_output_buffer": ([context], ctypes.c_char_p),
        "nft_ctx_get_error_buffer": ([context], ctypes.c_char_p),
        "nft_ctx_output_set_flags": ([context, ctypes.c_uint], None),
        "nft_run_cmd_from_buffer": ([context, ctypes.c_char_p], ctypes.c_int),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, result
    return library


def _sockets() -> set[tuple[int, int]]:
    """Give the sockets that this process holds, as descriptor and inode."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names, not paths
        with contextlib.suppress(OSError):  # listing the folder took a descriptor as well, gone by now
            status = os.fstat(int(name))
            if stat.S_ISSOCK(status.st_mode):
                found.add((int(name), status.st_ino))
    return found


def _keep_from_children(sockets: set[tuple[int, int]]) -> None:
    """Close the library's socket in programs that this process starts: one that held it would hold the table.

    The library opens it without SOCK_CLOEXEC and tells nobody its number.
    """
    for descriptor, _ in sockets:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's signature


def _may_administer() -> bool:
    """Say whether this thread has CAP_NET_ADMIN; True where the kernel does not tell."""
    try:
        status = Path("/proc/thread-self/status").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return True
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "ffffffff")
    return bool(int(effective, 16) >> _CAP_NET_ADMIN & 1)


class NftContext:
    """One netlink socket to nf_tables, in the network namespace of the thread that makes it.

    Tables with ``flags owner`` that are made through it go when it is closed or its process ends, however it ends.
    """

    def __init__(self) -> None:
        if not _may_administer():
            # asked here, since the library would also complain on standard error by itself
            raise HostError("nftables refused: operation not permitted", "the meter's nft table", _HINT_PERMISSION)
        self._library = _load()
        self._lock = threading.Lock()
        before = _sockets()
        self._context: int | None = self._library.nft_ctx_new(0)
        _keep_from_children(_sockets() - before)
        if not self._context:
            raise HostError(
                "libnftables gives no context", "the meter's nft table", "see whether the kernel has nf_tables"
            )
        if self._library.nft_ctx_buffer_output(self._context) or self._library.nft_ctx_buffer_error(self._context):
            self.close()
            raise HostError("libnftables has no memory for its answers", "the meter's nft table", "free some memory")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the kernel removes the tables that it owns. A second call does nothing."""
        with self._lock:
            context, self._context = self._context, None
            if context:
                self._library.nft_ctx_free(context)

    def run(self, commands: str, *, json: bool = False) -> str:
        """Carry out ``commands`` (one a line) as one transaction and give what they print.

        ``json`` asks for the documents of libnftables-json(5). Raises NftRefusedError with the library's first line.
        """
        octets = commands.encode()
        if b"\0" in octets:
            raise ValueError(commands)
        with self._lock:
            if not self._context:
                raise HostError("the nft context is closed", "the meter's nft table", "open a new one")
            self._library.nft_ctx_output_set_flags(self._context, _JSON_OUTPUT if json else 0)
            failed = self._library.nft_run_cmd_from_buffer(self._context, octets)
            # c_char_p results are copied to bytes by ctypes before the next call can reuse the buffer
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
            errors: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            raise _refused(commands, errors.decode(errors="replace").strip())
        return output.decode(errors="replace")


@contextmanager
def owned_table(table: str, commands: Iterable[str], doing: str, taps: Sequence[str] = ()) -> Iterator[NftContext]:
    """Have a table of family bridge from entering to leaving; ``commands`` make it, one transaction, ``flags owner``.

    Raises HostError where the kernel or the library refuses: it cannot do what ``doing`` says.
    """
    where = f"nft table bridge {table}" + (f" for {', '.join(taps)}" if taps else "")
    try:
        nft = NftContext()
    except HostError as error:
        raise HostError(f"cannot {doing}: {error.what}", where, error.hint) from error
    with nft:  # leaving it, the kernel removes what the socket owns: nothing that could fail halfway
        try:
            nft.run("\n".join(commands))
        except NftRefusedError as error:
            raise HostError(f"cannot {doing}: {error.what}", where, _HINT_TABLE) from error
        yield nft


@contextmanager
def counted_table(
    table: str, commands: Iterable[str], doing: str, taps: Sequence[str] = ()
) -> Iterator[tuple[NftContext, NftCounters]]:
    """Have a table as ``owned_table`` does, and what reads its counters."""
    with owned_table(table, commands, doing, taps) as nft:
        try:
            counters = NftCounters()
        except OSError as error:
            raise HostError(f"cannot {doing}: {error}", f"nft table bridge {table}", _HINT_TABLE) from error
        with closing(counters):
            yield nft, counters


def _refused(commands: str, said: str) -> NftRefusedError:
    first = said.splitlines()[0].removeprefix("Error: ") if said else "no reason given"
    hint = "see whether the kernel has nf_tables for bridges (nft list tables bridge)"
    if "not permitted" in said or "ermission denied" in said:
        hint = _HINT_PERMISSION
    return NftRefusedError(f"nftables refused: {first}", commands.split("\n", 1)[0], hint, said)
