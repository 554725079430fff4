"""Knows frames and guests; imports nothing of ours above it. The public API is ``nwscan``."""
