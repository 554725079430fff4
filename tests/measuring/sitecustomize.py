"""Python runs this as it starts where PYTHONPATH has its folder: see processes.py."""

import os

FOLDER = os.environ.get("NWSCAN_TESTS_COVERAGE")


def measure(folder: str) -> None:
    """Measure this process from here to its end, without opening anything later."""
    import atexit  # noqa: PLC0415 - only where it is asked for
    import sqlite3.dump  # noqa: F401, PLC0415 - coverage imports it late

    import coverage  # noqa: PLC0415

    descriptor = os.open(f"{folder}/{os.getpid()}-{os.urandom(4).hex()}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    settings = os.path.join(os.path.dirname(__file__), "../../pyproject.toml")  # noqa: PTH118, PTH120 - no more imports
    measuring = coverage.Coverage(data_file=None, config_file=settings)
    # a command that needs little of nwscan imports little of it: nothing that a user, or a test, should be told
    measuring.set_option("run:disable_warnings", ["module-not-imported", "no-data-collected", "module-not-measured"])
    measuring.start()

    def tell() -> None:
        measuring.stop()
        octets = measuring.get_data().dumps()
        while octets:
            octets = octets[os.write(descriptor, octets) :]

    end, process = os._exit, os.getpid()

    def tell_and_end(code: int) -> None:
        if os.getpid() == process:  # what was forked off tells nothing, as it runs nothing of atexit's
            tell()
        end(code)

    atexit.register(tell)
    os._exit = tell_and_end  # type: ignore[assignment]


if FOLDER:
    measure(FOLDER)
