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
# # How the filter was chosen
#
# A filter is only worth having if it takes nothing from the guest. Each profile is tried on the same captured frames,
# before anything is changed on a host.

# %%
from importlib.resources import as_file, files

import pandas as pd

from analyzer.model.classes import FrameClass
from generator.evaluate.fields import Verdict
from nwscan.api.reports import LoadedReport
from nwscan.api.suggesting import Wish, suggest_from_file

with as_file(files("nwscan.captures")) as samples:
    capture = str(samples / "before.pcapng")
    proposals = {name: suggest_from_file(capture, None, wish=Wish(name)) for name in ("mac", "ip", "strict")}
report = LoadedReport(proposals["mac"].report)
report

# %% [markdown]
# ## Three profiles, the same frames
#
# `mac` drops unicast to other MAC addresses and nothing else. The others drop more, and need to know more of the guest;
# where it is not known, they refuse.

# %%
rows = []
for name, proposal in proposals.items():
    suggestion = proposal.suggestion
    prediction = suggestion.prediction
    foreign = None if prediction is None else prediction.of(FrameClass.FOREIGN_UNICAST, Verdict.DROP).frames
    wanted = None if prediction is None else prediction.wanted_dropped.frames
    why = "; ".join(refusal.reason for refusal in suggestion.refusals)
    rows.append((name, suggestion.is_refused, foreign, wanted, why))
profiles = pd.DataFrame(rows, columns=["profile", "refused", "foreign dropped", "others dropped", "why not"])
profiles = profiles.astype({"foreign dropped": "Int64", "others dropped": "Int64"}).set_index("profile")
profiles

# %% [markdown]
# ## What each rule rests on
#
# Every rule of the chosen filter has frames behind it. `wrong` are frames that the guest wants, among those that the
# rule drops; none in so many frames bounds their share, at 95 %.

# %%
chosen = proposals["mac"].suggestion
evidence = pd.DataFrame(
    [(each.text, each.frames, each.octets, each.wrong, each.wrong_share_below) for each in chosen.evidence],
    columns=["rule", "frames", "octets", "wrong", "wrong share at most"],
)
evidence

# %% [markdown]
# ## What it would have done, by class

# %%
cells = {
    verdict.name.lower(): [chosen.prediction.of(kind, verdict).frames for kind in FrameClass] for verdict in Verdict
}
prediction = pd.DataFrame(cells, index=[kind.key for kind in FrameClass])
prediction

# %% [markdown]
# ## What speaks against it
#
# The capture holds frames to virtual MAC addresses. If the guest takes part in such a group, that address has to count
# as its own, and only a person knows that.

# %%
list(chosen.risks)
