"""One filter with all that it refers to, from files, folders and the host: where each is found, what is missing.

Files are read here and never executed; libvirt is asked read-only, and only for what no file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from analyzer.errors import HostError, InputError, UsageError
from analyzer.host.guests import LibvirtReader
from generator.evaluate.program import instantiate
from generator.nwfilter.variables import is_parameter
from generator.nwfilter.xml import TEXT_LIMIT, Reading, read_filter
from generator.suggest.tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from generator.evaluate.program import Program
    from generator.nwfilter.model import Filter, Finding

FILES_LIMIT: Final = 2000
"""Files of a folder that are looked into at most."""

HOST: Final = "libvirt"
"""The place of a filter that the host has."""


@dataclass(frozen=True, slots=True)
class FilterTree:
    """A filter and all that it refers to, by name; ``places`` says where each was found, ``findings`` are of reading.

    ``absent`` are filters that are referred to and are nowhere; ``why_absent`` says what else was tried.
    """

    root: Filter
    library: Mapping[str, Filter]
    places: Mapping[str, str]
    findings: tuple[Finding, ...] = ()
    absent: tuple[str, ...] = ()
    why_absent: str = ""


def read_file(path: Path) -> Reading:
    """Give the filter in a file. Raises InputError, with the file's name, where there is none that can be read."""
    try:
        with path.open("rb") as file:
            octets = file.read(TEXT_LIMIT + 1)
    except OSError as error:
        raise InputError(
            f"cannot read the filter: {error.strerror}", str(path), "name a file of nwfilter XML, or a filter by name"
        ) from error
    if len(octets) > TEXT_LIMIT:
        raise InputError(f"the filter is longer than {TEXT_LIMIT} octets", str(path), "libvirt takes none so long")
    try:
        return read_filter(octets.decode())
    except UnicodeDecodeError as error:
        raise InputError("the filter is not in UTF-8", f"{path}, octet {error.start}", "convert it first") from error
    except InputError as error:
        where = f"{path}, {error.where}" if error.where else str(path)
        raise InputError(error.what, where, error.hint or "compare it with: virsh nwfilter-dumpxml") from error


class _Folder:
    """The filters among the XML files of a folder, read when one is asked for.

    Files that are no filters are passed over, unless they have the name that is asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: dict[str, tuple[Reading, str]] | None = None
        self.refused: dict[str, InputError] = {}

    @property
    def filters(self) -> dict[str, tuple[Reading, str]]:
        """The filters by name, each with the name of its file."""
        if self._read is None:
            self._read = self._load()
        return self._read

    def _load(self) -> dict[str, tuple[Reading, str]]:
        filters: dict[str, tuple[Reading, str]] = {}
        try:
            files = sorted(each for each in self.path.iterdir() if each.suffix == ".xml" and each.is_file())
        except OSError as error:
            raise InputError(f"cannot read the folder: {error.strerror}", str(self.path), "name another one") from error
        for file in files[:FILES_LIMIT]:
            try:
                reading = read_file(file)
            except InputError as error:
                self.refused[file.stem] = error
            else:
                filters.setdefault(reading.filter.name, (reading, str(file)))
        return filters

    def find(self, name: str) -> tuple[Reading, str] | None:
        if name not in self.filters and name in self.refused:
            raise self.refused[name]
        return self.filters.get(name)

    def root(self) -> str:
        """Give the name of the one filter that no other refers to; raises UsageError where it is not one."""
        referred = {ref.filter for reading, _ in self.filters.values() for ref in reading.filter.references}
        roots = sorted(set(self.filters) - referred)
        if len(roots) == 1:
            return roots[0]
        if self.refused:
            raise next(iter(self.refused.values()))
        found = ", ".join(roots) or "none"
        raise UsageError(f"not one filter that no other refers to, but {found}", str(self.path), "name its file")


def filter_tree(
    named: str, library: Sequence[str] = (), host: LibvirtReader | None = None, uri: str = ""
) -> FilterTree:
    """Give the tree of a filter, named by file or folder (with a ``/`` or ``.xml`` in it) or by name.

    What it refers to is looked for in the files of ``library``, beside it, in the folders of ``library``, then on the
    host: through ``host`` where that is open, else through ``uri`` if something is missing. Raises InputError for a
    file that is no filter, UsageError for a name that nobody knows, HostError where only libvirt can know it.
    """
    path = Path(named)
    is_path = "/" in named or named.endswith(".xml")
    own = _Folder(path if path.is_dir() else path.parent) if is_path and path.exists() else None
    folders = [own] if own else []
    given: dict[str, tuple[Reading, str]] = {}
    for each in map(Path, library):
        if each.is_dir():
            folders.append(_Folder(each))
        else:
            reading = read_file(each)
            given[reading.filter.name] = reading, str(each)
    if is_path and not path.is_dir():
        reading = read_file(path)
        name = reading.filter.name
        given[name] = reading, named
    else:
        name = own.root() if own else named
    with _Places(given, folders, host, uri) as places:
        return _tree(name, places)


class _Places:
    """Everywhere a filter can be, in order; the host is asked last, once, and only if it must be."""

    def __init__(
        self,
        given: Mapping[str, tuple[Reading, str]],
        folders: Sequence[_Folder],
        host: LibvirtReader | None,
        uri: str,
    ) -> None:
        self._given = given
        self._folders = folders
        self._host = host
        self._uri = uri
        self._close: Callable[[], None] = lambda: None
        self._names: tuple[str, ...] | None = None
        self.refusal: HostError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def has_files(self) -> bool:
        """Whether any file or folder was given."""
        return bool(self._given or self._folders)

    def find(self, name: str) -> tuple[Reading, str] | None:
        """Give the filter and where it was found, None where it is nowhere."""
        if name in self._given:
            return self._given[name]
        found = next((found for folder in self._folders if (found := folder.find(name))), None)
        return found or self._on_host(name)

    def _on_host(self, name: str) -> tuple[Reading, str] | None:
        if self._names is None:
            self._names = ()
            try:
                if self._host is None and self._uri:
                    self._host = LibvirtReader(self._uri).__enter__()
                    self._close = self._host.__exit__
                self._names = self._host.filter_names() if self._host else ()
            except HostError as error:
                self.refusal = error
        if self._host is None or name not in self._names:
            return None
        return read_filter(self._host.filter_xml(name)), HOST


def _tree(name: str, places: _Places) -> FilterTree:
    library: dict[str, Filter] = {}
    found_at: dict[str, str] = {}
    findings: list[Finding] = []
    absent: dict[str, None] = {}
    pending = [name]
    while pending:
        each = pending.pop(0)
        if each in library or each in absent:
            continue
        found = places.find(each)
        if found is None:
            absent[each] = None
            continue
        reading, place = found
        library[each], found_at[each] = reading.filter, place
        findings += reading.findings
        pending += [ref.filter for ref in reading.filter.references]
    if name in absent:
        if places.refusal is not None and not places.has_files:
            raise places.refusal
        hint = "see what there is with: nwscan filters; a file or folder is named with a slash: ./NAME"
        raise UsageError(f"there is no filter {name}", places.refusal.where if places.refusal else "", hint)
    why = f"{places.refusal.what} ({places.refusal.where})" if places.refusal else "libvirt does not have them either"
    return FilterTree(library[name], library, found_at, tuple(findings), tuple(absent), why if absent else "")


def parameters_from(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Give the parameters of ``NAME=VALUE`` words, a name repeated being a list.

    Raises UsageError for what libvirt would drop without a word.
    """
    given: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not is_parameter(name, value):
            raise UsageError(
                f"not a parameter: {pair!r}",
                "-p",
                "write NAME=VALUE, the name of letters, digits and _, the value of these and of . and :",
            )
        given.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in given.items()}


def require_complete(tree: FilterTree, variables: Mapping[str, Sequence[str]], learnt: Iterable[str] = ()) -> Program:
    """Give the program of a tree; raises UsageError for missing filters, missing parameters and loops, all named.

    ``learnt`` are addresses that the guest seems to have, for the hint.
    """
    if tree.absent:
        raise UsageError(
            f"filter {tree.root.name} refers to filters that are missing: {', '.join(tree.absent)}",
            tree.why_absent,
            "give their files, or the folder where they are, with --library",
        )
    reading = read_tree(tree.root.name, tree.library, variables, 0)
    if reading.lacking:
        name = reading.lacking[0]
        known = [address for address in learnt if name == "IP" and ":" not in address]
        example = f"-p {name.partition('[')[0]}={known[0] if known else 'VALUE'}"
        told = "; on a running guest libvirt learns IP from its traffic" if "IP" in reading.lacking else ""
        raise UsageError(
            f"filter {tree.root.name} needs parameters: {', '.join(reading.lacking)}",
            tree.places[tree.root.name],
            f"give each with -p, such as {example}, or a guest that has them with --guest{told}",
        )
    try:
        return instantiate(tree.root, tree.library, variables)
    except InputError as error:
        raise UsageError(error.what, error.where or tree.places[tree.root.name], error.hint or "correct it") from error
