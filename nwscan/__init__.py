"""Measure what a KVM guest sees that is not its own, filter it, prove that it is gone."""
