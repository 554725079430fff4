"""Fuzz one target, guided by the coverage of Python code and twins: `python -m tests.fuzz pcapng --seconds 900`.

Ends with 0 where every promise held. Else the input that broke one is written below --found and named.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

from analyzer.capture import compression, feed, pcap, pcapng, pcapng_blocks
from analyzer.host import domain_xml
from analyzer.report import (
    document,
    findings,
    identities,
    observed,
    observing,
    reading,
    report,
    sampling,
    talkers,
    timeline,
    writing,
)
from generator.deploy import journal_record, plan, plan_file
from generator.evaluate import commands, compiled, matcher, options, prediction, program, tree_lint
from generator.nwfilter import lint, normalise, splice, values, variables, xml
from nwscan.api import documents as shown
from tests.fuzz import seeds
from tests.fuzz.mutators import MUTATORS
from tests.fuzz.targets import TARGETS
from tests.fuzz.twins import twins

if TYPE_CHECKING:
    from types import ModuleType

_CAPTURES = (feed, compression, pcap, pcapng, pcapng_blocks, observed, observing, sampling)
_FILTERS = (xml, splice, lint, normalise, values, variables, domain_xml, tree_lint)
_PROGRAMS = (xml, normalise, values, variables, commands, compiled, matcher, options, program)
_DOCUMENTS = (document, reading, writing, report, observed, findings, identities, talkers, timeline, shown, prediction)
_JOURNALS = (journal_record, plan, plan_file, xml, splice)
_PLAIN = {
    "filters": _FILTERS,
    "cards": _FILTERS,
    "evaluator": _PROGRAMS,
    "documents": _DOCUMENTS,
    "journals": _JOURNALS,
}
"""Modules of Python that a target passes through, besides the twins; those of captures where it is not here."""

_SMALL_OCTETS = 512
_SMALL_DOCUMENT_OCTETS = 4096


def instrument(module: ModuleType) -> None:
    """Have the functions and methods of a module tell which of their branches an input took."""
    for value in vars(module).values():
        members = vars(value).values() if inspect.isclass(value) else (value,)
        if getattr(value, "__module__", "") != module.__name__:
            continue
        for member in members:
            if inspect.isfunction(member):
                atheris.instrument_func(member)


def write_seeds(target: str, folder: Path) -> None:
    """Write what fuzzing starts from, a file each, named by what it holds."""
    for octets in seeds.seeds(target):
        name = hashlib.sha256(octets).hexdigest()[:20]
        (folder / name).write_bytes(octets[: seeds.MAX_OCTETS])


def is_worth_keeping(path: Path, target: str) -> bool:
    """Say whether an input stays: what broke a promise always, else what is small, since it is replayed every time."""
    most = _SMALL_DOCUMENT_OCTETS if target in MUTATORS else _SMALL_OCTETS
    return path.name.startswith("failed-") or path.stat().st_size <= most


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=900, help="how long to fuzz (default 900)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: another one each time)")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs at the most (default: no limit)")
    parser.add_argument("--found", type=Path, help="where new inputs and failures go (default: a new folder)")
    parser.add_argument("--keep", action="store_true", help="fuzz nothing; put what is in --found into the kept corpus")
    asked = parser.parse_args()
    found = asked.found or Path(tempfile.mkdtemp(prefix=f"nwscan-fuzz-{asked.target}-"))
    found.mkdir(parents=True, exist_ok=True)
    if asked.keep:
        inputs = [path.read_bytes() for path in found.iterdir() if is_worth_keeping(path, asked.target)]
        count = seeds.keep(asked.target, [*seeds.kept(asked.target).values(), *inputs])
        sys.stdout.write(f"{count} inputs are kept for {asked.target}\n")
        return
    start = Path(tempfile.mkdtemp(prefix="nwscan-seeds-"))
    write_seeds(asked.target, start)
    for module in (*twins(), *_PLAIN.get(asked.target, _CAPTURES)):
        instrument(module)
    options = {
        "max_total_time": asked.seconds,
        "max_len": seeds.MAX_OCTETS,
        "timeout": 120,
        "report_slow_units": 120,  # a busy machine makes anything slow
        "rss_limit_mb": 2048,
        "seed": asked.seed,
        "runs": asked.runs,
        "artifact_prefix": f"{found}/failed-",
        "print_final_stats": 1,
    }
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(found), str(start)]
    atheris.Setup(arguments, TARGETS[asked.target], custom_mutator=MUTATORS.get(asked.target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
