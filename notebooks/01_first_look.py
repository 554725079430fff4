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
# # A first look at a capture
#
# Twenty seconds on the tap of a guest, while the bridge floods the traffic of a host that it has forgotten. The capture
# comes with nwscan; yours comes from `nwscan capture vm1 -w vm1.pcapng`, or its report from `nwscan.load("vm1.json")`.

# %%
from importlib.resources import as_file, files

import nwscan

with as_file(files("nwscan.captures")) as samples:
    report = nwscan.measured(samples / "before.pcapng")
report

# %% [markdown]
# ## Six classes
#
# Every frame is in exactly one of them, so they add up to the frames seen. Shares are of what the guest sees.

# %%
classes = report.by_class()
classes

# %%
report.plot.classes()

# %% [markdown]
# Units and meanings travel with each table.

# %%
classes.attrs["units"]

# %% [markdown]
# ## Over time
#
# Does the flood come and go? Bins are a second wide; where nothing was measured, nothing is drawn.

# %%
report.plot.timeline()

# %%
seconds = report.timeline().pivot_table(index="t", columns="class", values="frames", observed=True)
busiest = seconds["foreign_unicast"].idxmax()
seconds.loc[[busiest]]

# %% [markdown]
# ## Who floods whom
#
# One pair makes nearly all of it: that host is the one to look for in the bridge's forwarding database.

# %%
talkers = report.talkers()
talkers.head()

# %%
share_of_first = talkers["frames"].iloc[0] / talkers["frames"].sum()
print(f"{share_of_first:.1%} of the foreign frames are from {talkers['src'].iloc[0]} to {talkers['dst'].iloc[0]}")

# %% [markdown]
# ## Multicast
#
# Whether the guest has joined a group is missing where nobody asked it in this window.

# %%
report.groups()
