"""Half an hour of capture, top and export while taps come and go: nothing of nwscan may grow."""
