"""Run all the tests: those of the lab, which mostly wait, and beside them the others, which mostly compute.

    python tools/run_tests.py [PYTEST-ARGUMENT...]

Two runs of pytest share the machine's cores: the lab's is shown as it goes, the other one yields to it and is shown
when it has ended. Their coverage is put together. It fails where one of them does, and, where all tests were run, where
fewer branches than LEAST were taken.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest", "--cov", "--cov-report=", "--durations=25"]
LEAST = {"analyzer": 96.5, "generator": 98.5}
"""Percent of the branches below these folders that the tests take; what is not taken is argued in docs/coverage.md."""
YIELDING = 10
"""Niceness of the tests without the lab: in the lab frames come at a rate, and a late reader loses some."""


def main(arguments: list[str]) -> int:
    """Run both; gives the exit code of the first that failed, else 0, or 1 where too few branches were taken."""
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
    _coverage("report", "--ignore-errors")  # a test of ours measures files that are gone by now
    few = [] if arguments else [tree for tree in LEAST if _taken(tree) < LEAST[tree]]
    for tree in few:
        print(f"{tree}: fewer branches were taken than the {LEAST[tree]:g} % of LEAST (docs/coverage.md)")
    return waiting.returncode or computing.returncode or bool(few)


def _taken(tree: str) -> float:
    """Give the percent of a folder's branches that were taken, and print it."""
    words = (sys.executable, "-m", "coverage", "json", "--quiet", "--include", f"{tree}/*", "-o", "-")
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    totals = json.loads(said.stdout)["totals"]
    percent: float = 100 * totals["covered_branches"] / totals["num_branches"]
    print(f"{tree}: {percent:.1f} % of {totals['num_branches']} branches")
    return percent


def _environment(part: str) -> dict[str, str]:
    return os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage.{part}")}


def _coverage(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "coverage", *words], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
