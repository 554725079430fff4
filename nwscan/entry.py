"""Where the command `nwscan` begins: nothing is imported yet, so that Ctrl-C ends it quietly from the first moment on.

What lives here: the way into nwscan/cli/main.py, and nothing else.
"""

import gc
import sys

_COLLECT_AFTER = 50_000
"""Objects made before garbage is looked for: modules that are imported make tens of thousands, and none is garbage."""


def run() -> None:
    """Run the command line of this process."""
    gc.set_threshold(_COLLECT_AFTER)
    try:
        from nwscan.cli.main import main

        code = main(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were imported: main() tells of it itself
        sys.stderr.write("interrupted\n")
        code = 130
    sys.exit(code)
