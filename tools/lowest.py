"""Run the quick tests with the lowest versions of all that pyproject.toml names, apart: whether its bounds are true.

    python tools/lowest.py [PYTEST-ARGUMENT...]

uv resolves them (--resolution lowest-direct: what nwscan needs itself is as old as allowed, what that needs is as new
as it fits), and also what the build needs. The environment and the build lie in .lowest/; nothing of the working tree
is touched.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.source_copy import copy_source

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".lowest"
TOOLS, PLACE, SOURCE = FOLDER / "tools", FOLDER / "environment", FOLDER / "source"
TESTS = ("-q", "-m", "not lab and not slow", "-p", "no:cacheprovider")


def run(*command: str | Path, **environment: str) -> int:
    """Run a command in the copy of the source; gives its exit code."""
    return subprocess.run(command, cwd=SOURCE, env=os.environ | environment, check=False).returncode


def main() -> int:
    """Resolve, install, build and test; gives the exit code of the first that fails."""
    copy_source(SOURCE)
    uv, wanted = TOOLS / "bin/uv", FOLDER / "lowest.txt"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    compiled = (uv, "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--all-extras", "--no-annotate")
    quiet = ("--quiet", "--disable-pip-version-check")
    steps = (
        (sys.executable, "-m", "venv", TOOLS),
        (TOOLS / "bin/pip", *quiet, "install", "uv"),
        (*compiled, "--python-version", python, "pyproject.toml", "--output-file", wanted),
        (uv, "venv", "--quiet", "--clear", "--seed", "--python", sys.executable, PLACE),
        (uv, "pip", "install", "--quiet", "--python", PLACE / "bin/python", "--requirement", wanted),
        (PLACE / "bin/pip", *quiet, "install", "--no-build-isolation", "--no-deps", "--editable", "."),
    )
    for step in steps:
        if code := run(*step):
            return code
    shared = os.environ.get("NWSCAN_SHARED_DATA") or str(ROOT / "../shared/data")
    return run(PLACE / "bin/python", "-m", "pytest", *(sys.argv[1:] or TESTS), NWSCAN_SHARED_DATA=shared)


if __name__ == "__main__":
    sys.exit(main())
