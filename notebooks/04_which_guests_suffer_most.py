# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Which guests suffer most?
#
# One report a guest, of the same minute: `nwscan capture --all` keeps them, `nwscan report DIR --json` prints them.
# Here eight guests are made to measure and saved as reports are.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from nwscan.captures.synthetic import NS_PER_S, write_capture

import nwscan

START_NS = 1_772_445_600 * NS_PER_S
GUESTS = {"db1": (40, 2), "db2": (35, 0), "web1": (20, 55), "web2": (22, 54), "mail": (9, 0), "build": (80, 61)}
GUESTS |= {"dns": (6, 3), "old": (1, 58)}
"""Each guest with the frames a second that are its own, and those that are not."""

with TemporaryDirectory() as name:
    folder = Path(name)
    for number, (guest, (own, foreign)) in enumerate(GUESTS.items(), 1):
        each_second = {"unicast_to_guest": [own] * 10, "foreign_unicast": [foreign] * 10, "from_guest": [own] * 10}
        capture = folder / f"{guest}.pcapng"
        write_capture(capture, guest, f"52:54:00:00:01:{number:02x}", START_NS, each_second, f"vnet{number}")
        nwscan.measured(capture).save(folder / f"{guest}.json")
    reports = {path.stem: nwscan.load(path) for path in sorted(folder.glob("*.json"))}
len(reports)

# %% [markdown]
# ## All in one table
#
# The tables have the same columns in every report, so they stand below each other.

# %%
classes = pd.concat({guest: report.by_class() for guest, report in reports.items()}, names=["guest"])
foreign = classes[classes["class"] == "foreign_unicast"].droplevel(1)
ranking = foreign[["share_frames", "mean_fps", "mean_bps"]].sort_values("mean_fps", ascending=False)
ranking

# %% [markdown]
# ## Two questions, two orders
#
# Frames a second say what a flood costs the guest; the share says how much of what it sees is not its own. The idle
# guest has the largest share, the build host pays the most.

# %%
by_share = ranking.sort_values("share_frames", ascending=False)
by_share["share_frames"].map("{:.0%}".format)

# %% [markdown]
# ## One flood or several?
#
# Where the same pair of addresses is in many reports, it is one flood that reaches many ports: look for it once.

# %%
talkers = pd.concat({guest: report.talkers() for guest, report in reports.items()}, names=["guest"])
reach = talkers.reset_index("guest").groupby(["src", "dst"])["guest"].nunique().sort_values(ascending=False)
reach.rename("guests").to_frame()

# %%
worst = ranking.index[0]
reports[worst].plot.classes()
