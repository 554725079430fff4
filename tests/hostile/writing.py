"""What this process writes while a trial is on: outside of the folder for temporary files it may be nothing.

What is inside of that folder is compared before and behind by the trial itself. Python tells of each file that is
opened, renamed or removed before it is (audit events).
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_PLACE_OF = {
    "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.mkdir": 0, "os.rmdir": 0, "os.remove": 0, "os.truncate": 0,
    "os.chmod": 0, "os.chown": 0, "os.mkfifo": 0, "os.mknod": 0, "os.utime": 0, "os.setxattr": 0, "shutil.rmtree": 0,
}  # fmt: skip
"""Which argument of an event names what is changed."""
_heard: list[str] | None = None


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if _heard is None:
        return
    if event == "open":
        path, _, flags = arguments
        if not isinstance(flags, int) or not flags & _WRITES:
            return
    elif event in _PLACE_OF:
        path = arguments[_PLACE_OF[event]]
    else:
        return
    if isinstance(path, (str, bytes, os.PathLike)):
        _heard.append(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - links are not to be followed


def _may_be_written(path: str) -> bool:
    """Say whether a path is a temporary one, a device, what Python keeps of a module, or does not exist (any more)."""
    return (
        path.startswith((f"{tempfile.gettempdir()}/", "/dev/", "/proc/self/"))
        or "/__pycache__/" in path
        or not os.path.lexists(path)
        or path == tempfile.gettempdir()  # a file without a name
    )


@contextmanager
def nothing_written() -> Iterator[None]:
    """Hold that the block writes nothing that stays."""
    global _heard  # noqa: PLW0603 - a hook cannot be taken out again: it is told whether to listen
    _heard = []
    try:
        yield
    finally:
        found, _heard = [path for path in _heard if not _may_be_written(path)], None
        if found:
            raise AssertionError(f"written: {found}")


sys.addaudithook(_hear)
