"""Write the tables of reports into a Parquet dataset. Opens and writes; what is in the files is parquet.py's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from analyzer.report.parquet import parquet_files
from nwscan.config import private_folder
from nwscan.kept import write_together

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from analyzer.report.report import Report


def write_dataset(reports: Iterable[Report], folder: Path, host: str | None = None) -> int:
    """Write the tables of reports that were measured on ``host`` (this one) and give how many files that were.

    A report that is there already is written again in its place. Raises HostError where that cannot be; then nothing of
    these reports was put into the dataset.
    """
    files = (
        (private_folder(folder.joinpath(*file.folders)) / file.name, file.octets)
        for report in reports
        for file in parquet_files(report, host or socket.gethostname())
    )
    return len(write_together(files))
