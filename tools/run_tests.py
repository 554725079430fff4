"""Run all the tests: those of the lab, which mostly wait, and beside them the others, which mostly compute.

    python tools/run_tests.py [PYTEST-ARGUMENT...]

Two runs of pytest share the machine's cores: the lab's is shown as it goes, the other one yields to it and is shown
when it has ended. Their coverage is put together. It fails where one of them does.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "--cov", "--cov-report=", "--durations=25"]
YIELDING = 10
"""Niceness of the tests without the lab: in the lab frames come at a rate, and a late reader loses some."""


def main(arguments: list[str]) -> int:
    """Run both; gives the exit code of the first that failed, else 0."""
    for left in ROOT.glob(".coverage*"):
        left.unlink()  # of a run that was ended before it put its parts together
    with tempfile.TemporaryFile() as said:
        computing = subprocess.Popen(
            [*PYTEST, "-p", "no:cacheprovider", "-m", "not lab", *arguments],
            cwd=ROOT,
            env=_environment("computing"),
            stdout=said,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.nice(YIELDING),  # noqa: PLW1509 - no thread runs here
        )
        try:
            print("== the lab (the other tests run beside it and are shown afterwards)", flush=True)
            waiting = subprocess.run([*PYTEST, "-m", "lab", *arguments], cwd=ROOT, env=_environment("lab"), check=False)
            computing.wait()
        finally:
            if computing.poll() is None:
                computing.terminate()
                computing.wait()
        print("== the tests without the lab", flush=True)
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    _coverage("combine", "--quiet", "--keep")
    _coverage("report")
    return waiting.returncode or computing.returncode


def _environment(part: str) -> dict[str, str]:
    return os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage.{part}")}


def _coverage(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
