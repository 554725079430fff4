"""Inputs by URL, through fsspec: http, https, s3 and whatever else has a backend there; the only door to it.

What is fetched lies in a file without a name while it is read: half a file is never analyzed, and a retry begins anew.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from analyzer.errors import HostError, InputError

if TYPE_CHECKING:
    from types import ModuleType
    from typing import BinaryIO

_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*::)*[a-z][a-z0-9+.-]*://")
_TRIES: Final = 3
_HINT: Final = "see whether the URL can be fetched from this machine, for example with curl"


def is_url(text: str) -> bool:
    """Say whether ``text`` is a URL: a scheme and ``://``, before it others with ``::``, by which fsspec chains."""
    return _URL.match(text) is not None


def local(text: str) -> str:
    """Give the path of a file:// URL, anything else as it is: what is on this machine needs no fetching."""
    return unquote(urlsplit(text).path) if text.startswith("file://") else text


def shown(url: str) -> str:
    """Give a URL without what may be a secret in it: user, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def expand(url: str, suffixes: tuple[str, ...]) -> list[str]:
    """Give the files that a URL means: itself, or those that end so where it ends in ``/`` or has a ``*``.

    Raises InputError where there are none, or the place cannot be listed.
    """
    if not (url.endswith("/") or "*" in url):
        return [url]
    try:
        files, path = _fsspec().core.url_to_fs(url)
        inside = files.glob(path) if "*" in path else files.ls(path, detail=False)
        found = [files.unstrip_protocol(one) for one in sorted(inside)]
    except Exception as error:  # a backend raises what it likes
        raise _refused("cannot list the folder", url, error) from error
    found = [one for one in found if any(suffix in one.rpartition("/")[2] for suffix in suffixes)]
    if not found:
        raise InputError("nothing to read in this folder", shown(url), f"files there are named *{', *'.join(suffixes)}")
    return found


def fetch(url: str) -> int:
    """Give a descriptor, at its beginning, of a nameless file that holds what the URL does.

    Raises InputError where it cannot be fetched in three tries, HostError where fsspec or its backend is missing.
    """
    for tries_left in reversed(range(_TRIES)):
        with tempfile.TemporaryFile() as file:
            try:
                _copy(url, file)
            except ImportError as error:
                hint = "pip install 'nwscan[scale]', and the backend that fsspec names for this scheme"
                raise HostError(f"cannot open URLs of this kind: {error}", shown(url), hint) from error
            except Exception as error:  # a backend raises what it likes
                if not tries_left or isinstance(error, (FileNotFoundError, PermissionError, ValueError)):
                    raise _refused("cannot fetch it", url, error) from error
                continue
            file.seek(0)
            return os.dup(file.fileno())
    raise AssertionError  # the last try returns or raises


def read(url: str, limit: int) -> bytes:
    """Give the octets behind a URL, ``limit`` + 1 at the most. Raises as ``fetch`` does."""
    with os.fdopen(fetch(url), "rb") as file:
        return file.read(limit + 1)


def _copy(url: str, file: BinaryIO) -> None:
    files, path = _fsspec().core.url_to_fs(url)
    files.get_file(path, file)


def _refused(what: str, url: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{what}: it is not there", shown(url), _HINT)
    reason = str(error).replace(url, shown(url)) or type(error).__name__
    return InputError(f"{what}: {reason}", shown(url), _HINT)


def _fsspec() -> ModuleType:
    try:
        import fsspec
        import fsspec.core
    except ImportError as error:
        raise HostError("URLs are read through fsspec, which is missing", hint="pip install 'nwscan[scale]'") from error
    module: Any = fsspec
    return module  # type: ignore[no-any-return]
