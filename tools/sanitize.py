"""Build the compiled modules with AddressSanitizer and UndefinedBehaviorSanitizer, apart, and run their tests on them.

    python tools/sanitize.py [PYTEST-ARGUMENT...]

The build lies in .sanitize/ and is left there; nothing of the working tree is touched. A module that reads or writes
outside of its memory, or does what C leaves undefined, ends the run. Python itself is not instrumented and keeps its
memory to the end, so that leaks are not looked for.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".sanitize"
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g"
TESTS = (
    "tests/analyzer/capture", "tests/analyzer/classify", "tests/analyzer/report", "tests/generator/evaluate",
    "tests/property/test_capture_fuzz.py", "tests/property/test_capture_twins.py", "tests/hostile/test_files.py",
    "tests/hostile/test_frames.py", "tests/fuzz",
)  # fmt: skip
"""Those that run compiled code in their own process, on octets that lie."""
LEFT_OUT = "not command and not devices"
"""Tests of whole commands: they start further processes, and say nothing more of memory."""


def copy() -> None:
    """Put the tracked files, and the new ones that git does not ignore, into the folder; what is the same stays."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, FOLDER / name
        if source.is_file() and not (target.is_file() and target.read_bytes() == source.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    setup = FOLDER / "setup.py"  # optimised as far as watching allows: in the copy, since its flags come last
    setup.write_text(setup.read_text(encoding="utf-8").replace('"-O3"', '"-O1"'), encoding="utf-8")


def library(name: str) -> str:
    """Where the compiler has a run-time library of its own."""
    said = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def main() -> int:
    """Build and test; gives pytest's exit code."""
    copy()
    flags = {"CC": "gcc", "CFLAGS": FLAGS, "LDFLAGS": FLAGS.partition(" ")[0]}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=FOLDER, env=os.environ | flags, check=True)
    settings = {
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # each object of Python's lies in memory of its own that is watched
        "PYTHONPATH": str(FOLDER),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    given = sys.argv[1:] or [*TESTS, "-k", LEFT_OUT]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *given]
    return subprocess.run(command, cwd=FOLDER, env=os.environ | settings, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
