"""Before and after: rate ratios with intervals, what the meter offered and delivered, and the verdict."""

from analyzer.compare.comparison import Comparison, Verdict
from analyzer.compare.judgement import judge
from analyzer.compare.windows import WindowCounts, window_counts

__all__ = ["Comparison", "Verdict", "WindowCounts", "judge", "window_counts"]
