"""Apply a plan that a person edited, by the product's own path, as a process of its own: a script for tests."""

import sys
from pathlib import Path

from analyzer.errors import NwscanError
from generator.deploy.plan import decode
from nwscan.api.measure import CaptureOptions
from nwscan.cli.applying import Keeping, apply_plan
from nwscan.cli.main import print_error
from nwscan.config import Settings

if __name__ == "__main__":
    try:
        plan = decode(Path(sys.argv[1]).read_bytes())
        sys.exit(apply_plan(plan, CaptureOptions(), Settings(), Keeping(120.0, yes=True, shape="table")))
    except NwscanError as error:
        print_error(error)
        sys.exit(error.exit_code)
