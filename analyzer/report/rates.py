"""How fast: mean rates over the windows, percentiles over the bins of the timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analyzer.model.classes import FrameClass
from analyzer.report.document import Rate

if TYPE_CHECKING:
    from analyzer.report.report import Report


def rates_of(report: Report) -> dict[FrameClass, Rate]:
    """Give the rates of each class; null where the length of the windows is not known or no bin was filled.

    Percentiles are of frames a second in bins of the timeline's width, over all bins from the first to the last with a
    frame of any class; bits are eight an octet of the original length, without FCS, preamble and gap.
    """
    duration_s = report.duration_s
    _, bins = report.timeline.rows()
    rates = {}
    for kind in FrameClass:
        frames, octets = report.class_counts[kind]
        mean = (frames / duration_s, octets * 8 / duration_s) if duration_s > 0 else (None, None)
        per_bin = bins[:, kind, 0] / report.timeline.bin_s
        high = [float(value) for value in np.percentile(per_bin, (50, 95, 100))] if len(per_bin) else [None] * 3
        rates[kind] = Rate(*mean, *high)
    return rates
