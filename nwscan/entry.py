"""Where the command `nwscan` begins: nothing is imported yet, so that Ctrl-C ends it quietly from the first moment on.

What lives here: the way into nwscan/cli/main.py, and nothing else but what has to come before any library.
"""

import gc
import os
import sys
from contextlib import AbstractContextManager, nullcontext

_COLLECT_AFTER = 50_000
"""Objects made before garbage is looked for: modules that are imported make tens of thousands, and none is garbage."""


def _worker_ahead(arguments: list[str]) -> AbstractContextManager[None]:
    """Have the worker started that ``analyze`` takes, while this process imports the rest: it takes longest."""
    if arguments[:1] != ["analyze"] or any(one.startswith(("--help", "--scheduler")) for one in arguments):
        return nullcontext()
    from nwscan.worker.starting import worker_ahead

    return worker_ahead()


def run() -> None:
    """Run the command line of this process."""
    gc.set_threshold(_COLLECT_AFTER)
    leave_the_home_of_others()
    try:
        with _worker_ahead(sys.argv[1:]):
            from nwscan.cli.main import main

            code = main(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were imported: main() tells of it itself
        sys.stderr.write("interrupted\n")
        code = 130
    gc.freeze()  # all that is there goes with the process: nothing is looked through for garbage, which takes 10 ms
    sys.exit(code)


def leave_the_home_of_others() -> None:
    """Have root use its own home folder where sudo kept that of whoever typed it.

    Libraries read settings, fonts and caches there, which another user wrote, and write such.
    """
    if os.geteuid() != 0:
        return
    try:
        is_ours = os.stat(os.environ.get("HOME", "/")).st_uid == 0  # noqa: PTH116 - nothing is imported yet
    except OSError:
        is_ours = False
    if not is_ours:
        import pwd

        os.environ["HOME"] = pwd.getpwuid(0).pw_dir
