"""Which filter fits a guest, with the evidence for each rule."""
