"""Reports for people who compute: load them, look at their tables, compare two of them.

``nwscan.load("vm1.json")`` gives an object around a report; its tables are pandas frames with fixed columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.compare import judge, window_counts
from nwscan import kept

if TYPE_CHECKING:
    import pandas as pd

    from analyzer.compare import Comparison
    from analyzer.report.report import Report
    from nwscan.render.plots import Picture


@dataclass(frozen=True, slots=True)
class ReportPlots:
    """The charts of a report; they need matplotlib (``pip install 'nwscan[html]'``, HostError where it is missing)."""

    report: Report

    def classes(self) -> Picture:
        """Draw the frames of each class."""
        from nwscan.render import plots

        return plots.classes(self.report)

    def timeline(self) -> Picture:
        """Draw frames a second over time, by class."""
        from nwscan.render import plots

        return plots.timeline(self.report)


@dataclass(frozen=True, slots=True)
class LoadedReport:
    """A report and its tables; columns, dtypes and units are those of analyzer.report.views, also when empty."""

    report: Report

    def by_class(self) -> pd.DataFrame:
        """Give frames, octets and shares, a row a class."""
        from analyzer.report import views

        return views.by_class(self.report)

    def timeline(self) -> pd.DataFrame:
        """Give frames and octets over time, by class."""
        from analyzer.report import views

        return views.timeline(self.report)

    def talkers(self) -> pd.DataFrame:
        """Give who floods whom with foreign unicast, most frames first."""
        from analyzer.report import views

        return views.talkers(self.report)

    def groups(self) -> pd.DataFrame:
        """Give the multicast groups, most frames first."""
        from analyzer.report import views

        return views.groups(self.report)

    @property
    def plot(self) -> ReportPlots:
        """The charts: ``plot.classes()``, ``plot.timeline()``."""
        return ReportPlots(self.report)

    def save(self, path: str | Path) -> None:
        """Write the report to a file, for ``load`` and the command line. Raises HostError where that cannot be."""
        from analyzer.report.store import encode

        kept.write_private(Path(path), encode(self.report) + b"\n")

    def merge(self, other: LoadedReport) -> LoadedReport:
        """Give the report of both, of the same card. Raises UsageError where they are of different ones."""
        return LoadedReport(self.report.merge(other.report))

    def __repr__(self) -> str:
        """Give the headline; what does not print is escaped."""
        from nwscan.render.report import report_headline
        from nwscan.render.text import visible

        return visible(report_headline(self.report))

    def _repr_html_(self) -> str:
        """Give the headline and the classes for a notebook; text from outside is escaped."""
        from html import escape

        return f"<p><b>{escape(repr(self))}</b></p>{self.by_class().to_html(border=0)}"


@dataclass(frozen=True, slots=True)
class LoadedComparison:
    """Two reports, judged."""

    comparison: Comparison

    @property
    def verdict(self) -> str:
        """The verdict: effective, no_effect, harmful, inconclusive."""
        return str(self.comparison.verdict)

    @property
    def why(self) -> str:
        """The sentence why."""
        return self.comparison.why

    def by_class(self) -> pd.DataFrame:
        """Give rates before and after (frames/s), their ratio and its 95 % interval, a row a class."""
        from analyzer.compare.document import to_document
        from analyzer.report import views

        return views.comparison(to_document(self.comparison)["classes"])

    def plot(self) -> Picture:
        """Draw the rates before and after with their intervals; needs matplotlib, HostError where it is missing."""
        from analyzer.compare.document import to_document
        from nwscan.render import plots

        return plots.comparison(to_document(self.comparison)["classes"])

    def __repr__(self) -> str:
        """Give the verdict and why."""
        return f"{self.verdict}: {self.why}"

    def _repr_html_(self) -> str:
        """Give the verdict and the table for a notebook."""
        from html import escape

        return f"<p><b>{escape(repr(self))}</b></p>{self.by_class().to_html(border=0)}"


def load(path: str | Path) -> LoadedReport:
    """Give the report in a file that ``-o`` or ``--json`` wrote. Raises InputError where it is none."""
    return LoadedReport(kept.load(Path(path)))


def measured(*captures: str | Path) -> LoadedReport:
    """Give the report of captures of one card that nwscan wrote, or of the captures in a folder.

    Raises UsageError where a file does not say whose frames it holds (``nwscan.analyze`` takes an identity).
    """
    from nwscan.api.measure import analyze

    return LoadedReport(analyze([str(path) for path in captures]))


def compare(before: LoadedReport, after: LoadedReport) -> LoadedComparison:
    """Judge two reports of one card; without the meter's counts at most "consistent with an effect"."""
    return LoadedComparison(judge(window_counts(before.report), window_counts(after.report)))
