"""Build the compiled modules with AddressSanitizer and UndefinedBehaviorSanitizer, apart, and run their tests on them.

    python tools/sanitize.py [PYTEST-ARGUMENT...]
    python tools/sanitize.py --fuzz TARGET [ARGUMENT OF tests.fuzz...]

The build lies in .sanitize/ and is left there; nothing of the working tree is touched. A module that reads or writes
outside of its memory, or does what C leaves undefined, ends the run; that this is so is tried first. Python itself is
not instrumented and keeps its memory to the end, so that leaks are not looked for.

The modules are compiled by gcc and linked without a run-time library, which whoever runs them loads first: gcc's own
for the tests, atheris' for fuzzing, which is clang's with libFuzzer in it. Both speak version 8 of the interface.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.source_copy import copy_source  # noqa: E402

FOLDER = ROOT / ".sanitize"
FLAGS = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
TESTS = (
    "tests/analyzer/capture", "tests/analyzer/classify", "tests/analyzer/report", "tests/generator/evaluate",
    "tests/property/test_capture_fuzz.py", "tests/property/test_capture_twins.py", "tests/property/test_report_laws.py",
    "tests/property/test_nwfilter_laws.py", "tests/hostile/test_files.py", "tests/hostile/test_frames.py", "tests/fuzz",
)  # fmt: skip
"""Those that run compiled code in their own process, on octets that lie."""
LEFT_OUT = "not command and not devices"
"""Tests of whole commands: they start further processes, and say nothing more of memory."""


def copy() -> None:
    """Put the source into the folder, with a setup.py that builds for watching."""
    copy_source(FOLDER)
    setup = FOLDER / "setup.py"  # in the copy, since CFLAGS would be for the linker too, which is to add no library
    flags = ", ".join(f'"{flag}"' for flag in FLAGS)
    setup.write_text(setup.read_text(encoding="utf-8").replace('"-O3"', flags), encoding="utf-8")


def library(name: str) -> str:
    """Where the compiler has a run-time library of its own."""
    said = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def settings(*preloaded: str) -> dict[str, str]:
    """Give the environment of a process that loads these libraries first and stops at the first thing found."""
    return os.environ | {
        "LD_PRELOAD": " ".join(preloaded),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # each object of Python's lies in memory of its own that is watched
        "PYTHONPATH": str(FOLDER),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NWSCAN_SHARED_DATA": os.environ.get("NWSCAN_SHARED_DATA") or str(ROOT / "../shared/data"),
    }


def try_watching(environment: dict[str, str]) -> None:
    """Write behind an array; RuntimeError where nobody notices."""
    overrun = [sys.executable, "-m", "tests.fuzz.overrun"]
    done = subprocess.run(overrun, cwd=FOLDER, env=environment, capture_output=True, text=True, check=False)
    if "heap-buffer-overflow" not in done.stderr or done.returncode == 0:
        raise RuntimeError(f"memory is not watched: {done.returncode} {done.stderr[-2000:]}")


def main() -> int:
    """Build, and test or fuzz; gives the exit code of that."""
    copy()
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=FOLDER, env=os.environ | {"CC": "gcc"}, check=True)
    if sys.argv[1:2] == ["--fuzz"]:
        environment = settings(sysconfig.get_path("platlib") + "/asan_with_fuzzer.so")
        command = [sys.executable, "-m", "tests.fuzz", *sys.argv[2:]]
    else:
        environment = settings(library("libasan.so"), library("libubsan.so"))
        given = sys.argv[1:] or [*TESTS, "-k", LEFT_OUT]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *given]
    try_watching(environment)
    return subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
