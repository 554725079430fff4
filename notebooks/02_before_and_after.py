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
# # Before and after
#
# One guest, the same traffic twice: first as the bridge floods it, then behind a filter that drops unicast to other
# MAC addresses. The captures come with nwscan.

# %%
from importlib.resources import as_file, files

import nwscan

with as_file(files("nwscan.captures")) as samples:
    before = nwscan.measured(samples / "before.pcapng")
    after = nwscan.measured(samples / "after.pcapng")
before

# %%
after

# %% [markdown]
# ## What the guest sees
#
# The six classes add up to the frames seen. Shares are of what goes to the guest.

# %%
before.by_class()

# %%
after.by_class()

# %% [markdown]
# ## Who floods
#
# Source and destination of the foreign unicast, most frames first. After the filter there is none.

# %%
before.talkers()

# %%
after.talkers()

# %% [markdown]
# ## Over both windows
#
# Reports of one card merge. Between the windows nothing was measured, and nothing is drawn there.

# %%
before.merge(after).plot.timeline()

# %% [markdown]
# ## Side by side
#
# Rates in frames a second, their ratio with a 95 % interval. Two captures alone prove no cause: a flood that stopped
# by itself looks the same. On a hypervisor, `nwscan verify` counts in the same window what was offered ahead of the
# filter.

# %%
comparison = nwscan.compare(before, after)
comparison.by_class()

# %%
comparison.plot()

# %%
comparison
