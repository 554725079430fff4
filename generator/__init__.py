"""Knows filters: the nwfilter language, what a filter does, which one to suggest, how to deploy it."""
