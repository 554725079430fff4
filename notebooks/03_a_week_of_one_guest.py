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
# # A week of one guest
#
# A window of ten seconds every hour, for seven days: enough to see when a flood comes. On a host, a timer runs
# `nwscan capture vm1 -a duration:10` and the reports are kept; here the captures are made to measure, so that what
# is in them is known.
#
# The guest gets 12 frames a second in working hours and 3 at night. A backup host that the bridge forgets floods the
# port from 01:00 to 04:00, each night but Sunday.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from nwscan.captures.synthetic import NS_PER_S, write_capture

import nwscan

MONDAY = pd.Timestamp("2026-03-02", tz="UTC")
SUNDAY = 6
NIGHT, WORK = range(1, 4), range(8, 18)
SECONDS = 10


def rates(at: pd.Timestamp) -> dict[str, list[int]]:
    """Give the frames in each second of the window at a time."""
    is_night_of_backup = at.hour in NIGHT and at.day_of_week != SUNDAY
    own = 12 if at.hour in WORK else 3
    flood = [80 + 7 * (second % 4) for second in range(SECONDS)] if is_night_of_backup else [0] * SECONDS
    return {
        "unicast_to_guest": [own] * SECONDS,
        "broadcast": [2] * SECONDS,
        "foreign_unicast": flood,
        "from_guest": [own] * SECONDS,
    }


with TemporaryDirectory() as folder:
    for hour in range(7 * 24):
        at = MONDAY + pd.Timedelta(hours=hour)
        start_ns = int(at.timestamp()) * NS_PER_S
        write_capture(Path(folder) / f"{hour:03}.pcapng", "vm1", "52:54:00:00:00:01", start_ns, rates(at))
    week = nwscan.measured(folder)
week

# %% [markdown]
# One report of 168 windows. What it says of the whole week hides when it was.

# %%
week.by_class()

# %% [markdown]
# ## When
#
# Windows that lie far apart are drawn each by itself.

# %%
week.plot.timeline()

# %%
bins = week.timeline()
bins = bins[bins["class"] == "foreign_unicast"]
measured = bins.set_index("t")["frames"].groupby(lambda t: t.floor("h")).sum() / SECONDS
by_hour = measured.to_frame().pivot_table(
    values="frames", index=measured.index.day_of_week, columns=measured.index.hour
)
by_hour.index = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
by_hour.columns.name = "hour (UTC)"
by_hour.style.format("{:.0f}").background_gradient(cmap="Oranges", axis=None)

# %% [markdown]
# The flood has hours: three in the night, and none on Sunday. That is a schedule, not chance; the next question is
# which host has one.

# %%
hours = sorted(by_hour.columns[(by_hour > 0).any()])
quiet_days = list(by_hour.index[(by_hour == 0).all(axis=1)])
print(f"flooded in the hours {hours}, never on {', '.join(quiet_days)}")

# %%
week.talkers()
