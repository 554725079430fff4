"""nwscan as pip installs it, for benchmarks of whole processes: a source tree under work starts slower.

Where a project is installed to be edited, every start of Python imports a finder that says where its modules lie,
some 10 ms for the command and as much for its worker. Who uses nwscan has none. The libraries are those of `.venv`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PLACE: Final = ROOT / ".lab/installed"
_STAMP: Final = PLACE / "of"
_ROOMS: Final = ("analyzer", "generator", "nwscan", "captures")


@cache
def nwscan() -> str:
    """Give the command of nwscan as it is installed from a wheel of this tree, built where it has changed."""
    wanted = _state()
    if not _STAMP.is_file() or _STAMP.read_text(encoding="utf-8") != wanted:
        _install()
        _STAMP.write_text(wanted, encoding="utf-8")
    return str(PLACE / "bin/nwscan")


def _state() -> str:
    digest = hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in {".py", ".pxd", ".h", ".o", ".json", ".toml"}:
                digest.update(path.as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _install() -> None:
    print("Building a wheel and installing it ...", file=sys.stderr)
    shutil.rmtree(PLACE, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
    wheels = PLACE / "wheels"
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        *quiet,
        "--no-build-isolation",
        "--wheel-dir",
        str(wheels),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([str(PLACE / "bin/pip"), "install", *quiet, str(wheel)], check=True)
    libraries = PLACE / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix) / "libraries.pth"
    libraries.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
