"""The curves of a soak as one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.soak.judge import WARM_UP
from tests.soak.sampling import DESCRIPTORS, HOST, NAMESPACES, RESIDENT, TABLES, THREADS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PANELS = ((RESIDENT,), (DESCRIPTORS,), (THREADS,), (NAMESPACES, TABLES))


def draw(times_s: Sequence[float], curves: Mapping[tuple[str, str], Sequence[float]], path: Path) -> None:
    """Write the picture: a panel a kind, a line a process; what is not judged is shaded."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra, for the picture alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of what draws

    minutes = [time / 60 for time in times_s]
    figure, axes = plt.subplots(len(_PANELS), 1, figsize=(9, 10), sharex=True, layout="constrained")
    for axis, kinds in zip(axes, _PANELS, strict=True):
        for (name, kind), values in sorted(curves.items()):
            if kind in kinds:
                axis.plot(minutes, values, label=kind if name == HOST else name, linewidth=1)
        axis.axvspan(0, WARM_UP * minutes[-1], color="0.92", zorder=0)
        axis.set_ylabel(" and ".join(kinds) if len(kinds) > 1 else kinds[0])
        axis.set_ylim(bottom=0)
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)
    plt.close(figure)
